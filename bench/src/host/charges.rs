//! What a control group is charged for: memory.usage_in_bytes on cgroup v1, memory.current on v2, and the high-water
//! mark of it (the kernel's cgroup-v1/memory.rst and cgroup-v2.rst, "Memory").
//!
//! Charged are the pages of its processes and what the kernel allocates on their behalf (page tables, stacks, slab
//! objects, pipe buffers), and the page cache that they were the first to read: who reads the same file later pays
//! nothing. What serves everybody is charged to nobody. Both versions count the groups below with it, and both
//! charge up to 64 pages for each CPU in advance, so that a single group's figure is only as fine as that.
//!
//! A memory cgroup itself is charged to the one above it, and only in part: 200 empty ones, made on Linux 6.18 by a
//! process outside, charged 9.9 KiB each to their parent and nothing to themselves, while the host used 1,300 KiB more
//! for each. The tables for its shrinkers, which are most of that where many file systems ever stood, are charged to
//! nobody; so are cgroups of other hierarchies, whoever makes them, but for a KiB. A limit thus holds more boxes than
//! the host's own figure says.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::cgroups;

/// The directory of a cgroup in the tree of the memory controller; `path` is within that tree.
///
/// # Errors
/// When there is no such cgroup, or no such controller.
pub fn directory(path: &str) -> Result<PathBuf> {
    let root = cgroups::root_of("memory").context("this host has no memory controller")?;
    let dir = root.join(path.trim_start_matches('/'));
    dir.is_dir().then_some(()).with_context(|| format!("there is no cgroup {}", dir.display()))?;
    Ok(dir)
}

/// The directory, in the tree of the memory controller, of the cgroup that a process is in.
///
/// # Errors
/// When there is none, or the process is gone.
pub fn directory_of(pid: u32) -> Result<PathBuf> {
    let file = format!("/proc/{pid}/cgroup");
    let text = fs::read_to_string(&file).with_context(|| format!("read {file}"))?;
    let path = path_in(&text).with_context(|| format!("{file} names no cgroup of the memory controller"))?;
    directory(path)
}

/// The path in /proc/PID/cgroup: in the line of the v1 controller, else in the only line that v2 has (cgroups(7)).
fn path_in(text: &str) -> Option<&str> {
    let mut lines = text.lines().map(|line| line.splitn(3, ':').collect::<Vec<_>>());
    let memory =
        lines.clone().find(|it| it.get(1).is_some_and(|all| all.split(',').any(|it| it == "memory")));
    memory.or_else(|| lines.find(|it| it.first() == Some(&"0")))?.get(2).copied()
}

/// Bytes charged to a cgroup now.
///
/// # Errors
/// When its directory has neither file.
pub fn charged(dir: &Path) -> Result<u64> {
    number(dir, ["memory.usage_in_bytes", "memory.current"])
}

/// The most that was charged to it at any time, bytes. Linux has it on v2 since 5.19.
///
/// # Errors
/// As [`charged`].
pub fn peak(dir: &Path) -> Result<u64> {
    number(dir, ["memory.max_usage_in_bytes", "memory.peak"])
}

/// Has the kernel take back from a cgroup, and from those below it, whatever it can: page cache, and the slabs of files
/// that nobody has open. What is charged afterwards is what a limit above has to have room for, since a full cgroup is
/// treated the same way before it refuses anything.
///
/// By memory.force_empty on v1, by memory.reclaim on v2 (since Linux 5.19).
///
/// # Errors
/// When the cgroup has neither file, or the kernel does not do it.
pub fn take_back(dir: &Path) -> Result<()> {
    let v1 = dir.join("memory.force_empty");
    // On v2 it is told how much to look for: more than there can be.
    let (file, word) = match v1.exists() {
        true => (v1, "0".to_owned()),
        false => (dir.join("memory.reclaim"), charged(dir)?.to_string()),
    };
    let write = |mut it: fs::File| it.write_all(word.as_bytes());
    match fs::OpenOptions::new().write(true).open(&file).and_then(write) {
        // It found less than it was told to look for.
        Err(e) if e.raw_os_error() == Some(nix::errno::Errno::EAGAIN as i32) => Ok(()),
        done => done.with_context(|| format!("have the kernel take back memory by {}", file.display())),
    }
}

/// Why a file cannot be read, as far as the cgroup itself tells.
fn unread(dir: &Path, file: &Path) -> String {
    let controllers = fs::read_to_string(dir.join("cgroup.controllers"));
    if controllers.is_ok_and(|all| all.split_whitespace().all(|it| it != "memory")) {
        return format!(
            "{} has no memory controller: the cgroup above passes none on (cgroup.subtree_control), which it cannot \
             while processes are in it",
            dir.display()
        );
    }
    format!("read {}", file.display())
}

fn number(dir: &Path, names: [&str; 2]) -> Result<u64> {
    let [v1, v2] = names.map(|name| dir.join(name));
    let file = if v1.exists() { v1 } else { v2 };
    let text = fs::read_to_string(&file).with_context(|| unread(dir, &file))?;
    text.trim()
        .parse()
        .with_context(|| format!("{} says {text:?}, which is no number of bytes", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_controllers_line_is_taken_where_there_is_one() {
        let hybrid = "12:pids:/a\n9:cpu,memory:/tare/x/box\n0::/unified\n";
        assert_eq!(path_in(hybrid), Some("/tare/x/box"));
        assert_eq!(path_in("0::/tare/a:b\n"), Some("/tare/a:b"));
        assert_eq!(path_in("12:pids:/a\n"), None);
    }

    #[test]
    fn what_is_not_told_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let error = format!("{:#}", peak(dir.path()).unwrap_err());
        assert!(error.contains("memory.peak"), "{error}");
        fs::write(dir.path().join("memory.current"), "max\n").unwrap();
        let error = format!("{:#}", charged(dir.path()).unwrap_err());
        assert!(error.contains("no number"), "{error}");
        fs::write(dir.path().join("memory.usage_in_bytes"), "4096\n").unwrap();
        assert_eq!(charged(dir.path()).unwrap(), 4096, "v1 where both are there");
        let unified = tempfile::tempdir().unwrap();
        fs::write(unified.path().join("cgroup.controllers"), "cpu\n").unwrap();
        let error = format!("{:#}", charged(unified.path()).unwrap_err());
        assert!(error.contains("has no memory controller: the cgroup above passes none on"), "{error}");
        fs::write(unified.path().join("cgroup.controllers"), "cpu memory\n").unwrap();
        let error = format!("{:#}", peak(unified.path()).unwrap_err());
        assert!(error.contains("read ") && error.contains("memory.peak"), "an older kernel: {error}");
    }
}
