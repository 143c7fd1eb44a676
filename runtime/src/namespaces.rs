//! Namespaces: the kernel's own tables, one set per box.
//!
//! A namespace is a table that the kernel looks things up in: processes, mounts, network interfaces,
//! System V and POSIX queues, the host name, the cgroup tree, user ids. A box is a process whose tables
//! are not yours. Without them the box would see and signal your processes, change your mounts, and
//! listen on your ports.
//!
//! A namespace hides names and takes nothing away: the box runs on the same kernel, and the host sees its
//! processes among all others. It is also not the whole of the illusion: `ps` reads /proc, so a box that saw
//! the host's /proc would still show the host's processes. `mounts.rs` mounts a new one.
//!
//! The first process of a pid namespace is process 1 there, and the kernel keeps it as it keeps the host's: a
//! signal for which it has no handler is dropped, and from inside KILL is too, for which nobody can have one;
//! and when it ends, all others of its namespace are killed. So `kill -9 1` inside does nothing. Outside it
//! is a process with an ordinary number, KILL works, and ends the whole box.
//!
//! The cgroup namespace is made last, by a process that is in its cgroup already: it shows the cgroup in
//! which its maker is at that moment as `/`.
//!
//! Steps: `join`, `session`, `cgroup-namespace`, `hostname`.
//!
//! Man pages: namespaces(7), pid_namespaces(7). Look at it: `ls -l /proc/self/ns` on the host and inside

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};

use crate::error::{Error, Result};
use crate::report::Fault;
use crate::sys;

/// The six that every box has of its own. The user namespace is added where we are not root: the kernel
/// makes it first and lets it own the others, so in it we may do what takes root outside.
pub(crate) const ALL: CloneFlags = CloneFlags::CLONE_NEWPID
    .union(CloneFlags::CLONE_NEWNS)
    .union(CloneFlags::CLONE_NEWNET)
    .union(CloneFlags::CLONE_NEWIPC)
    .union(CloneFlags::CLONE_NEWUTS)
    .union(CloneFlags::CLONE_NEWCGROUP);

/// Opens the namespaces of others, before the fork.
///
/// # Errors
/// [`Error::Step`] naming the file.
pub(crate) fn open(joined: &[(CloneFlags, PathBuf)]) -> Result<Vec<(CloneFlags, OwnedFd)>> {
    let one = |(kind, path): &(CloneFlags, PathBuf)| {
        let file = File::open(path).map_err(|e| Error::io("join", path.display().to_string(), &e))?;
        Ok((*kind, file.into()))
    };
    joined.iter().map(one).collect()
}

/// Enters them.
pub(crate) fn join(joined: &[(CloneFlags, OwnedFd)]) -> std::result::Result<(), Fault> {
    joined.iter().enumerate().try_for_each(|(index, (kind, fd))| setns(fd, *kind).map_err(Fault::of(index)))
}

/// Makes the cgroup namespace. Its root is the cgroup that the caller is in *now*: made at birth, even
/// together with CLONE_INTO_CGROUP, it would be the parent's, and the box could read where it lies.
pub(crate) fn enter_cgroup_namespace(fresh: CloneFlags) -> std::result::Result<(), Fault> {
    match fresh.contains(CloneFlags::CLONE_NEWCGROUP) {
        true => sys::unshare(CloneFlags::CLONE_NEWCGROUP).map_err(Fault::of(0)),
        false => Ok(()),
    }
}

/// Sets the host and domain name, which the UTS namespace keeps. The file system's name for it,
/// /etc/hostname, is the image's business.
pub(crate) fn set_names(host: Option<&CStr>, domain: Option<&CStr>) -> std::result::Result<(), Fault> {
    if let Some(name) = host {
        sys::set_host_name(name).map_err(Fault::of(0))?;
    }
    domain.map_or(Ok(()), |name| sys::set_domain_name(name).map_err(Fault::of(1)))
}

/// A session of its own, so that the box has no controlling terminal: with the caller's it could push
/// characters into the caller's shell (TIOCSTI). Then signals as a new program expects them, and no
/// umask while the box is being built, so that modes are what the recipe says.
pub(crate) fn new_session() -> std::result::Result<(), Fault> {
    match sys::setsid() {
        // The first process of a pid namespace leads no group yet, so this cannot fail; a caller
        // that leads one already has what we want.
        Ok(_) | Err(Errno::EPERM) => {}
        Err(errno) => return Err(Fault { object: 0, errno }),
    }
    sys::reset_signals().map_err(Fault::of(1))?;
    nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    Ok(())
}
