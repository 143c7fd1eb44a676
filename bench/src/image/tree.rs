//! The tree of an image on disk.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::Path;

use anyhow::{Context, Result};

use super::{Entry, Kind};

/// Writes all entries below `root`, which is made.
pub(super) fn write(root: &Path, entries: &[Entry]) -> Result<()> {
    for entry in entries {
        one(root, entry)
            .with_context(|| format!("make {} of an image below {}", entry.path, root.display()))?;
    }
    Ok(())
}

fn one(root: &Path, entry: &Entry) -> Result<()> {
    let at = |path: &str| root.join(path.trim_start_matches('/'));
    let path = at(&entry.path);
    let [user, group] = entry.owner.map(Some);
    match &entry.kind {
        Kind::Directory => fs::create_dir(&path)?,
        Kind::File(bytes) => fs::write(&path, bytes)?,
        Kind::Link(target) => {
            symlink(target, &path)?;
            return Ok(lchown(&path, user, group)?);
        }
        // It has what the other name has.
        Kind::Same(other) => return Ok(fs::hard_link(at(other), &path)?),
    }
    // First the owner: a change of it takes set-user-id bits and capabilities away.
    chown(&path, user, group)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(entry.mode))?;
    for (name, value) in &entry.attributes {
        xattr::set(&path, name, value)?;
    }
    Ok(())
}
