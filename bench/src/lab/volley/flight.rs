//! A start of a volley that is under way, and what is heard of it.

use std::os::fd::BorrowedFd;

use tare_reports::document::Failure;

use super::super::Failed;
use super::super::resume::Resuming;
use crate::channel::{Channel, Read};
use crate::clock::Deadline;
use crate::site::Start;

/// A start under way.
pub(super) struct Flight {
    pub(super) start: Start,
    pub(super) tag: u64,
    pub(super) intended_ns: u64,
    pub(super) left_ns: u64,
    pub(super) deadline: Deadline,
    pub(super) channel: Option<Channel>,
    /// Of a box that is resumed: what it still has to do.
    pub(super) resuming: Option<Resuming>,
    /// When READY was read, on the host's clock, ns; none as long as it is under way.
    pub(super) outcome: Option<Result<u64, Failed>>,
    pub(super) not_applied: Vec<String>,
}

/// Which of a flight's descriptors.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Channel,
    Monitor,
}

impl Flight {
    /// Whether only the client's end would tell that its box never came.
    pub(super) fn waits_for_its_client(&self) -> bool {
        self.outcome.is_none() && self.channel.as_ref().is_some_and(Channel::is_kept_open)
    }

    /// What it may be heard on.
    pub(super) fn ends(&self) -> impl Iterator<Item = (End, BorrowedFd<'_>)> {
        let monitor = self.resuming.as_ref().and_then(Resuming::monitor);
        let ends = [(End::Channel, self.channel.as_ref()), (End::Monitor, monitor)];
        ends.into_iter().filter_map(|(end, channel)| Some((end, channel?.readable())))
    }

    /// Reads once what the monitor of a box that is being resumed says.
    pub(super) fn hear_monitor(&mut self) {
        if let (Some(channel), Some(resuming)) = (&self.channel, &mut self.resuming)
            && let Err(failed) = resuming.hear_monitor(channel, &self.start.nonce)
        {
            self.outcome = Some(Err(failed));
        }
    }

    /// Reads once, and every line that came along.
    pub(super) fn hear(&mut self, noisy: bool) {
        let Some(channel) = self.channel.as_mut() else { return };
        let expected = format!("READY {}", self.start.nonce);
        let mut line = match channel.read() {
            Ok(Read::Line(line)) => Some(line),
            Ok(Read::Partial) => None,
            Ok(Read::End) => {
                self.outcome = Some(Err(Failed::new(Failure::Crash, "the box closed its channel")));
                return;
            }
            Err(e) => {
                let why = format!("read the channel: {e}");
                self.outcome = Some(Err(Failed::new(Failure::WrongAnswer, why)));
                return;
            }
        };
        while let Some(found) = line {
            if let Some(resuming) = self.resuming.as_mut() {
                match resuming.hear(channel, &found, &self.start.nonce) {
                    Ok(false) => {}
                    done => {
                        self.outcome = Some(done.map(|_| found.at_ns));
                        return;
                    }
                }
                line = channel.buffered();
                continue;
            }
            if found.text == expected {
                self.outcome = Some(Ok(found.at_ns));
                return;
            }
            if !noisy {
                let why = format!("expected {expected:?}, read {:?}", found.text);
                self.outcome = Some(Err(Failed::new(Failure::WrongAnswer, why)));
                return;
            }
            line = channel.buffered();
        }
    }
}
