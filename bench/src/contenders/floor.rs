//! `floor`: the least a container is. The kernel calls for six namespaces, one cgroup with a memory and a
//! pids limit, an overlay root, /proc, pivot_root and exec, issued by hand with no tool around them and no
//! confinement. What a runtime needs above it is the runtime's own.
//!
//! The calls are the kernel's, in the order that it forces; the reasons are told in `runtime/`, where each
//! mechanism has its file.

use std::ffi::{CStr, CString};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, pivot_root, sethostname, write};
use tare_reports::document::{Accel, Class};
use tare_runtime::sys::{CStringArray, Forked, Memory, execve, fork, reset_signals};

use super::{Contender, Description, Found, HOSTNAME, MEMORY, Missing, PIDS, Surroundings, Undo};
use crate::host::cgroups;
use crate::site::{Site, Start};
use crate::spawner::protocol::{FloorCgroup, FloorSpec, Launch, Made};

/// See the file's head.
#[derive(Debug)]
pub struct Floor;

impl Floor {
    fn spec(site: &Site, start: &Start) -> FloorSpec {
        let place = format!("{}/{}", site.cgroup_parent().trim_start_matches('/'), start.id);
        let limits: [(&str, &str, &str, u64); 2] = [
            ("memory", "memory.limit_in_bytes", "memory.max", MEMORY),
            ("pids", "pids.max", "pids.max", PIDS),
        ];
        let mut cgroups: Vec<FloorCgroup> = Vec::new();
        for (controller, v1, v2, limit) in limits {
            let Some(root) = cgroups::root_of(controller) else { continue };
            let file = if cgroups::mode() == "v2" { v2 } else { v1 };
            let (dir, limit) = (root.join(&place), (file.to_owned(), limit.to_string()));
            // On v2 both limits are files of one directory.
            match cgroups.iter_mut().find(|cgroup| cgroup.dir == dir) {
                Some(cgroup) => cgroup.limits.push(limit),
                None => cgroups.push(FloorCgroup { dir, limits: vec![limit] }),
            }
        }
        FloorSpec {
            dir: site.instance(start),
            lower: site.rootfs(),
            unified: cgroups::mode() == "v2",
            cgroups,
            argv: vec!["/payload".into(), start.nonce.clone()],
        }
    }
}

impl Contender for Floor {
    fn description(&self) -> Description<'_> {
        Description {
            name: "floor",
            class: Class::Container,
            about: "the least a container is: six namespaces, one cgroup, an overlay root, /proc, pivot_root, exec",
            inside_clock: &[
                "pipes",
                "request to the spawner",
                "instance directories",
                "cgroup and limits",
                "clone3 with namespaces",
                "overlay",
                "/proc",
                "pivot_root",
                "exec",
                "READY",
            ],
            ..Description::default()
        }
    }

    fn probe(&mut self, surroundings: &Surroundings) -> Result<Found, Missing> {
        if !surroundings.root {
            return Err(Missing::root("issuing the kernel's calls without a user namespace"));
        }
        if cgroups::root_of("memory").is_none() {
            return Err(Missing { reason: "this host has no memory controller".into(), fix: None });
        }
        Ok(Found {
            version: env!("CARGO_PKG_VERSION").into(),
            accel: Accel::Native,
            not_expressed: vec![
                "by design: no capabilities dropped, no seccomp, no masked paths, no devices, no cpu limit"
                    .into(),
            ],
        })
    }

    fn prepare(&mut self, site: &Site) -> Result<()> {
        for controller in ["memory", "pids"] {
            if let Some(root) = cgroups::root_of(controller) {
                fs::create_dir_all(root.join(site.cgroup_parent().trim_start_matches('/')))?;
            }
        }
        Ok(())
    }

    fn launch(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        Ok(Launch::Floor(Self::spec(site, start)))
    }

    fn command(&mut self, _: &Site) -> Vec<String> {
        vec!["(kernel calls issued by the spawner: bench/src/contenders/floor.rs)".into()]
    }

    fn teardown(&self, site: &Site, start: &Start) -> Vec<Undo> {
        vec![Undo::Made(Made::Floor(Self::spec(site, start)))]
    }

    fn leaves(&self, site: &Site, start: &Start) -> Vec<PathBuf> {
        let mut paths = site.cgroups_of(start);
        paths.push(site.instance(start));
        paths
    }
}

/// What the child needs, built before the fork: afterwards nothing may allocate.
struct Prepared {
    overlay: CString,
    merged: CString,
    program: CString,
    argv: CStringArray,
    env: CStringArray,
    /// v1: files into which the child writes itself.
    members: Vec<File>,
    /// v2: the directory that the child is born in.
    birthplace: Option<File>,
}

/// Starts a box; returns the process id of its first process. Runs in the spawner.
pub(crate) fn start(spec: &FloorSpec, stdio: [BorrowedFd; 3]) -> Result<u32, String> {
    let prepared = prepare(spec)?;
    let (mut faults, fault) = std::io::pipe().map_err(|e| format!("pipe: {e}"))?;
    let namespaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    let birthplace = prepared.birthplace.as_ref().map(AsFd::as_fd);
    let forked = fork(namespaces, birthplace, Memory::Borrowed, || {
        let (step, errno) = inside(&prepared, stdio);
        // One byte each: the step that failed and the error number.
        let _ = write(fault.as_fd(), &[step as u8, errno as i32 as u8]);
        127
    });
    let Forked { pid, .. } = forked.map_err(|e| format!("clone3: {e}"))?;
    drop(fault);
    let mut report = [0; 2];
    // The pipe closes when exec succeeds: two bytes mean that a step failed.
    if let Ok(2) = faults.read(&mut report) {
        let _ = waitpid(Pid::from_raw(pid), None);
        let what = STEPS.get(report[0] as usize).unwrap_or(&"?");
        return Err(format!("{what}: {}", Errno::from_raw(i32::from(report[1]))));
    }
    Ok(pid as u32)
}

fn prepare(spec: &FloorSpec) -> Result<Prepared, String> {
    let [upper, work, merged] = ["upper", "work", "merged"].map(|name| spec.dir.join(name));
    for dir in [&spec.dir, &upper, &work, &merged] {
        fs::create_dir(dir).map_err(|e| format!("make directory {}: {e}", dir.display()))?;
    }
    let (mut members, mut birthplace) = (Vec::new(), None);
    for cgroup in &spec.cgroups {
        fs::create_dir(&cgroup.dir).map_err(|e| format!("make cgroup {}: {e}", cgroup.dir.display()))?;
        for (file, limit) in &cgroup.limits {
            write_limit(&cgroup.dir.join(file), limit)?;
        }
        let open = |options: &mut OpenOptions, path: &Path| {
            options.open(path).map_err(|e| format!("open {}: {e}", path.display()))
        };
        if spec.unified {
            birthplace = Some(open(File::options().read(true), &cgroup.dir)?);
        } else {
            // `tasks`, not `cgroup.procs`: moving a thread group waits for an RCU grace period, some
            // milliseconds, moving the only thread of a new process does not.
            members.push(open(File::options().write(true), &cgroup.dir.join("tasks"))?);
        }
    }
    let overlay = format!(
        "lowerdir={},upperdir={},workdir={},volatile",
        spec.lower.display(),
        upper.display(),
        work.display()
    );
    let c = |text: &str| CString::new(text).map_err(|e| format!("{text:?}: {e}"));
    let argv: Result<Vec<CString>, String> = spec.argv.iter().map(|word| c(word)).collect();
    Ok(Prepared {
        overlay: c(&overlay)?,
        merged: CString::new(merged.as_os_str().as_bytes()).map_err(|e| e.to_string())?,
        program: c(&spec.argv[0])?,
        argv: CStringArray::new(argv?),
        env: CStringArray::new(Vec::new()),
        members,
        birthplace,
    })
}

fn write_limit(file: &Path, limit: &str) -> Result<(), String> {
    File::options()
        .write(true)
        .open(file)
        .and_then(|mut f| f.write_all(limit.as_bytes()))
        .map_err(|e| format!("write {limit} to {}: {e}", file.display()))
}

const STEPS: [&str; 10] = [
    "join the cgroup",
    "unshare the cgroup namespace",
    "make mounts private",
    "mount the overlay",
    "mount /proc",
    "pivot_root",
    "set the host name",
    "standard descriptors",
    "reset signals",
    "exec",
];

/// The child's part; comes back only with the number of the step that failed and the reason.
fn inside(p: &Prepared, stdio: [BorrowedFd; 3]) -> (usize, Errno) {
    let mut step = 0;
    let mut run = || -> Result<(), Errno> {
        for tasks in &p.members {
            write(tasks, b"0")?;
        }
        step = 1;
        // After joining, so that the box sees its own cgroup as the root.
        unshare(CloneFlags::CLONE_NEWCGROUP)?;
        step = 2;
        let none = None::<&CStr>;
        mount(none, c"/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        step = 3;
        mount(
            Some(c"overlay"),
            p.merged.as_c_str(),
            Some(c"overlay"),
            MsFlags::empty(),
            Some(p.overlay.as_c_str()),
        )?;
        step = 4;
        chdir(p.merged.as_c_str())?;
        let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some(c"proc"), c"proc", Some(c"proc"), quiet, none)?;
        step = 5;
        pivot_root(c".", c".")?;
        umount2(c".", MntFlags::MNT_DETACH)?;
        chdir(c"/")?;
        step = 6;
        sethostname(HOSTNAME)?;
        step = 7;
        dup2_stdin(stdio[0])?;
        dup2_stdout(stdio[1])?;
        dup2_stderr(stdio[2])?;
        step = 8;
        reset_signals()?;
        step = 9;
        Err(execve(&p.program, &p.argv, &p.env))
    };
    let errno = run().err().unwrap_or(Errno::UnknownErrno);
    (step, errno)
}

/// Removes a box whose process has ended. Runs in the spawner.
pub(crate) fn delete(spec: &FloorSpec) -> Result<(), String> {
    for cgroup in &spec.cgroups {
        match fs::remove_dir(&cgroup.dir) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("remove cgroup {}: {e}", cgroup.dir.display()));
            }
            _ => {}
        }
    }
    match fs::remove_dir_all(&spec.dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("remove {}: {e}", spec.dir.display()))
        }
        _ => Ok(()),
    }
}
