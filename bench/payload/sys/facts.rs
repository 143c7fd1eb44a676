//! What the kernel says of this process and its machine.

use super::call;

/// A number that a system call without arguments returns: see the constants below.
pub(crate) fn number(which: usize) -> usize {
    // SAFETY: only called with the constants below, none of which takes an argument or fails.
    unsafe { call(which, [0; 6]) }.unwrap_or(0)
}

pub(crate) const GETPID: usize = 39;
pub(crate) const GETUID: usize = 102;
pub(crate) const GETGID: usize = 104;
pub(crate) const GETPPID: usize = 110;

/// The file mode creation mask (umask(2)); reading it means setting it twice.
pub(crate) fn umask() -> usize {
    // SAFETY: touches no memory; the process has one thread, so nobody sees the mask in between.
    unsafe {
        let mask = call(95, [0o077, 0, 0, 0, 0, 0]).unwrap_or(0);
        let _ = call(95, [mask, 0, 0, 0, 0, 0]);
        mask
    }
}

/// uname(2): six fields of 65 bytes, each ended by a null.
pub(crate) struct Names([u8; 6 * 65]);

impl Names {
    pub(crate) const HOST: usize = 1;
    pub(crate) const RELEASE: usize = 2;

    pub(crate) fn read() -> Self {
        let mut names = Self([0; 6 * 65]);
        // SAFETY: the array has the size of struct new_utsname.
        let _ = unsafe { call(63, [names.0.as_mut_ptr() as usize, 0, 0, 0, 0, 0]) };
        names
    }

    pub(crate) fn field(&self, index: usize) -> &[u8] {
        let field = &self.0[index * 65..(index + 1) * 65];
        field.split(|&byte| byte == 0).next().unwrap_or(&[])
    }
}

/// The memory that the kernel says there is, bytes (sysinfo(2)).
pub(crate) fn memory() -> u64 {
    let mut facts = [0u64; 14];
    // SAFETY: the array has the 112 bytes of struct sysinfo.
    let _ = unsafe { call(99, [facts.as_mut_ptr() as usize, 0, 0, 0, 0, 0]) };
    // After uptime and three loads; the unit stands in the last word, behind two counts of high memory.
    facts[4].wrapping_mul((facts[13] & 0xffff_ffff).max(1))
}

/// The CPUs that this process may run on (sched_getaffinity(2)); of 1024 that there may be.
pub(crate) fn cpus() -> u64 {
    let mut mask = [0u64; 16];
    let size = core::mem::size_of_val(&mask);
    // SAFETY: the kernel writes at most `size` bytes into the array.
    let _ = unsafe { call(204, [0, size, mask.as_mut_ptr() as usize, 0, 0, 0]) };
    mask.iter().map(|word| u64::from(word.count_ones())).sum()
}

/// A limit of this process, soft and hard (prlimit(2)); all ones where there is none.
pub(crate) fn limit(which: usize) -> [u64; 2] {
    let mut limit = [0u64; 2];
    // SAFETY: nothing is set; the array has the size of struct rlimit64.
    let _ = unsafe { call(302, [0, which, 0, limit.as_mut_ptr() as usize, 0, 0]) };
    limit
}

pub(crate) const CLOCK_MONOTONIC: usize = 1;
pub(crate) const CLOCK_BOOTTIME: usize = 7;

/// clock_gettime(2), in nanoseconds.
pub(crate) fn clock(which: usize) -> u64 {
    let mut time = [0u64; 2];
    // SAFETY: `time` has the size and alignment of struct timespec.
    let _ = unsafe { call(228, [which, time.as_mut_ptr() as usize, 0, 0, 0, 0]) };
    time[0].wrapping_mul(1_000_000_000).wrapping_add(time[1])
}
