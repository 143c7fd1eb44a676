//! `exec`: one more command, in the same box, with the same confinement.

use std::fs;
use std::os::fd::AsFd;

use serde_json::json;

use crate::NOTHING;
use crate::common::Lab;
use crate::common::bundle::{Bundle, eventually};

/// The lines of /proc/self/status that confinement is about.
fn confinement(status: &str) -> Vec<String> {
    let wanted = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp:", "Groups"];
    status.lines().filter(|l| wanted.iter().any(|w| l.starts_with(w))).map(str::to_owned).collect()
}

#[test]
fn it_takes_environment_directory_user_and_passes_the_status_on() {
    let Some(lab) = Lab::new() else { return };
    let mut bundle = Bundle::new(&lab, "ex", "cat /proc/self/status; sleep 1000");
    bundle.config["process"]["env"] = json!(["PATH=/bin", "KEPT=1", "OTHER=old"]);
    let file = bundle.up();
    let script = "echo $KEPT-$OTHER-$NEW; pwd; id -u; id -g; id -G";
    let printed = bundle.exec(
        &["-e", "NEW=x y", "-e", "OTHER=new", "--cwd", "/etc", "-u", "1000:100"],
        &["sh", "-c", script],
    );
    assert_eq!(printed.ok(), "1-new-x y\n/etc\n1000\n100\n100\n");
    assert_eq!(bundle.exec(&[], &["sh", "-c", "exit 42"]).code, Some(42));
    assert_eq!(bundle.exec(&[], &["sh", "-c", "kill -9 $$"]).code, Some(137));
    bundle
        .exec(&[], &["nosuch"])
        .refused("step exec: nosuch: No such file or directory (ENOENT): no such command in the image");
    bundle.exec(&["--cwd", "/no/such"], &["true"]).refused("step working-directory");
    eventually("status", || fs::read_to_string(&file).expect("output").contains("Seccomp"));
    let first = confinement(&fs::read_to_string(&file).expect("output"));
    assert!(first.len() >= 8 && first.contains(&"Seccomp:\t2".into()), "{first:?}");
    assert_eq!(confinement(&bundle.exec(&[], &["cat", "/proc/self/status"]).ok()), first);
    // In all of its namespaces and cgroups, and with nothing else open.
    let links = "for n in pid mnt net ipc uts cgroup user; do readlink /proc/1/ns/$n; readlink /proc/self/ns/$n; done";
    let text = bundle.exec(&[], &["sh", "-c", links]).ok();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 14);
    assert!(lines.chunks(2).all(|pair| pair[0] == pair[1]), "{text}");
    assert_eq!(bundle.exec(&[], &["sh", "-c", "ls /proc/$$/fd; true"]).ok(), "0\n1\n2\n");
    let cgroups = bundle.exec(&[], &["cat", "/proc/self/cgroup"]).ok();
    let outside: Vec<&str> = cgroups.lines().filter(|l| l.contains("/..")).collect();
    assert!(outside.is_empty(), "{cgroups}");
    bundle.force();
    assert_eq!(lab.leftovers(), NOTHING);
}

#[test]
fn a_whole_process_object_and_a_detached_one() {
    let Some(lab) = Lab::new() else { return };
    let bundle = Bundle::new(&lab, "po", "sleep 1000");
    bundle.up();
    let file = lab.path().join("process.json");
    let process = json!({
        "args": ["sh", "-c", "id -u; id -G; umask; echo $A; grep CapEff /proc/self/status"],
        "cwd": "/tmp", "env": ["PATH=/bin", "A=b"],
        "user": {"uid": 7, "gid": 8, "additionalGids": [9, 10], "umask": 0o27},
        "noNewPrivileges": true,
    });
    fs::write(&file, process.to_string()).expect("write");
    let path = file.to_str().expect("utf-8");
    let printed = bundle.exec(&["--process", path], &[]).ok();
    assert_eq!(printed, "7\n8 9 10\n0027\nb\nCapEff:\t0000000000000000\n");
    fs::write(&file, r#"{"args": ["sh"], "cwd": "relative", "user": {"uid": 0, "gid": 0}}"#).expect("write");
    bundle.exec(&["--process", path], &[]).refused("process.cwd: relative is not absolute");
    let pid_file = lab.path().join("pid");
    let pid_path = pid_file.to_str().expect("utf-8");
    bundle.exec(&["-d", "--pid-file", pid_path], &["sleep", "999"]).ok();
    let pid = fs::read_to_string(&pid_file).expect("pid");
    let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("cmdline");
    assert_eq!(command, "sleep\0999\0");
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("cgroup");
    assert!(groups.lines().filter(|l| l.ends_with(&format!("{}/po", lab.parent))).count() >= 3, "{groups}");
    bundle.force();
    assert!(!std::path::Path::new(&format!("/proc/{pid}/cmdline")).exists(), "it ends with the box");
    assert_eq!(lab.leftovers(), NOTHING);
}

#[test]
fn a_created_box_and_one_without_a_bundle_take_it_too() {
    let Some(lab) = Lab::new() else { return };
    let bundle = Bundle::new(&lab, "cr", "sleep 1000");
    bundle.create().ok();
    assert_eq!(bundle.exec(&[], &["echo", "hello"]).ok(), "hello\n");
    bundle.force();
    let image = lab.image().display().to_string();
    let run =
        ["run", "-d", "--cgroup-parent", &lab.parent, "--rootfs", &image, "plain", "--", "sleep", "100"];
    crate::common::bundle::tare(&lab, &run).ok();
    let status = crate::common::bundle::tare(&lab, &["exec", "plain", "cat", "/proc/self/status"]).ok();
    for line in ["CapEff:\t00000000a00425fb", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.lines().any(|l| l == line), "{line}: {status}");
    }
    crate::common::bundle::tare(&lab, &["delete", "-f", "plain"]).ok();
    assert_eq!(lab.leftovers(), NOTHING);
}

#[test]
fn the_bundle_may_go_once_the_box_is_made() {
    let Some(lab) = Lab::new() else { return };
    let mut bundle = Bundle::new(&lab, "gone", "sleep 1000");
    let moved = lab.path().join("moved");
    let link = lab.path().join("link");
    std::os::unix::fs::symlink(lab.image(), &link).expect("symlink");
    bundle.config["root"]["path"] = json!(link);
    bundle.up();
    fs::rename(&bundle.directory, &moved).expect("rename");
    fs::remove_file(&link).expect("rm");
    assert_eq!(bundle.exec(&[], &["echo", "still"]).ok(), "still\n");
    bundle.force();
    assert_eq!(lab.leftovers(), NOTHING);
}

#[test]
fn one_whose_number_cannot_be_written_down_is_ended() {
    let Some(lab) = Lab::new() else { return };
    let bundle = Bundle::new(&lab, "lost", "sleep 1000");
    bundle.up();
    let nowhere = lab.path().join("nowhere/pid");
    let words = ["-d", "--pid-file", nowhere.to_str().expect("utf-8")];
    bundle.exec(&words, &["sleep", "1234"]).refused("pid file ");
    let left = bundle.exec(&[], &["ps"]).ok();
    assert!(!left.contains("sleep 1234"), "{left}");
    bundle.force();
    assert_eq!(lab.leftovers(), NOTHING);
}

#[test]
fn a_box_that_ends_meanwhile_is_said_to_have_ended() {
    let Some(lab) = Lab::new() else { return };
    let bundle = Bundle::new(&lab, "brief", "sleep 1000");
    bundle.up();
    let (id, runtime) = (tare_runtime::Id::new("brief").expect("id"), lab.runtime());
    let null = fs::File::options().read(true).write(true).open("/dev/null").expect("/dev/null");
    let stdio = [null.as_fd(), null.as_fd(), null.as_fd()];
    let spec = tare_runtime::ExecSpec { args: vec!["sleep".into(), "1000".into()], ..Default::default() };
    let held = runtime.exec(&id, &spec, stdio, None).expect("exec");
    // Until somebody has taken note of that one's end, the box's first process waits for it, without any namespace.
    let first = bundle.state()["pid"].as_i64().expect("pid");
    runtime.kill(&id, 9).expect("kill");
    eventually("it has no namespace", || fs::read_link(format!("/proc/{first}/ns/mnt")).is_err());
    std::thread::scope(|scope| {
        let late = scope.spawn(|| bundle.exec(&[], &["true"]));
        std::thread::sleep(std::time::Duration::from_millis(500));
        held.wait().expect("wait");
        late.join().expect("no panic").refused("there is no process in it");
    });
    bundle.force();
    assert_eq!(lab.leftovers(), NOTHING);
}
