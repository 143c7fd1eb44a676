//! The host's cgroup hierarchies, and the part of them below a run's parent.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::clock::Deadline;

/// How the host's controllers are laid out: `v1`, `v2`, `hybrid` or `none` (cgroups(7)).
pub fn mode() -> &'static str {
    mode_of(&mounts(&fs::read_to_string("/proc/self/mounts").unwrap_or_default()))
}

fn mode_of(mounts: &[(String, PathBuf)]) -> &'static str {
    let v1 = mounts.iter().any(|(kind, _)| kind == "cgroup");
    let v2 = mounts.iter().any(|(kind, _)| kind == "cgroup2");
    match (v1, v2) {
        (true, true) => "hybrid",
        (true, false) => "v1",
        (false, true) => "v2",
        (false, false) => "none",
    }
}

fn mounts(text: &str) -> Vec<(String, PathBuf)> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            let (at, kind) = (words.next()?, words.next()?);
            kind.starts_with("cgroup").then(|| (kind.to_owned(), PathBuf::from(at)))
        })
        .collect()
}

/// The roots of all hierarchies.
pub fn roots() -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts(&text).into_iter().map(|(_, at)| at).collect()
}

/// The directory of this v1 controller's hierarchy, or of the v2 tree when it is the only one.
pub fn root_of(controller: &str) -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/mounts").ok()?;
    let v1 = text.lines().find_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let options = words.get(3)?.split(',').any(|option| option == controller);
        (words.get(2) == Some(&"cgroup") && options).then(|| PathBuf::from(words[1]))
    });
    v1.or_else(|| mounts(&text).into_iter().find(|(kind, _)| kind == "cgroup2").map(|(_, at)| at))
}

/// The cgroup that this process is in, as a path within the hierarchy of this controller, or within the v2 tree where
/// that is the only one (/proc/self/cgroup, cgroups(7)).
pub fn of_this_process(controller: &str) -> Option<String> {
    of_process(&fs::read_to_string("/proc/self/cgroup").ok()?, controller)
}

fn of_process(text: &str, controller: &str) -> Option<String> {
    let lines = || text.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let v1 = lines().find(|(names, _)| names.split(',').any(|name| name == controller));
    v1.or_else(|| lines().find(|(names, _)| names.is_empty())).map(|(_, path)| path.to_owned())
}

/// Where a cgroup of this path would be in each hierarchy.
pub fn below(path: &str) -> Vec<PathBuf> {
    roots().into_iter().map(|root| root.join(path.trim_start_matches('/'))).collect()
}

/// The cgroup directories at and below this path that exist, in all hierarchies, innermost first.
pub fn tree(path: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for top in below(path) {
        walk(&top, &mut found);
    }
    found.reverse();
    found
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    found.push(dir.to_owned());
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), found);
        }
    }
}

/// Kills what is in the cgroups at and below this path and removes them.
///
/// A cgroup can be removed only when the kernel has finished with its last process, which happens after that
/// process was reaped and is announced by no event on v1. So this goes through all of them again and again, for as
/// long as some go; a pass that removes none is repeated for at most ten seconds. It looks anew each time, for what
/// is being killed may have made one more.
///
/// # Errors
/// When one of them stays.
pub fn remove_tree(path: &str) -> Result<()> {
    let mut deadline = Deadline::after(PATIENCE);
    loop {
        let left = tree(path);
        // Those that are free need no look at who is in them: with tens of thousands that is most of the work.
        let stay = left.iter().filter_map(|dir| Some((dir, removed(dir).err()?)));
        let stay: Vec<(&PathBuf, io::Error)> = stay.collect();
        if stay.len() < left.len() {
            deadline = Deadline::after(PATIENCE);
        }
        for pid in stay.iter().flat_map(|(dir, _)| members(dir)) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        match stay.into_iter().next() {
            None if left.is_empty() => return Ok(()),
            None => {}
            Some(_) if !deadline.passed() => std::thread::sleep(Duration::from_millis(2)),
            Some((dir, e)) => return Err(e).with_context(|| format!("remove the cgroup {}", dir.display())),
        }
    }
}

/// How long cgroups that cannot be removed are tried again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Removes a cgroup, or finds it gone.
fn removed(dir: &Path) -> io::Result<()> {
    fs::remove_dir(dir).or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
}

/// Removes a cgroup that may be shared with other runs: it stays where one of them still uses it.
pub fn remove_empty(path: &str) {
    for dir in below(path) {
        let _ = fs::remove_dir(dir);
    }
}

/// Removes the cgroups at and below this path in which nothing runs; the kernel keeps the others (rmdir(2), EBUSY).
pub fn remove_idle(path: &str) {
    for dir in tree(path) {
        let _ = fs::remove_dir(dir);
    }
}

/// Has the cgroups from `top` down to the one above `dir` pass these controllers on, those of them that they have: on v2
/// a cgroup has the controllers that the one above it passes on, and on v1 there is nothing to do.
///
/// # Errors
/// When the kernel refuses, as where processes are in one of them.
pub fn pass_on(top: &Path, dir: &Path, controllers: &[&str]) -> Result<()> {
    let above: Vec<&Path> = dir.ancestors().skip(1).take_while(|it| it.starts_with(top)).collect();
    for at in above.into_iter().rev() {
        let Ok(has) = fs::read_to_string(at.join("cgroup.controllers")) else { return Ok(()) };
        let file = at.join("cgroup.subtree_control");
        for one in controllers.iter().filter(|it| has.split_whitespace().any(|has| has == **it)) {
            fs::write(&file, format!("+{one}"))
                .with_context(|| format!("write +{one} to {}", file.display()))?;
        }
    }
    Ok(())
}

/// A v1 cpuset takes nobody in before it has CPUs and memory nodes, and inherits none (cpuset(7)): gives it those of
/// the one above. Returns whether somebody may enter; of a cgroup that is no cpuset always.
pub fn fill_cpuset(dir: &Path) -> bool {
    let files = ["cpuset.cpus", "cpuset.mems"];
    if !dir.join("cpuset.memory_migrate").exists() {
        return true;
    }
    let above: Vec<PathBuf> =
        dir.ancestors().take_while(|at| at.join(files[0]).exists()).map(Into::into).collect();
    for at in above.iter().rev().skip(1) {
        for file in files {
            let text = fs::read_to_string(at.join(file)).unwrap_or_default();
            let parent = at.parent().and_then(|it| fs::read_to_string(it.join(file)).ok());
            if text.trim().is_empty() && fs::write(at.join(file), parent.unwrap_or_default()).is_err() {
                return false;
            }
        }
    }
    true
}

/// The processes in one cgroup directory.
pub fn members(dir: &Path) -> Vec<i32> {
    fs::read_to_string(dir.join("cgroup.procs"))
        .map(|text| text.lines().filter_map(|pid| pid.parse().ok()).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Taken from a hybrid host; only the lines that matter here.
    const HYBRID: &str = "proc /proc proc rw 0 0\n\
        cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0\n\
        cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0\n\
        cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n";
    const V2: &str = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime,nsdelegate 0 0\n";

    #[test]
    fn the_layout_is_told_from_the_mounts() {
        assert_eq!(mode_of(&mounts(HYBRID)), "hybrid");
        assert_eq!(mode_of(&mounts(V2)), "v2");
        assert_eq!(mode_of(&mounts("proc /proc proc rw 0 0\n")), "none");
        assert_eq!(mounts(HYBRID).len(), 3);
    }

    #[test]
    fn controllers_are_passed_on_from_the_top_to_the_one_above_and_only_those_that_are_there() {
        let root = tempfile::tempdir().unwrap();
        let (top, dir) = (root.path().join("p"), root.path().join("p/a/b"));
        fs::create_dir_all(&dir).unwrap();
        for at in [root.path(), &top, &top.join("a"), &dir] {
            fs::write(at.join("cgroup.controllers"), "cpu memory\n").unwrap();
        }
        pass_on(&top, &dir, &["memory", "pids"]).unwrap();
        let passed = |at: &Path| fs::read_to_string(at.join("cgroup.subtree_control")).ok();
        assert_eq!([passed(&top), passed(&top.join("a"))], [Some("+memory".into()), Some("+memory".into())]);
        assert_eq!([passed(root.path()), passed(&dir)], [None, None]);
        let v1 = tempfile::tempdir().unwrap();
        pass_on(v1.path(), &v1.path().join("x"), &["memory"]).unwrap();
        assert_eq!(fs::read_dir(v1.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_process_is_found_in_the_hierarchy_of_a_controller() {
        let text = "9:pids:/a\n8:cpu,cpuacct:/b:c\n0::/d\n";
        assert_eq!(of_process(text, "pids").as_deref(), Some("/a"));
        assert_eq!(of_process(text, "cpuacct").as_deref(), Some("/b:c"));
        assert_eq!(of_process(text, "memory").as_deref(), Some("/d"), "only in the v2 tree");
    }
}
