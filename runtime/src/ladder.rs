//! The ladder: a box that has only the first mechanisms, to see what each costs.
//!
//! `run --until STEP` climbs that far. Each rung is a box that works: below "pivot" the command still sees
//! the host's files, below "bounding-set" it has all of root's power. So this is for measuring and for
//! teaching, never for running anything you did not write. Without it you would have to believe that each
//! mechanism does something, and what.
//!
//! Man page: that of the rung's mechanism. Look at it:
//! `tare-runtime run --until mount --rootfs DIR box -- /bin/sh -c 'ls -l /proc/self/ns'`

use nix::sched::CloneFlags;

use crate::error::{Error, Result};

/// The rungs, in the order in which they are climbed: no mechanism at all, then one more each.
pub const RUNGS: &[&str] = &[
    "process",
    "cgroup",
    "pid",
    "mount",
    "network",
    "ipc",
    "uts",
    "session",
    "private",
    "overlay",
    "pivot",
    "proc",
    "sys",
    "dev",
    "devices",
    "cgroup-namespace",
    "mask",
    "read-only",
    "detach",
    "hostname",
    "loopback",
    "bounding-set",
    "identity",
    "capabilities",
    "no-new-privileges",
    "seccomp",
];

/// The namespaces among them.
const NAMESPACES: [(&str, CloneFlags); 5] = [
    ("pid", CloneFlags::CLONE_NEWPID),
    ("mount", CloneFlags::CLONE_NEWNS),
    ("network", CloneFlags::CLONE_NEWNET),
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("uts", CloneFlags::CLONE_NEWUTS),
];

/// The rung of that name.
///
/// # Errors
/// [`Error::Spec`] with the names there are.
pub(crate) fn rung(name: &str) -> Result<&'static str> {
    RUNGS.iter().copied().find(|rung| *rung == name).ok_or_else(|| Error::Spec {
        field: "until".into(),
        why: format!("no rung is called {name:?} (there are {})", RUNGS.join(", ")),
    })
}

/// Whether a box that ends at `until` has the mechanism `name`. What is no rung is no mechanism either,
/// but part of starting anything at all.
pub(crate) fn reaches(until: Option<&str>, name: &str) -> bool {
    let place = |name: &str| RUNGS.iter().position(|rung| *rung == name);
    match (until.and_then(place), place(name)) {
        (Some(last), Some(this)) => this <= last,
        _ => true,
    }
}

/// The namespaces of `all` that a box that ends at `until` has.
pub(crate) fn namespaces(until: Option<&str>, all: CloneFlags) -> CloneFlags {
    let last = ("cgroup-namespace", CloneFlags::CLONE_NEWCGROUP);
    let beyond = NAMESPACES.iter().chain([&last]).filter(|(name, _)| !reaches(until, name));
    beyond.fold(all, |flags, (_, flag)| flags.difference(*flag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::RECIPE;

    #[test]
    fn every_rung_is_a_step_or_a_namespace_and_in_the_recipes_order() {
        let steps: Vec<&str> = RECIPE.iter().map(|step| step.name).collect();
        let mut last = 0;
        for rung in RUNGS.iter().skip(1).filter(|r| NAMESPACES.iter().all(|(name, _)| name != *r)) {
            let place = steps.iter().position(|step| step == rung).unwrap_or_else(|| panic!("{rung}"));
            assert!(place >= last, "{rung}");
            last = place;
        }
    }

    #[test]
    fn a_box_has_what_stands_before_its_last_rung() {
        assert!(reaches(None, "seccomp"));
        assert!(reaches(Some("pivot"), "overlay"));
        assert!(!reaches(Some("pivot"), "proc"));
        assert!(reaches(Some("process"), "exec"));
        assert_eq!(namespaces(Some("process"), crate::namespaces::ALL), CloneFlags::empty());
    }
}
