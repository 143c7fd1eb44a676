//! A directory as a layer: a tar archive of it, with all that a box would see.
//!
//! Man page: tar(5). Look at it: `tare-runtime import DIR name:tag; tar -tvf STORE/blobs/DIGEST`

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};
use tar::{Builder, EntryType, Header};

/// Writes `root` and all below it as an archive, in the order of the names, so that equal trees have equal archives.
///
/// # Errors
/// The file that cannot be read, and why.
pub(crate) fn pack(root: &Path, into: impl Write) -> Result<(), String> {
    let mut builder = Builder::new(into);
    let mut seen = BTreeMap::new();
    let words = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    let mut open = vec![PathBuf::new()];
    while let Some(inner) = open.pop() {
        let path = root.join(&inner);
        let metadata = fs::symlink_metadata(&path).map_err(|error| words(&path, error))?;
        append(&mut builder, &path, &inner, &metadata, &mut seen).map_err(|error| words(&path, error))?;
        if metadata.is_dir() {
            let names = fs::read_dir(&path).and_then(|all| {
                all.map(|entry| entry.map(|entry| inner.join(entry.file_name())))
                    .collect::<io::Result<Vec<_>>>()
            });
            let mut names = names.map_err(|error| words(&path, error))?;
            // The last one is the next.
            names.sort_by(|a, b| b.cmp(a));
            open.extend(names);
        }
    }
    builder.finish().map_err(|error| error.to_string())
}

fn append<W: Write>(
    builder: &mut Builder<W>,
    path: &Path,
    inner: &Path,
    metadata: &Metadata,
    seen: &mut BTreeMap<(u64, u64), PathBuf>,
) -> io::Result<()> {
    let kind = metadata.file_type();
    if kind.is_socket() {
        // It is nothing without the process that listens on it, and tar has no word for it.
        return Ok(());
    }
    let name = if inner.as_os_str().is_empty() { Path::new("./") } else { inner };
    let mut header = Header::new_gnu();
    header.set_mode(metadata.mode() & 0o7777);
    header.set_uid(metadata.uid().into());
    header.set_gid(metadata.gid().into());
    header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or(0));
    header.set_size(0);
    if !metadata.is_dir() && metadata.nlink() > 1 {
        if let Some(first) = seen.get(&(metadata.dev(), metadata.ino())) {
            header.set_entry_type(EntryType::Link);
            return builder.append_link(&mut header, name, first);
        }
        seen.insert((metadata.dev(), metadata.ino()), inner.to_owned());
    }
    attributes(builder, path)?;
    if kind.is_symlink() {
        header.set_entry_type(EntryType::Symlink);
        return builder.append_link(&mut header, name, fs::read_link(path)?);
    }
    if kind.is_file() {
        let file = File::open(path)?;
        header.set_size(metadata.len());
        header.set_entry_type(EntryType::Regular);
        // A file that grows meanwhile would shift all that follows.
        return builder.append_data(&mut header, name, io::Read::take(file, metadata.len()));
    }
    header.set_entry_type(match kind {
        _ if kind.is_dir() => EntryType::Directory,
        _ if kind.is_char_device() => EntryType::Char,
        _ if kind.is_block_device() => EntryType::Block,
        _ => EntryType::Fifo,
    });
    if kind.is_char_device() || kind.is_block_device() {
        let number = |part: u64| u32::try_from(part).map_err(io::Error::other);
        header.set_device_major(number(major(metadata.rdev()))?)?;
        header.set_device_minor(number(minor(metadata.rdev()))?)?;
    }
    builder.append_data(&mut header, name, io::empty())
}

/// Extended attributes stand in an entry before the file's.
fn attributes<W: Write>(builder: &mut Builder<W>, path: &Path) -> io::Result<()> {
    let names = match xattr::list(path) {
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EOPNOTSUPP as i32) => return Ok(()),
        other => other?,
    };
    let mut records = Vec::new();
    for name in names {
        let shown = |name: &OsStr| {
            let text = std::str::from_utf8(name.as_bytes()).map_err(io::Error::other);
            text.map(|text| format!("SCHILY.xattr.{text}"))
        };
        if let Some(value) = xattr::get(path, &name)? {
            records.push((shown(&name)?, value));
        }
    }
    records.sort();
    if records.is_empty() {
        return Ok(());
    }
    builder.append_pax_extensions(records.iter().map(|(name, value)| (name.as_str(), value.as_slice())))
}
