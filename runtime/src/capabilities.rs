//! Capabilities: root's power cut into pieces, and most of the pieces thrown away.
//!
//! The kernel asks for a capability, not for uid 0. What the box keeps is what servers need to serve
//! (bind low ports, change owners and users); what it loses would reach the host: mounting, loading
//! modules, setting the clock, tracing. Without this step root in the box could mount the host's disk.
//!
//! The bounding set comes first: exec gives a root process all of it, so what is missing there can
//! never come back. Inheritable and ambient sets are emptied, for they survive a change of user
//! (CVE-2022-24769).
//!
//! Man page: capabilities(7). Look at it: `grep Cap /proc/self/status` inside, `capsh --decode=...`

use nix::errno::Errno;

use crate::confinement::CAPABILITY_MASK;
use crate::report::Fault;
use crate::sys;

/// The identity inside is user and group 0, with no further groups (CVE-2022-36109).
pub(crate) fn become_root(rootless: bool) -> Result<(), Fault> {
    // A user namespace made without help has setgroups denied: the caller's groups stay, but they
    // read as 65534 inside and cannot be used to gain anything.
    if !rootless {
        sys::clear_groups().map_err(Fault::of(0))?;
    }
    sys::become_user(0).map_err(Fault::of(1))
}

/// Drops everything that is not in the profile.
pub(crate) fn drop_others() -> Result<(), Fault> {
    for capability in (0..64).filter(|c| CAPABILITY_MASK & (1 << c) == 0) {
        match sys::drop_bounding(capability) {
            Ok(()) => {}
            // Beyond the last one that this kernel knows; all that we keep are below it.
            Err(Errno::EINVAL) => break,
            Err(errno) => return Err(Fault { object: 0, errno }),
        }
    }
    sys::clear_ambient().map_err(Fault::of(1))?;
    sys::set_capabilities(CAPABILITY_MASK).map_err(Fault::of(2))
}

/// The words for a fault's number.
pub(crate) fn object(index: u16) -> String {
    ["bounding set", "ambient set", "effective, permitted and inheritable sets"]
        .get(usize::from(index))
        .map_or_else(String::new, ToString::to_string)
}
