//! A filter from a list of rules with any actions, as bundles bring them.
//!
//! The same plan as for our own: a binary search for the number, then the rules of that number in their
//! order, then the default. Here the comparisons are of all 64 bits, and the jumps are long ones, for
//! nobody knows how long a list will be. Without it a bundle's profile would be passed over, or refused.
//!
//! Man page: seccomp(2). Look at it: `strace -f -v -e trace=seccomp tare-runtime run --bundle DIR box`

use nix::errno::Errno;

use super::assemble::{ARGUMENTS, AT_LEAST, Assembler, EQUAL, GREATER, Label, Target};
use super::{ARCHITECTURE, I386, NUMBER, X32_BIT, X86_64};
use crate::sys::FilterInstruction;

/// How an argument is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// (argument & value) == second.
    Masked,
}

/// One condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    /// Position of the argument, 0 to 5.
    pub(crate) argument: u32,
    pub(crate) comparison: Comparison,
    pub(crate) value: u64,
    pub(crate) second: u64,
}

/// One rule: if all checks hold, the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) number: u32,
    pub(crate) checks: Vec<Check>,
    /// As the kernel takes it: an action, and an error number in the low half.
    pub(crate) answer: u32,
}

/// Which conventions of calling the kernel are filtered by the rules; any other ends the process, as
/// libseccomp has it for architectures that are not named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// By number of the 64-bit table.
    pub(crate) native: Vec<Entry>,
    /// Whether the same rules hold for x32, which has its own bit and (below 512) the same numbers.
    pub(crate) x32: bool,
    /// By number of the 32-bit table, which `int 0x80` reaches.
    pub(crate) compat: Option<Vec<Entry>>,
}

/// Builds the filter.
///
/// # Errors
/// E2BIG if it is longer than the 4,096 instructions that the kernel takes.
pub(crate) fn program(rules: &Rules, default: u32) -> Result<Vec<FilterInstruction>, Errno> {
    let mut asm = Assembler::default();
    let (native, not_native, other, compat) = (asm.label(), asm.label(), asm.label(), asm.label());
    asm.load(ARCHITECTURE);
    asm.jump_if_equal(X86_64, Target::To(native), Target::To(not_native));
    asm.place(not_native);
    if rules.compat.is_some() {
        // Conditional jumps are short, so the far table is reached by a long one.
        asm.jump_if_equal(I386, Target::Next, Target::To(other));
        asm.jump(compat);
    }
    asm.place(other);
    asm.kill();

    asm.place(native);
    asm.load(NUMBER);
    if rules.x32 {
        asm.and(!X32_BIT);
    } else {
        let (x32, search) = (asm.label(), asm.label());
        asm.compare(AT_LEAST, X32_BIT, Target::To(x32), Target::To(search));
        asm.place(x32);
        asm.kill();
        asm.place(search);
    }
    table(&mut asm, &rules.native, default);
    if let Some(entries) = &rules.compat {
        asm.place(compat);
        asm.load(NUMBER);
        table(&mut asm, entries, default);
    } else {
        asm.place(compat);
    }
    let program = asm.finish()?;
    if program.len() > 4096 { Err(Errno::E2BIG) } else { Ok(program) }
}

/// The search for the number in the register, the rules of each, and the default.
fn table(asm: &mut Assembler, entries: &[Entry], default: u32) {
    let mut entries = entries.to_vec();
    // Stable: rules of one number stay in their order.
    entries.sort_by_key(|entry| entry.number);
    let groups = groups(&entries);
    let labels: Vec<Label> = groups.iter().map(|_| asm.label()).collect();
    let otherwise = asm.label();
    find(asm, &groups, &labels, otherwise);
    for (group, label) in groups.iter().zip(&labels) {
        asm.place(*label);
        for entry in group.entries {
            let next = asm.label();
            entry.checks.iter().for_each(|check| compare(asm, *check, next));
            asm.answer(entry.answer);
            asm.place(next);
        }
        asm.jump(otherwise);
    }
    asm.place(otherwise);
    asm.answer(default);
}

/// Numbers in a row that the same rules are for.
struct Group<'a> {
    first: u32,
    last: u32,
    entries: &'a [Entry],
}

/// Neighbours that are answered alike without a look at their arguments are one group: a profile that allows
/// several hundred calls would else be longer than the kernel takes.
fn groups(entries: &[Entry]) -> Vec<Group<'_>> {
    let plain = |entries: &[Entry]| match entries {
        [Entry { checks, answer, .. }] if checks.is_empty() => Some(*answer),
        _ => None,
    };
    let mut groups: Vec<Group<'_>> = Vec::new();
    for entries in entries.chunk_by(|a, b| a.number == b.number) {
        let number = entries[0].number;
        match groups.last_mut() {
            Some(group)
                if number == group.last + 1
                    && plain(entries).is_some()
                    && plain(entries) == plain(group.entries) =>
            {
                group.last = number;
            }
            _ => groups.push(Group { first: number, last: number, entries }),
        }
    }
    groups
}

fn find(asm: &mut Assembler, groups: &[Group<'_>], labels: &[Label], otherwise: Label) {
    match (groups, labels) {
        ([group], [label]) => {
            let miss = asm.label();
            if group.first == group.last {
                asm.jump_if_equal(group.first, Target::Next, Target::To(miss));
            } else {
                asm.compare(AT_LEAST, group.first, Target::Next, Target::To(miss));
                asm.compare(GREATER, group.last, Target::To(miss), Target::Next);
            }
            asm.jump(*label);
            asm.place(miss);
            asm.jump(otherwise);
        }
        ([], _) | (_, []) => asm.jump(otherwise),
        _ => {
            let middle = groups.len() / 2;
            let (left, right) = (asm.label(), asm.label());
            asm.compare(AT_LEAST, groups[middle].first, Target::Next, Target::To(left));
            asm.jump(right);
            asm.place(left);
            find(asm, &groups[..middle], &labels[..middle], otherwise);
            asm.place(right);
            find(asm, &groups[middle..], &labels[middle..], otherwise);
        }
    }
}

/// Goes on with the next instruction if the check holds, and to `miss` if not: first by the high half of
/// the argument, then by the low one.
fn compare(asm: &mut Assembler, check: Check, miss: Label) {
    let Check { argument, comparison, value, second } = check;
    let (high, low) = ((value >> 32) as u32, value as u32);
    let at = ARGUMENTS + 8 * argument;
    let (fail, done) = (asm.label(), asm.label());
    let (to_fail, to_done) = (Target::To(fail), Target::To(done));
    asm.load(at + 4);
    match comparison {
        Comparison::Equal => {
            asm.compare(EQUAL, high, Target::Next, to_fail);
            asm.load(at);
            asm.compare(EQUAL, low, to_done, to_fail);
        }
        Comparison::NotEqual => {
            asm.compare(EQUAL, high, Target::Next, to_done);
            asm.load(at);
            asm.compare(EQUAL, low, to_fail, to_done);
        }
        Comparison::Masked => {
            asm.compare_masked(high, (second >> 32) as u32, Target::Next, to_fail);
            asm.load(at);
            asm.compare_masked(low, second as u32, to_done, to_fail);
        }
        Comparison::Greater | Comparison::GreaterOrEqual => {
            let code = if comparison == Comparison::Greater { GREATER } else { AT_LEAST };
            asm.compare(GREATER, high, to_done, Target::Next);
            asm.compare(EQUAL, high, Target::Next, to_fail);
            asm.load(at);
            asm.compare(code, low, to_done, to_fail);
        }
        Comparison::Less | Comparison::LessOrEqual => {
            let code = if comparison == Comparison::Less { AT_LEAST } else { GREATER };
            asm.compare(GREATER, high, to_fail, Target::Next);
            asm.compare(EQUAL, high, Target::Next, to_done);
            asm.load(at);
            asm.compare(code, low, to_fail, to_done);
        }
    }
    asm.place(fail);
    asm.jump(miss);
    asm.place(done);
}
