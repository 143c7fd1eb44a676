//! The machines around the small kernel, and the one without a kernel: real QEMU, what `scripts/guest-kernel` built.
//!
//! Skipped aloud where it was not built, unless `TARE_REQUIRE` names `small-kernel`.

mod common;

use common::{document, finish, left_of, row, samples, skip, tare, values};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tare::clock::Deadline;
use tare::vm::guest::{Guest, Silence};
use tare::vm::kernel::Kernel;
use tare::vm::qemu::{Accel, Qemu};
use tare::vm::saved::Saved;
use tare::vm::{initramfs, monitor, small, tool};
use tare_reports::document::{Failure, Mode, Status};

/// A boot takes half a second under TCG on an idle host, which a test host is not.
const PATIENCE: Duration = Duration::from_secs(30);

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// QEMU and the small kernel, or a skip that says why.
fn found() -> Option<(Qemu, Kernel)> {
    let qemu = tool::find().map_err(|why| skip("qemu", &why.to_string())).ok()?;
    let kernel = small::find().map_err(|why| skip("small-kernel", &why.to_string())).ok()?;
    Some((Qemu::new(&qemu.path, Accel::Tcg), kernel))
}

/// A saved machine in a directory.
fn saved(qemu: &Qemu, kernel: &Kernel, directory: &Path) -> Saved {
    let archive = directory.join("initramfs");
    initramfs::write(&archive).expect("an initramfs");
    let saved = Saved::at(&directory.join("saved"));
    saved.make(qemu, &kernel.image, &archive).expect("a saved machine");
    saved
}

/// A resumed machine that runs.
fn resume(qemu: &Qemu, saved: &Saved, directory: &Path, name: &str) -> (Guest, PathBuf) {
    let (console, name) = (directory.join(format!("{name}.console")), directory.join(name));
    let mut command = qemu.resume_command(&console, &saved.ram());
    command.extend(monitor::arguments(&name));
    let mut channel = monitor::open(&name, &saved.requests()).expect("a monitor");
    let guest = Guest::start(&command).expect("qemu starts");
    monitor::wait(&mut channel, Deadline::after(PATIENCE), |said| monitor::says_running(said).then_some(()))
        .expect("it runs again");
    (guest, console)
}

#[test]
fn a_saved_machine_is_resumed_many_times_and_never_changed() {
    let Some((qemu, kernel)) = found() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let saved = saved(&qemu, &kernel, directory.path());
    let before = fs::read(saved.ram()).expect("the saved memory");

    let (mut one, _) = resume(&qemu, &saved, directory.path(), "one");
    let (mut other, _) = resume(&qemu, &saved, directory.path(), "other");
    for (guest, name) in [(&mut one, "first"), (&mut other, "second")] {
        guest.send(&format!("ping {name}")).expect("sent");
        assert_eq!(guest.line(soon()).expect("an answer"), format!("PONG {name}"));
        guest.send("touch 4096").expect("sent");
        assert_eq!(guest.line(soon()).expect("an answer"), "OK touch 4096");
    }
    for mut guest in [one, other] {
        guest.send("exit").expect("sent");
        assert_eq!(guest.line(soon()).expect("an answer"), "OK exit 0");
        assert!(guest.wait(soon()).expect("qemu ends").success());
    }
    assert!(fs::read(saved.ram()).expect("the saved memory") == before, "each had a copy of its own");
}

#[test]
fn a_saved_state_that_is_cut_off_is_refused_with_words() {
    let Some((qemu, kernel)) = found() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let saved = saved(&qemu, &kernel, directory.path());
    let state = fs::read(saved.state()).expect("the saved state");
    fs::write(saved.state(), &state[..state.len() / 2]).expect("cut off");
    let refused = |console: &str| {
        let name = directory.path().join(console);
        let mut command = qemu.resume_command(&name.with_extension("console"), &saved.ram());
        command.extend(monitor::arguments(&name));
        let _channel = monitor::open(&name, &saved.requests()).expect("a monitor");
        let mut guest = Guest::start(&command).expect("qemu starts");
        match guest.line(soon()) {
            Err(Silence::Ended(words)) => words,
            other => panic!("expected the end of QEMU, got {other:?}"),
        }
    };
    let words = refused("state");
    assert!(words.contains("load of migration failed"), "{words}");
    fs::write(saved.state(), &state).expect("whole again");
    fs::File::options().write(true).open(saved.ram()).expect("opened").set_len(1 << 20).expect("cut off");
    let words = refused("ram");
    assert!(words.contains("backing store size"), "{words}");
}

#[test]
fn machines_without_a_distribution_are_measured_and_leave_nothing() {
    if let Err(why) = tool::find() {
        return skip("qemu", &why.to_string());
    }
    let out = tempfile::tempdir().expect("a temporary directory");
    let only = "process,qemu-microvm,qemu-restore,qemu-nano";
    let output = finish(&mut tare(out.path(), &["startup", "--only", only, "--rounds", "3"]));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let document = document(out.path());
    assert_eq!(left_of(&document.run.id), Vec::<PathBuf>::new());
    assert_eq!(values(&document, "qemu-nano", "ready").len(), 3);
    if let Err(why) = small::find() {
        for name in ["qemu-microvm", "qemu-restore"] {
            assert_eq!(row(&document, name).status, Status::Skipped);
            assert_eq!(row(&document, name).fix.as_deref(), Some("run scripts/guest-kernel"));
        }
        return skip("small-kernel", &why.to_string());
    }
    for name in ["qemu-microvm", "qemu-restore"] {
        let median = common::median(values(&document, name, "ready"));
        eprintln!("{name}: {} ms", median / 1_000_000);
    }
    for sample in samples(&document, "qemu-restore", "ready") {
        let parts: Vec<&str> = sample.spans.keys().map(String::as_str).collect();
        assert_eq!(parts, ["answer", "resume", "touch"]);
        assert_eq!(sample.spans.values().sum::<u64>(), sample.value.expect("a value"), "nothing left over");
        assert!(sample.spans.values().all(|&ns| ns > 0), "{sample:?}");
    }
    let modes = document.series.iter().filter(|it| it.contender == "qemu-restore").map(|it| it.mode);
    assert!(modes.into_iter().all(|mode| mode == Mode::Restore));
    let audited = document.audit.iter().find(|it| it.item == 8).expect("item 8");
    assert_eq!(audited.evidence, "all 3 restores end after a first touch of memory");
}

#[test]
fn a_missing_small_kernel_and_a_machine_that_cannot_be_saved_are_rows_with_reasons() {
    if let Err(why) = tool::find() {
        return skip("qemu", &why.to_string());
    }
    let out = tempfile::tempdir().expect("a temporary directory");
    let args = ["startup", "--only", "process,qemu-microvm,qemu-restore", "--rounds", "2"];
    finish(tare(out.path(), &args).env("TARE_SMALL_KERNEL", "/nonexistent"));
    let run = document(out.path());
    let microvm = row(&run, "qemu-microvm");
    assert_eq!(microvm.status, Status::Skipped);
    assert!(microvm.reason.as_deref().unwrap_or_default().starts_with("cannot read /nonexistent: "));
    assert_eq!(values(&run, "process", "ready").len(), 2, "the rest is complete");

    // An ELF file that is no kernel: QEMU refuses it.
    finish(tare(out.path(), &args).env("TARE_SMALL_KERNEL", env!("CARGO_BIN_EXE_tare")));
    let run = document(out.path());
    for name in ["qemu-microvm", "qemu-restore"] {
        assert_eq!(row(&run, name).status, Status::Failed, "{:?}", row(&run, name));
        assert!(row(&run, name).reason.is_some());
    }
    let failures = samples(&run, "qemu-microvm", "ready").iter().map(|it| it.failure);
    assert!(failures.into_iter().all(|it| it == Some(Failure::Crash)), "{run:#?}");
    assert_eq!(values(&run, "process", "ready").len(), 2, "the rest is complete");
    assert_eq!(left_of(&run.run.id), Vec::<PathBuf>::new());
}

#[test]
fn a_resumed_machine_is_ready_after_its_touch_in_every_measure() {
    let Some(_) = found() else { return };
    let out = tempfile::tempdir().expect("a temporary directory");
    let measures = ["spans", "concurrency"];
    let args = ["--only", "qemu-restore", "--rounds", "1"];
    let output = finish(&mut tare(out.path(), &[&measures[..], &args[..]].concat()));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let document = document(out.path());
    assert_eq!(left_of(&document.run.id), Vec::<PathBuf>::new());
    for measure in measures {
        let ready = document.series.iter().filter(|it| it.measure == measure && it.quantity == "ready");
        let samples: Vec<_> = ready.flat_map(|it| &it.samples).collect();
        assert!(!samples.is_empty(), "{measure}");
        for sample in samples {
            let value = sample.value.unwrap_or_else(|| panic!("{measure}: {sample:?}"));
            let parts: Vec<&str> = sample.spans.keys().map(String::as_str).collect();
            assert_eq!(parts, ["answer", "resume", "touch"], "{measure}");
            assert_eq!(sample.spans.values().sum::<u64>(), value, "{measure}: nothing left over");
        }
    }
    let audited = document.audit.iter().find(|it| it.item == 8).expect("item 8");
    assert!(
        audited.evidence.ends_with(" restores end after a first touch of memory"),
        "{}",
        audited.evidence
    );
}

/// A QEMU whose machines go wrong, each in its way: one that boots loses the devices without which the kernel hangs
/// under TCG, one that is resumed stays paused, and one without a kernel says something else for ever. All others,
/// the one that is saved among them, are as they should be.
fn wicked(directory: &Path, qemu: &Path) -> PathBuf {
    let path = directory.join("qemu");
    let script = format!(
        r#"#!/bin/sh
case " $* " in
*" -incoming "*) exec "{qemu}" "$@" -S ;;
*" microvm,acpi=off,isa-serial"*memory-backend-memfd*)
    machine=$2
    shift 2
    exec "{qemu}" -machine "$machine,pit=off,pic=off" "$@" ;;
*/nano*) exec yes "not the guest" ;;
*) exec "{qemu}" "$@" ;;
esac
"#,
        qemu = qemu.display()
    );
    fs::write(&path, script).expect("written");
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a program");
    path
}

#[test]
fn machines_that_hang_are_samples_with_reasons_and_the_rest_is_complete() {
    let Some((qemu, _)) = found() else { return };
    let out = tempfile::tempdir().expect("a temporary directory");
    let only = "process,qemu-microvm,qemu-restore,qemu-nano,tare-lib";
    let mut command = tare(out.path(), &["startup", "--only", only, "--rounds", "1"]);
    let began = Instant::now();
    let output = finish(command.env("TARE_QEMU", wicked(out.path(), &qemu.binary)));
    assert!(began.elapsed() < Duration::from_secs(300), "{:?}", began.elapsed());
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let document = document(out.path());
    for (name, why) in [
        ("qemu-microvm", "nothing came before the deadline"),
        ("qemu-restore", "nothing came before the deadline"),
        ("qemu-nano", "much came before the deadline, and not what was waited for"),
    ] {
        let [sample] = samples(&document, name, "ready") else { panic!("{:?}", row(&document, name)) };
        assert_eq!(sample.failure, Some(Failure::Timeout), "{name}: {sample:?}");
        assert!(sample.detail.as_deref().unwrap_or_default().starts_with(why), "{name}: {sample:?}");
        assert_eq!(row(&document, name).status, Status::Failed);
    }
    for name in ["process", "tare-lib"] {
        assert_eq!(values(&document, name, "ready").len(), 1, "the rest is complete");
    }
    let census = document.run.census.expect("a census");
    assert_eq!((census.after.processes, census.after.files), (0, 0), "no machine is left");
    assert_eq!(left_of(&document.run.id), Vec::<PathBuf>::new());
}
