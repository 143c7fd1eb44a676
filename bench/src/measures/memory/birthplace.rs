//! The memory cgroup of one climb, for boxes that have none of their own: bare processes, and the VMMs of machines.
//!
//! They are born in it, one for all of them, so that it is charged for what a box takes from its first page on; what
//! is moved into a cgroup later stays charged where it was (the kernel's cgroup-v2.rst, "Memory Ownership"). Entering
//! it costs a start some microseconds, and nobody's clock runs during a climb. What such a cgroup shares with those of
//! containers is what it covers, not how it is limited: it has no limit, a machine's is its RAM.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use tare_reports::document::{Class, Failure};

use crate::contenders::Contender;
use crate::host::cgroups;
use crate::lab::{Failed, Lab};
use crate::site::Site;

/// Name of the cgroup, beside those of boxes.
const NAME: &str = "climb";

/// See the file's head.
#[derive(Debug)]
pub(super) struct Birthplace {
    /// The path within the memory controller's hierarchy.
    path: String,
}

impl Birthplace {
    /// Makes one and has boxes born there, where they would be in no cgroup of the run's. `None` for those that have
    /// one, and below a parent that the run was given, where all are counted together.
    pub(super) fn make(
        lab: &mut Lab,
        site: &Site,
        contender: &dyn Contender,
    ) -> Option<Result<Self, Failed>> {
        let alone = matches!(contender.description().class, Class::Process | Class::Vm);
        if !alone || !site.birthplaces().is_empty() {
            return None;
        }
        let path = format!("{}/{NAME}", site.cgroup_parent());
        let made = make(&path).map_err(|error| {
            let why = format!(
                "a box of {} has no cgroup of its own, and none can be made for it: {error:#}",
                contender.name()
            );
            Failed::new(Failure::NotMeasured, why)
        });
        Some(made.and_then(|dir| lab.born_in(vec![dir])).map(|()| Self { path }))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Has boxes born where they were before, and removes it; those in it have ended.
    ///
    /// # Errors
    /// When it stays.
    pub(super) fn remove(self, lab: &mut Lab) -> Result<(), Failed> {
        // An interrupt must not leave it.
        let elsewhere = lab.born_in(Vec::new());
        let gone = cgroups::remove_tree(&self.path);
        elsewhere.and(gone.map_err(|error| Failed::new(Failure::Leak, format!("{error:#}"))))
    }
}

fn make(path: &str) -> Result<PathBuf> {
    let root = cgroups::root_of("memory").context("this host has no memory controller")?;
    let dir = root.join(path.trim_start_matches('/'));
    fs::create_dir_all(&dir).with_context(|| format!("make the cgroup {}", dir.display()))?;
    cgroups::pass_on(&root, &dir, &["memory"])?;
    Ok(dir)
}
