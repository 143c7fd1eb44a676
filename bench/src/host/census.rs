//! The census: what of ours exists on the host.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use tare_reports::document::Census;

use super::{cgroups, process};
use crate::clock::Deadline;
use crate::site::Site;

/// Counts what of ours exists now.
pub fn take(site: &Site, spawner: u32) -> Census {
    let runtime = site.runtime_root();
    Census {
        processes: process::descendants(spawner).len() as u64,
        mounts: mounts_below(site.dir(), spawner),
        cgroups: cgroups::tree(site.cgroup_parent()).iter().filter(|dir| !is_top(dir, site)).count() as u64,
        namespaces: namespaces(),
        links: fs::read_dir("/sys/class/net").map(|dir| dir.count() as u64).unwrap_or(0),
        files: entries(&site.boxes()) + entries(&runtime),
    }
}

/// Takes the census until it equals `before`, for at most `within`: namespaces die in kernel workers, some
/// time after the last process in them.
pub fn settle(site: &Site, spawner: u32, before: &Census, within: Duration) -> Census {
    let deadline = Deadline::after(within);
    loop {
        let now = take(site, spawner);
        if now == *before || deadline.passed() {
            return now;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_top(dir: &Path, site: &Site) -> bool {
    dir.ends_with(site.cgroup_parent().trim_start_matches('/'))
}

fn entries(dir: &Path) -> u64 {
    // Our runtime keeps images beside its boxes, and no box's name begins with a dot.
    let of_boxes = |entry: &fs::DirEntry| !entry.file_name().as_encoded_bytes().starts_with(b".");
    fs::read_dir(dir).map(|dir| dir.flatten().filter(of_boxes).count() as u64).unwrap_or(0)
}

/// Mounts below a directory, in the host's mount namespace and in the spawner's.
fn mounts_below(dir: &Path, spawner: u32) -> u64 {
    ["self".to_owned(), spawner.to_string()]
        .iter()
        .filter_map(|who| fs::read_to_string(format!("/proc/{who}/mountinfo")).ok())
        .map(|text| {
            text.lines().filter(|line| mount_point(line).is_some_and(|at| at.starts_with(dir))).count()
        })
        .sum::<usize>() as u64
}

fn mount_point(line: &str) -> Option<&Path> {
    line.split(' ').nth(4).map(Path::new)
}

/// Namespaces that a process of the host is in or a mount keeps alive (namespaces(7), lsns(8)). Where the
/// kernel counts network namespaces itself (root only), those that nothing visible holds are counted too.
fn namespaces() -> u64 {
    let mut seen = BTreeSet::new();
    for process in process::all() {
        if let Ok(namespaces) = process.namespaces() {
            seen.extend(namespaces.0.values().map(|ns| ns.identifier));
        }
    }
    let bound = fs::read_to_string("/proc/self/mountinfo")
        .map(|text| text.lines().filter(|line| line.contains(" - nsfs ")).count())
        .unwrap_or(0);
    (seen.len() + bound) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_point_is_the_fifth_word() {
        let line = "36 35 98:0 /mnt1 /var/lib/tare/x rw,noatime master:1 - ext3 /dev/root rw";
        assert_eq!(mount_point(line), Some(Path::new("/var/lib/tare/x")));
        assert_eq!(mount_point("short"), None);
    }

    #[test]
    fn this_process_is_in_some_namespaces() {
        assert!(namespaces() >= 6, "a process is in at least six namespaces");
    }
}
