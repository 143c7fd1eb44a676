//! A delay of 5 ms planted in one phase of every second start.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tare_reports::document::{Document, Sample};
use tare_reports::spans::{of, unattributed_share};

use super::common::{binaries, root, samples, skip};
use super::{measured, names, watched};

const PLANTED: u64 = 5_000_000;

/// `delay` of bench/examples; `cargo test --test` builds no example.
fn delay() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--example", "delay"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    assert!(cargo.status().unwrap().success(), "the example must build");
    binaries().join("examples/delay")
}

/// A script in the place of a tool: in every second start that it is asked for, `$PLANT` is `second`, in the others
/// `first`; all else goes straight to the tool.
fn script(dir: &Path, start: &str, [first, second]: [&str; 2], plain: &str, planted: &str) -> PathBuf {
    let path = dir.join("tool");
    let count = dir.join("count");
    let text = format!(
        "#!/bin/sh\ncase \" $* \" in *{start}*) ;; *) exec {plain} \"$@\" ;; esac\n\
         if [ -e {count} ]; then rm {count}; PLANT={second}; else : > {count}; PLANT={first}; fi\n{planted}\n",
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

/// What a span takes when nothing comes between: of its values, in order, the one at a quarter. A busy host makes
/// single starts longer, never shorter.
fn low(values: &mut [i64]) -> i64 {
    values.sort_unstable();
    values[(values.len() - 1) / 4]
}

/// Asserts that the starts with an odd number have the delay in this span and in no other, as far as a span's own
/// ups and downs let it be told; those in `over` have ended before the delay and are not looked at.
fn appears_only_in(document: &Document, name: &str, span: &str, over: &[&str]) {
    let samples = samples(document, name, "ready");
    let part = |sample: &Sample, name: &str| match name {
        "unattributed" => sample.value.unwrap() as i64 - sample.spans.values().sum::<u64>() as i64,
        _ => sample.spans.get(name).copied().unwrap_or(0) as i64,
    };
    let names = samples.iter().flat_map(|it| it.spans.keys().map(String::as_str)).chain(["unattributed"]);
    let names: std::collections::BTreeSet<&str> = names.collect();
    assert!(names.contains(span), "{names:?}");
    for other in names.into_iter().filter(|it| !over.contains(it)) {
        // A start that failed on a busy host says nothing of its spans.
        let of = |odd: u32| samples.iter().filter(move |it| it.round % 2 == odd && it.value.is_some());
        let [mut without, mut with]: [Vec<i64>; 2] =
            [0, 1].map(|odd| of(odd).map(|it| part(it, other)).collect());
        assert!(without.len() >= 2 && with.len() >= 2, "{samples:?}");
        let more = low(&mut with) - low(&mut without);
        let noise = without[without.len() / 2] - without[0];
        eprintln!("{name}: {other}: {more} ns more, noise {noise} ns");
        if other == span {
            let expected = PLANTED as i64 / 2..PLANTED as i64 * 2 + noise;
            assert!(expected.contains(&more), "{name}: {span} grew by {more} ns: {without:?} {with:?}");
        } else {
            let limit = (PLANTED as i64 / 2).max(2 * noise);
            assert!(
                more.abs() < limit,
                "{name}: {other} moved by {more} ns of {limit}: {without:?} {with:?}"
            );
        }
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
    let document = watched("tare", "20", &[("TARE_RUNTIME", &tool.display().to_string())]);
    appears_only_in(&document, "tare", "clone", &[]);
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
    let document = watched("runc", "24", &[("TARE_RUNC", &tool.display().to_string())]);
    assert!(measured(&document, "runc"));
    appears_only_in(&document, "runc", "exec", &[]);
}

/// Every span of a machine is there, and nearly nothing is left over.
fn seen_whole(document: &Document) {
    let share = unattributed_share(of(document, "qemu").unwrap()).unwrap();
    assert!(share <= 0.05, "{:.1} % was seen by nobody", share * 100.0);
    let samples = samples(document, "qemu", "ready");
    let names: Vec<&str> = names(samples).into_iter().collect();
    assert_eq!(names, ["firmware", "init", "kernel", "machine", "notice", "payload", "vmm"]);
    assert!(samples.iter().all(|it| it.spans.get("kernel") >= it.spans.get("init")), "{samples:?}");
}

#[test]
fn a_machine_is_seen_whole_and_a_delay_in_its_init_is_in_init() {
    let Some(qemu) = found("qemu-system-x86_64") else { return skip("qemu", "QEMU is not on PATH") };
    let dir = tempfile::tempdir().unwrap();
    // The payload pauses: the words after `probe` are its own.
    let planted = format!(
        "n=$#; while [ $n -gt 0 ]; do a=$1; shift; case \"$a\" in *\" probe\") a=\"$a pause=$PLANT\" ;; esac\n\
         set -- \"$@\" \"$a\"; n=$((n - 1)); done; exec {qemu} \"$@\""
    );
    let tool = script(dir.path(), "\" probe \"", ["0", "5"], &qemu, &planted);
    let document = watched("qemu", "6", &[("TARE_QEMU", &tool.display().to_string())]);
    if measured(&document, "qemu") {
        seen_whole(&document);
        // From boot to boot these differ by tens of milliseconds under TCG.
        appears_only_in(&document, "qemu", "init", &["vmm", "machine", "firmware", "kernel"]);
    }
}
