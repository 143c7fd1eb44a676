//! A contender that stops at a rung.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use tare_reports::document::Failure;

use crate::contenders::{Contender, Description, Found, Missing, Surroundings, Undo};
use crate::site::{Site, Start};
use crate::spawner::protocol::Launch;

/// The contender within, whose boxes have no mechanism beyond the rung.
#[derive(Debug)]
pub(super) struct Climber<'a> {
    pub(super) contender: &'a mut dyn Contender,
    pub(super) rung: &'a str,
}

impl Contender for Climber<'_> {
    fn launch(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        self.contender.launch_until(site, start, self.rung)
    }

    // All else is the contender's own.

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

    fn command(&mut self, site: &Site) -> Vec<String> {
        self.contender.command(site)
    }

    fn pid_file(&self, site: &Site, start: &Start) -> Option<PathBuf> {
        self.contender.pid_file(site, start)
    }

    fn teardown(&self, site: &Site, start: &Start) -> Vec<Undo> {
        self.contender.teardown(site, start)
    }

    fn rescue(&self, site: &Site, start: &Start) -> Vec<Undo> {
        self.contender.rescue(site, start)
    }

    fn leaves(&self, site: &Site, start: &Start) -> Vec<PathBuf> {
        self.contender.leaves(site, start)
    }

    fn diagnose(&self, site: &Site, start: &Start) -> Option<(Failure, String)> {
        self.contender.diagnose(site, start)
    }

    fn deadline(&self) -> Duration {
        self.contender.deadline()
    }
}
