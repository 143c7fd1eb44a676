//! A small assembler for the kernel's classic packet filter, with labels.
//!
//! The filter has one register, comparisons with a constant, forward jumps of at most 255 instructions, and
//! no loops, so that the kernel can see that it ends. Without labels every distance would have to be counted
//! by hand.
//!
//! Man page: bpf(4). `Documentation/networking/filter.rst` in the kernel. Look at it:
//! `strace -f -v -e trace=seccomp tare-runtime run --rootfs DIR box -- /bin/true`

use nix::errno::Errno;

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
/// End with the answer k.
pub(super) const RETURN: u16 = 0x06;

pub(super) const KILL_PROCESS: u32 = 0x8000_0000;

/// Where the arguments begin in the record; each has eight bytes, the low half first.
pub(super) const ARGUMENTS: u32 = 16;

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
