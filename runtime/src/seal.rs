//! The runtime moves into a sealed copy of itself where others might reach it through its process.
//!
//! A process of the box that sees ours can open /proc/PID/exe, and once we have ended write into it
//! (CVE-2019-5736). Then the program on the host's disk is the attacker's. A copy in memory that nobody can
//! write any more, and that vanishes with the process, has nothing to offer. It costs a copy and an exec,
//! about a millisecond, so a fresh box without anything of somebody else's goes without: there
//! `own_program.rs` is enough.
//!
//! Man page: memfd_create(2), fcntl(2) "File Sealing". Look at it, between `create` and `start`:
//! `ls -l /proc/$(pgrep -f 'tare-runtime create')/exe`

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use tare_runtime::sys::{self, mount::memfd};

const SEALS: SealFlag = SealFlag::F_SEAL_SEAL
    .union(SealFlag::F_SEAL_SHRINK)
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_WRITE);

/// Returns once this process executes a sealed copy.
///
/// # Errors
/// In words.
pub(crate) fn ensure() -> Result<(), String> {
    let fault = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| format!("seal: {what}: {error}")
    };
    let mut own = File::open("/proc/self/exe").map_err(fault("/proc/self/exe"))?;
    if fcntl(&own, FcntlArg::F_GET_SEALS)
        .is_ok_and(|seals| SealFlag::from_bits_truncate(seals).contains(SEALS))
    {
        return Ok(());
    }
    // What our caller has left open on the host is to be seen in no process of ours that the box can see.
    sys::close_on_exec_from(3).map_err(|errno| fault("descriptors of the caller's")(errno.into()))?;
    let copy = memfd(c"tare-runtime").map_err(|errno| fault("memfd_create")(errno.into()))?;
    let mut copy = File::from(copy);
    io::copy(&mut own, &mut copy).map_err(fault("copy of /proc/self/exe"))?;
    seal(&copy).map_err(|errno| fault("F_ADD_SEALS")(errno.into()))?;
    let mut words = std::env::args_os();
    let name = words.next().unwrap_or_else(|| "tare-runtime".into());
    // Comes back only if it failed. The descriptor is close-on-exec, and the kernel has read the program
    // by the time it is closed.
    let error = Command::new(format!("/proc/self/fd/{}", copy.as_raw_fd())).arg0(name).args(words).exec();
    Err(fault("exec of the sealed copy")(error))
}

/// Seals the copy. The kernel refuses with EBUSY while somebody else holds one of its pages, as its own
/// workers on other CPUs do for a moment after a write; it waits some 75 ms itself, which on a busy host is
/// not always enough, and there is no event to wait for.
fn seal(copy: &File) -> Result<(), Errno> {
    let mut tries = 0;
    loop {
        match fcntl(copy, FcntlArg::F_ADD_SEALS(SEALS)) {
            Err(Errno::EBUSY) if tries < 20 => tries += 1,
            other => return other.map(drop),
        }
    }
}
