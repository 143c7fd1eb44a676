//! What the box inherits of its caller: nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::json;

use crate::common::bundle::{Bundle, call, tare};
use crate::common::{Lab, stdout};

/// The caller has groups, and capabilities that outlive a change of user (CVE-2022-24769, CVE-2022-36109).
#[test]
fn capabilities_and_groups_of_the_caller_are_left() {
    let Some(lab) = Lab::new() else { return };
    let mut bundle = Bundle::new(&lab, "cap", "cat /proc/self/status; sleep 1000");
    bundle.write();
    let rich = |command: Command| {
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--groups", "4,27", "--inh-caps=+chown,+kill", "--ambient-caps=+chown,+kill"]);
        setpriv.arg(command.get_program()).args(command.get_args()).stdin(std::process::Stdio::null());
        setpriv
    };
    let own = Command::new("cat");
    let caller = stdout(&rich(own).arg("/proc/self/status").output().expect("setpriv"));
    assert!(caller.contains("Groups:\t4 27") && !caller.contains("CapAmb:\t0000000000000000"), "{caller}");
    let check = |status: &str, what: &str| {
        for line in ["CapInh:\t0000000000000000", "CapAmb:\t0000000000000000", "Groups:\t"] {
            assert!(status.lines().any(|l| l.trim_end() == line.trim_end()), "{what}: {line}: {status}");
        }
    };
    let directory = bundle.directory.display().to_string();
    let root = lab.image().display().to_string();
    for uid in [0, 1000] {
        bundle.config["process"]["user"] = json!({"uid": uid, "gid": uid});
        bundle.config["process"]["args"] = json!(["cat", "/proc/self/status"]);
        bundle.write();
        check(&call(&lab, rich(lab.command(&["run", "--bundle", &directory, "cap"]))).ok(), "bundle");
    }
    let run =
        ["run", "--cgroup-parent", &lab.parent, "--rootfs", &root, "cap", "--", "cat", "/proc/self/status"];
    check(&call(&lab, rich(lab.command(&run))).ok(), "rootfs");
    bundle.config["process"]["args"] = json!(["sleep", "1000"]);
    bundle.up();
    check(&call(&lab, rich(lab.command(&["exec", "cap", "cat", "/proc/self/status"]))).ok(), "exec");
    bundle.force();
}

#[test]
fn groups_are_exactly_those_of_the_bundle_and_no_id_is_beyond_the_last() {
    let Some(lab) = Lab::new() else { return };
    let mut bundle = Bundle::new(&lab, "ids", "id -u; id -g; grep Groups /proc/self/status");
    bundle.config["process"]["user"] = json!({"uid": 1000, "gid": 100, "additionalGids": [5, 6]});
    assert_eq!(
        bundle.run().ok().split_whitespace().collect::<Vec<_>>(),
        ["1000", "100", "Groups:", "5", "6"]
    );
    for (user, place) in [
        (json!({"uid": 4_294_967_295_u32, "gid": 0}), "process.user.uid: 4294967295 is beyond"),
        (json!({"uid": 0, "gid": 4_294_967_295_u32}), "process.user.gid: 4294967295 is beyond"),
        (
            json!({"uid": 0, "gid": 0, "additionalGids": [1, 4_294_967_295_u32]}),
            "process.user.additionalGids: 4294967295",
        ),
        (json!({"uid": 4_294_967_296_u64, "gid": 0}), "process.user.uid: invalid value"),
        (json!({"uid": -1, "gid": 0}), "process.user.uid: invalid value"),
        (json!({"uid": 0, "gid": 0, "umask": 0o1000}), "process.user.umask: 1000 is beyond 777"),
    ] {
        bundle.config["process"]["user"] = user;
        bundle.run().refused(&format!("config.json: {place}"));
    }
    let mut bundle = Bundle::new(&lab, "user", "sleep 1000");
    bundle.config["process"]["user"] = json!({"uid": 0, "gid": 0});
    bundle.up();
    for user in ["4294967295", "0:4294967295", "4294967296", "-1", "root"] {
        let called = bundle.exec(&[&format!("--user={user}")], &["true"]);
        assert!(called.code == Some(2) && called.err.contains("is no id"), "{called:?}");
    }
    bundle.force();
}

#[test]
fn program_and_environment_are_the_boxs_own() {
    let Some(lab) = Lab::new() else { return };
    let tools = lab.path().join("tools");
    fs::create_dir(&tools).expect("mkdir");
    fs::write(tools.join("hosttool"), "#!/bin/sh\n").expect("write");
    fs::set_permissions(tools.join("hosttool"), fs::Permissions::from_mode(0o755)).expect("chmod");
    let mut bundle = Bundle::new(&lab, "path", "");
    let directory = bundle.directory.display().to_string();
    let host = |mut command: Command| {
        command.env("PATH", &tools).env("SECRET", "of the host");
        call(&lab, command)
    };
    bundle.config["process"]["args"] = json!(["hosttool"]);
    bundle.write();
    host(lab.command(&["run", "--bundle", &directory, "path"]))
        .refused("step exec: hosttool (tried /usr/local/sbin/");
    host(lab.command(&["create", "--bundle", &directory, "path"])).refused("step command: hosttool (tried ");
    // A relative part of PATH is not searched, nor is the working directory.
    bundle.config["process"]["env"] = json!(["PATH=bin:.:/etc", "A=b"]);
    bundle.config["process"]["args"] = json!(["busybox"]);
    bundle.write();
    host(lab.command(&["run", "--bundle", &directory, "path"])).refused("step exec: busybox: ");
    bundle.config["process"]["env"] = json!(["PATH=/bin", "A=b"]);
    bundle.config["process"]["args"] = json!(["cat", "/proc/self/environ"]);
    bundle.write();
    assert_eq!(host(lab.command(&["run", "--bundle", &directory, "path"])).ok(), "PATH=/bin\0A=b\0");
    bundle.config["process"]["args"] = json!(["sleep", "1000"]);
    bundle.up();
    assert_eq!(host(lab.command(&["exec", "path", "cat", "/proc/self/environ"])).ok(), "PATH=/bin\0A=b\0");
    host(lab.command(&["exec", "path", "hosttool"])).refused("step exec: hosttool: ");
    bundle.force();
}

#[test]
fn names_that_would_be_paths_or_options_are_refused_before_anything_is_made() {
    let Some(lab) = Lab::new() else { return };
    let bundle = Bundle::new(&lab, "fine", "true");
    bundle.write();
    let directory = bundle.directory.display().to_string();
    for id in ["../fine", "a/b", ".", "..", "", "-f", "a\nb", "a b", "ä", &"x".repeat(65)] {
        for words in [&["create", "--bundle", &directory][..], &["delete", "--force"], &["state"], &["kill"]]
        {
            let called = tare(&lab, &[words, &["--", id]].concat());
            assert!(called.code == Some(2) && called.err.contains("container id"), "{id:?}: {called:?}");
        }
    }
    assert!(!lab.root().exists());
}
