//! Applying a layer: what its archive says is done to the tree of the layers below it.
//!
//! A layer is a tar archive of what changed: new files, and marks for what went away (`.wh.NAME`, a *whiteout*;
//! `.wh..wh..opq`, an *opaque* directory, of which only what this layer has counts). The tree is an overlay of the
//! layers below with this one's directory on top, and there every change is made with the ordinary calls, by
//! descriptor, looked up as if the tree were the only root: so a file below a link of a lower layer lands where that
//! link leads *inside the image*, and what is removed leaves the kernel's own mark (see `overlay.rs`).
//!
//! An archive is a stranger's. `..` is refused; an absolute name or link means the image's root; a device of number
//! 0:0 is overlayfs' own mark and refused, as its attributes are dropped. Nothing here is ever executed, and the
//! directory around it is closed to everybody but root, so a setuid file stays one for the box and for nobody else.
//!
//! Man page: layer.md of the OCI image specification. Look at it: `docker save IMAGE | tar -x; tar -tvf */layer.tar`

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{
    FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmodat, fstatat, makedev, mkdirat, mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat, linkat, symlinkat};
use tar::EntryType;

use super::budget::Left;
use super::entries::{Entries, Entry, Refused};
use super::path::{Directories, LONGEST_PATH, Path};
use super::sparse::Piece;
use super::tree::Tree;

/// What a whiteout's name begins with, and the mark of an opaque directory.
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Reads the archive to its end and applies it; returns the stream, of which there may be more.
///
/// # Errors
/// [`Refused`]; what was applied before stays, for whoever made the tree to remove.
pub(crate) fn apply<R: Read>(tree: &Tree, archive: R, left: &Left) -> Result<R, Refused> {
    let mut entries = Entries::new(archive);
    let mut applying = Applying { tree, left, parent: None, directories: Directories::default() };
    while let Some(entry) = entries.next()? {
        applying.entry(&entry, &mut entries).map_err(|why| Refused::new(&entry.path, why))?;
    }
    applying.finish()?;
    Ok(entries.into_stream())
}

/// A layer that is being applied.
struct Applying<'a> {
    tree: &'a Tree,
    left: &'a Left,
    /// The directory of the entry before, by the path with which it was named: the next one mostly lies there too.
    parent: Option<(CString, OwnedFd)>,
    directories: Directories,
}

/// Why an entry is refused, in words.
type Why = String;

fn kernel(what: &str) -> impl Fn(Errno) -> Why {
    move |errno| format!("{what}: {}", crate::error::describe(errno))
}

impl Applying<'_> {
    fn entry<R: Read>(&mut self, entry: &Entry, body: &mut Entries<R>) -> Result<(), Why> {
        self.left.entry()?;
        let path = Path::parse(&entry.path, self.left.budget.depth)?;
        let Some((name, above)) = path.names.split_last() else {
            // The root itself, "./".
            return if entry.kind == EntryType::Directory {
                self.metadata_of_root(entry)
            } else {
                Err("it has no name".into())
            };
        };
        if *name == OPAQUE {
            return self.opaque(above);
        }
        // Of the older aufs, whose own files begin like this, nothing else ever meant anything.
        if name.starts_with(b".wh..wh.") {
            return Ok(());
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            return match hidden {
                b"" | b"." | b".." => Err("a whiteout that hides no name".into()),
                hidden => self.hide(above, hidden),
            };
        }
        let name = c_string(name)?;
        self.enter(above)?;
        self.make(entry, &name, body)
    }

    /// Opens the directory at these names, and makes what is missing of it.
    fn enter(&mut self, names: &[&[u8]]) -> Result<(), Why> {
        let path = joined(names)?;
        if self.parent.as_ref().is_none_or(|(known, _)| *known != path) {
            let directory = self.tree.directory(&path, self.left.budget.depth)?;
            self.parent = Some((path, directory));
        }
        Ok(())
    }

    fn here(&self) -> Result<&OwnedFd, Why> {
        self.parent.as_ref().map(|(_, directory)| directory).ok_or_else(|| "it lies nowhere".into())
    }

    fn make<R: Read>(&mut self, entry: &Entry, name: &CStr, body: &mut Entries<R>) -> Result<(), Why> {
        let here = self.here()?;
        let is_directory = entry.kind == EntryType::Directory;
        match fstatat(here, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            // A directory is not replaced by itself: what is in it stays.
            Ok(stat) if is_directory && kind(stat.st_mode) == SFlag::S_IFDIR => {
                self.only_these_attributes(entry, name)?;
            }
            Ok(_) if entry.kind == EntryType::Link && self.is_itself(entry, name)? => return Ok(()),
            Ok(_) => {
                self.tree.remove(here, name).map_err(kernel("remove what is in its place"))?;
                if is_directory {
                    mkdirat(here, name, Mode::S_IRWXU).map_err(kernel("make it"))?;
                }
            }
            Err(Errno::ENOENT) if is_directory => {
                mkdirat(here, name, Mode::S_IRWXU).map_err(kernel("make it"))?;
            }
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(kernel("look at its place")(errno)),
        }
        match entry.kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.write(entry, name, body)?
            }
            EntryType::Directory => {
                let (path, _) = self.parent.as_ref().ok_or("it lies nowhere")?;
                let own = [path.to_bytes(), b"/", name.to_bytes()].concat();
                self.directories.remember(c_string(&own)?, time(entry))?;
            }
            EntryType::Symlink => {
                let target = c_string(&entry.link)?;
                if target.is_empty() || target.count_bytes() >= LONGEST_PATH {
                    return Err("a link to nothing, or to a name that is too long".into());
                }
                symlinkat(target.as_c_str(), here, name).map_err(kernel("make the link"))?;
            }
            // The other name has owner, mode and times already.
            EntryType::Link => return self.link(entry, name),
            EntryType::Char | EntryType::Block | EntryType::Fifo => self.node(entry, name)?,
            other => return Err(format!("of a kind that no layer has ({:?})", other.as_byte() as char)),
        }
        self.metadata(entry, name)
    }

    fn write<R: Read>(&self, entry: &Entry, name: &CStr, body: &mut Entries<R>) -> Result<(), Why> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file =
            openat(self.here()?, name, flags, Mode::S_IRUSR | Mode::S_IWUSR).map_err(kernel("make it"))?;
        let file = File::from(file);
        let failed = |error: std::io::Error| format!("write it: {error}");
        let whole = [Piece { at: 0, length: entry.size }];
        let pieces = match &entry.pieces {
            Some(pieces) => {
                let stored: u64 = pieces.iter().map(|piece| piece.length).sum();
                self.left.bytes(entry.size - stored)?;
                pieces.as_slice()
            }
            None => whole.as_slice(),
        };
        let mut buffer = vec![0; 128 << 10];
        for piece in pieces {
            let (mut at, end) = (piece.at, piece.at + piece.length);
            while at < end {
                let most = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
                let count = body.read(&mut buffer[..most]).map_err(|refused| refused.why)?;
                file.write_all_at(&buffer[..count], at).map_err(failed)?;
                at += count as u64;
            }
        }
        // A hole at the end.
        if entry.pieces.is_some() { file.set_len(entry.size).map_err(failed) } else { Ok(()) }
    }

    /// A second name for a file of this layer or one below.
    fn link(&self, entry: &Entry, name: &CStr) -> Result<(), Why> {
        let (directory, other) = self.target(entry)?;
        // The stream has no byte of them: a large file below and a link to it in each of two hundred layers would be a bomb.
        self.left.bytes(self.tree.to_copy(&directory, &other).map_err(kernel("look at its link"))?)?;
        linkat(&directory, other.as_c_str(), self.here()?, name, AtFlags::empty()).map_err(|errno| {
            format!(
                "link it to {:?}: {}",
                String::from_utf8_lossy(&entry.link),
                crate::error::describe(errno)
            )
        })
    }

    fn target(&self, entry: &Entry) -> Result<(OwnedFd, CString), Why> {
        let lead = |why| format!("its link {:?}: {why}", String::from_utf8_lossy(&entry.link));
        let path = Path::parse(&entry.link, self.left.budget.depth).map_err(lead)?;
        let (name, above) = path.names.split_last().ok_or_else(|| lead("leads to the root".into()))?;
        let directory = self.tree.existing(&joined(above)?).map_err(kernel("find its link"))?;
        Ok((directory, c_string(name)?))
    }

    /// Whether a link is to be made to the very name that it has: nothing is to be done, and nothing to be lost.
    fn is_itself(&self, entry: &Entry, name: &CStr) -> Result<bool, Why> {
        let (directory, other) = self.target(entry)?;
        let at = |dir: &OwnedFd, name: &CStr| fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW);
        Ok(match (at(&directory, &other), at(self.here()?, name)) {
            (Ok(one), Ok(two)) => (one.st_dev, one.st_ino) == (two.st_dev, two.st_ino),
            _ => false,
        })
    }

    fn node(&self, entry: &Entry, name: &CStr) -> Result<(), Why> {
        let kind = match entry.kind {
            EntryType::Char => SFlag::S_IFCHR,
            EntryType::Block => SFlag::S_IFBLK,
            _ => SFlag::S_IFIFO,
        };
        let (major, minor) = entry.device;
        if kind == SFlag::S_IFCHR && (major, minor) == (0, 0) {
            return Err(
                "the device 0:0 is how overlayfs marks what is hidden; no layer may make that mark".into()
            );
        }
        let device = if kind == SFlag::S_IFIFO { 0 } else { makedev(major.into(), minor.into()) };
        mknodat(self.here()?, name, kind, Mode::S_IRUSR, device).map_err(kernel("make the node"))
    }

    /// Owner, mode, attributes and time, in this order: a change of owner takes setuid and capabilities away.
    fn metadata(&self, entry: &Entry, name: &CStr) -> Result<(), Why> {
        let here = self.here()?;
        let id = |number: u64, whose| {
            let number = u32::try_from(number).ok().filter(|it| *it != u32::MAX);
            number.ok_or_else(|| format!("its {whose} is beyond what the kernel can count"))
        };
        let (uid, gid) = (Uid::from_raw(id(entry.uid, "owner")?), Gid::from_raw(id(entry.gid, "group")?));
        fchownat(here, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
            .map_err(kernel("set its owner"))?;
        if entry.kind != EntryType::Symlink {
            let mode = Mode::from_bits_truncate(entry.mode);
            fchmodat(here, name, mode, FchmodatFlags::FollowSymlink).map_err(kernel("set its mode"))?;
        }
        for (key, value) in entry.attributes.iter().filter(|(key, _)| !is_overlays(key)) {
            match xattr::set(by_descriptor(here, name), OsStr::from_bytes(key), value) {
                // A file system that has none; Docker and Podman pass over it too.
                Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => {}
                Err(error) => {
                    return Err(format!("set its attribute {}: {error}", String::from_utf8_lossy(key)));
                }
                Ok(()) => {}
            }
        }
        let time = time(entry);
        utimensat(here, name, &time, &time, UtimensatFlags::NoFollowSymlink).map_err(kernel("set its time"))
    }

    /// Takes the attributes away that a directory had, but for those that it gets: what is said of a directory of a
    /// layer below is all that is true of it.
    fn only_these_attributes(&self, entry: &Entry, name: &CStr) -> Result<(), Why> {
        let path = by_descriptor(self.here()?, name);
        let failed = |error: std::io::Error| format!("take its old attributes away: {error}");
        let names = match xattr::list(&path) {
            Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => return Ok(()),
            other => other.map_err(failed)?,
        };
        for old in names {
            let key = old.as_bytes();
            if !is_overlays(key) && !entry.attributes.iter().any(|(new, _)| new == key) {
                xattr::remove(&path, &old).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn metadata_of_root(&mut self, entry: &Entry) -> Result<(), Why> {
        self.enter(&[])?;
        self.only_these_attributes(entry, c".")?;
        self.metadata(entry, c".")?;
        self.directories.remember(c"/.".to_owned(), time(entry))
    }

    /// What the layers below have at this name is gone; what this layer has stays.
    fn hide(&mut self, above: &[&[u8]], name: &[u8]) -> Result<(), Why> {
        let Some(directory) = self.marked(above)? else { return Ok(()) };
        self.tree.hide(&directory, &c_string(name)?).map_err(kernel("hide it"))
    }

    fn opaque(&mut self, above: &[&[u8]]) -> Result<(), Why> {
        let Some(directory) = self.marked(above)? else { return Ok(()) };
        self.tree.hide_all(&directory).map_err(kernel("hide what is in its directory"))
    }

    /// The directory in which a mark stands, if there is one. What it hides may be on the way to the directory of the
    /// entry before, so that is to be looked up anew.
    fn marked(&mut self, above: &[&[u8]]) -> Result<Option<OwnedFd>, Why> {
        self.parent = None;
        match self.tree.existing(&joined(above)?) {
            Ok(directory) => Ok(Some(directory)),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(None),
            Err(errno) => Err(kernel("find its directory")(errno)),
        }
    }

    /// The times of directories, once nothing more is made in them.
    fn finish(&mut self) -> Result<(), Refused> {
        for (path, time) in &self.directories.times {
            let refused = |errno| Refused::new(path.to_bytes(), kernel("set its time")(errno));
            let bytes = path.to_bytes();
            let (above, name) = bytes.split_at(bytes.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
            let (above, name) = (c_string(above), c_string(&name[1..]));
            let (Ok(above), Ok(name)) = (above, name) else { continue };
            // Removed or replaced later on: then there is no time to be set, and none where a link in its place leads.
            let Ok(directory) = self.tree.existing(&above) else { continue };
            match fstatat(&directory, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
                Ok(stat) if kind(stat.st_mode) == SFlag::S_IFDIR => {
                    let flag = UtimensatFlags::NoFollowSymlink;
                    utimensat(&directory, name.as_c_str(), time, time, flag).map_err(refused)?;
                }
                Ok(_) | Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                Err(errno) => return Err(refused(errno)),
            }
        }
        Ok(())
    }
}

/// A path by way of a directory's descriptor: no link is followed on it, and it is never too long.
fn by_descriptor(directory: &OwnedFd, name: &CStr) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(OsStr::from_bytes(name.to_bytes()))
}

/// overlayfs keeps its notes in attributes; a layer that brought its own could show what it must not.
fn is_overlays(key: &[u8]) -> bool {
    key.starts_with(b"trusted.overlay.") || key.starts_with(b"user.overlay.")
}

fn kind(mode: u32) -> SFlag {
    SFlag::from_bits_truncate(mode & SFlag::S_IFMT.bits())
}

fn time(entry: &Entry) -> TimeSpec {
    TimeSpec::new(entry.modified.0, entry.modified.1)
}

fn c_string(bytes: &[u8]) -> Result<CString, Why> {
    CString::new(bytes).map_err(|_| "it holds a zero byte".into())
}

fn joined(names: &[&[u8]]) -> Result<CString, Why> {
    c_string(&names.join(&b'/'))
}
