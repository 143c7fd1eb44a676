//! Namespaces of the box's own, others' that it enters, and a range of ids.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::NOTHING;
use crate::common::bundle::{Bundle, eventually};
use crate::common::{Lab, stderr, stdout};

/// A process in namespaces of its own.
struct Other(Child);

impl Other {
    fn new() -> Self {
        let child = Command::new("unshare")
            .args(["--net", "--ipc", "--uts", "sh", "-c", "hostname other; exec sleep 1000"])
            .stdin(Stdio::null())
            .spawn()
            .expect("unshare");
        let other = Self(child);
        let own = fs::read_link("/proc/self/ns/uts").expect("ns");
        eventually("the namespaces", || {
            fs::read_link(other.path("uts")).is_ok_and(|uts| uts != own)
                && fs::read_to_string(format!("/proc/{}/comm", other.0.id())).is_ok_and(|c| c == "sleep\n")
        });
        other
    }

    fn path(&self, kind: &str) -> String {
        format!("/proc/{}/ns/{kind}", self.0.id())
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn network_ipc_and_uts_of_another_are_entered_by_path() {
    let Some(lab) = Lab::new() else { return };
    let other = Other::new();
    let script = "hostname; for n in net ipc uts; do readlink /proc/self/ns/$n; done";
    let mut bundle = Bundle::new(&lab, "join", script);
    bundle.config.as_object_mut().expect("config").remove("hostname");
    bundle.config["linux"]["namespaces"] = json!([
        {"type": "pid"}, {"type": "mount"}, {"type": "cgroup"},
        {"type": "network", "path": other.path("net")},
        {"type": "ipc", "path": other.path("ipc")},
        {"type": "uts", "path": other.path("uts")},
    ]);
    let link = |kind: &str| fs::read_link(other.path(kind)).expect("ns").display().to_string();
    assert_eq!(bundle.run().ok(), format!("other\n{}\n{}\n{}\n", link("net"), link("ipc"), link("uts")));
    bundle.config["hostname"] = json!("mine");
    bundle.run().refused("hostname: needs a \"uts\" namespace of the box's own");
    bundle.config.as_object_mut().expect("config").remove("hostname");
    bundle.config["linux"]["namespaces"][3]["path"] = json!(other.path("uts"));
    bundle.run().refused("step join: ");
    bundle.config["linux"]["namespaces"][3]["path"] = json!("/nowhere");
    bundle.run().refused("step join: /nowhere: No such file");
    assert_eq!(lab.leftovers(), NOTHING);
}

#[test]
fn a_box_from_options_joins_a_network_namespace_and_leaves_it_as_it_is() {
    let Some(lab) = Lab::new() else { return };
    let other = Other::new();
    let path = other.path("net");
    let script = ["sh", "-c", "readlink /proc/self/ns/net; cat /sys/class/net/lo/operstate"];
    let output = lab.run_with(&["--network-namespace", &path], "net", &script);
    let link = fs::read_link(&path).expect("ns").display().to_string();
    assert_eq!(stdout(&output), format!("{link}\ndown\n"), "its loopback is its owner's work: {output:?}");
    let output = lab.run_with(&["--network-namespace", "/nowhere"], "net", &script);
    assert!(stderr(&output).contains("step join: /nowhere: No such file"), "{output:?}");
    assert_eq!(lab.leftovers(), NOTHING);
}

#[test]
fn a_range_of_ids_is_mapped_and_files_belong_to_it() {
    let Some(lab) = Lab::new() else { return };
    let script = "cat /proc/self/uid_map /proc/self/setgroups; id -u; echo x > /tmp/file && chmod 600 /tmp/file; \
                  busybox chown 7:8 /tmp/file && stat -c %u:%g /tmp/file; echo x > /dev/null && echo null; \
                  grep CapEff /proc/self/status; sleep 1000";
    let mut bundle = Bundle::new(&lab, "range", script);
    bundle.config["root"]["readonly"] = json!(false);
    bundle.config["linux"]["namespaces"].as_array_mut().expect("namespaces").push(json!({"type": "user"}));
    for map in ["uidMappings", "gidMappings"] {
        bundle.config["linux"][map] = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    }
    fs::set_permissions(lab.image().join("tmp"), fs::Permissions::from_mode(0o1777)).expect("chmod");
    let file = bundle.up();
    let text = || fs::read_to_string(&file).expect("output");
    eventually("the end of the script", || text().contains("CapEff"));
    let text = text();
    let words: Vec<&str> = text.split_whitespace().collect();
    let expected = ["0", "100000", "65536", "allow", "0", "7:8", "null", "CapEff:", "00000000a00425fb"];
    assert_eq!(words, expected);
    let found = fs::metadata(lab.image().join("tmp/file")).expect("stat");
    assert_eq!((found.uid(), found.gid()), (100_007, 100_008));
    let pid = bundle.state()["pid"].to_string();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    assert!(status.contains("Uid:\t100000\t100000\t100000\t100000"), "{status}");
    // What comes later is the same somebody, with no group of the caller's.
    let script = "id -u; grep -E 'Groups|CapEff' /proc/self/status; cat /proc/self/uid_map";
    let printed = bundle.exec(&[], &["sh", "-c", script]).ok();
    let words: Vec<&str> = printed.split_whitespace().collect();
    assert_eq!(words, ["0", "Groups:", "CapEff:", "00000000a00425fb", "0", "100000", "65536"]);
    assert_eq!(bundle.exec(&["-u", "1000"], &["id", "-u"]).ok(), "1000\n");
    bundle.force();
    assert_eq!(lab.leftovers(), NOTHING);
}

/// The caller has groups; the box in a user namespace must not (CVE-2022-36109).
#[test]
fn exec_into_a_range_of_ids_leaves_the_callers_groups() {
    let Some(lab) = Lab::new() else { return };
    let mut bundle = Bundle::new(&lab, "grp", "sleep 1000");
    bundle.config["linux"]["namespaces"].as_array_mut().expect("namespaces").push(json!({"type": "user"}));
    for map in ["uidMappings", "gidMappings"] {
        bundle.config["linux"][map] = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    }
    bundle.up();
    let exec = lab.command(&["exec", "grp", "cat", "/proc/self/status"]);
    let output = Command::new("setpriv")
        .args(["--groups", "4,27"])
        .arg(exec.get_program())
        .args(exec.get_args())
        .output()
        .expect("setpriv");
    let status = String::from_utf8_lossy(&output.stdout).into_owned();
    let groups = status.lines().find_map(|line| line.strip_prefix("Groups:")).expect("groups");
    assert_eq!(groups.trim(), "", "{status}");
    bundle.force();
}

#[test]
fn what_cannot_be_a_box_is_refused() {
    let Some(lab) = Lab::new() else { return };
    let all = ["pid", "network", "ipc", "uts", "mount", "cgroup"];
    let without =
        |name: &str| all.iter().filter(|n| **n != name).map(|n| json!({"type": n})).collect::<Vec<_>>();
    let mut bundle = Bundle::new(&lab, "ns", "true");
    for name in ["pid", "mount"] {
        bundle.config["linux"]["namespaces"] = json!(without(name));
        bundle.run().refused(&format!("linux.namespaces: a \"{name}\" namespace of its own is missing"));
    }
    for (extra, words) in [
        (json!({"type": "pid"}), "linux.namespaces[6].type: \"pid\" is given twice"),
        (json!({"type": "time"}), "linux.namespaces[6].type: \"time\" is not supported"),
        (json!({"type": "nonsense"}), "linux.namespaces[6].type: unknown variant `nonsense`"),
        (json!({"type": "user"}), "linux.uidMappings: missing"),
    ] {
        let mut namespaces = without("");
        namespaces.push(extra);
        bundle.config["linux"]["namespaces"] = json!(namespaces);
        bundle.run().refused(words);
    }
    assert_eq!(lab.leftovers(), NOTHING);
}
