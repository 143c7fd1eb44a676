//! The library's face: start, find, list, delete.
//!
//! No process stays beside a container and no daemon behind it: what must be remembered is in the state
//! directory, everything else is in the kernel. Without that a daemon would have
//! to run, and all boxes would hang on it.
//!
//! Man page: waitid(2), pidfd_open(2). Look at it: `tare-runtime list`

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::sys::wait::{Id as WaitId, WaitPidFlag, WaitStatus, waitid};

use crate::blueprint::Blueprint;
use crate::cgroup::{self, Layout};
use crate::delete::being_created;
use crate::error::{Error, Result};
use crate::marks::Mark;
use crate::spec::{Id, Spec};
use crate::start::Start;
use crate::state::{Directory, State};

/// Starts containers whose state is kept in one directory.
#[derive(Debug)]
pub struct Runtime {
    root: PathBuf,
    program: PathBuf,
    layout: OnceLock<Layout>,
}

impl Runtime {
    /// Keeps the state below `root`, which is made when it is first needed;
    /// see [`default_root`](crate::default_root).
    pub fn new(root: PathBuf) -> Self {
        Self { root, program: "tare-runtime".into(), layout: OnceLock::new() }
    }

    /// Which program a box with published ports gets as its proxy: one that calls [`network::serve`] when its first word
    /// is [`network::PROXY`], as `tare-runtime` does. Without this call that is looked for on PATH.
    ///
    /// [`network::serve`]: crate::network::serve
    /// [`network::PROXY`]: crate::network::PROXY
    pub fn with_program(self, program: PathBuf) -> Self {
        Self { program, ..self }
    }

    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// The state directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn layout(&self) -> &Layout {
        self.layout.get_or_init(|| Layout::detect(Path::new(cgroup::ROOT)))
    }

    /// Starts a container with the three descriptors as its standard input, output and error. Returns
    /// once the command has been executed; the container is then a child of the calling process.
    ///
    /// # Errors
    /// Any [`Error`]; nothing is left behind then.
    pub fn run(&self, spec: &Spec, stdio: [BorrowedFd<'_>; 3]) -> Result<Container> {
        Start::new(self, Blueprint::of(spec)?, stdio, None, false).run()
    }

    /// What is known about a container.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::State`].
    pub fn load(&self, id: &Id) -> Result<State> {
        let directory = Directory::new(&self.root, id);
        match State::read(&directory)? {
            Some(state) => Ok(state),
            None if directory.path().exists() => Err(being_created(id)),
            None => Err(self.not_found(id)),
        }
    }

    pub(crate) fn not_found(&self, id: &Id) -> Error {
        Error::NotFound { id: id.clone(), root: self.root.clone() }
    }

    /// All containers in the state directory, by name.
    ///
    /// # Errors
    /// [`Error::Step`] if the directory cannot be read, [`Error::State`].
    pub fn list(&self) -> Result<Vec<State>> {
        let fault = |error: io::Error| Error::io("state", self.root.display().to_string(), &error);
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(fault)?,
        };
        let mut states = Vec::new();
        for entry in entries {
            let entry = entry.map_err(fault)?;
            // What is not named like a container is not ours, and neither is a file or a link; what vanishes meanwhile is
            // gone.
            if !entry.file_type().is_ok_and(|it| it.is_dir()) {
                continue;
            }
            let Some(Ok(id)) = entry.file_name().to_str().map(Id::new) else { continue };
            states.extend(State::read(&Directory::new(&self.root, &id))?);
        }
        states.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(states)
    }
}

/// A container that was started by this process.
#[derive(Debug)]
pub struct Container {
    /// Its name.
    pub id: Id,
    /// Its first process, as the host sees it.
    pub pid: i32,
    /// When that started, which together with the number makes it certain.
    pub(crate) started: u64,
    /// The same as a descriptor, readable once that process has ended.
    pub pidfd: OwnedFd,
    /// Limits that were asked for and are not in force, in words.
    pub not_applied: Vec<String>,
    /// Its cgroup directories, where its use of resources can be read.
    pub cgroups: Vec<PathBuf>,
    /// When each step of its start ended, if [`Spec::marks`] asked for that.
    pub marks: Vec<Mark>,
}

impl Container {
    /// Waits for its first process to end and reaps it. Only the process that started it may.
    ///
    /// # Errors
    /// ECHILD if it was reaped already.
    pub fn wait(&self) -> Result<Exit> {
        reap(&self.pidfd)
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// One number, as shells do it: the status, or 128 and the signal.
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// Waits for the child behind `pidfd`.
pub(crate) fn reap(pidfd: &OwnedFd) -> Result<Exit> {
    loop {
        match waitid(WaitId::PIDFd(pidfd.as_fd()), WaitPidFlag::WEXITED) {
            Ok(WaitStatus::Exited(_, code)) => return Ok(Exit::Code(code)),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(Exit::Signal(signal as i32)),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::at("wait", "the container's process", errno)),
        }
    }
}
