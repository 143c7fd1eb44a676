//! `floor`: the least a container is. Six namespaces, one cgroup with a memory and a pids limit, an overlay
//! root, /proc, pivot_root and exec; no confinement.

use std::convert::Infallible;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use anyhow::Result;
use tare_reports::document::{Accel, Class};
use tare_runtime::confinement::PROC;

use super::steps::{self, Fault, Prepared};
use super::{leaves, linked, spec};
use crate::contenders::ground::Ground;
use crate::contenders::{Contender, Description, Found, Missing, Surroundings, Undo, Wiring};
use crate::network::Link;
use crate::site::{Site, Start};
use crate::spawner::protocol::{Launch, Made};

/// See the file's head.
#[derive(Debug, Default)]
pub struct Floor {
    ground: Ground,
}

impl Contender for Floor {
    fn description(&self) -> Description<'_> {
        Description {
            name: "floor",
            class: Class::Container,
            about: "the least a container is: six namespaces, one cgroup, an overlay root, /proc, pivot_root, exec",
            inside_clock: &[
                "pipes",
                "request to the spawner",
                "instance directories",
                "cgroup and limits",
                "clone3 with namespaces",
                "overlay",
                "/proc",
                "pivot_root",
                "exec",
                "READY",
            ],
            ..Description::default()
        }
    }

    fn probe(&mut self, surroundings: &Surroundings) -> Result<Found, Missing> {
        self.ground = Ground::find(&["memory", "pids"], surroundings)?;
        Ok(Found {
            version: env!("CARGO_PKG_VERSION").into(),
            accel: Accel::Native,
            not_expressed: vec![
                "by design: no capabilities dropped, no seccomp, no masked paths, no devices, no cpu limit"
                    .into(),
            ],
        })
    }

    fn prepare(&mut self, site: &Site) -> Result<()> {
        self.ground.prepare(site)
    }

    fn launch(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        Ok(Launch::Floor(spec(&self.ground, site, start, false)))
    }

    fn wiring(&self) -> Wiring {
        Wiring::Namespace
    }

    fn launch_linked(&mut self, site: &Site, start: &Start, link: &Link) -> Result<Launch> {
        linked(spec(&self.ground, site, start, false), link)
    }

    fn command(&mut self, _: &Site) -> Vec<String> {
        vec!["(kernel calls issued by the spawner: bench/src/contenders/floor/plain.rs)".into()]
    }

    fn teardown(&self, site: &Site, start: &Start) -> Vec<Undo> {
        vec![Undo::Made(Made::Floor(spec(&self.ground, site, start, false)))]
    }

    fn leaves(&self, site: &Site, start: &Start) -> Vec<PathBuf> {
        leaves(site, start)
    }
}

/// The child's part; comes back only with a fault.
pub(super) fn inside(p: &Prepared, stdio: [BorrowedFd; 3]) -> Result<Infallible, Fault> {
    steps::enter_cgroups(p)?;
    steps::join_network(p)?;
    steps::hide_cgroups()?;
    steps::enter_overlay(p)?;
    steps::mount_here(&PROC)?;
    steps::swap_roots()?;
    steps::set_host_name()?;
    steps::stdio(stdio)?;
    steps::reset_signals()?;
    steps::exec(p)
}
