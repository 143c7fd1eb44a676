//! /dev: the few devices a program needs, and none that reaches hardware.
//!
//! A device node is a door into a driver, whoever holds it. The host's /dev has disks in it; the box
//! gets an empty tmpfs with six harmless nodes, its own pseudo-terminals, shared memory and message
//! queues. Without it `echo > /dev/null` makes a file, and with the host's the box could write to
//! the disk. The devices controller (`cgroup/devices.rs`) is the second lock on the same door.
//!
//! In a user namespace making nodes is not allowed, so the host's six are bound, one by one.
//!
//! Step: `dev`.
//!
//! Man pages: mknod(2), null(4), pts(4), tmpfs(5). Look at it: `ls -l /dev` inside

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{Gid, Uid, chown, symlinkat};

use crate::blueprint::Node;
use crate::confinement::LINKS;
use crate::mounts::{self, Mount, Stage, own_dev};
use crate::report::Fault;
use crate::resolve;
use crate::sys::mount::{attach, copy_tree};

/// Faults of nodes and links are numbered from here, those of mounts below it.
const NODES: usize = 1 << 12;

/// Builds /dev where the box has one of its own: the file system, nodes, links, and what is mounted below.
/// A /dev of somebody else's is taken as it is.
pub(crate) fn build(
    mounts: &[Mount],
    nodes: &[Node],
    old_root: &OwnedFd,
    rootless: bool,
) -> Result<(), Fault> {
    if !own_dev(mounts) {
        return Ok(());
    }
    mounts::onto_image(mounts, Stage::Dev)?;
    for (index, node) in nodes.iter().enumerate() {
        let made = if rootless { bind(node, old_root) } else { make(node) };
        made.map_err(Fault::of(NODES + index))?;
    }
    for (index, (name, target)) in LINKS.iter().enumerate() {
        symlinkat(*target, AT_FDCWD, *name).map_err(Fault::of(NODES + nodes.len() + index))?;
    }
    mounts::below_dev(mounts)
}

fn make(node: &Node) -> Result<(), Errno> {
    let number = makedev(node.major.into(), node.minor.into());
    mknod(&*node.path, node.kind, Mode::from_bits_truncate(node.mode), number)?;
    match node.owner {
        Some((uid, gid)) => chown(&*node.path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))),
        None => Ok(()),
    }
}

/// Binds the host's node onto an empty file, after a look at what it is: if somebody had put another file
/// into the host's place, the box must not get it.
fn bind(node: &Node, old_root: &OwnedFd) -> Result<(), Errno> {
    mknod(&*node.path, SFlag::S_IFREG, Mode::from_bits_truncate(0o666), 0)?;
    let host = resolve::inside(old_root.as_fd(), &node.path)?;
    resolve::is_device(&host, node.major, node.minor)?;
    let target = resolve::inside(resolve::root()?.as_fd(), &node.path)?;
    attach(copy_tree(host.as_fd(), false)?.as_fd(), target.as_fd())
}

/// The words for a fault's number.
pub(crate) fn object(mounts: &[Mount], nodes: &[Node], index: u16) -> String {
    let index = usize::from(index);
    let path = match index.checked_sub(NODES) {
        None => mounts.get(index).map(|mount| &*mount.target),
        Some(index) => nodes.iter().map(|node| &*node.path).chain(LINKS.iter().map(|link| link.0)).nth(index),
    };
    path.unwrap_or(c"/dev").to_string_lossy().into_owned()
}
