//! A directory as a layer: a tar archive of it, with all that a box would see.
//!
//! The directory may be a stranger's, who changes it while we read as root: so each file is opened once, below the
//! directory and through no link, and everything is asked of what was opened. What another file system shows inside, such
//! as /proc in a tree that was somebody's root, is not the image's: the place stays, empty. A file's holes stay holes
//! (see `sparse.rs`): a disk of a gigabyte of which a megabyte was ever written takes a megabyte.
//!
//! Man page: tar(5). Look at it: `tare-runtime import DIR name:tag; tar -tvf STORE/blobs/DIGEST`

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2, readlinkat};
use nix::sys::stat::{major, minor};
use nix::unistd::{Whence, lseek};
use tar::{Builder, EntryType, Header};

use super::budget::Left;
use super::sparse::{self, Piece};

/// Writes `root` and all below it as an archive, in the order of the names, so that equal trees have equal archives;
/// files with other holes are not equal.
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
        let mut header = filled(Header::new_gnu(), metadata);
        if !metadata.is_dir() && metadata.nlink() > 1 {
            let file = (metadata.dev(), metadata.ino());
            if let Some(first) = self.first_names.get(&file).cloned() {
                header.set_entry_type(EntryType::Link);
                return self.link(&mut header, name, first.as_os_str()).map_err(words);
            }
            self.first_names.insert(file, inner.to_owned());
        }
        let records = attributes(found).map_err(words)?;
        if kind.is_file() {
            self.left.bytes(metadata.len())?;
            return self.file(found, inner, records).map_err(words);
        }
        self.describe(records).map_err(words)?;
        if kind.is_symlink() {
            header.set_entry_type(EntryType::Symlink);
            let target = readlinkat(found.fd.as_fd(), c"").map_err(|errno| errno.to_string())?;
            return self.link(&mut header, name, &target).map_err(words);
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

    /// A file's bytes, without its holes.
    fn file(&mut self, found: &Found, inner: &Path, mut records: Vec<Record>) -> io::Result<()> {
        let size = found.metadata.len();
        let file = File::open(found.path())?;
        let Some(mut pieces) = pieces(&file, size)? else {
            self.describe(records)?;
            let mut header = filled(Header::new_gnu(), &found.metadata);
            header.set_entry_type(EntryType::Regular);
            header.set_size(size);
            let whole = Pieces::of(file, vec![Piece { at: 0, length: size }]);
            return self.builder.append_data(&mut header, inner, whole);
        };
        // By this one GNU tar knows where a file ends that ends with a hole.
        pieces.push(Piece { at: size, length: 0 });
        let list = sparse::list(&pieces);
        let name = inner.as_os_str().as_bytes().to_vec();
        let size = size.to_string().into_bytes();
        let said = [("major", b"1".to_vec()), ("minor", b"0".to_vec()), ("name", name), ("realsize", size)];
        records.extend(said.map(|(key, value)| (format!("GNU.sparse.{key}"), value)));
        self.describe(records)?;
        // After a header of its own kind GNU tar expects a list of the older one.
        let mut header = filled(Header::new_ustar(), &found.metadata);
        header.set_entry_type(EntryType::Regular);
        header.set_size(list.len() as u64 + pieces.iter().map(|piece| piece.length).sum::<u64>());
        // Whoever knows nothing of holes unpacks list and pieces there, and not in the file's place.
        let beside = inner.with_file_name("GNUSparseFile.0").join(inner.file_name().unwrap_or_default());
        self.builder.append_data(&mut header, beside, list.as_slice().chain(Pieces::of(file, pieces)))
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

    /// What has no place in a file's header stands in an entry before it, all of it in one.
    fn describe(&mut self, mut records: Vec<Record>) -> io::Result<()> {
        records.sort();
        if records.is_empty() {
            return Ok(());
        }
        self.builder
            .append_pax_extensions(records.iter().map(|(name, value)| (name.as_str(), value.as_slice())))
    }
}

/// A header with what all kinds of files have.
fn filled(mut header: Header, metadata: &Metadata) -> Header {
    header.set_mode(metadata.mode() & 0o7777);
    header.set_uid(metadata.uid().into());
    header.set_gid(metadata.gid().into());
    header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or(0));
    header.set_size(0);
    header
}

/// What is said of a file: key and value.
type Record = (String, Vec<u8>);

/// A file's extended attributes.
fn attributes(found: &Found) -> io::Result<Vec<Record>> {
    let path = found.path();
    let names = match xattr::list_deref(&path) {
        Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => return Ok(Vec::new()),
        other => other?,
    };
    let mut records = Vec::new();
    for name in names {
        let shown = std::str::from_utf8(name.as_bytes()).map_err(io::Error::other)?;
        if let Some(value) = xattr::get_deref(&path, &name)? {
            records.push((format!("SCHILY.xattr.{shown}"), value));
        }
    }
    Ok(records)
}

/// Where a file of this size has bytes; `None` for one without holes, and for one with more pieces than readers take.
fn pieces(file: &File, size: u64) -> io::Result<Option<Vec<Piece>>> {
    let next = |from: u64, what| -> io::Result<u64> {
        let from = i64::try_from(from).map_err(io::Error::other)?;
        match lseek(file, from, what) {
            // There is nothing more, or the file became shorter, as whoever reads it will see.
            Err(Errno::ENXIO) => Ok(size),
            found => Ok(u64::try_from(found?).map_err(io::Error::other)?.min(size)),
        }
    };
    let (mut pieces, mut at) = (Vec::new(), 0);
    while at < size && pieces.len() < sparse::MOST {
        let begin = next(at, Whence::SeekData)?;
        at = next(begin, Whence::SeekHole)?;
        if begin < at {
            pieces.push(Piece { at: begin, length: at - begin });
        }
    }
    let stored: u64 = pieces.iter().map(|piece| piece.length).sum();
    Ok((stored < size && pieces.len() < sparse::MOST).then_some(pieces))
}

/// As many bytes of a file as its header says: more or fewer would shift all that follows.
struct Pieces {
    file: File,
    /// The last one is the next.
    left: Vec<Piece>,
}

impl Pieces {
    fn of(file: File, mut pieces: Vec<Piece>) -> Self {
        pieces.reverse();
        Self { file, left: pieces }
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.left.last().is_some_and(|piece| piece.length == 0) {
            self.left.pop();
        }
        let Some(piece) = self.left.last_mut() else { return Ok(0) };
        let most = usize::try_from(piece.length).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..most], piece.at)?;
        if count == 0 && most > 0 {
            return Err(io::Error::other("it became shorter while it was read"));
        }
        piece.at += count as u64;
        piece.length -= count as u64;
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
