//! The same life for a user without any rights.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::common::bundle::{Called, call, eventually};
use crate::common::{Lab, entries, skip};

const NOBODY: u32 = 65534;

fn as_nobody(lab: &Lab, command: &[&str]) -> Called {
    let mut setpriv = Command::new("setpriv");
    setpriv.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).args(command);
    setpriv.stdin(Stdio::null()).current_dir("/");
    call(lab, setpriv)
}

#[test]
fn a_user_without_rights_creates_starts_executes_and_deletes() {
    let Some(lab) = Lab::new() else { return };
    let (program, home) = (lab.path().join("tare-runtime"), lab.path().join("home"));
    fs::copy(env!("CARGO_BIN_EXE_tare-runtime"), &program).expect("copy");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("chmod");
    fs::create_dir(&home).expect("mkdir");
    chown(&home, Some(NOBODY), Some(NOBODY)).expect("chown");
    let probe = as_nobody(&lab, &["unshare", "--user", "true"]);
    if probe.code != Some(0) {
        skip("userns", &format!("user namespaces are not allowed here: {}", probe.err));
        return;
    }
    let text = |path: PathBuf| path.to_str().expect("utf-8").to_owned();
    let (program, state, bundle) = (text(program), text(home.join("state")), text(home.clone()));
    let tare =
        |words: &[&str]| as_nobody(&lab, &[&[program.as_str(), "--root", state.as_str()], words].concat());
    tare(&["spec", "--rootless", "--bundle", &bundle]).ok();
    let file = home.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file).expect("read")).expect("JSON");
    config["root"]["path"] = json!(lab.image());
    config["process"]["args"] =
        json!(["sh", "-c", "id -u; grep -E 'CapEff|Seccomp:' /proc/self/status; sleep 1000"]);
    fs::write(&file, config.to_string()).expect("write");
    let created = tare(&["create", "--bundle", &bundle, "u"]);
    let output = created.file.clone();
    created.ok();
    let status = || serde_json::from_str::<Value>(&tare(&["state", "u"]).ok()).expect("JSON");
    assert_eq!(status()["status"], "created");
    tare(&["start", "u"]).ok();
    assert_eq!(status()["status"], "running");
    let expected = "0\nCapEff:\t00000000a00425fb\nSeccomp:\t2\n";
    eventually("output", || fs::read_to_string(&output).expect("output") == expected);
    let pid = status()["pid"].as_i64().expect("pid");
    let found = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    assert!(found.contains("Uid:\t65534\t65534"), "{found}");
    let printed = tare(&[
        "exec",
        "-e",
        "A=b",
        "u",
        "sh",
        "-c",
        "id -u; echo $A; cat /proc/self/uid_map; grep CapEff /proc/self/status",
    ])
    .ok();
    let words: Vec<&str> = printed.split_whitespace().collect();
    assert_eq!(words, ["0", "b", "0", "65534", "1", "CapEff:", "00000000a00425fb"]);
    assert_eq!(tare(&["exec", "u", "sh", "-c", "exit 9"]).code, Some(9));
    tare(&["kill", "u", "KILL"]).ok();
    eventually("the end", || status()["status"] == "stopped");
    tare(&["delete", "u"]).ok();
    // Limits that nobody may set are refused, or recorded on request.
    config["linux"]["resources"]["pids"] = json!({"limit": 10});
    fs::write(&file, config.to_string()).expect("write");
    tare(&["create", "--bundle", &bundle, "u"]).refused("limits not applied: pids: ");
    tare(&["create", "--bundle", &bundle, "--record-missing-limits", "u"]).ok();
    assert!(status()["notApplied"][0].as_str().expect("words").starts_with("pids: "));
    tare(&["delete", "--force", "u"]).ok();
    // As a create leaves it that was killed in its last moment: the box waits, and its number is not known.
    // Without cgroups there is only the gate to find it by.
    config["linux"]["resources"].as_object_mut().expect("resources").remove("pids");
    fs::write(&file, config.to_string()).expect("write");
    tare(&["create", "--bundle", &bundle, "u"]).ok();
    let waiting = status()["pid"].as_i64().expect("pid");
    fs::remove_file(home.join("state/u/state.json")).expect("rm");
    assert_eq!(status()["status"], "creating");
    tare(&["delete", "u"]).refused("being created, or was killed while it was");
    tare(&["delete", "--force", "u"]).ok();
    let stat = || fs::read_to_string(format!("/proc/{waiting}/stat"));
    eventually("the end of the box", || stat().map_or(true, |stat| stat.contains(") Z ")));
    assert_eq!(entries(&home.join("state")), crate::NOTHING);
    assert!(
        !std::path::Path::new(&format!("/proc/{pid}")).exists()
            || fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| s.contains(" Z "))
    );
    // Somebody else's id is not theirs to map.
    config["linux"]["uidMappings"][0]["hostID"] = json!(0);
    fs::write(&file, config.to_string()).expect("write");
    tare(&["create", "--bundle", &bundle, "u"])
        .refused("linux.uidMappings: without root only the caller's own id");
}
