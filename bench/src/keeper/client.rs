//! The lab's side of a keeper.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::protocol::{Order, Word};
use crate::spawner::protocol::{receive, send};

/// A running keeper. It ends when this value is dropped, and with it the channels that it holds.
#[derive(Debug)]
pub struct Keeper {
    child: Child,
    socket: Option<OwnedFd>,
    buffer: Vec<u8>,
    /// What it said while another word was waited for.
    before: VecDeque<Word>,
}

impl Keeper {
    /// Starts a keeper from this executable, which must call [`crate::spawner::become_if_asked`] first.
    ///
    /// # Errors
    /// When it cannot be executed, or does not say hello.
    pub fn start(executable: &Path) -> io::Result<Self> {
        let kind = (AddressFamily::Unix, SockType::SeqPacket);
        let (ours, theirs) = socketpair(kind.0, kind.1, None, SockFlag::SOCK_CLOEXEC)?;
        let child = Command::new(executable)
            .arg(super::ARGUMENT)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .map_err(|e| {
                io::Error::new(e.kind(), format!("start the keeper {}: {e}", executable.display()))
            })?;
        let mut keeper = Self { child, socket: Some(ours), buffer: Vec::new(), before: VecDeque::new() };
        match keeper.receive()? {
            Word::Hello => Ok(keeper),
            other => Err(io::Error::other(format!(
                "{} did not start as a keeper: it said {other:?}",
                executable.display()
            ))),
        }
    }

    /// Gives it the channel of a box.
    ///
    /// # Errors
    /// Why it does not hold it, in words: no descriptor was left, or it is gone.
    pub fn take(&mut self, number: u32, fds: &[RawFd]) -> io::Result<()> {
        self.send(&Order::Take { number }, fds)?;
        loop {
            match self.receive()? {
                Word::Taken => return Ok(()),
                Word::Refused(why) => return Err(io::Error::other(why)),
                other => self.before.push_back(other),
            }
        }
    }

    /// Sends an order.
    ///
    /// # Errors
    /// When the keeper is gone.
    pub fn send(&self, order: &Order, fds: &[RawFd]) -> io::Result<()> {
        send(self.socket(), order, fds)
    }

    /// What it has said, or says now: `None` when that is nothing.
    ///
    /// # Errors
    /// When the keeper is gone.
    pub fn heard(&mut self) -> io::Result<Option<Word>> {
        if let Some(word) = self.before.pop_front() {
            return Ok(Some(word));
        }
        let mut fds = [PollFd::new(self.socket(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::ZERO) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => Ok(None),
            Ok(_) => self.receive().map(Some),
            Err(errno) => Err(errno.into()),
        }
    }

    fn receive(&mut self) -> io::Result<Word> {
        let Self { socket, buffer, .. } = self;
        let socket = socket.as_ref().expect("open until dropped").as_fd();
        match receive(socket, buffer)? {
            Some((word, _)) => Ok(word),
            None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the keeper has ended")),
        }
    }

    /// Its socket, for poll(2).
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_ref().expect("open until dropped").as_fd()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Closing the socket ends its loop.
        self.socket = None;
        let _ = self.child.wait();
    }
}
