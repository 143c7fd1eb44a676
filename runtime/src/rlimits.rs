//! Resource limits of one process: how many files it may open, how large its stack may grow.
//!
//! Older than cgroups and of another kind: each process has its own copy, inherited by its children, and
//! nobody adds them up. Without this step the box would inherit the caller's.
//!
//! Step: `rlimits`.
//!
//! Man page: getrlimit(2). Look at it: `ulimit -a` inside

use nix::errno::Errno;
use nix::sys::resource::{Resource, setrlimit};

use crate::report::Fault;

/// One limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rlimit {
    /// Which.
    pub(crate) resource: Resource,
    /// In force.
    pub(crate) soft: u64,
    /// As far as the process itself may raise it.
    pub(crate) hard: u64,
}

/// Sets them. Fails with EPERM where a hard limit would be raised without CAP_SYS_RESOURCE.
pub(crate) fn apply(limits: &[Rlimit]) -> Result<(), Fault> {
    let set = |limit: &Rlimit| -> Result<(), Errno> { setrlimit(limit.resource, limit.soft, limit.hard) };
    limits.iter().enumerate().try_for_each(|(index, limit)| set(limit).map_err(Fault::of(index)))
}
