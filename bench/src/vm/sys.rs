//! The nano guest's loop, run here: what it is judged against.
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
