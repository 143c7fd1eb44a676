//! The commands that measure nothing.

mod common;

use assert_cmd::Command;
use serde_json::Value;

fn tare(args: &[&str]) -> std::process::Output {
    common::binaries();
    Command::new(env!("CARGO_BIN_EXE_tare")).args(args).output().unwrap()
}

fn json(args: &[&str]) -> Value {
    let output = tare(args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn doctor_judges_every_item_and_blames_nothing_on_a_run_that_was_not() {
    let doctor = json(&["doctor", "--json"]);
    let audit = doctor["audit"].as_array().unwrap();
    assert_eq!(audit.len(), 27);
    assert!(audit.iter().all(|item| item["verdict"] != "failed"), "{audit:?}");
    assert!(doctor["host"]["kvm"].as_str().unwrap().len() > 5);
}

#[test]
fn doctor_holds_needs_against_limits_and_names_the_one_that_binds() {
    let doctor = json(&["doctor", "--instances", "1000000", "--json", "--out", "/nonexistent"]);
    let limits = doctor["limits"].as_array().unwrap();
    let process = limits.iter().find(|it| it["contender"] == "process").unwrap();
    assert_eq!((&process["instances"], &process["allowed"]), (&1_000_000.into(), &false.into()));
    // The one that binds allows the fewest of all, by its own figures.
    let left =
        |it: &Value| it["limit"].as_u64().map(|limit| limit.saturating_sub(it["in_use"].as_u64().unwrap()));
    let largest = |it: &Value| left(it)?.checked_div(it["per_box"].as_u64().unwrap());
    let all = process["limits"].as_array().unwrap();
    assert_eq!(process["largest"].as_u64(), all.iter().filter_map(largest).min());
    let first = all.iter().min_by_key(|it| largest(it).unwrap_or(u64::MAX)).unwrap();
    assert_eq!(process["binding"], first["resource"]);
    assert!(process["memory"]["source"].as_str().unwrap().contains("not measured"), "{process}");
    let one = tare(&["doctor", "--instances", "1", "--only", "process", "--out", "/nonexistent"]);
    let text = String::from_utf8(one.stdout).unwrap();
    assert!(text.contains("what 1 boxes of process need: allowed"), "{text}");
    assert!(text.contains("/proc/sys/kernel/pid_max"), "{text}");
    let unknown = tare(&["doctor", "--instances", "1", "--only", "nobody"]);
    assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");
}

#[test]
fn list_names_contenders_and_measures_with_reasons() {
    let list = json(&["list", "--json"]);
    let contenders = list["contenders"].as_array().unwrap();
    let names = [
        "hand-loop",
        "process",
        "floor",
        "floor-confined",
        "tare",
        "tare-lib",
        "runc",
        "crun",
        "crun-wrapper",
        "qemu",
    ];
    for name in names {
        let row = contenders.iter().find(|row| row["name"] == name).unwrap();
        assert!(row["runnable"] == true || row["reason"].is_string(), "{row}");
    }
    assert_eq!(list["measures"][0]["name"], "startup");
}

#[test]
fn the_manual_and_the_completions_know_every_command() {
    for args in [&["man"][..], &["completions", "bash"], &["--help"]] {
        let text = String::from_utf8(tare(args).stdout).unwrap();
        for command in ["doctor", "list", "run", "report", "clean"] {
            assert!(text.contains(command), "{args:?} without {command}");
        }
    }
}

#[test]
fn usage_errors_exit_with_two() {
    assert_eq!(tare(&["run", "--rounds", "0"]).status.code(), Some(2));
    for number in ["0", "-3", "many", "5000000000"] {
        let output = tare(&["doctor", "--instances", number]);
        assert_eq!(output.status.code(), Some(2), "{number}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("--instances"), "{output:?}");
    }
    assert_eq!(tare(&["levitate"]).status.code(), Some(2));
}
