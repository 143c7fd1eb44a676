//! Open descriptors: which go with a program, and which end before it.
//!
//! A descriptor of the host that is open in a box is a way out of it (CVE-2024-21626). Without these calls each file that
//! the runtime, or whoever called it, had open would be in every box.
//!
//! Man page: close_range(2). Look at it: `ls -l /proc/PID/fd` of a box's first process.

use std::ffi::c_uint;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::Errno;

/// Marks every descriptor from `first` upwards close-on-exec.
///
/// # Errors
/// ENOSYS or EINVAL before Linux 5.11.
pub fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    // SAFETY: the call takes numbers only and closes nothing yet, so no owner loses a descriptor.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    Errno::result(done).map(drop)
}

/// Closes every descriptor from `first` upwards, for a program that has just begun and opened none itself: these are
/// what somebody before it had left open.
///
/// # Errors
/// ENOSYS before Linux 5.9.
pub(crate) fn close_from(first: u32) -> Result<(), Errno> {
    // SAFETY: takes numbers only. Nothing in this process owns one of these descriptors: see above.
    Errno::result(unsafe { libc::syscall(libc::SYS_close_range, first, c_uint::MAX, 0) }).map(drop)
}

/// Lets descriptor number `fd` survive exec.
///
/// # Errors
/// EBADF.
pub fn keep_on_exec(fd: RawFd) -> Result<(), Errno> {
    // SAFETY: F_SETFD with a number clears a flag; no descriptor is opened, closed or owned by it.
    Errno::result(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) }).map(drop)
}

/// Closes this process's copy of `fd`, whose owner is on the other side of the fork.
///
/// For use in a forked child only: there the owner's destructor never runs.
pub fn close_copy(fd: BorrowedFd<'_>) {
    // SAFETY: the child's table is its own; it ends in exec or exit, so the owner that was copied with
    // the memory never closes the number again and nothing in the child uses it.
    unsafe { libc::close(fd.as_raw_fd()) };
}

/// Closes this process's copies of all descriptors from `first` upwards but `kept`; their owners are on the other side
/// of the fork.
///
/// For use in a forked child only, as [`close_copy`].
///
/// # Errors
/// ENOSYS before Linux 5.9.
pub fn close_copies_from(first: u32, kept: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut from = first;
    loop {
        let numbers = kept.iter().map(|fd| fd.as_raw_fd().unsigned_abs());
        let next = numbers.filter(|number| *number >= from).min();
        if next != Some(from) {
            let last = next.map_or(c_uint::MAX, |next| next - 1);
            // SAFETY: takes numbers only, and closes the child's own copies: see `close_copy`.
            Errno::result(unsafe { libc::syscall(libc::SYS_close_range, from, last, 0) })?;
        }
        let Some(next) = next else { return Ok(()) };
        from = next + 1;
    }
}

/// Takes ownership of a descriptor number that fcntl's F_DUPFD just returned.
pub(crate) fn owned(fd: RawFd) -> OwnedFd {
    // SAFETY: callers pass a number that the kernel handed out in the statement before and that has
    // no other owner.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
