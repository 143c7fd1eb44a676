//! What a box is to the lab: its channel, the process whose end is its end, and the helpers that it shares.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use tare_reports::document::Failure;

use super::{Failed, Instance, Lab};
use crate::channel::Channel;
use crate::clock::Deadline;
use crate::contenders::Contender;
use crate::site::{Site, Start};
use crate::spawner::protocol::How;

impl Lab {
    /// Finds the process whose end is the end of the box.
    pub(super) fn find_process(
        &mut self,
        instance: &mut Instance,
        contender: &dyn Contender,
        site: &Site,
        started: u32,
        deadline: Deadline,
    ) -> Result<(), Failed> {
        let start = instance.start.clone();
        if !contender.is_served() {
            instance.main = Some(self.main_process(contender, site, &start, started, deadline)?);
            return Ok(());
        }
        // The client has only to report back; its pid file is there when it has ended.
        self.left_in_order(started, deadline)?;
        let found = contender
            .served_process(site, &start)
            .and_then(|pid| crate::sys::pidfd(pid).with_context(|| format!("watch process {pid}")));
        instance.foreign = Some(found.map_err(|e| Failed::new(Failure::Start, format!("{e:#}")))?);
        Ok(())
    }

    /// Waits for the end of a client that leaves the box running.
    fn left_in_order(&mut self, client: u32, deadline: Deadline) -> Result<(), Failed> {
        match self.exit_of(client, deadline)?.how {
            How::Code(0) => Ok(()),
            how => Err(Failed::new(Failure::Start, format!("the client ended with {how}"))),
        }
    }

    /// The process whose end is the end of the box: the one started, or, where that was a client which has
    /// left, the one named in its pid file.
    fn main_process(
        &mut self,
        contender: &dyn Contender,
        site: &Site,
        start: &Start,
        started: u32,
        deadline: Deadline,
    ) -> Result<u32, Failed> {
        let Some(pid_file) = contender.pid_file(site, start) else { return Ok(started) };
        self.left_in_order(started, deadline)?;
        std::fs::read_to_string(&pid_file)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .ok_or_else(|| Failed::new(Failure::Start, format!("no process id in {}", pid_file.display())))
    }

    /// Adds to a failure what the box and its tool said on standard error, and what the contender itself
    /// knows (a guest's panic, say).
    pub(super) fn explain(
        &mut self,
        contender: &dyn Contender,
        site: &Site,
        start: &Start,
        failed: Failed,
    ) -> Failed {
        if let Some((failure, detail)) = contender.diagnose(site, start) {
            return Failed::new(failure, detail);
        }
        self.with_last_words(failed)
    }

    /// Adds to a failure what was said on standard error since the thing in hand was begun.
    pub(super) fn with_last_words(&mut self, failed: Failed) -> Failed {
        let mut said = String::new();
        let read = self.errors.seek(SeekFrom::Start(self.errors_from));
        if read.is_ok() && self.errors.read_to_string(&mut said).is_ok() && !said.trim().is_empty() {
            let last: Vec<&str> = said.trim().lines().rev().take(3).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            return Failed::new(failed.failure, format!("{}: {}", failed.detail, last.join(" / ")));
        }
        failed
    }
}

/// Pipes to be inherited, or a terminal; or FIFOs, and then the client gets /dev/null.
pub(super) fn open_channel(
    contender: &dyn Contender,
    site: &Site,
    start: &Start,
) -> std::io::Result<(Channel, [OwnedFd; 2])> {
    if contender.wants_a_terminal() {
        return Channel::terminal();
    }
    let Some(directory) = contender.fifos(site, start) else { return Channel::pipes() };
    let channel = Channel::fifos(&directory)?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    Ok((channel, [null.try_clone()?.into(), null.into()]))
}

/// What helpers that serve all boxes of a contender have spent so far, ns.
pub(super) fn helpers_cpu(contender: &dyn Contender, site: &Site) -> Option<Result<u64, Failed>> {
    let read = contender.helpers_cpu(site)?;
    Some(read.map_err(|e| Failed::new(Failure::NotMeasured, format!("{e:#}"))))
}
