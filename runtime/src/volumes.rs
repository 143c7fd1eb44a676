//! Volumes: files that a box does not lose, and files that it may not keep.
//!
//! A container's own layer goes with it. What is to stay, or to be shared, is mounted from outside: a directory of the
//! host, or a *named volume*, a directory of ours that outlives the container; a tmpfs is memory, gone with the box.
//! Without volumes a database in a container would be lost with every new version of its image.
//!
//! A volume becomes a mount like those of a bundle (`oci/mounts.rs`), so there is one way to read options and one to
//! mount: set-user-id programs and devices in it mean nothing, read-only holds for all that is mounted below it too, and
//! a link at its target leads nowhere but into the box (`resolve.rs`).
//!
//! Man page: mount(8), "Bind mount operation"; tmpfs(5). Look at it:
//! `tare-runtime run -v data:/data busybox:1 -- mount`

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Mount, MountBuilder};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::spec::Id;

/// A mount that a box is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// What is mounted.
    pub source: VolumeSource,
    /// Where, as the box sees it. Absolute; made if it is missing.
    pub target: PathBuf,
    /// Words of mount(8), such as "ro".
    #[serde(default)]
    pub options: Vec<String>,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VolumeSource {
    /// A file or directory of the host. Absolute.
    Host(PathBuf),
    /// A volume by its name.
    Named(Id),
    /// Memory.
    Tmpfs,
}

impl Volume {
    /// Understands `SOURCE:TARGET[:OPTION,...]`: a source with a `/` in it is the host's, another a volume's name.
    ///
    /// # Errors
    /// [`Error::Spec`].
    pub fn parse(text: &str) -> Result<Self> {
        let mut parts = text.splitn(3, ':');
        let (source, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let source = if source.contains('/') {
            let path = std::path::absolute(source);
            VolumeSource::Host(path.map_err(|error| fault(format!("{source:?}: {error}")))?)
        } else {
            VolumeSource::Named(Id::new(source).map_err(|error| fault(format!("{text:?}: {error}")))?)
        };
        Self::new(source, target, parts.next(), text)
    }

    /// Understands `TARGET[:OPTION,...]`, a tmpfs.
    ///
    /// # Errors
    /// [`Error::Spec`].
    pub fn parse_tmpfs(text: &str) -> Result<Self> {
        let (target, options) =
            text.split_once(':').map_or((text, None), |(target, rest)| (target, Some(rest)));
        Self::new(VolumeSource::Tmpfs, target, options, text)
    }

    fn new(source: VolumeSource, target: &str, options: Option<&str>, text: &str) -> Result<Self> {
        if !target.starts_with('/') || target.trim_matches('/').is_empty() {
            return Err(fault(format!(
                "{text:?}: where it is to be mounted is no absolute path below / (such as data:/data:ro)"
            )));
        }
        let options =
            options.unwrap_or_default().split(',').filter(|word| !word.is_empty()).map(str::to_owned);
        Ok(Self { source, target: target.into(), options: options.collect() })
    }

    /// The same in a bundle's words.
    ///
    /// # Errors
    /// [`Error::Spec`] for a name: its directory is to be found first, see [`Volumes::open`].
    pub(crate) fn mount(&self) -> Result<Mount> {
        // What a box can bring in there must not be a power on the host.
        let mut options: Vec<&str> = vec!["nosuid", "nodev"];
        // "Read-only" means all of it.
        options.extend(self.options.iter().map(|word| match (word.as_str(), &self.source) {
            ("ro", VolumeSource::Host(_)) => "rro",
            (word, _) => word,
        }));
        let mut mount = MountBuilder::default().destination(self.target.clone());
        match &self.source {
            VolumeSource::Host(path) => {
                mount = mount.source(path.clone()).typ("bind");
                options.push("rbind");
                if !self.propagates() {
                    options.push("rprivate");
                }
            }
            VolumeSource::Tmpfs => mount = mount.source("tmpfs").typ("tmpfs"),
            VolumeSource::Named(name) => return Err(fault(format!("volume {name} has no directory yet"))),
        }
        let options: Vec<String> = options.into_iter().map(str::to_owned).collect();
        mount.options(options).build().map_err(|error| fault(error.to_string()))
    }

    fn propagates(&self) -> bool {
        let words =
            ["shared", "rshared", "slave", "rslave", "unbindable", "runbindable", "private", "rprivate"];
        self.options.iter().any(|option| words.contains(&option.as_str()))
    }
}

fn fault(why: impl Into<String>) -> Error {
    Error::Spec { field: "volume".into(), why: why.into() }
}

/// The named volumes, each a directory.
#[derive(Debug)]
pub struct Volumes {
    root: PathBuf,
}

impl Volumes {
    /// Those in this directory, which is made when it is first needed.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Finds the directory of each named volume, and makes it if it is new.
    ///
    /// # Errors
    /// [`Error::Step`] of those that could not be made.
    pub fn open(&self, volumes: &mut [Volume]) -> Result<()> {
        for volume in volumes {
            if let VolumeSource::Named(name) = &volume.source {
                let path = self.root.join(name.as_str());
                let made = |path: &Path, mode| DirBuilder::new().recursive(true).mode(mode).create(path);
                // Closed to others on the way: a box may put a setuid program there.
                made(&self.root, 0o700)
                    .and_then(|()| made(&path, 0o755))
                    .map_err(|error| Error::io("volumes", path.display().to_string(), &error))?;
                volume.source = VolumeSource::Host(path);
            }
        }
        Ok(())
    }

    /// Their names, sorted.
    ///
    /// # Errors
    /// [`Error::Step`] if the directory cannot be read.
    pub fn list(&self) -> Result<Vec<String>> {
        let failed = |error| Error::io("volumes", self.root.display().to_string(), &error);
        let entries = match std::fs::read_dir(&self.root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(failed)?,
        };
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
        let mut names = names.collect::<std::io::Result<Vec<String>>>().map_err(failed)?;
        names.sort();
        Ok(names)
    }

    /// Removes a volume and all that is in it. `containers`: those that may use it.
    ///
    /// # Errors
    /// [`Error::Spec`] where there is none, or a container that runs has it mounted.
    pub fn remove(&self, name: &Id, containers: &[crate::State]) -> Result<()> {
        let path = self.root.join(name.as_str());
        if !path.is_dir() {
            return Err(fault(format!("{name}: there is none of that name (see `volumes`)")));
        }
        if let Some(by) = containers.iter().find(|state| uses(state, &path)) {
            return Err(fault(format!("{name}: container {} has it mounted (delete that first)", by.id)));
        }
        std::fs::remove_dir_all(&path)
            .map_err(|error| Error::io("volumes", path.display().to_string(), &error))
    }
}

/// Whether the container's process sees the directory mounted. The kernel knows: nothing is written down that could be
/// wrong.
fn uses(state: &crate::State, path: &Path) -> bool {
    let Some(process) = &state.process else { return false };
    let mounts = std::fs::read_to_string(format!("/proc/{}/mountinfo", process.pid)).unwrap_or_default();
    let Ok(path) = path.canonicalize() else { return false };
    // The fourth field is the directory within its file system, which ends like the path on the host.
    mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(3))
        .any(|root| root.len() > 1 && path.ends_with(root.trim_start_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_with_a_slash_is_the_hosts_and_another_a_name() {
        let volume = Volume::parse("/srv/a:/data:ro,noexec").expect("host");
        assert_eq!(volume.source, VolumeSource::Host("/srv/a".into()));
        assert_eq!(volume.options, ["ro", "noexec"]);
        let volume = Volume::parse("data:/data").expect("named");
        assert_eq!(volume.source, VolumeSource::Named(Id::new("data").expect("id")));
        assert_eq!(Volume::parse_tmpfs("/tmp:size=1m").expect("tmpfs").options, ["size=1m"]);
        for bad in ["", "data", "data:", "data:x", "data:/", "..:/x", ":/x", "da ta:/x"] {
            assert!(Volume::parse(bad).is_err(), "{bad}");
        }
        assert!(Volume::parse_tmpfs("tmp").is_err());
    }

    #[test]
    fn read_only_means_all_that_is_below_too() {
        let mount = Volume::parse("/srv:/data:ro").expect("host").mount().expect("mount");
        let options = mount.options().clone().expect("options");
        assert!(
            options.contains(&"rro".to_owned()) && options.contains(&"rprivate".to_owned()),
            "{options:?}"
        );
        let mount = Volume::parse("/srv:/data:rslave").expect("host").mount().expect("mount");
        assert!(!mount.options().clone().expect("options").contains(&"rprivate".to_owned()));
        assert!(Volume::parse("data:/data").expect("named").mount().is_err());
    }
}
