//! The default confinement as it is seen from inside: a checker that knows what SECURITY promises, run in
//! our box, and in runc's to show that the checker itself can tell.
//!
//! This one static program is both the tests and the checker: the tests copy it into the image and start
//! it there. `table.rs` holds the system calls, `items.rs` the rest, both as data.

mod bundle;
mod calls;
#[path = "../common/mod.rs"]
mod common;
mod items;
mod look;
mod report;
mod runc;
mod sys;
mod table;

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Output, Stdio};

use calls::Answer;
use common::{Lab, skip, stderr, stdout};
use items::{Facts, ITEMS};
use report::{Findings, Report};
use sys::Door;
use table::CALLS;
use tare_runtime::DEFAULT_PATH;
use tare_runtime::confinement::{Denial, RULES};

/// Few enough to count up to.
const PIDS: u64 = 40;
const FACT: &str = "fact:";

#[test]
#[ignore = "runs inside the box, started by the other tests"]
fn checker() {
    let arguments: Vec<String> = std::env::args().collect();
    let facts: Facts = arguments
        .iter()
        .filter_map(|word| word.strip_prefix(FACT)?.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    // Nobody shall run this on the host by `cargo test -- --ignored`.
    if facts.is_empty() || std::process::id() != 1 {
        return eprintln!(
            "skipped: the checker runs as the first process of a box, started by the other tests"
        );
    }
    // The test harness has begun a line.
    println!();
    let mut report = Report::default();
    items::check(&facts, &mut report);
    calls::check(CALLS, facts.get("rootless").is_some_and(|word| word == "yes"), &mut report);
    std::process::exit(report.status());
}

/// The checker's command line, with what only the host knows.
fn command(hostname: &str, pids: &str, rootless: bool) -> Vec<String> {
    let harness = ["/checker", "--ignored", "--exact", "--nocapture", "--test-threads=1", "checker"];
    let mut facts = vec![
        ("hostname", hostname.to_owned()),
        ("pids", pids.to_owned()),
        ("env", format!("PATH={DEFAULT_PATH}|TARE=1")),
        ("rootless", if rootless { "yes" } else { "no" }.to_owned()),
        ("root", look::identity("/")),
    ];
    // If the host is itself confined, its filter counts too.
    let filters: u32 = look::status("Seccomp_filters").parse().expect("a kernel from 5.9 on");
    facts.push(("filters", (filters + 1).to_string()));
    let kinds = ["ns.pid", "ns.mnt", "ns.net", "ns.ipc", "ns.uts", "ns.cgroup"];
    facts.extend(kinds.map(|name| (name, look::namespace(&name[3..]))));
    let facts = facts.into_iter().map(|(name, value)| format!("{FACT}{name}={value}"));
    harness.into_iter().map(str::to_owned).chain(facts).collect()
}

/// A laboratory with the checker and a hostile device node in its image.
fn lab() -> Option<Lab> {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    let lab = Lab::new()?;
    fs::copy(std::env::current_exe().expect("self"), lab.image().join("checker")).expect("copy");
    // The number of /dev/zero: harmless if the guard is gone.
    let mode = Mode::from_bits_truncate(0o666);
    mknod(&lab.image().join("zero"), SFlag::S_IFCHR, mode, makedev(1, 5)).expect("mknod");
    Some(lab)
}

/// Reads a run's report, and makes sure that it is complete: every row by every door, every item.
fn findings(output: &Output) -> Findings {
    let found = Findings::parse(&stdout(output));
    let calls = CALLS.iter().flat_map(|call| call.doors().into_iter().map(|(door, _)| call.line(door)));
    for name in calls.chain(ITEMS.iter().map(|item| item.name.to_owned())) {
        assert!(
            found.got(&name).or(found.none.get(&name).map(String::as_str)).is_some(),
            "{name} was not checked: {output:?}"
        );
    }
    assert_eq!(output.status.code(), Some(i32::from(!found.bad.is_empty())), "{output:?}");
    // What could not be tried is only ever the door that this host does not have either.
    assert!(found.none.is_empty() || !calls::has_int80(), "{:?}", found.none);
    let native = CALLS.iter().filter(|call| call.native.is_some()).count();
    eprintln!(
        "{} items and {native} system calls, {} lines: {} BAD, {} not there",
        ITEMS.len(),
        found.ok.len() + found.bad.len() + found.none.len(),
        found.bad.len(),
        found.none.len()
    );
    found
}

fn assert_nothing_bad(found: &Findings) {
    assert!(found.bad.is_empty(), "{:#?}", found.bad);
    let native = found.ok.keys().filter(|name| name.starts_with("native:")).count();
    assert!(native >= 60, "only {native} system calls");
    let masked =
        found.ok.iter().filter(|(name, got)| name.starts_with("masked:") && *got != "absent").count();
    assert!(masked >= 3, "this host has only {masked} of the masked paths");
}

#[test]
fn a_box_is_confined_as_promised() {
    let Some(lab) = lab() else { return };
    let command = command("sealed", &PIDS.to_string(), false);
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let options = ["--pids", &PIDS.to_string(), "--hostname", "sealed", "--env", "TARE=1"];
    let output = lab.run_with(&options, "checked", &words);
    assert_nothing_bad(&findings(&output));
    assert_eq!(lab.leftovers(), Vec::<std::path::PathBuf>::new());
}

/// The checker counts up to a small limit; this is the one that a box has by default.
#[test]
fn processes_are_limited_by_default() {
    let Some(lab) = Lab::new() else { return };
    let null = fs::File::open("/dev/null").expect("/dev/null");
    let spec = lab.spec("limited", &["sleep", "1000"]);
    let container = lab.runtime().run(&spec, [null.as_fd(), null.as_fd(), null.as_fd()]).expect("run");
    let limits: Vec<String> =
        container.cgroups.iter().filter_map(|path| fs::read_to_string(path.join("pids.max")).ok()).collect();
    assert_eq!(limits, ["2048\n"], "{:?}", container.cgroups);
}

#[test]
fn a_box_of_an_ordinary_user_is_confined_as_promised() {
    let Some(lab) = lab() else { return };
    // The program must be where the user can read it, and the state where he can write.
    let program = lab.path().join("tare-runtime");
    fs::copy(env!("CARGO_BIN_EXE_tare-runtime"), &program).expect("copy");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("chmod");
    let home = lab.path().join("home");
    fs::create_dir(&home).expect("mkdir");
    chown(&home, Some(65534), Some(65534)).expect("chown");
    let nobody = || {
        let mut setpriv = Command::new("setpriv");
        setpriv
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .current_dir("/")
            .stdin(Stdio::null());
        setpriv
    };
    let probe = nobody().args(["unshare", "--user", "true"]).output().expect("setpriv");
    if !probe.status.success() {
        return skip("userns", &format!("user namespaces are not allowed here: {}", stderr(&probe)));
    }
    let mut run = nobody();
    run.arg(&program).arg("--root").arg(home.join("state")).args([
        "run",
        "--record-missing-limits",
        "--rootfs",
    ]);
    run.arg(lab.image()).args(["--hostname", "sealed", "--env", "TARE=1", "checked", "--"]);
    // Without a cgroup of his own there is no limit on processes.
    let output = run.args(command("sealed", "none", true)).output().expect("setpriv");
    assert_nothing_bad(&findings(&output));
}

/// The table is written by hand; it must know every refusal of the filter, by the same numbers.
#[test]
fn the_table_has_every_rule_of_the_filter() {
    for rule in RULES {
        let expected = Answer::Fails(match rule.denial {
            Denial::NotPermitted => libc::EPERM,
            Denial::Missing => libc::ENOSYS,
        });
        let known = CALLS.iter().any(|call| {
            call.name.split(':').next() == Some(rule.name)
                && (call.native, call.compat) == (rule.native, rule.compat)
                && call.expected == expected
        });
        assert!(known, "add a row for {rule:?} to tests/inside/table.rs");
    }
}

#[test]
fn the_table_is_long_enough_and_names_nothing_twice() {
    let mut names: Vec<&str> =
        CALLS.iter().map(|call| call.name).chain(ITEMS.iter().map(|i| i.name)).collect();
    assert!(CALLS.iter().filter(|call| call.native.is_some()).count() >= 60);
    assert!(
        CALLS.iter().filter(|call| call.doors().iter().any(|(door, _)| *door == Door::Int80)).count() >= 60
    );
    assert!(names.iter().all(|name| !name.contains(' ')));
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}
