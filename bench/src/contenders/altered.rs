//! A contender with something about its starts changed; all else is its own.
//!
//! A measure that wants a box on another rung, on a bridge, of another size or under watch says what is different in a
//! [`Change`], and the lab starts, stops and rescues the whole as any other contender.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use tare_reports::document::Failure;

use super::{Contender, Description, Found, Missing, Needs, Resumption, Surroundings, Undo};
use crate::network::Link;
use crate::site::{Site, Start};
use crate::spawner::protocol::{Launch, Mark};

/// What is different.
pub trait Change: fmt::Debug {
    /// In place of [`Contender::launch`].
    ///
    /// # Errors
    /// As there.
    fn launch(&mut self, contender: &mut dyn Contender, site: &Site, start: &Start) -> Result<Launch>;

    /// What is done first of all, before the clock.
    fn before(&mut self, _site: &Site, _start: &Start) {}

    /// What is undone after all of the contender's own.
    fn undo(&self, _site: &Site, _start: &Start) -> Vec<Undo> {
        Vec::new()
    }

    /// What else may exist while the instance does and must not afterwards.
    fn leaves(&self, _site: &Site, _start: &Start) -> Vec<PathBuf> {
        Vec::new()
    }

    /// As [`Contender::link`].
    fn link(&self) -> Option<&Link> {
        None
    }

    /// After what time a start is given up, for a contender for which that is usually `usual`.
    fn deadline(&self, usual: Duration) -> Duration {
        usual
    }
}

/// See the file's head.
#[derive(Debug)]
pub struct Altered<'a, C> {
    /// Whose boxes they are.
    pub contender: &'a mut dyn Contender,
    /// What is different about them.
    pub change: C,
}

impl<C: Change> Contender for Altered<'_, C> {
    fn stock(&mut self, site: &Site, start: &Start) -> Result<Option<Launch>> {
        self.change.before(site, start);
        self.contender.stock(site, start)
    }

    fn launch(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        self.change.launch(self.contender, site, start)
    }

    fn teardown(&self, site: &Site, start: &Start) -> Vec<Undo> {
        self.contender.teardown(site, start).into_iter().chain(self.change.undo(site, start)).collect()
    }

    fn rescue(&self, site: &Site, start: &Start) -> Vec<Undo> {
        self.contender.rescue(site, start).into_iter().chain(self.change.undo(site, start)).collect()
    }

    fn leaves(&self, site: &Site, start: &Start) -> Vec<PathBuf> {
        self.contender.leaves(site, start).into_iter().chain(self.change.leaves(site, start)).collect()
    }

    fn link(&self) -> Option<&Link> {
        self.change.link()
    }

    fn deadline(&self) -> Duration {
        self.change.deadline(self.contender.deadline())
    }

    // All else is the contender's own. How it can be changed is asked of itself, and so not of this.

    fn description(&self) -> Description<'_> {
        self.contender.description()
    }

    fn is_scripted(&self) -> bool {
        self.contender.is_scripted()
    }

    fn probe(&mut self, surroundings: &Surroundings) -> Result<Found, Missing> {
        self.contender.probe(surroundings)
    }

    fn prepare(&mut self, site: &Site) -> Result<()> {
        self.contender.prepare(site)
    }

    fn marks(&self, site: &Site, start: &Start) -> Vec<Mark> {
        self.contender.marks(site, start)
    }

    fn resumption(&mut self) -> Option<Resumption> {
        self.contender.resumption()
    }

    fn command(&mut self, site: &Site) -> Vec<String> {
        self.contender.command(site)
    }

    fn pid_file(&self, site: &Site, start: &Start) -> Option<PathBuf> {
        self.contender.pid_file(site, start)
    }

    fn fifos(&self, site: &Site, start: &Start) -> Option<PathBuf> {
        self.contender.fifos(site, start)
    }

    fn wants_a_terminal(&self) -> bool {
        self.contender.wants_a_terminal()
    }

    fn is_served(&self) -> bool {
        self.contender.is_served()
    }

    fn served_process(&self, site: &Site, start: &Start) -> Result<u32> {
        self.contender.served_process(site, start)
    }

    fn helpers_cpu(&self, site: &Site) -> Option<Result<u64>> {
        self.contender.helpers_cpu(site)
    }

    fn served_in(&self, site: &Site) -> Option<Result<String>> {
        self.contender.served_in(site)
    }

    fn revive(&mut self, site: &Site) -> Result<bool> {
        self.contender.revive(site)
    }

    fn finish(&mut self, site: &Site) -> Result<()> {
        self.contender.finish(site)
    }

    fn diagnose(&self, site: &Site, start: &Start) -> Option<(Failure, String)> {
        self.contender.diagnose(site, start)
    }

    fn needs(&self) -> Needs {
        self.contender.needs()
    }

    fn can_be_held(&self) -> bool {
        self.contender.can_be_held()
    }
}
