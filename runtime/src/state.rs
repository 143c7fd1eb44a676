//! What is on disk about a container: one directory each, with a file that says what to take away.
//!
//! The kernel knows processes, not containers. That a process, two cgroup directories and an overlay
//! belong together under a name is written here, *before* they are made, so that even after a killed
//! start `delete --force` knows what to look for. Without it a start that was killed would leave cgroups and
//! directories that are nobody's.
//!
//! A process id alone is not enough to find a process again, for the kernel reuses them; the time at
//! which it started, which the kernel tells too, makes it certain.
//!
//! Step: `state`.
//!
//! Man page: proc_pid_stat(5), field 22. Look at it: `cat /run/tare/*/state.json`

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use crate::blueprint::{Root, RootKind};
use crate::error::{Error, Result};
use crate::network::Connection;
use crate::spec::{Id, User};
use crate::wait;

/// The directory of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// The directory of `id` below the state directory `root`.
    pub fn new(root: &Path, id: &Id) -> Self {
        Self { path: root.join(id.as_str()) }
    }

    /// Itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file that says what belongs to the container.
    pub fn file(&self) -> PathBuf {
        self.path.join("state.json")
    }

    /// The same, written before anything is made; counts as long as there is no [`Directory::file`].
    /// Two names, because replacing a file makes ext4 write the new one to the disk at once, which takes
    /// longer than the rest of the start.
    pub fn plan(&self) -> PathBuf {
        self.path.join("plan.json")
    }

    /// The overlay's writable layer.
    pub fn upper(&self) -> PathBuf {
        self.path.join("upper")
    }

    /// Where the overlay prepares files before they appear in the upper layer.
    pub fn work(&self) -> PathBuf {
        self.path.join("work")
    }

    /// Where the overlay is mounted, inside the box's mount namespace only; empty on the host.
    pub fn merged(&self) -> PathBuf {
        self.path.join("merged")
    }

    /// Through which `start` lets a created container go on.
    pub(crate) fn gate(&self) -> PathBuf {
        self.path.join("start.fifo")
    }

    /// Through which it then reports.
    pub(crate) fn report(&self) -> PathBuf {
        self.path.join("report.fifo")
    }

    /// A copy of the bundle's configuration, for `exec`: the bundle may change meanwhile.
    pub(crate) fn config(&self) -> PathBuf {
        self.path.join("config.json")
    }

    /// Makes it: of two starts at once one gets EEXIST.
    pub(crate) fn create(&self, root: &Path, id: &Id) -> Result<()> {
        let made = match mkdir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let root_made = DirBuilder::new().recursive(true).mode(0o700).create(root);
                root_made.map_err(|e| Error::io("state", root.display().to_string(), &e))?;
                mkdir(&self.path)
            }
            other => other,
        };
        match made {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Error::Exists(id.clone())),
            other => other.map_err(|e| Error::io("state", self.path.display().to_string(), &e)),
        }
    }

    /// Makes the directories of the overlay, if there is to be one. The upper one is the box's `/`, so it
    /// gets the mode and the owner of the image's.
    pub(crate) fn create_layers(&self, root: &Root) -> Result<()> {
        if root.kind != RootKind::Layered {
            return Ok(());
        }
        let rootfs = &root.path;
        let fault = |path: &Path| {
            let path = path.display().to_string();
            move |error: io::Error| Error::io("state", path.clone(), &error)
        };
        for path in [self.upper(), self.work(), self.merged()] {
            mkdir(&path).map_err(fault(&path))?;
        }
        let (upper, image) = (self.upper(), fs::metadata(rootfs).map_err(fault(rootfs))?);
        let mode = fs::Permissions::from_mode(image.mode() & 0o7777);
        fs::set_permissions(&upper, mode).map_err(fault(&upper))?;
        let us = geteuid();
        if us.is_root() && (image.uid(), image.gid()) != (0, 0) {
            std::os::unix::fs::chown(&upper, Some(image.uid()), Some(image.gid())).map_err(fault(&upper))?;
        }
        Ok(())
    }
}

fn mkdir(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Where in its life a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Being started, or its start was killed half-way.
    Creating,
    /// Finished, and waiting for `start`.
    Created,
    /// Its first process runs.
    Running,
    /// Its first process has ended.
    Stopped,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Stopped => "stopped",
        })
    }
}

/// The process of a container, identified beyond doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its id on the host.
    pub pid: i32,
    /// When it started, in clock ticks since the host's start.
    pub started: u64,
}

/// With what a box's command was executed: one more gets the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// The environment.
    pub env: Vec<String>,
    /// The working directory.
    pub cwd: PathBuf,
    /// Who it runs as.
    pub user: User,
}

/// The contents of `state.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The container's name.
    pub id: Id,
    /// Its first process; absent while it is being started.
    pub process: Option<Process>,
    /// The bundle's directory; without a bundle the root file system.
    pub bundle: PathBuf,
    /// The digest of the image that it stands on, if it is made of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// As the bundle has them; for others to read.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Its command.
    pub args: Vec<String>,
    /// Its cgroup directories.
    pub cgroups: Vec<PathBuf>,
    /// Limits that were asked for and are not in force, in words.
    pub not_applied: Vec<String>,
    /// What its command was given; of a bundle's the configuration is kept, which says it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<Given>,
    /// Its place on a bridge, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Connection>,
}

impl State {
    /// Asks the kernel, and `directory` whether it waits for its start.
    pub fn status(&self, directory: &Directory) -> Status {
        match self.process {
            None => Status::Creating,
            Some(process) => match observe(process.pid) {
                Some((started, state)) if started == process.started && !matches!(state, 'Z' | 'X') => {
                    if wait::is_waiting(directory) {
                        Status::Created
                    } else {
                        Status::Running
                    }
                }
                _ => Status::Stopped,
            },
        }
    }

    /// Writes what is going to be made.
    pub(crate) fn plan(&self, directory: &Directory) -> Result<()> {
        self.write(&directory.plan())
    }

    /// Writes what was made. The file appears whole or not at all.
    pub(crate) fn publish(&self, directory: &Directory) -> Result<()> {
        let new = directory.path().join("state.json.new");
        self.write(&new)?;
        fs::rename(&new, directory.file()).map_err(|e| Error::io("state", new.display().to_string(), &e))
    }

    fn write(&self, path: &Path) -> Result<()> {
        let fault = |e: io::Error| Error::io("state", path.display().to_string(), &e);
        let text = serde_json::to_vec(self).map_err(|source| Error::State { path: path.into(), source })?;
        // The state describes processes, which do not survive a power failure either: no fsync.
        fs::File::create(path).and_then(|mut file| file.write_all(&text)).map_err(fault)
    }

    /// Reads it. `None` if the container's start was killed before anything but the directory was made.
    pub(crate) fn read(directory: &Directory) -> Result<Option<Self>> {
        match Self::read_file(directory.file())? {
            None => Self::read_file(directory.plan()),
            some => Ok(some),
        }
    }

    fn read_file(path: PathBuf) -> Result<Option<Self>> {
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("state", path.display().to_string(), &error)),
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(state) => Ok(Some(state)),
                // Torn: whoever wrote it was killed, or a power failure came. What is behind it then was not made, or is
                // gone, and one that nobody can read must not be in the way of all others for ever.
                Err(source) if source.is_eof() || source.is_syntax() => Ok(None),
                Err(source) => Err(Error::State { path, source }),
            },
        }
    }
}

/// Start time and state letter of a process, if there is one.
pub(crate) fn observe(pid: i32) -> Option<(u64, char)> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The second field is the program's name in parentheses, which may itself hold spaces and parentheses,
/// so counting begins behind the last one.
fn parse_stat(line: &str) -> Option<(u64, char)> {
    let mut fields = line[line.rfind(')')? + 1..].split_whitespace();
    let state = fields.next()?.chars().next()?;
    // Field 22 of the line; field 3 was the state.
    Some((fields.nth(18)?.parse().ok()?, state))
}

/// The state directory where nobody chose one: /run/tare for root, else below $XDG_RUNTIME_DIR, else
/// /tmp/tare-UID.
pub fn default_root() -> PathBuf {
    let uid = geteuid();
    if uid.is_root() {
        return "/run/tare".into();
    }
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(directory) if Path::new(&directory).is_absolute() => Path::new(&directory).join("tare"),
        _ => format!("/tmp/tare-{uid}").into(),
    }
}

/// Refuses a state directory that somebody else could have prepared, as anybody can in /tmp.
pub(crate) fn check_root(root: &Path) -> Result<()> {
    check_own("state directory", root)
}

/// The same of any directory of ours.
pub(crate) fn check_own(what: &'static str, root: &Path) -> Result<()> {
    let fault =
        |why: &str| Err(Error::Spec { field: what.into(), why: format!("{}: {why}", root.display()) });
    if !root.is_absolute() {
        return fault("not absolute");
    }
    match fs::symlink_metadata(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io("state", root.display().to_string(), &error)),
        Ok(found) if !found.is_dir() => fault("not a directory"),
        Ok(found) if found.uid() != geteuid().as_raw() => fault("belongs to another user"),
        Ok(found) if found.mode() & 0o022 != 0 => fault("others may write to it (chmod go-w)"),
        Ok(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let line = "4242 (a) b (c) S 1 4242 4242 0 -1 4194560 100 0 0 0 0 0 0 0 20 0 1 0 987654 1000 10";
        assert_eq!(parse_stat(line), Some((987_654, 'S')));
        assert_eq!(parse_stat("4242 (x) S 1"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn a_reused_process_id_is_not_taken_for_the_container() {
        let pid = std::process::id() as i32;
        let (started, _) = observe(pid).expect("ourselves");
        let mut state = State {
            id: Id::new("x").expect("id"),
            process: Some(Process { pid, started }),
            bundle: "/".into(),
            image: None,
            annotations: BTreeMap::new(),
            args: vec![],
            cgroups: vec![],
            not_applied: vec![],
            given: None,
            network: None,
        };
        let nowhere = Directory::new(Path::new("/nowhere"), &state.id);
        assert_eq!(state.status(&nowhere), Status::Running);
        state.process = Some(Process { pid, started: started + 1 });
        assert_eq!(state.status(&nowhere), Status::Stopped);
    }
}
