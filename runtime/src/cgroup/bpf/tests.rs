//! The program is run here by a small interpreter of the instructions it may have, and its answers are
//! compared with what the rules say; then the real kernel's checker looks at it.

use super::*;
use crate::confinement::DEVICE_RULES;

const READ_WRITE: u32 = DeviceRule::READ | DeviceRule::WRITE;

fn rule(allow: bool, kind: char, major: Option<u32>, minor: Option<u32>, access: u32) -> DeviceRule {
    DeviceRule { allow, kind, major, minor, access }
}

/// What is asked: kind, numbers, access.
type Question = (char, u32, u32, u32);

/// Runs the program as the kernel would. An instruction that it does not know, a jump out of the program or
/// a backward one is a panic.
fn answer(program: &[BpfInstruction], (kind, major, minor, access): Question) -> bool {
    // BPF_DEVCG_DEV_BLOCK and BPF_DEVCG_DEV_CHAR of linux/bpf.h.
    let kind = if kind == 'b' { 1 } else { 2 };
    let words = [access << 16 | kind, major, minor].map(u64::from);
    let mut registers = [0_u64; 6];
    let mut at = 0;
    loop {
        let BpfInstruction { code, registers: both, offset, immediate } = program[at];
        let (to, from) = (usize::from(both & 15), usize::from(both >> 4));
        let constant = i64::from(immediate) as u64;
        at += 1;
        let taken = match code {
            LOAD_WORD => {
                assert_eq!((from, offset % 4), (usize::from(QUESTION), 0));
                registers[to] = words[usize::try_from(offset).expect("forward") / 4];
                false
            }
            COPY_REGISTER => {
                registers[to] = registers[from];
                false
            }
            SET => {
                registers[to] = constant;
                false
            }
            AND => {
                registers[to] &= constant;
                false
            }
            SHIFT_RIGHT => {
                registers[to] >>= constant;
                false
            }
            JUMP => true,
            JUMP_IF_EQUAL => registers[to] == constant,
            JUMP_IF_NOT_EQUAL => registers[to] != constant,
            JUMP_IF_ANY_BIT => registers[to] & constant != 0,
            EXIT => return registers[0] == 1,
            other => panic!("operation {other:#x}"),
        };
        if taken {
            at += usize::try_from(offset).expect("forward");
        }
    }
}

/// The same without a program: for each bit the last rule that speaks of it.
fn by_the_rules(rules: &[DeviceRule], (kind, major, minor, access): Question) -> bool {
    let speaks = |rule: &&DeviceRule| {
        (rule.kind == 'a' || rule.kind == kind)
            && rule.major.is_none_or(|n| n == major)
            && rule.minor.is_none_or(|n| n == minor)
    };
    [DeviceRule::MAKE, DeviceRule::READ, DeviceRule::WRITE].iter().filter(|bit| access & *bit != 0).all(
        |bit| {
            rules
                .iter()
                .rev()
                .filter(speaks)
                .find(|rule| rule.access & bit != 0)
                .is_none_or(|rule| rule.allow)
        },
    )
}

#[test]
fn the_profile_allows_the_nine_and_nothing_else() {
    let program = assemble(DEVICE_RULES);
    for (major, minor) in
        [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, 0), (136, 77)]
    {
        for access in [DeviceRule::READ, DeviceRule::WRITE, READ_WRITE] {
            assert!(answer(&program, ('c', major, minor, access)), "{major}:{minor} {access}");
        }
        assert!(!answer(&program, ('c', major, minor, DeviceRule::MAKE)), "mknod {major}:{minor}");
        assert!(!answer(&program, ('b', major, minor, DeviceRule::READ)), "block {major}:{minor}");
    }
    for (kind, major, minor) in
        [('c', 1, 1), ('c', 1, 11), ('c', 10, 200), ('b', 7, 0), ('b', 8, 0), ('c', 0, 0)]
    {
        for access in 0..=ALL {
            assert!(!answer(&program, (kind, major, minor, access)), "{kind} {major}:{minor} {access}");
        }
    }
}

#[test]
fn the_program_is_the_one_that_stands_here() {
    let allowed = |major, minor| rule(true, 'c', Some(major), minor, READ_WRITE);
    let program = assemble(&[
        rule(false, 'a', None, None, ALL),
        allowed(1, Some(3)),
        allowed(1, Some(5)),
        allowed(136, None),
    ]);
    let line = |code, registers, offset, immediate| BpfInstruction { code, registers, offset, immediate };
    let expected = [
        line(0x61, 0x12, 0, 0),      // r2 = *(u32 *)(r1 + 0)
        line(0xbf, 0x23, 0, 0),      // r3 = r2
        line(0x57, 0x02, 0, 0xffff), // r2 &= 0xffff
        line(0x77, 0x03, 0, 16),     // r3 >>= 16
        line(0x61, 0x14, 4, 0),      // r4 = *(u32 *)(r1 + 4)
        line(0x61, 0x15, 8, 0),      // r5 = *(u32 *)(r1 + 8)
        line(0x55, 0x02, 9, 2),      // if r2 != 2 goto denied
        line(0x55, 0x04, 2, 1),      // if r4 != 1 goto the terminals
        line(0x15, 0x05, 3, 3),      // if r5 == 3 goto allowed
        line(0x15, 0x05, 2, 5),      // if r5 == 5 goto allowed
        line(0x15, 0x04, 1, 136),    // the terminals: if r4 == 136 goto allowed
        line(0x05, 0x00, 4, 0),      // goto denied
        line(0x57, 0x03, 0, !6),     // allowed: r3 &= ~6
        line(0x55, 0x03, 2, 0),      // if r3 != 0 goto denied
        line(0xb7, 0x00, 0, 1),      // r0 = 1
        line(0x95, 0x00, 0, 0),      // exit
        line(0xb7, 0x00, 0, 0),      // denied: r0 = 0
        line(0x95, 0x00, 0, 0),      // exit
    ];
    assert_eq!(program, expected);
}

/// Rules of every form, so that each pair and triple of them meets.
fn forms() -> Vec<DeviceRule> {
    let mut all = Vec::new();
    for allow in [false, true] {
        for (kind, major, minor) in [
            ('a', None, None),
            ('b', None, None),
            ('c', Some(1), None),
            ('c', Some(1), Some(3)),
            ('c', None, Some(3)),
        ] {
            for access in [DeviceRule::READ, READ_WRITE, DeviceRule::MAKE, ALL] {
                all.push(rule(allow, kind, major, minor, access));
            }
        }
    }
    all
}

#[test]
fn later_rules_win_bit_by_bit() {
    let forms = forms();
    let questions: Vec<Question> = [('c', 1, 3), ('c', 1, 5), ('c', 2, 3), ('b', 1, 3)]
        .into_iter()
        .flat_map(|(kind, major, minor)| (1..=ALL).map(move |access| (kind, major, minor, access)))
        .collect();
    let mut answers = [0, 0];
    for first in &forms {
        for second in &forms {
            for third in &forms {
                let rules = [*first, *second, *third];
                let program = assemble(&rules);
                for question in &questions {
                    let expected = by_the_rules(&rules, *question);
                    answers[usize::from(expected)] += 1;
                    assert_eq!(answer(&program, *question), expected, "{rules:?} {question:?}");
                }
            }
        }
    }
    assert!(answers.iter().all(|count| *count > 100_000), "{answers:?}");
}

#[test]
fn the_kernels_checker_takes_every_form() {
    let mut programs = vec![DEVICE_RULES.to_vec(), Vec::new(), vec![rule(true, 'a', None, None, 0)]];
    let forms = forms();
    programs.extend(forms.iter().map(|last| vec![DEVICE_RULES[0], *last]));
    programs.extend(forms.iter().flat_map(|a| forms.iter().map(|b| vec![DEVICE_RULES[0], *a, *b])));
    programs.extend(forms.iter().map(|first| vec![*first, DEVICE_RULES[0]]));
    for rules in programs {
        match bpf::load_device_program(&assemble(&rules), LICENSE) {
            Ok(_) => {}
            Err(Errno::EPERM | Errno::ENOSYS) => {
                assert!(!std::env::var("TARE_REQUIRE").unwrap_or_default().split(',').any(|w| w == "bpf"));
                eprintln!("skipped: this kernel lets us load no program");
                return;
            }
            Err(errno) => panic!("{errno}: {rules:?}"),
        }
    }
}

#[test]
fn too_many_rules_for_the_jumps_are_refused_before_the_kernel_is_asked() {
    let many = |count: u32| {
        (0..count).map(|n| rule(true, 'c', Some(n % 4096), Some(n), READ_WRITE)).collect::<Vec<_>>()
    };
    let refusal = load_rules(Path::new("/box"), &many(40_000)).expect_err("refused").to_string();
    assert!(refusal.starts_with("/box: ") && refusal.contains("E2BIG"), "{refusal}");
    // The largest that are not refused are jumped over as they should.
    let mut rules = vec![DEVICE_RULES[0]];
    rules.extend(many(16_000));
    let program = assemble(&rules);
    assert!(program.len() < LONGEST);
    for (major, minor, expected) in [(0, 0, true), (2, 2, true), (15_999 % 4096, 15_999, true), (1, 2, false)]
    {
        assert_eq!(answer(&program, ('c', major, minor, READ_WRITE)), expected, "{major}:{minor}");
    }
}
