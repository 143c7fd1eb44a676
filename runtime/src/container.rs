//! The contents page: what a container is, as a list of steps.
//!
//! A container is an ordinary process that went through [`RECIPE`]. The first steps run in the caller
//! and make what can fail and what takes memory; then the process is forked into its new namespaces;
//! the other steps run in it, one after another, until the last turns it into the command. Read the
//! list from top to bottom and open the file of each mechanism as you come to it.
//!
//! Man pages: namespaces(7), cgroups(7), pivot_root(2), execve(2). Look at it:
//! `strace -f tare-runtime run -d --rootfs DIR box -- /bin/true`

use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::geteuid;

use crate::cgroup::{self, Group, Layout};
use crate::error::{Error, Result};
use crate::report::{self, Fault, Message, Outcome, Pipe};
use crate::runtime::{Container, Runtime, reap};
use crate::spec::Spec;
use crate::state::{self, Directory, Process, State};
use crate::sys::{self, FilterInstruction, Forked, Memory};
use crate::{
    capabilities, confinement, devices, exec, idmap, mounts, namespaces, network, overlay, rootfs, seccomp,
};

/// One step of a start.
pub struct Step {
    /// Its name, which errors use.
    pub name: &'static str,
    /// What it is for.
    pub why: &'static str,
    act: Act,
}

/// In which process a step runs.
enum Act {
    /// In the caller, before the fork: may allocate, open, fail with any error.
    Before(fn(&mut Start<'_>) -> Result<()>),
    /// In the new process: system calls on prepared data only. The second function finds the words for
    /// a fault, in the parent.
    Inside(fn(&mut Child<'_>) -> std::result::Result<(), Fault>, fn(&Plan, u16) -> String),
}

const fn before(name: &'static str, why: &'static str, act: fn(&mut Start<'_>) -> Result<()>) -> Step {
    Step { name, why, act: Act::Before(act) }
}

const fn inside(
    name: &'static str,
    why: &'static str,
    act: fn(&mut Child<'_>) -> std::result::Result<(), Fault>,
    object: fn(&Plan, u16) -> String,
) -> Step {
    Step { name, why, act: Act::Inside(act, object) }
}

/// All steps, in the order in which they run. The fork is where `before` turns into `inside`.
pub const RECIPE: &[Step] = &[
    before("check", "refuse what has no meaning before anything is made", |s| s.spec.check()),
    before("state", "claim the name, and write down what is going to be made", |s| s.make_state()),
    before("cgroup", "a set of processes that is counted and limited", |s| s.make_cgroup()),
    before("prepare", "build every string and open every file that the new process needs", |s| s.prepare()),
    // Here the process is forked into new pid, mount, network, IPC and UTS namespaces, and a user
    // namespace if we are not root. This is step "clone" in errors.
    inside(
        "enter-cgroup",
        "be counted from the start",
        |c| c.plan.entry.enter(),
        |_, i| format!("cgroup {i}"),
    ),
    inside(
        "cgroup-namespace",
        "do not show where on the host this cgroup lies",
        |_| namespaces::enter_cgroup_namespace(),
        |_, _| "cgroup namespace".into(),
    ),
    inside(
        "idmap",
        "without root: be root inside, and the caller outside",
        |c| c.plan.idmap.as_ref().map_or(Ok(()), idmap::apply),
        |_, i| name(idmap::FILES.get(usize::from(i)).copied().unwrap_or_default()),
    ),
    inside(
        "session",
        "no terminal of the caller's, no ignored signals, no umask",
        |_| namespaces::new_session(),
        |_, i| ["session", "signals"][usize::from(i.min(1))].into(),
    ),
    inside("private", "mounts made from here on stay inside", |_| rootfs::make_private(), |_, _| "/".into()),
    inside(
        "overlay",
        "one image for all, a writable layer for each",
        |c| overlay::mount(&c.plan.overlay),
        |p, _| overlay::object(&p.overlay),
    ),
    inside(
        "pivot",
        "make the overlay the root",
        |c| c.pivot(),
        |p, i| {
            if i == 0 { name(&p.overlay.merged) } else { "/".into() }
        },
    ),
    inside(
        "proc",
        "see the processes of this pid namespace",
        |c| mounts::onto_image(&confinement::PROC, c.plan.rootless),
        |_, _| "/proc".into(),
    ),
    inside("sys", "see devices and the network namespace, read-only", |c| c.sys(), |_, _| "/sys".into()),
    inside("dev", "six harmless devices, terminals, shared memory", |c| c.dev(), |_, i| devices::object(i)),
    inside(
        "mask",
        "hide what tells about the host",
        |_| mounts::cover(),
        |_, i| name(confinement::MASKED_PATHS.get(usize::from(i)).map_or(c"", |m| m.0)),
    ),
    inside(
        "read-only",
        "keep the kernel's settings as they are",
        |_| mounts::freeze(),
        |_, i| name(confinement::READONLY_PATHS.get(usize::from(i)).copied().unwrap_or_default()),
    ),
    inside("detach", "take the host's root away", |c| c.detach(), |_, _| "the host's root".into()),
    inside(
        "hostname",
        "a name of its own",
        |c| namespaces::set_hostname(&c.plan.hostname),
        |p, _| p.hostname.to_string_lossy().into_owned(),
    ),
    inside(
        "loopback",
        "be able to talk to itself",
        |_| network::loopback_up(),
        |_, _| name(network::LOOPBACK),
    ),
    inside(
        "working-directory",
        "start where asked, and inside",
        |c| rootfs::working_directory(&c.plan.cwd),
        |p, _| name(&p.cwd),
    ),
    inside(
        "stdio",
        "the caller's three descriptors at 0, 1 and 2",
        |c| exec::stdio(&c.plan.exec),
        |_, i| i.to_string(),
    ),
    inside(
        "identity",
        "user and group 0, no further groups",
        |c| capabilities::become_root(c.plan.rootless),
        |_, i| ["supplementary groups", "user and group 0"][usize::from(i.min(1))].into(),
    ),
    inside(
        "capabilities",
        "root without the pieces that reach the host",
        |_| capabilities::drop_others(),
        |_, i| capabilities::object(i),
    ),
    inside(
        "no-new-privileges",
        "exec grants nothing",
        |_| sys::no_new_privileges().map_err(Fault::of(0)),
        |_, _| "no_new_privs".into(),
    ),
    inside(
        "descriptors",
        "nothing of the host stays open",
        |c| c.close(),
        |_, _| "descriptors from 3".into(),
    ),
    inside(
        "seccomp",
        "refuse the system calls that no box needs",
        |c| seccomp::install(&c.plan.filter),
        |p, _| format!("filter of {} instructions", p.filter.len()),
    ),
    inside("exec", "become the command", |c| c.exec(), |p, _| exec::object(&p.exec)),
];

fn name(path: &std::ffi::CStr) -> String {
    path.to_string_lossy().into_owned()
}

/// All that the new process needs, built before the fork.
pub(crate) struct Plan {
    rootless: bool,
    entry: cgroup::Entry,
    idmap: Option<idmap::Plan>,
    overlay: overlay::Plan,
    hostname: OsString,
    cwd: CString,
    exec: exec::Plan,
    filter: Vec<FilterInstruction>,
}

/// The new process between fork and exec.
struct Child<'a> {
    plan: &'a Plan,
    writer: BorrowedFd<'a>,
    old_root: Option<OwnedFd>,
}

impl Child<'_> {
    fn pivot(&mut self) -> std::result::Result<(), Fault> {
        self.old_root = Some(rootfs::pivot(&self.plan.overlay.merged)?);
        Ok(())
    }

    fn old_root(&self) -> std::result::Result<&OwnedFd, Fault> {
        self.old_root.as_ref().ok_or(Fault { object: 0, errno: Errno::EBADF })
    }

    fn sys(&mut self) -> std::result::Result<(), Fault> {
        mounts::sys(self.old_root()?, self.plan.rootless)
    }

    fn dev(&mut self) -> std::result::Result<(), Fault> {
        devices::build(self.old_root()?, self.plan.rootless)
    }

    fn detach(&mut self) -> std::result::Result<(), Fault> {
        rootfs::detach(self.old_root()?)?;
        self.old_root = None;
        Ok(())
    }

    fn close(&mut self) -> std::result::Result<(), Fault> {
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(confinement::UMASK));
        exec::close_others()
    }

    fn exec(&mut self) -> std::result::Result<(), Fault> {
        report::send(self.writer, Message::AboutToExec).map_err(Fault::of(0))?;
        Err(exec::run(&self.plan.exec))
    }

    /// Runs the inner half of the recipe; comes back, with the status to end with, only if a step failed.
    /// Nothing here allocates: a step is a function pointer in constant memory, a fault is two numbers.
    fn run(mut self) -> i32 {
        for (index, step) in RECIPE.iter().enumerate() {
            let Act::Inside(act, _) = step.act else { continue };
            if let Err(fault) = act(&mut self) {
                // If the parent is gone there is nobody left to tell.
                let _ = report::send(self.writer, Message::Failed { step: index as u16, fault });
                break;
            }
        }
        1
    }
}

/// A start in the caller's process.
pub(crate) struct Start<'a> {
    runtime: &'a Runtime,
    spec: &'a Spec,
    stdio: [BorrowedFd<'a>; 3],
    directory: Directory,
    claimed: bool,
    layout: &'a Layout,
    places: Vec<cgroup::Place>,
    group: Group,
    plan: Option<Plan>,
}

impl<'a> Start<'a> {
    pub(crate) fn new(runtime: &'a Runtime, spec: &'a Spec, stdio: [BorrowedFd<'a>; 3]) -> Self {
        let layout = runtime.layout();
        Self {
            runtime,
            spec,
            stdio,
            directory: Directory::new(runtime.root(), &spec.id),
            claimed: false,
            layout,
            places: layout.places(&spec.cgroup_parent, &spec.id, &spec.limits),
            group: Group::default(),
            plan: None,
        }
    }

    /// Runs the recipe. On failure everything that was made is taken back.
    pub(crate) fn run(mut self) -> Result<Container> {
        let started = self.outer_half().and_then(|()| self.fork());
        if started.is_err() {
            self.undo();
        }
        started
    }

    fn outer_half(&mut self) -> Result<()> {
        RECIPE.iter().try_for_each(|step| match step.act {
            Act::Before(act) => act(self),
            Act::Inside(..) => Ok(()),
        })
    }

    fn state(&self, process: Option<Process>) -> State {
        State {
            id: self.spec.id.clone(),
            process,
            rootfs: self.spec.rootfs.clone(),
            args: self.spec.args.clone(),
            cgroups: self.places.iter().map(|place| place.directory.clone()).collect(),
            not_applied: self.group.not_applied.clone(),
        }
    }

    fn make_state(&mut self) -> Result<()> {
        state::check_root(self.runtime.root())?;
        self.directory.create(self.runtime.root(), self.spec)?;
        self.claimed = true;
        self.state(None).plan(&self.directory)?;
        self.directory.create_layers(&self.spec.rootfs)
    }

    fn make_cgroup(&mut self) -> Result<()> {
        self.group.create(&self.places, self.spec, self.layout)
    }

    fn prepare(&mut self) -> Result<()> {
        let rootless = !geteuid().is_root();
        let fault = |object: &str| {
            let object = object.to_owned();
            move |errno| Error::at("prepare", object.clone(), errno)
        };
        let text = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL);
        self.plan = Some(Plan {
            rootless,
            entry: self.group.take_entry(),
            idmap: rootless.then(idmap::prepare),
            overlay: overlay::prepare(&self.spec.rootfs, &self.directory, rootless)
                .map_err(fault("overlay options"))?,
            hostname: self.spec.hostname.clone().into(),
            cwd: text(&self.spec.cwd).map_err(fault("working directory"))?,
            exec: exec::prepare(self.spec, self.stdio)
                .map_err(fault("command, environment and descriptors"))?,
            filter: seccomp::program().map_err(fault("seccomp filter"))?,
        });
        Ok(())
    }

    fn fork(&mut self) -> Result<Container> {
        let Some(plan) = self.plan.as_ref() else { return Err(Error::at("prepare", "plan", Errno::EINVAL)) };
        let Pipe { reader, writer } =
            report::pipe().map_err(|errno| Error::at("clone", "error pipe", errno))?;
        let forked =
            sys::fork(namespaces::at_birth(plan.rootless), plan.entry.unified(), Memory::Borrowed, || {
                sys::close_copy(reader.as_fd());
                Child { plan, writer: writer.as_fd(), old_root: None }.run()
            });
        let Forked { pid, pidfd } =
            forked.map_err(|errno| Error::at("clone", "the new process with its namespaces", errno))?;
        drop(writer);
        let set_up = self.await_exec(plan, reader, &pidfd).and_then(|()| {
            let (started, _) = state::observe(pid).unwrap_or_default();
            self.state(Some(Process { pid, started })).publish(&self.directory)
        });
        if let Err(error) = set_up {
            // It may run already; undoing needs it gone.
            let _ = sys::pidfd_signal(&pidfd, nix::libc::SIGKILL);
            let _ = reap(&pidfd);
            return Err(error);
        }
        let (id, not_applied) = (self.spec.id.clone(), self.group.not_applied.clone());
        Ok(Container { id, pid, pidfd, not_applied, cgroups: self.group.directories.clone() })
    }

    fn await_exec(&self, plan: &Plan, reader: OwnedFd, pidfd: &OwnedFd) -> Result<()> {
        match report::receive(reader).map_err(|errno| Error::at("clone", "error pipe", errno))? {
            Outcome::Executed => Ok(()),
            Outcome::Silent => Err(Error::Died(reap(pidfd)?.to_string())),
            Outcome::Failed { step, fault } => match RECIPE.get(usize::from(step)) {
                Some(Step { name, act: Act::Inside(_, object), .. }) => {
                    Err(Error::at(name, object(plan, fault.object), fault.errno))
                }
                _ => Err(Error::Died(format!("it spoke of step {step}"))),
            },
        }
    }

    fn undo(&mut self) {
        // Closes the ways into the cgroups first.
        self.plan = None;
        self.group.undo();
        if self.claimed {
            // There is an error to report already; what is left is found by `delete --force`.
            let _ = crate::delete::remove_directory(&self.directory);
        }
    }
}
