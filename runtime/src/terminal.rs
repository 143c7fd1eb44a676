//! A terminal of the box's own.
//!
//! A program that talks to people wants a terminal: line editing, Ctrl-C, a window size. The caller's own
//! must not be lent: whoever has it can push characters into it that the caller's shell then runs
//! (TIOCSTI). So the box opens a new pseudo-terminal in its own devpts, keeps one end as its controlling
//! terminal and standard descriptors, and sends the other end out through a socket.
//!
//! Step: `terminal`.
//!
//! Man page: pty(7), devpts(5), unix(7) "SCM_RIGHTS". Look at it: `tty` inside `run -t`

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::Mode;
use nix::unistd::{Uid, dup2_stderr, dup2_stdin, dup2_stdout, fchown};

use crate::blueprint::User;
use crate::error::{Error, Result};
use crate::report::Fault;
use crate::resolve::{self, Missing};
use crate::sys::mount::{attach, copy_tree};
use crate::sys::{self, terminal};

/// The socket that the other end is sent through.
#[derive(Debug)]
pub(crate) struct Plan {
    socket: OwnedFd,
}

/// Where every devpts has its multiplexer.
const MULTIPLEXER: &CStr = c"/dev/ptmx";
const CONSOLE: &CStr = c"/dev/console";

/// Takes a copy of the socket out of the way of 0, 1 and 2.
///
/// # Errors
/// [`Error::Spec`] for a terminal without a socket, or a socket without a terminal.
pub(crate) fn prepare(wanted: bool, console: Option<BorrowedFd<'_>>) -> Result<Option<Plan>> {
    let fault = |why: &str| Error::Spec { field: "process.terminal".into(), why: why.to_owned() };
    match (wanted, console) {
        (false, None) => Ok(None),
        (true, None) => Err(fault("a detached box with a terminal needs --console-socket to send it to")),
        (false, Some(_)) => Err(fault("a console socket was given, but the box asks for no terminal")),
        (true, Some(socket)) => {
            let copy = fcntl(socket, FcntlArg::F_DUPFD_CLOEXEC(3));
            let copy = copy.map_err(|errno| Error::at("prepare", "console socket", errno))?;
            Ok(Some(Plan { socket: sys::owned(copy) }))
        }
    }
}

/// Whether the terminal is shown as /dev/console too: that of the box is, that of an `exec` is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Console {
    Shown,
    Hidden,
}

/// In the child, once /dev is there.
pub(crate) fn open(plan: Option<&Plan>, user: &User, show: Console) -> std::result::Result<(), Fault> {
    let Some(plan) = plan else { return Ok(()) };
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let outer = open_multiplexer(flags).map_err(Fault::of(0))?;
    terminal::unlock(outer.as_fd()).map_err(Fault::of(0))?;
    let inner = terminal::peer(outer.as_fd()).map_err(Fault::of(1))?;
    if user.uid != 0 {
        // Or who it is for could not open it by name, as `/dev/stdin` does.
        fchown(&inner, Some(Uid::from_raw(user.uid)), None).map_err(Fault::of(1))?;
    }
    if show == Console::Shown {
        console(inner.as_fd()).map_err(Fault::of(2))?;
    }
    terminal::make_controlling(inner.as_fd()).map_err(Fault::of(1))?;
    terminal::send(plan.socket.as_fd(), outer.as_fd()).map_err(Fault::of(3))?;
    dup2_stdin(&inner)
        .and_then(|()| dup2_stdout(&inner))
        .and_then(|()| dup2_stderr(&inner))
        .map_err(Fault::of(1))
}

/// The multiplexer of *this* box: a bundle may have put something else there.
fn open_multiplexer(flags: OFlag) -> std::result::Result<OwnedFd, Errno> {
    let opened = nix::fcntl::open(MULTIPLEXER, flags, Mode::empty())?;
    resolve::is_device(&opened, 5, 2)?;
    Ok(opened)
}

/// Shows the terminal as /dev/console too: as what was opened, onto what was found inside (CVE-2025-52565).
fn console(inner: BorrowedFd<'_>) -> std::result::Result<(), Errno> {
    let tree = copy_tree(inner, false)?;
    let target = resolve::or_make(resolve::root()?.as_fd(), CONSOLE, Missing::File)?;
    attach(tree.as_fd(), target.as_fd())
}

/// The words for a fault's number.
pub(crate) fn object(index: u16) -> String {
    ["/dev/ptmx", "terminal", "/dev/console", "console socket"]
        .get(usize::from(index))
        .map_or_else(String::new, ToString::to_string)
}
