//! The cgroup that somebody made for a run to live below: what it may take is then bounded by that cgroup's limits.
//!
//! What is started for a box (a runtime, a virtual machine, a bare process) is born in a cgroup below it, one for all
//! of them; boxes with cgroups of their own have them beside it. The lab, its spawners and its keepers stay outside:
//! a limit there is to end a box, not the run.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, ensure};

use crate::host::cgroups;

/// Name of the cgroup in which what is started for a box is born.
const BIRTHPLACE: &str = "boxes";

/// A cgroup's path within each hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentCgroup(String);

impl FromStr for ParentCgroup {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = text.trim_end_matches('/');
        let names = path.strip_prefix('/').unwrap_or_default();
        let usable = |name: &str| !matches!(name, "" | "." | "..") && !name.contains(char::is_whitespace);
        if names.split('/').all(usable) {
            return Ok(Self(path.to_owned()));
        }
        Err("a cgroup's path within its hierarchy begins with / and goes down from there, as /limited for \
             /sys/fs/cgroup/memory/limited"
            .into())
    }
}

impl ParentCgroup {
    /// The path.
    pub fn path(&self) -> &str {
        &self.0
    }

    /// The directories that it is now, one for each hierarchy that has it.
    ///
    /// # Errors
    /// When none has.
    pub fn directories(&self) -> Result<Vec<PathBuf>> {
        let found: Vec<PathBuf> = cgroups::below(&self.0).into_iter().filter(|dir| dir.is_dir()).collect();
        let wanted = cgroups::root_of("memory").unwrap_or_else(|| PathBuf::from("/sys/fs/cgroup"));
        ensure!(
            !found.is_empty(),
            "the parent cgroup {} is in no hierarchy of this host: mkdir {}{} makes it",
            self.0,
            wanted.display(),
            self.0
        );
        Ok(found)
    }

    /// Cgroups that are not there yet and would be made on the way to it in other hierarchies, the innermost first.
    pub(super) fn missing(&self) -> Vec<PathBuf> {
        let mut missing = Vec::new();
        for root in cgroups::roots() {
            let dir = root.join(self.0.trim_start_matches('/'));
            missing.extend(dir.ancestors().take_while(|it| !it.exists()).map(Path::to_owned));
        }
        missing
    }

    /// Makes the cgroups in which what is started for a box is born, below `run` (the run's own path).
    ///
    /// # Errors
    /// When one cannot be made.
    pub(super) fn make_birthplaces(&self, run: &str) -> Result<Vec<PathBuf>> {
        let mut made = Vec::new();
        for parent in self.directories()? {
            let below = run.strip_prefix(&self.0).unwrap_or(run).trim_start_matches('/');
            let dir = parent.join(below).join(BIRTHPLACE);
            fs::create_dir_all(&dir).with_context(|| format!("make the cgroup {}", dir.display()))?;
            // What is born there is to be counted, and not only by the parent. That cannot be while somebody's processes
            // are in the parent itself, whose limits hold anyway; who asks for the count is told.
            let _ = cgroups::pass_on(&parent, &dir, &["memory", "pids"]);
            // A cpuset that has no CPUs takes nobody in: in that hierarchy they stay where they were.
            if cgroups::fill_cpuset(&dir) {
                made.push(dir);
            }
        }
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_begins_at_the_hierarchys_root_and_only_goes_down() {
        assert_eq!("/a/b/".parse(), Ok(ParentCgroup("/a/b".into())));
        for text in ["", "/", "a", "a/b", "/a/../b", "/a//b", "/.", "/a b"] {
            assert!(text.parse::<ParentCgroup>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_parent_that_nobody_made_is_an_error_that_says_how_to_make_it() {
        let parent: ParentCgroup = "/tare-test-nobody-made-this".parse().unwrap();
        let error = parent.directories().unwrap_err().to_string();
        assert!(error.contains("/tare-test-nobody-made-this is in no hierarchy"), "{error}");
        assert!(error.contains("mkdir /"), "{error}");
    }
}
