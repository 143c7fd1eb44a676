//! Removing a tree that a box has filled: with anything, and as deep as it liked.
//!
//! A box is root in its own layer and in its volumes. It may take all permissions from a directory, and make directories
//! one in another until no path is long enough for the innermost and nobody may have so many open at once. Who removes by
//! path, or keeps one open for each level, then ends with an error, and the box could not be deleted. So we go down by
//! descriptor and through no link, give ourselves the permission that is missing, and move up what lies too deep.
//!
//! Man pages: unlink(2), rename(2). Look at it:
//! `tare-runtime run --rootfs DIR box -- sh -c 'while mkdir d && cd d; do :; done'`

use std::ffi::{CStr, CString};
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

/// So deep at most, with two descriptors for each level, and less deep where a process may not have so many.
const LEVELS: u32 = 50;

const DIRECTORY: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Removes a directory with all that is in it, if it is there. Nobody else may be at work in it.
///
/// # Errors
/// Those of the calls; what could be removed before is gone, and it can be repeated.
pub fn tree(path: &Path) -> io::Result<()> {
    loop {
        // Most boxes wrote nothing: one call, and no listing.
        let full = match fs::remove_dir(path) {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => error,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotADirectory => return fs::remove_file(path),
            other => return other,
        };
        let top = enter(AT_FDCWD, &CString::new(path.as_os_str().as_bytes())?)?;
        let mut clearing = Clearing { top, next: 0, progress: false };
        clearing.clear(&clearing.top.try_clone()?, 0)?;
        // What was moved up is still there, and what the kernel did not list while we removed its neighbours.
        if !clearing.progress {
            return Err(full);
        }
    }
}

/// Whether we, or all of the host's processes together, may open no more.
fn is_of_too_many(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EMFILE | Errno::ENFILE))
}

struct Clearing {
    top: OwnedFd,
    /// What the next directory that is moved up is called.
    next: u64,
    /// Whether anything was removed or moved.
    progress: bool,
}

impl Clearing {
    fn clear(&mut self, directory: &OwnedFd, level: u32) -> io::Result<()> {
        for entry in Dir::from_fd(directory.try_clone()?)?.iter() {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let is_directory = entry.file_type() == Some(Type::Directory);
            if self.remove(directory, name, is_directory)? {
                continue;
            }
            let cleared = match enter(directory, name) {
                Ok(_) if level == LEVELS => Err(Errno::EMFILE.into()),
                Ok(inner) => self.clear(&inner, level + 1),
                Err(error) => Err(error),
            };
            match cleared {
                Ok(()) => drop(self.remove(directory, name, true)?),
                // At the top it would lie no higher.
                Err(error) if level > 0 && is_of_too_many(&error) => self.move_up(directory, name)?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// False for a directory in which there is something.
    fn remove(&mut self, directory: &OwnedFd, name: &CStr, is_directory: bool) -> io::Result<bool> {
        let how = if is_directory { UnlinkatFlags::RemoveDir } else { UnlinkatFlags::NoRemoveDir };
        match unlinkat(directory, name, how) {
            Ok(()) => self.progress = true,
            Err(Errno::ENOENT) => {}
            // Not every file system says beforehand what is one.
            Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::EISDIR) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        }
        Ok(true)
    }

    fn move_up(&mut self, directory: &OwnedFd, name: &CStr) -> io::Result<()> {
        loop {
            let new = CString::new(self.next.to_string())?;
            self.next += 1;
            match renameat(directory, name, &self.top, new.as_c_str()) {
                // The box has called something so.
                Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::ENOTDIR) => {}
                Err(errno) => return Err(errno.into()),
                Ok(()) => {
                    self.progress = true;
                    return Ok(());
                }
            }
        }
    }
}

/// Opens a directory, after making it one that may be read and changed: root needs nobody's permission.
fn enter(directory: impl AsFd, name: &CStr) -> io::Result<OwnedFd> {
    let open = |flags: OFlag| openat(&directory, name, DIRECTORY | flags, Mode::empty());
    if !geteuid().is_root() {
        let it = open(OFlag::O_PATH)?;
        fs::set_permissions(format!("/proc/self/fd/{}", it.as_raw_fd()), Permissions::from_mode(0o700))?;
    }
    Ok(open(OFlag::O_RDONLY)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::mkdirat;
    use std::fs::File;

    /// Directories one in another below a directory.
    fn nest(place: &Path, name: &CStr, levels: u32) {
        let mut at: OwnedFd = File::open(place).expect("open").into();
        for _ in 0..levels {
            mkdirat(&at, name, Mode::S_IRWXU).expect("mkdir");
            at = openat(&at, name, DIRECTORY, Mode::empty()).expect("open");
        }
        openat(&at, c"file", OFlag::O_CREAT | OFlag::O_WRONLY, Mode::empty()).expect("file");
    }

    #[test]
    fn a_tree_goes_however_deep_it_is_and_nothing_beside_it() {
        let dir = tempfile::tempdir().expect("tempdir");
        let (tree, outside) = (dir.path().join("tree"), dir.path().join("outside"));
        for path in [&tree, &outside] {
            fs::create_dir(path).expect("mkdir");
        }
        fs::write(outside.join("f"), "").expect("write");
        // Deeper than any path is long, and by names that those have which are moved up.
        for name in [c"d", c"0", c"1"] {
            nest(&tree, name, 5000);
        }
        std::os::unix::fs::symlink(&outside, tree.join("out")).expect("link");
        fs::set_permissions(tree.join("d/d"), Permissions::from_mode(0o000)).expect("chmod");
        super::tree(&tree).expect("removed");
        assert!(!tree.exists() && outside.join("f").exists());
        super::tree(&tree).expect("nothing is there");
    }

    #[test]
    fn what_does_not_go_is_an_error_and_no_circle() {
        let dir = tempfile::tempdir().expect("tempdir");
        let error = super::tree(&dir.path().join("a\0b")).expect_err("no name");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let tree = dir.path().join("tree");
        std::os::unix::fs::symlink(dir.path(), &tree).expect("link");
        super::tree(&tree).expect("the link alone");
        assert!(dir.path().exists());
    }
}
