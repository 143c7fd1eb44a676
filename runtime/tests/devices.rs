//! Device nodes from elsewhere than the box's own /dev: the second lock holds, wherever a node comes from.
//!
//! This is the devices controller of version 1, or the program on version 2, whichever this host has. The
//! same on version 2 for sure: bench/tests/cgroup_v2.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use common::{Lab, skip, stdout};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::{Value, json};
use tare_runtime::oci::default_config;

/// Opens what there is and says how it went, a line each. A shell ends when a redirection of its own fails,
/// hence the inner ones.
const PROBE: &str = r#"
try() { name=$1; shift; if said=$(sh -c "$*" 2>&1); then echo "$name ok"; else echo "$name ${said##*: }"; fi; }
try null 'echo x >/dev/null'
try zero 'dd if=/dev/zero of=/dev/full bs=1 count=0'
try tty ': </dev/tty'
try ptmx 'exec 9<>/dev/ptmx && ls /dev/pts/0'
try lent-null 'echo x >/lent/null'
try kmsg ': >/lent/kmsg'
try loop ': </lent/loop'
try made-null 'mknod /dev/made-null c 1 3'
try made-kmsg 'mknod /dev/made-kmsg c 1 11'
try made-loop 'mknod /dev/made-loop b 7 0'
try fifo 'mknod /dev/fifo p'
grep CapEff /proc/self/status
"#;

const REFUSED: &str = "Operation not permitted";

/// A bundle that lends the box a directory with nodes and gives it CAP_MKNOD; `None`, said aloud, where no
/// node can be made.
fn bundle(lab: &Lab, mut config: Value, rules: &[Value]) -> Option<PathBuf> {
    let lent = lab.path().join("lent");
    if !lent.exists() {
        fs::create_dir(&lent).expect("mkdir");
        for (name, kind, major, minor) in
            [("null", SFlag::S_IFCHR, 1, 3), ("kmsg", SFlag::S_IFCHR, 1, 11), ("loop", SFlag::S_IFBLK, 7, 0)]
        {
            let path = lent.join(name);
            if let Err(errno) = mknod(&path, kind, Mode::from_bits_truncate(0o666), makedev(major, minor)) {
                skip("root", &format!("no node can be made here: {errno}"));
                return None;
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("chmod");
        }
        // They can be opened where nothing locks them, so it is the lock that the tests see.
        if let Err(error) = fs::OpenOptions::new().write(true).open(lent.join("kmsg")) {
            skip("root", &format!("the host itself cannot open the node: {error}"));
            return None;
        }
    }
    config["root"]["path"] = json!(lab.image());
    config["process"]["args"] = json!(["sh", "-c", PROBE]);
    for set in ["bounding", "effective", "permitted"] {
        config["process"]["capabilities"][set].as_array_mut().expect("a list").push(json!("CAP_MKNOD"));
    }
    let mounts = config["mounts"].as_array_mut().expect("a list");
    mounts.push(json!({"destination": "/lent", "type": "bind", "source": lent, "options": ["bind"]}));
    config["linux"]["resources"]["devices"].as_array_mut().expect("a list").extend(rules.iter().cloned());
    let bundle = lab.path().join("bundle");
    fs::create_dir_all(&bundle).expect("mkdir");
    fs::write(bundle.join("config.json"), config.to_string()).expect("config.json");
    Some(bundle)
}

/// What the probe said in a box made of the bundle.
fn probe(lab: &Lab, rules: &[Value]) -> Option<BTreeMap<String, String>> {
    probe_of(lab, default_config(None), rules)
}

fn probe_of(lab: &Lab, config: Value, rules: &[Value]) -> Option<BTreeMap<String, String>> {
    let bundle = bundle(lab, config, rules)?;
    let mut run = lab.command(&["run", "--cgroup-parent", &lab.parent, "--bundle"]);
    let output = run.arg(bundle).arg("probe").output().expect("tare-runtime starts");
    assert!(output.status.success(), "{output:?}");
    Some(said(&stdout(&output)))
}

fn said(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().map(|line| line.split_once([' ', '\t']).unwrap_or_else(|| panic!("{text}")));
    pairs.map(|(name, answer)| (name.trim_end_matches(':').to_owned(), answer.trim().to_owned())).collect()
}

/// Asserts what is the same for every box.
fn expect(said: &BTreeMap<String, String>, facts: &[(&str, &str)]) {
    for (name, answer) in facts {
        assert_eq!(said.get(*name).map(String::as_str), Some(*answer), "{name} in {said:#?}");
    }
}

const KNOWN: &[(&str, &str)] = &[
    ("null", "ok"),
    ("zero", "ok"),
    ("ptmx", "ok"),
    ("lent-null", "ok"),
    // Nobody refuses it: there is no terminal.
    ("tty", "No such device or address"),
    ("fifo", "ok"),
];

#[test]
fn nodes_from_a_volume_cannot_be_opened_and_none_can_be_made() {
    let Some(lab) = Lab::new() else { return };
    let Some(said) = probe(&lab, &[]) else { return };
    expect(&said, KNOWN);
    expect(&said, &[("kmsg", REFUSED), ("loop", REFUSED)]);
    // With CAP_MKNOD, so it is not the missing capability.
    let capabilities = u64::from_str_radix(&said["CapEff"], 16).expect("a mask");
    assert_ne!(capabilities & 1 << 27, 0, "CAP_MKNOD in {capabilities:x}");
    expect(&said, &[("made-null", REFUSED), ("made-kmsg", REFUSED), ("made-loop", REFUSED)]);
    assert!(lab.leftovers().is_empty());
}

#[test]
fn what_the_bundle_allows_can_be_used_and_made_and_nothing_more() {
    let Some(lab) = Lab::new() else { return };
    let allowed = json!({"allow": true, "type": "c", "major": 1, "minor": 11, "access": "wm"});
    let Some(said) = probe(&lab, &[allowed]) else { return };
    expect(&said, KNOWN);
    let facts = [
        ("kmsg", "ok"),
        ("made-kmsg", "ok"),
        ("loop", REFUSED),
        ("made-loop", REFUSED),
        ("made-null", REFUSED),
    ];
    expect(&said, &facts);
}

#[test]
fn a_user_namespace_does_not_open_what_is_locked() {
    let Some(lab) = Lab::new() else { return };
    let Some(said) = probe_of(&lab, default_config(Some((0, 0))), &[]) else { return };
    expect(&said, KNOWN);
    expect(&said, &[("kmsg", REFUSED), ("loop", REFUSED)]);
}

#[test]
fn a_later_denial_wins_over_what_was_allowed() {
    let Some(lab) = Lab::new() else { return };
    let allowed = json!({"allow": true, "type": "c", "major": 1, "minor": 11, "access": "w"});
    let reading = json!({"allow": true, "access": "r"});
    let denied = json!({"allow": false, "type": "c", "access": "rwm"});
    let Some(said) = probe(&lab, &[allowed, denied]) else { return };
    expect(&said, KNOWN);
    expect(&said, &[("kmsg", REFUSED), ("made-kmsg", REFUSED)]);
    // Reading for all is reading, and not everything.
    let Some(said) = probe(&lab, &[reading]) else { return };
    expect(&said, KNOWN);
    expect(&said, &[("kmsg", REFUSED), ("made-kmsg", REFUSED), ("made-loop", REFUSED)]);
    assert_ne!(said["loop"], REFUSED, "{said:#?}");
}

#[test]
fn a_box_with_a_terminal_can_open_it() {
    let Some(lab) = Lab::new() else { return };
    let output = lab.run_with(&["-t"], "tty", &["sh", "-c", "echo opened >/dev/tty && echo x >/dev/null"]);
    assert!(output.status.success() && stdout(&output).contains("opened"), "{output:?}");
}

#[test]
fn who_comes_later_by_exec_is_locked_too() {
    let Some(lab) = Lab::new() else { return };
    let Some(bundle) = bundle(&lab, default_config(None), &[]) else { return };
    let config = bundle.join("config.json");
    let mut value: Value = serde_json::from_slice(&fs::read(&config).expect("read")).expect("json");
    value["process"]["args"] = json!(["sleep", "1000"]);
    fs::write(config, value.to_string()).expect("write");
    let mut run = lab.command(&["run", "-d", "--cgroup-parent", &lab.parent, "--bundle"]);
    let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null").expect("/dev/null");
    run.arg(bundle).arg("later").stdout(null.try_clone().expect("clone")).stderr(null);
    assert!(run.status().expect("tare-runtime starts").success());
    let output = lab.command(&["exec", "later", "sh", "-c", PROBE]).output().expect("exec");
    assert!(output.status.success(), "{output:?}");
    let said = said(&stdout(&output));
    expect(&said, KNOWN);
    expect(&said, &[("kmsg", REFUSED), ("loop", REFUSED), ("made-null", REFUSED), ("made-loop", REFUSED)]);
}
