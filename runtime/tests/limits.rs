//! Limits: that they are set, and that they hold.

mod common;

use std::fs;
use std::os::fd::AsFd;

use common::{Lab, skip, stderr};
use tare_runtime::{Limits, MilliCpus, MissingLimits};

fn version_1() -> bool {
    let v1 = std::path::Path::new("/sys/fs/cgroup/memory/tasks").exists();
    if !v1 {
        skip("cgroup-v1", "this host has no version 1 memory controller");
    }
    v1
}

#[test]
fn a_box_that_wants_more_memory_than_its_limit_is_killed() {
    let Some(lab) = Lab::new() else { return };
    // dd takes its block from the heap and fills it.
    let greedy = ["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"];
    let fits = lab.run_with(&["--memory", "128MiB"], "fits", &greedy);
    assert_eq!(fits.status.code(), Some(0), "{fits:?}");
    let killed = lab.run_with(&["--memory", "16MiB"], "killed", &greedy);
    assert_eq!(killed.status.code(), Some(137), "{killed:?}");
    assert!(lab.leftovers().is_empty());
}

#[test]
fn a_box_cannot_have_more_processes_than_its_limit() {
    let Some(lab) = Lab::new() else { return };
    let script = "for i in 1 2 3 4 5 6; do sleep 5 & done; exit 0";
    let free = lab.run_with(&["--pids", "20"], "free", &["sh", "-c", script]);
    assert!(free.stderr.is_empty(), "{free:?}");
    let bound = lab.run_with(&["--pids", "4"], "bound", &["sh", "-c", script]);
    assert!(stderr(&bound).contains("can't fork"), "{bound:?}");
}

#[test]
fn limits_stand_in_the_kernels_files_and_the_process_is_in_the_cgroup() {
    let Some(lab) = Lab::new() else { return };
    if !version_1() {
        return;
    }
    let file = fs::OpenOptions::new().read(true).write(true).open("/dev/null").expect("/dev/null");
    let mut spec = lab.spec("set", &["sleep", "1000"]);
    spec.limits = Limits { memory: Some(64 << 20), pids: Some(7), cpus: Some(MilliCpus(1500)) };
    let container = lab.runtime().run(&spec, [file.as_fd(), file.as_fd(), file.as_fd()]).expect("run");
    assert_eq!(container.not_applied, Vec::<String>::new());
    let expected = [
        ("memory", "memory.limit_in_bytes", "67108864"),
        ("pids", "pids.max", "7"),
        ("cpu", "cpu.cfs_quota_us", "150000"),
        ("cpu", "cpu.cfs_period_us", "100000"),
    ];
    for (tree, name, value) in expected {
        let directory = format!("/sys/fs/cgroup/{tree}{}/set", lab.parent);
        let found = fs::read_to_string(format!("{directory}/{name}")).expect(name);
        assert_eq!(found.trim(), value, "{name}");
        let procs = fs::read_to_string(format!("{directory}/cgroup.procs")).expect("procs");
        assert_eq!(procs.trim(), container.pid.to_string(), "{tree}");
    }
    lab.runtime().delete(&spec.id, true).expect("delete");
    container.wait().expect("wait");
    assert!(lab.leftovers().is_empty());
}

#[test]
fn a_limit_without_meaning_is_refused_before_anything_is_made() {
    let Some(lab) = Lab::new() else { return };
    let file = fs::File::open("/dev/null").expect("/dev/null");
    for limits in [
        Limits { memory: Some(0), ..Limits::default() },
        Limits { pids: Some(0), ..Limits::default() },
        Limits { cpus: Some(MilliCpus(9)), ..Limits::default() },
    ] {
        let mut spec = lab.spec("zero", &["true"]);
        spec.limits = limits;
        // Recording is about what the host lacks, not about nonsense.
        spec.missing_limits = MissingLimits::Record;
        let error = lab.runtime().run(&spec, [file.as_fd(); 3]).expect_err("refused").to_string();
        assert!(error.starts_with("limits: "), "{error}");
        assert!(lab.leftovers().is_empty());
    }
}
