//! What the engines (docker, containerd, podman) have in common: one image made of the common root, our seccomp
//! profile as a file, a private daemon where none runs, and a note of what was made inside an engine that is
//! somebody else's.

pub mod archive;
pub mod daemon;
pub mod journal;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::program::answer;
use crate::site::{Site, Start};

/// Where a box finds the directory with its FIFOs.
pub const CHANNEL: &str = "/channel";

/// The directory of one engine in the site: its configuration, and all that a private one keeps.
///
/// # Errors
/// When it cannot be made.
pub fn directory(site: &Site, engine: &str) -> Result<PathBuf> {
    let dir = place(site, engine);
    fs::create_dir_all(&dir).with_context(|| format!("make the directory {}", dir.display()))?;
    Ok(dir)
}

/// The same as a path; it may not be there yet.
pub fn place(site: &Site, engine: &str) -> PathBuf {
    site.dir().join(engine)
}

/// The cgroup of one engine and of all its boxes, as a path within each hierarchy.
pub fn cgroup(site: &Site, engine: &str) -> String {
    format!("{}/{engine}", site.cgroup_parent())
}

/// The run's name: what everything of ours in an engine carries.
pub fn run_name(site: &Site) -> String {
    site.dir().file_name().unwrap_or_default().to_string_lossy().to_lowercase()
}

/// The name of one box in an engine that others may use too.
pub fn box_name(site: &Site, start: &Start) -> String {
    format!("tare-{}-{}", run_name(site), start.id)
}

/// The name of our image in an engine.
pub fn image(site: &Site) -> String {
    format!("tare/{}:1", run_name(site))
}

/// Writes our runtime's seccomp profile as a file that engines take, and returns its path.
///
/// # Errors
/// When it cannot be written.
pub fn write_seccomp(dir: &Path) -> Result<()> {
    let profile = &tare_runtime::oci::default_config(None)["linux"]["seccomp"];
    let file = seccomp_file(dir);
    fs::write(&file, serde_json::to_vec(profile)?).with_context(|| format!("write {}", file.display()))
}

/// Where [`write_seccomp`] puts the profile.
pub fn seccomp_file(dir: &Path) -> PathBuf {
    dir.join("seccomp.json")
}

/// Makes the directory of one box with the one for its FIFOs in it.
///
/// # Errors
/// When it cannot be made.
pub fn make_box_directory(site: &Site, start: &Start) -> Result<()> {
    let dir = fifos(site, start);
    fs::create_dir_all(&dir).with_context(|| format!("make the directory {}", dir.display()))
}

/// The directory of one box's FIFOs.
pub fn fifos(site: &Site, start: &Start) -> PathBuf {
    site.instance(start).join("channel")
}

/// Cgroups that boxes have left: what is below the engine's, but its daemon's and those in which something runs.
pub fn idle_cgroups(site: &Site, engine: &str) -> Vec<PathBuf> {
    let tops = crate::host::cgroups::below(&cgroup(site, engine));
    tops.iter()
        .filter_map(|top| fs::read_dir(top).ok())
        .flat_map(|entries| entries.flatten())
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter(|entry| entry.file_name() != daemon::CGROUP)
        .map(|entry| entry.path())
        .filter(|path| is_idle(path))
        .collect()
}

fn is_idle(cgroup: &Path) -> bool {
    let below = fs::read_dir(cgroup).into_iter().flatten().flatten();
    let mut below = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    crate::host::cgroups::members(cgroup).is_empty() && below.all(|entry| is_idle(&entry.path()))
}

/// Instances of inotify that an engine's helper keeps for a box: on cgroup v2 it learns so that memory ran out
/// (`EventChan` in containerd's cgroups, `cgroup.c` in conmon), on v1 by an eventfd.
pub fn watches() -> u32 {
    u32::from(crate::host::cgroups::mode() == "v2")
}

/// Asks an engine's client, see [`answer`].
///
/// # Errors
/// As `answer`.
pub fn call(argv: &[String], env: &[(String, String)]) -> Result<String> {
    let (program, args) = argv.split_first().context("a client without a name")?;
    answer(Path::new(program), args, env)
}
