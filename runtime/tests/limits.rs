//! Limits: that they are set, and that they hold.

mod common;

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

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

/// Takes more than 16 MiB in a child, and ends with 0 itself.
const EATEN: &str = "exec 2>/dev/null; dd if=/dev/zero of=/dev/null bs=64M count=1; exit 0";
/// Forks more than three in a shell that ends of it, and ends with 0 itself.
const CROWD: &str = "exec 2>/dev/null; (for i in 1 2 3 4 5 6; do sleep 1 & done); exit 0";

#[test]
fn who_survives_a_child_killed_for_memory_does_not_hide_it() {
    let Some(lab) = Lab::new() else { return };
    let survivor = lab.run_with(&["--memory", "16MiB"], "survivor", &["sh", "-c", EATEN]);
    let said =
        "tare-runtime: container survivor: 1 process was killed because the memory limit was reached\n";
    assert_eq!((survivor.status.code(), stderr(&survivor).as_str()), (Some(0), said));
    let content = lab.run_with(&["--memory", "128MiB"], "content", &["sh", "-c", EATEN]);
    assert_eq!((content.status.code(), stderr(&content).as_str()), (Some(0), ""));
}

/// What is said on standard error may find nobody there, or a full disk. That is no reason to lose the command's status.
#[test]
fn a_status_arrives_though_nobody_can_be_told_the_rest() {
    let Some(lab) = Lab::new() else { return };
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let mut survivor = lab.command(&["run", "--cgroup-parent", &lab.parent, "--memory", "16MiB", "--rootfs"]);
    survivor.arg(lab.image()).args(["survivor", "--", "sh", "-c", EATEN]);
    assert_eq!(survivor.stderr(full()).status().expect("it starts").code(), Some(0));
    assert_eq!(lab.command(&["fly"]).stderr(full()).status().expect("it starts").code(), Some(2));
    assert_eq!(lab.command(&["state", "none"]).stderr(full()).status().expect("it starts").code(), Some(1));
    assert!(lab.leftovers().is_empty());
}

#[test]
fn who_survives_a_refused_fork_does_not_hide_it() {
    let Some(lab) = Lab::new() else { return };
    let crowd = lab.run_with(&["--pids", "4"], "crowd", &["sh", "-c", CROWD]);
    let said = stderr(&crowd);
    assert_eq!((crowd.status.code(), said.lines().count()), (Some(0), 1), "{crowd:?}");
    assert!(said.starts_with("tare-runtime: container crowd: "), "{said}");
    assert!(said.ends_with("refused because the limit of processes was reached\n"), "{said}");
    let calm = lab.run_with(&["--pids", "20"], "calm", &["sh", "-c", CROWD]);
    assert_eq!((calm.status.code(), stderr(&calm).as_str()), (Some(0), ""));
}

#[test]
fn state_shows_what_the_limits_did() {
    let Some(lab) = Lab::new() else { return };
    let events = |id: &str| {
        let output = lab.command(&["state", id]).output().expect("state");
        let state: serde_json::Value = serde_json::from_slice(&output.stdout).expect("json");
        (state["events"]["oom_kills"].as_u64(), state["events"]["pids_limit_hits"].as_u64())
    };
    for (id, memory, pids) in [("both", "16MiB", "4"), ("none", "128MiB", "20")] {
        // The box says when it is done: its standard output ends.
        let script =
            format!("(exec 2>/dev/null; {}); ({CROWD}); exec sleep 1000 >&-", EATEN.replace("exit", ":"));
        let mut run = lab.command(&["run", "-d", "--memory", memory, "--pids", pids]);
        run.args(["--cgroup-parent", &lab.parent, "--rootfs"]).arg(lab.image());
        let output = run.args([id, "--", "sh", "-c", &script]).stderr(Stdio::null()).output().expect("run");
        assert!(output.status.success(), "{output:?}");
    }
    let (killed, refused) = events("both");
    assert_eq!(killed, Some(1));
    assert!(refused.is_some_and(|count| count >= 1), "{refused:?}");
    assert_eq!(events("none"), (Some(0), Some(0)));
}

#[test]
fn delete_by_force_takes_cgroups_below_with_what_is_in_them() {
    let Some(lab) = Lab::new() else { return };
    let file = fs::OpenOptions::new().read(true).write(true).open("/dev/null").expect("/dev/null");
    let spec = lab.spec("nest", &["sleep", "1000"]);
    let container = lab.runtime().run(&spec, [file.as_fd(), file.as_fd(), file.as_fd()]).expect("run");
    let mut strangers = Vec::new();
    for directory in &container.cgroups {
        let innermost = directory.join("a/b");
        fs::create_dir_all(&innermost).expect("mkdir");
        fs::create_dir(directory.join("c")).expect("mkdir");
        let mut stranger = Command::new("sleep");
        let stranger = stranger.arg("1000").spawn().expect("sleep");
        fs::write(innermost.join("cgroup.procs"), stranger.id().to_string()).expect("moved in");
        strangers.push(stranger);
    }
    assert!(!strangers.is_empty());
    let deleted = lab.runtime().delete(&spec.id, true);
    container.wait().expect("wait");
    let left = lab.leftovers();
    // Nothing may stay on this host, whatever was found.
    let ends = strangers.iter_mut().map(|stranger| {
        let end = stranger.try_wait().expect("wait");
        let _ = (stranger.kill(), stranger.wait());
        end.and_then(|status| status.signal())
    });
    let ends: Vec<Option<i32>> = ends.collect();
    for directory in &container.cgroups {
        for below in ["a/b", "a", "c"] {
            let _ = fs::remove_dir(directory.join(below));
        }
    }
    deleted.expect("delete");
    assert_eq!(left, Vec::<std::path::PathBuf>::new());
    assert!(ends.iter().all(|end| *end == Some(9)), "{ends:?}");
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
    // What the limit forbids does not go to the swap space instead, where this kernel counts that.
    match fs::read_to_string(format!("/sys/fs/cgroup/memory{}/set/memory.memsw.limit_in_bytes", lab.parent)) {
        Ok(both) => assert_eq!(both.trim(), "67108864"),
        Err(error) => skip("swap-accounting", &format!("no memory.memsw.limit_in_bytes: {error}")),
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
