//! What an empty memory cgroup costs this host: every box that has one pays for it before it holds anything.
//!
//! It is no constant. For each memory cgroup the kernel keeps tables with a place for every file system that ever was
//! mounted at the same time as others, here or anywhere on the host (`shrinker_info` in mm/shrinker.c; on Linux 6.18 one
//! KiB for each 64 of them), and they never shrink before the host is started anew. So the same box is light after a boot
//! and heavy on a host that has held thousands: without this figure nobody could tell which of the two was measured.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::{cgroups, memory};
use crate::site::Site;

/// So many are made, and their mean is taken: what others on the host do meanwhile is small against so many.
const COUNT: u64 = 50;

/// Slab of an empty memory cgroup, bytes. They are made below the run's parent and taken away again.
///
/// # Errors
/// When none can be made here, or the kernel's slab cannot be read.
pub fn bytes(site: &Site) -> Result<u64> {
    let root = cgroups::root_of("memory").context("no hierarchy has the memory controller")?;
    mean_of(&root.join(site.cgroup_parent().trim_start_matches('/')))
}

fn mean_of(parent: &Path) -> Result<u64> {
    fs::create_dir_all(parent).with_context(|| format!("make the cgroup {}", parent.display()))?;
    let dirs: Vec<PathBuf> = (0..COUNT).map(|k| parent.join(format!("empty-{k}"))).collect();
    let before = slab()?;
    let made = dirs.iter().try_for_each(|dir| made(dir));
    let after = slab();
    for dir in dirs.iter().rev() {
        // Those that were never made have nothing to remove; what stays goes with the run's parent.
        let _ = fs::remove_dir(dir);
    }
    made?;
    Ok(after?.saturating_sub(before) / COUNT)
}

fn made(dir: &Path) -> Result<()> {
    fs::create_dir(dir).with_context(|| format!("make the cgroup {}", dir.display()))?;
    // On version 2 it has a controller only where the parent hands it down.
    if !["memory.usage_in_bytes", "memory.current"].iter().any(|it| dir.join(it).exists()) {
        bail!("the cgroup {} has no memory controller", dir.display());
    }
    Ok(())
}

fn slab() -> Result<u64> {
    memory::now()?.kernel.get("slab").copied().context("/proc/meminfo has no line Slab")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_no_memory_cgroup() {
        let dir = tempfile::tempdir().unwrap();
        let error = mean_of(&dir.path().join("run")).unwrap_err();
        assert!(error.to_string().contains("has no memory controller"), "{error:#}");
        assert_eq!(fs::read_dir(dir.path().join("run")).unwrap().count(), 0, "what was made is gone");
    }
}
