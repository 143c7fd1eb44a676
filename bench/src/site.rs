//! The site of one run: the directory and the cgroup parent in which everything that the run makes lives.
//!
//! Both carry the run's name, so `tare clean` can take away what a killed run left, and only that. The
//! directory is made, with a note on whose it is, before anything else: it is the run's journal.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::unistd::{Uid, getpid};
use serde::{Deserialize, Serialize};

use crate::host::{cgroups, process};
use crate::payload::PAYLOAD;

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
}

impl Owner {
    /// Whether the lab that made the site still runs.
    pub fn alive(&self) -> bool {
        process::start_time(self.pid) == Some(self.started)
    }
}

/// Where a run keeps what it makes.
#[derive(Debug)]
pub struct Site {
    dir: PathBuf,
    cgroup_parent: String,
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

    /// The same below another directory; for tests.
    ///
    /// # Errors
    /// As [`Site::create`].
    pub fn create_in(base: &Path, run: &str) -> Result<Self> {
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
        let site = Self { dir, cgroup_parent: format!("/tare/{run}"), root: me.is_root() };
        let pid = getpid().as_raw() as u32;
        let owner = Owner {
            run: run.to_owned(),
            pid,
            started: process::start_time(pid).unwrap_or(0),
            cgroup_parent: site.cgroup_parent.clone(),
        };
        fs::write(site.dir.join("owner.json"), serde_json::to_vec(&owner)?)?;
        site.make_image()?;
        Ok(site)
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
        &self.cgroup_parent
    }

    /// Whether the run has root's rights.
    pub fn is_root(&self) -> bool {
        self.root
    }

    /// The cgroup directories that an instance may have, one per hierarchy.
    pub fn cgroups_of(&self, start: &Start) -> Vec<PathBuf> {
        cgroups::below(&format!("{}/{}", self.cgroup_parent, start.id))
    }

    /// Takes the site away: what is left in its cgroups, the cgroups, the directory.
    ///
    /// # Errors
    /// When something of it stays.
    pub fn remove(self) -> Result<()> {
        cgroups::remove_tree(&self.cgroup_parent)?;
        cgroups::remove_empty("/tare");
        fs::remove_dir_all(&self.dir).with_context(|| format!("remove {}", self.dir.display()))
    }
}

/// Where sites are made. On a disk where programs may be executed, as images of containers are.
pub fn base() -> PathBuf {
    let user = Uid::effective();
    if user.is_root() { "/var/lib/tare".into() } else { format!("/var/tmp/tare-{user}").into() }
}
