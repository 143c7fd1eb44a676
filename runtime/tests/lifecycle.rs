//! Start, end, delete, fail: what is promised, and that nothing is left.

mod common;

use std::fs;
use std::os::fd::AsFd;
use std::path::PathBuf;

use common::bundle::eventually;
use common::{Lab, stderr, stdout};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tare_runtime::{Error, Exit, Id, Status};

const NOTHING: Vec<PathBuf> = Vec::new();

fn null() -> fs::File {
    fs::OpenOptions::new().read(true).write(true).open("/dev/null").expect("/dev/null")
}

#[test]
fn exit_codes_and_signals_are_passed_on() {
    let Some(lab) = Lab::new() else { return };
    assert_eq!(lab.run_with(&[], "x", &["true"]).status.code(), Some(0));
    assert_eq!(lab.run_with(&[], "x", &["sh", "-c", "exit 42"]).status.code(), Some(42));
    // Process 1 cannot kill itself, so a shell's child is killed and the shell says so.
    assert_eq!(lab.run_with(&[], "x", &["sh", "-c", "sh -c 'kill -9 $$'; exit $?"]).status.code(), Some(137));
    assert_eq!(lab.leftovers(), NOTHING);
}

#[test]
fn a_killed_container_is_128_and_the_signal() {
    let Some(lab) = Lab::new() else { return };
    let mut run = lab.command(&["run", "--cgroup-parent", &lab.parent, "--rootfs"]);
    let pid_file = lab.path().join("pid");
    run.arg(lab.image()).arg("--pid-file").arg(&pid_file).args([
        "k",
        "--",
        "sh",
        "-c",
        "echo up; sleep 1000",
    ]);
    let mut child = run.stdout(std::process::Stdio::piped()).spawn().expect("spawn");
    let mut up = [0; 3];
    std::io::Read::read_exact(child.stdout.as_mut().expect("stdout"), &mut up).expect("read");
    // The file is written after the command was executed, so its first word may come before.
    while fs::read_to_string(&pid_file).map_or(true, |text| text.is_empty()) {
        std::thread::yield_now();
    }
    let pid: i32 = fs::read_to_string(&pid_file).expect("pid file").parse().expect("number");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).expect("kill");
    assert_eq!(common::wait(child), Some(137));
    assert_eq!(lab.leftovers(), NOTHING);
}

#[test]
fn signals_to_the_foreground_runtime_reach_the_command() {
    let Some(lab) = Lab::new() else { return };
    let mut run = lab.command(&["run", "--cgroup-parent", &lab.parent, "--rootfs"]);
    run.arg(lab.image()).args([
        "s",
        "--",
        "sh",
        "-c",
        "trap 'exit 55' TERM; echo up; while :; do sleep 1; done",
    ]);
    let mut child = run.stdout(std::process::Stdio::piped()).spawn().expect("spawn");
    let mut up = [0; 3];
    std::io::Read::read_exact(child.stdout.as_mut().expect("stdout"), &mut up).expect("read");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::Signal::SIGTERM)
        .expect("kill");
    assert_eq!(common::wait(child), Some(55));
    assert_eq!(lab.leftovers(), NOTHING);
}

/// Somebody deletes its box, and has made another of that name before it comes to its own end.
#[test]
fn a_foreground_runtime_takes_away_its_own_box_and_not_the_next_of_that_name() {
    let Some(lab) = Lab::new() else { return };
    let image = lab.image().display().to_string();
    let run = ["run", "--cgroup-parent", &lab.parent, "--rootfs", &image, "x", "--", "sleep", "1000"];
    let mut first = lab.command(&run);
    first.stdout(null()).stderr(fs::File::create(lab.path().join("err")).expect("create"));
    let first = first.spawn().expect("spawn");
    let id = Id::new("x").expect("id");
    let process = || lab.runtime().load(&id).ok().and_then(|state| state.process);
    eventually("the first", || process().is_some());
    // Its start holds on to the directory for a moment longer.
    let lock = || {
        fs::File::open(lab.root().join("x"))
            .map(|it| Flock::lock(it, FlockArg::LockExclusiveNonblock).is_ok())
    };
    eventually("the end of its start", || lock().expect("open"));
    let signal = |signal| kill(Pid::from_raw(first.id() as i32), signal).expect("kill");
    signal(Signal::SIGSTOP);
    lab.runtime().delete(&id, true).expect("delete");
    let next = lab.runtime().run(&lab.spec("x", &["sleep", "1000"]), [null().as_fd(); 3]).expect("next");
    signal(Signal::SIGCONT);
    assert_eq!(common::wait(first), Some(137));
    assert_eq!(fs::read_to_string(lab.path().join("err")).expect("read"), "");
    assert_eq!(process().map(|process| process.pid), Some(next.pid));
    let state = lab.runtime().load(&id).expect("state");
    assert_eq!(state.status(&tare_runtime::Directory::new(&lab.root(), &id)), Status::Running);
    lab.runtime().remove(&next).expect("remove");
    assert_eq!(lab.leftovers(), NOTHING);
    lab.runtime().remove(&next).expect("it is gone");
}

#[test]
fn a_detached_container_lives_on_and_is_listed_shown_refused_and_deleted() {
    let Some(lab) = Lab::new() else { return };
    let mut run = lab.command(&["run", "-d", "--cgroup-parent", &lab.parent, "--rootfs"]);
    run.arg(lab.image()).args(["d", "--", "sh", "-c", "exec sleep 1000\n# \u{1b}[2J größe"]);
    // Not piped: the container inherits these and would hold them open.
    let null_file = null();
    run.stdout(null_file.try_clone().expect("clone")).stderr(null_file);
    assert!(run.status().expect("run").success());
    let (runtime, id) = (lab.runtime(), Id::new("d").expect("id"));
    let state = runtime.load(&id).expect("state");
    assert_eq!(state.status(&tare_runtime::Directory::new(runtime.root(), &id)), Status::Running);
    let pid = state.process.expect("process").pid;
    let listed = stdout(&lab.command(&["list"]).output().expect("list"));
    // A line for each, whatever its words would do to a terminal.
    assert!(listed.ends_with("running   sh -c exec sleep 1000\\n# \\u{1b}[2J größe\n"), "{listed:?}");
    let shown = stdout(&lab.command(&["state", "d"]).output().expect("state"));
    assert!(
        shown.contains(&format!("\"pid\": {pid}")) && shown.contains("\"status\": \"running\""),
        "{shown}"
    );
    let again = lab.run_with(&[], "d", &["true"]);
    assert!(stderr(&again).contains("container d exists already"), "{again:?}");
    let refused = lab.command(&["delete", "d"]).output().expect("delete");
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains(&format!("running as process {pid}")), "{refused:?}");
    let deleted = lab.command(&["delete", "--force", "d"]).output().expect("delete");
    assert!(deleted.status.success() && deleted.stderr.is_empty(), "{deleted:?}");
    assert_eq!(lab.leftovers(), NOTHING);
    let missing = lab.command(&["delete", "d"]).output().expect("delete");
    assert!(stderr(&missing).contains("container d does not exist"), "{missing:?}");
}

#[test]
fn the_library_starts_waits_and_deletes() {
    let Some(lab) = Lab::new() else { return };
    let (runtime, file) = (lab.runtime(), null());
    let (reader, writer) = nix::unistd::pipe().expect("pipe");
    let spec = lab.spec("lib", &["sh", "-c", "echo out; exit 3"]);
    let container = runtime.run(&spec, [file.as_fd(), writer.as_fd(), file.as_fd()]).expect("run");
    drop(writer);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut fs::File::from(reader), &mut text).expect("read");
    assert_eq!(text, "out\n");
    assert_eq!(container.wait().expect("wait"), Exit::Code(3));
    assert!(container.not_applied.is_empty());
    assert!(container.cgroups.iter().all(|directory| directory.is_dir()) && !container.cgroups.is_empty());
    runtime.delete(&spec.id, false).expect("delete");
    assert_eq!(lab.leftovers(), NOTHING);
}

#[test]
fn failed_starts_name_step_and_object_and_leave_nothing() {
    let Some(lab) = Lab::new() else { return };
    let (runtime, file) = (lab.runtime(), null());
    let spec = |edit: &dyn Fn(&mut tare_runtime::Spec)| {
        let mut spec = lab.spec("f", &["true"]);
        edit(&mut spec);
        spec
    };
    let not_executable = lab.image().join("etc/plain");
    fs::write(&not_executable, "").expect("write");
    let cases: [(&str, tare_runtime::Spec); 8] = [
        ("rootfs: /nowhere: ", spec(&|s| s.rootfs = "/nowhere".into())),
        ("host's own root", spec(&|s| s.rootfs = "/.".into())),
        ("step exec: nosuch (tried /usr/local/sbin/nosuch", spec(&|s| s.args = vec!["nosuch".into()])),
        ("step exec: /etc/plain: Permission denied (EACCES)", spec(&|s| s.args = vec!["/etc/plain".into()])),
        ("step working-directory: /no/such: ", spec(&|s| s.cwd = "/no/such".into())),
        ("cgroup parent: \"/../x\"", spec(&|s| s.cgroup_parent = "/../x".into())),
        ("step cgroup: /sys/fs/cgroup", spec(&|s| s.cgroup_parent = format!("/{}", "n".repeat(5000)))),
        ("no command given", spec(&|s| s.args.clear())),
    ];
    for (words, spec) in cases {
        let error =
            runtime.run(&spec, [file.as_fd(), file.as_fd(), file.as_fd()]).expect_err(words).to_string();
        assert!(error.contains(words), "{words:?} is not in {error:?}");
        assert!(!error.contains('\n'), "{error}");
        assert_eq!(lab.leftovers(), NOTHING, "after {error}");
        for tree in common::entries(std::path::Path::new("/sys/fs/cgroup")) {
            assert!(
                !tree.join(&lab.parent[1..]).exists(),
                "the parent made by a failed start stays: {error}"
            );
        }
    }
    // No child of ours is left, not even unreaped.
    // This thread's own: to wait for any would take those of the other tests from them.
    assert_eq!(fs::read_to_string("/proc/thread-self/children").expect("children"), "");
}

#[test]
fn a_cgroup_of_somebody_else_is_refused_and_left_alone() {
    let Some(lab) = Lab::new() else { return };
    let memory = std::path::Path::new("/sys/fs/cgroup/memory");
    let tree = if memory.is_dir() { memory } else { std::path::Path::new("/sys/fs/cgroup") };
    let foreign = tree.join(&lab.parent[1..]).join("taken");
    fs::create_dir_all(&foreign).expect("mkdir");
    let output = lab.run_with(&[], "taken", &["true"]);
    assert!(stderr(&output).contains(&format!("step cgroup: {}: ", foreign.display())), "{output:?}");
    assert_eq!(lab.leftovers(), std::slice::from_ref(&foreign));
    fs::remove_dir(foreign).expect("rmdir");
}

#[test]
fn a_failure_prints_one_line_and_success_none() {
    let Some(lab) = Lab::new() else { return };
    let failed = lab.run_with(&[], "x", &["nosuch"]);
    assert_eq!((failed.status.code(), stderr(&failed).lines().count()), (Some(1), 1));
    assert!(stderr(&failed).starts_with("tare-runtime: step exec: "), "{failed:?}");
    assert!(lab.run_with(&[], "x", &["true"]).stderr.is_empty());
}

#[test]
fn rests_of_a_killed_start_are_removed_by_force_only() {
    let Some(lab) = Lab::new() else { return };
    // A start that was killed right after it claimed the name, and one that had written its plan.
    fs::create_dir_all(lab.root().join("early/upper")).expect("mkdir");
    fs::create_dir_all(lab.root().join("late")).expect("mkdir");
    let plan = r#"{"id":"late","process":null,"bundle":"/x","args":["x"],"cgroups":["/sys/fs/cgroup/memory/none"],"not_applied":[]}"#;
    fs::write(lab.root().join("late/plan.json"), plan).expect("write");
    for id in ["early", "late"] {
        let id = Id::new(id).expect("id");
        assert!(matches!(lab.runtime().delete(&id, false), Err(Error::Running { .. })), "{id}");
        lab.runtime().delete(&id, true).expect("force");
    }
    assert_eq!(lab.leftovers(), NOTHING);
}

#[test]
fn one_hundred_starts_and_stops_leave_nothing() {
    let Some(lab) = Lab::new() else { return };
    let (runtime, file) = (lab.runtime(), null());
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let descriptors = common::entries(std::path::Path::new("/proc/self/fd")).len();
    for number in 0..100 {
        let spec = lab.spec(&format!("c{number}"), &["sleep", "1000"]);
        let container = runtime.run(&spec, [file.as_fd(), file.as_fd(), file.as_fd()]).expect("run");
        runtime.delete(&spec.id, true).expect("delete");
        assert_eq!(container.wait().expect("wait"), Exit::Signal(9));
    }
    assert_eq!(lab.leftovers(), NOTHING);
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").expect("mountinfo"), mounts);
    // Other tests run in this process too; a leak would be a hundred.
    let now = common::entries(std::path::Path::new("/proc/self/fd")).len();
    assert!(now < descriptors + 50, "{descriptors} descriptors became {now}");
}

#[test]
fn paths_with_the_overlays_separators_work() {
    let Some(lab) = Lab::new() else { return };
    let odd = lab.path().join("a:b,c\\d");
    fs::rename(lab.image(), &odd).expect("rename");
    let mut spec = lab.spec("odd", &["true"]);
    spec.rootfs = odd;
    let runtime = tare_runtime::Runtime::new(lab.path().join("s,t:u"));
    let file = null();
    let container = runtime.run(&spec, [file.as_fd(), file.as_fd(), file.as_fd()]).expect("run");
    assert_eq!(container.wait().expect("wait"), Exit::Code(0));
    runtime.delete(&spec.id, false).expect("delete");
}

#[test]
fn a_state_directory_that_others_may_write_to_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let Some(lab) = Lab::new() else { return };
    fs::create_dir(lab.root()).expect("mkdir");
    fs::set_permissions(lab.root(), fs::Permissions::from_mode(0o777)).expect("chmod");
    let output = lab.run_with(&[], "x", &["true"]);
    assert!(stderr(&output).contains("others may write to it"), "{output:?}");
}

#[test]
fn a_box_that_a_test_did_not_get_deleted_goes_with_its_laboratory() {
    let Some(lab) = Lab::new() else { return };
    let mut run = lab.command(&["run", "--detach", "--cgroup-parent", &lab.parent, "--rootfs"]);
    run.arg(lab.image()).args(["stays", "--", "sleep", "1000"]);
    let null = std::process::Stdio::null;
    assert!(run.stdout(null()).stderr(null()).status().expect("tare-runtime starts").success());
    // Nobody knows of it any more.
    fs::remove_dir_all(lab.root()).expect("remove the state");
    let cgroups: Vec<PathBuf> = lab.leftovers();
    assert!(!cgroups.is_empty(), "it runs");
    drop(lab);
    assert_eq!(cgroups.into_iter().filter(|it| it.exists()).collect::<Vec<_>>(), NOTHING);
}

#[test]
fn a_torn_file_of_one_and_a_file_that_is_none_are_in_nobodys_way() {
    let Some(lab) = Lab::new() else { return };
    let null_file = null();
    let mut run = lab.command(&["run", "-d", "--cgroup-parent", &lab.parent, "--rootfs"]);
    run.arg(lab.image()).args(["whole", "--", "sleep", "1000"]);
    run.stdout(null_file.try_clone().expect("clone")).stderr(null_file);
    assert!(run.status().expect("it starts").success());
    let state = |name: &str, file: &str| lab.root().join(name).join(file);
    let text = fs::read(state("whole", "state.json")).expect("state");
    // As a start leaves it that is killed while it writes, and as a power failure may.
    for (name, file, bytes) in [
        ("half", "plan.json", &text[..text.len() / 2]),
        ("zeros", "plan.json", &[0; 100][..]),
        ("power", "state.json", &[0; 100][..]),
    ] {
        fs::create_dir(lab.root().join(name)).expect("mkdir");
        fs::write(state(name, file), bytes).expect("write");
    }
    fs::write(lab.root().join("file"), "").expect("write");
    std::os::unix::fs::symlink("whole", lab.root().join("link")).expect("symlink");
    let tare = |words: &[&str]| lab.command(words).output().expect("it starts");
    let listed = tare(&["list", "-q"]);
    assert_eq!((stdout(&listed).as_str(), stderr(&listed).as_str()), ("whole\n", ""));
    for name in ["half", "zeros", "power"] {
        let refused = tare(&["delete", name]);
        assert!(stderr(&refused).contains("or was killed while it was"), "{name}: {refused:?}");
        let deleted = tare(&["delete", "--force", name]);
        assert!(deleted.status.success() && !lab.root().join(name).exists(), "{name}: {deleted:?}");
    }
    // What is no state at all was not torn.
    fs::write(state("whole", "state.json"), "{\"id\": 7}").expect("write");
    let refused = tare(&["delete", "--force", "whole"]);
    assert!(stderr(&refused).contains("whole/state.json: not a state file of this program"), "{refused:?}");
    fs::write(state("whole", "state.json"), text).expect("write");
    for name in ["file", "link"] {
        fs::remove_file(lab.root().join(name)).expect("rm");
    }
    assert!(tare(&["delete", "--force", "whole"]).status.success());
    assert_eq!(lab.leftovers(), NOTHING);
}
