//! Which controllers this host has, in which tree each lives, and where a box's directories are.
//!
//! Distributions have mounted the trees in three ways: all of version 1, all of version 2, or both beside one
//! another. Who expects one and meets another finds no file to write a limit into.
//!
//! Man page: cgroups(7). Look at it: `cat /proc/cgroups; ls /sys/fs/cgroup`

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use crate::blueprint;
use crate::spec::Limits;

/// Where every distribution mounts the cgroup file systems.
pub const ROOT: &str = "/sys/fs/cgroup";

/// What counts and limits one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Controller {
    /// Bytes.
    Memory,
    /// Processes and threads.
    Pids,
    /// CPU time.
    Cpu,
    /// Device nodes. Version 2 has no such controller; there a small program does it, see `bpf.rs`.
    Devices,
}

/// All that we use.
pub const CONTROLLERS: [Controller; 4] =
    [Controller::Memory, Controller::Pids, Controller::Cpu, Controller::Devices];

impl Controller {
    /// The kernel's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
            Self::Devices => "devices",
        }
    }

    /// Whether `limits` says anything about it.
    pub(super) fn is_limited(self, limits: &Limits) -> bool {
        match self {
            Self::Memory => limits.memory.is_some(),
            Self::Pids => limits.pids.is_some(),
            Self::Cpu => limits.cpus.is_some(),
            // Not a limit of the box's use.
            Self::Devices => false,
        }
    }

    /// Whether `asked` wants something of it that must not be missing unnoticed.
    pub(super) fn is_asked_for(self, asked: &blueprint::Cgroup) -> bool {
        match self {
            // Without root nothing is missing: see `bpf.rs`.
            Self::Devices => !asked.devices.is_empty() && geteuid().is_root(),
            _ => self.is_limited(&asked.limits),
        }
    }
}

/// The two interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    /// A tree per controller.
    V1,
    /// One tree.
    V2,
}

/// The tree in which a controller lives on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Which interface it has.
    pub version: Version,
    /// Its root directory.
    pub mount: PathBuf,
}

/// Where each controller lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    pub(super) found: Vec<(Controller, Hierarchy)>,
}

impl Layout {
    /// Looks below `root`, normally [`ROOT`]; a few looks, no search through the table of mounts.
    pub fn detect(root: &Path) -> Self {
        let unified = |mount: &Path| {
            let list = fs::read_to_string(mount.join("cgroup.controllers")).ok()?;
            Some(list.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        };
        let v2 = |controller: Controller, mount: &Path| {
            (controller, Hierarchy { version: Version::V2, mount: mount.into() })
        };
        if let Some(list) = unified(root) {
            let has = |c: &Controller| list.iter().any(|name| name == c.name());
            return Self { found: CONTROLLERS.into_iter().filter(has).map(|c| v2(c, root)).collect() };
        }
        let mut second: Option<Vec<String>> = None;
        let hybrid = root.join("unified");
        let mut found = Vec::with_capacity(CONTROLLERS.len());
        for controller in CONTROLLERS {
            let mount = root.join(controller.name());
            if mount.join("tasks").exists() {
                found.push((controller, Hierarchy { version: Version::V1, mount }));
                continue;
            }
            let list = second.get_or_insert_with(|| unified(&hybrid).unwrap_or_default());
            if list.iter().any(|name| name == controller.name()) {
                found.push(v2(controller, &hybrid));
            }
        }
        Self { found }
    }

    /// Where `controller` lives, if anywhere.
    pub fn of(&self, controller: Controller) -> Option<&Hierarchy> {
        self.found.iter().find(|(c, _)| *c == controller).map(|(_, h)| h)
    }

    /// The directories of the cgroup `path`: one per tree. Memory and pids are always entered,
    /// to be counted and to be found again; cpu only if it is limited, since being in a cgroup of its own
    /// changes how the scheduler shares time.
    pub fn places(&self, path: &str, limits: &Limits) -> Vec<Place> {
        let below = Path::new(path.trim_start_matches('/'));
        let parent = below.parent().unwrap_or(Path::new(""));
        let mut places: Vec<Place> = Vec::with_capacity(self.found.len());
        for (controller, hierarchy) in &self.found {
            if *controller == Controller::Cpu && !controller.is_limited(limits) {
                continue;
            }
            match places.iter_mut().find(|place| place.mount == hierarchy.mount) {
                Some(place) => place.controllers.push(*controller),
                None => places.push(Place {
                    version: hierarchy.version,
                    mount: hierarchy.mount.clone(),
                    parent: hierarchy.mount.join(parent),
                    directory: hierarchy.mount.join(below),
                    controllers: vec![*controller],
                }),
            }
        }
        places
    }
}

/// The box's directory in one tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which interface.
    pub version: Version,
    /// The tree's root.
    pub mount: PathBuf,
    /// The parent directory.
    pub parent: PathBuf,
    /// The directory.
    pub directory: PathBuf,
    /// The controllers of ours that live in this tree.
    pub controllers: Vec<Controller>,
}
