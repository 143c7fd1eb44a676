//! `runc`: the reference runtime, detached, on a bundle.

use std::path::PathBuf;

use anyhow::Result;
use tare_reports::document::{Accel, Class};

use super::oci::Oci;
use super::{Contender, Description, Found, Missing, Surroundings, Undo, example, find, version_of};
use crate::site::{Site, Start};
use crate::spawner::protocol::Launch;

/// See the file's head.
#[derive(Debug)]
pub struct Runc {
    oci: Oci,
}

impl Default for Runc {
    fn default() -> Self {
        Self { oci: Oci::new("runc") }
    }
}

impl Contender for Runc {
    fn description(&self) -> Description<'_> {
        Description {
            name: "runc",
            class: Class::Container,
            about: "the reference runtime, detached, given the same box as tare",
            inside_clock: &[
                "bundle written",
                "pipes",
                "request to the spawner",
                "overlay mounted by the lab",
                "posix_spawn of runc",
                "runc run",
                "READY",
            ],
            ..Description::default()
        }
    }

    fn probe(&mut self, surroundings: &Surroundings) -> Result<Found, Missing> {
        let program = find("TARE_RUNC", "runc").ok_or_else(|| {
            Missing::new(
                "runc is not on PATH and TARE_RUNC is not set",
                "./scripts/setup (or apt-get install runc)",
            )
        })?;
        if !surroundings.root {
            return Err(Missing::root("runc with cgroup limits"));
        }
        let version = version_of(&program, "--version")?;
        self.oci.found(program, Vec::new());
        Ok(Found { version, accel: Accel::Native, not_expressed: Oci::not_expressed() })
    }

    fn launch(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        self.oci.launch(site, start)
    }

    fn command(&mut self, site: &Site) -> Vec<String> {
        self.oci.run(site, &example())
    }

    fn pid_file(&self, site: &Site, start: &Start) -> Option<PathBuf> {
        Some(self.oci.pid_file(site, start))
    }

    fn teardown(&self, site: &Site, start: &Start) -> Vec<Undo> {
        self.oci.undo(site, start, &["delete", &start.id])
    }

    fn rescue(&self, site: &Site, start: &Start) -> Vec<Undo> {
        self.oci.undo(site, start, &["delete", "--force", &start.id])
    }

    fn leaves(&self, site: &Site, start: &Start) -> Vec<PathBuf> {
        self.oci.leaves(site, start)
    }
}
