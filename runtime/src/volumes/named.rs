//! Named volumes: directories of ours, each under its name.
//!
//! A new one begins with what the image has at the place where it is mounted, owner and mode too, as Docker does it: an
//! image of a database brings its empty tables there. It is filled beside its place and then renamed, so that nobody
//! who is killed leaves half of it, and under a lock, so that of two first boxes one fills it and the other waits.
//!
//! One that is empty is filled too, whatever the reason. It cannot be replaced: a box may have it mounted at this moment.
//! So what is to be in it is made beside it, and then each thing moved, unless the box has made one of that name by then.
//! If that is broken off, the next box goes on with it before it begins.
//!
//! Man page: rename(2), flock(2). Look at it: `tare-runtime run -v conf:/etc busybox:1 -- ls /etc`

use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, Flock, FlockArg, OFlag, RenameFlags, open, renameat2};
use nix::sys::stat::{Mode, fstat};

use super::{NO_COPY, VolumeSource, fault};
use crate::blueprint::Blueprint;
use crate::claim::locked;
use crate::error::{Error, Result};
use crate::spec::{Id, Spec};
use crate::{image, resolve, unlink};

/// What the directories are called that are being made, that are being removed, and of which all is being moved into one
/// that exists.
const NEW: &str = ".new-";
const GONE: &str = ".gone-";
const FULL: &str = ".full-";

/// The named volumes, each a directory.
#[derive(Debug)]
pub struct Volumes {
    root: PathBuf,
}

/// Keeps volumes from being removed.
#[derive(Debug)]
pub struct Lent {
    _shared: Option<Flock<File>>,
}

impl Volumes {
    /// Those in this directory, which is made when it is first needed.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Finds the directory of each named volume of a box, makes it if it is new, and fills it if it is empty. What is
    /// returned keeps them until the box has them mounted. Without root nothing is copied into one: its files could not
    /// have their owners.
    ///
    /// # Errors
    /// [`Error::Spec`] of a box that could not be started in any case, [`Error::Step`] of those that could not be made,
    /// [`Error::Image`] of what could not be copied.
    pub fn lend(&self, spec: &mut Spec) -> Result<Lent> {
        let layers = if spec.layers.is_empty() { vec![spec.rootfs.clone()] } else { spec.layers.clone() };
        let named: Vec<(Id, PathBuf, bool)> = spec
            .volumes
            .iter()
            .filter_map(|volume| match &volume.source {
                VolumeSource::Named(name) => {
                    let copy = !volume.options.iter().any(|option| option == NO_COPY);
                    Some((name.clone(), volume.target.clone(), copy))
                }
                _ => None,
            })
            .collect();
        if named.is_empty() {
            return Ok(Lent { _shared: None });
        }
        let mut found = spec.clone();
        for volume in &mut found.volumes {
            if let VolumeSource::Named(name) = &volume.source {
                volume.found_at(self.path(name));
            }
        }
        // What cannot be started is to leave no volume either.
        Blueprint::of(&found)?;
        let shared = loop {
            let alone = self.lock(FlockArg::LockExclusive)?;
            for (name, target, copy) in &named {
                self.make(name, copy.then_some(target), &layers)?;
            }
            drop(alone);
            let shared = self.lock(FlockArg::LockShared)?;
            // Somebody may have removed one between the two locks.
            if named.iter().all(|(name, ..)| self.path(name).is_dir()) {
                break shared;
            }
        };
        *spec = found;
        Ok(Lent { _shared: Some(shared) })
    }

    /// Makes one that is not there, and fills one in which there is nothing.
    fn make(&self, name: &Id, from: Option<&PathBuf>, layers: &[PathBuf]) -> Result<()> {
        let (path, full) = (self.path(name), self.full(name));
        let from = from.filter(|_| nix::unistd::geteuid().is_root());
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |error: io::Error| Error::io("volumes", path.clone(), &error)
        };
        let fresh = |path: &Path| {
            DirBuilder::new().mode(0o700).create(path)?;
            // Whatever the caller's umask is.
            fs::set_permissions(path, Permissions::from_mode(0o755))
        };
        let exists = match fs::metadata(&path) {
            Ok(found) if found.is_dir() => true,
            Ok(_) => return Err(failed(&path)(io::ErrorKind::NotADirectory.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(failed(&path)(error)),
        };
        if exists && full.exists() {
            return pour(&full, &path).map_err(failed(&path));
        }
        if exists && (from.is_none() || !is_empty_and_beside(&path, &self.root).map_err(failed(&path))?) {
            return Ok(());
        }
        let new = self.root.join(format!("{NEW}{name}"));
        for rests in [&new, &full] {
            unlink::tree(rests).map_err(failed(rests))?;
        }
        fresh(&new).map_err(failed(&new))?;
        let copied = from.map_or(Ok(false), |target| image::copy_out(layers, target, &new, !exists));
        if copied.is_err() || exists && matches!(copied, Ok(false)) {
            // What is left of it goes before the next one is made, if not now.
            let _ = unlink::tree(&new);
            return copied.map(drop);
        }
        match exists {
            true => fs::rename(&new, &full).and_then(|()| pour(&full, &path)).map_err(failed(&path)),
            false => fs::rename(&new, &path).map_err(failed(&path)),
        }
    }

    /// Their names, sorted.
    ///
    /// # Errors
    /// [`Error::Step`] if the directory cannot be read.
    pub fn list(&self) -> Result<Vec<String>> {
        let mut names = self.entries()?;
        // The lock, and what is being made.
        names.retain(|name| Id::new(name).is_ok());
        names.sort();
        Ok(names)
    }

    fn entries(&self) -> Result<Vec<String>> {
        let failed = |error| Error::io("volumes", self.root.display().to_string(), &error);
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(failed)?,
        };
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
        names.collect::<io::Result<Vec<String>>>().map_err(failed)
    }

    /// Removes a volume and all that is in it. `containers`: those that may use it, asked once nobody starts any.
    ///
    /// # Errors
    /// [`Error::Spec`] where there is none, or a container that runs has it mounted.
    pub fn remove(&self, name: &Id, containers: impl FnOnce() -> Result<Vec<crate::State>>) -> Result<()> {
        let path = self.path(name);
        let missing = || fault(format!("{name}: there is none of that name (see `volumes`)"));
        if !self.root.exists() {
            return Err(missing());
        }
        let _alone = self.lock(FlockArg::LockExclusive)?;
        self.sweep()?;
        if !path.is_dir() {
            return Err(missing());
        }
        let failed = |error| Error::io("volumes", path.display().to_string(), &error);
        let volume = fs::metadata(&path).map_err(failed)?;
        if let Some(by) = containers()?.iter().find(|state| uses(state, &volume)) {
            return Err(fault(format!("{name}: container {} has it mounted (delete that first)", by.id)));
        }
        // At once, and then file by file: nobody is to find half of it.
        let gone = self.root.join(format!("{GONE}{name}"));
        fs::rename(&path, &gone).and_then(|()| unlink::tree(&gone)).map_err(failed)?;
        // What was not moved into it any more.
        self.sweep()
    }

    /// Removes what those have left who were killed while they made one or removed one: it is in no list, so nobody would
    /// ever ask for that. To be called alone.
    fn sweep(&self) -> Result<()> {
        let is_nobodys = |name: &&String| match name.strip_prefix(FULL) {
            Some(volume) => !self.root.join(volume).is_dir(),
            None => name.starts_with(NEW) || name.starts_with(GONE),
        };
        for name in self.entries()?.iter().filter(is_nobodys) {
            let left = self.root.join(name);
            unlink::tree(&left).map_err(|error| Error::io("volumes", left.display().to_string(), &error))?;
        }
        Ok(())
    }

    /// What is to be moved into a volume.
    fn full(&self, name: &Id) -> PathBuf {
        self.root.join(format!("{FULL}{name}"))
    }

    fn path(&self, name: &Id) -> PathBuf {
        self.root.join(name.as_str())
    }

    fn lock(&self, how: FlockArg) -> Result<Flock<File>> {
        let path = self.root.join(".lock");
        let failed = |error| Error::io("volumes", path.display().to_string(), &error);
        // Closed to others on the way: a box may put a setuid program there.
        DirBuilder::new().recursive(true).mode(0o700).create(&self.root).map_err(failed)?;
        crate::state::check_own("volumes", &self.root)?;
        // Also where somebody has made it beforehand, as one makes directories.
        fs::set_permissions(&self.root, Permissions::from_mode(0o700)).map_err(failed)?;
        let file = File::options().write(true).create(true).truncate(false).open(&path);
        file.and_then(|file| locked(file, how)).map_err(failed)
    }
}

/// Whether there is nothing in a volume, and what is made in `root` can be moved there: somebody may have mounted a disk
/// in its place.
fn is_empty_and_beside(path: &Path, root: &Path) -> io::Result<bool> {
    Ok(fs::read_dir(path)?.next().is_none() && fs::metadata(path)?.dev() == fs::metadata(root)?.dev())
}

/// Moves all that is in one directory to another, which gets its owner and mode too. What is there already stays.
fn pour(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (flag, place) = (RenameFlags::RENAME_NOREPLACE, to.join(entry.file_name()));
        match renameat2(AT_FDCWD, &entry.path(), AT_FDCWD, &place, flag) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    let like = fs::metadata(from)?;
    chown(to, Some(like.uid()), Some(like.gid()))?;
    fs::set_permissions(to, Permissions::from_mode(like.mode() & 0o7777))?;
    unlink::tree(from)
}

/// Whether the container's process sees the directory mounted. The kernel knows: nothing is written down that could be
/// wrong. It is found by what it is and not by what it is called, for the same directory has several paths where
/// something else is bound above it.
fn uses(state: &crate::State, volume: &Metadata) -> bool {
    let Some(process) = &state.process else { return false };
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", process.pid)).unwrap_or_default();
    let root = format!("/proc/{}/root", process.pid);
    let Ok(root) = open(root.as_str(), OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
    else {
        return false;
    };
    // The fifth field is where, as the box sees it.
    mounts.lines().filter_map(|line| line.split(' ').nth(4)).any(|place| {
        let found =
            std::ffi::CString::new(unescaped(place)).ok().map(|place| resolve::inside(root.as_fd(), &place));
        let stat = found.and_then(std::result::Result::ok).and_then(|found| fstat(&found).ok());
        stat.is_some_and(|stat| (stat.st_dev, stat.st_ino) == (volume.dev(), volume.ino()))
    })
}

/// The kernel writes a space as "\040".
fn unescaped(text: &str) -> Vec<u8> {
    let (mut bytes, mut out) = (text.as_bytes(), Vec::new());
    while let Some((first, rest)) = bytes.split_first() {
        let code = rest.get(..3).and_then(|it| u8::from_str_radix(std::str::from_utf8(it).ok()?, 8).ok());
        match (first, code) {
            (b'\\', Some(code)) => {
                out.push(code);
                bytes = &rest[3..];
            }
            _ => {
                out.push(*first);
                bytes = rest;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As somebody leaves it who is killed while he moves what an empty volume begins with.
    #[test]
    fn a_filling_that_was_broken_off_goes_on_and_replaces_nothing() {
        let dir = tempfile::tempdir().expect("tempdir");
        let (volumes, name) = (Volumes::new(dir.path().to_owned()), Id::new("it").expect("id"));
        let (full, volume) = (volumes.full(&name), volumes.path(&name));
        for (path, of) in [(full.join("a/b"), "image"), (full.join("c"), "image"), (volume.join("c"), "box")]
        {
            fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
            fs::write(path, of).expect("write");
        }
        fs::set_permissions(&full, Permissions::from_mode(0o1750)).expect("chmod");
        volumes.make(&name, None, &[]).expect("goes on");
        let read = |path: &str| fs::read_to_string(volume.join(path)).expect(path);
        assert_eq!((read("a/b"), read("c")), ("image".into(), "box".into()));
        assert_eq!(fs::metadata(&volume).expect("stat").mode() & 0o7777, 0o1750);
        assert!(!full.exists());
        // And one that is removed before is not the next one's beginning.
        fs::create_dir(&full).expect("mkdir");
        volumes.remove(&name, || Ok(Vec::new())).expect("remove");
        assert!(!full.exists() && !volume.exists());
    }

    #[test]
    fn a_mount_point_is_what_the_kernel_means() {
        assert_eq!(unescaped(r"/a\040b\134c"), br"/a b\c");
        assert_eq!(unescaped(r"/x\9\04"), br"/x\9\04");
    }
}
