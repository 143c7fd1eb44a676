//! Which device nodes may be used, on version 2: a program in the kernel that is asked at every open.
//!
//! Version 2 has no devices controller. Instead a program is attached to the box's cgroup; the kernel runs
//! it at every open and every mknod of a device node, wherever the node lies, and hands it the node's kind
//! and numbers and what is wanted. It answers 1, go on, or 0, EPERM. Without it root in the box could use
//! every node that comes from a volume, and with CAP_MKNOD make the host's disks for himself.
//!
//! It is loaded before the fork, which takes memory and can fail, and attached by the new process after its
//! own nodes are made: from then on it can make none. It goes with the cgroup. Only root can load one.
//! Nothing is missing without: in a user namespace no node can be made, and those that are bound there are
//! opened with the rights that their user has on the host anyway.
//!
//! Man page: bpf(2); `Documentation/admin-guide/cgroup-v2.rst` in the kernel, "Device controller". Look at
//! it: `bpftool cgroup show /sys/fs/cgroup/tare/box; bpftool prog dump xlated id ID`

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use super::Refusal;
use crate::confinement::{DEVICE_RULES, DeviceRule};
use crate::sys::bpf::{self, BpfInstruction};

/// The kernel gives some of its helpers only to programs under the GPL. We use no helper.
const LICENSE: &std::ffi::CStr = c"Apache-2.0";

// The registers. The kernel passes the question in 1 and takes the answer from 0.
const ANSWER: u8 = 0;
const QUESTION: u8 = 1;
const KIND: u8 = 2;
/// The bits of what is wanted that no rule has allowed yet.
const WANTED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

// The operations: 64 bits wide, the second operand a constant where not said otherwise.
const LOAD_WORD: u8 = 0x61;
const COPY_REGISTER: u8 = 0xbf;
const SET: u8 = 0xb7;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP: u8 = 0x05;
const JUMP_IF_EQUAL: u8 = 0x15;
const JUMP_IF_NOT_EQUAL: u8 = 0x55;
const JUMP_IF_ANY_BIT: u8 = 0x45;
const EXIT: u8 = 0x95;

/// The kernel's numbers for the kinds of nodes.
const BLOCK: i32 = 1;
const CHARACTER: i32 = 2;

/// A jump in a program of this length leads over all of it.
const LONGEST: usize = i16::MAX as usize;

const ALL: u32 = DeviceRule::MAKE | DeviceRule::READ | DeviceRule::WRITE;

fn plain(code: u8, register: u8, immediate: i32) -> BpfInstruction {
    BpfInstruction { code, registers: register, offset: 0, immediate }
}

fn jump(code: u8, register: u8, immediate: i32, offset: usize) -> BpfInstruction {
    // Whoever loads it looks that no program is too long for its jumps: see `LONGEST`.
    BpfInstruction { code, registers: register, offset: offset as i16, immediate }
}

fn load(register: u8, offset: i16) -> BpfInstruction {
    BpfInstruction { code: LOAD_WORD, registers: register | QUESTION << 4, offset, immediate: 0 }
}

fn end(allow: bool) -> [BpfInstruction; 2] {
    [plain(SET, ANSWER, i32::from(allow)), plain(EXIT, 0, 0)]
}

/// The program for `rules`.
///
/// Later rules win, so it asks the last one first. A rule that allows takes its bits off what is wanted, and
/// when nothing is left the answer is yes; a rule that denies says no if one of its bits is still wanted.
/// What no rule speaks of is allowed, as in version 1; our rules begin with one that denies everything.
///
/// The kernel's checker walks through every path of a program, so rules that stand together and differ in
/// numbers only share what they have in common. Loading the default profile's 25 instructions takes 0.06 ms
/// on Linux 6.18; without that it was 70 and 0.26 ms. Attaching takes 3 us.
pub(super) fn assemble(rules: &[DeviceRule]) -> Vec<BpfInstruction> {
    // struct bpf_cgroup_dev_ctx: what is wanted in the high half of the first word and the kind in its low
    // half, major, minor.
    let mut program = vec![
        load(KIND, 0),
        BpfInstruction { code: COPY_REGISTER, registers: WANTED | KIND << 4, offset: 0, immediate: 0 },
        plain(AND, KIND, 0xffff),
        plain(SHIFT_RIGHT, WANTED, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    let alike = |a: &DeviceRule, b: &DeviceRule| (a.allow, a.kind, a.access) == (b.allow, b.kind, b.access);
    for run in rules.chunk_by(alike).rev() {
        let Some(rule) = run.first() else { continue };
        let mut part = numbers(run);
        let action = action(rule);
        // Past the jumps to the action, which end here.
        if !part.is_empty() {
            part.push(jump(JUMP, 0, 0, action.len()));
        }
        part.extend(action);
        let kind = match rule.kind {
            'b' => Some(BLOCK),
            'c' => Some(CHARACTER),
            _ => None,
        };
        // The kernel's checker refuses a program with instructions that nothing leads to.
        let is_last = kind.is_none() && part.len() == 2;
        program.extend(kind.map(|kind| jump(JUMP_IF_NOT_EQUAL, KIND, kind, part.len())));
        program.extend(part);
        if is_last {
            return program;
        }
    }
    program.extend(end(true));
    program
}

/// Jumps past the instruction behind the last of them if one of the rules speaks of the node's numbers.
/// Empty where one speaks of all.
fn numbers(run: &[DeviceRule]) -> Vec<BpfInstruction> {
    /// A jump whose distance is not known yet; all others lead forward.
    const TO_THE_ACTION: i16 = -1;
    let equal = |register: u8, number: u32| BpfInstruction {
        code: JUMP_IF_EQUAL,
        registers: register,
        offset: TO_THE_ACTION,
        // Device numbers have 12 and 20 bits: one beyond 31, whose sign would be carried on, names no node.
        immediate: number as i32,
    };
    if run.iter().any(|rule| rule.major.is_none() && rule.minor.is_none()) {
        return Vec::new();
    }
    let mut jumps = Vec::new();
    for same in run.chunk_by(|a, b| a.major == b.major) {
        let minors = same.iter().filter_map(|rule| Some(equal(MINOR, rule.minor?)));
        match same.first().and_then(|rule| rule.major) {
            Some(major) if same.iter().any(|rule| rule.minor.is_none()) => jumps.push(equal(MAJOR, major)),
            Some(major) => {
                jumps.push(jump(JUMP_IF_NOT_EQUAL, MAJOR, major as i32, same.len()));
                jumps.extend(minors);
            }
            None => jumps.extend(minors),
        }
    }
    let count = jumps.len();
    for (index, jump) in jumps.iter_mut().enumerate().filter(|(_, jump)| jump.offset == TO_THE_ACTION) {
        jump.offset = (count - index) as i16;
    }
    jumps
}

/// What to do then.
fn action(rule: &DeviceRule) -> Vec<BpfInstruction> {
    let bits = rule.access & ALL;
    let mut action = match (rule.allow, bits == ALL) {
        (_, true) => Vec::new(),
        (true, false) => vec![plain(AND, WANTED, !bits as i32), jump(JUMP_IF_NOT_EQUAL, WANTED, 0, 2)],
        (false, false) => vec![jump(JUMP_IF_ANY_BIT, WANTED, bits as i32, 1), jump(JUMP, 0, 0, 2)],
    };
    action.extend(end(rule.allow));
    action
}

/// Loads the program for `rules`; `directory` is the cgroup it is for, in words.
pub(super) fn load_rules(directory: &Path, rules: &[DeviceRule]) -> Result<OwnedFd, Refusal> {
    let why = |errno| match errno {
        Errno::EPERM | Errno::EACCES => {
            "the kernel refused our program that decides about devices (BPF_PROG_LOAD)"
        }
        Errno::E2BIG => "too many rules for a program that decides about devices",
        Errno::ENOSYS => "this kernel has no bpf(2), which decides about devices in version 2",
        Errno::EINVAL => "this kernel takes no programs that decide about devices (CONFIG_CGROUP_BPF)",
        _ => "the program that decides about devices could not be loaded (BPF_PROG_LOAD)",
    };
    let program = assemble(rules);
    let loaded = match program.len() <= LONGEST {
        true => bpf::load_device_program(&program, LICENSE),
        false => Err(Errno::E2BIG),
    };
    loaded.map_err(|errno| Refusal { path: directory.into(), error: errno.into(), why: why(errno) })
}

/// Loads the program for the profile's rules.
pub(super) fn load_default() -> Result<OwnedFd, Errno> {
    bpf::load_device_program(&assemble(DEVICE_RULES), LICENSE)
}

/// Attaches the program now.
pub(super) fn attach(directory: &Path, program: &OwnedFd, cgroup: &OwnedFd) -> Result<(), Refusal> {
    bpf::attach_device_program(program.as_fd(), cgroup.as_fd()).map_err(|errno| Refusal {
        path: directory.into(),
        error: errno.into(),
        why: "the program that decides about devices could not be attached (BPF_PROG_ATTACH)",
    })
}

/// Whether the program can be attached: attaches it and takes it off again.
pub(super) fn try_out(directory: &Path, program: &OwnedFd, cgroup: &OwnedFd) -> Result<(), Refusal> {
    attach(directory, program, cgroup)?;
    bpf::detach_device_program(program.as_fd(), cgroup.as_fd()).map_err(|errno| Refusal {
        path: directory.into(),
        error: errno.into(),
        why: "the program that decides about devices could not be taken off again (BPF_PROG_DETACH)",
    })
}

#[cfg(test)]
mod tests;
