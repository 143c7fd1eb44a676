//! A directory as a layer: a tar archive of it, with all that a box would see.
//!
//! The directory may be a stranger's, who changes it while we read as root: so each file is opened once, below the
//! directory and through no link, and everything is asked of what was opened. What another file system shows inside, such
//! as /proc in a tree that was somebody's root, is not the image's: the place stays, empty.
//!
//! Man page: tar(5). Look at it: `tare-runtime import DIR name:tag; tar -tvf STORE/blobs/DIGEST`

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2, readlinkat};
use nix::sys::stat::{major, minor};
use tar::{Builder, EntryType, Header};

use super::budget::Left;

/// Writes `root` and all below it as an archive, in the order of the names, so that equal trees have equal archives.
///
/// # Errors
/// The file that cannot be read, and why; also where it is more than what is left allows.
pub(crate) fn pack(root: BorrowedFd<'_>, into: impl Write, left: &Left) -> Result<(), String> {
    let mut packing = Packing { builder: Builder::new(into), first_names: BTreeMap::new(), left };
    let mut open = vec![PathBuf::new()];
    while let Some(inner) = open.pop() {
        let words = |why: String| {
            format!("{:?} in it: {why}", if inner.as_os_str().is_empty() { Path::new("/") } else { &inner })
        };
        let found = Found::open(root, &inner).map_err(|error| words(error.to_string()))?;
        packing.append(&found, &inner).map_err(words)?;
        if found.metadata.is_dir() && !found.elsewhere {
            let names = fs::read_dir(found.path()).and_then(|all| {
                all.map(|entry| entry.map(|entry| inner.join(entry.file_name())))
                    .collect::<io::Result<Vec<_>>>()
            });
            let mut names = names.map_err(|error| words(error.to_string()))?;
            // The last one is the next.
            names.sort_by(|a, b| b.cmp(a));
            open.extend(names);
        }
    }
    packing.builder.finish().map_err(|error| error.to_string())
}

/// A file that was opened, whatever its name leads to by now.
struct Found {
    fd: OwnedFd,
    metadata: Metadata,
    /// Of another file system, mounted there.
    elsewhere: bool,
}

impl Found {
    fn open(root: BorrowedFd<'_>, inner: &Path) -> io::Result<Self> {
        let inner = if inner.as_os_str().is_empty() { Path::new(".") } else { inner };
        let below = ResolveFlag::RESOLVE_BENEATH.union(ResolveFlag::RESOLVE_NO_SYMLINKS);
        let flags = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
        let open = |resolve| openat2(root, inner, OpenHow::new().flags(flags).resolve(resolve));
        let (fd, elsewhere) = match open(below.union(ResolveFlag::RESOLVE_NO_XDEV)) {
            Err(Errno::EXDEV) => (open(below)?, true),
            other => (other?, false),
        };
        let metadata = File::from(fd.try_clone()?).metadata()?;
        Ok(Self { fd, metadata, elsewhere })
    }

    /// A path that leads to it and nowhere else.
    fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.fd.as_raw_fd()).into()
    }
}

struct Packing<'a, W: Write> {
    builder: Builder<W>,
    /// Where files with several names were met first.
    first_names: BTreeMap<(u64, u64), PathBuf>,
    left: &'a Left,
}

impl<W: Write> Packing<'_, W> {
    fn append(&mut self, found: &Found, inner: &Path) -> Result<(), String> {
        let (metadata, kind) = (&found.metadata, found.metadata.file_type());
        self.left.entry()?;
        if inner.file_name().is_some_and(|name| name.as_bytes().starts_with(b".wh.")) {
            return Err(
                "in a layer this name means that another file is gone (rename it, or leave it out)".into()
            );
        }
        if kind.is_socket() {
            // It is nothing without the process that listens on it, and tar has no word for it.
            return Ok(());
        }
        let words = |error: io::Error| error.to_string();
        let name = if inner.as_os_str().is_empty() { Path::new("./") } else { inner };
        let mut header = Header::new_gnu();
        header.set_mode(metadata.mode() & 0o7777);
        header.set_uid(metadata.uid().into());
        header.set_gid(metadata.gid().into());
        header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or(0));
        header.set_size(0);
        if !metadata.is_dir() && metadata.nlink() > 1 {
            let file = (metadata.dev(), metadata.ino());
            if let Some(first) = self.first_names.get(&file).cloned() {
                header.set_entry_type(EntryType::Link);
                return self.link(&mut header, name, first.as_os_str()).map_err(words);
            }
            self.first_names.insert(file, inner.to_owned());
        }
        self.attributes(found).map_err(words)?;
        if kind.is_symlink() {
            header.set_entry_type(EntryType::Symlink);
            let target = readlinkat(found.fd.as_fd(), c"").map_err(|errno| errno.to_string())?;
            return self.link(&mut header, name, &target).map_err(words);
        }
        if kind.is_file() {
            self.left.bytes(metadata.len())?;
            let file = File::open(found.path()).map_err(words)?;
            header.set_size(metadata.len());
            header.set_entry_type(EntryType::Regular);
            return self
                .builder
                .append_data(&mut header, name, Exactly { file, left: metadata.len() })
                .map_err(words);
        }
        header.set_entry_type(match kind {
            _ if kind.is_dir() => EntryType::Directory,
            _ if kind.is_char_device() => EntryType::Char,
            _ if kind.is_block_device() => EntryType::Block,
            _ => EntryType::Fifo,
        });
        if kind.is_char_device() || kind.is_block_device() {
            let number = |part: u64| u32::try_from(part).map_err(|error| error.to_string());
            header.set_device_major(number(major(metadata.rdev()))?).map_err(words)?;
            header.set_device_minor(number(minor(metadata.rdev()))?).map_err(words)?;
        }
        self.builder.append_data(&mut header, name, io::empty()).map_err(words)
    }

    /// A link to exactly this; the crate's own way would tidy it up, "a//b" to "a/b".
    fn link(&mut self, header: &mut Header, name: &Path, target: &OsStr) -> io::Result<()> {
        let target = target.as_bytes();
        if target.len() > header.as_old().linkname.len() {
            let mut long = Header::new_gnu();
            long.set_path("././@LongLink")?;
            long.set_entry_type(EntryType::GNULongLink);
            long.set_mode(0);
            long.set_uid(0);
            long.set_gid(0);
            long.set_mtime(0);
            long.set_size(target.len() as u64 + 1);
            long.set_cksum();
            self.builder.append(&long, target.chain(&b"\0"[..]))?;
        } else {
            header.set_link_name_literal(target)?;
        }
        self.builder.append_data(header, name, io::empty())
    }

    /// Extended attributes stand in an entry before the file's.
    fn attributes(&mut self, found: &Found) -> io::Result<()> {
        let path = found.path();
        let names = match xattr::list_deref(&path) {
            Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => return Ok(()),
            other => other?,
        };
        let mut records = Vec::new();
        for name in names {
            let shown = std::str::from_utf8(name.as_bytes()).map_err(io::Error::other)?;
            if let Some(value) = xattr::get_deref(&path, &name)? {
                records.push((format!("SCHILY.xattr.{shown}"), value));
            }
        }
        records.sort();
        if records.is_empty() {
            return Ok(());
        }
        self.builder
            .append_pax_extensions(records.iter().map(|(name, value)| (name.as_str(), value.as_slice())))
    }
}

/// As many bytes of a file as its header says: more or fewer would shift all that follows.
struct Exactly {
    file: File,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read(&mut buffer[..most])?;
        if count == 0 && most > 0 {
            return Err(io::Error::other("it became shorter while it was read"));
        }
        self.left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Somebody may swap a directory for a link between our reading of its names and our opening of the files.
    #[test]
    fn no_link_is_followed_and_a_link_is_what_was_opened() {
        let dir = tempfile::tempdir().expect("tempdir");
        fs::create_dir_all(dir.path().join("root/d")).expect("mkdir");
        fs::create_dir(dir.path().join("outside")).expect("mkdir");
        for file in ["outside/f", "root/d/f"] {
            fs::write(dir.path().join(file), file).expect("write");
        }
        for (name, target) in [("out", "../outside"), ("in", "d"), ("file", "d/f")] {
            std::os::unix::fs::symlink(target, dir.path().join("root").join(name)).expect("link");
        }
        let root = File::open(dir.path().join("root")).expect("open");
        let open = |path: &str| Found::open(root.as_fd(), Path::new(path));
        for path in ["out/f", "in/f", "../outside/f", "d/../../outside/f"] {
            assert!(open(path).is_err(), "{path}");
        }
        assert!(open("file").expect("the link").metadata.is_symlink());
        let file = open("d/f").expect("the file");
        assert_eq!(fs::read_to_string(file.path()).expect("read"), "root/d/f");
    }
}
