//! `process`: posix_spawn of the payload, no box at all. The calibration row.

use anyhow::Result;
use tare_reports::document::{Accel, Class};

use super::{Contender, Found, Missing, Surroundings, example, text};
use crate::site::{Site, Start};
use crate::spawner::protocol::Launch;

/// See the file's head.
#[derive(Debug)]
pub struct PlainProcess;

impl Contender for PlainProcess {
    fn name(&self) -> &str {
        "process"
    }

    fn class(&self) -> Class {
        Class::Process
    }

    fn about(&self) -> &str {
        "posix_spawn of the payload: no box, the calibration row"
    }

    fn inside_clock(&self) -> &'static [&'static str] {
        &["pipes", "request to the spawner", "posix_spawn", "READY"]
    }

    fn probe(&mut self, _: &Surroundings) -> Result<Found, Missing> {
        Ok(Found {
            version: "-".into(),
            accel: Accel::Native,
            not_expressed: vec!["it has no box: no namespaces, limits, or confinement".into()],
        })
    }

    fn launch(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        Ok(Launch::Command {
            argv: argv(site, start),
            env: Vec::new(),
            overlay: None,
            dies_with_parent: false,
        })
    }

    fn command(&mut self, site: &Site) -> Vec<String> {
        argv(site, &example())
    }
}

fn argv(site: &Site, start: &Start) -> Vec<String> {
    vec![text(&site.payload()), start.nonce.clone()]
}
