//! Pseudo-terminals, and descriptors sent through a socket.
//!
//! A pseudo-terminal has two ends: what is written into the outer one the inner one's program reads as typed.
//! A descriptor sent through a socket becomes one of the receiver's. Without the first `run -t` had no keys
//! to pass on, without the second nobody outside had the outer end.
//!
//! Man pages: ioctl_tty(2), pty(7), sendmsg(2), unix(7). Look at it:
//! `strace -f -e ioctl,sendmsg,recvmsg tare-runtime run -t --rootfs DIR box -- /bin/true`

use std::io::IoSliceMut;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

/// Allows the inner end of the pseudo-terminal `outer` to be opened.
///
/// # Errors
/// ENOTTY if it is none.
pub fn unlock(outer: BorrowedFd<'_>) -> Result<(), Errno> {
    let unlocked: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int.
    Errno::result(unsafe { libc::ioctl(outer.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) }).map(drop)
}

/// Opens the inner end, by descriptor: no path is asked.
///
/// # Errors
/// EIO while it is locked.
pub fn peer(outer: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes open flags as a number.
    let fd = Errno::result(unsafe { libc::ioctl(outer.as_raw_fd(), libc::TIOCGPTPEER, flags) })?;
    // SAFETY: the descriptor was just made and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes it the controlling terminal of the calling session, which has none.
///
/// # Errors
/// EPERM if the caller leads no session or has a terminal.
pub fn make_controlling(inner: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: takes a number.
    Errno::result(unsafe { libc::ioctl(inner.as_raw_fd(), libc::TIOCSCTTY, 0) }).map(drop)
}

/// Copies the window size of `from` to `to`.
///
/// # Errors
/// ENOTTY if one is no terminal.
pub fn copy_size(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: winsize consists of integers only, for which all zero bytes are a value.
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: TIOCGWINSZ writes one winsize.
    Errno::result(unsafe { libc::ioctl(from.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) })?;
    // SAFETY: TIOCSWINSZ reads one winsize.
    Errno::result(unsafe { libc::ioctl(to.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }).map(drop)
}

/// Sends one descriptor, with one byte as the socket wants.
///
/// # Errors
/// What sendmsg(2) reports.
pub fn send(socket: BorrowedFd<'_>, fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // By hand, because nix's sendmsg allocates, and this runs between fork and exec.
    let mut control = [0_u64; 4];
    let mut byte = [0_u8];
    let mut data = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    // SAFETY: msghdr consists of integers and pointers, for which all zero bytes are a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut data;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: only computes a number.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(size_of::<RawFd>() as u32) } as usize;
    // SAFETY: the control buffer is as long as said, aligned for a header, and holds one header with one
    // descriptor; the kernel reads it and the one byte of data.
    let sent = unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as usize;
        libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(fd.as_raw_fd());
        libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL)
    };
    Errno::result(sent).map(drop)
}

/// Receives one descriptor.
///
/// # Errors
/// EBADMSG if something else came, what recvmsg(2) reports.
pub fn receive(socket: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let mut space = nix::cmsg_space!(RawFd);
    let mut byte = [0];
    let mut data = [IoSliceMut::new(&mut byte)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut data, Some(&mut space), flags)?;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control
            && let [fd] = fds[..]
        {
            // SAFETY: the kernel has just put it into our table.
            return Ok(unsafe { OwnedFd::from_raw_fd(fd) });
        }
    }
    Err(Errno::EBADMSG)
}
