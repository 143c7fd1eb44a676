//! The system call filter as the kernel applies it: this test program runs itself inside the box and
//! tries the calls, by the native door, by x32 and by `int 0x80`.

#[path = "../common/mod.rs"]
mod common;
mod sys;

use std::collections::BTreeMap;

use common::{Lab, skip, stdout};
use tare_runtime::confinement::{Condition, Denial, RULES, Rule};

const X32_BIT: i64 = 0x4000_0000;

/// An argument for which the rule holds, and one for which it does not if there is one.
fn arguments(rule: &Rule) -> (i64, Option<i64>) {
    match rule.when {
        Condition::Always => (-1, None),
        // CLONE_NEWUSER together with flags that exclude each other: never a new process.
        Condition::AnyBit { .. } => (0x1000_0000 | 0x0001_0000, Some(0x0001_0000)),
        Condition::OneOf { values, .. } => (i64::from(values[0]), Some(0x7fff)),
        Condition::NoneOf { .. } => (0x1234, Some(0xffff_ffff)),
    }
}

#[test]
#[ignore = "runs inside the box, started by the other test"]
fn inside() {
    for rule in RULES {
        let (hit, miss) = arguments(rule);
        if let Some(number) = rule.native.map(i64::from) {
            println!("native {} {}", rule.name, sys::native(number, hit));
            println!("x32 {} {}", rule.name, sys::native(number | X32_BIT, hit));
            if let Some(miss) = miss {
                println!("native-miss {} {}", rule.name, sys::native(number, miss));
            }
        }
    }
    println!("native unknown {}", sys::native(490, -1));
    println!("native getppid {}", sys::native(libc::SYS_getppid, 0));
}

#[test]
#[ignore = "runs inside the box, started by the other test"]
fn inside_32() {
    for rule in RULES {
        if let Some(number) = rule.compat {
            println!("compat {} {}", rule.name, sys::compat(number, arguments(rule).0 as u32));
        }
    }
    println!("compat getppid {}", sys::compat(64, 0));
}

/// Runs one of the above in a box; its lines, by "door name".
fn results(lab: &Lab, test: &str) -> (Option<i32>, BTreeMap<String, i64>) {
    let probe = lab.image().join("probe");
    if !probe.exists() {
        std::fs::copy(std::env::current_exe().expect("self"), &probe).expect("copy");
    }
    let output =
        lab.run_with(&[], test, &["/probe", "--ignored", "--exact", "--nocapture", "--test-threads=1", test]);
    let mut found = BTreeMap::new();
    for line in stdout(&output).lines() {
        if let Some((name, value)) = line.rsplit_once(' ')
            && let Ok(value) = value.parse()
        {
            // The harness prints the test's name before the first line.
            let name = name.rsplit_once("... ").map_or(name, |(_, name)| name);
            found.insert(name.to_owned(), value);
        }
    }
    (output.status.code(), found)
}

fn answer(rule: &Rule) -> i64 {
    match rule.denial {
        Denial::NotPermitted => -i64::from(libc::EPERM),
        Denial::Missing => -i64::from(libc::ENOSYS),
    }
}

#[test]
fn every_rule_holds_by_the_native_door_and_by_x32() {
    let Some(lab) = Lab::new() else { return };
    let (code, found) = results(&lab, "inside");
    assert_eq!(code, Some(0), "{found:?}");
    for rule in RULES.iter().filter(|rule| rule.native.is_some()) {
        for door in ["native", "x32"] {
            assert_eq!(
                found.get(&format!("{door} {}", rule.name)),
                Some(&answer(rule)),
                "{door} {}",
                rule.name
            );
        }
    }
    // What the filter lets through gets the kernel's own answer.
    assert_eq!(found["native-miss clone"], -i64::from(libc::EINVAL));
    assert_eq!(found["native-miss socket"], -i64::from(libc::EINVAL));
    assert!(found["native-miss personality"] >= 0);
    assert_eq!(found["native unknown"], -i64::from(libc::ENOSYS));
    assert_eq!(found["native getppid"], 0);
}

#[test]
fn every_rule_holds_by_int_0x80() {
    let Some(lab) = Lab::new() else { return };
    let (code, found) = results(&lab, "inside_32");
    if code == Some(128 + libc::SIGSEGV) && found.is_empty() {
        return skip("ia32", "this kernel has no 32-bit system calls, so that door is shut");
    }
    assert_eq!(code, Some(0), "{found:?}");
    for rule in RULES.iter().filter(|rule| rule.compat.is_some()) {
        assert_eq!(found.get(&format!("compat {}", rule.name)), Some(&answer(rule)), "{}", rule.name);
    }
    assert_eq!(found["compat getppid"], 0);
}
