//! What an import may cost at most: an image is a stranger's word about how large it is.
//!
//! 260 KB of gzip can be 256 MiB of zeros, and a few more a petabyte. So what comes out is counted, not what goes in,
//! and counting stops the work where it would go beyond: in bytes, in entries, in depth, and in time.
//!
//! Man page: gzip(1), "-l". Look at it: `head -c 256M /dev/zero | gzip -9 | wc -c`

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The most that one import may unpack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Bytes of all layers, unpacked, holes included.
    pub bytes: u64,
    /// Files, directories and links.
    pub entries: u64,
    /// Directories above a file.
    pub depth: usize,
    /// Time for all of it.
    pub time: Duration,
}

impl Default for Budget {
    /// Enough for the largest images that are in use, and no danger to a host's disk: 32 GiB, two million entries
    /// (which is what a small file system has inodes for), 200 directories deep, an hour.
    fn default() -> Self {
        Self { bytes: 32 << 30, entries: 2_000_000, depth: 200, time: Duration::from_secs(3600) }
    }
}

static STOPPED: AtomicBool = AtomicBool::new(false);

/// Ends all imports of this process at their next entry, for good: somebody wants it to end. They fail, and remove what
/// they have begun.
pub fn stop() {
    STOPPED.store(true, Ordering::Relaxed);
}

/// What is left of it.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) budget: Budget,
    bytes: AtomicU64,
    entries: AtomicU64,
    until: Instant,
}

impl Left {
    pub(crate) fn new(budget: Budget) -> Self {
        // A time that no clock holds is none.
        let far = Duration::from_secs(1 << 31);
        let until = Instant::now() + budget.time.min(far);
        Self { budget, bytes: AtomicU64::new(budget.bytes), entries: AtomicU64::new(budget.entries), until }
    }

    /// So many bytes more.
    ///
    /// # Errors
    /// What is used up, in words.
    pub(crate) fn bytes(&self, count: u64) -> Result<(), String> {
        spend(&self.bytes, count).ok_or_else(|| {
            format!(
                "unpacked it is larger than {} bytes (raise --max-size if you trust it)",
                self.budget.bytes
            )
        })?;
        self.time()
    }

    /// One entry more.
    ///
    /// # Errors
    /// As [`Left::bytes`].
    pub(crate) fn entry(&self) -> Result<(), String> {
        spend(&self.entries, 1).ok_or_else(|| format!("more than {} entries", self.budget.entries))?;
        self.time()
    }

    /// Whether there is time, and nobody wants us to end.
    ///
    /// # Errors
    /// As [`Left::bytes`].
    pub(crate) fn time(&self) -> Result<(), String> {
        if STOPPED.load(Ordering::Relaxed) {
            return Err("interrupted".into());
        }
        let seconds = self.budget.time.as_secs();
        if Instant::now() < self.until { Ok(()) } else { Err(format!("it takes longer than {seconds} s")) }
    }
}

fn spend(left: &AtomicU64, count: u64) -> Option<()> {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(count)).ok().map(drop)
}

/// A stream of which every byte is paid for.
pub(crate) struct Paid<'a, R> {
    pub(crate) stream: R,
    pub(crate) left: &'a Left,
}

impl<R: Read> Read for Paid<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.left.bytes(count as u64).map_err(io::Error::other)?;
        Ok(count)
    }
}
