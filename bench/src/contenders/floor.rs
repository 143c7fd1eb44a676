//! The floors: the kernel calls that make a box, issued by hand with no tool and no state file around them.
//! What a runtime needs above its floor is the runtime's own.
//!
//! `plain.rs` is the least that a container is, `confined.rs` the box that `tare` makes. Both consist of the
//! same steps (`steps.rs`), in the order that the kernel forces; the reasons are told in `runtime/`, where each
//! mechanism has its file. What does not differ between two instances is looked for once, before the clock
//! runs: where the cgroups are, and the seccomp filter.

mod confined;
mod plain;
mod steps;

use std::ffi::{CString, NulError};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::sched::CloneFlags;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use tare_runtime::confinement::DEVICE_RULES;
use tare_runtime::sys::{CStringArray, Forked, Memory, fork};

use super::{CPUS, MEMORY, Missing, PIDS, Surroundings, search_path};
use crate::host::cgroups;
use crate::site::{Site, Start};
use crate::spawner::protocol::{FloorCgroup, FloorSpec};

pub use confined::FloorConfined;
pub use plain::Floor;
use steps::{Fault, Prepared};

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

/// Where a floor's limits are set on this host: one entry for each tree. Found once, by the probe.
#[derive(Debug, Default)]
struct Ground {
    /// The tree's root is `dir`.
    trees: Vec<FloorCgroup>,
    controllers: Vec<&'static str>,
}

impl Ground {
    fn find(controllers: &[&'static str], surroundings: &Surroundings) -> Result<Self, Missing> {
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

    /// Makes the parent of the run's cgroups; on v2 it must be told to pass its controllers on.
    fn prepare(&self, site: &Site) -> Result<()> {
        for FloorCgroup { dir: root, unified, .. } in &self.trees {
            let parent = below(root, site.cgroup_parent());
            fs::create_dir_all(&parent).with_context(|| format!("make the cgroup {}", parent.display()))?;
            if *unified {
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

    fn spec(&self, site: &Site, start: &Start, confined: bool) -> FloorSpec {
        let cgroups = self.trees.iter().map(|tree| FloorCgroup {
            dir: below(&tree.dir, site.cgroup_parent()).join(&start.id),
            ..tree.clone()
        });
        FloorSpec {
            dir: site.instance(start),
            lower: site.rootfs(),
            confined,
            cgroups: cgroups.collect(),
            argv: vec!["/payload".into(), start.nonce.clone()],
            env: vec![search_path()],
        }
    }
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// What must be gone after an instance.
fn leaves(site: &Site, start: &Start) -> Vec<PathBuf> {
    let mut paths = site.cgroups_of(start);
    paths.push(site.instance(start));
    paths
}

/// Starts a box; returns the process id of its first process. Runs in the spawner.
pub(crate) fn start(spec: &FloorSpec, stdio: [BorrowedFd; 3]) -> Result<u32, String> {
    let prepared = prepare(spec)?;
    let filter = spec.confined.then(tare_runtime::seccomp_program);
    let namespaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    let birthplace = prepared.birthplace.as_ref().map(AsFd::as_fd);
    // The child works in our memory until its exec, so it leaves its fault here: no pipe is needed.
    let mut fault = None;
    let forked = fork(namespaces, birthplace, Memory::Borrowed, || {
        let Err(failed) = match filter {
            Some(filter) => confined::inside(&prepared, filter, stdio),
            None => plain::inside(&prepared, stdio),
        };
        fault = Some(failed);
        127
    });
    let Forked { pid, .. } = forked.map_err(|e| format!("clone3: {e}"))?;
    let Some(Fault { step, object, errno }) = fault else { return Ok(pid as u32) };
    let _ = waitpid(Pid::from_raw(pid), None);
    Err(format!("{step} {}: {errno}", object.to_string_lossy()))
}

fn prepare(spec: &FloorSpec) -> Result<Prepared, String> {
    let [upper, work, merged] = layers(spec);
    for dir in [&spec.dir, &upper, &work, &merged] {
        fs::create_dir(dir).map_err(|e| format!("make directory {}: {e}", dir.display()))?;
    }
    let (mut members, mut birthplace, mut devices) = (Vec::new(), None, None);
    for FloorCgroup { dir, unified, devices: locks_devices, limits } in &spec.cgroups {
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
    let without_controller = spec.confined && devices.is_none() && birthplace.is_some();
    let device_program = without_controller.then(tare_runtime::load_device_program).transpose();
    let overlay = format!(
        "lowerdir={},upperdir={},workdir={},volatile",
        spec.lower.display(),
        upper.display(),
        work.display()
    );
    let zero = |e: NulError| format!("a path or an argument of the box: {e}");
    let strings = |words: &[String]| -> Result<CStringArray, String> {
        let words: Result<Vec<CString>, NulError> =
            words.iter().map(|word| CString::new(word.as_str())).collect();
        Ok(CStringArray::new(words.map_err(zero)?))
    };
    Ok(Prepared {
        overlay: CString::new(overlay).map_err(zero)?,
        merged: CString::new(merged.as_os_str().as_bytes()).map_err(zero)?,
        program: CString::new(spec.argv[0].as_str()).map_err(zero)?,
        argv: strings(&spec.argv)?,
        env: strings(&spec.env)?,
        members,
        birthplace,
        devices,
        device_program: device_program
            .map_err(|e| format!("load the program that decides about devices: {e}"))?,
    })
}

fn layers(spec: &FloorSpec) -> [PathBuf; 3] {
    ["upper", "work", "merged"].map(|name| spec.dir.join(name))
}

fn open(options: &mut OpenOptions, path: &Path) -> Result<File, String> {
    options.open(path).map_err(|e| format!("open {}: {e}", path.display()))
}

/// Removes a box whose process has ended. Runs in the spawner.
pub(crate) fn delete(spec: &FloorSpec) -> Result<(), String> {
    for cgroup in &spec.cgroups {
        gone(fs::remove_dir(&cgroup.dir))
            .map_err(|e| format!("remove cgroup {}: {e}", cgroup.dir.display()))?;
    }
    let [upper, work, merged] = layers(spec);
    for dir in [&merged, &work, &upper, &spec.dir] {
        // Most are empty: one call and no listing. The kernel leaves something in `work`.
        if fs::remove_dir(dir).is_err() {
            gone(fs::remove_dir_all(dir)).map_err(|e| format!("remove {}: {e}", dir.display()))?;
        }
    }
    Ok(())
}

fn gone(removed: std::io::Result<()>) -> std::io::Result<()> {
    match removed {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
