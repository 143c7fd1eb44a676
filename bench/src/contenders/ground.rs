//! The cgroups that the lab makes by hand: those of the floors, and those of tools that make none.
//!
//! Where a controller has its tree, and the limits of the common box in the words of cgroup v1 and v2, are
//! looked for once, before the clock runs. The cgroups themselves are made, entered and removed inside it.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tare_runtime::confinement::DEVICE_RULES;

use super::{CPUS, MEMORY, Missing, PIDS, Surroundings};
use crate::host::cgroups;
use crate::site::{Site, Start};
use crate::spawner::protocol::FloorCgroup;

/// The period in which a CPU quota is counted, microseconds; the kernel's default.
const PERIOD: u32 = 100_000;
/// The controller that says which device nodes may be used.
const DEVICES: &str = "devices";

/// What the memory limit forbids is not to go to the swap space instead. A kernel that does not count swap has
/// no such file.
const SWAP: [&str; 2] = ["memory.memsw.limit_in_bytes", "memory.swap.max"];

/// A controller, and the files and the values of its limits on cgroup v1 and on v2.
struct Limit {
    controller: &'static str,
    v1: Vec<(&'static str, String)>,
    /// None where v2 has no such controller.
    v2: Vec<(&'static str, String)>,
}

/// The common box's limits of these controllers.
fn limits(controllers: &[&'static str]) -> Vec<Limit> {
    let quota = CPUS * PERIOD;
    let limit = |&controller: &&'static str| match controller {
        "memory" => Limit {
            controller,
            v1: vec![("memory.limit_in_bytes", MEMORY.to_string()), (SWAP[0], MEMORY.to_string())],
            v2: vec![("memory.max", MEMORY.to_string()), (SWAP[1], "0".into())],
        },
        "pids" => Limit {
            controller,
            v1: vec![("pids.max", PIDS.to_string())],
            v2: vec![("pids.max", PIDS.to_string())],
        },
        DEVICES => Limit {
            controller,
            v1: DEVICE_RULES
                .iter()
                .map(|rule| (if rule.allow { "devices.allow" } else { "devices.deny" }, rule.line()))
                .collect(),
            v2: Vec::new(),
        },
        _ => Limit {
            controller,
            v1: vec![("cpu.cfs_quota_us", quota.to_string())],
            v2: vec![("cpu.max", format!("{quota} {PERIOD}"))],
        },
    };
    controllers.iter().map(limit).collect()
}

/// Where the limits are set on this host: one entry for each tree. Found once, by the probe.
#[derive(Debug, Default)]
pub(super) struct Ground {
    /// The tree's root is `dir`.
    trees: Vec<FloorCgroup>,
    controllers: Vec<&'static str>,
}

impl Ground {
    pub(super) fn find(controllers: &[&'static str], surroundings: &Surroundings) -> Result<Self, Missing> {
        if !surroundings.root {
            return Err(Missing::root("issuing the kernel's calls without a user namespace"));
        }
        let mut trees: Vec<FloorCgroup> = Vec::new();
        for Limit { controller, v1, v2 } in limits(controllers) {
            let missing =
                || Missing { reason: format!("this host has no {controller} controller"), fix: None };
            let root = match cgroups::root_of(controller) {
                Some(root) => root,
                // As in the runtime: where this is no controller, a program does its work.
                None if controller == DEVICES => continue,
                None => return Err(missing()),
            };
            let unified = root.join("cgroup.controllers").exists();
            let devices = controller == DEVICES;
            if unified && devices {
                continue;
            }
            let limits = if unified { v2 } else { v1 };
            let limits = limits.into_iter().map(|(file, value)| (file.to_owned(), value));
            // On v2 all limits are files of one directory.
            match trees.iter_mut().find(|tree| tree.dir == root) {
                Some(tree) => {
                    tree.limits.extend(limits);
                    tree.devices |= devices;
                }
                None => trees.push(FloorCgroup { dir: root, unified, devices, limits: limits.collect() }),
            }
        }
        // On v2 only what is a controller there can be passed on.
        let controllers = controllers.iter().copied().filter(|name| *name != DEVICES).collect();
        Ok(Self { trees, controllers })
    }

    /// Adds the trees that have no controllers but that systemd's tools keep processes apart in: the one that
    /// it names `name=systemd`, and the one of version 2 beside v1 trees. A tool that makes cgroups there then
    /// makes them below ours.
    pub(super) fn add_named_trees(&mut self) {
        for root in cgroups::roots() {
            let unified = root.join("cgroup.controllers").exists();
            let named = root.file_name().is_some_and(|name| name == "systemd");
            if (unified || named) && !self.trees.iter().any(|tree| tree.dir == root) {
                self.trees.push(FloorCgroup { dir: root, unified, devices: false, limits: Vec::new() });
            }
        }
    }

    /// Makes the parent of the run's cgroups; on v2 it must be told to pass its controllers on.
    pub(super) fn prepare(&self, site: &Site) -> Result<()> {
        for FloorCgroup { dir: root, unified, limits, .. } in &self.trees {
            let parent = below(root, site.cgroup_parent());
            fs::create_dir_all(&parent).with_context(|| format!("make the cgroup {}", parent.display()))?;
            if *unified && !limits.is_empty() {
                let words: Vec<String> = self.controllers.iter().map(|name| format!("+{name}")).collect();
                let mut dirs: Vec<&Path> =
                    parent.ancestors().take_while(|dir| dir.starts_with(root)).collect();
                dirs.reverse();
                for dir in dirs {
                    let file = dir.join("cgroup.subtree_control");
                    fs::write(&file, words.join(" ")).with_context(|| format!("write {}", file.display()))?;
                }
            }
        }
        Ok(())
    }

    /// The cgroups of one instance.
    pub(super) fn cgroups_of(&self, site: &Site, start: &Start) -> Vec<FloorCgroup> {
        let cgroups = self.trees.iter().map(|tree| FloorCgroup {
            dir: below(&tree.dir, site.cgroup_parent()).join(&start.id),
            ..tree.clone()
        });
        cgroups.collect()
    }
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// Cgroups of one instance, made and limited, open for a process to enter them.
#[derive(Default)]
pub(super) struct Cgroups {
    /// v1: files into which a process writes itself.
    pub(super) members: Vec<File>,
    /// v2: the directory that a process is born in.
    pub(super) birthplace: Option<File>,
    /// v1: the way into the devices cgroup, in which no node can be made.
    pub(super) devices: Option<File>,
}

/// Makes cgroups and sets their limits. Runs in the spawner.
pub(super) fn make_cgroups(wanted: &[FloorCgroup]) -> Result<Cgroups, String> {
    let (mut members, mut birthplace, mut devices) = (Vec::new(), None, None);
    for FloorCgroup { dir, unified, devices: locks_devices, limits } in wanted {
        fs::create_dir(dir).map_err(|e| format!("make cgroup {}: {e}", dir.display()))?;
        for values in limits.chunk_by(|(file, _), (next, _)| file == next) {
            let file = dir.join(&values[0].0);
            let mut opened = match OpenOptions::new().write(true).open(&file) {
                Err(e) if e.kind() == ErrorKind::NotFound && SWAP.contains(&values[0].0.as_str()) => continue,
                other => other.map_err(|e| format!("open {}: {e}", file.display()))?,
            };
            for (_, value) in values {
                let written = opened.write_all(value.as_bytes());
                written.map_err(|e| format!("write {value} to {}: {e}", file.display()))?;
            }
        }
        if *unified {
            birthplace = Some(open(OpenOptions::new().read(true), dir)?);
            continue;
        }
        // `tasks`, not `cgroup.procs`: moving a thread group waits for an RCU grace period, some
        // milliseconds, moving the only thread of a new process does not.
        let tasks = open(OpenOptions::new().write(true), &dir.join("tasks"))?;
        if *locks_devices {
            devices = Some(tasks);
        } else {
            members.push(tasks);
        }
    }
    Ok(Cgroups { members, birthplace, devices })
}

fn open(options: &mut OpenOptions, path: &Path) -> Result<File, String> {
    options.open(path).map_err(|e| format!("open {}: {e}", path.display()))
}

/// Removes cgroups whose processes have ended, with those that a tool has made in them. Runs in the spawner.
pub(crate) fn remove_cgroups(cgroups: &[FloorCgroup]) -> Result<(), String> {
    for FloorCgroup { dir, .. } in cgroups {
        remove(dir).map_err(|e| format!("remove cgroup {}: {e}", dir.display()))?;
    }
    Ok(())
}

fn remove(dir: &Path) -> std::io::Result<()> {
    // Mostly there is none in it: one call and no listing.
    let Err(error) = gone(fs::remove_dir(dir)) else { return Ok(()) };
    let inner = fs::read_dir(dir)?.flatten().filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir()));
    let inner: Vec<PathBuf> = inner.map(|entry| entry.path()).collect();
    if inner.is_empty() {
        return Err(error);
    }
    inner.iter().try_for_each(|dir| remove(dir))?;
    gone(fs::remove_dir(dir))
}

/// What is gone already need not be removed.
fn gone(removed: std::io::Result<()>) -> std::io::Result<()> {
    match removed {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
