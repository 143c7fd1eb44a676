//! What is asked for: the description of one container, parsed into types that cannot be wrong.
//!
//! Without the strict types here an id such as `../../etc` would become a path, and a limit of
//! "0 processes" would become a box that cannot start.
//!
//! Man page: hostname(7), environ(7). Look at it: `tare-runtime run --help`

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::network::Network;
use crate::volumes::Volume;

/// A container's name: 1 to 64 of `A-Z a-z 0-9 _ . -`, not beginning with `.` or `-`.
///
/// It becomes a directory of the state and of the cgroup, so it is parsed before any path is made.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(String);

impl Id {
    /// Parses a name.
    ///
    /// # Errors
    /// [`Error::Id`].
    pub fn new(id: &str) -> Result<Self> {
        let fault = |why| Err(Error::Id { id: id.to_owned(), why });
        if id.is_empty() {
            return fault("is empty");
        }
        if id.len() > 64 {
            return fault("is longer than 64 bytes");
        }
        if id.starts_with(['.', '-']) {
            return fault("begins with . or -");
        }
        if !id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-')) {
            return fault("holds another character");
        }
        Ok(Self(id.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Id {
    type Err = Error;
    fn from_str(id: &str) -> Result<Self> {
        Self::new(id)
    }
}

impl TryFrom<String> for Id {
    type Error = Error;
    fn try_from(id: String) -> Result<Self> {
        Self::new(&id)
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.0
    }
}

/// Thousandths of a CPU: 1500 is one and a half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MilliCpus(pub u32);

/// What the box may use at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of memory. Nothing goes to the swap space instead, where the host counts swap: in version 1
    /// that is a boot parameter of some kernels (`swapaccount=1`), and without it the limit holds for memory alone.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// CPU time per time.
    pub cpus: Option<MilliCpus>,
}

/// Enough for any server, too few for a fork bomb to hurt the host.
pub const DEFAULT_PIDS: u64 = 2048;

impl Default for Limits {
    fn default() -> Self {
        Self { memory: None, pids: Some(DEFAULT_PIDS), cpus: None }
    }
}

/// Who a command runs as, in numbers as the box sees them; root unless somebody says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct User {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
}

/// What to do about a limit that this host does not let us apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissingLimits {
    /// Fail and name each.
    #[default]
    Refuse,
    /// Start without it and say so in [`Container::not_applied`](crate::Container::not_applied).
    Record,
}

/// The environment's search path where the caller sets none.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The cgroup below which containers' own are made where nobody says otherwise. Made when it is needed, and
/// removed with the last container in it.
pub const DEFAULT_CGROUP_PARENT: &str = "/tare";

/// One container to be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Its name.
    pub id: Id,
    /// The directory seen as `/`, never written to: changes go to an overlay. Absolute.
    pub rootfs: PathBuf,
    /// The layers of an image, the highest first, where the root is one; `rootfs` is then the highest. See
    /// [`Image::layers`](crate::image::Image::layers).
    #[serde(default)]
    pub layers: Vec<PathBuf>,
    /// The digest of the image's manifest, which nobody removes as long as the container is there: see
    /// [`Store::stand_on`](crate::image::Store::stand_on).
    #[serde(default)]
    pub image: Option<String>,
    /// Who the command runs as.
    #[serde(default)]
    pub user: User,
    /// What is mounted from outside. Named volumes have to be found first, see [`Volumes`](crate::Volumes).
    #[serde(default)]
    pub volumes: Vec<Volume>,
    /// Directories, as seen inside, that are made where they are missing: an image may name a working directory that
    /// none of its layers has.
    #[serde(default)]
    pub directories: Vec<PathBuf>,
    /// What others may read in [`State`](crate::State).
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// The command and its arguments; the command is searched in the container's own `PATH`.
    pub args: Vec<String>,
    /// The environment, `NAME=value`, exactly; nothing of the caller's is added.
    pub env: Vec<String>,
    /// Where the command starts. Absolute, as seen inside.
    pub cwd: PathBuf,
    /// Its host name.
    pub hostname: String,
    /// What it may use.
    #[serde(default)]
    pub limits: Limits,
    /// Below which cgroup its own is made, such as `/tare/run1`. Missing parents are made too.
    pub cgroup_parent: String,
    /// What to do where a limit cannot be applied.
    #[serde(default)]
    pub missing_limits: MissingLimits,
    /// A pseudo-terminal as standard input, output and error.
    #[serde(default)]
    pub terminal: bool,
    /// The last mechanism that the box is to have, one of [`RUNGS`](crate::ladder::RUNGS); all of them
    /// without.
    #[serde(default)]
    pub until: Option<String>,
    /// Whom it can talk to.
    #[serde(default)]
    pub network: Network,
    /// Whether to note when each step ended, in [`Container::marks`](crate::Container::marks).
    #[serde(default)]
    pub marks: bool,
}

impl Spec {
    /// A container with the defaults: its id as host name, `/` as working directory, a `PATH`, a limit
    /// of [`DEFAULT_PIDS`] processes, a cgroup below `/tare`.
    pub fn new(id: Id, rootfs: impl Into<PathBuf>, args: Vec<String>) -> Self {
        Self {
            hostname: id.to_string(),
            id,
            rootfs: rootfs.into(),
            layers: Vec::new(),
            image: None,
            user: User::default(),
            volumes: Vec::new(),
            directories: Vec::new(),
            annotations: BTreeMap::new(),
            args,
            env: vec![format!("PATH={DEFAULT_PATH}")],
            cwd: "/".into(),
            limits: Limits::default(),
            cgroup_parent: DEFAULT_CGROUP_PARENT.into(),
            missing_limits: MissingLimits::Refuse,
            terminal: false,
            until: None,
            network: Network::None,
            marks: false,
        }
    }

    /// Refuses what has no meaning, before anything is made.
    ///
    /// # Errors
    /// [`Error::Spec`] naming the field.
    pub fn check(&self) -> Result<()> {
        let fault = |field, why: String| Err(Error::Spec { field: Cow::Borrowed(field), why });
        if self.args.first().is_none_or(String::is_empty) {
            return fault("args", "no command given".into());
        }
        if self.args.iter().any(|a| a.contains('\0')) {
            return fault("args", "a zero byte cannot be passed to a program".into());
        }
        if let Some(entry) =
            self.env.iter().find(|e| e.contains('\0') || e.find('=').is_none_or(|at| at == 0))
        {
            return fault("env", format!("{entry:?} is not NAME=value"));
        }
        if !self.cwd.is_absolute() {
            return fault("cwd", format!("{} is not absolute", self.cwd.display()));
        }
        if self.hostname.is_empty() || self.hostname.len() > 64 || self.hostname.contains('\0') {
            return fault("hostname", format!("{:?} is not of 1 to 64 bytes", self.hostname));
        }
        if self.limits.memory == Some(0) || self.limits.pids == Some(0) {
            return fault("limits", "a limit of 0 lets nothing start".into());
        }
        if self.limits.cpus.is_some_and(|cpus| cpus.0 < 10) {
            return fault("limits", "the kernel's least share is a hundredth of a CPU".into());
        }
        self.network.check(self.until.as_deref())?;
        check_cgroup_path(&self.cgroup_parent)
            .map_err(|why| Error::Spec { field: "cgroup parent".into(), why })?;
        if !self.rootfs.is_absolute() {
            return fault("rootfs", format!("{}: not absolute", self.rootfs.display()));
        }
        check_rootfs(&self.rootfs)
    }
}

/// Refuses what is no absolute path without odd parts.
///
/// # Errors
/// What is wrong, in words.
pub(crate) fn check_cgroup_path(path: &str) -> std::result::Result<(), String> {
    let odd = |part: &str| part.is_empty() || part == "." || part == ".." || part.contains(['\0', '\n']);
    match path.strip_prefix('/') {
        Some(rest) if !rest.split('/').any(odd) => Ok(()),
        _ => Err(format!("{path:?} is not an absolute path without empty, . or .. parts")),
    }
}

/// Refuses a root file system that is none, or the host's own.
///
/// # Errors
/// [`Error::Spec`].
pub(crate) fn check_rootfs(rootfs: &Path) -> Result<()> {
    let fault =
        |why: &str| Err(Error::Spec { field: "rootfs".into(), why: format!("{}: {why}", rootfs.display()) });
    match (std::fs::metadata(rootfs), std::fs::metadata("/")) {
        (Err(error), _) => fault(&error.to_string()),
        (Ok(root), _) if !root.is_dir() => fault("not a directory"),
        (Ok(root), Ok(host)) if (root.dev(), root.ino()) == (host.dev(), host.ino()) => {
            fault("is the host's own root; a container needs a root of its own")
        }
        _ => Ok(()),
    }
}
