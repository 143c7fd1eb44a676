//! seccomp: a small program that the kernel runs before every system call of the box.
//!
//! Without it every call of the kernel, some 460, is within the box's reach, and a fault in any of them
//! is a way out. The rules are in `rules.rs`; what they are in the kernel's filter language is in `filter.rs`,
//! and `table.rs` says how one becomes the other. Filters of bundles are assembled in `list.rs`.
//!
//! The order matters more than the length. When a filter is installed, the kernel runs it once for every call
//! number of both tables (for 64-bit and 32-bit programs) to learn which are always allowed, and remembers
//! those. A straight list of n comparisons is run n times about 900 times, which costs more than all mounts
//! of the box together; a binary search needs some seven comparisons.
//!
//! Steps: `seccomp`, or earlier `seccomp-by-right`.
//!
//! Man page: seccomp(2), bpf(4). Look at it: `grep Seccomp /proc/self/status` inside

mod assemble;
mod filter;
pub(crate) mod list;
pub(crate) mod rules;
#[cfg(test)]
mod table;

use crate::report::Fault;
use crate::sys::{self, FilterInstruction};

/// Positions in the record that the kernel shows the filter (`struct seccomp_data`).
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;

/// Marks a call in the x32 convention: 64-bit registers, 32-bit pointers, the 64-bit table.
const X32_BIT: u32 = 0x4000_0000;

/// The filter of the default profile, assembled beforehand: it is the same for every box, and to assemble it
/// takes half as long as to install it (0.05 ms of 0.09). A test compares it with the rules.
pub(crate) const PROGRAM: &[FilterInstruction] = &filter::FILTER;

/// Installs it: with no-new-privileges anybody may, for then no set-user-id program can be confused by it;
/// without, it takes CAP_SYS_ADMIN.
pub(crate) fn install(program: &[FilterInstruction]) -> Result<(), Fault> {
    if program.is_empty() {
        return Ok(());
    }
    sys::install_filter(program).map_err(Fault::of(0))
}

#[cfg(test)]
mod tests;
