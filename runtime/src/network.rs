//! The network namespace's loopback interface.
//!
//! A new network namespace has one interface, `lo`, and it is down. Without this step a server in the
//! box could not even talk to itself: connecting to 127.0.0.1 fails with "network is unreachable".
//! Nothing leads out of the box: to connect it is an engine's work, between `create` and `start`.
//!
//! Step: `loopback`.
//!
//! Man pages: network_namespaces(7), netdevice(7). Look at it: `ip addr` inside

use std::ffi::CStr;

use nix::sched::CloneFlags;

use crate::report::Fault;
use crate::sys;

/// The loopback interface's name.
pub(crate) const LOOPBACK: &CStr = c"lo";

/// Brings it up; the kernel then gives it 127.0.0.1 and ::1 by itself.
pub(crate) fn loopback_up(fresh: CloneFlags) -> Result<(), Fault> {
    // In somebody else's network namespace it is theirs to decide.
    if !fresh.contains(CloneFlags::CLONE_NEWNET) {
        return Ok(());
    }
    sys::interface_up(LOOPBACK).map_err(Fault::of(0))
}
