//! Raw system calls by the three doors of an x86 kernel, and children to make them in.
#![allow(unsafe_code)]

use std::arch::asm;

use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, pipe, read};

/// Marks a call in the x32 convention.
pub(crate) const X32_BIT: i64 = 0x4000_0000;

/// A way into the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Door {
    /// `syscall` with the 64-bit table.
    Native,
    /// `syscall` with the x32 bit in the number.
    X32,
    /// `int 0x80` with the 32-bit table. Only the first five arguments, cut to 32 bits.
    Int80,
}

impl Door {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::X32 => "x32",
            Self::Int80 => "int80",
        }
    }
}

/// Makes one call in a child, so that nothing it changes outlives it: its result, -errno on failure, or
/// the words for what ended the child.
pub(crate) fn call(door: Door, number: i64, arguments: [i64; 6]) -> Result<i64, String> {
    let (reader, writer) = pipe().expect("pipe");
    // SAFETY: the child makes raw system calls only, and ends by _exit: no lock and no allocation.
    match unsafe { fork() } {
        Err(errno) => Err(format!("no fork: {errno}")),
        Ok(ForkResult::Child) => {
            use std::os::fd::AsRawFd;
            // SAFETY: plain calls without memory of ours, except the result, which lives on this stack.
            // Of two processes that return from a clone(2) that was let through, one writes.
            unsafe {
                libc::alarm(10);
                let before = libc::syscall(libc::SYS_getpid);
                let result = match door {
                    Door::Native => native(number, arguments),
                    Door::X32 => native(number | X32_BIT, arguments),
                    Door::Int80 => int80(number, arguments),
                };
                if libc::syscall(libc::SYS_getpid) == before {
                    libc::write(writer.as_raw_fd(), (&raw const result).cast(), size_of::<i64>());
                }
                libc::_exit(0)
            }
        }
        Ok(ForkResult::Parent { child }) => {
            drop(writer);
            let mut bytes = [0; size_of::<i64>()];
            let count = read(&reader, &mut bytes);
            let status = waitpid(child, None).expect("wait");
            match (count, status) {
                (Ok(8), _) => Ok(i64::from_ne_bytes(bytes)),
                (_, WaitStatus::Signaled(_, signal, _)) => Err(signal.as_str().into()),
                other => Err(format!("{other:?}")),
            }
        }
    }
}

/// SAFETY: the arguments must be harmless for this number, also if the call is let through.
unsafe fn native(number: i64, [a, b, c, d, e, f]: [i64; 6]) -> i64 {
    // SAFETY: the caller's promise.
    let done = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if done == -1 { -i64::from(Errno::last_raw()) } else { done }
}

/// SAFETY: as `native`. Ends the process by SIGSEGV where the kernel has no 32-bit calls.
unsafe fn int80(number: i64, [a, b, c, d, e, _]: [i64; 6]) -> i64 {
    let result: i32;
    // SAFETY: the caller's promise; rbx, which the compiler keeps for itself, is exchanged back, and what
    // the kernel's 32-bit entry may change is declared.
    unsafe {
        asm!(
            "xchg {b:r}, rbx",
            "int 0x80",
            "xchg {b:r}, rbx",
            b = inout(reg) i64::from(a as u32) => _,
            inlateout("eax") number as i32 => result,
            in("ecx") b as i32, in("edx") c as i32, in("esi") d as i32, in("edi") e as i32,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
        );
    }
    i64::from(result)
}

/// A child that does nothing until it is killed.
pub(crate) fn idle_child() -> Result<Pid, Errno> {
    // SAFETY: the child only waits, by a call that is safe after a fork.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => loop {
            nix::unistd::pause();
        },
    }
}

/// Whether a descriptor is open.
pub(crate) fn is_open(descriptor: i32) -> bool {
    // SAFETY: F_GETFD reads one flag of this process's table.
    unsafe { libc::fcntl(descriptor, libc::F_GETFD) >= 0 }
}
