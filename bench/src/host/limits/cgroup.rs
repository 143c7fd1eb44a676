//! Limits of the cgroups above the boxes: of tasks, of memory, and of how many cgroups may be below (v2).
//!
//! Boxes with cgroups of their own are made below the run's parent, wherever we are; a bare process and a virtual
//! machine stay in the cgroups that the lab is in.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Asked, Limit, number};
use crate::host::cgroups;

/// From here on a v1 limit of memory is none: the kernel's own default is the largest number of whole pages.
const NONE: u64 = 1 << 62;

pub(super) fn limits(asked: &Asked) -> Vec<Limit> {
    let with_cgroups = asked.needs.memory_cgroups > 0;
    let place = |controller: &str| -> Option<(PathBuf, PathBuf)> {
        let root = cgroups::root_of(controller)?;
        let path = match asked.parent {
            Some(parent) => parent.to_owned(),
            None if with_cgroups => "/".into(),
            // Above what this cgroup namespace shows (`/..`) limits cannot be read.
            None => cgroups::of_this_process(controller).filter(|path| !path.starts_with("/.."))?,
        };
        Some((root.clone(), root.join(path.trim_start_matches('/'))))
    };
    let mut limits = Vec::new();
    if let Some((root, dir)) = place("pids") {
        limits.extend(nearest(&root, &dir, u64::from(asked.needs.tasks), |at| {
            Some((number(at.join("pids.max"))?, number(at.join("pids.current"))?, at.join("pids.max")))
        }));
    }
    if let Some((root, dir)) = place("memory") {
        limits.extend(
            memory(&root, &dir, asked.memory.bytes)
                .map(|it| Limit { source: format!("as of the host: {}", asked.memory.source), ..it }),
        );
        let descendants = nearest(&root, &dir, u64::from(asked.needs.memory_cgroups), |at| {
            let stat = fs::read_to_string(at.join("cgroup.stat")).ok()?;
            let file = at.join("cgroup.max.descendants");
            Some((number(&file)?, descendants(&stat)?, file))
        });
        limits.extend(descendants.map(|it| Limit {
            resource: "cgroup ids",
            what: "cgroups below the cgroup above".into(),
            ..it
        }));
    }
    limits
}

/// The limit of memory that leaves least to a cgroup of this path within its hierarchy, whether or not that is there
/// yet; none where no cgroup from it upwards has one.
pub fn memory_below(path: &str) -> Option<Limit> {
    let root = cgroups::root_of("memory")?;
    memory(&root, &root.join(path.trim_start_matches('/')), 0)
}

fn memory(root: &Path, dir: &Path, per_box: u64) -> Option<Limit> {
    let found = nearest(root, dir, per_box, |at| {
        let files = [("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")];
        files.iter().find_map(|(limit, usage)| {
            let most = number(at.join(limit)).filter(|it| *it < NONE)?;
            Some((most, number(at.join(usage))?, at.join(limit)))
        })
    });
    found.map(|it| Limit { resource: "memory", what: "memory of the cgroup above".into(), bytes: true, ..it })
}

/// Of the cgroups from `dir` up to `root` the one whose limit leaves the least, if one has a limit.
fn nearest(
    root: &Path,
    dir: &Path,
    per_box: u64,
    read: impl Fn(&Path) -> Option<(u64, u64, PathBuf)>,
) -> Option<Limit> {
    let above = dir.ancestors().take_while(|at| at.starts_with(root));
    let (limit, in_use, file) =
        above.filter_map(read).min_by_key(|(limit, in_use, _)| limit.saturating_sub(*in_use))?;
    Some(Limit {
        resource: "pids",
        what: "tasks of the cgroup above".into(),
        bytes: false,
        per_box,
        source: "the contender's claim, kept by bench/tests/needs.rs".into(),
        limit: Some(limit),
        in_use,
        set_in: format!("{} (cgroups(7))", file.display()),
    })
}

fn descendants(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("nr_descendants "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_cgroups_below_is_read() {
        assert_eq!(descendants("nr_descendants 17\nnr_dying_descendants 3\n"), Some(17));
    }

    #[test]
    fn of_all_cgroups_above_the_one_that_leaves_least_counts() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("a/b/c");
        fs::create_dir_all(&inner).unwrap();
        for (dir, limit, usage) in [("a", "100", "10"), ("a/b", "200", "150"), ("a/b/c", "max", "1")] {
            fs::write(root.path().join(dir).join("pids.max"), limit).unwrap();
            fs::write(root.path().join(dir).join("pids.current"), usage).unwrap();
        }
        let read = |at: &Path| {
            Some((number(at.join("pids.max"))?, number(at.join("pids.current"))?, at.join("pids.max")))
        };
        let limit = nearest(root.path(), &inner, 3, read).unwrap();
        assert_eq!((limit.limit, limit.in_use, limit.largest()), (Some(200), 150, Some(16)));
        assert!(limit.set_in.contains("/a/b/pids.max"), "{}", limit.set_in);
    }
}
