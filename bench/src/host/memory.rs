//! What the host uses: MemTotal - MemFree - Buffers - Cached + Shmem of /proc/meminfo (proc(5)).
//!
//! Not MemAvailable, which is an estimate and wanders. Page cache can be taken back at any time and is left
//! out; shared memory and tmpfs are counted as page cache by the kernel, and cannot be, so they are added
//! again. What stays is processes, slab, page tables, kernel stacks and per-CPU memory.

use std::fs;
use std::io::Cursor;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use procfs::{FromBufRead, Meminfo};

/// Between two looks at a host that settles.
const LOOK: Duration = Duration::from_millis(10);

/// So many looks in a row must agree.
const AGREE: usize = 4;

/// Within this, bytes.
const SPREAD: u64 = 64 << 10;

/// After this time it is not waited for any longer: a host with other work never settles, and the scatter of
/// the samples says so.
const PATIENCE: Duration = Duration::from_millis(200);

/// Bytes that the host uses now.
///
/// # Errors
/// When /proc/meminfo cannot be read.
pub fn used() -> Result<u64> {
    // Each CPU counts pages on its own and adds them to the total later; reading this file, which root
    // may, adds them now (Documentation/admin-guide/sysctl/vm.rst). Else it is off by up to a megabyte.
    let _ = fs::read("/proc/sys/vm/stat_refresh");
    let text = fs::read("/proc/meminfo").context("read /proc/meminfo")?;
    used_of(&text)
}

fn used_of(text: &[u8]) -> Result<u64> {
    let it = Meminfo::from_buf_read(Cursor::new(text)).context("/proc/meminfo is not as proc(5) says")?;
    let held = it.mem_total + it.shmem.unwrap_or(0);
    Ok(held.saturating_sub(it.mem_free + it.buffers + it.cached))
}

/// Bytes that the host uses once the kernel's workers are done with what was just made or taken down: when a
/// few looks in a row agree.
///
/// # Errors
/// As [`used`].
pub fn settled() -> Result<u64> {
    let began = Instant::now();
    let mut looks = Vec::new();
    loop {
        looks.push(used()?);
        if let Some(last) = looks.last_chunk::<AGREE>() {
            let (low, high) = last.iter().fold((u64::MAX, 0), |(l, h), it| (l.min(*it), h.max(*it)));
            if high - low <= SPREAD || began.elapsed() > PATIENCE {
                return Ok(*last.last().unwrap_or(&high));
            }
        }
        std::thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_captured_file_gives_the_designs_sum() {
        let text = include_bytes!("../../tests/fixtures/meminfo");
        assert_eq!(used_of(text).unwrap(), 1_933_684 * 1024);
        assert!(used_of(b"nonsense").is_err());
    }

    #[test]
    fn memory_that_is_touched_is_seen() {
        // Others work on this host too: a big piece, and half of it must show.
        const PIECE: usize = 256 << 20;
        let before = used().unwrap();
        let held = vec![1_u8; PIECE];
        let with = used().unwrap();
        assert!(with > before + PIECE as u64 / 2, "{before} {with} {}", held[PIECE / 2]);
    }
}
