//! The host memory that a search must leave alone.

use procfs::Current;
use tare_reports::capacity::RESERVE;

/// Whether the host would keep less memory free than it has to, were `margin` bytes more in use; in words.
///
/// What can be taken back at once (page cache) is free in this sense, and what the kernel believes it could find
/// (MemAvailable) must agree.
pub(super) fn eats_the_reserve(margin: u64) -> Option<String> {
    let now = procfs::Meminfo::current().ok()?;
    let used =
        (now.mem_total + now.shmem.unwrap_or(0)).saturating_sub(now.mem_free + now.buffers + now.cached);
    let free = now.mem_total.saturating_sub(used).min(now.mem_available.unwrap_or(u64::MAX));
    let reserve = (now.mem_total as f64 * RESERVE) as u64;
    (free < reserve + margin).then(|| {
        format!(
            "{} MiB of the host's {} MiB are free, {} MiB are its reserve of {:.0} %, and one box more may take {} MiB",
            free >> 20,
            now.mem_total >> 20,
            reserve >> 20,
            RESERVE * 100.0,
            margin >> 20
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_margin_larger_than_the_host_eats_the_reserve() {
        assert!(eats_the_reserve(1 << 50).unwrap().contains("reserve of 5 %"));
    }
}
