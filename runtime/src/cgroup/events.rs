//! What the limits did: processes killed for memory, and forks refused.
//!
//! A shell that survives the end of its child, and then exits with 0, hides that the memory limit killed
//! it. The kernel counts both kinds of event for the whole cgroup, so nobody has to have been watching.
//!
//! Man page: cgroups(7). Look at it: `cat /sys/fs/cgroup/memory/tare/*/memory.oom_control`

use std::fmt;
use std::fs;
use std::path::PathBuf;

use serde::Serialize;

/// Counts since the box was made; `None` where this host has no such counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Events {
    /// Processes that were killed because the memory limit was reached.
    pub oom_kills: Option<u64>,
    /// Forks and clones that were refused because the limit of processes was reached.
    pub pids_limit_hits: Option<u64>,
}

impl Events {
    /// Reads them from a box's cgroup directories.
    pub fn of(cgroups: &[PathBuf]) -> Self {
        let counter = |file: &str, key: &str| {
            let text = cgroups.iter().find_map(|directory| fs::read_to_string(directory.join(file)).ok())?;
            text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
        };
        let version_1 = || counter("memory.oom_control", "oom_kill ");
        Self {
            oom_kills: counter("memory.events", "oom_kill ").or_else(version_1),
            pids_limit_hits: counter("pids.events", "max "),
        }
    }

    /// Whether a limit was reached.
    pub fn any(&self) -> bool {
        [self.oom_kills, self.pids_limit_hits].iter().flatten().any(|count| *count > 0)
    }
}

impl fmt::Display for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.oom_kills, "killed because the memory limit was reached"),
            (self.pids_limit_hits, "refused because the limit of processes was reached"),
        ];
        let hit: Vec<String> = counts
            .iter()
            .filter_map(|(count, what)| match count {
                None | Some(0) => None,
                Some(1) => Some(format!("1 process was {what}")),
                Some(count) => Some(format!("{count} processes were {what}")),
            })
            .collect();
        f.write_str(&hit.join(", "))
    }
}
