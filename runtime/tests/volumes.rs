//! Volumes on the real kernel: what stays, what is read-only, and what a link at the target can do.

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Output, Stdio};

use common::{Lab, entries, stderr, stdout};

fn run(lab: &Lab, options: &[&str], script: &str) -> Output {
    lab.run_with(options, "box", &["sh", "-c", script])
}

fn must(lab: &Lab, options: &[&str], script: &str) -> String {
    let output = run(lab, options, script);
    assert!(output.status.success(), "{script}: {output:?}");
    stdout(&output).trim().to_owned()
}

#[test]
fn a_named_volume_outlives_its_boxes_and_is_theirs_together() {
    let Some(lab) = Lab::new() else { return };
    let option = ["-v", "data:/data"];
    must(&lab, &option, "echo kept > /data/file; echo lost > /file");
    assert_eq!(must(&lab, &option, "cat /data/file; ls /file 2>/dev/null || echo gone"), "kept\ngone");
    assert_eq!(must(&lab, &["-v", "data:/elsewhere:ro"], "cat /elsewhere/file"), "kept");
    assert!(entries(&lab.root()).iter().all(|path| path.ends_with(".volumes")), "{:?}", entries(&lab.root()));
    let tare = |words: &[&str]| lab.command(words).output().expect("it starts");
    assert_eq!(stdout(&tare(&["volumes"])), "data\n");
    assert!(tare(&["rm-volume", "data"]).status.success());
    assert!(stderr(&tare(&["rm-volume", "data"])).contains("there is none of that name"));
    assert_eq!(stdout(&tare(&["volumes"])), "");
}

#[test]
fn a_volume_under_a_box_is_not_removed() {
    let Some(lab) = Lab::new() else { return };
    let rootfs = lab.image();
    let started = lab
        .command(&["run", "-d", "-v", "held:/data", "--cgroup-parent", &lab.parent, "--rootfs"])
        .arg(&rootfs)
        .args(["holds", "--", "sleep", "60"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("it starts");
    assert!(started.success());
    let tare = |words: &[&str]| lab.command(words).output().expect("it starts");
    let refused = tare(&["rm-volume", "held"]);
    assert!(
        !refused.status.success() && stderr(&refused).contains("container holds has it mounted"),
        "{refused:?}"
    );
    assert!(tare(&["delete", "--force", "holds"]).status.success());
    assert!(tare(&["rm-volume", "held"]).status.success());
}

#[test]
fn read_only_holds_for_all_of_it_and_no_power_comes_in() {
    let Some(lab) = Lab::new() else { return };
    let host = lab.path().join("host");
    fs::create_dir_all(host.join("inner")).expect("mkdir");
    fs::write(host.join("file"), "of the host").expect("write");
    fs::set_permissions(host.join("file"), fs::Permissions::from_mode(0o4755)).expect("chmod");
    let volume = |options: &str| format!("{}:/data{options}", host.display());
    let (plain, read_only) = (volume(""), volume(":ro"));
    assert_eq!(must(&lab, &["-v", &plain], "cat /data/file; echo new > /data/made"), "of the host");
    assert_eq!(fs::read_to_string(host.join("made")).expect("made"), "new\n");
    let refused = must(&lab, &["-v", &read_only], "touch /data/x /data/inner/x 2>&1 || true; ls /data");
    assert!(refused.contains("Read-only file system") && refused.ends_with("made"), "{refused}");
    let flags = must(&lab, &["-v", &plain], "grep ' /data ' /proc/self/mountinfo");
    assert!(flags.contains("nosuid") && flags.contains("nodev"), "{flags}");
    // One file alone.
    let file = format!("{}:/etc/conf:ro", host.join("file").display());
    assert_eq!(must(&lab, &["-v", &file], "cat /etc/conf"), "of the host");
}

#[test]
fn memory_is_mounted_with_its_limit_and_gone_with_the_box() {
    let Some(lab) = Lab::new() else { return };
    let full = must(
        &lab,
        &["--tmpfs", "/mem:size=64k"],
        "dd if=/dev/zero of=/mem/f bs=1k count=100 2>&1 || true; wc -c < /mem/f",
    );
    assert!(full.contains("No space left") && full.ends_with("65536"), "{full}");
    assert_eq!(must(&lab, &["--tmpfs", "/mem"], "ls /mem | wc -l"), "0");
}

#[test]
fn a_link_at_the_target_leads_nowhere_but_into_the_box() {
    let Some(lab) = Lab::new() else { return };
    let outside = lab.path().join("outside");
    fs::create_dir(&outside).expect("mkdir");
    symlink(&outside, lab.image().join("absolute")).expect("link");
    symlink("../../../../../../../../../../tmp", lab.image().join("relative")).expect("link");
    for target in ["/relative/inner", "/absolute/inner"] {
        let output =
            run(&lab, &["-v", &format!("data:{target}")], "echo in > /tmp/inner/f 2>/dev/null; true");
        // Contained or refused; never outside.
        assert!(output.status.success() || stderr(&output).contains("step volumes"), "{output:?}");
    }
    assert!(entries(&outside).is_empty() && !std::path::Path::new("/tmp/inner").exists());
    let kept = lab.root().join(".volumes/data/f");
    assert_eq!(fs::read_to_string(kept).expect("the volume lies at the image's own /tmp"), "in\n");
}

#[test]
fn what_cannot_be_mounted_is_said_before_anything_is_made() {
    let Some(lab) = Lab::new() else { return };
    for (option, words) in [
        (["-v", "data"], "no absolute path"),
        (["-v", "../up:/x"], "step sources"),
        (["-v", "data:/x:fast"], "\"fast\" has no meaning for a bind"),
        (["--tmpfs", "/x:size=many"], "step volumes"),
    ] {
        let output = run(&lab, &option, "true");
        assert!(!output.status.success() && stderr(&output).contains(words), "{option:?}: {output:?}");
    }
    assert!(entries(&lab.root()).iter().all(|path| path.ends_with(".volumes")));
}
