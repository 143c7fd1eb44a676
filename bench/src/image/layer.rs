//! A layer: entries as an archive (tar(5), with attributes in the words that GNU tar and Docker read).

use std::io::{self, Write};

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use super::{Entry, Kind};

/// Before the name of an extended attribute in an archive.
const ATTRIBUTE: &str = "SCHILY.xattr.";

/// The archive's bytes: the same entries give the same bytes.
pub(super) fn pack(entries: &[Entry]) -> Result<Vec<u8>> {
    let mut builder = Builder::new(Vec::new());
    for entry in entries {
        one(&mut builder, entry).with_context(|| format!("put {} into an archive", entry.path))?;
    }
    Ok(builder.into_inner()?)
}

/// An archive as registries keep it.
///
/// # Errors
/// None is known: it is packed in memory.
pub fn gzipped(archive: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(archive)?;
    Ok(encoder.finish()?)
}

fn one(builder: &mut Builder<Vec<u8>>, entry: &Entry) -> io::Result<()> {
    let name = entry.path.trim_start_matches('/');
    let name = if name.is_empty() { "./" } else { name };
    let mut header = Header::new_gnu();
    header.set_mode(entry.mode);
    header.set_uid(entry.owner[0].into());
    header.set_gid(entry.owner[1].into());
    header.set_mtime(0);
    header.set_size(0);
    let attributes = entry.attributes.iter().map(|(name, value)| (format!("{ATTRIBUTE}{name}"), value));
    let attributes: Vec<(String, &Vec<u8>)> = attributes.collect();
    if !attributes.is_empty() {
        builder.append_pax_extensions(
            attributes.iter().map(|(name, value)| (name.as_str(), value.as_slice())),
        )?;
    }
    match &entry.kind {
        Kind::Directory => {
            header.set_entry_type(EntryType::Directory);
            builder.append_data(&mut header, name, io::empty())
        }
        Kind::File(bytes) => {
            header.set_entry_type(EntryType::Regular);
            header.set_size(bytes.len() as u64);
            builder.append_data(&mut header, name, &**bytes)
        }
        Kind::Link(target) => {
            header.set_entry_type(EntryType::Symlink);
            builder.append_link(&mut header, name, target)
        }
        Kind::Same(other) => {
            header.set_entry_type(EntryType::Link);
            builder.append_link(&mut header, name, other.trim_start_matches('/'))
        }
    }
}
