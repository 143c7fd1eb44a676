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
use crate::confinement::DeviceRule;
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
const JUMP_IF_NOT_EQUAL: u8 = 0x55;
const JUMP_IF_ANY_BIT: u8 = 0x45;
const EXIT: u8 = 0x95;

/// The kernel's numbers for the kinds of nodes.
const BLOCK: i32 = 1;
const CHARACTER: i32 = 2;

const ALL: u32 = DeviceRule::MAKE | DeviceRule::READ | DeviceRule::WRITE;

fn plain(code: u8, register: u8, immediate: i32) -> BpfInstruction {
    BpfInstruction { code, registers: register, offset: 0, immediate }
}

fn jump(code: u8, register: u8, immediate: i32, offset: usize) -> BpfInstruction {
    // Nothing here jumps farther than over one rule.
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
    for rule in rules.iter().rev() {
        let action = action(rule);
        let conditions = conditions(rule);
        // The kernel's checker refuses a program with instructions that nothing leads to.
        let is_last = conditions.is_empty() && rule.access & ALL == ALL;
        for (index, (register, value)) in conditions.iter().enumerate() {
            let skip = conditions.len() - index - 1 + action.len();
            program.push(jump(JUMP_IF_NOT_EQUAL, *register, *value, skip));
        }
        program.extend(action);
        if is_last {
            return program;
        }
    }
    program.extend(end(true));
    program
}

/// What must hold for the rule to speak of the node.
fn conditions(rule: &DeviceRule) -> Vec<(u8, i32)> {
    let kind = match rule.kind {
        'b' => Some(BLOCK),
        'c' => Some(CHARACTER),
        _ => None,
    };
    // Device numbers have 12 and 20 bits: one beyond 31, whose sign would be carried on, names no node.
    let number = |number: Option<u32>| number.map(|number| number as i32);
    let all = [(KIND, kind), (MAJOR, number(rule.major)), (MINOR, number(rule.minor))];
    all.into_iter().filter_map(|(register, value)| Some((register, value?))).collect()
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
        Errno::ENOSYS => "this kernel has no bpf(2), which decides about devices in version 2",
        Errno::EINVAL => "this kernel takes no programs that decide about devices (CONFIG_CGROUP_BPF)",
        _ => "the program that decides about devices could not be loaded (BPF_PROG_LOAD)",
    };
    bpf::load_device_program(&assemble(rules), LICENSE).map_err(|errno| Refusal {
        path: directory.into(),
        error: errno.into(),
        why: why(errno),
    })
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
