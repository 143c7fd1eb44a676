//! Where images lie: each layer and each file once, under its digest, however many images have it.
//!
//! ```text
//! blobs/DIGEST        manifests, configurations and layers, as they came: to be sent on, with the same digest
//! layers/CHAIN/       layers unpacked, each on top of certain others ("chain"): what overlayfs stacks; and the digests
//!                     of the archives that were seen to hold it
//! names/DIGEST.json   what a name means
//! used/DIGEST.json    where containers may stand on images: state directories, in which each says on which
//! incoming/N/         what is being made, renamed when it is complete
//! ```
//!
//! Whoever is killed leaves a directory below `incoming` and no more; the next import removes it. All of it is closed to
//! others, for a setuid file of an image must mean nothing on the host.
//!
//! Man page: rename(2), flock(2). Look at it: `find /var/lib/tare -maxdepth 2`

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::BuildHasher;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use crate::claim::locked;
use crate::error::{Error, Result};
use crate::runtime::Runtime;
use crate::spec::Id;
use crate::state::Directory;

/// See the file's head.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    /// Who is told what is waited for.
    tell: Option<fn(&str)>,
}

/// Who waits longer than this says for what: a push to a registry far away takes minutes.
const SOON: Duration = Duration::from_secs(1);

/// A lock that ends with it, or with the process.
pub(crate) type Lock = Flock<File>;

/// What a name means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) manifest: String,
}

/// Where containers may stand on images.
#[derive(Debug, Serialize, Deserialize)]
struct Used {
    /// The state directory.
    by: PathBuf,
}

/// A directory for what is being made; removed with everything in it unless it was renamed.
#[derive(Debug)]
pub(crate) struct Incoming {
    path: PathBuf,
    _lock: Lock,
}

impl Incoming {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next import.
        let _ = fs::remove_dir_all(&self.path);
    }
}

pub(crate) fn fault(path: &Path) -> impl Fn(io::Error) -> Error {
    move |error| Error::Image { object: path.display().to_string(), why: error.to_string() }
}

impl Store {
    /// The store in this directory, which is made when it is first needed.
    pub fn new(root: PathBuf) -> Self {
        Self { root, tell: None }
    }

    /// Has `tell` be told for whom is waited, where that takes more than a second.
    pub fn telling(self, tell: fn(&str)) -> Self {
        Self { tell: Some(tell), ..self }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn make(&self) -> Result<()> {
        crate::state::check_own("store of images", &self.root)?;
        for name in ["", "blobs", "layers", "names", "used", "incoming"] {
            let path = self.root.join(name);
            DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(fault(&path))?;
        }
        Ok(())
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.hex())
    }

    pub(crate) fn layer(&self, chain: &Digest) -> PathBuf {
        self.root.join("layers").join(chain.hex())
    }

    fn name(&self, name: &str) -> PathBuf {
        self.root.join("names").join(format!("{}.json", Digest::of(name.as_bytes()).hex()))
    }

    /// Shared by whoever adds or starts, alone for whoever removes.
    pub(crate) fn lock(&self, alone: bool) -> Result<Lock> {
        self.make()?;
        let path = self.root.join("lock");
        let (at_once, how, whom) = match alone {
            true => (
                FlockArg::LockExclusiveNonblock,
                FlockArg::LockExclusive,
                "who bring in, send or start an image",
            ),
            false => (FlockArg::LockSharedNonblock, FlockArg::LockShared, "who remove an image"),
        };
        let locked = match (lock(&path, at_once), self.tell) {
            (Err(error), tell) if error.kind() == io::ErrorKind::WouldBlock => waiting(
                || {
                    tell.iter().for_each(|tell| {
                        tell(&format!("{}: waiting for others, {whom}", self.root.display()))
                    })
                },
                || lock(&path, how),
            ),
            (other, _) => other,
        };
        locked.map_err(fault(&path))
    }

    /// Alone, if nobody else is there at this moment.
    pub(crate) fn lock_if_free(&self) -> Result<Option<Lock>> {
        let path = self.root.join("lock");
        match lock(&path, FlockArg::LockExclusiveNonblock) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            other => other.map(Some).map_err(fault(&path)),
        }
    }

    /// Shared for whoever reads, so that nothing is removed meanwhile; where there is no store none is made.
    pub(crate) fn lock_if_made(&self) -> Result<Option<Lock>> {
        if self.root.exists() { self.lock(false).map(Some) } else { Ok(None) }
    }

    /// One unpacks a layer, and others that want the same wait for it.
    pub(crate) fn lock_layer(&self, chain: &Digest) -> Result<Lock> {
        let path = self.root.join("incoming").join(format!("{}.lock", chain.hex()));
        lock(&path, FlockArg::LockExclusive).map_err(fault(&path))
    }

    /// A directory of our own, once what killed imports have left is removed.
    pub(crate) fn incoming(&self) -> Result<Incoming> {
        let all = self.root.join("incoming");
        let making = lock(&all.join("lock"), FlockArg::LockExclusive).map_err(fault(&all))?;
        self.remove_left(&making)?;
        let path = self.unused();
        DirBuilder::new().mode(0o700).create(&path).map_err(fault(&path))?;
        let own = lock(&path.join("lock"), FlockArg::LockExclusive).map_err(fault(&path))?;
        Ok(Incoming { path, _lock: own })
    }

    /// A path below `incoming` that nobody else uses. By chance, for a process id is another's soon, and in another pid
    /// namespace at once.
    fn unused(&self) -> PathBuf {
        let chance = RandomState::new().hash_one(());
        self.root.join("incoming").join(format!("{}-{chance:016x}", std::process::id()))
    }

    /// Gives what is complete its place; there may be the same already.
    pub(crate) fn publish(&self, made: &Path, place: &Path) -> Result<()> {
        match fs::rename(made, place) {
            Err(error)
                if matches!(
                    error.raw_os_error().map(Errno::from_raw),
                    Some(Errno::ENOTEMPTY | Errno::EEXIST)
                ) =>
            {
                Ok(())
            }
            other => other.map_err(fault(place)),
        }
    }

    /// Keeps some bytes under their digest.
    pub(crate) fn keep(&self, incoming: &Incoming, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        self.write(incoming, &self.blob(&digest), bytes)?;
        Ok(digest)
    }

    fn write(&self, incoming: &Incoming, place: &Path, bytes: &[u8]) -> Result<()> {
        let new = incoming.path().join("new");
        let written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new);
        // On the disk before its name is: a power failure must not leave a name that leads to nothing.
        let whole = written.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
        whole.map_err(fault(&new))?;
        self.publish(&new, place)
    }

    pub(crate) fn set_name(&self, incoming: &Incoming, named: &Named) -> Result<()> {
        let text = serde_json::to_vec(named).map_err(io::Error::other).map_err(fault(&self.root))?;
        self.write(incoming, &self.name(&named.name), &text)
    }

    /// What a name means, if it means anything.
    pub(crate) fn named(&self, name: &str) -> Result<Option<Named>> {
        read(&self.name(name))
    }

    /// All names, sorted.
    pub(crate) fn names(&self) -> Result<Vec<Named>> {
        let all = read_all::<Named>(&self.root.join("names"))?;
        let mut names: Vec<Named> = all.into_iter().filter_map(|(_, named)| named).collect();
        names.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(names)
    }

    pub(crate) fn forget(&self, name: &str) -> Result<()> {
        let path = self.name(name);
        fs::remove_file(&path).map_err(fault(&path))
    }

    /// Notes that containers of this state directory may stand on images, before the first does. On which, each says in its
    /// state, from before anything of it is made until it is gone: so nothing is left here of containers that are gone.
    pub(crate) fn use_for(&self, root: &Path) -> Result<()> {
        let name = Digest::of(root.as_os_str().as_encoded_bytes());
        let path = self.root.join("used").join(format!("{}.json", name.hex()));
        // An empty one is from before a power failure.
        if fs::metadata(&path).is_ok_and(|known| known.len() > 0) {
            return Ok(());
        }
        let used = Used { by: root.to_owned() };
        let text = serde_json::to_vec(&used).map_err(io::Error::other).map_err(fault(&path))?;
        // Whole or not at all. No container survives a power failure, so nothing has to be on the disk.
        let new = self.unused().with_extension("note");
        fs::write(&new, text).map_err(fault(&new))?;
        fs::rename(&new, &path).map_err(fault(&path))
    }

    /// Manifests on which containers stand, with their directories. Notes of state directories that are gone are removed.
    pub(crate) fn used(&self) -> Result<Vec<(String, PathBuf)>> {
        let mut used = Vec::new();
        for (path, it) in read_all::<Used>(&self.root.join("used"))? {
            let Some(Used { by }) = it.filter(|it| it.by.exists()) else {
                fs::remove_file(&path).map_err(fault(&path))?;
                continue;
            };
            let directory = |id: &Id| Directory::new(&by, id).path().to_owned();
            let states = Runtime::new(by.clone()).list()?;
            used.extend(states.into_iter().filter_map(|it| Some((it.image?, directory(&it.id)))));
        }
        Ok(used)
    }

    /// Removes all layers and blobs but these, and whatever killed imports and removals have left. To be called alone.
    pub(crate) fn sweep(&self, layers: &BTreeSet<Digest>, blobs: &BTreeSet<Digest>) -> Result<()> {
        for (name, kept) in [("layers", layers), ("blobs", blobs)] {
            let all = self.root.join(name);
            for entry in fs::read_dir(&all).map_err(fault(&all))? {
                let entry = entry.map_err(fault(&all))?;
                if kept.iter().any(|digest| entry.file_name() == digest.hex()) {
                    continue;
                }
                // At once, and then file by file: half a layer in its place would be taken for the whole one.
                let (path, gone) = (entry.path(), self.unused());
                fs::rename(&path, &gone).map_err(fault(&path))?;
                remove(&gone)?;
            }
        }
        let all = self.root.join("incoming");
        let making = lock(&all.join("lock"), FlockArg::LockExclusive).map_err(fault(&all))?;
        self.remove_left(&making)?;
        // Nobody unpacks now, so nobody waits at the lock of a layer, and nobody is about to note anything.
        for entry in fs::read_dir(&all).map_err(fault(&all))? {
            let path = entry.map_err(fault(&all))?.path();
            if path.is_file() && !path.ends_with("lock") {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Removes the directories below `incoming` whose makers were killed. Nobody is between making one and locking it
    /// as long as one holds `making`.
    fn remove_left(&self, _making: &Lock) -> Result<()> {
        let all = self.root.join("incoming");
        for entry in fs::read_dir(&all).map_err(fault(&all))? {
            let path = entry.map_err(fault(&all))?.path();
            if path.is_dir() && lock(&path.join("lock"), FlockArg::LockExclusiveNonblock).is_ok() {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Waits until all that was written to the store's file system is on the disk.
    pub(crate) fn sync(&self) -> Result<()> {
        let synced = File::open(&self.root).and_then(|root| Ok(nix::unistd::syncfs(&root)?));
        synced.map_err(fault(&self.root))
    }
}

/// Removes a file or a directory, unless somebody else does at this moment.
fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(fault(path)),
    }
}

/// Does what may have to wait, and tells if it takes a while.
fn waiting<T>(tell: impl FnOnce() + Send, wait: impl FnOnce() -> T) -> T {
    std::thread::scope(|scope| {
        let (ended, end) = mpsc::channel::<()>();
        scope.spawn(move || {
            if end.recv_timeout(SOON) == Err(RecvTimeoutError::Timeout) {
                tell();
            }
        });
        let done = wait();
        drop(ended);
        done
    })
}

fn lock(path: &Path, how: FlockArg) -> io::Result<Lock> {
    locked(OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?, how)
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fault(path)(error)),
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(io::Error::other).map_err(fault(path)),
    }
}

/// All files of a directory, `None` for those that are empty or vanish meanwhile.
fn read_all<T: DeserializeOwned>(directory: &Path) -> Result<Vec<(PathBuf, Option<T>)>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(fault(directory))?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let path = entry.map_err(fault(directory))?.path();
        let it = read(&path)?;
        all.push((path, it));
    }
    Ok(all)
}
