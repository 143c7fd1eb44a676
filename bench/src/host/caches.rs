//! The kernel's caches of files: page cache, directory entries and inodes. Dropping them, and seeing that they are
//! gone (proc(5), /proc/sys/vm/drop_caches).
//!
//! What stays in memory: pages that a running process has mapped (its program, the C library), file systems that
//! live in memory (tmpfs, ramfs), and whatever lies below this kernel, as a hypervisor's own cache or a disk's.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::sys::statfs::{HUGETLBFS_MAGIC, TMPFS_MAGIC, statfs};
use tare_reports::document::HostChange;

use crate::sys;

/// The kernel's file.
const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

/// Page cache, and directory entries and inodes.
const ALL: &str = "3";

/// The type of a ramfs (linux/magic.h).
const RAMFS_MAGIC: i64 = 0x8584_58f6;

/// Whether they can be dropped here; changes nothing.
///
/// # Errors
/// Why not, and what would change it.
pub fn can_be_dropped() -> Result<()> {
    open().map(drop)
}

fn open() -> Result<File> {
    // Appended: the kernel does not mind, and a test that puts a file in its place sees every write.
    File::options().append(true).open(DROP_CACHES).with_context(|| {
        format!("cannot write {DROP_CACHES}: run it as root, outside of containers, with /proc/sys writable")
    })
}

/// Writes out what is not on disk yet, which cannot be dropped, and drops all that can be.
///
/// # Errors
/// When the kernel refuses.
pub fn drop_all() -> Result<()> {
    nix::unistd::sync();
    let mut file = open()?;
    file.write_all(format!("{ALL}\n").as_bytes()).with_context(|| format!("write {ALL} to {DROP_CACHES}"))
}

/// What a result document says of `times` drops.
pub fn change(times: u64) -> HostChange {
    HostChange {
        setting: DROP_CACHES.into(),
        written: ALL.into(),
        times,
        restored: "nothing to restore: the kernel keeps no setting, and fills its caches again by itself"
            .into(),
    }
}

/// Whether nothing of this file is in the page cache. Looking reads no page of it, but its inode.
///
/// # Errors
/// When some of it is, or when it lies in memory and cannot be anywhere else.
pub fn is_cold(path: &Path) -> Result<()> {
    let name = path.display();
    let system =
        statfs(path).with_context(|| format!("look at the file system of {name}"))?.filesystem_type();
    let in_memory = [TMPFS_MAGIC, HUGETLBFS_MAGIC].contains(&system) || system.0 == RAMFS_MAGIC;
    ensure!(!in_memory, "{name} lies in memory (tmpfs or alike) and is never cold: put it on a disk");
    // No access time: the inode would have to be written before it could be dropped again.
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NOATIME)
        .open(path)
        .with_context(|| format!("open {name}"))?;
    let (cached, pages) = sys::cached_pages(&file).with_context(|| format!("ask for the pages of {name}"))?;
    ensure!(
        cached == 0,
        "the caches were not cold: {cached} of {pages} pages of {name} are in memory (a process that runs keeps \
         its program there)"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

    use super::*;

    #[test]
    fn a_file_is_cold_only_when_none_of_its_pages_is_cached() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, vec![1; 10_000]).unwrap();
        let file = File::open(&path).unwrap();
        file.sync_all().unwrap();
        let error = is_cold(&path).unwrap_err().to_string();
        assert!(error.contains("3 of 3 pages") && error.contains("file"), "{error}");
        // This one file alone is dropped.
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
        is_cold(&path).unwrap();
        is_cold(&path).expect("looking does not warm it");
        std::fs::read(&path).unwrap();
        is_cold(&path).unwrap_err();
        std::fs::write(&path, "").unwrap();
        is_cold(&path).expect("an empty file has no pages");
    }

    #[test]
    fn what_lies_in_memory_is_never_cold() {
        let path = Path::new("/dev/shm").join(format!("tare-test-{}", std::process::id()));
        if std::fs::write(&path, "x").is_err() || statfs(&path).unwrap().filesystem_type() != TMPFS_MAGIC {
            eprintln!("skipped: /dev/shm is no tmpfs here");
            return;
        }
        let error = is_cold(&path).unwrap_err().to_string();
        std::fs::remove_file(&path).unwrap();
        assert!(error.contains("lies in memory"), "{error}");
    }
}
