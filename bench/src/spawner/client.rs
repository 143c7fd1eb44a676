//! The lab's side of the spawner.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::path::{Path, PathBuf};

use super::protocol::{Event, Request};
use crate::helper::Helper;

/// A running spawner. It ends when this value is dropped, and everything it made with a death signal too.
#[derive(Debug)]
pub struct Spawner {
    helper: Helper,
    pid: u32,
    own_mounts: bool,
}

impl Spawner {
    /// Starts the spawner from this executable, which must call [`super::become_if_asked`] first. The commands that
    /// it runs are born in these cgroups (their directories).
    ///
    /// # Errors
    /// When it cannot be executed, or does not say hello.
    pub fn start(executable: &Path, birthplaces: &[PathBuf]) -> io::Result<Self> {
        let arguments =
            [OsStr::new(super::ARGUMENT)].into_iter().chain(birthplaces.iter().map(AsRef::as_ref));
        let mut helper = Helper::start(executable, "spawner", arguments)?;
        match helper.receive()? {
            Event::Hello { pid, own_mounts } => Ok(Self { helper, pid, own_mounts }),
            other => Err(helper.no_hello(executable, &other)),
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it has a mount namespace of its own, which overlay mounts for other tools need.
    pub fn own_mounts(&self) -> bool {
        self.own_mounts
    }

    /// Sends a request; `fds` become the box's standard input, output and error.
    ///
    /// # Errors
    /// When the spawner is gone.
    pub fn send(&self, request: &Request, fds: &[RawFd]) -> io::Result<()> {
        self.helper.send(request, fds)
    }

    /// The next event; blocks until there is one.
    ///
    /// # Errors
    /// When the spawner is gone.
    pub fn receive(&mut self) -> io::Result<Event> {
        self.helper.receive()
    }

    /// Its socket, for poll(2).
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.helper.socket()
    }
}
