//! The lab's side of the spawner.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::protocol::{Event, Request, receive, send};

/// A running spawner. It ends when this value is dropped, and everything it made with a death signal too.
#[derive(Debug)]
pub struct Spawner {
    child: Child,
    socket: Option<OwnedFd>,
    buffer: Vec<u8>,
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
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        let child = Command::new(executable)
            .arg(super::ARGUMENT)
            .args(birthplaces)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .map_err(|e| {
                io::Error::new(e.kind(), format!("start the spawner {}: {e}", executable.display()))
            })?;
        let mut spawner =
            Self { pid: child.id(), child, socket: Some(ours), buffer: Vec::new(), own_mounts: false };
        match spawner.receive()? {
            Event::Hello { pid, own_mounts } => {
                spawner.pid = pid;
                spawner.own_mounts = own_mounts;
                Ok(spawner)
            }
            other => Err(io::Error::other(format!(
                "{} did not start as a spawner: it said {other:?}",
                executable.display()
            ))),
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
        send(self.socket(), request, fds)
    }

    /// The next event; blocks until there is one.
    ///
    /// # Errors
    /// When the spawner is gone.
    pub fn receive(&mut self) -> io::Result<Event> {
        let Self { socket, buffer, .. } = self;
        let socket = socket.as_ref().expect("open until dropped").as_fd();
        match receive(socket, buffer)? {
            Some((event, _)) => Ok(event),
            None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the spawner has ended")),
        }
    }

    /// Its socket, for poll(2).
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_ref().expect("open until dropped").as_fd()
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        // Closing the socket ends its loop.
        self.socket = None;
        let _ = self.child.wait();
    }
}
