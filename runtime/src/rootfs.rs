//! The root: from "a directory somewhere" to "/", with nothing of the host behind it.
//!
//! `chroot` only changes where the lookup of a path begins. The host's files are still mounted, and root
//! walks out to them: it opens `/`, calls chroot for a directory below, and now stands above its root, where
//! `..` leads on upwards. `pivot_root` swaps the root mount of the whole mount namespace, and then the old
//! one is unmounted: there is nothing left to walk out to, and a chroot inside leads nowhere but inside.
//!
//! The host loses nothing by that. A new mount namespace begins as a copy of the caller's table of mounts;
//! what is unmounted here, with all that is mounted below it, is the copy. First the two tables are made
//! independent ("private"), for otherwise what happens in one would be repeated in the other.
//!
//! Steps: `private`, `pivot`, `detach`, `directories`, `working-directory`.
//!
//! Man page: pivot_root(2), the section "pivot_root(".", ".")". Look at it: `cat /proc/self/mountinfo`
//! inside shows no mount of the host

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag};
use nix::unistd::chroot;

use crate::report::Fault;
use crate::resolve::{self, Missing};
use crate::sys::{self, MntFlags, MsFlags};

/// Cuts the propagation of mounts: on most hosts they are "shared", and what the box mounts would
/// appear on the host.
pub(crate) fn make_private(propagation: MsFlags) -> Result<(), Fault> {
    let none: Option<&CStr> = None;
    sys::mount(none, c"/", none, propagation, none).map_err(Fault::of(0))
}

const DIRECTORY: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// Makes `merged` the root. The host's root is then stacked on top of ours, reachable through the
/// descriptor returned and by no plain path; it stays until [`detach`], because in a user namespace /proc
/// and /sys may be mounted only where another full one is in sight, and devices can only be bound.
pub(crate) fn pivot(merged: &CStr) -> Result<OwnedFd, Fault> {
    let old = open(c"/", DIRECTORY, Mode::empty()).map_err(Fault::of(1))?;
    sys::chdir(merged).map_err(Fault::of(0))?;
    sys::pivot_root(c".", c".").map_err(Fault::of(0))?;
    Ok(old)
}

/// The same where somebody else's paths are going to be looked up: makes `merged` the root of lookups only,
/// and [`swap`] makes it the root once they are done. For with the host's root on top of ours, a lookup of
/// `..` in our root climbs up into it, even under `RESOLVE_IN_ROOT`: a link `/data -> ../etc` in an image
/// would lead a volume out.
pub(crate) fn enter(merged: &CStr) -> Result<OwnedFd, Fault> {
    let old = open(c"/", DIRECTORY, Mode::empty()).map_err(Fault::of(1))?;
    sys::chdir(merged).map_err(Fault::of(0))?;
    chroot(c".").map_err(Fault::of(0))?;
    Ok(old)
}

/// Swaps the roots after [`enter`]. Who was sent below the root may not, so we go back up for it.
pub(crate) fn swap(old: &OwnedFd) -> Result<(), Fault> {
    let own = open(c"/", DIRECTORY, Mode::empty()).map_err(Fault::of(0))?;
    sys::fchdir(old).map_err(Fault::of(1))?;
    chroot(c".").map_err(Fault::of(1))?;
    sys::fchdir(&own).map_err(Fault::of(0))?;
    sys::pivot_root(c".", c".").map_err(Fault::of(0))
}

/// Takes the host's root away. `MNT_DETACH`: with all that is mounted below, and although we stand in it.
pub(crate) fn detach(old: &OwnedFd) -> Result<(), Fault> {
    sys::fchdir(old).map_err(Fault::of(1))?;
    sys::umount2(c".", MntFlags::MNT_DETACH).map_err(Fault::of(1))?;
    sys::chdir(c"/").map_err(Fault::of(0))
}

/// Makes a directory where it is missing, and those above it. Through no magic link: a descriptor of the host's may
/// still be open.
///
/// # Errors
/// ENOTDIR, EEXIST for something else in its place.
pub(crate) fn directory(path: &CStr) -> Result<(), Errno> {
    let root = resolve::root()?;
    let made = resolve::or_make(root.as_fd(), path, Missing::Directory)?;
    let stat = nix::sys::stat::fstat(&made)?;
    match stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits() {
        true => Ok(()),
        false => Err(Errno::ENOTDIR),
    }
}

/// Goes to the working directory and checks that it lies inside: a path through a leaked descriptor,
/// such as /proc/self/fd/7, would not (CVE-2024-21626).
pub(crate) fn working_directory(path: &CStr) -> Result<(), Fault> {
    sys::chdir(path).map_err(Fault::of(0))?;
    let mut buffer = [0; 4096];
    match sys::working_directory_is_inside(&mut buffer).map_err(Fault::of(0))? {
        true => Ok(()),
        false => Err(Fault { object: 0, errno: Errno::EXDEV }),
    }
}
