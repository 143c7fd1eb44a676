//! Device nodes: made as the bundle says, usable only if the devices controller allows it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::json;

use crate::common::Lab;
use crate::common::bundle::Bundle;

#[test]
fn nodes_have_kind_number_mode_and_owner() {
    let Some(lab) = Lab::new() else { return };
    let mut bundle =
        Bundle::new(&lab, "nodes", "stat -c '%n %F %t:%T %a %u:%g' /dev/kmsg /dev/loopy /dev/null");
    bundle.config["linux"]["devices"] = json!([
        {"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o640, "uid": 5, "gid": 6},
        {"path": "/dev/loopy", "type": "b", "major": 7, "minor": 0, "fileMode": 0o600},
        {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o444},
    ]);
    let expected = "/dev/kmsg character special file 1:b 640 5:6\n/dev/loopy block special file 7:0 600 0:0\n\
                    /dev/null character special file 1:3 444 0:0\n";
    assert_eq!(bundle.run().ok(), expected);
    for (path, words) in [("/etc/x", "is not /dev/NAME"), ("/dev/../x", "is not /dev/NAME")] {
        bundle.config["linux"]["devices"] = json!([{"path": path, "type": "c", "major": 1, "minor": 3}]);
        bundle.run().refused(words);
    }
}

/// A directory of the host with nodes that no box may use.
fn foreign(lab: &Lab) -> std::path::PathBuf {
    let directory = lab.path().join("foreign");
    fs::create_dir(&directory).expect("mkdir");
    for (name, kind, major, minor) in [("tun", SFlag::S_IFCHR, 10, 200), ("loop", SFlag::S_IFBLK, 7, 0)] {
        let mode = Mode::from_bits_truncate(0o666);
        mknod(&directory.join(name), kind, mode, makedev(major, minor)).expect("mknod");
    }
    directory
}

#[test]
fn another_device_is_refused_wherever_its_node_comes_from() {
    let Some(lab) = Lab::new() else { return };
    let outside = foreign(&lab);
    let script = "for d in /v/tun /v/loop /dev/tun; do (: < $d) 2>&1; (: > $d) 2>&1; done; echo x > /dev/null; \
                  head -c 2 /dev/zero | wc -c";
    let mut bundle = Bundle::new(&lab, "dev", script);
    bundle.bind(&outside, "/v", &["rbind", "rw"]);
    fs::create_dir(lab.image().join("v")).expect("mkdir");
    bundle.config["linux"]["devices"] = json!([{"path": "/dev/tun", "type": "c", "major": 10, "minor": 200}]);
    let printed = bundle.run().ok();
    assert_eq!(printed.matches("Operation not permitted").count(), 6, "{printed}");
    assert!(printed.ends_with("2\n"), "{printed}");
    // Allowed by name it opens, as far as allowed; what comes by exec is locked in too.
    bundle.config["linux"]["resources"]["devices"] = json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 10, "minor": 200, "access": "r"}]);
    let printed = bundle.run().ok();
    assert_eq!(printed.matches("Operation not permitted").count(), 4, "{printed}");
    bundle.config["process"]["args"] = json!(["sleep", "1000"]);
    bundle.up();
    let text = bundle.exec(&[], &["sh", "-c", "(: > /v/tun) 2>&1; (: < /v/loop) 2>&1; (: < /v/tun) 2>&1"]);
    assert_eq!(text.out.matches("Operation not permitted").count(), 2, "{text:?}");
    bundle.force();
}

/// "All devices, for reading" is no permission to write.
#[test]
fn a_rule_for_all_devices_allows_what_it_says_and_no_more() {
    let Some(lab) = Lab::new() else { return };
    let outside = foreign(&lab);
    fs::create_dir(lab.image().join("v")).expect("mkdir");
    let mut bundle = Bundle::new(&lab, "all", "(: < /v/tun) 2>&1 && echo read; (: > /v/tun) 2>&1");
    bundle.bind(&outside, "/v", &["rbind"]);
    for rule in [
        json!({"allow": true, "access": "r"}),
        json!({"allow": true, "type": "a", "access": "r"}),
        json!({"allow": true, "type": "a", "major": 10, "access": "r"}),
        json!({"allow": true, "type": "a", "major": 10, "minor": 200, "access": "r"}),
    ] {
        bundle.config["linux"]["resources"]["devices"] = json!([{"allow": false, "access": "rwm"}, rule]);
        let printed = bundle.run().out;
        assert!(
            printed.starts_with("read\n") && printed.contains("Operation not permitted"),
            "{rule}: {printed}"
        );
    }
    bundle.config["linux"]["resources"]["devices"] =
        json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "a", "major": 7, "access": "rwm"}]);
    let printed = bundle.run().out;
    assert_eq!(printed.matches("Operation not permitted").count(), 2, "{printed}");
}

#[test]
fn no_node_can_be_made_that_the_controller_does_not_allow() {
    let Some(lab) = Lab::new() else { return };
    let mut bundle = Bundle::new(
        &lab,
        "mknod",
        "busybox mknod /dev/shm/x c 10 200 2>&1; busybox mknod /dev/shm/n c 1 3 2>&1",
    );
    for set in ["bounding", "effective", "permitted"] {
        bundle.config["process"]["capabilities"][set].as_array_mut().expect("set").push(json!("CAP_MKNOD"));
    }
    let printed = bundle.run().out;
    assert_eq!(printed.matches("Operation not permitted").count(), 2, "{printed}");
}

/// The nodes that cover masked paths must be the real ones (CVE-2025-31133).
#[test]
fn somebody_elses_dev_must_have_a_real_null() {
    let Some(lab) = Lab::new() else { return };
    let canary = lab.path().join("canary");
    fs::create_dir(&canary).expect("mkdir");
    let target = lab.path().join("target");
    fs::write(&target, "untouched").expect("write");
    let put: [fn(&Path, &Path); 3] = [
        |null, _| fs::write(null, "a file").expect("write"),
        |null, target| symlink(target, null).expect("symlink"),
        |null, _| mknod(null, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 5)).expect("mknod"),
    ];
    for (number, put) in put.iter().enumerate() {
        let null = canary.join("null");
        let _ = fs::remove_file(&null);
        put(&null, &target);
        let mut bundle = Bundle::new(&lab, "null", "true");
        let mounts = bundle.config["mounts"].as_array_mut().expect("mounts");
        mounts.retain(|mount| !mount["destination"].as_str().expect("destination").starts_with("/dev"));
        bundle.bind(&canary, "/dev", &["bind", "rw"]);
        bundle.run().refused("not the device it should be: the bundle put something else there");
        fs::remove_file(bundle.directory.join("config.json")).expect("rm");
        let mut names: Vec<_> =
            fs::read_dir(&canary).expect("ls").map(|e| e.expect("entry").file_name()).collect();
        names.sort();
        assert_eq!(names, ["null"], "case {number}");
        assert_eq!(fs::read_to_string(&target).expect("read"), "untouched");
    }
    assert_eq!(lab.leftovers(), crate::NOTHING);
}
