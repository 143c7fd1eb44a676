//! /dev: the few devices a program needs, and none that reaches hardware.
//!
//! A device node is a door into a driver, whoever holds it. The host's /dev has disks in it; the box
//! gets an empty tmpfs with six harmless nodes, its own pseudo-terminals, shared memory and message
//! queues. Without it `echo > /dev/null` makes a file, and with the host's the box could write to
//! the disk.
//!
//! In a user namespace making nodes is not allowed, so the host's six are bound, one by one.
//!
//! Man pages: mknod(2), null(4), pts(4), tmpfs(5). Look at it: `ls -l /dev` inside

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{FileStat, Mode, SFlag, lstat, makedev, mknod};
use nix::unistd::{mkdir, symlinkat};

use crate::confinement::{DEV, DEVICES, DEVPTS, Device, LINKS, MQUEUE, Mount, SHM};
use crate::mounts;
use crate::report::Fault;
use crate::sys::{self, MsFlags};

/// File systems below /dev, each on a directory of the mode given.
const BELOW: [(Mount, u32); 3] = [(DEVPTS, 0o755), (SHM, 0o755), (MQUEUE, 0o755)];

/// Everybody may read and write.
const NODE_MODE: Mode = Mode::from_bits_truncate(0o666);

/// Builds /dev. Faults are numbered over: /dev itself, devices, links, file systems below.
pub(crate) fn build(old_root: &OwnedFd, rootless: bool) -> Result<(), Fault> {
    mounts::onto_image(&DEV, rootless)?;
    if rootless {
        // Sources are then relative to the host's root, targets absolute in ours.
        sys::fchdir(old_root).map_err(Fault::of(0))?;
    }
    let mut object = 1;
    for device in DEVICES {
        if rootless { bind(device) } else { make(device) }.map_err(Fault::of(object))?;
        object += 1;
    }
    for (name, target) in LINKS {
        symlinkat(*target, AT_FDCWD, *name).map_err(Fault::of(object))?;
        object += 1;
    }
    for (mount, mode) in &BELOW {
        mkdir(mount.target, Mode::from_bits_truncate(*mode))
            .and_then(|()| mounts::at(mount, mount.target, rootless))
            .map_err(Fault::of(object))?;
        object += 1;
    }
    Ok(())
}

fn make(device: &Device) -> Result<(), Errno> {
    mknod(device.path, SFlag::S_IFCHR, NODE_MODE, makedev(device.major.into(), device.minor.into()))
}

/// Binds the host's node onto an empty file, and then looks at what was bound: if somebody had put
/// another file into the host's place, the box must not get it.
fn bind(device: &Device) -> Result<(), Errno> {
    let none: Option<&std::ffi::CStr> = None;
    mknod(device.path, SFlag::S_IFREG, NODE_MODE, 0)?;
    sys::mount(Some(device.relative), device.path, none, MsFlags::MS_BIND, none)?;
    let FileStat { st_mode, st_rdev, .. } = lstat(device.path)?;
    let character = st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFCHR.bits();
    let same = st_rdev == makedev(device.major.into(), device.minor.into());
    if character && same { Ok(()) } else { Err(Errno::ENODEV) }
}

/// The words for a fault's number.
pub(crate) fn object(index: u16) -> String {
    let paths = DEVICES
        .iter()
        .map(|d| d.path)
        .chain(LINKS.iter().map(|l| l.0))
        .chain(BELOW.iter().map(|b| b.0.target));
    let path = std::iter::once(DEV.target).chain(paths).nth(index.into()).unwrap_or(DEV.target);
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_numbers_lead_back_to_paths() {
        let all: Vec<String> = (0..15).map(object).collect();
        assert_eq!(all[0], "/dev");
        assert_eq!(all[1], "/dev/null");
        assert_eq!(all[6], "/dev/tty");
        assert_eq!(all[7], "/dev/fd");
        assert_eq!(all[12..15], ["/dev/pts", "/dev/shm", "/dev/mqueue"]);
    }
}
