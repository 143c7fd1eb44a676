//! What lies in directories: the blocks that their files have.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::syncfs;

/// The unit of a file's blocks, whatever the file system's own is (stat(2)).
const BLOCK: u64 = 512;

/// Bytes that are allocated to everything at and below these paths, each file once however many names it has. Other file
/// systems that are mounted below are not looked at; a path that is not there has nothing.
///
/// # Errors
/// When something cannot be looked at. What goes away meanwhile is no error.
pub fn allocated(paths: &[PathBuf]) -> io::Result<u64> {
    let mut seen = BTreeSet::new();
    let mut sum = 0;
    for path in paths {
        let Some(top) = gone_is_none(fs::symlink_metadata(path))? else { continue };
        // What was written a moment ago may have no block yet.
        syncfs(fs::File::open(path)?)?;
        sum += below(path, top.dev(), &mut seen)?;
    }
    Ok(sum)
}

fn below(path: &Path, device: u64, seen: &mut BTreeSet<(u64, u64)>) -> io::Result<u64> {
    let Some(meta) = gone_is_none(fs::symlink_metadata(path))? else { return Ok(0) };
    if meta.dev() != device || !seen.insert((meta.dev(), meta.ino())) {
        return Ok(0);
    }
    let mut sum = meta.blocks() * BLOCK;
    if meta.is_dir()
        && let Some(entries) = gone_is_none(fs::read_dir(path))?
    {
        for entry in entries {
            sum += below(&entry?.path(), device, seen)?;
        }
    }
    Ok(sum)
}

fn gone_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(it) => Ok(Some(it)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_counts_once_and_by_its_blocks() {
        // On a disk: in memory blocks come otherwise.
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let paths = [dir.path().to_owned()];
        let empty = allocated(&paths).unwrap();
        fs::write(dir.path().join("one"), vec![7; 100_000]).unwrap();
        let one = allocated(&paths).unwrap() - empty;
        assert!((100_000..120_000).contains(&one), "{one}");
        fs::hard_link(dir.path().join("one"), dir.path().join("other")).unwrap();
        assert_eq!(allocated(&paths).unwrap() - empty, one, "another name is no other file");
        let holes = fs::File::create(dir.path().join("holes")).unwrap();
        holes.set_len(1 << 30).unwrap();
        assert_eq!(allocated(&paths).unwrap() - empty, one, "holes have no blocks");
        assert_eq!(allocated(&[dir.path().join("nothing")]).unwrap(), 0);
        assert_eq!(
            allocated(&[dir.path().into(), dir.path().into()]).unwrap() - empty,
            one,
            "nor is it twice there"
        );
    }
}
