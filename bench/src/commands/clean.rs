//! `tare clean`: removes what a killed run left, and only that.
//!
//! Everything a run makes is below its site's directory or below its cgroup parent (but for the directories that
//! systemd-nspawn makes for its machines, when it is killed), all of which carry the run's name, and the site's `owner.json` says which lab it belonged to. A site whose lab still runs is left
//! alone; so is everything without an `owner.json`.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::print_bytes;
use crate::contenders::nspawn;
use crate::engine::journal;
use crate::host::{cgroups, ksm, process};
use crate::site::{self, Owner};
use crate::spans::tracefs;

/// Removes leftovers and says what was removed.
///
/// # Errors
/// When something that is ours cannot be removed.
pub fn clean(dry_run: bool) -> Result<i32> {
    let mut out = String::new();
    for (dir, owner) in dead_sites(&site::base())? {
        let left = Leftovers::find(&dir, &owner);
        let verb = if dry_run { "would remove" } else { "removed" };
        for (setting, value) in ksm::noted(&dir) {
            let verb = if dry_run { "would put back" } else { "put back" };
            writeln!(out, "{verb} {} to {value}", setting.display())?;
        }
        if !dry_run {
            left.remove(&dir, &owner)?;
        }
        writeln!(
            out,
            "{verb} run {}: {} processes, {} mounts, {} cgroups, {}",
            owner.run,
            left.processes.len(),
            left.mounts.len(),
            left.cgroups,
            dir.display()
        )?;
    }
    // Instances of ftrace stand in no directory of ours, but their names hold the run's.
    let alive = |run: &str| owner_of(&site::base().join(run)).is_some_and(|owner| owner.alive());
    for name in tracefs::clean(alive, dry_run) {
        let verb = if dry_run { "would remove" } else { "removed" };
        writeln!(out, "{verb} the instance {name} of ftrace")?;
    }
    if out.is_empty() {
        out.push_str("nothing to remove\n");
    }
    print_bytes(out.as_bytes())
}

/// The line that says that killed runs have left something, and what takes it away; none where nothing was left.
pub fn leftovers() -> Option<String> {
    // Whose sites cannot be read is told when this run makes its own.
    let dead = dead_sites(&site::base()).unwrap_or_default();
    let runs: Vec<&str> = dead.iter().map(|(_, owner)| owner.run.as_str()).collect();
    let which = match runs[..] {
        [] => return None,
        [run] => format!("run {run} was killed and has"),
        [first, ..] => format!("run {first} and {} more were killed and have", runs.len() - 1),
    };
    Some(format!(
        "{which} left things on this host, where they may disturb others: `tare clean` removes them"
    ))
}

/// Sites below `base` whose lab is gone.
fn dead_sites(base: &Path) -> Result<Vec<(PathBuf, Owner)>> {
    let entries = match fs::read_dir(base) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e).with_context(|| format!("read {}", base.display())),
    };
    let mut dead = Vec::new();
    for entry in entries.flatten() {
        if let Some(owner) = owner_of(&entry.path())
            && !owner.alive()
        {
            dead.push((entry.path(), owner));
        }
    }
    Ok(dead)
}

fn owner_of(dir: &Path) -> Option<Owner> {
    fs::read(dir.join("owner.json")).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())
}

/// What a dead run left.
struct Leftovers {
    processes: Vec<i32>,
    mounts: Vec<PathBuf>,
    cgroups: usize,
}

impl Leftovers {
    fn find(dir: &Path, owner: &Owner) -> Self {
        let cgroups = cgroups::tree(&owner.cgroup_parent);
        let mut processes: Vec<i32> = cgroups.iter().flat_map(|dir| cgroups::members(dir)).collect();
        processes.extend(process::all().iter().filter(|p| works_in(p, dir)).map(|p| p.pid()));
        processes.sort_unstable();
        processes.dedup();
        Self { processes, mounts: mounts_below(dir), cgroups: cgroups.len() }
    }

    fn remove(&self, dir: &Path, owner: &Owner) -> Result<()> {
        for pid in &self.processes {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        for mount in &self.mounts {
            umount2(mount, MntFlags::MNT_DETACH).with_context(|| format!("unmount {}", mount.display()))?;
        }
        ksm::put_back_noted(dir)?;
        journal::clear(dir)?;
        owner.remove_cgroups()?;
        for path in nspawn::elsewhere(&owner.run) {
            fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))?;
        }
        fs::remove_dir_all(dir).with_context(|| format!("remove {}", dir.display()))
    }
}

/// Whether a process runs from the site: its program lies there, or its arguments name a file there (a VM's
/// initramfs). The site's name holds the run's, so nobody else's process does.
fn works_in(process: &procfs::process::Process, dir: &Path) -> bool {
    let me = std::process::id() as i32;
    if process.pid() == me {
        return false;
    }
    let inside = format!("{}/", dir.display());
    process.exe().is_ok_and(|exe| exe.starts_with(dir))
        || process.cmdline().is_ok_and(|args| args.iter().any(|arg| arg.contains(&inside)))
}

/// Mounts below a directory, the innermost first.
fn mounts_below(dir: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut mounts: Vec<PathBuf> = text
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from)
        .filter(|at| at.starts_with(dir))
        .collect();
    mounts.reverse();
    mounts
}
