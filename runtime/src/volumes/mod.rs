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

mod named;

use std::ffi::OsStr;
use std::path::{Component, PathBuf};

use nix::sched::CloneFlags;
use oci_spec::runtime::{Mount, MountBuilder};
use serde::{Deserialize, Serialize};

use crate::blueprint::Namespaces;
use crate::error::{Error, Result};
use crate::oci;
use crate::spec::Id;

pub use named::{Lent, Volumes};

/// The option of a named volume that is to begin empty.
const NO_COPY: &str = "nocopy";

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
            let no_name = |_| {
                fault(format!(
                    "{text:?}: {source:?} is no volume's name (1 to 64 of A-Z a-z 0-9 _ . -, not beginning with . or -), and \
                     what is the host's has a / in it (such as ./data:/data)"
                ))
            };
            VolumeSource::Named(Id::new(source).map_err(no_name)?)
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
        let volume = Self { source, target: target.into(), options: options.collect() };
        volume.check().map_err(|why| fault(format!("{text:?}: {why}")))?;
        Ok(volume)
    }

    /// Refuses options that mean nothing, before a volume is made for them.
    fn check(&self) -> std::result::Result<(), String> {
        let mut as_found = self.clone();
        if let VolumeSource::Named(_) = self.source {
            as_found.found_at("/".into());
        }
        let nobodys = Namespaces { fresh: CloneFlags::empty(), joined: Vec::new(), id_maps: None };
        match as_found.mount().and_then(|mount| oci::mounts(&[mount], &nobodys)) {
            Err(Error::Spec { why, .. }) => Err(why),
            other => other.map(drop).map_err(|error| error.to_string()),
        }
    }

    /// A named volume's directory has been found.
    fn found_at(&mut self, directory: PathBuf) {
        self.source = VolumeSource::Host(directory);
        self.options.retain(|option| option != NO_COPY);
    }

    /// The same in a bundle's words.
    ///
    /// # Errors
    /// [`Error::Spec`] for a name: its directory is to be found first, see [`Volumes::lend`].
    fn mount(&self) -> Result<Mount> {
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

    /// Whether it shows what is mounted on the host later on.
    pub(crate) fn follows_the_host(&self) -> bool {
        let words = ["shared", "rshared", "slave", "rslave"];
        self.options.iter().any(|option| words.contains(&option.as_str()))
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

/// All volumes of a box as mounts, those above others first: a volume at /a must not cover that at /a/b.
///
/// # Errors
/// [`Error::Spec`] for two at one place, for one over what the kernel shows there, and for options that mean nothing.
pub(crate) fn mounts(volumes: &[Volume], namespaces: &Namespaces) -> Result<Vec<crate::mounts::Mount>> {
    let sorted = sorted(volumes)?;
    oci::mounts(&sorted, namespaces).map_err(|error| match error {
        // There is no file in whose words a place could be told.
        Error::Spec { why, .. } => fault(why),
        other => other,
    })
}

fn sorted(volumes: &[Volume]) -> Result<Vec<Mount>> {
    let mut volumes: Vec<&Volume> = volumes.iter().collect();
    volumes.sort_by_key(|volume| names(volume).len());
    for (index, volume) in volumes.iter().enumerate() {
        let target = names(volume);
        if target.first().is_some_and(|first| *first == "proc") {
            let why = "over /proc nothing can be mounted: the box and this program look there for what the kernel says";
            return Err(fault(format!("{}: {why}", volume.target.display())));
        }
        if target == ["dev"] {
            let why = "over all of /dev nothing can be mounted: what a box must not see is covered with what is there \
                       (below it something can, such as at /dev/data)";
            return Err(fault(format!("{}: {why}", volume.target.display())));
        }
        if volumes[..index].iter().any(|other| names(other) == target) {
            return Err(fault(format!("{}: two volumes at one place", volume.target.display())));
        }
    }
    volumes.into_iter().map(Volume::mount).collect()
}

/// The names on the way to where a volume is mounted.
fn names(volume: &Volume) -> Vec<&OsStr> {
    volume.target.components().fold(Vec::new(), |mut names, part| {
        match part {
            Component::Normal(name) => names.push(name),
            Component::ParentDir => drop(names.pop()),
            _ => {}
        }
        names
    })
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
        for bad in ["", "data", "data:", "data:x", "data:/", "..:/x", ":/x", "da ta:/x", "data:/x:fast"] {
            assert!(Volume::parse(bad).is_err(), "{bad}");
        }
        let options = Volume::parse("data:/x:nocopy,ro").expect("named").options;
        assert_eq!(options, ["nocopy", "ro"]);
        let why = Volume::parse("/data:/x:nocopy").expect_err("nothing to copy").to_string();
        assert_eq!(why, "volume: \"/data:/x:nocopy\": \"nocopy\" has no meaning for a bind");
        let why = Volume::parse(".:/x").expect_err("no name").to_string();
        assert!(why.contains("\".\" is no volume's name") && why.contains("./data:/data"), "{why}");
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

    #[test]
    fn none_covers_another_and_two_at_one_place_are_refused() {
        let of = |texts: &[&str]| {
            let volumes: Vec<Volume> =
                texts.iter().map(|text| Volume::parse(text).expect("volume")).collect();
            sorted(&volumes).map(|mounts| {
                let places = mounts.iter().map(|mount| mount.destination().display().to_string());
                places.collect::<Vec<_>>().join(" ")
            })
        };
        assert_eq!(of(&["/x:/a/b", "/y:/a", "/z:/c"]).expect("sorted"), "/a /c /a/b");
        assert_eq!(of(&["/x:/dev/b"]).expect("sorted"), "/dev/b");
        for bad in [
            &["/x:/a", "/y:/a/"][..],
            &["/x:/a/b", "/y://a/./b"],
            &["/x:/proc"],
            &["/x:/proc/sys"],
            &["/x:/y/../proc"],
            &["/x:/dev/."],
        ] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }
}
