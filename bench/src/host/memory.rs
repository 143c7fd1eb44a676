//! What the host uses: MemTotal - MemFree - Buffers - Cached + Shmem of /proc/meminfo (proc(5)), less the free
//! pages that each CPU keeps at hand.
//!
//! Not MemAvailable, which is an estimate and wanders. Page cache can be taken back at any time and is left
//! out; shared memory and tmpfs are counted as page cache by the kernel, and cannot be, so they are added
//! again. A page that is given back goes to a list of its CPU first and is no part of MemFree there; since Linux
//! 6.7 these lists grow to hundreds of megabytes where much is taken and given back, as here, and a herd would
//! be made of them unseen. /proc/zoneinfo counts them. What stays is processes, slab, page tables, kernel stacks and per-CPU memory.

use std::collections::BTreeMap;
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

/// What the host uses at one moment, all of it from one reading of /proc/meminfo, bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// All of it: the sum above.
    pub bytes: u64,
    /// What of it the kernel holds itself, by the ledger's names: see [`kernel_lines`].
    pub kernel: BTreeMap<&'static str, u64>,
    /// `Shmem`: shared memory and tmpfs, whoever uses it.
    pub shared: Option<u64>,
}

/// What the host uses now.
///
/// # Errors
/// When /proc/meminfo or /proc/zoneinfo cannot be read.
pub fn now() -> Result<Use> {
    // Each CPU counts pages on its own and adds them to the total later; reading this file, which root
    // may, adds them now (Documentation/admin-guide/sysctl/vm.rst). Else it is off by up to a megabyte.
    let _ = fs::read("/proc/sys/vm/stat_refresh");
    let text = fs::read("/proc/meminfo").context("read /proc/meminfo")?;
    let lists = fs::read_to_string("/proc/zoneinfo").context("read /proc/zoneinfo")?;
    let at_hand = pages_at_hand(&lists) * procfs::page_size();
    let it = Meminfo::from_buf_read(Cursor::new(text)).context("/proc/meminfo is not as proc(5) says")?;
    let bytes = sum(&it).saturating_sub(at_hand);
    Ok(Use { bytes, kernel: kernel_lines(&it), shared: it.shmem })
}

/// Bytes that the host uses now.
///
/// # Errors
/// As [`now`].
pub fn used() -> Result<u64> {
    now().map(|it| it.bytes)
}

/// Free pages in the lists of all CPUs and zones: the lines `count:` below `pagesets`.
fn pages_at_hand(zoneinfo: &str) -> u64 {
    let counts = zoneinfo.lines().filter_map(|line| line.trim_start().strip_prefix("count:"));
    counts.filter_map(|count| count.trim().parse::<u64>().ok()).sum()
}

/// Bytes of memory that the host has: MemTotal.
///
/// # Errors
/// As [`used`].
pub fn total() -> Result<u64> {
    let text = fs::read("/proc/meminfo").context("read /proc/meminfo")?;
    let it =
        Meminfo::from_buf_read(Cursor::new(&text[..])).context("/proc/meminfo is not as proc(5) says")?;
    Ok(it.mem_total)
}

fn sum(it: &Meminfo) -> u64 {
    let held = it.mem_total + it.shmem.unwrap_or(0);
    held.saturating_sub(it.mem_free + it.buffers + it.cached)
}

/// The kernel's own lines of the ledger. No page is in two of them:
///
/// - slab: `Slab`, its objects for processes, files, mounts, namespaces and control groups;
/// - page tables: `PageTables`, and `SecPageTables`, those that KVM keeps for its guests;
/// - kernel stacks: `KernelStack`, 16 KiB for each thread;
/// - per-CPU: `Percpu`, counters that each CPU has its own of;
/// - vmalloc: `VmallocUsed` less the kernel stacks, which lie in the same area (CONFIG_VMAP_STACK, the default on
///   x86-64 since Linux 4.9): filters, programs and large tables.
///
/// What the kernel takes by whole pages (the buffers of pipes and sockets) is in none, and stays unexplained.
fn kernel_lines(it: &Meminfo) -> BTreeMap<&'static str, u64> {
    // Linux before 5.1 says 0 for what it does not count.
    let vmalloc = it.kernel_stack.and_then(|stacks| it.vmalloc_used.checked_sub(stacks));
    let lines = [
        ("slab", Some(it.slab)),
        ("page tables", it.page_tables.map(|own| own + it.secondary_page_tables.unwrap_or(0))),
        ("kernel stacks", it.kernel_stack),
        ("per-CPU", it.per_cpu),
        ("vmalloc", vmalloc),
    ];
    lines.into_iter().filter_map(|(name, bytes)| Some((name, bytes?))).collect()
}

/// What the host uses once the kernel's workers are done with what was just made or taken down: when a few looks
/// in a row agree.
///
/// # Errors
/// As [`now`].
pub fn settled() -> Result<Use> {
    let began = Instant::now();
    let mut looks: Vec<u64> = Vec::new();
    loop {
        let now = now()?;
        looks.push(now.bytes);
        if let Some(last) = looks.last_chunk::<AGREE>() {
            let (low, high) = last.iter().fold((u64::MAX, 0), |(l, h), it| (l.min(*it), h.max(*it)));
            if high - low <= SPREAD || began.elapsed() > PATIENCE {
                return Ok(now);
            }
        }
        std::thread::sleep(LOOK);
    }
}

/// So long the host must not have let go of anything to be still.
const STILL: Duration = Duration::from_millis(250);

/// After this time it is not waited for any longer.
const STILL_WITHIN: Duration = Duration::from_secs(10);

/// Waits until the host lets go of nothing more, for at most ten seconds. What a herd leaves is freed by kernel workers
/// one after another, after a large one for seconds; a climb that began meanwhile would get its first boxes for
/// nothing.
pub fn wait_until_still() {
    let began = Instant::now();
    let (mut lowest, mut since) = (u64::MAX, began);
    while began.elapsed() < STILL_WITHIN && since.elapsed() < STILL {
        // Who cannot read it cannot look at the climb either, and says so there.
        let Ok(used) = used() else { return };
        if used.saturating_add(SPREAD) < lowest {
            (lowest, since) = (used, Instant::now());
        }
        std::thread::sleep(LOOK);
    }
}

/// Waits until the host uses no more than this, for at most a second: network namespaces and control groups are
/// freed by kernel workers, some time after the last process in them.
pub fn wait_until_below(bytes: u64) {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(1) && used().is_ok_and(|used| used > bytes) {
        std::thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_captured_file_gives_the_designs_sum() {
        let meminfo = captured();
        assert_eq!(sum(&meminfo), 1_933_684 * 1024);
        let lists = include_str!("../../tests/fixtures/zoneinfo");
        assert_eq!(pages_at_hand(lists), 113_469);
    }

    fn captured() -> Meminfo {
        let text = include_bytes!("../../tests/fixtures/meminfo");
        Meminfo::from_buf_read(Cursor::new(text)).unwrap()
    }

    #[test]
    fn no_page_of_the_kernel_is_in_two_lines() {
        let mut meminfo = captured();
        let lines =
            |it: &Meminfo| kernel_lines(it).into_iter().map(|(n, b)| (n, b >> 10)).collect::<Vec<_>>();
        let captured = [("kernel stacks", 2336), ("page tables", 9720), ("per-CPU", 1392), ("slab", 376_104)];
        assert_eq!(lines(&meminfo)[..4], captured);
        assert_eq!(lines(&meminfo)[4], ("vmalloc", 17_288 - 2336), "the stacks lie in it");
        meminfo.secondary_page_tables = Some(1 << 20);
        assert_eq!(lines(&meminfo)[1], ("page tables", 9720 + 1024), "KVM's are page tables too");
        meminfo.vmalloc_used = 0;
        meminfo.per_cpu = None;
        let names: Vec<&str> = lines(&meminfo).iter().map(|it| it.0).collect();
        assert_eq!(names, ["kernel stacks", "page tables", "slab"], "what is not counted is no line");
    }

    #[test]
    fn memory_that_is_touched_is_seen() {
        // Others come and go on this host too, with more than this piece where they are machines: most tries may be
        // off, and are made again. A reading that did not see the piece would see it by chance, not this often.
        const PIECE: usize = 512 << 20;
        let mut seen: Vec<i64> = Vec::new();
        let near = |seen: &[i64]| seen.iter().filter(|it| (384 << 20..640 << 20).contains(*it)).count();
        while near(&seen) < 3 && seen.len() < 60 {
            let before = used().unwrap();
            let held = vec![1_u8; PIECE];
            let with = used().unwrap();
            assert_eq!(held[PIECE / 2], 1);
            seen.push(with as i64 - before as i64);
        }
        assert_eq!(near(&seen), 3, "{seen:?} of {PIECE}");
    }
}
