//! A box that is resumed: it said READY long before this start, so its mark is another one.

use std::collections::BTreeMap;

use tare_reports::document::Failure;

use super::events::in_time;
use super::{Failed, Lab};
use crate::channel::{Channel, Line, Read};
use crate::clock::{self, Deadline};
use crate::contenders::Resumption;
use crate::site::Start;
use crate::spawner::protocol::Event;
use crate::vm::monitor::{self, Said};

impl Lab {
    /// Waits until the box runs again, asks it for a sign of life with this start's nonce as its first act, and has
    /// it touch memory. The line that ends all this, and its parts: `resume`, `answer`, `touch`.
    ///
    /// Nothing is written to the box before it runs: what comes while its devices' state is being loaded would be
    /// lost with the state that they had.
    pub(super) fn resume(
        &mut self,
        channel: &mut Channel,
        resumption: Resumption,
        (start, began_ns): (&Start, u64),
        tag: u64,
        deadline: Deadline,
    ) -> Result<(Line, BTreeMap<String, u64>), Failed> {
        let Resumption { mut monitor, touch_kib } = resumption;
        self.until_running(&mut monitor, tag, deadline)?;
        let running_ns = clock::now_ns();
        let nonce = &start.nonce;
        let answered =
            self.exchange(channel, (&format!("ping {nonce}"), &format!("PONG {nonce}")), tag, deadline)?;
        let touch = format!("touch {touch_kib}");
        let touched = self.exchange(channel, (&touch, &format!("OK {touch}")), tag, deadline)?;
        let spans = parts([began_ns, running_ns, answered.at_ns, touched.at_ns]);
        Ok((touched, spans))
    }

    fn until_running(&mut self, monitor: &mut Channel, tag: u64, deadline: Deadline) -> Result<(), Failed> {
        loop {
            while let Some(line) = monitor.buffered() {
                if running(&line)? {
                    return Ok(());
                }
            }
            let woken = self.wait(Some(monitor), deadline)?;
            in_time(deadline)?;
            if woken.channel {
                match monitor.read() {
                    Ok(Read::Line(line)) if running(&line)? => return Ok(()),
                    Ok(Read::Line(_) | Read::Partial) => {}
                    Ok(Read::End) => return Err(self.end_of(tag, deadline)),
                    Err(e) => return Err(Failed::new(Failure::Start, format!("read QEMU's monitor: {e}"))),
                }
            } else if woken.spawner {
                self.take_event()?;
                // It may have ended, or not begun, without having opened its monitor.
                let over = match self.answers.get(&tag) {
                    Some(Event::Started { pid, .. }) => self.exits.contains_key(pid),
                    Some(Event::Refused { .. }) => true,
                    _ => false,
                };
                if over {
                    return Err(self.end_of(tag, deadline));
                }
            }
        }
    }

    /// Sends a line and reads its answer.
    fn exchange(
        &mut self,
        channel: &mut Channel,
        (line, expected): (&str, &str),
        tag: u64,
        deadline: Deadline,
    ) -> Result<Line, Failed> {
        channel.send(line).map_err(|e| Failed::new(Failure::Crash, format!("send {line:?}: {e}")))?;
        let answer = match self.line(channel, None, deadline) {
            Err(failed) if failed.failure == Failure::Crash => return Err(self.end_of(tag, deadline)),
            other => other?,
        };
        if answer.text != expected {
            let detail = format!("{line} was answered by {:?} after the resume", answer.text);
            return Err(Failed::new(Failure::WrongAnswer, detail));
        }
        Ok(answer)
    }

    /// Why a box that was just launched is no more.
    fn end_of(&mut self, tag: u64, deadline: Deadline) -> Failed {
        match self.answer(tag, deadline) {
            Ok(Event::Started { pid, .. }) => self.died_early(pid, deadline),
            Ok(_) => Failed::new(Failure::Start, "the spawner gave another answer than a process"),
            Err(refused) => refused,
        }
    }
}

/// A resumed box of a volley on its way to being ready.
#[derive(Debug)]
pub(super) struct Resuming {
    resumption: Resumption,
    /// The answer that it owes; none as long as it does not run.
    owes: Option<String>,
    /// When it ran, and when it had answered, on the host's clock, ns.
    moments: [u64; 2],
}

impl Resuming {
    pub(super) fn new(resumption: Resumption) -> Self {
        Self { resumption, owes: None, moments: [0; 2] }
    }

    /// The parts of its start, which began and ended at these moments.
    pub(super) fn spans(&self, began_ns: u64, ready_ns: u64) -> BTreeMap<String, u64> {
        let [running, answered] = self.moments;
        parts([began_ns, running, answered, ready_ns])
    }

    /// The monitor, as long as it has something to say that matters.
    pub(super) fn monitor(&self) -> Option<&Channel> {
        self.owes.is_none().then_some(&self.resumption.monitor)
    }

    /// Reads once what the monitor says, and greets the box when it runs.
    pub(super) fn hear_monitor(&mut self, channel: &Channel, nonce: &str) -> Result<(), Failed> {
        let mut line = match self.resumption.monitor.read() {
            Ok(Read::Line(line)) => Some(line),
            Ok(Read::Partial) => None,
            Ok(Read::End) => return Err(Failed::new(Failure::Crash, "QEMU closed its monitor")),
            Err(e) => return Err(Failed::new(Failure::Start, format!("read QEMU's monitor: {e}"))),
        };
        while let Some(said) = line {
            if running(&said)? {
                self.moments[0] = clock::now_ns();
                return self.ask(channel, &format!("ping {nonce}"), format!("PONG {nonce}"));
            }
            line = self.resumption.monitor.buffered();
        }
        Ok(())
    }

    /// What the box says: whether it is ready with that.
    pub(super) fn hear(&mut self, channel: &Channel, line: &Line, nonce: &str) -> Result<bool, Failed> {
        if self.owes.as_ref() != Some(&line.text) {
            let wrong = format!("expected {:?}, read {:?} after the resume", self.owes, line.text);
            return Err(Failed::new(Failure::WrongAnswer, wrong));
        }
        let touch = format!("touch {}", self.resumption.touch_kib);
        if line.text != format!("PONG {nonce}") {
            return Ok(true);
        }
        self.moments[1] = line.at_ns;
        self.ask(channel, &touch, format!("OK {touch}")).map(|()| false)
    }

    fn ask(&mut self, channel: &Channel, line: &str, answer: String) -> Result<(), Failed> {
        self.owes = Some(answer);
        channel.send(line).map_err(|e| Failed::new(Failure::Crash, format!("send {line:?}: {e}")))
    }
}

/// The parts between these moments.
fn parts(moments: [u64; 4]) -> BTreeMap<String, u64> {
    let each = ["resume", "answer", "touch"].into_iter().zip(moments.windows(2));
    each.map(|(name, ends)| (name.to_owned(), ends[1].saturating_sub(ends[0]))).collect()
}

fn running(line: &Line) -> Result<bool, Failed> {
    match monitor::parse(&line.text) {
        Said::Refused(words) => Err(Failed::new(Failure::Start, format!("QEMU's monitor refuses: {words}"))),
        said => Ok(monitor::says_running(&said)),
    }
}
