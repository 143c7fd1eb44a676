//! Cgroups: how much a box may use, and which processes are counted as the box.
//!
//! A cgroup is a directory of the kernel's cgroup file system with a set of processes in it; controllers
//! count what the set uses and stop it at a limit. A limit is a number in a file of that directory: it lives
//! in the kernel, which enforces it at every allocation and every fork, and it stays though this program
//! ends. Without it one box could take all memory, all process ids and all CPU time of the host, and nobody
//! could say what a box costs.
//!
//! A process is in the cgroup of its parent until it is moved, and so are its children: whoever enters first,
//! and then starts, has all of the box counted.
//!
//! Version 1 has one tree per controller, version 2 one tree for all; a hybrid host has some controllers
//! here and some there. `layout.rs` finds out which is where; `v1.rs` and `v2.rs` know the files.
//!
//! Steps: `cgroup`, `enter-cgroup`.
//!
//! Man page: cgroups(7). Look at it: `cat /proc/self/cgroup; ls /sys/fs/cgroup`

mod bpf;
pub(crate) mod devices;
pub mod events;
mod layout;
mod refusal;
pub(crate) mod remove;
mod v1;
mod v2;

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sched::CloneFlags;

use crate::blueprint;
use crate::error::{Error, Result};
use crate::report::Fault;
use crate::spec::MissingLimits;
use crate::sys::bpf::attach_device_program;
pub use layout::{CONTROLLERS, Controller, Hierarchy, Layout, Place, ROOT, Version};
use refusal::Refusal;

/// So often a parent may vanish under a start before that is an error.
const RACES: usize = 100;

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

/// For [`crate::load_device_program`].
pub(crate) fn load_default_program() -> std::result::Result<OwnedFd, nix::errno::Errno> {
    bpf::load_default()
}

/// What the new process needs to get in, opened before the fork.
#[derive(Debug, Default)]
pub struct Entry {
    unified: Option<OwnedFd>,
    tasks: Vec<OwnedFd>,
    /// Version 1: the way into the devices cgroup, which is taken last: in it no node can be made.
    devices: Option<OwnedFd>,
    /// Version 2: the program that decides about devices, attached last for the same reason.
    program: Option<OwnedFd>,
}

impl Entry {
    /// The version 2 directory for clone3.
    pub fn unified(&self) -> Option<BorrowedFd<'_>> {
        self.unified.as_ref().map(AsFd::as_fd)
    }

    /// In the child, once the box's own nodes are made: from here on only the known devices can be used.
    pub(crate) fn lock_devices(&self) -> std::result::Result<(), Fault> {
        if let (Some(program), Some(cgroup)) = (&self.program, &self.unified) {
            attach_device_program(program.as_fd(), cgroup.as_fd()).map_err(Fault::of(0))?;
        }
        self.devices.as_ref().map_or(Ok(()), |tasks| v1::enter(tasks).map_err(Fault::of(0)))
    }

    /// What [`Entry::lock_devices`] works on, in words.
    pub(crate) fn lock(&self) -> &'static str {
        match self.program {
            Some(_) => "the program that decides about devices (BPF_PROG_ATTACH)",
            None => "devices controller",
        }
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
        fresh: CloneFlags,
    ) -> Result<()> {
        let is_missing = |c: &Controller| c.is_limited(&asked.limits) && layout.of(*c).is_none();
        for controller in CONTROLLERS.into_iter().filter(is_missing) {
            self.not_applied.push(format!("{}: this host has no such cgroup controller", controller.name()));
        }
        for place in places {
            match self.create_place(place, asked) {
                Ok(refused) => {
                    for (controller, refusal) in refused {
                        self.miss(&[controller], asked, &refusal)?;
                    }
                }
                Err(refusal) => self.miss(&place.controllers, asked, &refusal)?,
            }
        }
        if Controller::Devices.is_asked_for(asked) && layout.of(Controller::Devices).is_none() {
            let unified = places.iter().find(|place| place.version == Version::V2);
            let loaded = self.load_program(unified, asked, fresh);
            self.not_applied.extend(loaded.err().map(|why| format!("devices: {why}")));
        }
        if self.not_applied.is_empty() || asked.missing == MissingLimits::Record {
            return Ok(());
        }
        Err(Error::Limits(std::mem::take(&mut self.not_applied)))
    }

    /// Notes that what was asked of these controllers is not in force, if that is the host's doing.
    fn miss(
        &mut self,
        controllers: &[Controller],
        asked: &blueprint::Cgroup,
        refusal: &Refusal,
    ) -> Result<()> {
        if !refusal.is_unavailable() {
            return Err(Error::at("cgroup", refusal.path.display().to_string(), refusal.errno()));
        }
        let missed = controllers.iter().filter(|c| c.is_asked_for(asked));
        self.not_applied.extend(missed.map(|c| format!("{}: {refusal}", c.name())));
        Ok(())
    }

    /// Version 2: loads the program that takes the place of the devices controller.
    fn load_program(
        &mut self,
        unified: Option<&Place>,
        asked: &blueprint::Cgroup,
        fresh: CloneFlags,
    ) -> std::result::Result<(), String> {
        let (Some(Place { directory, .. }), Some(cgroup)) = (unified, &self.entry.unified) else {
            return Err("this host has no such cgroup controller, and the container no cgroup of version 2 \
                        for a program instead"
                .into());
        };
        let words = |refusal: Refusal| refusal.to_string();
        let program = bpf::load_rules(directory, &asked.devices).map_err(words)?;
        if fresh.contains(CloneFlags::CLONE_NEWUSER) {
            // No node can be made inside anyway, and from inside older kernels would let nobody attach it.
            return bpf::attach(directory, &program, cgroup).map_err(words);
        }
        if asked.missing == MissingLimits::Record {
            // What fails in the new process ends the start, and this is to go on.
            bpf::try_out(directory, &program, cgroup).map_err(words)?;
        }
        self.entry.program = Some(program);
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
        // The last box below a parent may take it away while we make ours in it: then once more.
        for _ in 0..RACES {
            let missing: Vec<&Path> =
                directory.ancestors().skip(1).take_while(|d| *d != mount && !d.exists()).collect();
            for parent in missing.into_iter().rev() {
                match fs::create_dir(parent) {
                    Ok(()) => self.parents.push(parent.into()),
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(Refusal::new(parent)(error)),
                }
            }
            match fs::create_dir(directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => return other.map_err(Refusal::new(directory)),
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

/// The same for a file that not every kernel has, or that says there that it does nothing.
fn set_if_there(directory: &Path, file: &str, value: &str) -> std::result::Result<(), Refusal> {
    match set(directory, file, value) {
        Err(refusal) if matches!(refusal.errno(), Errno::ENOENT | Errno::EOPNOTSUPP) => Ok(()),
        other => other,
    }
}

/// The trees of version 1 that this host has, each as the kernel names it: `memory`, `cpu,cpuacct`.
///
/// # Errors
/// [`Error::Step`].
pub(crate) fn version_1_controllers() -> Result<Vec<CString>> {
    let path = "/proc/self/cgroup";
    let lines = fs::read_to_string(path).map_err(|e| Error::io("cgroup", path, &e))?;
    let names = lines.lines().filter_map(|line| line.split(':').nth(1));
    let real = names.filter(|name| !name.is_empty() && !name.starts_with("name="));
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
