//! A file system that is mounted and stands nowhere: fsopen(2), fsmount(2).
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

/// FSOPEN_CLOEXEC and FSMOUNT_CLOEXEC of linux/mount.h.
const CLOEXEC: libc::c_long = 1;
/// FSCONFIG_CMD_CREATE of linux/mount.h.
const CREATE: libc::c_long = 6;

/// Mounts a file system of this type in no mount namespace: only the descriptor leads to it, and it is gone with
/// it.
///
/// # Errors
/// `EPERM` without the right to mount, `ENODEV` where the kernel has no such file system.
pub(super) fn mount_nowhere(kind: &CStr) -> nix::Result<OwnedFd> {
    // SAFETY: the kernel reads the string up to its null, and no memory else.
    let context = owned(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), CLOEXEC) })?;
    let none = std::ptr::null::<libc::c_char>();
    // SAFETY: this command takes neither key nor value; the descriptor is open as long as `context` lives.
    let created = unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), CREATE, none, none, 0) };
    Errno::result(created)?;
    // SAFETY: three numbers; the descriptor is open as long as `context` lives.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), CLOEXEC, 0) })
}

fn owned(fd: libc::c_long) -> nix::Result<OwnedFd> {
    let fd = Errno::result(fd)?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else in the process knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
