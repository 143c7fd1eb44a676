//! A contender whose boxes are launched in another way than usual, and waited for as long as somebody else says.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use tare_reports::document::Failure;

use crate::contenders::{Contender, Description, Found, Missing, Surroundings, Undo};
use crate::site::{Site, Start};
use crate::spawner::protocol::Launch;

/// How a box of a contender is launched.
type Way<'a> = &'a dyn Fn(&mut dyn Contender, &Site, &Start) -> Result<Launch>;

/// See the file's head.
pub(super) struct Otherwise<'a> {
    pub(super) contender: &'a mut dyn Contender,
    pub(super) launch: Way<'a>,
    pub(super) deadline: Duration,
}

impl fmt::Debug for Otherwise<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, launched otherwise", self.contender)
    }
}

impl Contender for Otherwise<'_> {
    fn launch(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        (self.launch)(self.contender, site, start)
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    // All else is the contender's own.

    fn description(&self) -> Description<'_> {
        self.contender.description()
    }

    fn probe(&mut self, surroundings: &Surroundings) -> Result<Found, Missing> {
        self.contender.probe(surroundings)
    }

    fn command(&mut self, site: &Site) -> Vec<String> {
        self.contender.command(site)
    }

    fn teardown(&self, site: &Site, start: &Start) -> Vec<Undo> {
        self.contender.teardown(site, start)
    }

    fn leaves(&self, site: &Site, start: &Start) -> Vec<PathBuf> {
        self.contender.leaves(site, start)
    }

    fn diagnose(&self, site: &Site, start: &Start) -> Option<(Failure, String)> {
        self.contender.diagnose(site, start)
    }
}
