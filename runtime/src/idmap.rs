//! The user namespace's id map: who "root" is when root is not root.
//!
//! An unprivileged user may make a user namespace and is root in it, over what the namespace owns and
//! nothing else. The map says which ids inside stand for which outside. Without one every file belongs
//! to `nobody` and creating one fails with EOVERFLOW.
//!
//! We map the one id that needs nobody's help: 0 inside is the caller outside. `setgroups` must be
//! denied first, or a group that takes rights away could be left by entering a namespace
//! (CVE-2014-8989).
//!
//! Man page: user_namespaces(7). Look at it: `cat /proc/self/uid_map` inside

use std::ffi::{CStr, CString};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{getegid, geteuid, write};

use crate::report::Fault;

/// The files to write and what to write, in the order in which the kernel wants them.
#[derive(Debug)]
pub(crate) struct Plan {
    uid: CString,
    gid: CString,
}

/// The files, by the number under which a fault names them.
pub(crate) const FILES: [&CStr; 3] = [c"/proc/self/setgroups", c"/proc/self/uid_map", c"/proc/self/gid_map"];

/// Maps 0 to the caller. Called before the fork: afterwards the caller's ids read as 65534.
pub(crate) fn prepare() -> Plan {
    let line = |id: u32| CString::new(format!("0 {id} 1\n")).unwrap_or_default();
    Plan { uid: line(geteuid().as_raw()), gid: line(getegid().as_raw()) }
}

/// Writes the maps from inside: a process may map its own id without any right, so no helper and no
/// round trip to the parent is needed. /proc is still the host's, where `self` is right all the same.
pub(crate) fn apply(plan: &Plan) -> Result<(), Fault> {
    let texts = [c"deny", plan.uid.as_c_str(), plan.gid.as_c_str()];
    for (index, (file, text)) in FILES.iter().zip(texts).enumerate() {
        let fault = Fault::of(index);
        let fd = open(*file, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty()).map_err(&fault)?;
        // The kernel takes a map in one write, once.
        write(&fd, text.to_bytes()).map_err(&fault)?;
    }
    Ok(())
}
