//! Paths of the image and of the bundle that lead elsewhere.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::NOTHING;
use crate::common::Lab;
use crate::common::bundle::{Bundle, tare};

/// A directory of the host with one file, which nobody may change.
struct Canary(PathBuf);

impl Canary {
    fn new(lab: &Lab) -> Self {
        let path = lab.path().join("canary");
        fs::create_dir(&path).expect("mkdir");
        fs::write(path.join("domainname"), "sings\n").expect("write");
        Self(path)
    }

    #[track_caller]
    fn is_untouched(&self) {
        let names: Vec<_> = crate::common::entries(&self.0);
        assert_eq!(names, [self.0.join("domainname")]);
        assert_eq!(fs::read_to_string(&names[0]).expect("read"), "sings\n");
    }
}

#[test]
fn links_at_proc_sys_and_dev_are_refused_and_nothing_is_written_behind_them() {
    let Some(lab) = Lab::new() else { return };
    let canary = Canary::new(&lab);
    let root = lab.image().display().to_string();
    for name in ["proc", "sys", "dev"] {
        let path = lab.image().join(name);
        for target in [canary.0.display().to_string(), "../canary".into(), "/etc".into(), "/nowhere".into()] {
            fs::remove_dir(&path).expect("rmdir");
            symlink(&target, &path).expect("symlink");
            let words =
                format!("step {name}: /{name}: Not a directory (ENOTDIR): the image has something else");
            tare(&lab, &["run", "--cgroup-parent", &lab.parent, "--rootfs", &root, "ln", "--", "true"])
                .refused(&words);
            let mut bundle = Bundle::new(&lab, "ln", "true");
            bundle.run().refused(&words);
            bundle.create().refused(&words);
            // Written in other words it is the same place.
            for mount in bundle.config["mounts"].as_array_mut().expect("mounts") {
                let plain = mount["destination"].as_str().expect("destination").to_owned();
                mount["destination"] = json!(format!("{plain}/"));
            }
            bundle.run().refused(&words);
            fs::remove_file(bundle.directory.join("config.json")).expect("rm");
            fs::remove_file(&path).expect("rm");
            fs::create_dir(&path).expect("mkdir");
        }
    }
    canary.is_untouched();
    assert_eq!(lab.leftovers(), NOTHING);
}

#[test]
fn destinations_stay_inside_whatever_they_are_called() {
    let Some(lab) = Lab::new() else { return };
    let canary = Canary::new(&lab);
    let (image, given) = (lab.image(), lab.path().join("given"));
    fs::create_dir(&given).expect("mkdir");
    fs::write(given.join("word"), "lent").expect("write");
    symlink(&canary.0, image.join("absolute")).expect("symlink");
    symlink("../../../../../../../../../..", image.join("up")).expect("symlink");
    symlink("../canary", image.join("relative")).expect("symlink");
    let outside = canary.0.display().to_string();
    for destination in [
        format!("/..{outside}"),
        format!("/up{outside}/made"),
        "/absolute/made".into(),
        "/relative/made".into(),
        "/../../../../canary/made".into(),
        "/absolute".into(),
    ] {
        let mut bundle = Bundle::new(&lab, "dest", "busybox find / -name word 2>/dev/null");
        bundle.bind(&given, &destination, &["bind"]);
        let called = bundle.run();
        // Contained, or refused where a link leads to what does not exist inside; never outside.
        match called.code {
            Some(0) => assert!(called.out.ends_with("/word\n"), "{destination}: {called:?}"),
            _ => called.refused("step volumes: "),
        }
        fs::remove_file(bundle.directory.join("config.json")).expect("rm");
        canary.is_untouched();
        assert!(!lab.path().join("canary/made").exists());
    }
    assert_eq!(lab.leftovers(), NOTHING);
}

/// The one way out of a root that was pivoted to: a descriptor that the start itself holds.
#[test]
fn destinations_through_descriptors_are_refused() {
    let Some(lab) = Lab::new() else { return };
    let canary = Canary::new(&lab);
    for number in 3..=14 {
        symlink(format!("/proc/self/fd/{number}"), lab.image().join(format!("fd{number}"))).expect("symlink");
        for destination in
            [format!("/fd{number}"), format!("/proc/self/fd/{number}"), format!("/proc/1/root/fd{number}")]
        {
            let mut bundle = Bundle::new(&lab, "fd", "true");
            bundle.mount(&format!("{destination}{}/made", canary.0.display()), "tmpfs", "tmpfs", &[]);
            bundle.run().refused("step volumes: ");
            fs::remove_file(bundle.directory.join("config.json")).expect("rm");
            canary.is_untouched();
        }
    }
    assert_eq!(lab.leftovers(), NOTHING);
}

#[test]
fn masks_are_not_led_elsewhere_by_links() {
    let Some(lab) = Lab::new() else { return };
    let canary = Canary::new(&lab);
    symlink(&canary.0, lab.image().join("hidden")).expect("symlink");
    symlink("/proc/self/fd/3", lab.image().join("magic")).expect("symlink");
    let mut bundle = Bundle::new(&lab, "mask", "true");
    bundle.config["linux"]["maskedPaths"] = json!(["/hidden", "/hidden/domainname"]);
    bundle.config["linux"]["readonlyPaths"] = json!(["/hidden"]);
    bundle.run().ok();
    bundle.config["linux"]["maskedPaths"] = json!(["/magic"]);
    bundle.run().refused("step mask: /magic: ");
    canary.is_untouched();
}

/// A setting goes to the kernel, whatever the bundle mounted where it would go (CVE-2025-52881).
#[test]
fn settings_are_not_redirected_by_the_bundles_mounts() {
    let Some(lab) = Lab::new() else { return };
    let canary = Canary::new(&lab);
    let host = fs::read("/proc/sys/kernel/domainname").expect("host");
    let file = canary.0.join("domainname");
    let places: [&dyn Fn(&mut Bundle<'_>); 4] = [
        &|bundle| bundle.mount("/proc/sys/kernel", "tmpfs", "tmpfs", &["mode=777"]),
        &|bundle| bundle.bind(&canary.0, "/proc/sys/kernel", &["bind", "rw"]),
        &|bundle| bundle.bind(&file, "/proc/sys/kernel/domainname", &["bind", "rw"]),
        &|bundle| bundle.bind(Path::new("/proc"), "/proc", &["rbind", "rw"]),
    ];
    for redirect in places {
        let mut bundle = Bundle::new(&lab, "set", "sleep 1000");
        bundle.config["linux"]["sysctl"] = json!({"kernel.domainname": "of.the.box"});
        bundle.config["linux"]["maskedPaths"] = json!([]);
        bundle.config["linux"]["readonlyPaths"] = json!([]);
        redirect(&mut bundle);
        bundle.up();
        let pid = bundle.state()["pid"].to_string();
        let inside = std::process::Command::new("nsenter")
            .args(["--target", &pid, "--uts", "cat", "/proc/sys/kernel/domainname"])
            .output()
            .expect("nsenter");
        assert_eq!(String::from_utf8_lossy(&inside.stdout), "of.the.box\n");
        bundle.force();
        fs::remove_file(bundle.directory.join("config.json")).expect("rm");
        canary.is_untouched();
        assert_eq!(fs::read("/proc/sys/kernel/domainname").expect("host"), host);
    }
    assert_eq!(lab.leftovers(), NOTHING);
}

/// Who may write there has the host's kernel run a program outside (CVE-2022-0492).
#[test]
fn no_release_agent_can_be_set() {
    let Some(lab) = Lab::new() else { return };
    if !Path::new("/sys/fs/cgroup/pids/tasks").exists() {
        eprintln!("skipped: no cgroup version 1 here");
        return;
    }
    let script = "cd /sys/fs/cgroup && for c in *; do for f in release_agent notify_on_release tasks; do \
                  test -e $c/$f && (echo 1 > $c/$f) 2>/dev/null && echo wrote $c/$f; done; \
                  mkdir $c/x 2>/dev/null && echo made $c/x; done; \
                  mount -o remount,rw pids 2>&1; mount -t cgroup -o pids cgroup /tmp 2>&1; unshare -Ur true 2>&1; ls";
    let mut bundle = Bundle::new(&lab, "agent", script);
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw"]);
    let printed = bundle.run().ok();
    assert!(!printed.contains("wrote") && !printed.contains("made"), "{printed}");
    assert!(
        printed.matches("ermission denied").count() + printed.matches("not permitted").count() >= 3,
        "{printed}"
    );
    assert!(printed.contains("pids\n") && printed.contains("memory\n"), "{printed}");
    // Nothing of the host's tree is in sight.
    let mut bundle =
        Bundle::new(&lab, "tree", "busybox find /sys/fs/cgroup -mindepth 2 -type d; cat /proc/self/cgroup");
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", &[]);
    let printed = bundle.run().ok();
    assert!(!printed.contains("/sys/fs/cgroup/") && !printed.contains("tare"), "{printed}");
    // Without a mount of them there is nothing at all.
    assert_eq!(Bundle::new(&lab, "none", "ls -A /sys/fs/cgroup | wc -l").run().ok(), "0\n");
}
