//! `tare-pool`: a box of our runtime's that was made beforehand and only has to exec.
//!
//! What it saves is not saved but done earlier: the quantity `prepare` shows how long that took.

use std::path::PathBuf;

use anyhow::Result;
use tare_reports::document::{Accel, Class, Mode};

use super::{Contender, Description, Found, Missing, Surroundings, Undo, Wiring, runtime_spec};
use crate::site::{Site, Start};
use crate::spawner::protocol::{Launch, Made};

/// See the file's head.
#[derive(Debug)]
pub struct TarePool;

impl Contender for TarePool {
    fn description(&self) -> Description<'_> {
        Description {
            name: "tare-pool",
            class: Class::Container,
            about: "a box of our runtime's in stock, made before the clock: it only has to exec",
            inside_clock: &[
                "pipes",
                "request to the spawner",
                "command and descriptors sent",
                "exec",
                "READY",
            ],
            mode: Mode::Pool,
            ..Description::default()
        }
    }

    fn probe(&mut self, surroundings: &Surroundings) -> Result<Found, Missing> {
        let mut not_expressed =
            vec!["outside the clock: making the box, which is the quantity prepare (cpu counts both)".into()];
        if !surroundings.root {
            not_expressed.push("rootless: limits are recorded as not applied where no cgroup is ours".into());
        }
        Ok(Found { version: env!("CARGO_PKG_VERSION").into(), accel: Accel::Native, not_expressed })
    }

    fn stock(&mut self, site: &Site, start: &Start) -> Result<Option<Launch>> {
        Ok(Some(Launch::Stock { root: site.runtime_root(), spec: Box::new(runtime_spec(site, start)?) }))
    }

    fn launch(&mut self, _: &Site, start: &Start) -> Result<Launch> {
        Ok(Launch::FromStock { id: start.id.clone(), argv: vec!["/payload".into(), start.nonce.clone()] })
    }

    fn wiring(&self) -> Wiring {
        Wiring::LeftOut("its boxes are made before the clock, and their network would be too")
    }

    fn command(&mut self, _: &Site) -> Vec<String> {
        vec!["tare_runtime::Pooled::start".into(), "(library call, in the spawner)".into()]
    }

    fn teardown(&self, site: &Site, start: &Start) -> Vec<Undo> {
        vec![Undo::Made(Made::Library { root: site.runtime_root(), id: start.id.clone() })]
    }

    fn leaves(&self, site: &Site, start: &Start) -> Vec<PathBuf> {
        let mut paths = site.cgroups_of(start);
        paths.push(site.runtime_root().join(&start.id));
        paths
    }
}
