//! What a row of the table of system calls is, and how it is tried.

use libc::{ENOSYS, EPERM};
use nix::errno::Errno;

use crate::report::Report;
use crate::sys::{self, Door};

/// What a call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Anything but an error.
    Works,
    /// This error.
    Fails(i32),
}

use Answer::{Fails, Works};

impl Answer {
    pub(crate) fn name(self) -> String {
        match self {
            Works => "works".into(),
            Fails(number) => format!("{:?}", Errno::from_raw(number)),
        }
    }
}

/// What an argument points to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pointer {
    Path(&'static std::ffi::CStr),
    /// A page that the kernel may write to, beginning with these words.
    Page(&'static [u32]),
}

/// One row: a call with arguments that harm nobody even if it is let through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) name: &'static str,
    /// Numbers for x86_64 and for i386. x32 has the former's, or else `only_x32`.
    pub(crate) native: Option<u32>,
    pub(crate) compat: Option<u32>,
    only_x32: Option<u32>,
    numbers: &'static [i64],
    pointer: Option<(usize, Pointer)>,
    /// The filter's business, so by every door; otherwise the native one is enough.
    pub(crate) filtered: bool,
    /// In the box.
    pub(crate) expected: Answer,
    /// In the box of a caller without root, where that is another answer.
    rootless: Option<Answer>,
    /// Without our filter and with the three capabilities of `runc spec`: one of these. A row where this
    /// is not `expected` shows what the filter or the profile does; another one that the kernel agrees.
    pub(crate) bare: &'static [Answer],
}

const fn row(name: &'static str, numbers: &'static [i64], expected: Answer, bare: &'static [Answer]) -> Call {
    let (native, compat, only_x32, pointer, rootless) = (None, None, None, None, None);
    Call { name, native, compat, only_x32, numbers, pointer, filtered: true, expected, rootless, bare }
}

/// Refused by the filter, by all doors: EPERM.
pub(crate) const fn refused(
    name: &'static str,
    (native, compat): (u32, u32),
    numbers: &'static [i64],
    bare: &'static [Answer],
) -> Call {
    Call { native: Some(native), compat: Some(compat), ..row(name, numbers, Fails(EPERM), bare) }
}

/// The same for a call that only the 32-bit table has.
pub(crate) const fn refused_32(
    name: &'static str,
    compat: u32,
    numbers: &'static [i64],
    bare: &'static [Answer],
) -> Call {
    Call { compat: Some(compat), ..row(name, numbers, Fails(EPERM), bare) }
}

/// Tried by the native door: gets the kernel's own answer, in our box and in a bare one.
pub(crate) const fn open(
    name: &'static str,
    native: u32,
    numbers: &'static [i64],
    answer: &'static [Answer],
) -> Call {
    Call { native: Some(native), filtered: false, ..row(name, numbers, answer[0], answer) }
}

impl Call {
    /// ENOSYS instead of EPERM.
    pub(crate) const fn missing(self) -> Self {
        Self { expected: Fails(ENOSYS), ..self }
    }

    /// Not in the 32-bit table.
    pub(crate) const fn only_64(self) -> Self {
        Self { compat: None, ..self }
    }

    /// A number of x32's own.
    pub(crate) const fn only_x32(self, number: u32) -> Self {
        Self { native: None, compat: None, only_x32: Some(number), ..self }
    }

    /// Tried by `int 0x80` too, where nobody is refused either.
    pub(crate) const fn and_compat(self, number: u32) -> Self {
        Self { compat: Some(number), ..self }
    }

    pub(crate) const fn bare(self, bare: &'static [Answer]) -> Self {
        Self { bare, ..self }
    }

    pub(crate) const fn rootless(self, answer: Answer) -> Self {
        Self { rootless: Some(answer), ..self }
    }

    pub(crate) const fn with(self, argument: usize, pointer: Pointer) -> Self {
        Self { pointer: Some((argument, pointer)), ..self }
    }

    /// The doors by which it is tried, and its number there. What the filter lets through is not tried by
    /// x32: the answer depends on the kernel.
    pub(crate) fn doors(&self) -> Vec<(Door, u32)> {
        let x32 = self.only_x32.or(self.native.filter(|_| self.filtered));
        let doors = [(Door::Native, self.native), (Door::X32, x32), (Door::Int80, self.compat)];
        doors.into_iter().filter_map(|(door, number)| Some((door, number?))).collect()
    }

    /// The name of one line of the report.
    pub(crate) fn line(&self, door: Door) -> String {
        format!("{}:{}", door.name(), self.name)
    }

    fn arguments(&self, page: &mut [u32; 1024]) -> [i64; 6] {
        let mut all = [0; 6];
        all[..self.numbers.len()].copy_from_slice(self.numbers);
        match self.pointer {
            Some((at, Pointer::Path(path))) => all[at] = path.as_ptr() as i64,
            Some((at, Pointer::Page(words))) => {
                page[..words.len()].copy_from_slice(words);
                all[at] = page.as_mut_ptr() as i64;
            }
            None => {}
        }
        all
    }

    fn check(&self, door: Door, number: u32, rootless: bool, report: &mut Report) {
        let mut page = [0; 1024];
        let got = match sys::call(door, number.into(), self.arguments(&mut page)) {
            Ok(0..) => Works.name(),
            Ok(error) => Fails(-error as i32).name(),
            Err(words) => words,
        };
        let expected = self.rootless.filter(|_| rootless).unwrap_or(self.expected);
        report.compare(&self.line(door), &expected.name(), &got);
    }
}

/// Whether `int 0x80` leads anywhere: a kernel without 32-bit calls answers by SIGSEGV, and then that door
/// is shut for everybody.
pub(crate) fn has_int80() -> bool {
    const GETPPID: i64 = 64;
    sys::call(Door::Int80, GETPPID, [0; 6]) != Err("SIGSEGV".into())
}

/// Tries all rows by all their doors.
pub(crate) fn check(table: &[Call], rootless: bool, report: &mut Report) {
    let has_int80 = has_int80();
    for call in table {
        for (door, number) in call.doors() {
            if door == Door::Int80 && !has_int80 {
                report.absent(&call.line(door), "this kernel has no 32-bit calls");
            } else {
                call.check(door, number, rootless, report);
            }
        }
    }
}
