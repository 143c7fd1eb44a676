//! The lab's side of a keeper.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::protocol::{Order, Word};
use crate::helper::Helper;

/// A running keeper. It ends when this value is dropped, and with it the channels that it holds.
#[derive(Debug)]
pub struct Keeper {
    helper: Helper,
    /// What it said while another word was waited for.
    before: VecDeque<Word>,
}

impl Keeper {
    /// Starts a keeper from this executable, which must call [`crate::spawner::become_if_asked`] first.
    ///
    /// # Errors
    /// When it cannot be executed, or does not say hello.
    pub fn start(executable: &Path) -> io::Result<Self> {
        let mut helper = Helper::start(executable, "keeper", [super::ARGUMENT])?;
        match helper.receive()? {
            Word::Hello => Ok(Self { helper, before: VecDeque::new() }),
            other => Err(helper.no_hello(executable, &other)),
        }
    }

    /// Gives it the channel of a box.
    ///
    /// # Errors
    /// Why it does not hold it, in words: no descriptor was left, or it is gone.
    pub fn take(&mut self, number: u32, fds: &[RawFd]) -> io::Result<()> {
        self.send(&Order::Take { number }, fds)?;
        loop {
            match self.helper.receive()? {
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
        self.helper.send(order, fds)
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
            Ok(_) => self.helper.receive().map(Some),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Its socket, for poll(2).
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.helper.socket()
    }
}
