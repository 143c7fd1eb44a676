//! Cgroup version 2: one tree, and a controller works in a directory only if every directory above it
//! passes the controller on.
//!
//! The new process is born inside (`CLONE_INTO_CGROUP`), so nothing is moved at all. Without the
//! passing on, the limit's file is not there to be written.
//!
//! Man page: cgroups(7), "Cgroups version 2"; clone(2), CLONE_INTO_CGROUP. Look at it:
//! `cat /sys/fs/cgroup/cgroup.subtree_control /sys/fs/cgroup/tare/*/memory.max` (hybrid: below `unified`)

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::geteuid;

use super::{Controller, Place, Refusal, set, set_if_there, v1::PERIOD_MICROSECONDS};
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

/// Memory that the limit forbids is not to go to the swap space instead. Not on every host: a kernel that
/// does not count swap has no such file.
fn no_swap(controller: Controller, limits: &Limits) -> Option<(&'static str, String)> {
    (controller == Controller::Memory && limits.memory.is_some()).then(|| ("memory.swap.max", "0".to_owned()))
}

/// Whether the box would not be counted here, though nothing about this controller is limited.
fn is_uncounted(place: &Place, controller: Controller, limits: &Limits) -> bool {
    let file = match controller {
        Controller::Memory => "memory.current",
        Controller::Pids => "pids.current",
        Controller::Cpu | Controller::Devices => return false,
    };
    !controller.is_limited(limits) && !place.directory.join(file).exists()
}

/// Sets the limits, and says which could not be set and why. A control file that is missing means that a
/// directory above does not pass its controller on: let them, and try again. So a parent that is ready
/// costs nothing.
///
/// # Errors
/// Nothing can be limited here, for no process can be here.
pub(super) fn limit(place: &Place, limits: &Limits) -> Result<Refused, Refusal> {
    let apply = |controller: Controller| {
        let refused = |refusal| Some((controller, refusal));
        let values = values(&[controller], limits);
        let result = values.iter().try_for_each(|(file, value)| set(&place.directory, file, value));
        let swap =
            || no_swap(controller, limits).map_or(Ok(()), |(f, v)| set_if_there(&place.directory, f, &v));
        result.and_then(|()| swap()).err().and_then(refused)
    };
    let refused: Refused = place.controllers.iter().copied().filter_map(apply).collect();
    let is_missing = refused.iter().any(|(_, refusal)| refusal.error.kind() == io::ErrorKind::NotFound);
    if !is_missing && !place.controllers.iter().any(|c| is_uncounted(place, *c, limits)) {
        return Ok(refused);
    }
    check_type(place)?;
    let mut on_the_way = pass_on(place);
    let again = refused.into_iter().filter_map(|(controller, _)| apply(controller));
    // Why a directory above refused says more than that the file is still missing.
    let reason = |(controller, refusal)| match on_the_way.iter().position(|(c, _)| *c == controller) {
        Some(at) => on_the_way.swap_remove(at),
        None => (controller, refusal),
    };
    Ok(again.map(reason).collect())
}

/// Controllers whose limits are not in force, each with what the kernel said.
type Refused = Vec<(Controller, Refusal)>;

/// A threaded cgroup holds single threads and not whole processes. A new directory below one is of no use
/// until it is threaded too, and then takes no process from outside.
fn check_type(place: &Place) -> Result<(), Refusal> {
    let path = place.directory.join("cgroup.type");
    match fs::read_to_string(&path) {
        Ok(kind) if kind.trim() == "domain invalid" => Err(Refusal {
            path,
            error: Errno::EOPNOTSUPP.into(),
            why: "a cgroup above it is threaded, so it cannot hold the container's process",
        }),
        _ => Ok(()),
    }
}

/// Tells every directory from the root to the parent to pass our controllers on, where it does not
/// already: the upper ones may belong to somebody else. Returns the controllers that do not come through.
pub(super) fn pass_on(place: &Place) -> Refused {
    let mut wanted = place.controllers.clone();
    let mut refused = Refused::new();
    let mut directories: Vec<_> =
        place.parent.ancestors().take_while(|d| d.starts_with(&place.mount)).collect();
    directories.reverse();
    for directory in directories {
        let on = fs::read_to_string(directory.join(SUBTREE_CONTROL)).unwrap_or_default();
        let is_on = |c: &Controller| on.split_whitespace().any(|name| name == c.name());
        let missing: Vec<Controller> = wanted.iter().copied().filter(|c| !is_on(c)).collect();
        let words: Vec<String> = missing.iter().map(|c| format!("+{}", c.name())).collect();
        if missing.is_empty() {
            continue;
        }
        let vacant = is_vacant(directory);
        let tell = |words: &str| match vacant {
            true => set(directory, SUBTREE_CONTROL, words),
            false => Err(Refusal::new(&directory.join(SUBTREE_CONTROL))(Errno::EBUSY.into())),
        };
        if tell(&words.join(" ")).is_ok() {
            continue;
        }
        // The kernel takes all words of a write or none; one that it lacks must not cost the others.
        for (controller, word) in missing.into_iter().zip(words) {
            if let Err(refusal) = tell(&word) {
                wanted.retain(|c| *c != controller);
                refused.push((controller, explain(refusal)));
            }
        }
    }
    refused
}

const SUBTREE_CONTROL: &str = "cgroup.subtree_control";

/// Whether no processes forbid the directory to pass controllers on; in the root they may be. The kernel
/// refuses that for memory only: told to pass on pids or cpu, it would make somebody else's cgroup the root
/// of a threaded subtree, in which no container can live.
fn is_vacant(directory: &Path) -> bool {
    let is_root = !directory.join("cgroup.type").exists();
    is_root || fs::read_to_string(directory.join("cgroup.procs")).is_ok_and(|pids| pids.is_empty())
}

/// What the kernel's answers mean at this file, where they mislead.
fn explain(refusal: Refusal) -> Refusal {
    let why = match refusal.error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EBUSY) => "processes are in this cgroup, and only one without any passes controllers on",
        Some(Errno::ENOENT) => "the cgroup above does not pass this controller on",
        Some(Errno::EOPNOTSUPP) => "a threaded cgroup cannot pass this controller on",
        Some(Errno::EACCES | Errno::EPERM) => "this cgroup is not delegated to this user",
        _ => refusal.why,
    };
    Refusal { why, ..refusal }
}

/// Being born in a cgroup takes the same right as moving there: to write to `cgroup.procs` of the directory
/// that both the old and the new one are in. Without this look, clone3 would say EACCES and not why.
fn check_entry(place: &Place) -> Result<(), Refusal> {
    if geteuid().is_root() {
        return Ok(());
    }
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let own = place.mount.join(own);
    let common = place.parent.ancestors().find(|d| own.starts_with(d)).unwrap_or(&place.mount);
    let path = common.join("cgroup.procs");
    let why = "starting in another cgroup takes the right to write here; be in a delegated cgroup above the \
               container's (systemd-run --user --scope)";
    OpenOptions::new().write(true).open(&path).map(drop).map_err(|error| Refusal { path, error, why })
}

/// The directory, to be born in, and for the program that decides about devices.
///
/// # Errors
/// This user may not be.
pub(super) fn open(place: &Place) -> Result<OwnedFd, Refusal> {
    check_entry(place)?;
    let flags = nix::libc::O_PATH | nix::libc::O_DIRECTORY;
    let open = OpenOptions::new().read(true).custom_flags(flags).open(&place.directory);
    open.map(OwnedFd::from).map_err(Refusal::new(&place.directory))
}
