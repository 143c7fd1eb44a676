//! Which box has which address: a file each, named like the address, and a lock.
//!
//! Two boxes with one address are two servers of which nobody knows who answers. Engines have a daemon that keeps the
//! list in its memory; here every start is a process of its own, so the list lies in the state directory, and whoever
//! changes it holds a lock on that directory, which the kernel takes back if its holder is killed. A lease is written
//! before anything is made for the box, and is the last to go. One that is torn, or whose box has no directory any more,
//! is nobody's: the next start takes what it stands for away.
//!
//! The lock is on the state directory itself: a lock file would have to be removed with the last box, and somebody might
//! just wait for it.
//!
//! Man page: flock(2). Look at it: `grep . /run/tare/.network/*`

use std::fs::{self, DirBuilder, File};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::subnet::Subnet;
use crate::claim::locked;
use crate::error::{Error, Result};
use crate::spec::Id;

/// Ends the name of the file that stands for an address's rules.
const RULES: &str = ".rules";

/// The leases of one state directory, while we hold the lock.
#[derive(Debug)]
pub(crate) struct Leases {
    root: PathBuf,
    directory: PathBuf,
    _lock: Flock<File>,
}

impl Leases {
    /// Waits for the lock, which is held for moments.
    ///
    /// # Errors
    /// [`Error::Step`].
    pub(crate) fn lock(root: &Path) -> Result<Self> {
        let fault = |error: io::Error| Error::io("bridge", root.display().to_string(), &error);
        let lock = File::open(root).and_then(|file| locked(file, FlockArg::LockExclusive)).map_err(fault)?;
        Ok(Self { root: root.to_owned(), directory: root.join(".network"), _lock: lock })
    }

    /// A file beside the leases.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Makes the directory, for whoever is going to put something into it.
    ///
    /// # Errors
    /// [`Error::Step`].
    pub(crate) fn make(&self) -> Result<()> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.directory);
        made.map_err(self.fault(&self.directory))
    }

    /// All leases: address, and whose. `None` is nobody.
    ///
    /// # Errors
    /// [`Error::Step`].
    pub(crate) fn all(&self) -> Result<Vec<(Ipv4Addr, Option<Id>)>> {
        let mut all = Vec::new();
        for name in self.names()? {
            let Ok(address) = name.parse() else { continue };
            let path = self.directory.join(name);
            let holder = fs::read_to_string(&path).map_err(self.fault(&path))?;
            let holder = Id::new(&holder).ok().filter(|id| self.root.join(id.as_str()).is_dir());
            all.push((address, holder));
        }
        Ok(all)
    }

    /// Whether there are rules for an address, or were going to be.
    ///
    /// # Errors
    /// [`Error::Step`].
    pub(crate) fn is_ruled(&self, address: Ipv4Addr) -> Result<bool> {
        let path = self.directory.join(format!("{address}{RULES}"));
        path.try_exists().map_err(self.fault(&path))
    }

    /// Writes down that rules are going to be made for an address.
    ///
    /// # Errors
    /// [`Error::Step`].
    pub(crate) fn note_rules(&self, address: Ipv4Addr) -> Result<()> {
        let path = self.directory.join(format!("{address}{RULES}"));
        fs::write(&path, "").map_err(self.fault(&path))
    }

    /// And that they are gone.
    ///
    /// # Errors
    /// [`Error::Step`].
    pub(crate) fn forget_rules(&self, address: Ipv4Addr) -> Result<()> {
        self.remove(&format!("{address}{RULES}"))
    }

    fn names(&self) -> Result<Vec<String>> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(self.fault(&self.directory))?,
        };
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
        names.collect::<io::Result<_>>().map_err(self.fault(&self.directory))
    }

    /// The first address that nobody has. Written to the file before it is anybody's, so that a killed start leaves
    /// a lease that is found, or one that is nobody's.
    ///
    /// # Errors
    /// [`Error::Spec`] if there is none; [`Error::Step`].
    pub(crate) fn take(&self, subnet: Subnet, id: &Id) -> Result<Ipv4Addr> {
        let taken: Vec<Ipv4Addr> = self.all()?.into_iter().map(|(address, _)| address).collect();
        let free = subnet.boxes().find(|address| !taken.contains(address)).ok_or_else(|| Error::Spec {
            field: "network".into(),
            why: format!(
                "{subnet} has no address left for {id}: {} boxes have one (delete some)",
                taken.len()
            ),
        })?;
        let path = self.directory.join(free.to_string());
        fs::write(&path, id.as_str()).map_err(self.fault(&path))?;
        Ok(free)
    }

    /// Takes a lease back.
    ///
    /// # Errors
    /// [`Error::Step`].
    pub(crate) fn give_back(&self, address: Ipv4Addr) -> Result<()> {
        self.remove(&address.to_string())
    }

    /// Removes a file beside the leases, if it is there.
    ///
    /// # Errors
    /// [`Error::Step`].
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        let path = self.directory.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.fault(&path)(error)),
            _ => Ok(()),
        }
    }

    /// Removes the directory, once it is empty.
    ///
    /// # Errors
    /// [`Error::Step`].
    pub(crate) fn remove_directory(&self) -> Result<()> {
        match fs::remove_dir(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.fault(&self.directory)(error)),
            _ => Ok(()),
        }
    }

    pub(crate) fn fault(&self, path: &Path) -> impl Fn(io::Error) -> Error + use<> {
        let path = path.display().to_string();
        move |error| Error::io("bridge", path.clone(), &error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> Id {
        Id::new(name).expect("id")
    }

    #[test]
    fn the_first_free_address_is_leased_and_a_killed_starts_is_nobodys() {
        let root = tempfile::tempdir().expect("tempdir");
        let leases = Leases::lock(root.path()).expect("lock");
        assert_eq!(leases.all().expect("none"), []);
        leases.make().expect("make");
        let subnet: Subnet = "10.208.0.0/29".parse().expect("net");
        let mut given = Vec::new();
        for name in ["a", "b", "c", "d", "e"] {
            fs::create_dir(root.path().join(name)).expect("mkdir");
            given.push(leases.take(subnet, &id(name)).expect("lease"));
        }
        assert_eq!(given.first().map(|first| first.octets()), Some([10, 208, 0, 2]));
        assert_eq!(given.iter().collect::<std::collections::BTreeSet<_>>().len(), 5);
        let full = leases.take(subnet, &id("f")).expect_err("full").to_string();
        assert!(full.contains("no address left for f: 5 boxes have one"), "{full}");
        // One box is gone with its directory, another's lease is torn.
        fs::remove_dir(root.path().join("b")).expect("rmdir");
        fs::write(leases.file(&given[2].to_string()), "").expect("write");
        let mut nobodys: Vec<_> =
            leases.all().expect("all").into_iter().filter(|(_, whose)| whose.is_none()).collect();
        nobodys.sort();
        assert_eq!(nobodys, [(given[1], None), (given[2], None)]);
        leases.give_back(given[1]).expect("back");
        assert_eq!(leases.take(subnet, &id("g")).expect("again"), given[1]);
    }

    #[test]
    fn one_at_a_time_holds_the_lock() {
        let root = tempfile::tempdir().expect("tempdir");
        let held = Leases::lock(root.path()).expect("lock");
        let (path, (sender, receiver)) = (root.path().to_owned(), std::sync::mpsc::channel());
        let waiting = std::thread::spawn(move || {
            let lock = Leases::lock(&path).map(drop);
            sender.send(()).expect("send");
            lock.expect("lock");
        });
        assert!(receiver.recv_timeout(std::time::Duration::from_millis(50)).is_err(), "two hold it at once");
        drop(held);
        waiting.join().expect("join");
    }
}
