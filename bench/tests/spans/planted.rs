//! A delay of 5 ms planted in one phase of every second start.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tare_reports::document::{Document, Sample};
use tare_reports::spans::{of, unattributed_share};

use super::common::{binaries, root, samples, skip};
use super::{measured, names, watched};

const PLANTED: i64 = 5_000_000;

/// `delay` of bench/examples; `cargo test --test` builds no example.
fn delay() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--example", "delay"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    assert!(cargo.status().unwrap().success(), "the example must build");
    binaries().join("examples/delay")
}

/// A script in the place of a tool: of four starts in a row that it is asked for, `$PLANT` is `planted` in the second
/// and the third, in the others `plain`; all else goes straight to the tool.
fn script(dir: &Path, start: &str, [plain, planted]: [&str; 2], tool: &str, command: &str) -> PathBuf {
    let path = dir.join("tool");
    let count = dir.join("count");
    let text = format!(
        "#!/bin/sh\ncase \" $* \" in *{start}*) ;; *) exec {tool} \"$@\" ;; esac\n\
         n=0; [ -e {count} ] && read n < {count}; echo $(((n + 1) % 4)) > {count}\n\
         case $n in 1|2) PLANT={planted} ;; *) PLANT={plain} ;; esac\n{command}\n",
        count = count.display(),
    );
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn found(name: &str) -> Option<String> {
    let output = Command::new("/bin/sh").args(["-c", &format!("command -v {name}")]).output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned()).filter(|path| !path.is_empty())
}

/// Four starts in a row: plain, planted, planted, plain.
type Block = [Sample; 4];

/// Blocks in which no start failed: one that did on a busy host says nothing of its spans.
fn blocks(document: &Document, name: &str) -> Vec<Block> {
    let all = samples(document, name, "ready");
    assert_eq!(all.len() % 4, 0, "the next run would begin in the middle of a block");
    let whole = |it: &&[Sample]| it.iter().all(|it| it.value.is_some());
    all.chunks_exact(4).filter(whole).map(|it| it.to_vec().try_into().unwrap()).collect()
}

/// A span's length, ns.
fn part(sample: &Sample, name: &str) -> i64 {
    match name {
        "unattributed" => sample.value.unwrap() as i64 - sample.spans.values().sum::<u64>() as i64,
        _ => sample.spans.get(name).copied().unwrap_or(0) as i64,
    }
}

/// What a span takes when nothing comes between: of its values, in order, the one at a quarter. A busy host makes
/// single starts longer, never shorter.
fn low(values: impl Iterator<Item = i64>) -> i64 {
    let mut values: Vec<i64> = values.collect();
    values.sort_unstable();
    values[(values.len() - 1) / 4]
}

/// By how much a span is longer with the delay, and how far it can wander without one, ns.
///
/// The starts of a block stand in a mirrored order, so that a drift of the host cancels out. How far it wanders is
/// taken from the same starts (A/A): the plain starts are parted into two groups at random, one of each block in
/// either, and compared with each other, 400 times; and the planted ones likewise. A group has half of the
/// starts that the shift is taken from, so that each such difference deviates by sqrt 2 of what the shift does,
/// and the largest of them is some four of the shift's deviations. What is called a shift must be half as large
/// again, six deviations, and more where it comes from few blocks.
fn shift(blocks: &[Block], name: &str) -> (i64, i64) {
    let of = |index: usize| blocks.iter().map(move |it| part(&it[index], name));
    let more = low(of(1).chain(of(2))) - low(of(0).chain(of(3)));
    let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
    let mut apart = |[one, other]: [usize; 2]| {
        let swapped: Vec<bool> = blocks
            .iter()
            .map(|_| {
                bits ^= bits << 13;
                bits ^= bits >> 7;
                bits ^= bits << 17;
                bits & 1 == 1
            })
            .collect();
        let group = |side: bool| {
            let pick =
                move |(it, swap): (&Block, &bool)| part(&it[if *swap == side { one } else { other }], name);
            low(blocks.iter().zip(&swapped).map(pick))
        };
        (group(true) - group(false)).abs()
    };
    let largest = (0..400).map(|draw| apart([[0, 3], [1, 2]][draw % 2])).max().unwrap_or(0);
    (more, (largest as f64 * (1.5 + 10.0 / blocks.len() as f64)) as i64)
}

/// The least that a span's shift must be to be called one, ns: a host's clock tick and what it does in it.
const LEAST: i64 = 500_000;

/// Asserts that the planted starts have the delay in this span and in no other. Runs again for more starts where the
/// host is too busy for it to be told; what still cannot be told then is said. Of spans in `loose`, which
/// wander by more than the delay whatever is done, it is not asked.
fn appears_only_in(name: &str, span: &str, loose: &[&str], mut run: impl FnMut() -> Document) {
    const ATTEMPTS: u32 = 2;
    let mut seen = Vec::new();
    for attempt in 1..=ATTEMPTS {
        seen.extend(blocks(&run(), name));
        assert!(!seen.is_empty(), "{name}: no four starts in a row that worked");
        let names = seen.iter().flatten().flat_map(|it| it.spans.keys().map(String::as_str));
        let names: BTreeSet<&str> = names.chain(["unattributed"]).collect();
        assert!(names.contains(span), "{name}: no {span} among {names:?}");
        let shifts: Vec<(&str, i64, i64)> = names
            .into_iter()
            .map(|it| (it, shift(&seen, it)))
            .map(|(it, (more, wander))| (it, more, wander.max(LEAST)))
            .collect();
        let untold: Vec<_> =
            shifts.iter().filter(|it| it.2 > PLANTED / 2 && !loose.contains(&it.0)).collect();
        if !untold.is_empty() && attempt < ATTEMPTS {
            continue;
        }
        for (other, more, wander) in &shifts {
            eprintln!("{name}: {other}: {more} ns more of {wander}");
            let planted = if *other == span { PLANTED } else { 0 };
            // A container's low quarter is firm enough to be asked for half of the delay however busy the host is.
            let seen = planted == 0 || !loose.is_empty() || *more >= PLANTED / 2;
            assert!(
                seen && (more - planted).abs() <= *wander,
                "{name}: {other} is {more} ns longer, {planted} were planted, and it wanders by {wander}"
            );
        }
        untold.iter().for_each(|it| eprintln!("{name}: the host is too busy to tell {it:?}"));
        return;
    }
}

#[test]
fn a_delay_in_tares_clone_is_in_clone() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let runtime = binaries().join("tare-runtime").display().to_string();
    let planted = format!("exec {} $PLANT 5 {runtime} \"$@\"", delay().display());
    let tool = script(dir.path(), "\" run \"", ["nowhere", "clone"], &runtime, &planted);
    let tool = tool.display().to_string();
    appears_only_in("tare", "clone", &[], || watched("tare", "28", &[("TARE_RUNTIME", &tool)]));
}

#[test]
fn a_delay_in_runcs_exec_of_the_payload_is_in_exec() {
    if !root() {
        return;
    }
    let Some(runc) = found("runc") else { return skip("runc", "runc is not on PATH") };
    let dir = tempfile::tempdir().unwrap();
    let planted = format!("exec {} $PLANT 5 {runc} \"$@\"", delay().display());
    let tool = script(dir.path(), "\" run \"", ["nowhere", "exec"], &runc, &planted);
    let tool = tool.display().to_string();
    appears_only_in("runc", "exec", &[], || {
        let document = watched("runc", "28", &[("TARE_RUNC", &tool)]);
        assert!(measured(&document, "runc"));
        document
    });
}

/// Every span of a machine is there, and nearly nothing is left over.
fn seen_whole(document: &Document, name: &str) {
    let share = unattributed_share(of(document, name).unwrap()).unwrap();
    assert!(share <= 0.05, "{name}: {:.1} % was seen by nobody", share * 100.0);
    let samples = samples(document, name, "ready");
    let names: Vec<&str> = names(samples).into_iter().collect();
    assert_eq!(names, ["firmware", "init", "kernel", "machine", "notice", "payload", "vmm"], "{name}");
    // Where the border between the two is not where it is guessed, firmware has what the kernel spends.
    let kernel_is_most = |it: &Sample| it.spans.get("kernel") >= it.spans.get("firmware");
    assert!(samples.iter().filter(|it| it.value.is_some()).all(kernel_is_most), "{samples:?}");
}

/// The payload of this machine pauses: the words after `probe` are its own.
fn a_delay_in_init(name: &'static str, rounds: &str) {
    let Some(qemu) = found("qemu-system-x86_64") else { return skip("qemu", "QEMU is not on PATH") };
    let dir = tempfile::tempdir().unwrap();
    let planted = format!(
        "n=$#; while [ $n -gt 0 ]; do a=$1; shift; case \"$a\" in *\" probe\") a=\"$a pause=$PLANT\" ;; esac\n\
         set -- \"$@\" \"$a\"; n=$((n - 1)); done; exec {qemu} \"$@\""
    );
    let tool = script(dir.path(), "\" probe \"", ["0", "5"], &qemu, &planted);
    let tool = tool.display().to_string();
    let run = || watched(name, rounds, &[("TARE_QEMU", &tool)]);
    let document = run();
    if !measured(&document, name) {
        return;
    }
    seen_whole(&document, name);
    let mut first = Some(document);
    // From boot to boot these differ by more than the delay under TCG.
    let loose = ["vmm", "machine", "firmware", "kernel"];
    appears_only_in(name, "init", &loose, || first.take().unwrap_or_else(run));
}

#[test]
fn a_machine_is_seen_whole_and_a_delay_in_its_init_is_in_init() {
    a_delay_in_init("qemu", "8");
}

#[test]
fn a_microvm_is_seen_whole_and_a_delay_in_its_init_is_in_init() {
    a_delay_in_init("qemu-microvm", "20");
}

#[test]
fn a_resumed_machine_is_seen_too() {
    let document = watched("qemu-restore", "3", &[]);
    if measured(&document, "qemu-restore") {
        let names = names(samples(&document, "qemu-restore", "ready"));
        assert_eq!(names, ["answer", "resume", "touch"].into());
        assert_eq!(unattributed_share(of(&document, "qemu-restore").unwrap()), Some(0.0));
    }
}
