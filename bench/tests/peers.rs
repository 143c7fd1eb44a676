//! The tools of others that `scripts/setup --peers --youki` installs: measured where they are found, skipped aloud
//! elsewhere.

mod common;

use std::process::Stdio;

use common::{
    Guard, document, finish, five_rounds, left_of, median, root, row, samples, skip, tare, values, wait_until,
};
use tare_reports::document::Status;

const PEERS: [&str; 4] = ["youki", "runsc", "bwrap", "nspawn"];

#[test]
fn peers_are_measured_say_what_they_cannot_express_and_leave_nothing() {
    for peer in PEERS {
        let Some(document) = five_rounds(&format!("process,{peer}"), peer) else { continue };
        let row = row(&document, peer);
        assert!(row.not_expressed.iter().any(|line| line.contains("overlay")), "{row:?}");
        assert!(row.version.chars().any(|c| c.is_ascii_digit()), "{row:?}");
        assert!(row.command.contains(&"NONCE".to_owned()) || row.command.contains(&"--bundle".into()));
        let [process, boxed] = ["process", peer].map(|name| median(values(&document, name, "ready")));
        assert!(2 * process < boxed, "{peer} makes namespaces and mounts: {boxed} against {process} ns");
        for quantity in ["teardown", "cpu"] {
            assert_eq!(values(&document, peer, quantity).len(), 5, "{peer}: {quantity}");
        }
    }
}

/// What becomes of the others' boxes when the payload dies, or does not stop: it is a failure with a reason, and
/// the lab takes away what the tool could not.
#[test]
fn peers_that_break_are_failed_samples_and_leave_nothing() {
    if !root() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let faults = PEERS.map(|peer| format!("{peer}=crash")).join(",");
    let mut command = tare(out.path(), &["startup", "--only", &PEERS.join(","), "--rounds", "1"]);
    finish(command.env("TARE_FAULT", faults));
    let document = document(out.path());
    for peer in PEERS {
        let row = row(&document, peer);
        if row.status == Status::Skipped {
            skip(peer, row.reason.as_deref().unwrap_or("?"));
            continue;
        }
        let samples = samples(&document, peer, "ready");
        assert!(!samples.is_empty() && samples.iter().all(|s| s.failure.is_some()), "{peer}: {samples:?}");
    }
    assert_eq!(left_of(&document.run.id), Vec::<std::path::PathBuf>::new());
    assert_eq!(document.run.census.as_ref().unwrap().after.processes, 0);
    assert_eq!(machines_of(&document.run.id), 0);
}

/// How many of this run's machines systemd-nspawn keeps a directory for.
fn machines_of(run: &str) -> usize {
    let machines = std::fs::read_dir("/run/systemd/nspawn/propagate").into_iter().flatten().flatten();
    machines.filter(|it| it.file_name().to_string_lossy().starts_with(run)).count()
}

#[test]
fn what_a_killed_nspawn_leaves_outside_the_site_is_cleaned_too() {
    if five_rounds("nspawn", "nspawn").is_none() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let mut command = tare(out.path(), &["startup", "--only", "nspawn", "--rounds", "5"]);
    command.env("TARE_FAULT", "nspawn=hang").stdout(Stdio::null()).stderr(Stdio::null());
    let mut lab = Guard(command.spawn().unwrap());
    let run = || std::fs::read_link(out.path().join("latest")).ok()?.to_str().map(str::to_owned);
    wait_until("a machine", || run().is_some_and(|run| machines_of(&run) > 0));
    lab.0.kill().unwrap();
    lab.0.wait().unwrap();
    let run = run().unwrap();
    assert!(machines_of(&run) > 0, "nobody tells it to remove its directory");
    let clean = || std::process::Command::new(env!("CARGO_BIN_EXE_tare")).arg("clean").output().unwrap();
    wait_until("a clean host", || clean().status.success() && machines_of(&run) == 0);
    assert_eq!(left_of(&run), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_variable_that_names_no_program_is_a_row_with_that_reason() {
    let variables = [
        ("runc", "TARE_RUNC"),
        ("crun", "TARE_CRUN"),
        ("youki", "TARE_YOUKI"),
        ("runsc", "TARE_RUNSC"),
        ("bwrap", "TARE_BWRAP"),
        ("nspawn", "TARE_NSPAWN"),
    ];
    let out = tempfile::tempdir().unwrap();
    let only = variables.map(|(name, _)| name).join(",");
    let mut command = tare(out.path(), &["startup", "--only", &format!("process,{only}"), "--rounds", "2"]);
    let output = finish(command.envs(variables.map(|(_, variable)| (variable, "/nowhere/at-all"))));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let document = document(out.path());
    for (name, variable) in variables {
        let row = row(&document, name);
        assert_eq!(row.status, Status::Skipped, "{row:?}");
        let reason = row.reason.as_deref().unwrap();
        assert!(
            reason.contains(&format!("{variable} names /nowhere/at-all, which is no program")),
            "{reason}"
        );
    }
    assert_eq!(values(&document, "process", "ready").len(), 2);
}
