//! File systems inside: /proc and /sys, volumes, and what is hidden or read-only in them.
//!
//! /proc and /sys are windows into the kernel, mounted afresh so that they show the box's own namespaces.
//! Not everything in them belongs to a namespace: /proc/sysrq-trigger restarts the host, /proc/kcore is
//! its memory. So parts are covered and parts made read-only. Without /proc `ps` finds nothing; without
//! the covers root in the box reads the host's secrets.
//!
//! The image may be hostile, and so may a volume that another box writes to at the same time. Therefore a
//! target is first opened, inside the root, and then mounted onto as what was opened; and a cover is checked
//! to be the device it should be, and mounted as what was checked (`by_path.rs` is the short way for boxes in
//! which there is nobody to do such a thing).
//!
//! Steps: `sources`, `proc`, `sys`, `volumes`, `mask`, `read-only`.
//!
//! Man pages: proc(5), sysfs(5), mount(2), mount_namespaces(7). Look at it:
//! `mount; cat /proc/timer_list /proc/keys | wc -c` inside, and the second outside

use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::mkdir;

use crate::blueprint::Mask;
use crate::confinement::{self, Cover};
use crate::report::Fault;
use crate::resolve::{self, Missing};
use crate::sys::mount::{Attributes, attach, copy_tree, set_attributes};
use crate::sys::{self, MsFlags};

const NONE: Option<&CStr> = None;
const MOUNT_ATTR_RDONLY: u64 = 0x1;

/// One mount of the box.
#[derive(Clone, Debug)]
pub(crate) struct Mount {
    /// Where, as seen inside.
    pub(crate) target: Cow<'static, CStr>,
    pub(crate) what: What,
    /// How it propagates; 0 leaves it as it is born.
    pub(crate) propagation: u64,
}

/// What is mounted.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// A file system of its own.
    FileSystem {
        source: Cow<'static, CStr>,
        kind: Cow<'static, CStr>,
        flags: MsFlags,
        data: Cow<'static, CStr>,
    },
    /// A file or directory of the host.
    Bind {
        /// Absolute, as the host sees it.
        source: CString,
        /// With what is mounted below it.
        recursive: bool,
        /// What to set and clear; `recursive_attributes` for all below too.
        set: u64,
        clear: u64,
        recursive_attributes: bool,
        /// And [`Mount::propagation`] for all below too.
        recursive_propagation: bool,
    },
    /// The box's own cgroups, for reading: names of version 1 controllers, each a directory; none on
    /// version 2.
    Cgroup { controllers: Vec<CString> },
}

/// In which step a mount is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Proc,
    Sys,
    Dev,
    /// Below a /dev that the step before made: no image has a say there.
    BelowDev,
    /// Anywhere else, in the order in which they were given.
    Volume,
}

impl Mount {
    /// A mount of the default profile.
    pub(crate) fn of(mount: &confinement::Mount, rootless: bool) -> Self {
        let data = if rootless { mount.data_rootless } else { mount.data };
        Self {
            target: Cow::Borrowed(mount.target),
            what: What::FileSystem {
                source: Cow::Borrowed(mount.source),
                kind: Cow::Borrowed(mount.kind),
                flags: mount.flags,
                data: Cow::Borrowed(data),
            },
            propagation: 0,
        }
    }

    /// The step that makes it. `own_dev`: /dev is a file system of the box's own.
    pub(crate) fn stage(&self, own_dev: bool) -> Stage {
        let fresh = matches!(self.what, What::FileSystem { .. });
        match self.target.to_bytes() {
            b"/proc" if fresh => Stage::Proc,
            b"/sys" if fresh => Stage::Sys,
            b"/dev" if fresh => Stage::Dev,
            target if fresh && own_dev && target.starts_with(b"/dev/") => Stage::BelowDev,
            _ => Stage::Volume,
        }
    }
}

/// Whether the box's /dev is a file system of its own, made by its start.
pub(crate) fn own_dev(mounts: &[Mount]) -> bool {
    mounts.iter().any(|mount| mount.stage(false) == Stage::Dev)
}

/// The mounts of one step, with their positions, which faults name.
fn of_stage(mounts: &[Mount], stage: Stage) -> impl Iterator<Item = (usize, &Mount)> {
    let own_dev = own_dev(mounts);
    mounts.iter().enumerate().filter(move |(_, mount)| mount.stage(own_dev) == stage)
}

/// Mounts /proc, or /sys, or /dev onto a directory of the image. It must be a real directory: a symbolic
/// link at /proc would move the mount (CVE-2019-16884).
pub(crate) fn onto_image(mounts: &[Mount], stage: Stage) -> Result<(), Fault> {
    for (index, mount) in of_stage(mounts, stage) {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let target = &*mount.target;
        let opened = match open(target, flags, Mode::empty()) {
            Err(Errno::ENOENT) => mkdir(target, Mode::from_bits_truncate(0o755))
                .and_then(|()| open(target, flags, Mode::empty())),
            other => other,
        };
        let opened = opened.map_err(Fault::of(index))?;
        here(mount, opened.as_fd()).map_err(Fault::of(index))?;
    }
    Ok(())
}

/// Mounts /sys. Where a user namespace may not mount its own (the host's is partly covered, as in a
/// container), the host's is bound read-only: it shows the host's network interfaces, no more.
pub(crate) fn sys(mounts: &[Mount], old_root: &OwnedFd, rootless: bool) -> Result<(), Fault> {
    match onto_image(mounts, Stage::Sys) {
        Err(Fault { errno: Errno::EPERM, object }) if rootless => {
            let bound = || {
                let tree = copy_tree(resolve::inside(old_root.as_fd(), c"/sys")?.as_fd(), true)?;
                let read_only = Attributes { set: MOUNT_ATTR_RDONLY, ..Attributes::default() };
                set_attributes(tree.as_fd(), read_only, true)?;
                attach(tree.as_fd(), resolve::inside(resolve::root()?.as_fd(), c"/sys")?.as_fd())
            };
            bound().map_err(|errno| Fault { object, errno })
        }
        other => other,
    }
}

/// Mounts what lies below the box's own /dev.
pub(crate) fn below_dev(mounts: &[Mount]) -> Result<(), Fault> {
    for (index, mount) in of_stage(mounts, Stage::BelowDev) {
        let made = mkdir(&*mount.target, Mode::from_bits_truncate(0o755));
        made.or_else(|errno| if errno == Errno::EEXIST { Ok(()) } else { Err(errno) })
            .and_then(|()| at(mount, &mount.target))
            .map_err(Fault::of(index))?;
    }
    Ok(())
}

/// As many binds as a box may have: their sources wait in an array, for nothing can be allocated there.
pub(crate) const MOST_BINDS: usize = 128;

/// Sources of binds, in the order of the binds.
pub(crate) type Sources = [Option<OwnedFd>; MOST_BINDS];

/// None of them open.
pub(crate) const NO_SOURCES: Sources = [const { None }; MOST_BINDS];

/// Opens the sources of all binds while the host's root is still the root, and while we are still who the
/// caller is: the box's own root may not be allowed to reach them.
pub(crate) fn open_sources(mounts: &[Mount], sources: &mut Sources) -> Result<(), Fault> {
    let mut places = sources.iter_mut();
    for (index, mount) in mounts.iter().enumerate() {
        let What::Bind { source, .. } = &mount.what else { continue };
        let place = places.next().ok_or(Fault { object: index as u16, errno: Errno::E2BIG })?;
        let opened = resolve::root().and_then(|root| resolve::inside(root.as_fd(), source));
        *place = Some(opened.map_err(Fault::of(index))?);
    }
    Ok(())
}

/// Mounts all others, volumes above all.
pub(crate) fn volumes(mounts: &[Mount], sources: &Sources) -> Result<(), Fault> {
    let mut sources = sources.iter().flatten();
    for (index, mount) in of_stage(mounts, Stage::Volume) {
        let source = match mount.what {
            What::Bind { .. } => sources.next(),
            _ => None,
        };
        volume(mount, source).map_err(Fault::of(index))?;
    }
    Ok(())
}

fn volume(mount: &Mount, source: Option<&OwnedFd>) -> Result<(), Errno> {
    let root = resolve::root()?;
    let target = |missing| resolve::or_make(root.as_fd(), &mount.target, missing);
    match &mount.what {
        What::FileSystem { .. } => here(mount, target(Missing::Directory)?.as_fd()),
        What::Bind { recursive, set, clear, recursive_attributes, recursive_propagation, .. } => {
            let source = source.ok_or(Errno::EBADF)?;
            let is_directory =
                |fd: &OwnedFd| Ok(fstat(fd)?.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits());
            let missing = if is_directory(source)? { Missing::Directory } else { Missing::File };
            let target = target(missing)?;
            // The kernel would call both "invalid", as much else.
            match (missing, is_directory(&target)?) {
                (Missing::Directory, false) => return Err(Errno::ENOTDIR),
                (Missing::File, true) => return Err(Errno::EISDIR),
                _ => {}
            }
            let tree = copy_tree(source.as_fd(), *recursive)?;
            let flags = Attributes { set: *set, clear: *clear, propagation: 0 };
            let propagation = Attributes { propagation: mount.propagation, ..Attributes::default() };
            for (change, recursive) in [(flags, *recursive_attributes), (propagation, *recursive_propagation)]
            {
                if change != Attributes::default() {
                    set_attributes(tree.as_fd(), change, recursive)?;
                }
            }
            attach(tree.as_fd(), target.as_fd())
        }
        What::Cgroup { controllers } => {
            drop(target(Missing::Directory)?);
            cgroup(controllers, root.as_fd(), &mount.target)
        }
    }
}

/// The box's own cgroups: version 2 as one tree, version 1 as a directory of trees. Read-only, for who
/// writes there can run a program outside (release_agent, CVE-2022-0492).
fn cgroup(controllers: &[CString], root: BorrowedFd<'_>, target: &CStr) -> Result<(), Errno> {
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let flags = quiet | MsFlags::MS_RDONLY;
    sys::fchdir(resolve::inside(root, target)?)?;
    if controllers.is_empty() {
        return sys::mount(Some(c"cgroup2"), c".", Some(c"cgroup2"), flags, NONE);
    }
    sys::mount(Some(c"tmpfs"), c".", Some(c"tmpfs"), quiet, Some(c"mode=755,size=64k"))?;
    // What was mounted lies over the directory we are in: go there.
    sys::fchdir(resolve::inside(root, target)?)?;
    for controller in controllers {
        mkdir(controller.as_c_str(), Mode::from_bits_truncate(0o755))?;
        sys::mount(
            Some(c"cgroup"),
            controller.as_c_str(),
            Some(c"cgroup"),
            flags,
            Some(controller.as_c_str()),
        )?;
    }
    let remount = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags;
    sys::mount(NONE, c".", NONE, remount, NONE)
}

/// Mounts a file system onto the directory that was opened.
fn here(mount: &Mount, target: BorrowedFd<'_>) -> Result<(), Errno> {
    sys::fchdir(target)?;
    at(mount, c".")
}

fn at(mount: &Mount, target: &CStr) -> Result<(), Errno> {
    let What::FileSystem { source, kind, flags, data } = &mount.what else { return Err(Errno::EINVAL) };
    sys::mount(Some(&**source), target, Some(&**kind), *flags, Some(&**data))?;
    match mount.propagation {
        0 => Ok(()),
        propagation => sys::mount(NONE, target, NONE, MsFlags::from_bits_truncate(propagation), NONE),
    }
}

/// Covers what must not be seen: a file by the box's own /dev/null, a directory by an empty one. One
/// empty tmpfs serves for all directories, and since the file system itself is read-only so are they all.
pub(crate) fn cover(masks: &[Mask]) -> Result<(), Fault> {
    let root = resolve::root().map_err(Fault::of(0))?;
    let mut null: Option<OwnedFd> = None;
    let mut empty: Option<OwnedFd> = None;
    for (index, mask) in masks.iter().enumerate() {
        match cover_one(mask, &root, &mut null, &mut empty) {
            // This kernel does not have the path.
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(Fault { object: index as u16, errno }),
        }
    }
    Ok(())
}

fn cover_one(
    mask: &Mask,
    root: &OwnedFd,
    null: &mut Option<OwnedFd>,
    empty: &mut Option<OwnedFd>,
) -> Result<(), Errno> {
    let target = resolve::inside(root.as_fd(), &mask.path)?;
    let is_directory = || Ok(fstat(&target)?.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits());
    let cover = match mask.cover {
        Some(cover) => cover,
        None if is_directory()? => Cover::Empty,
        None => Cover::Null,
    };
    let source = match cover {
        Cover::Null => {
            if null.is_none() {
                let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                // Whoever swapped it would have the swapped file bound instead (CVE-2025-31133).
                let opened = open(c"/dev/null", flags, Mode::empty()).map_err(|_| Errno::ENODEV)?;
                resolve::is_device(&opened, 1, 3)?;
                *null = Some(opened);
            }
            null
        }
        Cover::Empty => {
            if empty.is_none() {
                let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
                sys::fchdir(&target)?;
                sys::mount(Some(c"tmpfs"), c".", Some(c"tmpfs"), flags, Some(c"size=4k,nr_inodes=1"))?;
                *empty = Some(resolve::inside(root.as_fd(), &mask.path)?);
                return Ok(());
            }
            empty
        }
    };
    let Some(source) = source else { return Err(Errno::EINVAL) };
    attach(copy_tree(source.as_fd(), false)?.as_fd(), target.as_fd())
}

/// Makes parts of /proc read-only: puts a read-only copy of each, and of what is mounted below it, over
/// it, for "read-only" belongs to a mount.
pub(crate) fn freeze(paths: &[Cow<'static, CStr>]) -> Result<(), Fault> {
    let root = resolve::root().map_err(Fault::of(0))?;
    let one = |path: &CStr| {
        let target = resolve::inside(root.as_fd(), path)?;
        let tree = copy_tree(target.as_fd(), true)?;
        let read_only = Attributes { set: MOUNT_ATTR_RDONLY, ..Attributes::default() };
        set_attributes(tree.as_fd(), read_only, true)?;
        attach(tree.as_fd(), target.as_fd())
    };
    for (index, path) in paths.iter().enumerate() {
        match one(path) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(Fault { object: index as u16, errno }),
        }
    }
    Ok(())
}

/// Makes the root itself read-only, after all that had to be made in it.
pub(crate) fn freeze_root() -> Result<(), Fault> {
    let frozen = || {
        let read_only = Attributes { set: MOUNT_ATTR_RDONLY, ..Attributes::default() };
        set_attributes(resolve::root()?.as_fd(), read_only, false)
    };
    frozen().map_err(Fault::of(0))
}
