//! /proc and /sys, and what is hidden or read-only in them.
//!
//! Both are windows into the kernel, mounted afresh so that they show the box's own namespaces. Not
//! everything in them belongs to a namespace: /proc/sysrq-trigger restarts the host, /proc/kcore is
//! its memory. So parts are covered and parts made read-only. Without /proc `ps` finds nothing; without
//! the covers root in the box reads the host's secrets.
//!
//! Man pages: proc(5), sysfs(5), mount(2). Look at it: `cat /proc/kcore | wc -c; mount` inside

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::mkdir;

use crate::confinement::{Cover, MASKED_PATHS, Mount, READONLY_PATHS, SYS};
use crate::report::Fault;
use crate::sys::{self, MsFlags};

const NONE: Option<&CStr> = None;

/// Mounts onto a directory of the image. The image may be hostile: the target must be a real directory
/// (a symbolic link at /proc would move the mount, CVE-2019-16884), so it is opened without following
/// and the mount goes onto what was opened.
pub(crate) fn onto_image(mount: &Mount, rootless: bool) -> Result<(), Fault> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let target = match open(mount.target, flags, Mode::empty()) {
        Err(Errno::ENOENT) => mkdir(mount.target, Mode::from_bits_truncate(0o755))
            .and_then(|()| open(mount.target, flags, Mode::empty())),
        other => other,
    };
    sys::fchdir(target.map_err(Fault::of(0))?).map_err(Fault::of(0))?;
    at(mount, c".", rootless).map_err(Fault::of(0))
}

/// Mounts at a path that the box's own fresh file systems hold, where no image has a say.
pub(crate) fn at(mount: &Mount, target: &CStr, rootless: bool) -> Result<(), Errno> {
    let data = if rootless { mount.data_rootless } else { mount.data };
    sys::mount(Some(mount.source), target, Some(mount.kind), mount.flags, Some(data))
}

/// Mounts /sys. Where a user namespace may not mount its own (the host's is partly covered, as in a
/// container), the host's is bound read-only: it shows the host's network interfaces, no more.
pub(crate) fn sys(old_root: &OwnedFd, rootless: bool) -> Result<(), Fault> {
    match onto_image(&SYS, rootless) {
        Err(Fault { errno: Errno::EPERM, .. }) if rootless => {
            sys::fchdir(old_root).map_err(Fault::of(0))?;
            let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
            sys::mount(Some(c"sys"), SYS.target, NONE, bind, NONE).map_err(Fault::of(0))?;
            read_only(SYS.target).map_err(Fault::of(0))
        }
        other => other,
    }
}

/// Covers what must not be seen. One empty tmpfs serves for all directories: the first is mounted, the
/// others are bound from it, and since the file system itself is read-only so are they all.
pub(crate) fn cover() -> Result<(), Fault> {
    let mut empty: Option<&CStr> = None;
    for (index, (path, cover)) in MASKED_PATHS.iter().enumerate() {
        let done = match (cover, empty) {
            (Cover::Null, _) => sys::mount(Some(c"/dev/null"), *path, NONE, MsFlags::MS_BIND, NONE),
            (Cover::Empty, Some(first)) => sys::mount(Some(first), *path, NONE, MsFlags::MS_BIND, NONE),
            (Cover::Empty, None) => {
                let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
                sys::mount(Some(c"tmpfs"), *path, Some(c"tmpfs"), flags, Some(c"size=4k,nr_inodes=1"))
            }
        };
        match done {
            Ok(()) if *cover == Cover::Empty => empty = empty.or(Some(path)),
            // This kernel does not have the path. /dev/null exists: the step before made it.
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(Fault { object: index as u16, errno }),
        }
    }
    Ok(())
}

/// Makes parts of /proc read-only: binds each onto itself, for "read-only" belongs to a mount.
pub(crate) fn freeze() -> Result<(), Fault> {
    for (index, path) in READONLY_PATHS.iter().enumerate() {
        match sys::mount(Some(*path), *path, NONE, MsFlags::MS_BIND, NONE) {
            Ok(()) => read_only(path).map_err(Fault::of(index))?,
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(Fault { object: index as u16, errno }),
        }
    }
    Ok(())
}

/// The other flags are repeated, because remounting without them would clear them, which the kernel
/// forbids in a user namespace.
fn read_only(path: &CStr) -> Result<(), Errno> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    let kept = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    sys::mount(NONE, path, NONE, flags | kept, NONE)
}
