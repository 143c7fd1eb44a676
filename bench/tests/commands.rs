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
    assert_eq!(tare(&["levitate"]).status.code(), Some(2));
}
