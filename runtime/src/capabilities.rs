//! Capabilities: root's power cut into pieces, and most of the pieces thrown away.
//!
//! The kernel asks for a capability, not for uid 0. What the box keeps is what servers need to serve
//! (bind low ports, change owners and users); what it loses would reach the host: mounting, loading
//! modules, setting the clock, tracing. Without this step root in the box could mount the host's disk.
//!
//! A process has five sets of them: *effective* is what counts when the kernel asks, *permitted* what may be
//! made effective, *bounding* the most that exec may ever give, *inheritable* and *ambient* what is carried
//! over exec by a user who is not root.
//!
//! The bounding set comes first: exec gives a root process all of it, so what is missing there can
//! never come back. Inheritable and ambient sets are empty unless a bundle asks for them, for they
//! survive a change of user (CVE-2022-24769).
//!
//! Steps: `bounding-set`, `identity`, `capabilities`.
//!
//! Man page: capabilities(7). Look at it: `grep Cap /proc/self/status` inside; outside
//! `capsh --decode=00000000a00425fb` names the bits (Debian: libcap2-bin)

use nix::errno::Errno;

use crate::blueprint::{Capabilities, User};
use crate::report::Fault;
use crate::sys;

/// Takes away for ever what is not in the bounding set.
pub(crate) fn bound(sets: Capabilities) -> Result<(), Fault> {
    for capability in (0..64).filter(|c| sets.bounding & (1 << c) == 0) {
        match sys::drop_bounding(capability) {
            Ok(()) => {}
            // Beyond the last one that this kernel knows. Those that are kept were known when they were
            // parsed; one that this kernel lacks is found by the step that sets it.
            Err(Errno::EINVAL) => break,
            Err(errno) => return Err(Fault { object: 0, errno }),
        }
    }
    Ok(())
}

/// Becomes the user, with exactly the groups that were asked for (CVE-2022-36109).
pub(crate) fn become_user(user: &User, rootless: bool) -> Result<(), Fault> {
    if user.uid != 0 {
        sys::keep_capabilities().map_err(Fault::of(1))?;
    }
    // A user namespace made without help has setgroups denied: the caller's groups stay, but they
    // read as 65534 inside and cannot be used to gain anything.
    if !rootless {
        sys::set_groups(&user.groups).map_err(Fault::of(0))?;
    }
    sys::become_user(user.uid, user.gid).map_err(Fault::of(1))
}

/// Keeps the sets that were asked for and no more.
pub(crate) fn drop_others(sets: Capabilities) -> Result<(), Fault> {
    sys::clear_ambient().map_err(Fault::of(1))?;
    sys::set_capability_sets(sets.effective, sets.permitted, sets.inheritable).map_err(Fault::of(0))?;
    for capability in (0..64).filter(|c| sets.ambient & (1 << c) != 0) {
        sys::raise_ambient(capability).map_err(Fault::of(1))?;
    }
    Ok(())
}

/// The words for a fault's number.
pub(crate) fn object(index: u16) -> String {
    ["effective, permitted and inheritable sets", "ambient set"]
        .get(usize::from(index))
        .map_or_else(String::new, ToString::to_string)
}
