//! Paths inside the box: every name is looked up as if the box's root were the only one.
//!
//! An image may hold a symbolic link where a mount is to go: `/data -> /../../etc`. Followed from outside
//! it would lead out of the box (CVE-2019-16884, CVE-2021-30465). So the kernel is asked to resolve in the
//! root (`RESOLVE_IN_ROOT`: `..` and absolute links stay inside), without the magic links of /proc, and
//! what it found is a descriptor: nobody can swap it afterwards.
//!
//! Where openat2 is missing (before Linux 5.6, or under a filter) links are not followed at all.
//!
//! Man page: openat2(2). Look at it: `strace -f -e openat2 tare-runtime run --bundle DIR box`

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, SFlag, mkdirat, mknodat};

/// What to make where nothing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// A directory, and those above it.
    Directory,
    /// An empty file, and the directories above it.
    File,
}

const PATH: OFlag = OFlag::O_PATH.union(OFlag::O_CLOEXEC);
const DIRECTORY_MODE: Mode = Mode::from_bits_truncate(0o755);
const FILE_MODE: Mode = Mode::from_bits_truncate(0o644);
/// The longest path that the kernel takes.
const LONGEST: usize = 4096;

/// Opens `path`, absolute or not, below `root`.
///
/// # Errors
/// ENOENT, ELOOP for too many links (or, without openat2, for any).
pub(crate) fn inside(root: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(PATH)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT.union(ResolveFlag::RESOLVE_NO_MAGICLINKS));
    for _ in 0..64 {
        match openat2(root, path, how) {
            // A rename elsewhere made the kernel unsure whether `..` still lies inside.
            Err(Errno::EAGAIN) => {}
            Err(Errno::ENOSYS | Errno::EPERM) => return without_links(root, path),
            other => return other,
        }
    }
    Err(Errno::EAGAIN)
}

/// The same without openat2: one name after another, and no link.
fn without_links(root: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    let mut at = openat(root, c".", PATH | OFlag::O_DIRECTORY, Mode::empty())?;
    let mut buffer = [0; LONGEST];
    for name in names(path) {
        if name == b".." {
            return Err(Errno::ELOOP);
        }
        let name = copied(name, &mut buffer)?;
        let next = openat(&at, name, PATH | OFlag::O_NOFOLLOW, Mode::empty())?;
        let kind = nix::sys::stat::fstat(&next)?.st_mode & SFlag::S_IFMT.bits();
        if kind == SFlag::S_IFLNK.bits() {
            return Err(Errno::ELOOP);
        }
        at = next;
    }
    Ok(at)
}

/// Opens `path` below `root` and makes what is missing of it.
///
/// # Errors
/// As [`inside`]; EROFS, ENOTDIR.
pub(crate) fn or_make(root: BorrowedFd<'_>, path: &CStr, missing: Missing) -> Result<OwnedFd, Errno> {
    match inside(root, path) {
        Err(Errno::ENOENT) => {}
        other => return other,
    }
    // Each beginning of the path in turn, so that links in its existing part are followed inside.
    let mut at = inside(root, c".")?;
    let (mut buffer, mut name_buffer) = ([0; LONGEST], [0; LONGEST]);
    let bytes = path.to_bytes();
    let mut end = 0;
    while end < bytes.len() {
        let start = end + bytes[end..].iter().take_while(|b| **b == b'/').count();
        let length = bytes[start..].iter().take_while(|b| **b != b'/').count();
        end = start + length;
        if length == 0 {
            break;
        }
        let is_last = names_left(&bytes[end..]) == 0;
        let beginning = copied(&bytes[..end], &mut buffer)?;
        at = match inside(root, beginning) {
            Err(Errno::ENOENT) => {
                let name = copied(&bytes[start..end], &mut name_buffer)?;
                let made = match is_last && missing == Missing::File {
                    true => mknodat(&at, name, SFlag::S_IFREG, FILE_MODE, 0),
                    false => mkdirat(&at, name, DIRECTORY_MODE),
                };
                match made {
                    Ok(()) => openat(&at, name, PATH | OFlag::O_NOFOLLOW, Mode::empty())?,
                    // Another box that is lent the same directory has made it meanwhile; or it is a link that leads
                    // nowhere, which still is not there to be opened.
                    Err(Errno::EEXIST) => inside(root, beginning).map_err(|errno| match errno {
                        Errno::ENOENT => Errno::EEXIST,
                        errno => errno,
                    })?,
                    Err(errno) => return Err(errno),
                }
            }
            other => other?,
        };
    }
    Ok(at)
}

fn names(path: &CStr) -> impl Iterator<Item = &[u8]> {
    path.to_bytes().split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".")
}

fn names_left(bytes: &[u8]) -> usize {
    bytes.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).count()
}

/// A part of a path as the kernel wants it, without allocating: this runs between fork and exec.
fn copied<'a>(bytes: &[u8], buffer: &'a mut [u8; LONGEST]) -> Result<&'a CStr, Errno> {
    if bytes.len() >= LONGEST {
        return Err(Errno::ENAMETOOLONG);
    }
    buffer[..bytes.len()].copy_from_slice(bytes);
    buffer[bytes.len()] = 0;
    CStr::from_bytes_with_nul(&buffer[..=bytes.len()]).map_err(|_| Errno::EINVAL)
}

/// The root as a descriptor.
///
/// # Errors
/// EMFILE.
pub(crate) fn root() -> Result<OwnedFd, Errno> {
    nix::fcntl::open(c"/", PATH | OFlag::O_DIRECTORY, Mode::empty())
}

/// Whether what was opened is the very device `major:minor`: somebody may have put something else into
/// the place of /dev/null (CVE-2025-31133).
///
/// # Errors
/// ENODEV if it is not.
pub(crate) fn is_device(fd: impl AsFd, major: u32, minor: u32) -> Result<(), Errno> {
    let stat = nix::sys::stat::fstat(fd)?;
    let character = stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFCHR.bits();
    let same = stat.st_rdev == nix::sys::stat::makedev(major.into(), minor.into());
    if character && same { Ok(()) } else { Err(Errno::ENODEV) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    /// A root with links that lead out, and a canary outside.
    fn scene() -> (tempfile::TempDir, OwnedFd) {
        let dir = tempfile::tempdir().expect("tempdir");
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("real")).expect("mkdir");
        std::fs::create_dir(dir.path().join("outside")).expect("mkdir");
        symlink("../outside", root.join("relative")).expect("symlink");
        symlink(dir.path().join("outside"), root.join("absolute")).expect("symlink");
        symlink("/real", root.join("fine")).expect("symlink");
        let fd = nix::fcntl::open(&root, PATH | OFlag::O_DIRECTORY, Mode::empty()).expect("open");
        (dir, fd)
    }

    fn path_of(fd: &OwnedFd) -> std::path::PathBuf {
        use std::os::fd::AsRawFd;
        std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).expect("readlink")
    }

    #[test]
    fn links_stay_inside_the_root() {
        let (dir, root) = scene();
        let found = inside(root.as_fd(), c"/fine").expect("inside");
        assert_eq!(path_of(&found), dir.path().join("root/real"));
        for link in [c"relative", c"absolute", c"/../../../relative"] {
            let made = or_make(root.as_fd(), link, Missing::Directory);
            if let Ok(fd) = &made {
                assert!(path_of(fd).starts_with(dir.path().join("root")), "{link:?}");
            }
        }
        assert_eq!(std::fs::read_dir(dir.path().join("outside")).expect("read_dir").count(), 0);
    }

    #[test]
    fn without_openat2_no_link_is_followed() {
        let (_dir, root) = scene();
        for link in [c"relative", c"absolute", c"fine", c"real/.."] {
            assert_eq!(without_links(root.as_fd(), link).expect_err("refused"), Errno::ELOOP, "{link:?}");
        }
        assert!(without_links(root.as_fd(), c"/real").is_ok());
    }

    #[test]
    fn missing_parts_are_made() {
        let (dir, root) = scene();
        or_make(root.as_fd(), c"/fine/a/b", Missing::Directory).expect("directories");
        or_make(root.as_fd(), c"real/c/file", Missing::File).expect("file");
        let made = |path: &str| dir.path().join("root").join(path);
        assert!(made("real/a/b").is_dir());
        assert!(made("real/c/file").is_file());
        assert!(!Path::new("/fine").exists());
    }

    #[test]
    fn who_makes_the_same_at_the_same_time_finds_it_made() {
        let (dir, root) = scene();
        for round in 0..200 {
            let path = std::ffi::CString::new(format!("real/{round}/a/b")).expect("path");
            let barrier = std::sync::Barrier::new(4);
            let make = || {
                barrier.wait();
                or_make(root.as_fd(), &path, Missing::Directory).map(drop)
            };
            std::thread::scope(|scope| {
                let all: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
                all.into_iter().for_each(|one| assert_eq!(one.join().expect("join"), Ok(()), "{path:?}"));
            });
        }
        symlink("/nowhere", dir.path().join("root/dangling")).expect("symlink");
        assert_eq!(or_make(root.as_fd(), c"dangling/x", Missing::Directory).err(), Some(Errno::EEXIST));
    }

    #[test]
    fn a_file_in_the_place_of_null_is_not_null() {
        let null = nix::fcntl::open(c"/dev/null", PATH, Mode::empty()).expect("open");
        assert_eq!(is_device(&null, 1, 3), Ok(()));
        let zero = nix::fcntl::open(c"/dev/zero", PATH, Mode::empty()).expect("open");
        assert_eq!(is_device(&zero, 1, 3), Err(Errno::ENODEV));
    }
}
