//! Raw system calls by the three doors of an x86 kernel, for the filter's test.
#![allow(unsafe_code)]

use std::arch::asm;

/// A system call that must be harmless even if it is let through: arguments of -1 or 0.
pub(crate) fn native(number: i64, argument: i64) -> i64 {
    // SAFETY: the caller passes numbers whose calls, with these arguments, neither read nor write memory
    // of ours: pointers are null or invalid, descriptors and flags invalid.
    let done = unsafe { libc::syscall(number, argument, -1_i64, 0_i64, -1_i64, -1_i64) };
    if done == -1 { -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { done }
}

/// The same through `int 0x80`, with the 32-bit table. Kills the process by SIGSEGV where the kernel
/// has no 32-bit calls.
pub(crate) fn compat(number: u32, argument: u32) -> i32 {
    let result: i32;
    // SAFETY: as above; rbx, which the compiler keeps for itself, is exchanged back, and what the
    // kernel's 32-bit entry may change is declared.
    unsafe {
        asm!(
            "xchg {b:r}, rbx",
            "int 0x80",
            "xchg {b:r}, rbx",
            b = inout(reg) u64::from(argument) => _,
            inlateout("eax") number as i32 => result,
            in("ecx") -1_i32, in("edx") 0, in("esi") -1_i32, in("edi") -1_i32,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
        );
    }
    result
}
