//! A small assembler for the kernel's classic packet filter: labels, and a binary search over ranges.
//!
//! The filter has one register, comparisons with a constant, forward jumps of at most 255 instructions, and
//! no loops, so that the kernel can see that it ends. Without labels every distance would have to be counted
//! by hand.
//!
//! Man page: bpf(4). `Documentation/networking/filter.rst` in the kernel. Look at it:
//! `strace -f -v -e trace=seccomp tare-runtime run --rootfs DIR box -- /bin/true`

use nix::errno::Errno;

use super::rules::{Condition, Denial, Rule};
use crate::sys::FilterInstruction;

/// Load a 32-bit word of the record.
pub(super) const LOAD: u16 = 0x20;
/// register &= k.
pub(super) const AND: u16 = 0x54;
/// Jump always, by k.
pub(super) const JUMP: u16 = 0x05;
/// Compare: equal, greater, greater or equal, any bit in common.
pub(super) const EQUAL: u16 = 0x15;
pub(super) const GREATER: u16 = 0x25;
pub(super) const AT_LEAST: u16 = 0x35;
pub(super) const ANY_BIT: u16 = 0x45;
/// End with the answer k.
pub(super) const RETURN: u16 = 0x06;

pub(super) const ALLOW: u32 = 0x7fff_0000;
pub(super) const ERRNO: u32 = 0x0005_0000;
pub(super) const KILL_PROCESS: u32 = 0x8000_0000;

/// Where the arguments begin in the record; each has eight bytes, the low half first.
pub(super) const ARGUMENTS: u32 = 16;

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
pub(super) enum Leaf {
    Deny(Denial),
    Check(Denial, Condition),
}

impl Leaf {
    pub(super) fn is_plain(self) -> bool {
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
pub(super) struct Range {
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) leaf: Leaf,
}

/// A place that is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(usize);

/// Where a comparison goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Next,
    To(Label),
}

#[derive(Clone, Copy, Debug)]
struct Line {
    code: u16,
    k: u32,
    then: Target,
    otherwise: Target,
}

/// Collects lines and labels; [`Assembler::finish`] turns labels into distances.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    lines: Vec<Line>,
    places: Vec<usize>,
}

impl Assembler {
    pub(super) fn label(&mut self) -> Label {
        self.places.push(usize::MAX);
        Label(self.places.len() - 1)
    }

    pub(super) fn place(&mut self, label: Label) {
        self.places[label.0] = self.lines.len();
    }

    fn line(&mut self, code: u16, k: u32, then: Target, otherwise: Target) {
        self.lines.push(Line { code, k, then, otherwise });
    }

    pub(super) fn load(&mut self, offset: u32) {
        self.line(LOAD, offset, Target::Next, Target::Next);
    }

    pub(super) fn and(&mut self, mask: u32) {
        self.line(AND, mask, Target::Next, Target::Next);
    }

    pub(super) fn jump(&mut self, to: Label) {
        self.line(JUMP, 0, Target::To(to), Target::Next);
    }

    pub(super) fn jump_if_equal(&mut self, k: u32, then: Target, otherwise: Target) {
        self.line(EQUAL, k, then, otherwise);
    }

    pub(super) fn compare(&mut self, code: u16, k: u32, then: Target, otherwise: Target) {
        self.line(code, k, then, otherwise);
    }

    /// Compares the register, masked by `mask`, with `k`.
    pub(super) fn compare_masked(&mut self, mask: u32, k: u32, then: Target, otherwise: Target) {
        self.and(mask);
        self.line(EQUAL, k, then, otherwise);
    }

    /// Ends with an answer.
    pub(super) fn answer(&mut self, answer: u32) {
        self.line(RETURN, answer, Target::Next, Target::Next);
    }

    pub(super) fn kill(&mut self) {
        self.answer(KILL_PROCESS);
    }

    /// A binary search for the number in the register, followed by the checks of arguments and the
    /// answers, which stand at the end so that all of the table can reach them.
    pub(super) fn table(&mut self, ranges: &[Range]) -> Result<(), Errno> {
        let allow = self.label();
        let denials = [(Denial::NotPermitted, self.label()), (Denial::Missing, self.label())];
        let deny = |denial| denials.iter().find(|d| d.0 == denial).map_or(allow, |d| d.1);
        let mut checks: Vec<(Label, Denial, Condition)> = Vec::new();
        let mut leaves = Vec::with_capacity(ranges.len());
        for range in ranges {
            leaves.push(match range.leaf {
                Leaf::Deny(denial) => deny(denial),
                Leaf::Check(denial, condition) => {
                    let label = self.label();
                    checks.push((label, denial, condition));
                    label
                }
            });
        }
        self.search(ranges, &leaves, allow);
        for (label, denial, condition) in checks {
            self.place(label);
            self.check(condition, deny(denial), allow);
        }
        self.place(allow);
        self.line(RETURN, ALLOW, Target::Next, Target::Next);
        for (denial, label) in denials {
            self.place(label);
            self.line(RETURN, answer(denial), Target::Next, Target::Next);
        }
        Ok(())
    }

    fn search(&mut self, ranges: &[Range], leaves: &[Label], allow: Label) {
        match (ranges, leaves) {
            ([], _) | (_, []) => self.jump(allow),
            ([range], [leaf]) => self.within(*range, *leaf, allow),
            _ => {
                let middle = ranges.len() / 2;
                let right = self.label();
                self.line(AT_LEAST, ranges[middle].first, Target::To(right), Target::Next);
                self.search(&ranges[..middle], &leaves[..middle], allow);
                self.place(right);
                self.search(&ranges[middle..], &leaves[middle..], allow);
            }
        }
    }

    fn within(&mut self, range: Range, leaf: Label, allow: Label) {
        let Range { first, last, .. } = range;
        if first == last {
            return self.line(EQUAL, first, Target::To(leaf), Target::To(allow));
        }
        if last == u32::MAX {
            return self.line(AT_LEAST, first, Target::To(leaf), Target::To(allow));
        }
        self.line(AT_LEAST, first, Target::Next, Target::To(allow));
        self.line(GREATER, last, Target::To(allow), Target::To(leaf));
    }

    /// Only the low half of an argument is looked at: the kernel reads these arguments as 32 bits.
    fn check(&mut self, condition: Condition, deny: Label, allow: Label) {
        let (argument, values, code, hit, miss) = match condition {
            Condition::Always => return self.jump(deny),
            Condition::AnyBit { argument, mask } => (argument, &[mask][..], ANY_BIT, deny, allow),
            Condition::OneOf { argument, values } => (argument, values, EQUAL, deny, allow),
            Condition::NoneOf { argument, values } => (argument, values, EQUAL, allow, deny),
        };
        self.load(ARGUMENTS + 8 * argument);
        for (index, value) in values.iter().enumerate() {
            let last = index + 1 == values.len();
            self.line(code, *value, Target::To(hit), if last { Target::To(miss) } else { Target::Next });
        }
    }

    /// The finished program.
    ///
    /// # Errors
    /// ERANGE if a comparison would have to jump further than 255 instructions, or backwards.
    pub(super) fn finish(self) -> Result<Vec<FilterInstruction>, Errno> {
        let distance = |from: usize, target: Target| match target {
            Target::Next => Ok(0),
            Target::To(label) => self.places[label.0]
                .checked_sub(from + 1)
                .and_then(|d| u32::try_from(d).ok())
                .ok_or(Errno::ERANGE),
        };
        let short = |from, target| u8::try_from(distance(from, target)?).map_err(|_| Errno::ERANGE);
        let assemble = |(at, line): (usize, &Line)| {
            if line.code == JUMP {
                return Ok(FilterInstruction { code: JUMP, jt: 0, jf: 0, k: distance(at, line.then)? });
            }
            let (jt, jf) = (short(at, line.then)?, short(at, line.otherwise)?);
            Ok(FilterInstruction { code: line.code, jt, jf, k: line.k })
        };
        self.lines.iter().enumerate().map(assemble).collect()
    }
}
