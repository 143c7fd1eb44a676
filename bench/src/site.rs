//! The site of one run: the directory and the cgroup parent in which everything that the run makes lives.
//!
//! Both carry the run's name, so `tare clean` can take away what a killed run left, and only that. The
//! directory is made, with a note on whose it is, before anything else: it is the run's journal.

mod parent;

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::unistd::{Uid, getpid};
use serde::{Deserialize, Serialize};

use crate::host::{cgroups, process};
use crate::payload::PAYLOAD;

pub use parent::ParentCgroup;

/// Directories that every container's root has, for mounts to be made on.
const ROOT_DIRS: [&str; 8] = ["proc", "sys", "dev", "tmp", "run", "etc", "usr", "var"];

/// One start: the instance's name, unique in the run, and the nonce its payload must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Name of the instance.
    pub id: String,
    /// What READY must carry.
    pub nonce: String,
}

/// Whose site it is; kept in the site's directory as `owner.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The run.
    pub run: String,
    /// Process id of the lab.
    pub pid: u32,
    /// Start time of that process in clock ticks after boot (proc(5), /proc/PID/stat): ids are reused.
    pub started: u64,
    /// The parent of the run's cgroups, as a path within each hierarchy.
    pub cgroup_parent: String,
    /// Cgroups above it that were not there before the run, the innermost first.
    #[serde(default)]
    pub made: Vec<PathBuf>,
}

impl Owner {
    /// Whether the lab that made the site still runs.
    pub fn alive(&self) -> bool {
        process::start_time(self.pid) == Some(self.started)
    }

    /// Writes down whose the site is. Where that cannot be done the site goes: nobody would ever know whose it was.
    fn note(&self, dir: &Path) -> Result<()> {
        let path = dir.join("owner.json");
        let written = fs::write(&path, serde_json::to_vec(self)?);
        if written.is_err() {
            let _ = fs::remove_dir_all(dir);
        }
        written.with_context(|| format!("write {}", path.display()))
    }

    /// Takes the run's cgroups away, with what is in them. Those above it that other runs share, or that were made on
    /// the way, go when nothing is left in them.
    ///
    /// # Errors
    /// When one of the run's stays.
    pub fn remove_cgroups(&self) -> Result<()> {
        cgroups::remove_tree(&self.cgroup_parent)?;
        if let Some((shared, _)) = self.cgroup_parent.rsplit_once('/') {
            cgroups::remove_empty(shared);
        }
        for dir in &self.made {
            let _ = fs::remove_dir(dir);
        }
        Ok(())
    }
}

/// Where a run keeps what it makes.
#[derive(Debug)]
pub struct Site {
    dir: PathBuf,
    owner: Owner,
    birthplaces: Vec<PathBuf>,
    root: bool,
}

impl Site {
    /// Makes the site of this run with the common root file system in it.
    ///
    /// # Errors
    /// When the directory cannot be made, or is somebody else's.
    pub fn create(run: &str) -> Result<Self> {
        Self::create_in(&base(), run)
    }

    /// The same, with all that the run makes below a cgroup that is there already.
    ///
    /// # Errors
    /// As [`Site::create`], and when no hierarchy has that cgroup.
    pub fn create_below(parent: &ParentCgroup, run: &str) -> Result<Self> {
        parent.directories()?;
        Self::make(&base(), run, Some(parent))
    }

    /// The same below another directory; for tests.
    ///
    /// # Errors
    /// As [`Site::create`].
    pub fn create_in(base: &Path, run: &str) -> Result<Self> {
        Self::make(base, run, None)
    }

    fn make(base: &Path, run: &str, parent: Option<&ParentCgroup>) -> Result<Self> {
        let dir = base.join(run);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(base)
            .with_context(|| format!("make the directory {}", base.display()))?;
        let owner = fs::metadata(base)?;
        let me = Uid::effective();
        if std::os::unix::fs::MetadataExt::uid(&owner) != me.as_raw() {
            bail!("{} belongs to another user: remove it, or run as that user", base.display());
        }
        DirBuilder::new()
            .mode(0o700)
            .create(&dir)
            .with_context(|| format!("make the directory {}", dir.display()))?;
        let pid = getpid().as_raw() as u32;
        let owner = Owner {
            run: run.to_owned(),
            pid,
            started: process::start_time(pid).unwrap_or(0),
            cgroup_parent: format!("{}/tare/{run}", parent.map_or("", ParentCgroup::path)),
            made: parent.map(ParentCgroup::missing).unwrap_or_default(),
        };
        owner.note(&dir)?;
        let birthplaces =
            parent.map_or_else(|| Ok(Vec::new()), |it| it.make_birthplaces(&owner.cgroup_parent));
        let site = Self { dir, owner, birthplaces: Vec::new(), root: me.is_root() };
        // Once there is a site, it goes with all that is in it whatever fails.
        let made = birthplaces.and_then(|made| site.make_image().map(|()| made));
        match made {
            Ok(birthplaces) => Ok(Self { birthplaces, ..site }),
            Err(error) => {
                let _ = site.remove();
                Err(error)
            }
        }
    }

    fn make_image(&self) -> Result<()> {
        let rootfs = self.rootfs();
        for name in ROOT_DIRS {
            fs::create_dir_all(rootfs.join(name))?;
        }
        fs::create_dir(self.boxes())?;
        let payload = self.payload();
        fs::write(&payload, PAYLOAD)?;
        fs::set_permissions(&payload, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// The site's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The root file system that every container gets as its lower layer.
    pub fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// The payload as the host sees it.
    pub fn payload(&self) -> PathBuf {
        self.rootfs().join("payload")
    }

    /// The directory in which instances keep theirs.
    pub fn boxes(&self) -> PathBuf {
        self.dir.join("boxes")
    }

    /// The directory of one instance.
    pub fn instance(&self, start: &Start) -> PathBuf {
        self.boxes().join(&start.id)
    }

    /// State directory of our runtime.
    pub fn runtime_root(&self) -> PathBuf {
        self.dir.join("runtime")
    }

    /// Parent of the run's cgroups, as a path within each hierarchy.
    pub fn cgroup_parent(&self) -> &str {
        &self.owner.cgroup_parent
    }

    /// The cgroups in which what is started for a box is born, where the run lives below one that somebody made.
    pub fn birthplaces(&self) -> &[PathBuf] {
        &self.birthplaces
    }

    /// Whether the run has root's rights.
    pub fn is_root(&self) -> bool {
        self.root
    }

    /// The cgroup directories that an instance may have, one per hierarchy.
    pub fn cgroups_of(&self, start: &Start) -> Vec<PathBuf> {
        cgroups::below(&format!("{}/{}", self.owner.cgroup_parent, start.id))
    }

    /// Takes the site away: what is left in its cgroups, the cgroups, the directory.
    ///
    /// # Errors
    /// When something of it stays.
    pub fn remove(self) -> Result<()> {
        self.owner.remove_cgroups()?;
        fs::remove_dir_all(&self.dir).with_context(|| format!("remove {}", self.dir.display()))
    }
}

/// Where sites are made. On a disk where programs may be executed, as images of containers are.
pub fn base() -> PathBuf {
    let user = Uid::effective();
    if user.is_root() { "/var/lib/tare".into() } else { format!("/var/tmp/tare-{user}").into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_that_nobody_can_be_told_of_is_not_left() {
        let dir = tempfile::tempdir().unwrap();
        let site = dir.path().join("site");
        // As on a full disk, the note cannot be written.
        fs::create_dir_all(site.join("owner.json")).unwrap();
        let owner = Owner {
            run: "it".into(),
            pid: 1,
            started: 0,
            cgroup_parent: "/tare/it".into(),
            made: Vec::new(),
        };
        let error = owner.note(&site).unwrap_err().to_string();
        assert!(error.contains("write") && error.contains("owner.json"), "{error}");
        assert!(!site.exists());
    }
}
