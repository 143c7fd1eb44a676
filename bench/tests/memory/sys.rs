//! The one call of the planted process that the standard library has no safe word for.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;

/// Maps a file shared, as long as it is, and writes to each of its pages.
pub(crate) fn touch_shared(file: &File) {
    let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the kernel chooses an unused range, and the descriptor is open.
    let start = unsafe {
        libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, file.as_raw_fd(), 0)
    };
    assert_ne!(start, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
    for offset in (0..length).step_by(4096) {
        // SAFETY: within the mapping, which stays to the end of this process and which nothing else here knows.
        unsafe { start.cast::<u8>().add(offset).write_volatile(1) };
    }
}
