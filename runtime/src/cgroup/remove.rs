//! Removing a cgroup, and ending whatever is still in it.
//!
//! A cgroup directory goes by rmdir alone (its files are the kernel's), and only when it is empty. A
//! version 1 memory cgroup that is forgotten costs one of 65,535 ids for ever.
//!
//! Man page: cgroups(7). Look at it: `cat /proc/cgroups`, column num_cgroups

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::error::{Error, Result, describe};
use crate::sys;

/// How long a just-ended process may keep its directory busy.
const PATIENCE: Duration = Duration::from_secs(5);

/// Removes a directory that nobody should be in any more; it may be gone already.
///
/// # Errors
/// [`Error::Stuck`] if it stays busy, [`Error::Step`] for anything else.
pub(crate) fn directory(path: &Path) -> Result<()> {
    let start = Instant::now();
    loop {
        match fs::remove_dir(path) {
            Ok(()) => return Ok(()),
            Err(error) => match error.raw_os_error().map_or(Errno::EIO, Errno::from_raw) {
                Errno::ENOENT => return Ok(()),
                // The pidfd says "ended" a moment before the last thread has left its cgroup, and the
                // kernel has no event for that moment in version 1; so this is the one place that
                // looks again and again, a fifth of a millisecond apart.
                Errno::EBUSY if start.elapsed() < PATIENCE => std::thread::sleep(Duration::from_micros(200)),
                Errno::EBUSY => return Err(stuck(path)),
                errno => return Err(Error::at("cgroup", path.display().to_string(), errno)),
            },
        }
    }
}

fn stuck(path: &Path) -> Error {
    let why = match fs::read_to_string(path.join("cgroup.procs")) {
        Ok(pids) if !pids.trim().is_empty() => {
            format!("processes {} are in it", pids.trim().replace('\n', ", "))
        }
        _ if !children(path).is_empty() => {
            "cgroups that the container did not get from us are below it (delete --force removes them)".into()
        }
        _ => describe(Errno::EBUSY),
    };
    Error::Stuck { object: path.display().to_string(), seconds: PATIENCE.as_secs(), why }
}

/// The same with all cgroups below it, the innermost first: a box whose cgroup is lent to it may have made
/// some, and so may anybody outside.
///
/// # Errors
/// As [`directory`].
pub(crate) fn tree(path: &Path) -> Result<()> {
    for child in children(path) {
        tree(&child)?;
    }
    directory(path)
}

/// The cgroups right below.
fn children(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Kills everything in the directory and below it: with one write where the kernel offers it, else one by one.
pub(crate) fn kill_all(path: &Path) -> io::Result<()> {
    match fs::OpenOptions::new().write(true).open(path.join("cgroup.kill")) {
        Ok(mut file) => return io::Write::write_all(&mut file, b"1"),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) => {}
    }
    children(path).iter().try_for_each(|child| kill_all(child))?;
    let pids = match fs::read_to_string(path.join("cgroup.procs")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for pid in pids.lines().filter_map(|line| line.parse().ok()) {
        // A process that ends meanwhile is what we want. A pidfd is opened first, and membership is not
        // checked again: the window is that between two system calls.
        if let Ok(pidfd) = sys::pidfd_open(pid) {
            let _ = sys::pidfd_signal(&pidfd, nix::libc::SIGKILL);
        }
    }
    Ok(())
}
