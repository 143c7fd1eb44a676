//! Safe wrappers of the system calls that no library wraps for us. `unsafe` stands here and in the files
//! below `sys/`, and nowhere else.
//!
//! **Rule after a fork.** Between `fork` and `execve` the child is one thread of a program that may
//! have many. In copied memory a lock that another thread held, the allocator's among them, stays locked
//! for ever; in borrowed memory what the child allocates is never freed, and what it writes is written in
//! its parent. So the child allocates nothing, takes no lock and calls no function of the C library that
//! does: every string is prepared before the fork, and identities change by the raw system call, because
//! glibc's `setresuid` first waits for threads that the child does not have.
//!
//! The benchmark's hand-issued `floor` contender uses these wrappers too, which is why the module is
//! public; nothing in it is a stable interface.
//!
//! Man pages: clone3(2), capset(2), seccomp(2), close_range(2), pidfd_open(2). Look at it:
//! `strace -f tare-runtime run -d --rootfs DIR box -- /bin/true`
#![allow(unsafe_code)]

pub mod bpf;
mod descriptors;
mod fork;
pub mod handover;
pub mod mount;
pub mod terminal;

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_ulong};
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

pub use descriptors::{close_copies_from, close_copy, close_on_exec_from, keep_on_exec};
pub(crate) use descriptors::{close_from, owned};
pub use fork::{Forked, Memory, fork};
pub use nix::errno::Errno;
pub use nix::mount::{MntFlags, MsFlags, mount, umount2};
pub use nix::sched::{CloneFlags, unshare};
pub use nix::unistd::{chdir, fchdir, pivot_root, sethostname, setsid};

/// A null-terminated array of C strings in the form execve(2) wants, built before the fork.
#[derive(Debug)]
pub struct CStringArray {
    pointers: Vec<*const c_char>,
    /// Owns what `pointers` points to.
    strings: Vec<CString>,
}

impl CStringArray {
    /// Takes the strings and builds the pointer array.
    pub fn new(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect();
        Self { pointers, strings }
    }

    /// The strings, in order.
    pub fn strings(&self) -> &[CString] {
        &self.strings
    }
}

/// Replaces this program; returns only if that failed, with the reason.
pub fn execve(path: &CStr, argv: &CStringArray, envp: &CStringArray) -> Errno {
    // SAFETY: `path` is a C string; both arrays end with a null pointer and their other pointers lead
    // into the buffers of `strings`, which a CStringArray owns and never changes.
    unsafe { libc::execve(path.as_ptr(), argv.pointers.as_ptr(), envp.pointers.as_ptr()) };
    Errno::last()
}

/// For a program that begins without Rust's own start: a closed pipe is an error of write and no signal, and
/// descriptors 0, 1 and 2 are open, so that no file that is opened later takes the place of one of them.
///
/// # Errors
/// ENOENT without a /dev/null.
pub fn begin() -> Result<(), Errno> {
    // SAFETY: SIG_IGN is no handler that could run.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    for number in 0..=2 {
        // SAFETY: F_GETFD reads a flag. The kernel gives the lowest free number, which is the one that was
        // found closed, and that belongs to nobody; like the two others it is never closed.
        unsafe {
            if libc::fcntl(number, libc::F_GETFD) == -1 {
                Errno::result(libc::open(c"/dev/null".as_ptr(), libc::O_RDWR))?;
            }
        }
    }
    Ok(())
}

/// This process's standard input, output and error, for a program that called [`begin`]; std's own handles
/// allocate buffers of 9 KiB before they tell their number.
///
// SAFETY: `begin` has seen to it that the three are open, and nothing closes them.
pub const STDIO: [BorrowedFd<'static>; 3] =
    unsafe { [BorrowedFd::borrow_raw(0), BorrowedFd::borrow_raw(1), BorrowedFd::borrow_raw(2)] };

/// Ends this process at once, without running destructors or flushing buffers copied from the parent.
pub fn exit(status: i32) -> ! {
    // SAFETY: _exit takes a number and touches no memory.
    unsafe { libc::_exit(status) }
}

/// Gives all signals their default action, ignored ones too, and blocks none: a new program inherits
/// both "ignored" and "blocked" (Rust ignores SIGPIPE).
///
/// # Errors
/// None in practice.
pub fn reset_signals() -> Result<(), Errno> {
    /// The kernel's own sigaction: action, flags, restorer, mask. All zero: the default action.
    const DEFAULT: [u64; 4] = [0; 4];
    const NO_SIGNALS: [u64; 1] = [0];
    const MASK_SIZE: usize = size_of::<u64>();
    for signal in 1..=64 as c_long {
        // The C library would refuse its own two, 32 and 33, which a caller may have ignored all the same.
        // SAFETY: the kernel reads four words, which DEFAULT has, and is asked for no old action. No
        // handler of ours is lost: this is a forked child, whose handlers clone3 has reset. The call
        // fails for SIGKILL and SIGSTOP, which cannot be ignored.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                DEFAULT.as_ptr(),
                std::ptr::null_mut::<u64>(),
                MASK_SIZE,
            )
        };
    }
    // SAFETY: the kernel reads one word and is asked for no old mask.
    let done = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK as c_long,
            NO_SIGNALS.as_ptr(),
            std::ptr::null_mut::<u64>(),
            MASK_SIZE,
        )
    };
    Errno::result(done).map(drop)
}

/// Calls prctl(2) with numbers.
fn prctl(option: c_int, a: c_ulong, b: c_ulong) -> Result<c_int, Errno> {
    // SAFETY: private to this file; its callers pass only options whose arguments are numbers.
    Errno::result(unsafe { libc::prctl(option, a, b, 0 as c_ulong, 0 as c_ulong) })
}

/// Removes one capability from the bounding set, for ever.
///
/// # Errors
/// EINVAL for a number beyond the kernel's last capability, EPERM without CAP_SETPCAP.
pub fn drop_bounding(capability: u32) -> Result<(), Errno> {
    prctl(libc::PR_CAPBSET_DROP, c_ulong::from(capability), 0).map(drop)
}

/// Empties the ambient set.
///
/// # Errors
/// EINVAL before Linux 4.3.
pub fn clear_ambient() -> Result<(), Errno> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as c_ulong, 0).map(drop)
}

/// From here on exec grants nothing: no set-user-id, no file capabilities.
///
/// # Errors
/// EINVAL before Linux 3.5.
pub fn no_new_privileges() -> Result<(), Errno> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map(drop)
}

/// Adds one capability to the ambient set, which exec keeps for a process that is not root.
///
/// # Errors
/// EPERM unless it is permitted and inheritable.
pub fn raise_ambient(capability: u32) -> Result<(), Errno> {
    let raise = libc::PR_CAP_AMBIENT_RAISE as c_ulong;
    prctl(libc::PR_CAP_AMBIENT, raise, c_ulong::from(capability)).map(drop)
}

/// Lets the permitted set survive the change from root to another user, until the next exec.
///
/// # Errors
/// None in practice.
pub fn keep_capabilities() -> Result<(), Errno> {
    prctl(libc::PR_SET_KEEPCAPS, 1, 0).map(drop)
}

/// Makes this process's entries in /proc root's, and lets nobody trace it, until the next exec.
///
/// # Errors
/// None in practice.
pub fn hide_from_tracers() -> Result<(), Errno> {
    prctl(libc::PR_SET_DUMPABLE, 0, 0).map(drop)
}

/// Sets the effective and permitted sets to `mask` and the inheritable set to nothing.
///
/// # Errors
/// EPERM if `mask` holds a capability that is not permitted now.
pub fn set_capabilities(mask: u64) -> Result<(), Errno> {
    set_capability_sets(mask, mask, 0)
}

/// Sets the effective, permitted and inheritable sets.
///
/// # Errors
/// EPERM if `permitted` holds a capability that is not permitted now, or `inheritable` one that is neither.
pub fn set_capability_sets(effective: u64, permitted: u64, inheritable: u64) -> Result<(), Errno> {
    #[repr(C)]
    struct Header(u32, c_int);
    /// Effective, permitted, inheritable: 32 bits of each.
    #[repr(C)]
    struct Sets(u32, u32, u32);
    const VERSION_3: u32 = 0x2008_0522;
    let header = Header(VERSION_3, 0);
    let half = |shift: u32| {
        Sets((effective >> shift) as u32, (permitted >> shift) as u32, (inheritable >> shift) as u32)
    };
    let sets = [half(0), half(32)];
    // SAFETY: version 3 reads one header and two sets of three 32-bit words, laid out as in
    // linux/capability.h; both live across the call and the kernel only reads the sets.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &header, sets.as_ptr()) }).map(drop)
}

/// Sets the supplementary groups to exactly these.
///
/// # Errors
/// EPERM in a user namespace where setgroups is denied, EINVAL for a group that is not mapped.
pub fn set_groups(groups: &[libc::gid_t]) -> Result<(), Errno> {
    // SAFETY: the kernel reads as many words as are said to be there.
    let done = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
    Errno::result(done).map(drop)
}

/// Makes real, effective and saved ids `uid` and `gid`, the group first, while we still may.
///
/// # Errors
/// EPERM without CAP_SETGID and CAP_SETUID, EINVAL for an id that is not mapped.
pub fn become_user(uid: u32, gid: u32) -> Result<(), Errno> {
    // SAFETY: takes numbers only.
    Errno::result(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
    // SAFETY: takes numbers only.
    Errno::result(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) }).map(drop)
}

/// One instruction of the classic packet filter that seccomp(2) takes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterInstruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip if the comparison holds.
    pub jt: u8,
    /// Instructions to skip if it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// Installs a seccomp filter for this thread and all it becomes.
///
/// # Errors
/// EINVAL for a program that the kernel's checker refuses, EACCES without no_new_privs.
pub fn install_filter(program: &[FilterInstruction]) -> Result<(), Errno> {
    #[repr(C)]
    struct Program {
        length: u16,
        instructions: *const FilterInstruction,
    }
    let length = u16::try_from(program.len()).map_err(|_| Errno::EINVAL)?;
    let program = Program { length, instructions: program.as_ptr() };
    // SAFETY: `Program` is laid out as sock_fprog and FilterInstruction as sock_filter; the pointer
    // leads to `length` of them, borrowed for the whole call, and the kernel copies what it reads.
    let done = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0 as c_ulong, &raw const program)
    };
    Errno::result(done).map(drop)
}

/// Brings the network interface `name` up in the current network namespace.
///
/// # Errors
/// ENODEV if there is no such interface, EPERM without CAP_NET_ADMIN.
pub fn interface_up(name: &CStr) -> Result<(), Errno> {
    // SAFETY: takes numbers only.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    let fd = Errno::result(fd)?;
    // SAFETY: the socket was just made and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: ifreq is plain data, for which all zero bytes are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let bytes = name.to_bytes_with_nul();
    if bytes.len() > request.ifr_name.len() {
        return Err(Errno::ENODEV);
    }
    for (to, from) in request.ifr_name.iter_mut().zip(bytes) {
        *to = *from as c_char;
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as i16;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which lives across the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &request) };
    Errno::result(done).map(drop)
}

/// Sets the host name of the UTS namespace.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN over it, EINVAL beyond 64 bytes.
pub fn set_host_name(name: &CStr) -> Result<(), Errno> {
    // SAFETY: the kernel reads as many bytes as are said to be there.
    Errno::result(unsafe { libc::sethostname(name.as_ptr(), name.to_bytes().len()) }).map(drop)
}

/// Sets the NIS domain name of the UTS namespace.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN over it, EINVAL beyond 64 bytes.
pub fn set_domain_name(name: &CStr) -> Result<(), Errno> {
    // SAFETY: the kernel reads as many bytes as are said to be there.
    Errno::result(unsafe { libc::setdomainname(name.as_ptr(), name.to_bytes().len()) }).map(drop)
}

/// Reads the working directory into `buffer` and says whether it lies under this process's root.
///
/// # Errors
/// ENOENT if the directory was removed, ERANGE if its path is longer than the buffer.
pub fn working_directory_is_inside(buffer: &mut [u8]) -> Result<bool, Errno> {
    // The C library's getcwd would hide the kernel's "(unreachable)", which is what we look for.
    // SAFETY: the kernel writes at most `len` bytes into a buffer of that length.
    let done = unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) };
    Errno::result(done)?;
    Ok(buffer.first() == Some(&b'/'))
}

/// Opens a descriptor of the process `pid`.
///
/// # Errors
/// ESRCH if there is none.
pub fn pidfd_open(pid: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: takes numbers only.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the descriptor was just made and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Sends a signal to the very process that `pidfd` stands for.
///
/// # Errors
/// ESRCH if it has ended and was reaped, EPERM.
pub fn pidfd_signal(pidfd: impl AsFd, signal: c_int) -> Result<(), Errno> {
    let fd = pidfd.as_fd().as_raw_fd();
    // SAFETY: no siginfo is passed, the rest are numbers.
    let done = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, std::ptr::null::<libc::siginfo_t>(), 0)
    };
    Errno::result(done).map(drop)
}
