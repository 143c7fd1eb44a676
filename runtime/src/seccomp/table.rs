//! How the rules become the filter: a binary search over the numbers of each table. The result stands in
//! `filter.rs`, so this runs in the tests only, which compare the two.
//!
//! Man page: bpf(4). Look at it: `TARE_WRITE_FILTER=1 cargo test -p tare-runtime --lib seccomp`

use nix::errno::Errno;

use super::assemble::{ARGUMENTS, AT_LEAST, Assembler, EQUAL, GREATER, Label, Target};
use super::rules::{self, Condition, Denial, LAST_REVIEWED, RULES, Rule, X32_ONLY};
use super::{ARCHITECTURE, I386, NUMBER, X32_BIT, X86_64};
use crate::sys::FilterInstruction;

/// Compare: any bit in common.
pub(super) const ANY_BIT: u16 = 0x45;
pub(super) const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;

/// What [`super::PROGRAM`] has to be.
///
/// # Errors
/// ERANGE if a jump became longer than the filter language allows: the rules are too many.
pub(super) fn assemble_rules() -> Result<Vec<FilterInstruction>, Errno> {
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
    table(&mut asm, &ranges(|rule| rule.native, X32_ONLY, 512));

    asm.place(compat);
    asm.load(NUMBER);
    table(&mut asm, &ranges(|rule| rule.compat, &[], u32::MAX));
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

/// The filter's answer for a refusal.
pub(super) fn answer(denial: Denial) -> u32 {
    ERRNO
        | match denial {
            Denial::NotPermitted => Errno::EPERM as u32,
            Denial::Missing => Errno::ENOSYS as u32,
        }
}

/// What a number leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaf {
    Deny(Denial),
    Check(Denial, Condition),
}

impl Leaf {
    fn is_plain(self) -> bool {
        matches!(self, Self::Deny(_))
    }
}

impl From<&Rule> for Leaf {
    fn from(rule: &Rule) -> Self {
        match rule.when {
            Condition::Always => Self::Deny(rule.denial),
            condition => Self::Check(rule.denial, condition),
        }
    }
}

/// Numbers with one leaf, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: u32,
    last: u32,
    leaf: Leaf,
}

/// A binary search for the number in the register, followed by the checks of arguments and the
/// answers, which stand at the end so that all of the table can reach them.
fn table(asm: &mut Assembler, ranges: &[Range]) {
    let allow = asm.label();
    let denials = [(Denial::NotPermitted, asm.label()), (Denial::Missing, asm.label())];
    let deny = |denial| denials.iter().find(|d| d.0 == denial).map_or(allow, |d| d.1);
    let mut checks: Vec<(Label, Denial, Condition)> = Vec::new();
    let mut leaves = Vec::with_capacity(ranges.len());
    for range in ranges {
        leaves.push(match range.leaf {
            Leaf::Deny(denial) => deny(denial),
            Leaf::Check(denial, condition) => {
                let label = asm.label();
                checks.push((label, denial, condition));
                label
            }
        });
    }
    search(asm, ranges, &leaves, allow);
    for (label, denial, condition) in checks {
        asm.place(label);
        check(asm, condition, deny(denial), allow);
    }
    asm.place(allow);
    asm.answer(ALLOW);
    for (denial, label) in denials {
        asm.place(label);
        asm.answer(answer(denial));
    }
}

fn search(asm: &mut Assembler, ranges: &[Range], leaves: &[Label], allow: Label) {
    match (ranges, leaves) {
        ([], _) | (_, []) => asm.jump(allow),
        ([range], [leaf]) => within(asm, *range, *leaf, allow),
        _ => {
            let middle = ranges.len() / 2;
            let right = asm.label();
            asm.compare(AT_LEAST, ranges[middle].first, Target::To(right), Target::Next);
            search(asm, &ranges[..middle], &leaves[..middle], allow);
            asm.place(right);
            search(asm, &ranges[middle..], &leaves[middle..], allow);
        }
    }
}

fn within(asm: &mut Assembler, range: Range, leaf: Label, allow: Label) {
    let Range { first, last, .. } = range;
    if first == last {
        return asm.compare(EQUAL, first, Target::To(leaf), Target::To(allow));
    }
    if last == u32::MAX {
        return asm.compare(AT_LEAST, first, Target::To(leaf), Target::To(allow));
    }
    asm.compare(AT_LEAST, first, Target::Next, Target::To(allow));
    asm.compare(GREATER, last, Target::To(allow), Target::To(leaf));
}

/// Only the low half of an argument is looked at: the kernel reads these arguments as 32 bits.
fn check(asm: &mut Assembler, condition: Condition, deny: Label, allow: Label) {
    let (argument, values, code, hit, miss) = match condition {
        Condition::Always => return asm.jump(deny),
        Condition::AnyBit { argument, mask } => (argument, &[mask][..], ANY_BIT, deny, allow),
        Condition::OneOf { argument, values } => (argument, values, EQUAL, deny, allow),
        Condition::NoneOf { argument, values } => (argument, values, EQUAL, allow, deny),
    };
    asm.load(ARGUMENTS + 8 * argument);
    for (index, value) in values.iter().enumerate() {
        let last = index + 1 == values.len();
        asm.compare(code, *value, Target::To(hit), if last { Target::To(miss) } else { Target::Next });
    }
}
