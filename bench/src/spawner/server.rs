//! The spawner's own side: a loop over two descriptors, the lab's socket and SIGCHLD.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, getpid, setsid};

use super::protocol::{Event, Exit, Launch, Made, Mark, Overlay, Request};
use crate::contenders::ground::remove_cgroups;
use crate::contenders::{assisted, floor};
use crate::helper::{receive, send};
use crate::network::{Link, wire};
use crate::{clock, sys};

/// Runs the spawner on the socket at descriptor 0 until the lab is gone; returns the exit status.
pub fn main() -> i32 {
    match serve() {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("tare: spawner: {error}");
            1
        }
    }
}

fn serve() -> std::io::Result<()> {
    prctl::set_child_subreaper(true)?;
    // A session of its own, so that the terminal's Ctrl-C reaches the lab alone and boxes end in order.
    // It fails only for a process group leader, which is as good.
    let _ = setsid();
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.thread_block()?;
    let children = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
    // The first argument is the one that made us a spawner.
    let birthplaces: Vec<PathBuf> = std::env::args_os().skip(2).map(PathBuf::from).collect();
    born_in(&birthplaces)?;
    let own_mounts = private_mounts();
    send(socket.as_fd(), &Event::Hello { pid: getpid().as_raw() as u32, own_mounts }, &[])?;

    let mut buffer = Vec::new();
    loop {
        let mut fds = [
            PollFd::new(socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(children.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let [asked, ended] = fds.map(|fd| fd.any().unwrap_or(false));
        if ended {
            while let Ok(Some(_)) = children.read_signal() {}
            report_exits(socket.as_fd())?;
        }
        if asked {
            // The lab holds the only other end: when it dies, however it dies, this is how we learn of it.
            let Some((request, fds)) = receive(socket.as_fd(), &mut buffer)? else {
                end_everything();
                return Ok(());
            };
            let event = answer(request, fds);
            if let Some(event) = event {
                send(socket.as_fd(), &event, &[])?;
            }
        }
    }
}

/// The cgroups in which the commands are born that this spawner runs, open to be entered.
static BIRTHPLACES: Mutex<Vec<Arc<File>>> = Mutex::new(Vec::new());

fn born_in(cgroups: &[PathBuf]) -> std::io::Result<()> {
    let opened: std::io::Result<Vec<Arc<File>>> =
        cgroups.iter().map(|dir| open_cgroup(dir).map(Arc::new)).collect();
    *lock(&BIRTHPLACES) = opened?;
    Ok(())
}

/// Opens the way into a cgroup: `tasks` on v1, where moving a single thread waits for nobody (see `ground.rs`).
fn open_cgroup(dir: &Path) -> std::io::Result<File> {
    let tasks = dir.join("tasks");
    let file = if tasks.exists() { tasks } else { dir.join("cgroup.procs") };
    let opened = File::options().write(true).open(&file);
    opened.map_err(|e| std::io::Error::new(e.kind(), format!("open the cgroup's {}: {e}", file.display())))
}

/// Has the command born in those cgroups.
fn place(command: &mut Command) {
    let cgroups = lock(&BIRTHPLACES);
    if !cgroups.is_empty() {
        sys::enter(command, cgroups.clone());
    }
}

/// Mounts made for tools that cannot make them live here, never on the host: whatever happens to us, they
/// are gone with this namespace.
fn private_mounts() -> bool {
    unshare(CloneFlags::CLONE_NEWNS).is_ok()
        && mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).is_ok()
}

/// Kills and reaps what is still below us. Each killed runtime may hand us its box, so until none is left.
fn end_everything() {
    loop {
        let pids = children();
        if pids.is_empty() {
            return;
        }
        for pid in pids {
            let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
            let _ = sys::reap_child(pid);
        }
    }
}

fn report_exits(socket: BorrowedFd) -> std::io::Result<()> {
    while let Some((pid, how, cpu_ns)) = sys::reap() {
        send(socket, &Event::Exited(Exit { pid, how, cpu_ns, at_ns: clock::now_ns() }), &[])?;
    }
    Ok(())
}

fn answer(request: Request, fds: Vec<OwnedFd>) -> Option<Event> {
    let before = clock::thread_cpu_ns();
    let done = |tag, result: Result<(), String>| match result {
        Ok(()) => Event::Done { tag, cpu_ns: clock::thread_cpu_ns() - before },
        Err(error) => Event::Refused { tag, error },
    };
    match request {
        Request::Start { tag, launch } => Some(match connected(tag, launch, fds) {
            Ok(Event::Started { tag, pid, not_applied, marks, .. }) => {
                Event::Started { tag, pid, not_applied, marks, cpu_ns: clock::thread_cpu_ns() - before }
            }
            Ok(event) => event,
            Err(error) => Event::Refused { tag, error },
        }),
        Request::Unmount { tag, target } => {
            let unmounted = umount2(&target, MntFlags::empty());
            Some(done(tag, unmounted.map_err(|e| format!("unmount {}: {e}", target.display()))))
        }
        Request::Delete { tag, made } => Some(done(tag, delete(made))),
        Request::Kill { pid, signal } => {
            // Only a child of ours that has not been reaped can have this id: we are the one who reaps.
            if children().contains(&pid)
                && let Ok(signal) = Signal::try_from(signal)
            {
                let _ = kill(Pid::from_raw(pid as i32), signal);
            }
            None
        }
        Request::UseBridge { tag } => {
            let namespace = fds.into_iter().next().ok_or_else(|| "no namespace came".to_owned());
            Some(done(tag, namespace.and_then(wire::use_bridge)))
        }
        Request::BornIn { tag, cgroups } => Some(done(tag, born_in(&cgroups).map_err(|e| e.to_string()))),
        Request::Children { tag } => Some(Event::Children { tag, pids: children() }),
    }
}

/// Our children, the adopted ones included (proc(5), /proc/PID/task/TID/children).
fn children() -> Vec<u32> {
    fs::read_to_string("/proc/thread-self/children")
        .map(|text| text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect())
        .unwrap_or_default()
}

/// Connects a box to the bridge, where that is asked, and starts it.
fn connected(tag: u64, launch: Launch, fds: Vec<OwnedFd>) -> Result<Event, String> {
    match launch {
        Launch::Linked { link, launch } => {
            let tap = wire::connect(&link)?;
            start(tag, *launch, fds, tap)
        }
        launch => start(tag, launch, fds, None),
    }
}

fn start(tag: u64, launch: Launch, fds: Vec<OwnedFd>, tap: Option<OwnedFd>) -> Result<Event, String> {
    let started = |pid, not_applied| Event::Started { tag, pid, cpu_ns: 0, not_applied, marks: Vec::new() };
    match launch {
        Launch::HandLoop { argv, expect } => hand_loop(tag, &argv, &expect),
        Launch::Scripted(_) => Err("a scripted box is not for the spawner".into()),
        Launch::Linked { .. } => Err("a box has one connection to the bridge".into()),
        launch => {
            let [input, output, error] = <[OwnedFd; 3]>::try_from(fds)
                .map_err(|fds| format!("three descriptors are needed, {} came", fds.len()))?;
            match launch {
                Launch::Library { root, spec } => {
                    let stdio = [input.as_fd(), output.as_fd(), error.as_fd()];
                    let begun = clock::now_ns();
                    let container = runtime(root).run(&spec, stdio).map_err(|e| e.to_string())?;
                    let marks = marks(begun, &container);
                    let (pid, not_applied) = (container.pid as u32, container.not_applied);
                    Ok(Event::Started { tag, pid, cpu_ns: 0, not_applied, marks })
                }
                Launch::Stock { root, spec } => {
                    let stdio = [input.as_fd(), output.as_fd(), error.as_fd()];
                    let pooled = runtime(root).prepare(&spec, stdio).map_err(|e| e.to_string())?;
                    let (pid, missing) = (pooled.container().pid, pooled.container().not_applied.clone());
                    lock(&STOCK).insert(spec.id.to_string(), pooled);
                    Ok(started(pid as u32, missing))
                }
                Launch::FromStock { id, argv } => {
                    let pooled = lock(&STOCK).remove(&id).ok_or_else(|| format!("no box {id} in stock"))?;
                    let stdio = [input.as_fd(), output.as_fd(), error.as_fd()];
                    let container = pooled.start(&argv, stdio).map_err(|e| e.to_string())?;
                    Ok(started(container.pid as u32, container.not_applied))
                }
                Launch::Floor(spec) => {
                    let pid = floor::start(&spec, [input.as_fd(), output.as_fd(), error.as_fd()])?;
                    Ok(started(pid, Vec::new()))
                }
                Launch::Assisted(tool) => {
                    mount_overlay(&tool.overlay)?;
                    let pid = assisted::start(&tool, [input.as_fd(), output.as_fd(), error.as_fd()])?;
                    Ok(started(pid, Vec::new()))
                }
                Launch::Command { argv, env, overlay, dies_with_parent } => {
                    if let Some(overlay) = overlay {
                        mount_overlay(&overlay)?;
                    }
                    let mut command = Command::new(&argv[0]);
                    command.args(&argv[1..]).env_clear().envs(env);
                    command.stdin(input).stdout(output).stderr(error);
                    place(&mut command);
                    if dies_with_parent {
                        sys::die_with_parent(&mut command);
                    }
                    if let Some(tap) = tap {
                        // Free in the child: here it is a descriptor of the spawner's own, which no box keeps.
                        sys::inherit(&mut command, tap, Link::TAP);
                    }
                    let child = command.spawn().map_err(|e| format!("start {}: {e}", argv[0]))?;
                    Ok(started(child.id(), Vec::new()))
                }
                Launch::Removal { argv, env } => {
                    let mut command = Command::new(&argv[0]);
                    command.args(&argv[1..]).env_clear().envs(env);
                    command.stdin(input).stdout(output).stderr(error);
                    let child = command.spawn().map_err(|e| format!("start {}: {e}", argv[0]))?;
                    Ok(started(child.id(), Vec::new()))
                }
                Launch::HandLoop { .. } | Launch::Scripted(_) | Launch::Linked { .. } => {
                    unreachable!("matched above")
                }
            }
        }
    }
}

/// The marks of a box that was asked for them, with one of ours before: the library was called.
fn marks(begun: u64, container: &tare_runtime::Container) -> Vec<Mark> {
    let mut marks: Vec<Mark> = Vec::new();
    if !container.marks.is_empty() {
        marks.push(Mark { step: "begin".into(), ended: begun });
    }
    marks.extend(container.marks.iter().map(|it| Mark { step: it.step.into(), ended: it.ended }));
    marks
}

/// Boxes that wait for their command.
static STOCK: Mutex<BTreeMap<String, tare_runtime::Pooled>> = Mutex::new(BTreeMap::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it is held; and if it did, the map would still be one.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The runtime, kept from one start to the next as a program that embeds it would.
fn runtime(root: PathBuf) -> &'static tare_runtime::Runtime {
    static RUNTIME: OnceLock<tare_runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tare_runtime::Runtime::new(root))
}

fn delete(made: Made) -> Result<(), String> {
    match made {
        Made::Library { root, id } => {
            // A box that was never given its command ends with its stock.
            let unused = lock(&STOCK).remove(&id).is_some();
            let id = id.parse().map_err(|e: tare_runtime::Error| e.to_string())?;
            runtime(root).delete(&id, unused).map_err(|e| e.to_string())
        }
        Made::Floor(spec) => floor::delete(&spec),
        Made::Cgroups(cgroups) => remove_cgroups(&cgroups),
        Made::Link(link) => wire::disconnect(&link),
    }
}

fn mount_overlay(overlay: &Overlay) -> Result<(), String> {
    let [upper, work, merged] = ["upper", "work", "merged"].map(|name| overlay.dir.join(name));
    for dir in [&upper, &work, &merged] {
        fs::create_dir(dir).map_err(|e| format!("make directory {}: {e}", dir.display()))?;
    }
    let options = overlay_options(&overlay.lower, &upper, &work);
    mount(Some("overlay"), &merged, Some("overlay"), MsFlags::MS_NODEV, Some(options.as_str()))
        .map_err(|e| format!("mount overlay at {}: {e}", merged.display()))
}

fn overlay_options(lower: &Path, upper: &Path, work: &Path) -> String {
    format!("lowerdir={},upperdir={},workdir={},volatile", lower.display(), upper.display(), work.display())
}

/// The loop that anybody would write by hand to time a process: what the lab adds to it is the lab's share.
fn hand_loop(tag: u64, argv: &[String], expect: &str) -> Result<Event, String> {
    let describe = |what: &'static str| move |e: std::io::Error| format!("hand-written loop: {what}: {e}");
    let t0 = clock::now_ns();
    let (input, to_child) = std::io::pipe().map_err(describe("pipe"))?;
    let (mut from_child, output) = std::io::pipe().map_err(describe("pipe"))?;
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).env_clear().stdin(input).stdout(output).stderr(Stdio::null());
    place(&mut command);
    let child = command.spawn().map_err(describe("start the payload"))?;
    let mut line = [0; 256];
    let mut length = 0;
    while !line[..length].contains(&b'\n') && length < line.len() {
        match from_child.read(&mut line[length..]).map_err(describe("read"))? {
            0 => break,
            n => length += n,
        }
    }
    let ready_ns = clock::now_ns() - t0;
    let stop = clock::now_ns();
    drop(to_child);
    let reaped = sys::reap_child(child.id());
    let teardown_ns = clock::now_ns() - stop;
    if line[..length] != *format!("{expect}\n").as_bytes() {
        return Err(format!("hand-written loop: expected {expect:?}, read {:?}", &line[..length]));
    }
    let (_, _, cpu_ns) = reaped.ok_or("hand-written loop: the payload could not be waited for")?;
    Ok(Event::Timed { tag, ready_ns, teardown_ns, cpu_ns })
}
