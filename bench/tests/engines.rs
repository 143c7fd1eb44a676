//! The engines that are here: measured through their own clients, gone without a trace, and rows with reasons when
//! their daemon dies.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Guard, document, finish, left_of, lines, root, row, samples, skip, tare, values, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tare::host::cgroups;
use tare::host::noise::Noise;
use tare_reports::document::{Class, Failure, Status};

const ENGINES: [&str; 3] = ["docker", "podman", "containerd"];

/// Processes of a run, by the run's name in their arguments.
fn processes_of(run: &str) -> Vec<String> {
    let named = |process: &procfs::process::Process| process.cmdline().ok().map(|words| words.join(" "));
    tare::host::process::all()
        .iter()
        .filter_map(named)
        .filter(|line| line.contains(&format!("/{run}/")))
        .collect()
}

fn nothing_left(run: &str) {
    assert_eq!(left_of(run), Vec::<std::path::PathBuf>::new());
    wait_until("the end of the engines' processes", || processes_of(run).is_empty());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(run), "{mounts}");
}

#[test]
fn each_engine_that_is_here_is_measured_and_leaves_nothing() {
    if !root() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let only = format!("process,{}", ENGINES.join(","));
    let output = finish(&mut tare(out.path(), &["startup", "--only", &only, "--rounds", "2"]));
    let document = document(out.path());
    for name in ENGINES {
        let row = row(&document, name);
        assert_eq!(row.class, Class::Engine);
        if row.status == Status::Skipped {
            assert!(row.fix.is_some(), "{row:?}");
            skip(name, row.reason.as_deref().unwrap_or("?"));
            continue;
        }
        let (ready, process) = (values(&document, name, "ready"), values(&document, "process", "ready"));
        assert!(ready.iter().min() > process.iter().min(), "{name}: {ready:?} ns");
        assert_eq!((ready.len(), values(&document, name, "teardown").len()), (2, 2));
        if !row.version.contains("ran already") {
            // Client, daemon, shim and runc: far more than a client alone, and never nothing.
            assert!(values(&document, name, "cpu").iter().all(|&ns| ns > 5_000_000), "{name}");
        }
    }
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let census = document.run.census.as_ref().unwrap();
    let count =
        |it: &tare_reports::document::Census| [it.processes, it.mounts, it.cgroups, it.links, it.files];
    assert_eq!(count(&census.after), count(&census.before));
    nothing_left(&document.run.id);
}

/// Starts a run with a private Docker in the middle of it; the run's name and the daemon's process id.
fn in_the_middle(out: &Path, rounds: &str) -> Option<(Guard, String, Pid)> {
    let mut command = tare(out, &["startup", "--only", "process,docker", "--rounds", rounds]);
    let child = Guard(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let mut child = child;
    wait_until("some samples", || lines(out) > 20 || child.0.try_wait().unwrap().is_some());
    let run = std::fs::read_link(out.join("latest")).unwrap().to_string_lossy().into_owned();
    let file = tare::site::base().join(&run).join("docker/docker.pid");
    let Ok(pid) = std::fs::read_to_string(&file) else {
        skip("docker", "no private Docker engine was started: not installed, or one runs already");
        return None;
    };
    Some((child, run, Pid::from_raw(pid.trim().parse().unwrap())))
}

#[test]
fn a_daemon_that_dies_in_the_middle_leaves_samples_with_reasons() {
    if !root() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let Some((mut child, run, daemon)) = in_the_middle(out.path(), "12") else { return };
    kill(daemon, Signal::SIGKILL).unwrap();
    assert_eq!(child.0.wait().unwrap().code(), Some(0), "it was measured, in part");
    let document = document(out.path());
    let docker = samples(&document, "docker", "ready");
    assert_eq!(docker.len(), 12);
    assert!(docker[0].value.is_some(), "{:?}", docker[0]);
    let last = docker.last().unwrap();
    assert_eq!(last.failure, Some(Failure::Start), "{last:?}");
    let detail = last.detail.as_deref().unwrap();
    assert!(detail.contains("docker daemon"), "it names the daemon: {detail}");
    assert_eq!(values(&document, "process", "ready").len(), 12, "the other rows are complete");
    nothing_left(&run);
}

#[test]
fn clean_takes_away_what_a_killed_run_left_of_an_engine() {
    if !root() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let Some((mut child, run, _)) = in_the_middle(out.path(), "1000") else { return };
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    assert!(!left_of(&run).is_empty(), "a killed run leaves its site");
    let clean = Command::new(env!("CARGO_BIN_EXE_tare")).arg("clean").output().unwrap();
    assert!(clean.status.success(), "{}", String::from_utf8_lossy(&clean.stderr));
    nothing_left(&run);
}

/// A cgroup in every hierarchy; removed with this value.
struct Cgroup(String);

impl Cgroup {
    fn make(name: &str) -> Self {
        let path = format!("/tare-test-{name}-{}", std::process::id());
        for dir in cgroups::below(&path) {
            std::fs::create_dir_all(&dir).unwrap();
            cgroups::fill_cpuset(&dir);
        }
        Self(path)
    }

    /// For a shell: burn a quarter of a second of CPU time in it, then this.
    fn burns(&self, then: &str) -> String {
        let enter = |dir: &PathBuf| format!("echo $$ > {}/cgroup.procs && ", dir.display());
        let enter: String = cgroups::below(&self.0).iter().map(enter).collect();
        format!("{enter} exec perl -e '1 while (times)[0] + (times)[1] < 0.25; {then}'")
    }

    fn spent(&self) -> u64 {
        tare::engine::daemon::cpu_ns(&self.0).unwrap()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = cgroups::remove_tree(&self.0);
    }
}

#[test]
fn what_an_engine_of_ours_spends_is_not_the_hosts_noise() {
    if !root() {
        return;
    }
    let cgroup = Cgroup::make("noise");
    let engines = [cgroup.0.clone()];
    let own = std::process::id();
    let read = || [Noise::read(own, &[]), Noise::read(own, &engines)];
    // By how much less is foreign where the engine is known, over what is done, ns.
    let less_by = |act: &mut dyn FnMut()| {
        let before = read();
        act();
        let after = read();
        let [unknown, known] = [0, 1].map(|i| after[i].since(&before[i], 0).foreign_cpu_ns as i64);
        unknown - known
    };
    // Its parent ends at once: the host's first process waits for it, or whoever stands in for that.
    let orphaned = less_by(&mut || {
        let mut shell = Command::new("sh");
        shell.args(["-c", "setsid sh -c \"$1\" &", "sh", &cgroup.burns("")]);
        assert!(shell.status().unwrap().success());
        let ended = || cgroups::tree(&cgroup.0).iter().all(|dir| cgroups::members(dir).is_empty());
        wait_until("its end", || cgroup.spent() > 200_000_000 && ended());
    });
    assert!((200_000_000..400_000_000).contains(&orphaned), "{orphaned}");
    // What is below the lab is nobody else's anyway.
    let before = cgroup.spent();
    let mut shell = Command::new("sh");
    shell.args(["-c", &cgroup.burns("sleep 100")]);
    let mut child = None;
    let below = less_by(&mut || {
        child = Some(Guard(shell.spawn().unwrap()));
        wait_until("its work", || cgroup.spent() > before + 240_000_000);
    });
    assert!(below.abs() < 50_000_000, "{below}");
}
