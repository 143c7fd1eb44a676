//! Kernel settings of the box's own namespaces.
//!
//! /proc/sys holds settings of the whole host and settings that each namespace has a copy of. A box may
//! be given values for the latter; the former are refused, since they would change the host.
//!
//! The path is not the box's /proc/sys: a bundle can mount over it, and then the value would be written
//! into a file of the bundle's choosing (CVE-2025-52881). We open a procfs of our own that is mounted
//! nowhere, follow no link and leave no mount on the way.
//!
//! Step: `sysctl`.
//!
//! Man pages: proc_sys(5), namespaces(7). Look at it: `sysctl kernel.hostname` inside and outside

use std::ffi::CString;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sched::CloneFlags;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::write;

use crate::report::Fault;
use crate::sys::mount::private_file_system;

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sysctl {
    /// Below /proc: `sys/kernel/domainname`.
    pub(crate) path: CString,
    pub(crate) value: CString,
}

/// The namespace that has a copy of the setting `name` ("net.ipv4.ip_forward"), if any has.
pub(crate) fn namespace_of(name: &str) -> Option<CloneFlags> {
    const IPC: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    match name {
        _ if name.starts_with("net.") => Some(CloneFlags::CLONE_NEWNET),
        _ if name.starts_with("fs.mqueue.") || IPC.contains(&name) => Some(CloneFlags::CLONE_NEWIPC),
        // The host name is a field of its own; this is the other value of the UTS namespace.
        "kernel.domainname" => Some(CloneFlags::CLONE_NEWUTS),
        _ => None,
    }
}

/// Writes them.
pub(crate) fn apply(settings: &[Sysctl]) -> Result<(), Fault> {
    if settings.is_empty() {
        return Ok(());
    }
    let proc = private_file_system(c"proc").map_err(Fault::of(0))?;
    settings.iter().enumerate().try_for_each(|(index, one)| set(&proc, one).map_err(Fault::of(index)))
}

fn set(proc: &OwnedFd, setting: &Sysctl) -> Result<(), Errno> {
    let resolve = ResolveFlag::RESOLVE_NO_XDEV
        .union(ResolveFlag::RESOLVE_NO_SYMLINKS)
        .union(ResolveFlag::RESOLVE_BENEATH);
    let how = OpenHow::new().flags(OFlag::O_WRONLY | OFlag::O_CLOEXEC).resolve(resolve);
    let file = openat2(proc, setting.path.as_c_str(), how)?;
    // Only the kernel's own file system takes settings.
    if fstatfs(&file)?.filesystem_type() != PROC_SUPER_MAGIC {
        return Err(Errno::EXDEV);
    }
    write(&file, setting.value.to_bytes()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_the_whole_host_belong_to_no_namespace() {
        for name in ["kernel.panic", "vm.swappiness", "kernel.core_pattern", "fs.file-max", "kernel.hostname"]
        {
            assert_eq!(namespace_of(name), None, "{name}");
        }
        assert_eq!(namespace_of("net.core.somaxconn"), Some(CloneFlags::CLONE_NEWNET));
    }
}
