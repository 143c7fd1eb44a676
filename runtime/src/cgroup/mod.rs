//! Cgroups: how much a box may use, and which processes are counted as the box.
//!
//! A cgroup is a directory of the kernel's cgroup file system with a set of processes in it; controllers
//! count what the set uses and stop it at a limit. Without it one box could take all memory, all process
//! ids and all CPU time of the host, and nobody could say what a box costs.
//!
//! Version 1 has one tree per controller, version 2 one tree for all; a hybrid host has some controllers
//! here and some there. This file finds out which is where; `v1.rs` and `v2.rs` know the files.
//!
//! Man page: cgroups(7). Look at it: `cat /proc/self/cgroup; ls /sys/fs/cgroup`

pub(crate) mod devices;
pub mod events;
pub(crate) mod remove;
mod v1;
mod v2;

use std::ffi::CString;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::blueprint;
use crate::error::{Error, Result, describe};
use crate::report::Fault;
use crate::spec::{Limits, MissingLimits};

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
    /// Device nodes. Version 2 has no such controller; there a small program does it, see `devices.rs`.
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
    fn is_limited(self, limits: &Limits) -> bool {
        match self {
            Self::Memory => limits.memory.is_some(),
            Self::Pids => limits.pids.is_some(),
            Self::Cpu => limits.cpus.is_some(),
            // Not a limit of the box's use: nothing is missing where a user namespace forbids nodes.
            Self::Devices => false,
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
    found: Vec<(Controller, Hierarchy)>,
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

/// An operation on one file or directory that failed.
#[derive(Debug)]
pub(crate) struct Refusal {
    path: PathBuf,
    error: io::Error,
    /// What it means here; empty where the error says it.
    why: &'static str,
}

impl Refusal {
    fn new(path: &Path) -> impl Fn(io::Error) -> Refusal {
        move |error| Refusal { path: path.into(), error, why: "" }
    }

    /// Whether this host does not offer it to us (rather than that we did something wrong).
    fn is_unavailable(&self) -> bool {
        use Errno::{EACCES, EBUSY, ENOENT, EOPNOTSUPP, EPERM, EROFS};
        matches!(self.errno(), ENOENT | EACCES | EPERM | EROFS | EBUSY | EOPNOTSUPP)
    }

    fn errno(&self) -> Errno {
        self.error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colon = if self.why.is_empty() { "" } else { ": " };
        write!(f, "{}: {}{colon}{}", self.path.display(), describe(self.errno()), self.why)
    }
}

/// The cgroup of one box that is being started.
#[derive(Debug, Default)]
pub struct Group {
    /// Its directories.
    pub directories: Vec<PathBuf>,
    /// Limits that were asked for and are not in force, in words.
    pub not_applied: Vec<String>,
    /// Parents that this start made, outermost first: a failed start removes them again.
    parents: Vec<PathBuf>,
    entry: Entry,
}

/// What the new process needs to get in, opened before the fork.
#[derive(Debug, Default)]
pub struct Entry {
    unified: Option<OwnedFd>,
    tasks: Vec<OwnedFd>,
    /// Version 1: the way into the devices cgroup, which is taken last: in it no node can be made.
    devices: Option<OwnedFd>,
}

impl Entry {
    /// The version 2 directory for clone3.
    pub fn unified(&self) -> Option<BorrowedFd<'_>> {
        self.unified.as_ref().map(AsFd::as_fd)
    }

    /// In the child, once the box's own nodes are made: from here on only the known devices can be used.
    pub(crate) fn lock_devices(&self) -> std::result::Result<(), Fault> {
        self.devices.as_ref().map_or(Ok(()), |tasks| v1::enter(tasks).map_err(Fault::of(0)))
    }

    /// In the child: enters the version 1 cgroups.
    pub(crate) fn enter(&self) -> std::result::Result<(), Fault> {
        self.tasks
            .iter()
            .enumerate()
            .try_for_each(|(index, tasks)| v1::enter(tasks).map_err(Fault::of(index)))
    }
}

impl Group {
    /// Makes the directories of `places`, sets the limits and opens the ways in. On failure, whatever was
    /// made is in `self` for [`Group::undo`].
    ///
    /// # Errors
    /// [`Error::Limits`] naming each limit that cannot be applied, unless they are to be recorded;
    /// [`Error::Step`] for anything else.
    pub(crate) fn create(
        &mut self,
        places: &[Place],
        asked: &blueprint::Cgroup,
        layout: &Layout,
    ) -> Result<()> {
        let limits = &asked.limits;
        for controller in CONTROLLERS.into_iter().filter(|c| c.is_limited(limits) && layout.of(*c).is_none())
        {
            self.not_applied.push(format!("{}: this host has no such cgroup controller", controller.name()));
        }
        for place in places {
            match self.create_place(place, asked) {
                Ok(refused) => {
                    for (controller, refusal) in refused {
                        self.miss(&[controller], limits, &refusal)?;
                    }
                }
                Err(refusal) => self.miss(&place.controllers, limits, &refusal)?,
            }
        }
        if self.not_applied.is_empty() || asked.missing == MissingLimits::Record {
            return Ok(());
        }
        Err(Error::Limits(std::mem::take(&mut self.not_applied)))
    }

    /// Notes that the limits of these controllers are not in force, if that is the host's doing.
    fn miss(&mut self, controllers: &[Controller], limits: &Limits, refusal: &Refusal) -> Result<()> {
        if !refusal.is_unavailable() {
            return Err(Error::at("cgroup", refusal.path.display().to_string(), refusal.errno()));
        }
        let limited = controllers.iter().filter(|c| c.is_limited(limits));
        self.not_applied.extend(limited.map(|c| format!("{}: {refusal}", c.name())));
        Ok(())
    }

    /// Returns the controllers whose limits alone could not be set.
    fn create_place(
        &mut self,
        place: &Place,
        asked: &blueprint::Cgroup,
    ) -> std::result::Result<Vec<(Controller, Refusal)>, Refusal> {
        self.make_directory(&place.directory, &place.mount)?;
        self.directories.push(place.directory.clone());
        match place.version {
            Version::V1 => {
                v1::limit(place, asked)?;
                let tasks = v1::open(place)?;
                match place.controllers.contains(&Controller::Devices) {
                    true => self.entry.devices = Some(tasks),
                    false => self.entry.tasks.push(tasks),
                }
                Ok(Vec::new())
            }
            Version::V2 => {
                let refused = v2::limit(place, &asked.limits)?;
                self.entry.unified = Some(v2::open(place)?);
                Ok(refused)
            }
        }
    }

    /// Makes one directory that must be new, and its missing parents, which may appear meanwhile.
    fn make_directory(&mut self, directory: &Path, mount: &Path) -> std::result::Result<(), Refusal> {
        match fs::create_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other.map_err(Refusal::new(directory)),
        }
        let missing: Vec<&Path> =
            directory.ancestors().skip(1).take_while(|d| *d != mount && !d.exists()).collect();
        for parent in missing.into_iter().rev() {
            match fs::create_dir(parent) {
                Ok(()) => self.parents.push(parent.into()),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Refusal::new(parent)(error)),
            }
        }
        fs::create_dir(directory).map_err(Refusal::new(directory))
    }

    /// Splits off what the child needs.
    pub fn take_entry(&mut self) -> Entry {
        std::mem::take(&mut self.entry)
    }

    /// Takes everything back after a failed start whose process has ended.
    pub(crate) fn undo(&self) {
        for directory in &self.directories {
            // A failed start has an error to report already, and a directory that will not go is found
            // by the next start of this id, which names it.
            let _ = remove::directory(directory);
        }
        for parent in self.parents.iter().rev() {
            let _ = fs::remove_dir(parent);
        }
    }
}

/// Writes one value into a control file that the kernel provides; never creates a file.
fn set(directory: &Path, file: &str, value: &str) -> std::result::Result<(), Refusal> {
    let path = directory.join(file);
    let write = |mut file: fs::File| io::Write::write_all(&mut file, value.as_bytes());
    fs::OpenOptions::new().write(true).open(&path).and_then(write).map_err(Refusal::new(&path))
}

/// The trees of version 1 that every box is in, each as the kernel names it: `memory`, `cpu,cpuacct`.
///
/// # Errors
/// [`Error::Step`].
pub(crate) fn version_1_controllers() -> Result<Vec<CString>> {
    let path = "/proc/self/cgroup";
    let lines = fs::read_to_string(path).map_err(|e| Error::io("cgroup", path, &e))?;
    let names = lines.lines().filter_map(|line| line.split(':').nth(1));
    // Only where the box always has a cgroup of its own: elsewhere it would see that of its caller.
    let own = [Controller::Memory, Controller::Pids, Controller::Devices].map(Controller::name);
    let real = names.filter(|names| names.split(',').any(|name| own.contains(&name)));
    Ok(real.filter_map(|name| CString::new(name).ok()).collect())
}

/// Removes the parents of `cgroup_parent` in all trees, innermost first, as long as they are empty.
/// Containers leave their parent in place, for others may be about to use it; whoever chose the name
/// (a benchmark run, say) takes it away with this.
pub fn remove_parent(cgroup_parent: &str) {
    for (_, Hierarchy { mount, .. }) in Layout::detect(Path::new(ROOT)).found {
        let innermost = mount.join(cgroup_parent.trim_start_matches('/'));
        for directory in innermost.ancestors().take_while(|d| *d != mount && d.starts_with(&mount)) {
            // Not empty, or not there: somebody else's.
            if fs::remove_dir(directory).is_err_and(|e| e.kind() != io::ErrorKind::NotFound) {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests;
