//! The user namespace's id map: who "root" is when root is not root.
//!
//! An unprivileged user may make a user namespace and is root in it, over what the namespace owns and
//! nothing else. The map says which ids inside stand for which outside. Without one every file belongs
//! to `nobody` and creating one fails with EOVERFLOW.
//!
//! That root can still not do what reaches beyond its namespace: make device nodes, give a file to an id that
//! is not mapped, set limits in cgroups that are not its user's.
//!
//! We map the one id that needs nobody's help: 0 inside is the caller outside. `setgroups` must be
//! denied first, or a group that takes rights away could be left by entering a namespace
//! (CVE-2014-8989).
//!
//! A bundle may ask for a whole range of ids. That takes a right outside, so the parent writes those maps
//! (it must be root), and the child waits at a pipe until they are written.
//!
//! Step: `idmap`.
//!
//! Man page: user_namespaces(7). Look at it: `cat /proc/self/uid_map` inside

use std::ffi::{CStr, CString};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sched::CloneFlags;
use nix::sys::stat::Mode;
use nix::unistd::{getegid, geteuid, pipe2, read, write};

use crate::blueprint::Namespaces;
use crate::error::{Error, Result};
use crate::report::Fault;
use crate::sys;

/// Who writes the maps, and what.
#[derive(Debug)]
pub(crate) enum Plan {
    /// The new process: 0 inside is the caller outside.
    Own {
        /// The line of uid_map.
        uid: CString,
        /// The line of gid_map.
        gid: CString,
    },
    /// The parent; the new process waits at the pipe.
    ByParent {
        /// The contents of uid_map and gid_map.
        maps: [String; 2],
        /// Read by the child.
        gate: OwnedFd,
        /// Written by the parent.
        key: OwnedFd,
    },
}

/// The files, by the number under which a fault names them.
const FILES: [&CStr; 3] = [c"/proc/self/setgroups", c"/proc/self/uid_map", c"/proc/self/gid_map"];

/// Plans the maps of a fresh user namespace. Called before the fork: afterwards the caller's ids read as
/// 65534.
///
/// # Errors
/// EMFILE.
pub(crate) fn prepare(namespaces: &Namespaces) -> std::result::Result<Option<Plan>, Errno> {
    if !namespaces.fresh.contains(CloneFlags::CLONE_NEWUSER) {
        return Ok(None);
    }
    if let Some(maps) = &namespaces.id_maps {
        let (gate, key) = pipe2(OFlag::O_CLOEXEC)?;
        return Ok(Some(Plan::ByParent { maps: maps.clone(), gate, key }));
    }
    let line = |id: u32| CString::new(format!("0 {id} 1\n")).unwrap_or_default();
    Ok(Some(Plan::Own { uid: line(geteuid().as_raw()), gid: line(getegid().as_raw()) }))
}

/// In the child: writes the maps, for a process may map its own id without any right, so no helper and no
/// round trip to the parent is needed; /proc is still the host's, where `self` is right all the same. Or
/// waits for the parent's.
pub(crate) fn apply(plan: &Plan) -> std::result::Result<(), Fault> {
    let (uid, gid) = match plan {
        Plan::Own { uid, gid } => (uid, gid),
        Plan::ByParent { gate, key, .. } => {
            // Our copy of the other end: with it we would wait for ever if the parent is killed.
            sys::close_copy(key.as_fd());
            return match read(gate, &mut [0]) {
                Ok(1) => Ok(()),
                // The parent is gone, or could not write them and says so itself.
                Ok(_) => Err(Fault { object: 1, errno: Errno::EPIPE }),
                Err(errno) => Err(Fault { object: 1, errno }),
            };
        }
    };
    for (index, (file, text)) in FILES.iter().zip([c"deny", uid.as_c_str(), gid.as_c_str()]).enumerate() {
        let fault = Fault::of(index);
        let fd = open(*file, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty()).map_err(&fault)?;
        // The kernel takes a map in one write, once.
        write(&fd, text.to_bytes()).map_err(&fault)?;
    }
    Ok(())
}

/// In the parent: writes the maps of the new process, if that is its part, and opens the gate.
///
/// # Errors
/// [`Error::Step`].
pub(crate) fn write_for(pid: i32, plan: &Plan) -> Result<()> {
    let Plan::ByParent { maps, key, .. } = plan else { return Ok(()) };
    for (file, map) in ["uid_map", "gid_map"].into_iter().zip(maps) {
        let path = format!("/proc/{pid}/{file}");
        fs::write(&path, map)
            .map_err(|error| Error::io("idmap", format!("{path}: {}", map.trim()), &error))?;
    }
    write(key, b"1").map(drop).map_err(|errno| Error::at("idmap", "pipe to the new process", errno))
}

/// The words for a fault's number.
pub(crate) fn object(index: u16) -> String {
    FILES.get(usize::from(index)).map_or_else(String::new, |file| file.to_string_lossy().into_owned())
}
