//! The nano guest's loop, run here: what it is judged against; and the end of a QEMU with whoever started it.
#![allow(unsafe_code)]

/// Runs the two instructions of the nano guest's `loop N`, `dec; jnz`, `count` times; 0 counts as none.
pub(super) fn count_down(count: u32) {
    if count == 0 {
        return;
    }
    // SAFETY: counts a register of its own down to zero; touches no memory and no stack, and the flags it
    // changes are declared by default.
    unsafe {
        std::arch::asm!(
            ".balign 32",
            "2:",
            "dec {0:e}",
            "jnz 2b",
            inout(reg) count => _,
            options(nomem, nostack),
        );
    }
}

/// Has the kernel end the command's process when the thread that starts it ends (prctl(2), PR_SET_PDEATHSIG): of a
/// suite that is killed no machine may stay.
pub(super) fn dies_with_parent(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    let set = || {
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes one system call; it allocates nothing, takes no lock, and
    // touches no memory that it shares with other threads.
    unsafe { command.pre_exec(set) };
}
