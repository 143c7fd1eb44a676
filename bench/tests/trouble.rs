//! What goes wrong in a run ends as a failure row or an exit status, and the other rows are there.

mod common;

use std::process::Stdio;
use std::time::Duration;

use common::{Guard, document, finish, left_of, lines, root, row, samples, skip, tare, values, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tare_reports::document::{Failure, Status};

#[test]
fn a_payload_that_hangs_and_one_that_crashes_are_failure_rows() {
    let out = tempfile::tempdir().unwrap();
    let mut command =
        tare(out.path(), &["startup", "--only", "hand-loop,process,tare-lib,tare", "--rounds", "1"]);
    let output = finish(command.env("TARE_FAULT", "tare-lib=hang,tare=crash"));
    assert_eq!(output.status.code(), Some(3), "two contenders failed");
    let document = document(out.path());
    let hung = &samples(&document, "tare-lib", "ready")[0];
    assert_eq!(hung.failure, Some(Failure::Timeout), "{hung:?}");
    let crashed = &samples(&document, "tare", "ready")[0];
    assert_eq!(crashed.failure, Some(Failure::Crash), "{crashed:?}");
    assert_eq!(row(&document, "tare").status, Status::Failed);
    assert_eq!(values(&document, "process", "ready").len(), 1, "the other rows are there");
    assert_eq!(left_of(&document.run.id), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_guest_that_panics_is_named_so() {
    let out = tempfile::tempdir().unwrap();
    let mut command = tare(out.path(), &["startup", "--only", "process,qemu", "--rounds", "1"]);
    finish(command.env("TARE_FAULT", "qemu=crash"));
    let document = document(out.path());
    if row(&document, "qemu").status == Status::Skipped {
        return skip("qemu", row(&document, "qemu").reason.as_deref().unwrap_or("?"));
    }
    let sample = &samples(&document, "qemu", "ready")[0];
    assert_eq!(sample.failure, Some(Failure::GuestPanic), "{sample:?}");
    assert!(sample.detail.as_deref().unwrap().contains("panic"), "{sample:?}");
    assert_eq!(values(&document, "process", "ready").len(), 1);
}

#[test]
fn a_binary_that_vanishes_half_way_leaves_rows_before_and_failures_after() {
    let out = tempfile::tempdir().unwrap();
    let runtime = out.path().join("tare-runtime");
    std::fs::copy(common::binaries().join("tare-runtime"), &runtime).unwrap();
    let child = tare(out.path(), &["startup", "--only", "process,tare", "--rounds", "150"])
        .env("TARE_RUNTIME", &runtime)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut child = Guard(child);
    wait_until("some samples", || lines(out.path()) > 60);
    std::fs::remove_file(&runtime).unwrap();
    let status = child.0.wait().unwrap();
    assert_eq!(status.code(), Some(0), "it was measured, in part");
    let document = document(out.path());
    let tare = samples(&document, "tare", "ready");
    assert_eq!(tare.len(), 150);
    assert!(tare[0].value.is_some());
    let last = tare.last().unwrap();
    assert_eq!(last.failure, Some(Failure::Start), "{last:?}");
    assert!(last.detail.as_deref().unwrap().contains("No such file"), "{last:?}");
    assert_eq!(values(&document, "process", "ready").len(), 150);
    assert_eq!(document.run.census.unwrap().after.processes, 0);
}

#[test]
fn an_interrupt_keeps_what_was_measured_and_says_so() {
    let out = tempfile::tempdir().unwrap();
    let child = tare(out.path(), &["startup", "--only", "process,tare", "--rounds", "100000"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut child = Guard(child);
    wait_until("some samples", || lines(out.path()) > 30);
    kill(Pid::from_raw(child.0.id() as i32), Signal::SIGINT).unwrap();
    let status = child.0.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    let document = document(out.path());
    assert!(!document.run.complete);
    assert!(document.run.finished.is_some());
    assert!(samples(&document, "process", "ready").iter().filter(|s| s.value.is_some()).count() >= 3);
    let written: usize = document.series.iter().map(|s| s.samples.len()).sum();
    assert_eq!(written, lines(out.path()));
    assert!(out.path().join("latest/index.html").exists());
    assert_eq!(left_of(&document.run.id), Vec::<std::path::PathBuf>::new());
}

#[test]
fn the_end_of_the_terminal_is_an_interrupt_but_for_who_asked_not_to_hear_of_it() {
    for (deaf, signals, code) in
        [("", &[Signal::SIGHUP][..], 129), ("trap '' HUP; ", &[Signal::SIGHUP, Signal::SIGTERM], 143)]
    {
        let out = tempfile::tempdir().unwrap();
        let run = tare(out.path(), &["startup", "--only", "process", "--rounds", "100000"]);
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &format!("{deaf}exec \"$@\""), "-"]).arg(run.get_program()).args(run.get_args());
        let mut child = Guard(shell.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        wait_until("some samples", || lines(out.path()) > 10);
        for signal in signals {
            let before = lines(out.path());
            kill(Pid::from_raw(child.0.id() as i32), *signal).unwrap();
            if *signal != signals[signals.len() - 1] {
                wait_until("more samples", || lines(out.path()) > before + 10);
            }
        }
        assert_eq!(child.0.wait().unwrap().code(), Some(code), "{deaf:?}");
        let document = document(out.path());
        assert!(!document.run.complete && document.run.finished.is_some(), "{deaf:?}");
        assert_eq!(left_of(&document.run.id), Vec::<std::path::PathBuf>::new(), "{deaf:?}");
    }
}

#[test]
fn a_run_that_is_interrupted_before_its_first_visit_is_not_complete() {
    let out = tempfile::tempdir().unwrap();
    // A tool that is asked for its version, and says nothing until it is told to.
    let [tool, asked, go] = ["tool", "asked", "go"].map(|name| out.path().join(name));
    let script = format!(
        "#!/bin/sh\ntouch {}\nwhile [ ! -e {} ]; do sleep 0.05; done\nexit 1\n",
        asked.display(),
        go.display()
    );
    std::fs::write(&tool, script).unwrap();
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut run = tare(out.path(), &["startup", "--only", "process,runc", "--rounds", "1"]);
    run.env("TARE_RUNC", &tool).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = Guard(run.spawn().unwrap());
    wait_until("it is asked", || asked.exists());
    kill(Pid::from_raw(child.0.id() as i32), Signal::SIGTERM).unwrap();
    std::fs::write(&go, "").unwrap();
    assert_eq!(child.0.wait().unwrap().code(), Some(143));
    let document = document(out.path());
    assert!(!document.run.complete, "{:?}", document.contenders);
    assert_eq!(left_of(&document.run.id), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_killed_run_loses_no_sample_and_clean_takes_the_rest_away() {
    if !root() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let child = tare(out.path(), &["startup", "--only", "process,tare,floor", "--rounds", "100000"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut child = Guard(child);
    wait_until("some samples", || lines(out.path()) > 40);
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    assert!(lines(out.path()) > 40);
    let run = std::fs::read_link(out.path().join("latest")).unwrap();
    let run = run.to_str().unwrap();
    assert!(!left_of(run).is_empty(), "a killed run leaves its site");
    // The spawner learns of the lab's end by its socket; give it the moment it needs.
    std::thread::sleep(Duration::from_millis(300));
    let dry =
        std::process::Command::new(env!("CARGO_BIN_EXE_tare")).args(["clean", "--dry-run"]).output().unwrap();
    assert!(String::from_utf8_lossy(&dry.stdout).contains(&format!("would remove run {run}")));
    assert!(!left_of(run).is_empty(), "a dry run removes nothing");
    let elsewhere = tempfile::tempdir().unwrap();
    let next = finish(&mut tare(elsewhere.path(), &["startup", "--only", "process", "--rounds", "1"]));
    let said = String::from_utf8_lossy(&next.stderr);
    let about: Vec<&str> = said.lines().filter(|line| line.contains("`tare clean` removes")).collect();
    assert!(
        about.len() == 1 && about[0].contains("was killed") || about[0].contains("were killed"),
        "{said}"
    );
    assert!(!left_of(run).is_empty(), "and it touches nothing of it");
    let clean = std::process::Command::new(env!("CARGO_BIN_EXE_tare")).arg("clean").output().unwrap();
    assert!(clean.status.success(), "{}", String::from_utf8_lossy(&clean.stderr));
    assert_eq!(left_of(run), Vec::<std::path::PathBuf>::new());
}

#[test]
fn clean_leaves_a_living_run_alone() {
    let out = tempfile::tempdir().unwrap();
    let child = tare(out.path(), &["startup", "--only", "process", "--rounds", "100000"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let child = Guard(child);
    wait_until("some samples", || lines(out.path()) > 10);
    let run = std::fs::read_link(out.path().join("latest")).unwrap();
    let clean = std::process::Command::new(env!("CARGO_BIN_EXE_tare")).arg("clean").output().unwrap();
    assert!(clean.status.success());
    assert!(!String::from_utf8_lossy(&clean.stdout).contains(run.to_str().unwrap()));
    assert!(tare::site::base().join(&run).exists());
    kill(Pid::from_raw(child.0.id() as i32), Signal::SIGTERM).unwrap();
    let mut child = child;
    assert_eq!(child.0.wait().unwrap().code(), Some(143));
}
