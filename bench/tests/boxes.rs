//! Real boxes through the whole suite: what is measured, and that nothing stays.

mod common;

use common::{document, finish, left_of, median, root, row, samples, skip, tare, values};
use tare_reports::document::{Accel, Status};

#[test]
fn process_and_our_runtime_are_measured_whoever_runs_it() {
    let out = tempfile::tempdir().unwrap();
    let output =
        finish(&mut tare(out.path(), &["--only", "hand-loop,process,tare,tare-lib", "--rounds", "5"]));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let document = document(out.path());
    for name in ["hand-loop", "process", "tare", "tare-lib"] {
        for quantity in ["ready", "teardown", "cpu"] {
            let values = values(&document, name, quantity);
            assert_eq!(values.len(), 5);
            assert!(values.iter().all(|&ns| (1_000..5_000_000_000).contains(&ns)), "{name}: {values:?}");
        }
        assert_eq!(row(&document, name).accel, Accel::Native);
    }
    assert!(
        median(values(&document, "process", "ready")) < median(values(&document, "tare-lib", "ready")),
        "six namespaces and an overlay cost something"
    );
    assert_eq!(left_of(&document.run.id), Vec::<std::path::PathBuf>::new());
    assert!(document.run.complete);
}

#[test]
fn the_floor_and_runc_are_measured_and_leave_nothing() {
    if !root() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let output = finish(&mut tare(out.path(), &["--only", "floor,runc", "--rounds", "5"]));
    let document = document(out.path());
    if row(&document, "runc").status == Status::Skipped {
        return skip("runc", row(&document, "runc").reason.as_deref().unwrap_or("?"));
    }
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(median(values(&document, "floor", "ready")) < median(values(&document, "runc", "ready")));
    assert_eq!(left_of(&document.run.id), Vec::<std::path::PathBuf>::new());
    let census = document.run.census.unwrap();
    assert_eq!(census.before.cgroups + census.before.files + census.before.mounts, 0);
    assert_eq!((census.after.cgroups, census.after.files, census.after.mounts), (0, 0, 0));
    assert_eq!(census.after.processes, 0);
}

#[test]
fn two_hundred_containers_leave_nothing_behind() {
    if !root() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let output = finish(&mut tare(out.path(), &["--only", "tare", "--rounds", "100"]));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let document = document(out.path());
    assert_eq!(values(&document, "tare", "teardown").len(), 100);
    let census = document.run.census.unwrap();
    assert_eq!(census.after.processes, 0);
    assert_eq!(census.after.cgroups + census.after.files + census.after.mounts, 0);
    // Other tests make namespaces at the same time: this bounds the sum, the run's own report is exact.
    assert!(census.after.namespaces <= census.before.namespaces + 60, "{census:?}");
}

#[test]
fn a_real_machine_is_measured_and_labelled() {
    let out = tempfile::tempdir().unwrap();
    let output = finish(&mut tare(out.path(), &["--only", "process,qemu", "--rounds", "2"]));
    let document = document(out.path());
    let qemu = row(&document, "qemu");
    if qemu.status == Status::Skipped {
        return skip("qemu", qemu.reason.as_deref().unwrap_or("?"));
    }
    let kvm = document.host.kvm.as_str();
    match qemu.accel {
        Accel::Tcg => assert!(kvm.starts_with("emulated: ") || kvm.starts_with("absent: "), "{kvm}"),
        Accel::Kvm | Accel::KvmNested => assert!(kvm.starts_with("usable"), "{kvm}"),
        Accel::Native => panic!("a virtual machine is not native"),
    }
    // Now and then a TCG boot hangs: that is a failure row, and the other one tells.
    let ready: Vec<u64> = samples(&document, "qemu", "ready").iter().filter_map(|s| s.value).collect();
    assert!(!ready.is_empty(), "{:?}; {}", samples(&document, "qemu", "ready"), output.status);
    assert!(ready.iter().all(|&ns| ns > 20_000_000), "a kernel does not boot in {ready:?} ns");
    assert!(qemu.command.iter().any(|word| word.contains("NONCE")), "{:?}", qemu.command);
    assert_eq!(left_of(&document.run.id), Vec::<std::path::PathBuf>::new());
}
