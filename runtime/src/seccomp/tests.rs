//! The filter is run here by a small interpreter against every number of both tables, and compared
//! with the rules read straightforwardly. What the kernel makes of it is tested in `tests/`.

use super::assemble::{
    AND, ARGUMENTS as ARGUMENTS_AT, AT_LEAST, EQUAL, GREATER, JUMP, KILL_PROCESS, LOAD, RETURN,
};
use super::rules::{Condition, Denial, LAST_REVIEWED, RULES, Rule, X32_ONLY};
use super::table::{ALLOW, ANY_BIT, answer, assemble_rules};
use super::{ARCHITECTURE, I386, NUMBER, PROGRAM, X32_BIT, X86_64};
use crate::sys::FilterInstruction;

/// Runs the filter; returns its answer and the number of instructions executed.
fn run(program: &[FilterInstruction], arch: u32, nr: u32, argument: u32) -> (u32, usize) {
    let (mut register, mut at, mut steps) = (0_u32, 0_usize, 0_usize);
    loop {
        let FilterInstruction { code, jt, jf, k } = program[at];
        steps += 1;
        at += 1;
        let hit = match code {
            LOAD => {
                register = match k {
                    NUMBER => nr,
                    ARCHITECTURE => arch,
                    _ => argument,
                };
                continue;
            }
            AND => {
                register &= k;
                continue;
            }
            JUMP => {
                at += k as usize;
                continue;
            }
            RETURN => return (k, steps),
            EQUAL => register == k,
            GREATER => register > k,
            AT_LEAST => register >= k,
            ANY_BIT => register & k != 0,
            other => panic!("unknown instruction {other:#x}"),
        };
        at += usize::from(if hit { jt } else { jf });
    }
}

fn expected(number: impl Fn(&Rule) -> Option<u32>, nr: u32, argument: u32) -> u32 {
    let Some(rule) = RULES.iter().find(|rule| number(rule) == Some(nr)) else {
        return if nr > LAST_REVIEWED { answer(Denial::Missing) } else { ALLOW };
    };
    let hit = match rule.when {
        Condition::Always => true,
        Condition::AnyBit { mask, .. } => argument & mask != 0,
        Condition::OneOf { values, .. } => values.contains(&argument),
        Condition::NoneOf { values, .. } => !values.contains(&argument),
    };
    if hit { answer(rule.denial) } else { ALLOW }
}

/// One instruction in words, as an assembler would list it.
fn words(at: usize, instruction: &FilterInstruction) -> String {
    let FilterInstruction { code, jt, jf, k } = *instruction;
    let to = |distance: u8| at + 1 + usize::from(distance);
    let branch = |sign: &str, k: String| format!("if {sign} {k} {} else {}", to(jt), to(jf));
    match code {
        LOAD => match k {
            NUMBER => "load number".into(),
            ARCHITECTURE => "load architecture".into(),
            _ => format!("load argument {}", (k - ARGUMENTS_AT) / 8),
        },
        AND => format!("and {k:#x}"),
        JUMP => format!("jump {}", at + 1 + k as usize),
        RETURN if k == ALLOW => "allow".into(),
        RETURN if k == KILL_PROCESS => "kill".into(),
        RETURN => format!("errno {}", nix::errno::Errno::from_raw((k & 0xffff) as i32)),
        EQUAL if k > 0xffff => branch("=", format!("{k:#x}")),
        EQUAL => branch("=", k.to_string()),
        GREATER => branch(">", k.to_string()),
        AT_LEAST => branch(">=", k.to_string()),
        ANY_BIT => branch("&", format!("{k:#x}")),
        other => panic!("unknown instruction {other:#x}"),
    }
}

/// `TARE_WRITE_FILTER=1 cargo test -p tare-runtime --lib seccomp` writes it anew.
#[test]
fn the_filter_is_what_the_rules_assemble_to() {
    let program = assemble_rules().expect("program");
    if std::env::var_os("TARE_WRITE_FILTER").is_some() {
        let lines = program.iter().enumerate().map(|(at, instruction)| {
            let FilterInstruction { code, jt, jf, k } = *instruction;
            format!("    i({code:#04x}, {jt}, {jf}, {k:#x}), // {at}: {}\n", words(at, instruction))
        });
        let (head, length) = (include_str!("filter.rs"), program.len());
        let head = head.split("pub(super) const").next().expect("a head");
        let text: String = lines.collect();
        let text = format!("{head}pub(super) const FILTER: [FilterInstruction; {length}] = [\n{text}];\n");
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/seccomp/filter.rs"), text).expect("write");
        return;
    }
    assert_eq!(PROGRAM, program, "filter.rs is not what rules.rs says: see above this test");
}

const ARGUMENTS: [u32; 8] = [0, 1, 2, 8, 38, 40, 0x1000_0000, 0x1234];

#[test]
fn every_number_of_both_tables_gets_the_answer_of_the_rules() {
    for argument in ARGUMENTS {
        for nr in 0..700 {
            assert_eq!(run(PROGRAM, I386, nr, argument).0, expected(|r| r.compat, nr, argument), "i386 {nr}");
            if !(512..548).contains(&nr) {
                let want = expected(|r| r.native, nr, argument);
                assert_eq!(run(PROGRAM, X86_64, nr, argument).0, want, "x86_64 {nr}");
                assert_eq!(run(PROGRAM, X86_64, nr | X32_BIT, argument).0, want, "x32 {nr}");
            }
        }
    }
}

#[test]
fn x32s_own_numbers_follow_the_same_rules() {
    for nr in 512..548 {
        let denied = X32_ONLY.iter().any(|(_, n)| *n == nr);
        let want = if denied { answer(Denial::NotPermitted) } else { ALLOW };
        assert_eq!(run(PROGRAM, X86_64, nr | X32_BIT, 0).0, want, "{nr}");
    }
}

#[test]
fn an_unknown_architecture_is_fatal_and_absurd_numbers_do_not_exist() {
    assert_eq!(run(PROGRAM, 0xdead, 0, 0).0, KILL_PROCESS);
    assert_eq!(run(PROGRAM, X86_64, u32::MAX, 0).0, answer(Denial::Missing));
    assert_eq!(run(PROGRAM, I386, u32::MAX, 0).0, answer(Denial::Missing));
}

#[test]
fn no_call_costs_more_than_a_binary_search() {
    let longest = (0..700).map(|nr| run(PROGRAM, X86_64, nr, 7).1).max();
    assert!(longest <= Some(18), "{longest:?} instructions");
    assert!(PROGRAM.len() < 300, "{} instructions", PROGRAM.len());
}

#[test]
fn numbers_are_those_of_the_c_library() {
    let known = [
        ("mount", libc::SYS_mount),
        ("umount2", libc::SYS_umount2),
        ("pivot_root", libc::SYS_pivot_root),
        ("unshare", libc::SYS_unshare),
        ("setns", libc::SYS_setns),
        ("bpf", libc::SYS_bpf),
        ("perf_event_open", libc::SYS_perf_event_open),
        ("init_module", libc::SYS_init_module),
        ("finit_module", libc::SYS_finit_module),
        ("delete_module", libc::SYS_delete_module),
        ("kexec_load", libc::SYS_kexec_load),
        ("kexec_file_load", libc::SYS_kexec_file_load),
        ("reboot", libc::SYS_reboot),
        ("swapon", libc::SYS_swapon),
        ("swapoff", libc::SYS_swapoff),
        ("open_by_handle_at", libc::SYS_open_by_handle_at),
        ("keyctl", libc::SYS_keyctl),
        ("add_key", libc::SYS_add_key),
        ("request_key", libc::SYS_request_key),
        ("userfaultfd", libc::SYS_userfaultfd),
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("open_tree", libc::SYS_open_tree),
        ("move_mount", libc::SYS_move_mount),
        ("fsopen", libc::SYS_fsopen),
        ("fsmount", libc::SYS_fsmount),
        ("fspick", libc::SYS_fspick),
        ("mount_setattr", libc::SYS_mount_setattr),
        ("settimeofday", libc::SYS_settimeofday),
        ("clock_settime", libc::SYS_clock_settime),
        ("iopl", libc::SYS_iopl),
        ("ioperm", libc::SYS_ioperm),
        ("quotactl", libc::SYS_quotactl),
        ("quotactl_fd", libc::SYS_quotactl_fd),
        ("acct", libc::SYS_acct),
        ("clone", libc::SYS_clone),
        ("clone3", libc::SYS_clone3),
        ("socket", libc::SYS_socket),
        ("personality", libc::SYS_personality),
        ("syslog", libc::SYS_syslog),
        ("kcmp", libc::SYS_kcmp),
        ("pidfd_getfd", libc::SYS_pidfd_getfd),
        ("move_pages", libc::SYS_move_pages),
        ("mbind", libc::SYS_mbind),
        ("fanotify_init", libc::SYS_fanotify_init),
        ("vhangup", libc::SYS_vhangup),
        ("uselib", libc::SYS_uselib),
        ("lookup_dcookie", libc::SYS_lookup_dcookie),
    ];
    for (name, number) in known {
        let rule =
            RULES.iter().find(|rule| rule.name == name).unwrap_or_else(|| panic!("{name} has no rule"));
        assert_eq!(rule.native.map(i64::from), Some(number), "{name}");
    }
}
