//! The life cycle of OCI: create, start, kill, and the state in between.
//!
//! `create` makes the box and stops before its command; `start` lets it go on; `kill` sends a signal;
//! `delete` takes it away. Without the split an engine could not put a network cable into a box before its
//! server listens. A container is `creating`, `created`, `running` or `stopped`, and which of them is
//! asked from the kernel every time, never stored.
//!
//! Man page: [the specification](https://github.com/opencontainers/runtime-spec/blob/main/runtime.md).
//! Look at it: `tare-runtime create --bundle DIR box; tare-runtime state box`

use std::fs;
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::errno::Errno;

use crate::blueprint::{self, Blueprint};
use crate::error::{Error, Result};
use crate::oci::{self, Request};
use crate::report::Outcome;
use crate::runtime::{Container, Runtime};
use crate::spec::{Id, Spec};
use crate::start::{Start, failure};
use crate::state::{Directory, Process, State, Status, check_root, observe};
use crate::sys::{self, FilterInstruction};
use crate::wait;

impl Runtime {
    /// Starts a container from a bundle, as [`Runtime::run`] does from a [`Spec`]. `console` is a socket to
    /// which the other end of its terminal is sent, if the bundle asks for one.
    ///
    /// # Errors
    /// Any [`Error`]; nothing is left behind then.
    pub fn run_bundle(
        &self,
        request: &Request,
        stdio: [BorrowedFd<'_>; 3],
        console: Option<BorrowedFd<'_>>,
    ) -> Result<Container> {
        self.bundle(request, stdio, console, false)
    }

    /// Makes a container from a bundle; it waits for [`Runtime::start`].
    ///
    /// # Errors
    /// Any [`Error`]; nothing is left behind then.
    pub fn create(
        &self,
        request: &Request,
        stdio: [BorrowedFd<'_>; 3],
        console: Option<BorrowedFd<'_>>,
    ) -> Result<Container> {
        self.bundle(request, stdio, console, true)
    }

    /// [`Runtime::run`] with a terminal, whose other end is sent to `console`.
    ///
    /// # Errors
    /// Any [`Error`]; nothing is left behind then.
    pub fn run_with_terminal(
        &self,
        spec: &Spec,
        stdio: [BorrowedFd<'_>; 3],
        console: BorrowedFd<'_>,
    ) -> Result<Container> {
        Start::new(self, Blueprint::of(spec)?, stdio, Some(console), false).run()
    }

    fn bundle(
        &self,
        request: &Request,
        stdio: [BorrowedFd<'_>; 3],
        console: Option<BorrowedFd<'_>>,
        create: bool,
    ) -> Result<Container> {
        let bundle = fs::canonicalize(&request.bundle).map_err(|error| Error::Spec {
            field: "bundle".into(),
            why: format!("{}: {error}", request.bundle.display()),
        })?;
        let request = Request { bundle, ..request.clone() };
        let (spec, text) = oci::read(&request.bundle)?;
        let blueprint = oci::blueprint(&request, &spec)?;
        Start::new(self, blueprint, stdio, console, create).with_config(text).run()
    }

    /// Lets a created container execute its command. Returns once it has.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotCreated`], and whatever its last steps report.
    pub fn start(&self, id: &Id) -> Result<()> {
        check_root(self.root())?;
        let directory = Directory::new(self.root(), id);
        // Until it has started: who deletes it and makes another of its name waits for us, and so does who starts it too.
        let claimed = self.claim(id, &directory, false, None).map_err(|error| match error {
            Error::Running { .. } => Error::NotCreated { id: id.clone(), status: Status::Creating },
            other => other,
        });
        let Some(_claim) = claimed? else { return Err(self.not_found(id)) };
        let (state, directory, status) = self.find(id)?;
        if status != Status::Created {
            return Err(Error::NotCreated { id: id.clone(), status });
        }
        let (pidfd, _) = self.first_process(id)?;
        let outcome = wait::open_gate(&directory)?;
        if outcome != Outcome::Executed {
            // It is on its way out; who deletes it next is to find it stopped.
            crate::delete::await_end(&pidfd, || format!("container {id}"))?;
        }
        match outcome {
            Outcome::Executed => Ok(()),
            Outcome::Failed { step, fault } => {
                // The plan went with `create`; the command is what the last steps are about.
                let command = state.args.first().cloned().unwrap_or_default();
                Err(failure(step, fault, |_| command))
            }
            Outcome::Waiting | Outcome::Silent => {
                Err(Error::Died("it was killed while it waited for its start".into()))
            }
        }
    }

    /// Sends a signal to a container's first process.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotRunning`], [`Error::Step`].
    pub fn kill(&self, id: &Id, signal: i32) -> Result<()> {
        let (pidfd, pid) = self.first_process(id)?;
        match sys::pidfd_signal(&pidfd, signal) {
            Ok(()) => Ok(()),
            Err(Errno::ESRCH) => Err(Error::NotRunning { id: id.clone(), status: Status::Stopped }),
            Err(errno) => Err(Error::at("kill", format!("process {pid} with signal {signal}"), errno)),
        }
    }

    /// State, directory and status.
    pub(crate) fn find(&self, id: &Id) -> Result<(State, Directory, Status)> {
        check_root(self.root())?;
        let (state, directory) = (self.load(id)?, Directory::new(self.root(), id));
        let status = state.status(&directory);
        Ok((state, directory, status))
    }

    /// The first process of a container that has one, as a descriptor of that very process.
    pub(crate) fn first_process(&self, id: &Id) -> Result<(OwnedFd, i32)> {
        let (state, _, status) = self.find(id)?;
        let not_running = |status| Error::NotRunning { id: id.clone(), status };
        let Some(Process { pid, started }) = state.process else { return Err(not_running(status)) };
        if !matches!(status, Status::Running | Status::Created) {
            return Err(not_running(status));
        }
        let pidfd = match sys::pidfd_open(pid) {
            Err(Errno::ESRCH) => return Err(not_running(Status::Stopped)),
            other => other.map_err(|errno| Error::at("kill", format!("process {pid}"), errno))?,
        };
        // Looked at again behind the descriptor, which holds on to whichever process it was opened for.
        match observe(pid) {
            Some((now, _)) if now == started => Ok((pidfd, pid)),
            _ => Err(not_running(Status::Stopped)),
        }
    }

    /// The box's process and filter as its bundle had them: for `exec`. The rest of the bundle may be gone.
    pub(crate) fn configured(
        &self,
        directory: &Directory,
    ) -> Result<Option<(blueprint::Process, Vec<FilterInstruction>)>> {
        let path = directory.config();
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|e| Error::io("state", path.display().to_string(), &e))?,
        };
        oci::confined_process(&oci::parse(&text)?).map(Some)
    }
}

/// Connects to the socket to which a terminal's other end is to be sent.
///
/// # Errors
/// [`Error::Step`] if nobody listens there.
pub fn connect_console(path: &std::path::Path) -> Result<OwnedFd> {
    std::os::unix::net::UnixStream::connect(path)
        .map(OwnedFd::from)
        .map_err(|error| Error::io("prepare", format!("console socket {}", path.display()), &error))
}
