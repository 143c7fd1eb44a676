//! seccomp: a small program that the kernel runs before every system call of the box.
//!
//! Without it every call of the kernel, some 460, is within the box's reach, and a fault in any of them
//! is a way out. The rules are in `rules.rs`; this file turns them into the kernel's filter language.
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
pub(crate) mod list;
pub(crate) mod rules;

use std::sync::OnceLock;

use nix::errno::Errno;

use crate::report::Fault;
use crate::sys::{self, FilterInstruction};
use assemble::{Assembler, Leaf, Range, Target};
use rules::{Denial, LAST_REVIEWED, RULES, X32_ONLY};

/// Positions in the record that the kernel shows the filter (`struct seccomp_data`).
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;

/// Marks a call in the x32 convention: 64-bit registers, 32-bit pointers, the 64-bit table.
const X32_BIT: u32 = 0x4000_0000;

/// The filter of the default profile.
///
/// # Errors
/// ERANGE if a jump became longer than the filter language allows: the rules are too many.
pub(crate) fn program() -> Result<&'static [FilterInstruction], Errno> {
    // The same for every box: who starts many assembles it once.
    static PROGRAM: OnceLock<Result<Vec<FilterInstruction>, Errno>> = OnceLock::new();
    PROGRAM.get_or_init(assemble_rules).as_deref().map_err(|errno| *errno)
}

fn assemble_rules() -> Result<Vec<FilterInstruction>, Errno> {
    let mut asm = Assembler::default();
    let (compat, other) = (asm.label(), asm.label());
    asm.load(ARCHITECTURE);
    // Conditional jumps are short, so the far table is reached by a long one.
    let (native, not_native) = (asm.label(), asm.label());
    asm.jump_if_equal(X86_64, Target::To(native), Target::To(not_native));
    asm.place(not_native);
    asm.jump_if_equal(I386, Target::Next, Target::To(other));
    asm.jump(compat);
    asm.place(other);
    asm.kill();

    asm.place(native);
    asm.load(NUMBER);
    // The same rules for x32: take its bit away. The kernel evaluates this once per number too.
    asm.and(!X32_BIT);
    asm.table(&ranges(|rule| rule.native, X32_ONLY, 512))?;

    asm.place(compat);
    asm.load(NUMBER);
    asm.table(&ranges(|rule| rule.compat, &[], u32::MAX))?;
    asm.finish()
}

/// The rules of one table as ranges of numbers, sorted and disjoint; neighbours with one answer joined.
/// Numbers between the last reviewed and `own` (where x32's begin) do not exist.
fn ranges(number: fn(&rules::Rule) -> Option<u32>, extra: &[(&str, u32)], own: u32) -> Vec<Range> {
    let single = |first, leaf| Range { first, last: first, leaf };
    let mut all: Vec<Range> =
        RULES.iter().filter_map(|rule| number(rule).map(|n| single(n, Leaf::from(rule)))).collect();
    all.extend(extra.iter().map(|(_, n)| single(*n, Leaf::Deny(Denial::NotPermitted))));
    let missing = Leaf::Deny(Denial::Missing);
    if own == u32::MAX {
        all.push(Range { first: LAST_REVIEWED + 1, last: u32::MAX, leaf: missing });
    } else {
        all.push(Range { first: LAST_REVIEWED + 1, last: own - 1, leaf: missing });
        // x32's own numbers end at 547.
        all.push(Range { first: 548, last: u32::MAX, leaf: missing });
    }
    all.sort_by_key(|range| range.first);
    let mut joined: Vec<Range> = Vec::with_capacity(all.len());
    for range in all {
        match joined.last_mut() {
            Some(last)
                if last.last + 1 == range.first && last.leaf == range.leaf && range.leaf.is_plain() =>
            {
                last.last = range.last;
            }
            _ => joined.push(range),
        }
    }
    joined
}

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
