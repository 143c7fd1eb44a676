//! Cgroup version 2: one tree, and a controller works in a directory only if every directory above it
//! passes the controller on.
//!
//! The new process is born inside (`CLONE_INTO_CGROUP`), so nothing is moved at all.
//!
//! Man page: cgroups(7), "Cgroups version 2"; clone(2), CLONE_INTO_CGROUP. Look at it:
//! `cat /sys/fs/cgroup/cgroup.subtree_control`

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;

use super::{Controller, Place, Refusal, set, v1::PERIOD_MICROSECONDS};
use crate::spec::Limits;

/// The control files and values for what lives in the tree.
pub(super) fn values(controllers: &[Controller], limits: &Limits) -> Vec<(&'static str, String)> {
    let value = |controller: &Controller| match controller {
        Controller::Devices => None,
        Controller::Memory => limits.memory.map(|bytes| ("memory.max", bytes.to_string())),
        Controller::Pids => limits.pids.map(|count| ("pids.max", count.to_string())),
        Controller::Cpu => limits.cpus.map(|cpus| {
            let quota = u64::from(cpus.0) * PERIOD_MICROSECONDS / 1000;
            ("cpu.max", format!("{quota} {PERIOD_MICROSECONDS}"))
        }),
    };
    controllers.iter().filter_map(value).collect()
}

/// Sets the limits. A control file that is missing means that a directory above does not pass its
/// controller on: let them, and try again. So a parent that is ready costs nothing.
pub(super) fn limit(place: &Place, limits: &Limits) -> Result<(), Refusal> {
    let all = || {
        let values = values(&place.controllers, limits);
        values.iter().try_for_each(|(file, value)| set(&place.directory, file, value))
    };
    match all() {
        Err(refusal) if refusal.error.kind() == io::ErrorKind::NotFound => {
            pass_on(place)?;
            all()
        }
        other => other,
    }
}

/// Tells every directory from the root to the parent to pass our controllers on.
pub(super) fn pass_on(place: &Place) -> Result<(), Refusal> {
    let wanted: Vec<String> = place.controllers.iter().map(|c| format!("+{}", c.name())).collect();
    let wanted = wanted.join(" ");
    let mut directories: Vec<_> =
        place.parent.ancestors().take_while(|d| d.starts_with(&place.mount)).collect();
    directories.reverse();
    directories.into_iter().try_for_each(|directory| set(directory, "cgroup.subtree_control", &wanted))
}

pub(super) fn open(place: &Place) -> Result<OwnedFd, Refusal> {
    let flags = nix::libc::O_PATH | nix::libc::O_DIRECTORY;
    let open = OpenOptions::new().read(true).custom_flags(flags).open(&place.directory);
    open.map(OwnedFd::from).map_err(Refusal::new(&place.directory))
}
