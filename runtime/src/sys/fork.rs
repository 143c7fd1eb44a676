//! A new process in new namespaces, on a stack of its own: clone3 as the kernel has it.
//!
//! fork copies the caller's page tables and then every page that either side writes; exec throws the copy
//! away at once. So, like posix_spawn, we borrow the memory instead ([`Memory::Borrowed`], `CLONE_VM`) and
//! sleep until the child has executed its program or ended (`CLONE_VFORK`). A process that stays between fork
//! and exec for long, or that others can reach before its exec, gets a copy ([`Memory::Copied`]).
//!
//! The C library has no wrapper for clone3, and none could return twice on a borrowed stack: the child
//! begins in [`enter`], at the top of a fresh stack.
//!
//! Man pages: clone(2), "clone3()"; vfork(2). Look at it:
//! `strace -f -e clone3 tare-runtime run --rootfs DIR box -- /bin/true`

use std::ffi::{c_int, c_void};
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sched::CloneFlags;

/// A process that was just made.
#[derive(Debug)]
pub struct Forked {
    /// Its process id as the caller sees it.
    pub pid: i32,
    /// A descriptor of it: readable once it has ended, never reused for another process.
    pub pidfd: OwnedFd,
}

/// Whose memory the new process works in until its exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// The caller's; the calling thread sleeps until the child's exec or end. What the child writes, the
    /// caller finds written.
    Borrowed,
    /// A copy; both run on at once.
    Copied,
}

/// Handled signals get their default action in the child, so no handler of ours runs there.
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
/// The child is born in the version 2 cgroup of `clone_args.cgroup`; nothing has to be moved.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What a child may use of its stack: our set-up needs a few KiB, unoptimised code more. Pages that are
/// not touched cost nothing.
const STACK_SIZE: usize = 256 * 1024;
/// Below the stack, so that overflowing it is a SIGSEGV in the child and not a change in other memory.
const GUARD_SIZE: usize = 4096;

/// Makes a process with `namespaces` of its own, born in `cgroup` (a version 2 directory) if one is given,
/// which runs `child` and ends with the status that this returns. `child` must keep the rule at the head of
/// the parent module.
///
/// # Errors
/// What clone3(2) reports: EPERM without the right to make a namespace, ENOSPC at a namespace limit,
/// EAGAIN at a process limit, ENOSYS before Linux 5.3 or under a filter. ENOMEM.
pub fn fork<F: FnOnce() -> i32>(
    namespaces: CloneFlags,
    cgroup: Option<BorrowedFd<'_>>,
    memory: Memory,
    child: F,
) -> Result<Forked, Errno> {
    let stack = Stack::new()?;
    let mut pidfd: RawFd = -1;
    // SAFETY: clone_args consists of integers only, for which all zero bytes are a value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = namespaces.bits() as u64 | libc::CLONE_PIDFD as u64 | CLONE_CLEAR_SIGHAND;
    if memory == Memory::Borrowed {
        args.flags |= (libc::CLONE_VM | libc::CLONE_VFORK) as u64;
    }
    args.pidfd = &raw mut pidfd as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    args.stack = stack.lowest() as u64;
    args.stack_size = STACK_SIZE as u64;
    if let Some(directory) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = directory.as_raw_fd() as u64;
    }
    // The child takes it over; the caller must not run its destructor a second time.
    let mut child = ManuallyDrop::new(child);
    // SAFETY: `args`, `pidfd`, `stack` and `child` live until the call returns here, and with borrowed
    // memory it returns only after the child has left this memory; a copy has its own of all four.
    let pid = unsafe { clone3_and_enter(&mut args, enter::<F>, (&raw mut child).cast()) };
    match pid {
        ..0 => Err(Errno::from_raw(-pid as i32)),
        // SAFETY: the kernel stored a new descriptor in `pidfd`, which nobody else knows of.
        _ => Ok(Forked { pid: pid as i32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } }),
    }
}

/// Where the child begins.
extern "C" fn enter<F: FnOnce() -> i32>(child: *mut c_void) -> c_int {
    // SAFETY: `fork` passes a pointer to a live `ManuallyDrop<F>`, taken out nowhere else. Unwinding out
    // of an extern "C" function aborts, so a panic in the child ends the child.
    let child = unsafe { ManuallyDrop::take(&mut *child.cast::<ManuallyDrop<F>>()) };
    super::exit(child())
}

/// Calls clone3; the child starts in `enter` with `data`, on the stack that `args` names. Returns the
/// child's id, or an error number below zero.
///
/// # Safety
/// What `args` and `data` point to must stay until the child is done with it, and `enter` must not return.
unsafe fn clone3_and_enter(
    args: &mut libc::clone_args,
    enter: extern "C" fn(*mut c_void) -> c_int,
    data: *mut c_void,
) -> i64 {
    let result: i64;
    // SAFETY: The kernel reads `args`, whose size is passed, and changes no registers but rax, rcx and r11.
    // The child continues after `syscall` with rax 0 and rsp at the top of its stack, a multiple of 16 as
    // the calling convention wants before a call; it never comes back from there. A stack frame without
    // parent (rbp 0) ends backtraces.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") &raw mut *args,
            in("rsi") size_of::<libc::clone_args>(),
            in("r12") data,
            in("r13") enter,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// Fresh memory for a child's stack.
struct Stack(*mut c_void);

impl Stack {
    fn new() -> Result<Self, Errno> {
        let (protection, kind) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                GUARD_SIZE + STACK_SIZE,
                protection,
                kind | libc::MAP_STACK,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let stack = Self(address);
        // SAFETY: the first page of the mapping just made, which nothing points into yet.
        Errno::result(unsafe { libc::mprotect(address, GUARD_SIZE, libc::PROT_NONE) })?;
        Ok(stack)
    }

    fn lowest(&self) -> usize {
        self.0 as usize + GUARD_SIZE
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: made by `new` in this size. The child that ran on it has executed, has ended, or has its
        // own copy.
        unsafe { libc::munmap(self.0, GUARD_SIZE + STACK_SIZE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

    fn ended(forked: &Forked) -> WaitStatus {
        waitid(Id::PIDFd(forked.pidfd.as_fd()), WaitPidFlag::WEXITED).expect("waitid")
    }

    #[test]
    fn borrowed_memory_is_the_callers_and_a_copy_is_not() {
        for (memory, expected) in [(Memory::Borrowed, 7), (Memory::Copied, 0)] {
            let mut word = 0;
            let forked = fork(CloneFlags::empty(), None, memory, || {
                word = 7;
                3
            })
            .expect("fork");
            assert!(matches!(ended(&forked), WaitStatus::Exited(_, 3)), "{memory:?}");
            assert_eq!(word, expected, "{memory:?}");
        }
    }

    #[test]
    fn an_overflowing_stack_ends_the_child_only() {
        fn deeper(level: u64) -> u64 {
            let frame = std::hint::black_box([level; 512]);
            if level == u64::MAX { 0 } else { deeper(level + 1) + std::hint::black_box(frame)[3] }
        }
        let forked = fork(CloneFlags::empty(), None, Memory::Borrowed, || deeper(0) as i32).expect("fork");
        let status = ended(&forked);
        assert!(matches!(status, WaitStatus::Signaled(..)), "{status:?}");
    }

    #[test]
    fn a_refused_namespace_is_an_error_number() {
        // CLONE_NEWPID together with CLONE_THREAD has no meaning.
        let flags = CloneFlags::CLONE_THREAD;
        assert_eq!(fork(flags, None, Memory::Borrowed, || 0).expect_err("EINVAL"), Errno::EINVAL);
    }
}
