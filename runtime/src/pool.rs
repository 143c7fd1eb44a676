//! A box in stock: made beforehand, complete and confined, so that a start only has to exec.
//!
//! Everything that a start takes, from cgroups to the filter, happened when the box was made. What is left is
//! to hand it the command and three descriptors, through a socket that the waiting process holds, and its
//! exec. Without it every request would pay for the whole recipe. Services that start functions on request
//! keep such boxes; what they save in time they pay in memory, and in boxes that are a little older than they
//! look.
//!
//! Man page: unix(7). Look at it: `cargo bench --bench startup`, the row tare-pool

use std::ffi::CStr;
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::blueprint::Blueprint;
use crate::error::{Error, Result};
use crate::exec;
use crate::report::{self, Fault, Message, Outcome};
use crate::runtime::{Container, Runtime};
use crate::spec::Spec;
use crate::start::{Start, failure};
use crate::sys::{self, handover};

/// The longest command, all words together, bytes.
const LONGEST: usize = 4096;

/// A box that waits for its command.
#[derive(Debug)]
pub struct Pooled {
    container: Container,
    socket: OwnedFd,
    reports: OwnedFd,
}

/// The waiting side, opened before the fork.
#[derive(Debug)]
pub(crate) struct Door {
    inner: OwnedFd,
    outer: OwnedFd,
}

impl Door {
    /// Makes the socket pair.
    ///
    /// # Errors
    /// [`Error::Step`].
    pub(crate) fn make() -> Result<Self> {
        let kind = SockType::SeqPacket;
        let pair = socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC);
        let (inner, outer) = pair.map_err(|errno| Error::at("prepare", "socket pair", errno))?;
        Ok(Self { inner, outer })
    }

    /// Takes the caller's end.
    pub(crate) fn into_outer(self) -> OwnedFd {
        self.outer
    }

    /// Through which the command comes.
    pub(crate) fn inner(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }

    /// In the child: says that it is ready, waits for the command and becomes it. Comes back only with a
    /// fault; a caller that is gone is one.
    pub(crate) fn wait(&self, writer: BorrowedFd<'_>, plan: &exec::Plan) -> Fault {
        let mut words = [0; LONGEST];
        let hidden = sys::hide_from_tracers();
        let told = hidden.and_then(|()| report::send(writer, Message::Waiting));
        let received = told.and_then(|()| handover::receive(self.inner(), &mut words));
        let (length, [input, output, error]) = match received {
            Ok(received) => received,
            Err(errno) => return Fault { object: 0, errno },
        };
        let placed =
            dup2_stdin(&input).and_then(|()| dup2_stdout(&output)).and_then(|()| dup2_stderr(&error));
        let told = placed.and_then(|()| report::send(writer, Message::AboutToExec));
        let errno = match told {
            Ok(()) if CStr::from_bytes_until_nul(&words).is_ok_and(|path| exec::is_runtime(plan, path)) => {
                Errno::ELIBBAD
            }
            Ok(()) => handover::exec_words(&words[..length], exec::environment(plan)),
            Err(errno) => errno,
        };
        Fault { object: 0, errno }
    }
}

impl Runtime {
    /// Makes a container like `spec`, which then waits for [`Pooled::start`]; the command of `spec` is
    /// replaced by the one given there. It ends by itself if the [`Pooled`] is dropped.
    ///
    /// # Errors
    /// Any [`Error`]; nothing is left behind then.
    pub fn prepare(&self, spec: &Spec, stdio: [BorrowedFd<'_>; 3]) -> Result<Pooled> {
        let (container, socket, reports) =
            Start::new(self, Blueprint::of(spec)?, stdio, None, false).stock()?;
        Ok(Pooled { container, socket, reports })
    }
}

impl Pooled {
    /// Gives it its command, whose first word is a path inside, and its three descriptors. Returns once the
    /// command has been executed.
    ///
    /// # Errors
    /// [`Error::Spec`] for a command of more than 4,096 bytes or with a zero byte, [`Error::Step`].
    pub fn start(self, args: &[String], stdio: [BorrowedFd<'_>; 3]) -> Result<Container> {
        let fault = |why: &str| Error::Spec { field: "args".into(), why: why.to_owned() };
        let mut words = Vec::with_capacity(128);
        for arg in args {
            if arg.contains('\0') {
                return Err(fault("a zero byte cannot be passed to a program"));
            }
            words.extend_from_slice(arg.as_bytes());
            words.push(0);
        }
        if !args.first().is_some_and(|path| path.starts_with('/')) {
            return Err(fault("the first word must be an absolute path inside"));
        }
        if words.len() > LONGEST {
            return Err(fault("longer than 4096 bytes"));
        }
        let fds = stdio.map(|fd| fd.as_raw_fd());
        let control = [ControlMessage::ScmRights(&fds)];
        let flags = MsgFlags::MSG_NOSIGNAL;
        sendmsg::<()>(self.socket.as_raw_fd(), &[IoSlice::new(&words)], &control, flags, None)
            .map_err(|errno| Error::at("start", "the waiting box", errno))?;
        match report::receive(&self.reports).map_err(|errno| Error::at("start", "error pipe", errno))? {
            Outcome::Executed => Ok(self.container),
            Outcome::Failed { step, fault } => Err(failure(step, fault, |_| args[0].clone())),
            Outcome::Waiting | Outcome::Silent => {
                Err(Error::Died("it ended while it waited for its command".into()))
            }
        }
    }

    /// The container that waits.
    pub fn container(&self) -> &Container {
        &self.container
    }
}
