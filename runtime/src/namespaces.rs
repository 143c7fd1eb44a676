//! Namespaces: the kernel's own tables, one set per box.
//!
//! A namespace is a table that the kernel looks things up in: processes, mounts, network interfaces,
//! System V and POSIX queues, the host name, the cgroup tree, user ids. A box is a process whose tables
//! are not yours. Without them the box would see and signal your processes, change your mounts, and
//! listen on your ports.
//!
//! Man page: namespaces(7). Look at it: `ls -l /proc/self/ns` on the host and inside

use nix::errno::Errno;
use nix::sched::CloneFlags;

use crate::report::Fault;
use crate::sys;

/// The namespaces that the new process is born in. The cgroup namespace is missing on purpose: see
/// [`enter_cgroup_namespace`].
pub(crate) fn at_birth(rootless: bool) -> CloneFlags {
    let flags = CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    // The kernel makes the user namespace first and lets it own the others: in it we may do what
    // takes root outside.
    if rootless { flags | CloneFlags::CLONE_NEWUSER } else { flags }
}

/// Makes the cgroup namespace. Its root is the cgroup that the caller is in *now*: made at birth, even
/// together with CLONE_INTO_CGROUP, it would be the parent's, and the box could read where it lies.
pub(crate) fn enter_cgroup_namespace() -> Result<(), Fault> {
    sys::unshare(CloneFlags::CLONE_NEWCGROUP).map_err(Fault::of(0))
}

/// Sets the host name, which the UTS namespace keeps. The file system's name for it, /etc/hostname, is
/// the image's business.
pub(crate) fn set_hostname(name: &std::ffi::OsStr) -> Result<(), Fault> {
    sys::sethostname(name).map_err(Fault::of(0))
}

/// A session of its own, so that the box has no controlling terminal: with the caller's it could push
/// characters into the caller's shell (TIOCSTI). Then signals as a new program expects them, and no
/// umask while the box is being built, so that modes are what the recipe says.
pub(crate) fn new_session() -> Result<(), Fault> {
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
