//! Waiting: for a line, for an answer of the spawner, for the end of a process; always with a deadline.

use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, RawFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tare_reports::document::Failure;

use super::{Failed, Lab};
use crate::channel::{Channel, Line, Read};
use crate::clock::{self, Deadline};
use crate::contenders::Contender;
use crate::site::Start;
use crate::spawner::protocol::{Event, Exit, How, Request};

/// Which of the descriptors waited for has something to say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Woken {
    pub(super) spawner: bool,
    pub(super) channel: bool,
}

/// The same, for several descriptors beside the spawner.
#[derive(Debug)]
pub(super) struct WokenBeside {
    pub(super) spawner: bool,
    pub(super) others: Vec<bool>,
}

impl Lab {
    pub(super) fn request(&mut self, request: Request, fds: &[RawFd]) -> Result<(), Failed> {
        self.spawner.send(&request, fds).map_err(gone)
    }

    /// Reads lines until READY with our nonce.
    pub(super) fn ready(
        &mut self,
        channel: &mut Channel,
        contender: &dyn Contender,
        (start, named): (&Start, &mut BTreeMap<String, u64>),
        tag: u64,
        deadline: Deadline,
    ) -> Result<Line, Failed> {
        let expected = format!("READY {}", start.nonce);
        loop {
            let client = channel.is_kept_open().then_some(tag);
            let line = match self.line(channel, client, deadline) {
                Ok(line) => line,
                // The channel closes early both when the box died and when it never was.
                Err(failed) if failed.failure == Failure::Crash => {
                    return Err(match self.answer(tag, deadline) {
                        Ok(Event::Started { pid, .. }) => self.died_early(pid, deadline),
                        Ok(_) => failed,
                        Err(refused) => refused,
                    });
                }
                Err(failed) => return Err(failed),
            };
            if line.text == expected {
                return Ok(line);
            }
            if let Some(name) = line.text.strip_prefix("AT ")
                && contender.description().noisy_channel
            {
                named.insert(name.to_owned(), line.at_ns);
                continue;
            }
            // Firmware may write to a serial line before the payload does; nothing may on a pipe.
            if !contender.description().noisy_channel {
                return Err(Failed::new(
                    Failure::WrongAnswer,
                    format!("expected {expected:?}, read {:?}", line.text),
                ));
            }
            in_time(deadline)?;
        }
    }

    pub(super) fn died_early(&mut self, pid: u32, deadline: Deadline) -> Failed {
        match self.exit_of(pid, deadline) {
            Ok(exit) => Failed::new(Failure::Crash, format!("ended before READY with {}", exit.how)),
            Err(failed) => failed,
        }
    }

    /// The next line of the channel. It does not come when `client`, who was to start the box, has failed.
    pub(super) fn line(
        &mut self,
        channel: &mut Channel,
        client: Option<u64>,
        deadline: Deadline,
    ) -> Result<Line, Failed> {
        if let Some(line) = channel.buffered() {
            return Ok(line);
        }
        loop {
            // The channel first: its line is what is being timed.
            let woken = self.wait(Some(channel), deadline)?;
            if woken.channel {
                match channel.read() {
                    Ok(Read::Line(line)) => return Ok(line),
                    Ok(Read::Partial) => {}
                    Ok(Read::End) => return Err(Failed::new(Failure::Crash, "the box closed its channel")),
                    Err(e) => {
                        return Err(Failed::new(Failure::WrongAnswer, format!("read the channel: {e}")));
                    }
                }
            } else if woken.spawner {
                self.take_event()?;
                if let Some(failed) = client.and_then(|tag| self.client_failed(tag)) {
                    return Err(failed);
                }
            }
        }
    }

    /// Why the client that was to start a box has failed, if it has: on FIFOs nothing else would tell.
    pub(super) fn client_failed(&self, tag: u64) -> Option<Failed> {
        let error = match self.answers.get(&tag)? {
            Event::Refused { error, .. } => error.clone(),
            Event::Started { pid, .. } => {
                let exit = self.exits.get(pid).filter(|exit| exit.how != How::Code(0))?;
                format!("the client ended with {}", exit.how)
            }
            _ => return None,
        };
        Some(Failed::new(Failure::Start, error))
    }

    /// Waits for the end of a process that is not below the spawner; returns when that was seen, ns.
    pub(super) fn end_of_foreign(
        &mut self,
        pidfd: BorrowedFd<'_>,
        deadline: Deadline,
    ) -> Result<u64, Failed> {
        loop {
            let woken = self.wait_for(&[pidfd], deadline)?;
            if woken.others[0] {
                return Ok(clock::now_ns());
            }
            if woken.spawner {
                self.take_event()?;
            }
        }
    }

    /// The spawner's answer to a request.
    pub(super) fn answer(&mut self, tag: u64, deadline: Deadline) -> Result<Event, Failed> {
        loop {
            if let Some(event) = self.answers.remove(&tag) {
                return match event {
                    Event::Refused { error, .. } => Err(Failed::new(Failure::Start, error)),
                    event => Ok(event),
                };
            }
            if self.wait(None, deadline).map_err(|it| it.of("the spawner's answer"))?.spawner {
                self.take_event()?;
            }
        }
    }

    /// The end of this process.
    pub(super) fn exit_of(&mut self, pid: u32, deadline: Deadline) -> Result<Exit, Failed> {
        loop {
            if let Some(exit) = self.exits.get(&pid) {
                return Ok(exit.clone());
            }
            if self.wait(None, deadline).map_err(|it| it.of(&format!("the end of process {pid}")))?.spawner {
                self.take_event()?;
            }
        }
    }

    /// Reads one event of the spawner and files it.
    pub(super) fn take_event(&mut self) -> Result<(), Failed> {
        match self.spawner.receive().map_err(gone)? {
            Event::Exited(exit) => drop(self.exits.insert(exit.pid, exit)),
            Event::Hello { .. } => {}
            event @ (Event::Started { tag, .. }
            | Event::Refused { tag, .. }
            | Event::Done { tag, .. }
            | Event::Timed { tag, .. }
            | Event::Children { tag, .. }) => {
                self.answers.insert(tag, event);
            }
        }
        Ok(())
    }

    /// Waits for the spawner or the channel.
    pub(super) fn wait(&mut self, channel: Option<&Channel>, deadline: Deadline) -> Result<Woken, Failed> {
        let channel: Vec<BorrowedFd<'_>> = channel.map(Channel::readable).into_iter().collect();
        let woken = self.wait_for(&channel, deadline)?;
        Ok(Woken { spawner: woken.spawner, channel: woken.others.first().copied().unwrap_or(false) })
    }

    /// Waits for the spawner or one of these descriptors.
    pub(super) fn wait_for(
        &mut self,
        others: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<WokenBeside, Failed> {
        let mut fds = vec![
            PollFd::new(self.spawner.socket(), PollFlags::POLLIN),
            PollFd::new(self.interrupt.readable(), PollFlags::POLLIN),
        ];
        fds.extend(others.iter().map(|&fd| PollFd::new(fd, PollFlags::POLLIN)));
        // Rounded up: waking a little late is harmless, waking early would spin.
        let timeout = PollTimeout::try_from(deadline.left().as_millis() + 1).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(Failed::new(Failure::Timeout, format!("poll: {errno}"))),
        }
        let ready = |i: usize| fds.get(i).is_some_and(|fd| fd.any().unwrap_or(true));
        let woken = WokenBeside { spawner: ready(0), others: (2..fds.len()).map(ready).collect() };
        let interrupted = ready(1);
        drop(fds);
        self.heed(interrupted)?;
        if !woken.spawner && !woken.others.contains(&true) && deadline.passed() {
            return Err(Failed::new(Failure::Timeout, "nothing came before the deadline"));
        }
        Ok(woken)
    }

    /// Breaks a wait off when a signal has come that asks the run to end.
    pub(super) fn heed(&mut self, signalled: bool) -> Result<(), Failed> {
        if signalled {
            let known = self.interrupt.seen().is_some();
            // Only the signal's arrival breaks a wait off: taking the box down afterwards waits as usual.
            if self.interrupt.check().is_some() && !known {
                return Err(Failed::new(Failure::Interrupted, "the run was interrupted"));
            }
        }
        Ok(())
    }
}

/// Whether the deadline still holds: asked where there may be no end of things that are not what is waited for.
pub(super) fn in_time(deadline: Deadline) -> Result<(), Failed> {
    let late = || Failed::new(Failure::Timeout, "much came before the deadline, and not what was waited for");
    if deadline.passed() { Err(late()) } else { Ok(()) }
}

fn gone(error: std::io::Error) -> Failed {
    Failed::new(Failure::Start, format!("the spawner is gone: {error}"))
}
