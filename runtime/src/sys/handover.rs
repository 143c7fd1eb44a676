//! A command and its descriptors, received by a process that may not allocate.
//!
//! A descriptor is a number in one process and means nothing in another; sent as `SCM_RIGHTS` through a
//! socket, the kernel makes a new one for the receiver. Without it a box in stock could only use what it was
//! born with.
//!
//! Man pages: recvmsg(2), unix(7) "SCM_RIGHTS", execve(2). Look at it: `strace -f -e sendmsg,recvmsg` of the
//! test program `pool` (`cargo test -p tare-runtime --test pool`)

use std::ffi::c_char;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use super::CStringArray;

/// As many words as a command may have.
const WORDS: usize = 64;

/// Receives one message into `buffer` with exactly three descriptors. Returns its length and them.
///
/// # Errors
/// EPIPE if the other side is gone, EBADMSG without the three, what recvmsg(2) reports.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<(usize, [OwnedFd; 3]), Errno> {
    let mut control = [0_u64; 8];
    let mut data = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: msghdr consists of integers and pointers, for which all zero bytes are a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut data;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    let length = loop {
        // SAFETY: data and control buffers live across the call and are as long as said.
        let got = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
        match Errno::result(got) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
            Ok(0) => return Err(Errno::EPIPE),
            Ok(length) => break length as usize,
        }
    };
    // SAFETY: the kernel has filled in the control buffer and its length; the header, if there is one, lies
    // in it.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message).as_ref() }.ok_or(Errno::EBADMSG)?;
    // SAFETY: only computes a number.
    let three = unsafe { libc::CMSG_LEN(3 * size_of::<RawFd>() as u32) } as usize;
    if (header.cmsg_level, header.cmsg_type, header.cmsg_len) != (libc::SOL_SOCKET, libc::SCM_RIGHTS, three) {
        return Err(Errno::EBADMSG);
    }
    // SAFETY: the header says that three descriptors follow it.
    let fds = unsafe { libc::CMSG_DATA(header).cast::<[RawFd; 3]>().read_unaligned() };
    // SAFETY: the kernel has just put them into our table, and nobody else owns them.
    Ok((length, fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })))
}

/// Replaces this program by the command whose words stand in `words`, each ended by a zero byte; the first
/// is the path too. Returns only if that failed, with the reason.
pub fn exec_words(words: &[u8], environment: &CStringArray) -> Errno {
    let mut pointers = [std::ptr::null::<c_char>(); WORDS + 1];
    let mut count = 0;
    let mut start = 0;
    while let Some(length) = words[start..].iter().position(|byte| *byte == 0) {
        if count == WORDS {
            return Errno::E2BIG;
        }
        pointers[count] = words[start..].as_ptr().cast();
        count += 1;
        start += length + 1;
    }
    // What follows the last zero byte would be a word without an end.
    if count == 0 || start != words.len() {
        return Errno::EINVAL;
    }
    // SAFETY: `pointers` leads to `count` strings in `words`, each ended by a zero byte, and its element
    // after them is null, for it has one more than there can be words; `environment` is such an array too.
    unsafe { libc::execve(pointers[0], pointers.as_ptr(), environment.pointers.as_ptr()) };
    Errno::last()
}
