//! Who works on a container at this moment: a lock on its directory.
//!
//! A start takes milliseconds, and somebody may say `delete --force` in the middle of it. Without the lock he would take
//! away what is there by then, while the start goes on: a process would enter a cgroup that is being removed, which then
//! stays busy, or the start would fail at last and take back what by then is the next container's of that name. So would
//! a slow `start` let the next one go on whose `create` nobody has followed up yet.
//!
//! The lock is the kernel's and goes with whoever holds it, however he ends: a killed start locks nobody out.
//!
//! Man page: flock(2). Look at it: `strace -e trace=flock,mkdir tare-runtime run --rootfs DIR box -- /bin/true`

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::error::{Error, Result};
use crate::spec::Id;
use crate::state::Directory;

/// The lock, while it is held.
#[derive(Debug)]
pub(crate) struct Claim(Flock<File>);

/// What became of an attempt to get it.
pub(crate) enum Claimed {
    Ours(Claim),
    /// Somebody works on it.
    Anothers,
    /// There is no such directory any more.
    Gone,
}

impl Claim {
    /// Makes the directory of a new container, whose name is its own from then on.
    ///
    /// # Errors
    /// [`Error::Exists`]: of two starts at once, one gets that. [`Error::Step`].
    pub(crate) fn of_new(directory: &Directory, root: &Path, id: &Id) -> Result<Self> {
        loop {
            directory.create(root, id)?;
            if let Some(claim) = Self::of_made(directory, id)? {
                return Ok(claim);
            }
        }
    }

    /// Between the making and the lock somebody may have taken it for what a killed start had left, and away: `None`. And
    /// the next start may have made it anew, which is not ours then: its plan is there.
    fn of_made(directory: &Directory, id: &Id) -> Result<Option<Self>> {
        match Self::get(directory, FlockArg::LockExclusive)? {
            Claimed::Ours(_) if directory.plan().exists() => Err(Error::Exists(id.clone())),
            Claimed::Ours(claim) => Ok(Some(claim)),
            Claimed::Anothers | Claimed::Gone => Ok(None),
        }
    }

    /// Gets it if nobody has it.
    ///
    /// # Errors
    /// [`Error::Step`].
    pub(crate) fn of_old(directory: &Directory) -> Result<Claimed> {
        Self::get(directory, FlockArg::LockExclusiveNonblock)
    }

    fn get(directory: &Directory, how: FlockArg) -> Result<Claimed> {
        let path = directory.path();
        let fault = |error: io::Error| Error::io("state", path.display().to_string(), &error);
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Claimed::Gone),
            other => other.map_err(fault)?,
        };
        let lock = match locked(file, how) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Claimed::Anothers),
            other => other.map_err(fault)?,
        };
        // Who had it before may have removed the directory, and somebody made another.
        let ours = lock.metadata().map_err(fault)?;
        match fs::symlink_metadata(path) {
            Ok(there) if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) => {
                Ok(Claimed::Ours(Self(lock)))
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(fault(error)),
            _ => Ok(Claimed::Gone),
        }
    }

    /// For the child, which is to close its copy: a box that waits for its start would hold on to the lock of a killed
    /// `create`.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Locks a file, however often a signal comes while it waits.
///
/// # Errors
/// Those of flock(2).
pub(crate) fn locked(mut file: File, how: FlockArg) -> io::Result<Flock<File>> {
    loop {
        match Flock::lock(file, how) {
            Ok(lock) => return Ok(lock),
            Err((again, Errno::EINTR)) => file = again,
            Err((_, errno)) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_has_it_and_nobody_has_that_of_a_directory_that_is_gone() {
        let root = tempfile::tempdir().expect("tempdir");
        let id = Id::new("x").expect("id");
        let directory = Directory::new(root.path(), &id);
        let get = || Claim::of_old(&directory).expect("get");
        assert!(matches!(get(), Claimed::Gone));
        let claim = Claim::of_new(&directory, root.path(), &id).expect("new");
        assert!(matches!(get(), Claimed::Anothers));
        // It is on the directory that we have made, not on the name.
        fs::rename(directory.path(), root.path().join("old")).expect("rename");
        assert!(matches!(get(), Claimed::Gone));
        drop(Claim::of_new(&directory, root.path(), &id).expect("the name is free"));
        assert!(matches!(get(), Claimed::Ours(_)));
        assert!(matches!(Claim::of_made(&directory, &id), Ok(Some(_))));
        fs::write(directory.plan(), "{}").expect("another start's");
        assert!(matches!(Claim::of_made(&directory, &id), Err(Error::Exists(_))));
        fs::remove_file(directory.plan()).expect("rm");
        let waiting = std::thread::scope(|scope| {
            fs::remove_dir(directory.path()).expect("rmdir");
            fs::rename(root.path().join("old"), directory.path()).expect("rename");
            let waiting = scope.spawn(|| Claim::get(&directory, FlockArg::LockExclusive).expect("get"));
            std::thread::sleep(std::time::Duration::from_millis(50));
            fs::remove_dir(directory.path()).expect("rmdir");
            drop(claim);
            waiting.join().expect("join")
        });
        assert!(matches!(waiting, Claimed::Gone), "whoever waited has nothing");
    }
}
