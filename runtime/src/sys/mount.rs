//! Mounts by descriptor: what was opened is what is mounted, and where.
//!
//! mount(2) takes paths, and between a check and the mount somebody may swap what a path leads to. These
//! calls, in Linux since 5.2, take descriptors instead.
//!
//! Man pages: open_tree(2), move_mount(2), mount_setattr(2), fsopen(2) (in man-pages since 6.14). Look at it:
//! `strace -f -e open_tree,move_mount,mount_setattr tare-runtime run --bundle DIR box`

use std::ffi::{CStr, c_int, c_uint};
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

const CLOEXEC: c_uint = libc::O_CLOEXEC as c_uint;
const EMPTY_PATH: c_uint = libc::AT_EMPTY_PATH as c_uint;
const RECURSIVE: c_uint = libc::AT_RECURSIVE as c_uint;

fn descriptor(result: libc::c_long) -> Result<OwnedFd, Errno> {
    let fd = Errno::result(result)?;
    // SAFETY: every caller passes what a system call that makes a descriptor just returned; nobody else
    // owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as c_int) })
}

/// A copy of the mount at `source` (opened with O_PATH), and with `recursive` of all below it, attached
/// nowhere yet.
///
/// # Errors
/// EINVAL if `source` belongs to another mount namespace, EPERM.
pub fn copy_tree(source: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd, Errno> {
    const OPEN_TREE_CLONE: c_uint = 1;
    let flags = OPEN_TREE_CLONE | CLOEXEC | EMPTY_PATH | if recursive { RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string; the rest are numbers.
    descriptor(unsafe { libc::syscall(libc::SYS_open_tree, source.as_raw_fd(), c"".as_ptr(), flags) })
}

/// Attaches `tree` at `target` (opened with O_PATH).
///
/// # Errors
/// ENOTDIR if one is a directory and the other is not, EINVAL.
pub fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    const FROM_EMPTY_PATH: c_uint = 0x04;
    const TO_EMPTY_PATH: c_uint = 0x40;
    let empty = c"".as_ptr();
    let flags = FROM_EMPTY_PATH | TO_EMPTY_PATH;
    // SAFETY: both paths are empty C strings; the rest are numbers.
    let done = unsafe {
        libc::syscall(libc::SYS_move_mount, tree.as_raw_fd(), empty, target.as_raw_fd(), empty, flags)
    };
    Errno::result(done).map(drop)
}

/// What to change about a mount: bits of `MOUNT_ATTR_*` to set, and `MS_SHARED`, `MS_SLAVE`, ... or 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Set these.
    pub set: u64,
    /// Clear these.
    pub clear: u64,
    /// How it propagates from now on; 0 leaves it.
    pub propagation: u64,
}

/// Changes the mount that `tree` stands for, and with `recursive` all below it: read-only then means all
/// of it, which a remount by path never did.
///
/// # Errors
/// ENOSYS before Linux 5.12, EPERM if a flag is locked in a user namespace.
pub fn set_attributes(tree: BorrowedFd<'_>, attributes: Attributes, recursive: bool) -> Result<(), Errno> {
    #[repr(C)]
    struct MountAttr {
        set: u64,
        clear: u64,
        propagation: u64,
        userns: u64,
    }
    let Attributes { set, clear, propagation } = attributes;
    let attr = MountAttr { set, clear, propagation, userns: 0 };
    let flags = EMPTY_PATH | if recursive { RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string; the kernel reads one mount_attr of the size passed, laid out
    // as in linux/mount.h.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    Errno::result(done).map(drop)
}

/// A file system of `kind` with the kernel's defaults, mounted nowhere: no path leads into it.
///
/// # Errors
/// ENODEV if the kernel has no such file system, EPERM.
pub fn private_file_system(kind: &CStr) -> Result<OwnedFd, Errno> {
    const FSOPEN_CLOEXEC: c_uint = 1;
    const FSMOUNT_CLOEXEC: c_uint = 1;
    const FSCONFIG_CMD_CREATE: c_uint = 6;
    // SAFETY: `kind` is a C string.
    let context = descriptor(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) })?;
    let (fd, none) = (context.as_raw_fd(), std::ptr::null::<u8>());
    // SAFETY: this command takes no key and no value.
    Errno::result(unsafe { libc::syscall(libc::SYS_fsconfig, fd, FSCONFIG_CMD_CREATE, none, none, 0) })?;
    // SAFETY: takes numbers only.
    descriptor(unsafe { libc::syscall(libc::SYS_fsmount, fd, FSMOUNT_CLOEXEC, 0) })
}

/// A descriptor without a name: memory that no path leads to, which can be sealed.
///
/// # Errors
/// EMFILE, ENOMEM.
pub fn memfd(name: &CStr) -> Result<OwnedFd, Errno> {
    const FLAGS: c_uint = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING | libc::MFD_EXEC;
    // SAFETY: `name` is a C string.
    match descriptor(unsafe { libc::syscall(libc::SYS_memfd_create, name.as_ptr(), FLAGS) }) {
        // MFD_EXEC came with Linux 6.3; before, memory was executable anyway.
        Err(Errno::EINVAL) => {
            let flags = FLAGS & !libc::MFD_EXEC;
            // SAFETY: as above.
            descriptor(unsafe { libc::syscall(libc::SYS_memfd_create, name.as_ptr(), flags) })
        }
        other => other,
    }
}
