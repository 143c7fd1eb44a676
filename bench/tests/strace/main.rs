//! The floors are what they claim to be: neither issues a call that `tare` does not, and the confined one leaves
//! out nothing of what makes the box.
//!
//! What is compared: every system call, traced by strace, between the spawner's receiving the order for a box
//! and the payload's READY, and between the order to remove it and the answer; of the spawner, of what it starts,
//! and of the box's first process. Not by name alone: with its arguments, where paths are what the box sees and
//! descriptors are what they stand for (`normal.rs`). Not compared are the memory that the allocator asks for,
//! the start of a static Rust program (both in `tare` only), the results, and the order.
//!
//! The traces are committed in `bench/tests/fixtures/strace/`, and must be what is traced here and now.
//! To write them anew, as root: `TARE_WRITE_STRACE=1 cargo test -p tare --test strace`.

#[path = "../common/mod.rs"]
mod common;
mod normal;
mod trace;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tare_runtime::confinement::{MASKED_PATHS, READONLY_PATHS};
use trace::Section;

/// Set it to write the fixtures anew.
const WRITE: &str = "TARE_WRITE_STRACE";

const FLOORS: [&str; 2] = ["floor", "floor-confined"];

/// The calls that make a box, of which the confined floor must leave out none.
const MAKING: [&str; 25] = [
    "capset",
    "chdir",
    "clone3",
    "close_range",
    "execve",
    "ioctl",
    "mknodat",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "pivot_root",
    "prctl",
    "rt_sigaction",
    "rt_sigprocmask",
    "seccomp",
    "setgroups",
    "sethostname",
    "setresgid",
    "setresuid",
    "setsid",
    "symlinkat",
    "umask",
    "umount2",
    "unshare",
];

fn fixture(contender: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/strace/{contender}.txt"))
}

/// On which of our paths a trace depends, for not every kernel has all of them.
fn host() -> String {
    let paths = MASKED_PATHS.iter().map(|(path, _)| *path).chain(READONLY_PATHS.iter().copied());
    let there = paths.filter_map(|path| path.to_str().ok()).filter(|path| Path::new(path).exists());
    format!("cgroups {}; has {}", tare::host::cgroups::mode(), there.collect::<Vec<_>>().join(" "))
}

fn written(contender: &str, sections: &[Section]) -> String {
    let mut text = format!(
        "# One box of `{contender}`, as strace saw it made and removed; see bench/tests/strace/main.rs.\n\
         # Host: {}\n",
        host()
    );
    for Section { title, calls } in sections {
        text = text + "\n# " + title + "\n" + &calls.join("\n") + "\n";
    }
    text
}

/// The calls of a fixture, of its start or of its removal.
fn calls<'a>(text: &'a str, part: &str) -> BTreeSet<&'a str> {
    let sections = text.split("\n\n# ").filter(|section| section.starts_with(part));
    sections.flat_map(|section| section.lines().skip(1)).collect()
}

fn name(call: &str) -> &str {
    call.split('(').next().unwrap_or_default()
}

/// What the floor calls and `tare` does not.
fn too_much(floor: &str, tare: &str) -> Vec<String> {
    let more = |part: &&str| &calls(floor, part) - &calls(tare, part);
    ["start", "removal"].iter().flat_map(more).map(str::to_owned).collect()
}

/// What makes the box of `tare` and is missing in the floor.
fn too_little(floor: &str, tare: &str) -> Vec<String> {
    let inside = calls(tare, "start: the box").into_iter().filter(|call| MAKING.contains(&name(call)));
    let namespaces = |call: &&str| call.starts_with("clone3(") && call.contains("CLONE_NEW");
    let limits = |call: &&str| call.starts_with("write(</sys/fs/cgroup/");
    let outside = calls(tare, "start").into_iter().filter(|call| namespaces(call) || limits(call));
    let made: BTreeSet<&str> = inside.chain(outside).collect();
    (&made - &calls(floor, "start")).into_iter().map(str::to_owned).collect()
}

fn committed(contender: &str) -> String {
    std::fs::read_to_string(fixture(contender)).unwrap_or_default()
}

#[test]
fn in_the_fixtures_neither_floor_issues_a_call_that_tare_does_not() {
    let tare = committed("tare");
    for contender in FLOORS {
        let floor = committed(contender);
        assert!(
            calls(&floor, "start").len() > 20 && calls(&floor, "removal").len() > 5,
            "{contender}: no trace"
        );
        assert_eq!(too_much(&floor, &tare), Vec::<String>::new(), "{contender}");
    }
}

#[test]
fn in_the_fixtures_the_confined_floor_makes_all_of_the_box() {
    assert_eq!(too_little(&committed("floor-confined"), &committed("tare")), Vec::<String>::new());
    let unconfined = too_little(&committed("floor"), &committed("tare"));
    for call in ["seccomp(", "capset(", "mknodat("] {
        assert!(
            unconfined.iter().any(|it| it.starts_with(call)),
            "{call} is what `floor` leaves out: {unconfined:?}"
        );
    }
}

/// One test for all three, for they are traced one after the other.
#[test]
fn the_fixtures_are_what_is_traced_here_and_now() {
    for contender in ["tare", "floor", "floor-confined"] {
        let Some(sections) = trace::of(contender) else { return };
        let now = written(contender, &sections);
        if std::env::var_os(WRITE).is_some() {
            std::fs::write(fixture(contender), &now).unwrap();
        }
        let committed = committed(contender);
        if committed.lines().nth(1) == now.lines().nth(1) {
            assert_eq!(
                differences(&committed, &now),
                Vec::<String>::new(),
                "{contender}: run with {WRITE}=1, look, commit"
            );
            continue;
        }
        eprintln!(
            "skipped: the fixtures were traced on another kind of host; comparing the traces of this one"
        );
        if contender != "tare" {
            let tare = written("tare", &trace::of("tare").expect("it could be traced a moment ago"));
            assert_eq!(too_much(&now, &tare), Vec::<String>::new(), "{contender}");
        }
    }
}

/// Lines that only one of the two has, and then the first that stand in another order.
fn differences(committed: &str, now: &str) -> Vec<String> {
    let (old, new): (BTreeSet<&str>, BTreeSet<&str>) = (committed.lines().collect(), now.lines().collect());
    let gone = (&old - &new).into_iter().map(|line| format!("only in the fixture: {line}"));
    let come = (&new - &old).into_iter().map(|line| format!("only now: {line}"));
    let moved =
        committed.lines().zip(now.lines()).find(|(a, b)| a != b).map(|(a, b)| format!("{a} became {b}"));
    gone.chain(come).chain(moved).collect()
}

#[test]
fn one_call_more_or_one_flag_less_is_noticed() {
    let mount = r#"mount("proc", "/proc", "proc", MS_NOSUID|MS_NODEV, "")"#;
    let tare = format!("# tare\n\n# start: the box\n{mount}\nseccomp(A)\n\n# removal: it\nrmdir(\"BOX\")\n");
    assert_eq!(too_much(&tare, &tare), Vec::<String>::new());
    assert_eq!(too_little(&tare, &tare), Vec::<String>::new());
    let other_flags = tare.replace("|MS_NODEV", "");
    assert_eq!(too_much(&other_flags, &tare), [mount.replace("|MS_NODEV", "")]);
    assert_eq!(too_little(&other_flags, &tare), [mount]);
    // What one does in the removal is no excuse for doing it in the start.
    let early = tare.replace("seccomp(A)", "rmdir(\"BOX\")");
    assert_eq!(too_much(&early, &tare), ["rmdir(\"BOX\")"]);
    assert_eq!(too_little(&early, &tare), ["seccomp(A)"]);
}
