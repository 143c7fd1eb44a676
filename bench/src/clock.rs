//! The one clock of the suite: the host's CLOCK_MONOTONIC (clock_gettime(2)), in nanoseconds.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds on the host's monotonic clock. The spawner reads the same clock, so its stamps compare.
pub fn now_ns() -> u64 {
    read(ClockId::CLOCK_MONOTONIC)
}

/// Clock ticks after boot, in which the kernel tells when a process began (proc(5), `starttime`).
pub fn ticks_after_boot() -> u64 {
    let ticks = u128::from(procfs::ticks_per_second());
    (u128::from(read(ClockId::CLOCK_BOOTTIME)) * ticks / 1_000_000_000) as u64
}

/// CPU time that the calling thread has used, ns.
pub fn thread_cpu_ns() -> u64 {
    read(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// CPU time that the calling process has used, ns.
pub fn process_cpu_ns() -> u64 {
    read(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

fn read(clock: ClockId) -> u64 {
    // These clocks exist on every Linux that this crate builds for; the call cannot fail.
    clock_gettime(clock).map(|t| Duration::from(t).as_nanos() as u64).unwrap_or(0)
}

/// A moment after which waiting is given up.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(u64);

impl Deadline {
    /// `after` from now.
    pub fn after(after: Duration) -> Self {
        Self(now_ns() + after.as_nanos() as u64)
    }

    /// Time left, zero when it has passed.
    pub fn left(self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(now_ns()))
    }

    /// Whether it has passed.
    pub fn passed(self) -> bool {
        self.left().is_zero()
    }
}
