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
mod sys;
mod table;

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Output, Stdio};

use bundle::Bundle;
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

/// `runc spec` of runc 1.1.5 has no filter and three capabilities. Every row must get the answer that the
/// table foresees for that, and every item must be good but for these.
#[test]
fn the_checker_finds_what_runcs_default_bundle_leaves_open() {
    let Some(lab) = lab() else { return };
    let Some(bundle) = Bundle::new(&lab, &command("sealed", &PIDS.to_string(), false)) else { return };
    let found = findings(&bundle.run());
    let mut told_apart = 0;
    for call in CALLS {
        let mut answers: Vec<String> = call.bare.iter().map(|answer| answer.name()).collect();
        if call.filtered {
            // This kernel was built without the call, or without x32.
            answers.push("ENOSYS".into());
        }
        for (door, _) in call.doors() {
            let line = call.line(door);
            let Some(got) = found.got(&line) else { continue };
            assert!(answers.iter().any(|answer| answer == got), "{line}: {got}, foreseen was {answers:?}");
            let differs = got != call.expected.name();
            assert_eq!(found.bad.contains_key(&line), differs, "{line}: {got}");
            told_apart += usize::from(differs && door == Door::Native);
        }
    }
    // The other rows are refused by the kernel itself, for want of a capability.
    assert!(told_apart >= 60, "only {told_apart} calls tell a box with the filter from one without");

    let mut open = vec![
        // Fewer capabilities than ours, and no filter.
        "CapBnd",
        "CapEff",
        "CapPrm",
        "Seccomp",
        "Seccomp_filters",
        "user-change",
        // Its own words.
        "environment",
        "hostname",
        // No limit on processes.
        "pids-limit",
        // /proc without any flag, /dev not noexec, the cgroup trees mounted, and a root where nodes open.
        "mount:/proc",
        "mount:/dev",
        "mounts:others",
        "mount:/",
        "device-in-image",
    ];
    if fs::exists("/proc/interrupts").expect("stat") {
        open.push("masked:/proc/interrupts");
    }
    if fs::exists("/sys/devices/virtual/powercap").expect("stat") {
        open.push("masked:/sys/devices/virtual/powercap");
    }
    if !fs::exists("/sys/fs/cgroup/cgroup.controllers").expect("stat") {
        // A cgroup namespace only where version 2 is the whole tree.
        open.extend(["ns:cgroup", "cgroup"]);
    }
    let items = found.bad.keys().filter(|name| ITEMS.iter().any(|item| item.name == name.as_str()));
    assert_eq!(sorted(items), sorted(open), "{:#?}", found.bad);
}

/// What runc 1.1.5 with libseccomp 2.5.4 cannot be told, or does of its own accord.
const NOT_EXPRESSED: &[&str] = &[
    // It adds HOME.
    "environment",
    // The root is mounted by whoever calls runc; the laboratory gives it a plain directory.
    "mount:/",
    "device-in-image",
    // "None of these values": the format has no such comparison.
    "native:personality:no-randomize",
    "native:personality:read-implies-exec",
    "x32:personality:no-randomize",
    "x32:personality:read-implies-exec",
    "int80:personality:no-randomize",
    "int80:personality:read-implies-exec",
    // Newer than its libseccomp, which passes over names that it does not know.
    "native:open_tree_attr",
    "x32:open_tree_attr",
    "int80:open_tree_attr",
    // Not in libseccomp's table for x32, or there by x32's own number only; the kernel has them by the
    // native number with the x32 bit all the same if it has x32 at all.
    "x32:_sysctl",
    "x32:create_module",
    "x32:get_kernel_syms",
    "x32:kexec_load",
    "x32:move_pages",
    "x32:nfsservctl",
    "x32:query_module",
    "x32:uselib",
];

#[test]
fn runc_with_our_profile_passes_but_for_what_it_cannot_express() {
    let Some(lab) = lab() else { return };
    let Some(mut bundle) = Bundle::new(&lab, &command("sealed", &PIDS.to_string(), false)) else { return };
    bundle.confine("sealed", &[&format!("PATH={DEFAULT_PATH}"), "TARE=1"], PIDS);
    let found = findings(&bundle.run());
    assert_eq!(sorted(found.bad.keys()), sorted(NOT_EXPRESSED), "{:#?}", found.bad);
}

fn sorted<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().map(|name| name.as_ref().to_owned()).collect();
    names.sort_unstable();
    names
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
