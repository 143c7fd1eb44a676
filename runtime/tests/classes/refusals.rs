//! Bundles that mean nothing, or something that we do not know: refused at once, with their place.

use std::fs;

use serde_json::{Value, json};

use crate::NOTHING;
use crate::common::Lab;
use crate::common::bundle::Bundle;

#[test]
fn what_is_not_known_is_refused_with_its_place() {
    let Some(lab) = Lab::new() else { return };
    let host = lab.path().join("host");
    std::os::unix::fs::symlink("/", &host).expect("symlink");
    let edits: [(&str, Value, &str); 24] = [
        ("/root/path", json!("/"), "root.path: /: is the host's own root"),
        ("/root/path", json!(host), "is the host's own root"),
        ("/root/path", json!("../../../../../../../../.."), "is the host's own root"),
        ("/root/path", json!("/proc/self/root"), "is the host's own root"),
        ("/root/path", json!(""), "root.path: : is empty"),
        ("/root/path", json!("/nowhere"), "root.path: /nowhere: No such file"),
        ("/root/path", json!("/etc/passwd"), "not a directory"),
        ("/ociVersion", json!("2.0.0"), "ociVersion: \"2.0.0\" is not a version 1.x.y"),
        ("/ociVersion", json!(""), "ociVersion: \"\""),
        ("/ociVersion", json!("1.x"), "ociVersion: \"1.x\""),
        ("/ociVersion", json!(1), "ociVersion: invalid type"),
        ("/process/capabilities/bounding", json!(["CAP_NONSENSE"]), "process.capabilities.bounding"),
        (
            "/process/capabilities/ambient",
            json!(["CAP_CHOWN"]),
            "process.capabilities.ambient: holds a capability",
        ),
        (
            "/process/capabilities/effective",
            json!(["CAP_SYS_ADMIN"]),
            "process.capabilities.effective: holds",
        ),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_NONSENSE", "soft": 1, "hard": 1}]),
            "process.rlimits[0].type: unknown variant",
        ),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]),
            "process.rlimits[0]: soft 2 is above hard 1",
        ),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_CORE", "soft": 1, "hard": 1}, {"type": "RLIMIT_CORE", "soft": 1, "hard": 1}]),
            "process.rlimits[1]: RLIMIT_CORE is given twice",
        ),
        ("/process/args", json!([]), "process.args: no command given"),
        ("/process/env", json!(["A"]), "process.env[0]: \"A\" is not NAME=value"),
        ("/process/cwd", json!("etc"), "process.cwd: etc is not absolute"),
        ("/process/oomScoreAdj", json!(1001), "process.oomScoreAdj: 1001"),
        ("/linux/rootfsPropagation", json!("shared"), "linux.rootfsPropagation: \"shared\""),
        ("/linux/cgroupsPath", json!("/../x"), "linux.cgroupsPath: \"/../x\""),
        ("/hostname", json!("x".repeat(65)), "hostname: is longer than 64 bytes"),
    ];
    for (pointer, value, words) in edits {
        let mut bundle = Bundle::new(&lab, "odd", "true");
        let (parent, name) = pointer.rsplit_once('/').expect("pointer");
        bundle.config.pointer_mut(parent).expect(parent)[name] = value;
        let called = bundle.create();
        assert!(called.err.contains("config.json: "), "{called:?}");
        called.refused(words);
        fs::remove_file(bundle.directory.join("config.json")).expect("rm");
    }
    for (part, value) in [
        ("hooks", json!({"prestart": [{"path": "/bin/true"}]})),
        ("solaris", json!({})),
        ("windows", json!({"layerFolders": ["x"]})),
    ] {
        let mut bundle = Bundle::new(&lab, "odd", "true");
        bundle.config[part] = value;
        bundle.create().refused(&format!("config.json: {part}: not supported"));
        fs::remove_file(bundle.directory.join("config.json")).expect("rm");
    }
    assert_eq!(lab.leftovers(), NOTHING);
}

#[test]
fn what_is_said_twice_cut_off_or_no_json_is_refused() {
    let Some(lab) = Lab::new() else { return };
    let mut bundle = Bundle::new(&lab, "twice", "true");
    bundle.config["annotations"] = json!({"a": "1"});
    bundle.config["linux"]["sysctl"] = json!({"kernel.domainname": "x"});
    let text = serde_json::to_string(&bundle.config).expect("JSON");
    let twice = |once: &str, more: &str| {
        assert!(text.contains(once), "{once}");
        text.replacen(once, &format!("{more},{once}"), 1)
    };
    for (text, words) in [
        (twice("\"ociVersion\":", "\"ociVersion\":\"1.0.0\""), "ociVersion"),
        (twice("\"noNewPrivileges\":", "\"noNewPrivileges\":false"), "noNewPrivileges"),
        (twice("\"a\":\"1\"", "\"a\":\"2\""), "annotations: \"a\" is given twice"),
        (
            twice("\"kernel.domainname\":", "\"kernel.domainname\":\"y\""),
            "linux.sysctl: \"kernel.domainname\" is given twice",
        ),
        (text[..text.len() / 2].to_owned(), "EOF while parsing"),
        (text[..text.len() - 1].to_owned(), "EOF while parsing"),
        (String::new(), "EOF while parsing"),
        (format!("{text} {{}}"), "trailing characters"),
        ("[]".into(), "config.json: "),
        ("null".into(), "config.json: "),
        (format!("{{\"x\":{}", "[".repeat(100_000)), "recursion limit"),
        ("\u{feff}{}".into(), "config.json: "),
    ] {
        fs::write(bundle.directory.join("config.json"), text).expect("write");
        let directory = bundle.directory.display().to_string();
        crate::common::bundle::tare(&lab, &["create", "--bundle", &directory, "twice"]).refused(words);
    }
    fs::write(bundle.directory.join("config.json"), [0xff, 0xfe, 0x00]).expect("write");
    let directory = bundle.directory.display().to_string();
    crate::common::bundle::tare(&lab, &["create", "--bundle", &directory, "twice"]).refused("config.json");
    assert_eq!(lab.leftovers(), NOTHING);
}
