//! The tree to which a layer is applied: the layers below, and its own directory on top.
//!
//! It is mounted in a mount namespace of the import's alone (see [`apart`]), so that the host has no mount that could be
//! left behind, whatever ends the import. Everything in it is reached by descriptor.
//!
//! Man page: mount(8), "Mount options for overlay"; openat2(2). Look at it:
//! `strace -f -e mount,openat2 tare-runtime import DIR name:tag`

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat, umask};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::resolve::{self, Missing};
use crate::sys::{self, MntFlags, MsFlags};

const DIRECTORY: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// See the file's head.
pub(crate) struct Tree {
    /// Where it stands, and how the kernel calls that: the caller's path may lead there through links.
    root: OwnedFd,
    path: PathBuf,
    /// This layer's own directory; what is not in it is of the layers below.
    own: OwnedFd,
    mounted: bool,
}

/// Does something where mounts are nobody else's: in a thread with a mount namespace of its own, which ends with it.
///
/// # Errors
/// EPERM without the right to make one.
pub(crate) fn apart<T: Send>(act: impl FnOnce() -> T + Send) -> Result<T, Errno> {
    let none = None::<&CStr>;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS)?;
            // It came with the namespace, and is this thread's alone: what an image does not say must not be the caller's.
            umask(Mode::S_IWGRP | Mode::S_IWOTH);
            sys::mount(none, c"/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
            Ok(act())
        });
        // A panic in it is ours.
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The options of an overlay with these directories, the highest first: more of them than a page of options could
/// name, so they are named by descriptor.
///
/// # Errors
/// ENAMETOOLONG for more than about 200.
pub(crate) fn lower(layers: &[OwnedFd]) -> Result<String, Errno> {
    let names: Vec<String> = layers.iter().map(|fd| format!("/proc/self/fd/{}", fd.as_raw_fd())).collect();
    let text = names.join(":");
    if text.len() > 3800 { Err(Errno::ENAMETOOLONG) } else { Ok(text) }
}

/// Opens the directories of layers, where they are to be mounted: an overlay takes no directory of another mount
/// namespace.
///
/// # Errors
/// Those of open(2), with the path.
pub(crate) fn open_all(layers: &[PathBuf]) -> Result<Vec<OwnedFd>, (PathBuf, Errno)> {
    let each =
        layers.iter().map(|path| open(path, DIRECTORY, Mode::empty()).map_err(|errno| (path.clone(), errno)));
    each.collect()
}

/// The tree of these layers, the highest first, for reading. To be called [`apart`].
///
/// # Errors
/// Those of mount(2).
pub(crate) fn view(mut layers: Vec<OwnedFd>, paths: &[PathBuf]) -> Result<OwnedFd, Errno> {
    let Some(point) = paths.first().and_then(|path| path.parent()).filter(|_| layers.len() > 1) else {
        return layers.pop().ok_or(Errno::ENOENT);
    };
    let options = CString::new(format!("lowerdir={}", lower(&layers)?)).map_err(|_| Errno::EINVAL)?;
    let target = CString::new(point.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
    sys::mount(Some(c"overlay"), target.as_c_str(), Some(c"overlay"), flags, Some(options.as_c_str()))?;
    open(point, DIRECTORY, Mode::empty())
}

impl Tree {
    /// Mounts `own` over `layers` (the highest first) at `point`; with no layers below `own` is the tree.
    ///
    /// # Errors
    /// Those of mount(2).
    pub(crate) fn mount(layers: &[OwnedFd], own: &Path, work: &Path, point: &Path) -> Result<Self, Errno> {
        let own_fd = open(own, DIRECTORY, Mode::empty())?;
        if layers.is_empty() {
            let root = open(own, DIRECTORY, Mode::empty())?;
            let path = place(&root)?;
            return Ok(Self { root, path, own: own_fd, mounted: false });
        }
        let work = open(work, DIRECTORY, Mode::empty())?;
        // A layer has to mean the same wherever it lies: no notes about other layers in it.
        let options = format!(
            "lowerdir={},upperdir=/proc/self/fd/{},workdir=/proc/self/fd/{},redirect_dir=off,metacopy=off,index=off",
            lower(layers)?,
            own_fd.as_raw_fd(),
            work.as_raw_fd()
        );
        let options = CString::new(options).map_err(|_| Errno::EINVAL)?;
        let (kind, target) =
            (Some(c"overlay"), CString::new(point.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?);
        sys::mount(
            kind,
            target.as_c_str(),
            kind,
            MsFlags::MS_NODEV | MsFlags::MS_NOSUID,
            Some(options.as_c_str()),
        )?;
        let root = open(point, DIRECTORY, Mode::empty())?;
        let path = place(&root)?;
        Ok(Self { root, path, own: own_fd, mounted: true })
    }

    /// The directory at `path`, and what is missing of it made.
    ///
    /// # Errors
    /// In words; also where it really lies deeper than `depth`, however short the path by way of links.
    pub(crate) fn directory(&self, path: &CStr, depth: usize) -> Result<OwnedFd, String> {
        let words = |errno| match errno {
            Errno::EEXIST | Errno::ENOTDIR => {
                "on the way to it lies a file, or a link that leads nowhere in the image".to_owned()
            }
            errno => format!("find its directory: {}", crate::error::describe(errno)),
        };
        let found = resolve::or_make(self.root.as_fd(), path, Missing::Directory).map_err(words)?;
        let directory = openat(&found, c".", DIRECTORY, Mode::empty()).map_err(words)?;
        let real = self.below(&directory).map_err(words)?;
        if real.components().count() >= depth {
            return Err(format!("it lies deeper than {depth} directories"));
        }
        Ok(directory)
    }

    /// The directory or file at `path`.
    ///
    /// # Errors
    /// ENOENT and those of openat2(2).
    pub(crate) fn existing(&self, path: &CStr) -> Result<OwnedFd, Errno> {
        resolve::inside(self.root.as_fd(), if path.is_empty() { c"." } else { path })
    }

    /// Where in the tree a directory lies, without links.
    fn below(&self, directory: &OwnedFd) -> Result<PathBuf, Errno> {
        place(directory)?.strip_prefix(&self.path).map(Path::to_owned).map_err(|_| Errno::EXDEV)
    }

    /// Removes what is at a name, with all that is in it.
    ///
    /// # Errors
    /// Those of unlinkat(2).
    pub(crate) fn remove(&self, directory: &OwnedFd, name: &CStr) -> Result<(), Errno> {
        match unlinkat(directory, name, UnlinkatFlags::NoRemoveDir) {
            Err(Errno::EISDIR | Errno::EPERM) => {}
            other => return other,
        }
        let inner = openat(
            directory,
            name,
            OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
            Mode::empty(),
        )?;
        for name in names(&inner)? {
            self.remove(&inner, &name)?;
        }
        unlinkat(directory, name, UnlinkatFlags::RemoveDir)
    }

    /// Removes what the layers below have at a name; what this layer has put there stays.
    ///
    /// # Errors
    /// As [`Tree::remove`].
    pub(crate) fn hide(&self, directory: &OwnedFd, name: &CStr) -> Result<(), Errno> {
        let own = self.own_directory(directory)?;
        self.hide_in(directory, own.as_ref(), name)
    }

    /// The same for all names in a directory.
    ///
    /// # Errors
    /// As [`Tree::remove`].
    pub(crate) fn hide_all(&self, directory: &OwnedFd) -> Result<(), Errno> {
        let own = self.own_directory(directory)?;
        for name in names(directory)? {
            self.hide_in(directory, own.as_ref(), &name)?;
        }
        Ok(())
    }

    /// How many bytes are copied into this layer when a file gets another name: all of one that is of the layers below.
    ///
    /// # Errors
    /// Those of stat(2).
    pub(crate) fn to_copy(&self, directory: &OwnedFd, name: &CStr) -> Result<u64, Errno> {
        let size = stat(directory, name)?.filter(is_file).map_or(0, |it| it.st_size.unsigned_abs());
        if !self.mounted || size == 0 {
            return Ok(0);
        }
        let own = self.own_directory(directory)?;
        let own = own.as_ref().map(|own| stat(own, name)).transpose()?.flatten();
        Ok(if own.is_some() { 0 } else { size })
    }

    fn own_directory(&self, directory: &OwnedFd) -> Result<Option<OwnedFd>, Errno> {
        let path = self.below(directory)?;
        let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
        let found = resolve::inside(self.own.as_fd(), if path.is_empty() { c"." } else { &path });
        found.map(Some).or_else(|errno| if errno == Errno::ENOENT { Ok(None) } else { Err(errno) })
    }

    fn hide_in(&self, directory: &OwnedFd, own: Option<&OwnedFd>, name: &CStr) -> Result<(), Errno> {
        if !self.mounted {
            // There is no layer below.
            return Ok(());
        }
        if stat(directory, name)?.is_none() {
            return Ok(());
        }
        match own.map(|own| stat(own, name)).transpose()?.flatten() {
            None => self.remove(directory, name),
            Some(stat) if is_directory(&stat) => {
                let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let inner = openat(directory, name, flags, Mode::empty())?;
                let own = own.map(|own| openat(own, name, flags, Mode::empty())).transpose()?;
                names(&inner)?.iter().try_for_each(|name| self.hide_in(&inner, own.as_ref(), name))
            }
            Some(_) => Ok(()),
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if self.mounted
            && let Ok(point) = CString::new(self.path.as_os_str().as_bytes())
        {
            // It goes with the namespace in any case.
            let _ = sys::umount2(point.as_c_str(), MntFlags::MNT_DETACH);
        }
    }
}

/// The path of what was opened, without links.
fn place(opened: &OwnedFd) -> Result<PathBuf, Errno> {
    std::fs::read_link(format!("/proc/self/fd/{}", opened.as_raw_fd()))
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))
}

/// What is at a name, if anything is.
fn stat(directory: &OwnedFd, name: &CStr) -> Result<Option<FileStat>, Errno> {
    match fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn is_file(stat: &FileStat) -> bool {
    stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits()
}

fn is_directory(stat: &FileStat) -> bool {
    stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits()
}

/// The names in a directory. All of them, for to remove while reading leaves some out.
fn names(directory: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut names = Vec::new();
    for entry in Dir::openat(directory, c".", flags, Mode::empty())?.iter() {
        let name = entry?.file_name().to_owned();
        if name.as_c_str() != c"." && name.as_c_str() != c".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// What a name is called in words.
pub(crate) fn shown(name: &[u8]) -> String {
    OsStr::from_bytes(name).to_string_lossy().into_owned()
}
