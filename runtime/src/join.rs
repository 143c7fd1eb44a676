//! `exec`: one more process in a box that runs.
//!
//! A namespace is entered by its descriptor (setns). A process can enter all of a box's at once through the
//! pidfd of its first process, but a pid namespace counts only for children: so we enter it, fork, and the
//! child enters the others. Between its entry and its exec the box's processes can see it in /proc; therefore
//! it hides from tracers first, and it must not borrow our memory. A start needs neither: in a new box there
//! is nobody yet.
//!
//! It gets the box's confinement, every piece of it: a door that is shut for the box would otherwise open
//! for whoever comes later.
//!
//! Man page: setns(2). Look at it: `tare-runtime exec box -- /bin/sh`

use std::borrow::Cow;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sched::{CloneFlags, setns};

use crate::blueprint::{Capabilities, Process, User, c_string};
use crate::error::{Error, Result};
use crate::report::{self, Fault, Message, Outcome, Pipe};
use crate::runtime::{Container, Runtime, reap};
use crate::spec::{self, Id};
use crate::state::{Given, State, Status};
use crate::sys::{self, FilterInstruction, Forked, Memory};
use crate::terminal::Console;
use crate::{capabilities, confinement, exec, namespaces, oci, rlimits, rootfs, seccomp, terminal};

/// What to execute in a box.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecSpec {
    /// The command and its arguments.
    pub args: Vec<String>,
    /// Added to the box's environment.
    pub env: Vec<String>,
    /// Instead of the box's working directory.
    pub cwd: Option<std::path::PathBuf>,
    /// User and group instead of the box's.
    pub user: Option<(u32, u32)>,
    /// A pseudo-terminal as standard input, output and error.
    pub terminal: bool,
    /// A whole `process` object of OCI instead of all of the above, as JSON.
    pub process: Option<String>,
}

/// How long a process may take from its last namespace to its end, ms: it waits for all others of its pid namespace.
const MOMENTS: u16 = 30_000;

/// What the child does, in order; the names are those of the recipe's steps.
const STEPS: &[&str] = &[
    "join",
    "terminal",
    "rlimits",
    "seccomp-by-right",
    "bounding-set",
    "identity",
    "working-directory",
    "stdio",
    "capabilities",
    "no-new-privileges",
    "descriptors",
    "seccomp",
    "exec",
];

struct Plan {
    first: OwnedFd,
    namespaces: CloneFlags,
    tasks: Vec<OwnedFd>,
    /// A user namespace that was made without help: its first process may not change its groups either.
    groups_denied: bool,
    process: Process,
    filter: Cow<'static, [FilterInstruction]>,
    cwd: std::ffi::CString,
    terminal: Option<terminal::Plan>,
    exec: exec::Plan,
}

impl Runtime {
    /// Executes one more command in a running container, with its confinement. The process is a child of
    /// the caller's.
    ///
    /// # Errors
    /// [`Error::NotRunning`], [`Error::Spec`], [`Error::Step`].
    pub fn exec(
        &self,
        id: &Id,
        spec: &ExecSpec,
        stdio: [BorrowedFd<'_>; 3],
        console: Option<BorrowedFd<'_>>,
    ) -> Result<Container> {
        self.join(id, spec, stdio, console).map_err(|error| self.or_ended(id, error))
    }

    /// What a box that ends meanwhile lacks first is namespaces, a cgroup or memory, and then its process: of all these
    /// only the last is what the caller wants to know.
    fn or_ended(&self, id: &Id, error: Error) -> Error {
        let lacks = match &error {
            Error::Step { step, errno, .. } => {
                ["join", "identity", "enter-cgroup", "clone"].contains(step)
                    && matches!(errno, Errno::ENOENT | Errno::ESRCH | Errno::ENODEV | Errno::ENOMEM)
            }
            Error::Died(_) => true,
            _ => false,
        };
        if lacks && let Ok((first, _)) = self.first_process(id) {
            // Where it does not end, the error is what it says.
            let _ = poll(&mut [PollFd::new(first.as_fd(), PollFlags::POLLIN)], MOMENTS);
        }
        match self.first_process(id) {
            Err(ended) if lacks => ended,
            _ => error,
        }
    }

    fn join(
        &self,
        id: &Id,
        spec: &ExecSpec,
        stdio: [BorrowedFd<'_>; 3],
        console: Option<BorrowedFd<'_>>,
    ) -> Result<Container> {
        let (first, pid) = self.first_process(id)?;
        let (state, directory, _) = self.find(id)?;
        let (own, filter) = match self.configured(&directory)? {
            Some((process, filter)) => (Some(process), Cow::Owned(filter)),
            None => (None, Cow::Borrowed(seccomp::PROGRAM)),
        };
        let process = process(spec, own, &state)?;
        let fault = |object: &str| {
            let object = object.to_owned();
            move |errno| Error::at("prepare", object.clone(), errno)
        };
        let (tasks, unified) = ways_in(&state)?;
        let (namespaces, groups_denied) = seen_of(&first, pid, id)?;
        let plan = Plan {
            groups_denied,
            cwd: c_string("cwd", std::os::unix::ffi::OsStrExt::as_bytes(process.cwd.as_os_str()))?,
            exec: exec::for_process(&process, "", stdio).map_err(fault("command and environment"))?,
            terminal: terminal::prepare(process.terminal, console)?,
            first,
            namespaces,
            tasks,
            process,
            filter,
        };
        let Pipe { reader, writer } = report::pipe().map_err(fault("error pipe"))?;
        let Forked { pid, pidfd } = fork(&plan, unified.as_ref(), &reader, &writer)?;
        drop(writer);
        match report::receive(reader).map_err(fault("error pipe"))? {
            Outcome::Executed => Ok(Container {
                id: id.clone(),
                pid,
                started: 0,
                pidfd,
                not_applied: Vec::new(),
                cgroups: state.cgroups,
                marks: Vec::new(),
            }),
            Outcome::Failed { step, fault } => {
                let _ = reap(&pidfd);
                let name = STEPS.get(usize::from(step)).copied().unwrap_or("exec");
                let object =
                    if name == "exec" { exec::object(&plan.exec) } else { format!("container {id}") };
                Err(Error::at(name, object, fault.errno))
            }
            Outcome::Waiting | Outcome::Silent => Err(Error::Died(reap(&pidfd)?.to_string())),
        }
    }
}

/// What is executed: a whole process object, or the box's own with other words.
fn process(asked: &ExecSpec, own: Option<Process>, state: &State) -> Result<Process> {
    if let Some(text) = &asked.process {
        return oci::process(&oci::parse_process(text)?);
    }
    let base = own.unwrap_or_else(|| {
        let given = state.given.clone().unwrap_or_else(|| Given {
            env: vec![format!("PATH={}", crate::DEFAULT_PATH)],
            cwd: "/".into(),
            user: spec::User::default(),
        });
        let spec::User { uid, gid, groups } = given.user;
        Process {
            args: state.args.clone(),
            env: given.env,
            cwd: given.cwd,
            capabilities: Capabilities::of(asked.user.map_or(uid, |(uid, _)| uid)),
            user: User { uid, gid, groups, umask: confinement::UMASK },
            no_new_privileges: true,
            rlimits: Vec::new(),
            oom_score_adj: None,
            terminal: false,
        }
    });
    let mut env = base.env.clone();
    for entry in &asked.env {
        let Some((name, _)) = entry.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(Error::Spec { field: "env".into(), why: format!("{entry:?} is not NAME=value") });
        };
        env.retain(|old| !old.starts_with(&format!("{name}=")));
        env.push(entry.clone());
    }
    let user = match asked.user {
        Some((uid, gid)) => User { uid, gid, groups: Vec::new(), umask: base.user.umask },
        None => base.user.clone(),
    };
    Ok(Process {
        args: asked.args.clone(),
        env,
        cwd: asked.cwd.clone().unwrap_or(base.cwd),
        user,
        terminal: asked.terminal,
        oom_score_adj: None,
        ..base
    })
}

/// The files of version 1 to write oneself into, and the directory of version 2 to be born in.
fn ways_in(state: &State) -> Result<(Vec<OwnedFd>, Option<OwnedFd>)> {
    let (mut tasks, mut unified) = (Vec::new(), None);
    for directory in state.cgroups.iter().filter(|directory| directory.is_dir()) {
        let fault =
            |error: std::io::Error| Error::io("enter-cgroup", directory.display().to_string(), &error);
        let version_1 = directory.join("tasks");
        if version_1.exists() {
            tasks.push(fs::OpenOptions::new().write(true).open(version_1).map_err(fault)?.into());
        } else {
            unified = Some(fs::File::open(directory).map_err(fault)?.into());
        }
    }
    Ok((tasks, unified))
}

/// The namespaces to be entered, and whether a process in that user namespace may not change its groups. Both are told by
/// the number of the first process, which may be another's by now, even one of the host's, in no namespace but ours: then
/// the command would be executed on the host. So the descriptor says afterwards that the number was still its own.
fn seen_of(first: &OwnedFd, pid: i32, id: &Id) -> Result<(CloneFlags, bool)> {
    let seen = differing(pid).and_then(|namespaces| Ok((namespaces, groups_denied(pid)?)));
    match sys::pidfd_signal(first, 0) {
        Ok(()) => seen,
        Err(_) => Err(Error::NotRunning { id: id.clone(), status: Status::Stopped }),
    }
}

/// Whether a process in the user namespace of `pid` may not change its groups.
fn groups_denied(pid: i32) -> Result<bool> {
    let path = format!("/proc/{pid}/setgroups");
    let text = fs::read_to_string(&path).map_err(|error| Error::io("identity", path, &error))?;
    Ok(text.trim() == "deny")
}

/// The namespaces in which process `pid` is and we are not: entering one's own is not allowed for some.
fn differing(pid: i32) -> Result<CloneFlags> {
    let kinds = [
        ("user", CloneFlags::CLONE_NEWUSER),
        ("pid", CloneFlags::CLONE_NEWPID),
        ("mnt", CloneFlags::CLONE_NEWNS),
        ("net", CloneFlags::CLONE_NEWNET),
        ("ipc", CloneFlags::CLONE_NEWIPC),
        ("uts", CloneFlags::CLONE_NEWUTS),
        ("cgroup", CloneFlags::CLONE_NEWCGROUP),
    ];
    let link = |who: &str, kind: &str| {
        let path = format!("/proc/{who}/ns/{kind}");
        fs::read_link(&path).map_err(|error| Error::io("join", path, &error))
    };
    let mut all = CloneFlags::empty();
    for (name, flag) in kinds {
        if link(&pid.to_string(), name)? != link("self", name)? {
            all |= flag;
        }
    }
    Ok(all)
}

fn fork(plan: &Plan, unified: Option<&OwnedFd>, reader: &OwnedFd, writer: &OwnedFd) -> Result<Forked> {
    // The user namespace first, for who is in it may enter the others. The pid namespace is entered for
    // children only, so the fork comes next; the child itself enters the rest.
    let fault = |errno| Error::at("join", "the container's pid namespace", errno);
    let own = fs::File::open("/proc/self/ns/pid").map_err(|e| Error::io("join", "/proc/self/ns/pid", &e))?;
    let user = plan.namespaces.intersection(CloneFlags::CLONE_NEWUSER);
    if !user.is_empty() {
        // The caller is single-threaded and ends after this (the command line): it may go along.
        setns(&plan.first, user)
            .map_err(|errno| Error::at("join", "the container's user namespace", errno))?;
    }
    let pid = plan.namespaces.intersection(CloneFlags::CLONE_NEWPID);
    if !pid.is_empty() {
        setns(&plan.first, pid).map_err(fault)?;
    }
    let forked = sys::fork(CloneFlags::empty(), unified.map(AsFd::as_fd), Memory::Copied, || {
        sys::close_copy(reader.as_fd());
        inside(plan, writer.as_fd())
    });
    // Later children are to be born here again.
    let _ = setns(&own, CloneFlags::CLONE_NEWPID);
    forked.map_err(|errno| Error::at("clone", "the new process", errno))
}

/// In the child: enters, confines itself, becomes the command.
fn inside(plan: &Plan, writer: BorrowedFd<'_>) -> i32 {
    let mut step = 0;
    let outcome = run(plan, writer, &mut step);
    if let Err(fault) = outcome {
        let _ = report::send(writer, Message::Failed { step, fault });
    }
    1
}

fn run(plan: &Plan, writer: BorrowedFd<'_>, step: &mut u16) -> std::result::Result<(), Fault> {
    let process = &plan.process;
    let mut next = || *step += 1;
    // Before the first look that anybody inside could have.
    sys::hide_from_tracers().map_err(Fault::of(0))?;
    for tasks in &plan.tasks {
        nix::unistd::write(tasks, b"0").map_err(Fault::of(0))?;
    }
    let others = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWPID;
    let rest = plan.namespaces.difference(others);
    if !rest.is_empty() {
        setns(&plan.first, rest).map_err(Fault::of(0))?;
    }
    if plan.namespaces.contains(CloneFlags::CLONE_NEWUSER) && !plan.groups_denied {
        // Our id outside has none inside, and what is made from here on is to be its root's.
        sys::become_user(0, 0).map_err(Fault::of(0))?;
    }
    namespaces::new_session()?;
    next();
    terminal::open(plan.terminal.as_ref(), &process.user, Console::Hidden)?;
    next();
    rlimits::apply(&process.rlimits)?;
    next();
    if !process.no_new_privileges {
        seccomp::install(&plan.filter)?;
    }
    next();
    capabilities::bound(process.capabilities)?;
    next();
    capabilities::become_user(&process.user, plan.groups_denied)?;
    next();
    rootfs::working_directory(&plan.cwd)?;
    next();
    exec::stdio(&plan.exec)?;
    next();
    capabilities::drop_others(process.capabilities)?;
    next();
    exec::no_new_privileges(process.no_new_privileges)?;
    next();
    exec::close_others(process.user.umask, &[writer])?;
    next();
    if process.no_new_privileges {
        seccomp::install(&plan.filter)?;
    }
    next();
    report::send(writer, Message::AboutToExec).map_err(Fault::of(0))?;
    Err(exec::run(&plan.exec))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::RECIPE;

    #[test]
    fn a_number_that_is_anothers_by_now_leads_nobody_to_the_host() {
        let mut child = std::process::Command::new("true").spawn().expect("true");
        let first = sys::pidfd_open(child.id() as i32).expect("pidfd");
        child.wait().expect("wait");
        let (id, us) = (Id::new("x").expect("id"), std::process::id() as i32);
        assert!(matches!(seen_of(&first, us, &id), Err(Error::NotRunning { .. })));
        let own = sys::pidfd_open(us).expect("pidfd");
        assert_eq!(seen_of(&own, us, &id).expect("seen").0, CloneFlags::empty());
    }

    #[test]
    fn its_steps_are_the_recipes() {
        for name in STEPS {
            assert!(RECIPE.iter().any(|step| step.name == *name), "{name}");
        }
    }
}
