//! `self`: what the payload says of its box, against what the kernel says from outside.

use crate::process::{Payload, command, program};
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// The value after `key ` in an answer to `self`.
fn value<'a>(lines: &'a [String], key: &str) -> &'a str {
    let found = lines.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {key} in {lines:#?}"))
}

#[test]
fn it_sees_its_box() {
    let mut command = command(&["n1"]);
    command.env_clear().env("LINES", "one\ntwo").current_dir("/");
    let mut payload = Payload::spawn(command);
    assert_eq!(payload.line(), "READY n1");
    let id = payload.child.id().to_string();
    let lines = payload.describe();
    assert_eq!(value(&lines, "pid"), id);
    assert_eq!(value(&lines, "ppid"), std::process::id().to_string());
    assert_eq!(value(&lines, "argc"), "2");
    assert_eq!(value(&lines, "cwd"), "/");
    assert_eq!(value(&lines, "env"), "LINES=one\\012two", "one line stays one line");
    let trimmed = |path: &str| fs::read_to_string(path).expect("read").trim().to_owned();
    assert_eq!(value(&lines, "kernel"), trimmed("/proc/sys/kernel/osrelease"));
    assert_eq!(value(&lines, "hostname"), trimmed("/proc/sys/kernel/hostname"));

    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("status");
    for key in
        ["Uid", "Gid", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "NSpid"]
    {
        let line =
            status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).expect("the key");
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(value(&lines, key), words.join(" "), "{key}");
    }
    for name in ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"] {
        let link = fs::read_link(format!("/proc/{id}/ns/{name}")).expect("a namespace");
        assert_eq!(value(&lines, &format!("ns/{name}")), link.to_string_lossy(), "{name}");
    }
    let mine = |key: &str| -> Vec<_> {
        lines.iter().filter_map(|line| line.strip_prefix(key)?.strip_prefix(' ')).collect()
    };
    let mounts = fs::read_to_string(format!("/proc/{id}/mountinfo")).expect("mountinfo");
    assert_eq!(mine("mount"), mounts.lines().collect::<Vec<_>>());
    assert_eq!(value(&lines, "mounts"), mounts.lines().count().to_string());
    let cgroups = fs::read_to_string(format!("/proc/{id}/cgroup")).expect("cgroup");
    assert_eq!(mine("cgroup"), cgroups.lines().collect::<Vec<_>>());
    let descriptors = fs::read_dir(format!("/proc/{id}/fd")).expect("descriptors").count();
    assert_eq!(mine("fd").len(), descriptors, "its own listing is not in it: {:?}", mine("fd"));
}

#[test]
fn it_reads_the_clocks_at_ready_and_now() {
    let before = monotonic();
    let mut payload = Payload::ready();
    thread::sleep(Duration::from_millis(20));
    let lines = payload.describe();
    let after = monotonic();
    let clock = |key: &str| value(&lines, key).parse::<u128>().expect("nanoseconds");
    let (ready, now) = (clock("clock/ready/monotonic"), clock("clock/now/monotonic"));
    assert!(before < ready && ready + 20_000_000 <= now && now < after, "{before} {ready} {now} {after}");
    let boottime = clock("clock/now/boottime") - clock("clock/ready/boottime");
    assert!(boottime >= 20_000_000 && boottime < after - before, "{boottime}");
}

fn monotonic() -> u128 {
    Duration::from(nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).expect("a clock")).as_nanos()
}

#[test]
fn it_reads_its_umask_and_keeps_it() {
    let mut command = Command::new("sh");
    command.args(["-c", "umask 0137; exec \"$0\" n1"]).arg(program());
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut payload = Payload::spawn(command);
    assert_eq!(payload.line(), "READY n1");
    for _ in 0..2 {
        assert_eq!(value(&payload.describe(), "umask"), "0137");
    }
}

#[test]
fn without_proc_it_says_so() {
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    // Linked and not copied: a copy could still be open for writing in another test's fork.
    fs::hard_link(program(), root.path().join("payload")).expect("linked");
    let mut command = Command::new("unshare");
    command.arg("--map-root-user").arg(format!("--root={}", root.path().display())).args(["/payload", "n1"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    if let Ok(output) = Command::new("unshare").args(["--map-root-user", "true"]).output()
        && output.status.success()
    {
        let mut payload = Payload::spawn(command);
        assert_eq!(payload.line(), "READY n1");
        let lines = payload.describe();
        assert_eq!(value(&lines, "proc"), "absent");
        assert_eq!(value(&lines, "uid"), "0");
        assert!(!lines.iter().any(|line| line.starts_with("Cap")), "{lines:#?}");
        assert_eq!(payload.ask("ping still"), "PONG still");
    } else {
        eprintln!("skipped: no user namespace to change the root in (unshare --map-root-user)");
    }
}
