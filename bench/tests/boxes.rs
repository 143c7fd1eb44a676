//! Real boxes through the whole suite: what is measured, and that nothing stays.

mod common;

use common::{document, finish, five_rounds, left_of, median, root, row, samples, skip, tare, values};
use tare_reports::document::{Accel, Class, Status};

#[test]
fn process_and_our_runtime_are_measured_whoever_runs_it() {
    let out = tempfile::tempdir().unwrap();
    let output = finish(&mut tare(
        out.path(),
        &["startup", "--only", "hand-loop,process,tare,tare-lib", "--rounds", "5"],
    ));
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
    let Some(document) = five_rounds("floor,runc", "runc") else { return };
    assert!(median(values(&document, "floor", "ready")) < median(values(&document, "runc", "ready")));
}

#[test]
fn confinement_costs_the_floor_something_and_leaves_nothing() {
    let Some(document) = five_rounds("floor,floor-confined", "floor") else { return };
    let confined = row(&document, "floor-confined");
    if confined.status == Status::Skipped {
        return skip("cgroup-v1", confined.reason.as_deref().unwrap_or("?"));
    }
    // Of CPU time, for that is the work itself: five starts on a busy machine say little about the time.
    let (floor, confined) = (values(&document, "floor", "cpu"), values(&document, "floor-confined", "cpu"));
    assert!(confined.iter().min() > floor.iter().min(), "{confined:?} against {floor:?}");
}

#[test]
fn crun_is_measured_with_its_wrapper_apart_and_leaves_nothing() {
    let Some(document) = five_rounds("process,crun,crun-wrapper", "crun") else { return };
    let (crun, wrapper) = (row(&document, "crun"), row(&document, "crun-wrapper"));
    let wrapped = crun.command.iter().any(|word| word.contains("umount /sys/fs/cgroup/unified"));
    let said = crun.not_expressed.iter().any(|line| line.contains("crun-wrapper"));
    // Its row tells that the figure holds more than crun, exactly where there is a row to tell how much.
    assert_eq!((said, wrapper.status == Status::Measured), (wrapped, wrapped), "{crun:?} {wrapper:?}");
    // The fastest of each: a test host does other things, too.
    let ready = |name| values(&document, name, "ready").into_iter().min().unwrap();
    if wrapped {
        let (process, wrapper, crun) = (ready("process"), ready("crun-wrapper"), ready("crun"));
        assert!(process < wrapper && wrapper < crun, "{process}, {wrapper} and {crun} ns");
        assert_eq!(row(&document, "crun-wrapper").class, Class::Process);
    } else {
        assert!(wrapper.reason.as_deref().unwrap().contains("needs no wrapper"), "{wrapper:?}");
    }
}

#[test]
fn two_hundred_containers_leave_nothing_behind() {
    if !root() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let output = finish(&mut tare(out.path(), &["startup", "--only", "tare", "--rounds", "100"]));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let document = document(out.path());
    assert_eq!(values(&document, "tare", "teardown").len(), 100);
    let census = document.run.census.unwrap();
    assert_eq!(census.after.processes, 0);
    assert_eq!(census.after.cgroups + census.after.files + census.after.mounts, 0);
    // The host's sum of namespaces is everybody's, and no test on a host with others can bound it. Those that are seen
    // are held by a process or a mount, and of ours there is none.
    assert_eq!(left_of(&document.run.id), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_real_machine_is_measured_and_labelled() {
    let out = tempfile::tempdir().unwrap();
    let output = finish(&mut tare(out.path(), &["startup", "--only", "process,qemu", "--rounds", "2"]));
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

#[test]
fn a_box_in_stock_is_a_row_of_its_own_mode_with_its_preparation() {
    use tare_reports::document::Mode;
    let Some(document) = five_rounds("process,tare-lib,tare-pool", "tare-pool") else { return };
    for quantity in ["ready", "prepare", "teardown", "cpu"] {
        assert_eq!(values(&document, "tare-pool", quantity).len(), 5, "{quantity}");
    }
    let pooled = document.series.iter().filter(|series| series.contender == "tare-pool");
    assert!(pooled.clone().all(|series| series.mode == Mode::Pool));
    // What the start does not do was done before: making the box takes longer than starting it.
    // The least of each, which a busy host disturbs least.
    let least = |contender, quantity| values(&document, contender, quantity).into_iter().min();
    let ready = least("tare-pool", "ready");
    assert!(ready < least("tare-pool", "prepare") && ready < least("tare-lib", "ready"), "{ready:?} ns");
}
