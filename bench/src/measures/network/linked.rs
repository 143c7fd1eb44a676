//! A contender whose boxes are connected to the bridge.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use tare_reports::document::Failure;

use crate::contenders::{Contender, Description, Found, Missing, Surroundings, Undo};
use crate::network::{Link, Way};
use crate::site::{Site, Start};
use crate::spawner::protocol::{Launch, Made};

/// The contender within, whose next box gets this link.
#[derive(Debug)]
pub struct Linked<'a> {
    contender: &'a mut dyn Contender,
    link: Link,
}

impl<'a> Linked<'a> {
    /// For one start.
    pub fn new(contender: &'a mut dyn Contender, link: Link) -> Self {
        Self { contender, link }
    }

    fn undo(&self) -> Undo {
        Undo::Made(Made::Link(self.link.clone()))
    }
}

impl Contender for Linked<'_> {
    fn launch(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        let launch = Box::new(self.contender.launch_linked(site, start, &self.link)?);
        Ok(Launch::Linked { link: self.link.clone(), launch })
    }

    fn link(&self) -> Option<&Link> {
        Some(&self.link)
    }

    fn teardown(&self, site: &Site, start: &Start) -> Vec<Undo> {
        self.contender.teardown(site, start).into_iter().chain([self.undo()]).collect()
    }

    fn rescue(&self, site: &Site, start: &Start) -> Vec<Undo> {
        self.contender.rescue(site, start).into_iter().chain([self.undo()]).collect()
    }

    fn leaves(&self, site: &Site, start: &Start) -> Vec<PathBuf> {
        let mut paths = self.contender.leaves(site, start);
        if let Way::Veth { namespace, .. } = &self.link.way {
            paths.push(namespace.clone());
        }
        paths
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

    fn diagnose(&self, site: &Site, start: &Start) -> Option<(Failure, String)> {
        self.contender.diagnose(site, start)
    }

    fn deadline(&self) -> Duration {
        self.contender.deadline()
    }
}
