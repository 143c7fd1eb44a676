//! `hand-loop`: what anybody would write by hand to time a process: pipe, posix_spawn, read, in one process.
//! What `process` shows above it is the lab's own share.

use anyhow::Result;
use tare_reports::document::{Accel, Class};

use super::{Contender, Description, Found, Missing, Surroundings, example, text};
use crate::site::{Site, Start};
use crate::spawner::protocol::Launch;

/// See the file's head.
#[derive(Debug)]
pub struct HandLoop;

impl Contender for HandLoop {
    fn description(&self) -> Description<'_> {
        Description {
            name: "hand-loop",
            class: Class::Process,
            about: "the hand-written loop: posix_spawn and a blocking read in one process, without the lab",
            inside_clock: &["pipes", "posix_spawn", "READY"],
            ..Description::default()
        }
    }

    fn probe(&mut self, _: &Surroundings) -> Result<Found, Missing> {
        Ok(Found {
            version: "-".into(),
            accel: Accel::Native,
            not_expressed: vec!["it has no box: no namespaces, limits, or confinement".into()],
        })
    }

    fn launch(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        Ok(Launch::HandLoop { argv: argv(site, start), expect: format!("READY {}", start.nonce) })
    }

    fn can_be_held(&self) -> bool {
        false
    }

    fn command(&mut self, site: &Site) -> Vec<String> {
        argv(site, &example())
    }
}

fn argv(site: &Site, start: &Start) -> Vec<String> {
    vec![text(&site.payload()), start.nonce.clone()]
}
