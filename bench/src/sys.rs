//! The kernel calls for which no safe wrapper exists. The only file of this crate with `unsafe`.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;

use crate::spawner::protocol::How;

/// A descriptor that becomes readable when this process ends (pidfd_open(2)).
pub(crate) fn pidfd(pid: u32) -> std::io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two numbers and touches no memory.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
    // SAFETY: when not negative it is a descriptor that the kernel has just made for us alone.
    Errno::result(fd).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as RawFd) }).map_err(Into::into)
}

/// Has the command run in these cgroups (their `cgroup.procs`, open), and in a network and a mount namespace of
/// its own with an empty /run, so that it leaves neither links nor firewall rules nor mounts nor sockets behind.
pub(crate) fn seclude(command: &mut Command, cgroups: Vec<std::fs::File>) {
    let set = move || {
        for procs in &cgroups {
            nix::unistd::write(procs, b"0")?;
        }
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)?;
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        mount(
            Some("tmpfs"),
            "/run",
            Some("tmpfs"),
            MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
            Some("mode=755"),
        )?;
        Ok(())
    };
    // SAFETY: the closure runs between fork and exec; it makes system calls with short constant strings, which
    // nix copies to the stack, and allocates nothing.
    unsafe { command.pre_exec(set) };
}

/// Has the command born in these cgroups: their `tasks` or `cgroup.procs`, open.
pub(crate) fn enter(command: &mut Command, cgroups: Vec<Arc<std::fs::File>>) {
    let set = move || {
        for file in &cgroups {
            nix::unistd::write(file, b"0")?;
        }
        Ok(())
    };
    // SAFETY: the closure runs between fork and exec in a single-threaded child; it makes system calls with a
    // constant string and allocates nothing.
    unsafe { command.pre_exec(set) };
}

/// A tap interface of this name in the caller's network namespace, which is gone when the last copy of the
/// descriptor is (Documentation/networking/tuntap). Frames carry the header of virtio-net, as QEMU wants them.
pub(crate) fn tap(name: &str) -> std::io::Result<OwnedFd> {
    let tun = std::fs::File::options().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: ifreq is plain data, for which all zero bytes are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(Errno::ENAMETOOLONG.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as i16;
    // SAFETY: TUNSETIFF reads and writes one ifreq, which lives across the call.
    let done = unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, &mut request) };
    Errno::result(done)?;
    Ok(tun.into())
}

/// Has the command's process find this descriptor as `number`.
pub(crate) fn inherit(command: &mut Command, fd: OwnedFd, number: RawFd) {
    let set = move || pass_on(fd.as_fd(), number).map_err(std::io::Error::from);
    // SAFETY: the closure runs between fork and exec in a single-threaded child; it makes one system call and
    // allocates nothing.
    unsafe { command.pre_exec(set) };
}

/// Takes ownership of a descriptor that arrived in an `SCM_RIGHTS` message (unix(7)).
pub(crate) fn received(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just installed this descriptor for us; nobody else in the process knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Has the kernel send SIGKILL to the command's process when the thread that spawns it ends (prctl(2),
/// PR_SET_PDEATHSIG).
pub(crate) fn die_with_parent(command: &mut Command) {
    let set = || nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(std::io::Error::from);
    // SAFETY: the closure runs between fork and exec in a single-threaded child; it makes one system call
    // and allocates nothing.
    unsafe { command.pre_exec(set) };
}

/// In a child that is about to execute a program: has the program find this descriptor as `number`.
pub(crate) fn pass_on(fd: BorrowedFd, number: RawFd) -> Result<(), Errno> {
    let fd = fd.as_raw_fd();
    // SAFETY: neither call touches memory. The caller is a child whose table of descriptors is its own and
    // which only executes another program, so no owner of `number` is left to be surprised.
    let result = unsafe {
        // Copied onto itself it would stay close-on-exec.
        if fd == number { libc::fcntl(fd, libc::F_SETFD, 0) } else { libc::dup2(fd, number) }
    };
    Errno::result(result).map(drop)
}

/// How many pages of a file are in the page cache, and how many it has (mincore(2)). Reads none of them.
pub(crate) fn cached_pages(file: &std::fs::File) -> std::io::Result<(u64, u64)> {
    let length = usize::try_from(file.metadata()?.len()).map_err(std::io::Error::other)?;
    if length == 0 {
        return Ok((0, 0));
    }
    let mut pages = vec![0_u8; length.div_ceil(procfs::page_size() as usize)];
    // SAFETY: a new mapping at an address of the kernel's choice; nothing is ever read or written through it.
    let start = unsafe {
        libc::mmap(std::ptr::null_mut(), length, libc::PROT_NONE, libc::MAP_SHARED, file.as_raw_fd(), 0)
    };
    if start == libc::MAP_FAILED {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: start and length are those of the mapping just made, and the kernel writes one byte for each of its
    // pages, which is how long `pages` is.
    let asked = Errno::result(unsafe { libc::mincore(start, length, pages.as_mut_ptr()) });
    // SAFETY: the mapping is ours, whole, and no reference points into it.
    let unmapped = Errno::result(unsafe { libc::munmap(start, length) });
    asked.and(unmapped)?;
    Ok((pages.iter().filter(|it| **it & 1 == 1).count() as u64, pages.len() as u64))
}

/// One child that has ended: its id, how, and the CPU time of it and of the children it waited for, ns.
pub(crate) type Reaped = (u32, How, u64);

/// Reaps one ended child without waiting (wait4(2), WNOHANG); `None` when there is none.
pub(crate) fn reap() -> Option<Reaped> {
    wait4(-1, libc::WNOHANG)
}

/// Waits for this child to end.
pub(crate) fn reap_child(pid: u32) -> Option<Reaped> {
    wait4(pid as i32, 0)
}

fn wait4(which: i32, options: i32) -> Option<Reaped> {
    let mut status = 0;
    // SAFETY: rusage is a plain C struct of integers, for which all zeroes is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are to live local variables of the types that wait4 writes.
        let pid = unsafe { libc::wait4(which, &mut status, options, &mut usage) };
        if pid < 0 && Errno::last() == Errno::EINTR {
            continue;
        }
        if pid <= 0 {
            return None;
        }
        let how = if libc::WIFSIGNALED(status) {
            How::Signal(libc::WTERMSIG(status))
        } else {
            How::Code(libc::WEXITSTATUS(status))
        };
        return Some((pid as u32, how, ns(usage.ru_utime) + ns(usage.ru_stime)));
    }
}

fn ns(t: libc::timeval) -> u64 {
    Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000).as_nanos() as u64
}
