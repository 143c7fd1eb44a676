//! The kernel's tracepoints, in a buffer of our own: what processes, threads and cgroups do.
//!
//! Without it a runtime that is not ours would be one bar from its first call to READY. The events are those of
//! the spawner and of everything that it starts (`set_event_pid` with `event-fork`), recorded in an instance
//! `tare-<run>` of ftrace, which nobody else's tracing sees; by the clock of the lab. tracefs is mounted in no
//! mount namespace at all: nothing of the host's changes, and the mount goes with its descriptor. The instance
//! goes when the run ends, or by `tare clean`.
//!
//! Man page: none; Documentation/trace/ftrace.rst and events.rst of the kernel. Look at it, in a namespace of
//! your own: `unshare -m sh -c 'mount -t tracefs t /mnt; ls /mnt/events/sched /mnt/instances'`

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::sys;

/// What the names of our instances begin with; the run's follows.
const PREFIX: &str = "tare-";

/// Events of processes and threads: cheap, a few hundred for a start.
const LIFE: [&str; 6] = [
    "task/task_newtask",
    "sched/sched_process_exec",
    "sched/sched_process_exit",
    "cgroup/cgroup_mkdir",
    "cgroup/cgroup_attach_task",
    "cgroup/cgroup_transfer_tasks",
];

/// Events of what they do: some thousands for a start of a container, millions for a machine's.
const DEEDS: [&str; 3] = ["raw_syscalls", "sched/sched_switch", "sched/sched_waking"];

/// The buffer of each CPU, KiB; taken when the first start is watched.
const BUFFER: &str = "8192";

/// An instance of ftrace.
#[derive(Debug)]
pub struct Tracer {
    /// The mount: the paths below lead through it.
    _mount: OwnedFd,
    dir: PathBuf,
}

impl Tracer {
    /// Makes the instance of this run, which watches what `root` and its descendants do.
    ///
    /// # Errors
    /// In words, where tracefs cannot be mounted or used: without root, mostly.
    pub fn open(run: &str, root: u32) -> Result<Self, String> {
        let mount = sys::mount_nowhere(c"tracefs").map_err(|e| format!("mount tracefs: {e}"))?;
        let dir = below(&mount).join(format!("{PREFIX}{run}"));
        fs::create_dir(&dir).map_err(|e| format!("make an instance of ftrace: {e}"))?;
        let tracer = Self { _mount: mount, dir };
        let set = |file: &str, value: &str| {
            fs::write(tracer.dir.join(file), value)
                .map_err(|e| format!("write {value} to tracefs' {file}: {e}"))
        };
        set("tracing_on", "0")?;
        set("trace_clock", "mono")?;
        set("buffer_size_kb", BUFFER)?;
        set("options/event-fork", "1")?;
        set("set_event_pid", &root.to_string())?;
        Ok(tracer)
    }

    /// Empties the buffer and records from here on; `deeds` too: system calls and sleep.
    ///
    /// # Errors
    /// When the kernel refuses one of the events.
    pub fn begin(&self, deeds: bool) -> io::Result<()> {
        self.enable(&LIFE)?;
        if deeds {
            self.enable(&DEEDS)?;
        }
        fs::write(self.dir.join("trace"), "")?;
        fs::write(self.dir.join("tracing_on"), "1")
    }

    /// Stops recording and returns what was recorded, as the kernel prints it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn end(&self) -> io::Result<String> {
        self.stop()?;
        // Names of processes may be any bytes.
        fs::read(self.dir.join("trace")).map(|text| String::from_utf8_lossy(&text).into_owned())
    }

    /// Stops recording; does nothing where that was done already.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn stop(&self) -> io::Result<()> {
        fs::write(self.dir.join("tracing_on"), "0")?;
        // System calls are slower for the whole host as long as one of these is on.
        fs::write(self.dir.join("set_event"), "")
    }

    fn enable(&self, events: &[&str]) -> io::Result<()> {
        events.iter().try_for_each(|it| fs::write(self.dir.join("events").join(it).join("enable"), "1"))
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Busy only while somebody else reads it; then `tare clean` finds it.
        let _ = fs::remove_dir(&self.dir);
    }
}

fn below(mount: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}/instances", mount.as_raw_fd()).into()
}

/// Removes the instances of runs that are not alive any more, or with `dry` only looks; returns their names.
/// None where tracefs cannot be mounted: then there was none to make either.
pub fn clean(alive: impl Fn(&str) -> bool, dry: bool) -> Vec<String> {
    let Ok(mount) = sys::mount_nowhere(c"tracefs") else { return Vec::new() };
    left(&below(&mount), alive, dry)
}

fn left(instances: &Path, alive: impl Fn(&str) -> bool, dry: bool) -> Vec<String> {
    let entries = fs::read_dir(instances).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let ours = names.filter(|name| name.strip_prefix(PREFIX).is_some_and(|run| !alive(run)));
    ours.filter(|name| dry || fs::remove_dir(instances.join(name)).is_ok()).collect()
}
