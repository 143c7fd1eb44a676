//! Which device nodes may be used: the second lock on a door that /dev leaves shut.
//!
//! A node can come from elsewhere than /dev: from a volume, from an image, through a descriptor. This
//! controller is asked at every open and every mknod, wherever the node lies. Version 1 has files for the
//! rules. Version 2 has none: there a program is attached to the cgroup, see `bpf.rs`.
//! Without it a node of the host's disk that comes from elsewhere is the disk.
//!
//! Step: `devices`.
//!
//! Man page: `Documentation/admin-guide/cgroup-v1/devices.rst` in the kernel. Look at it:
//! `cat /sys/fs/cgroup/devices/tare/*/devices.list`

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use nix::errno::Errno;

use super::Refusal;
use crate::confinement::DeviceRule;

/// Writes the rules, one line a write as the kernel wants.
pub(super) fn write(directory: &Path, rules: &[DeviceRule]) -> Result<(), Refusal> {
    let open = |file: &str| {
        let path = directory.join(file);
        OpenOptions::new().write(true).open(&path).map_err(Refusal::new(&path))
    };
    let (mut allow, mut deny) = (open("devices.allow")?, open("devices.deny")?);
    let refused = |why| Refusal { path: directory.into(), error: Errno::EOPNOTSUPP.into(), why };
    for rule in reduce(rules).map_err(refused)? {
        let file = if rule.allow { &mut allow } else { &mut deny };
        let name = if rule.allow { "devices.allow" } else { "devices.deny" };
        file.write_all(rule.line().as_bytes()).map_err(Refusal::new(&directory.join(name)))?;
    }
    Ok(())
}

const EVERYTHING: u32 = DeviceRule::MAKE | DeviceRule::READ | DeviceRule::WRITE;

/// The same rules as the kernel keeps them: one answer for everything, and exceptions from it.
///
/// The kernel takes an exception back only by the very words that made it: told `c 1:3 rw` and later that
/// no character device may be used, it would still let 1:3 be used. And `a` means everything to it, whatever
/// stands behind. So later rules win here, before the kernel sees any.
///
/// # Errors
/// An exception from an exception, which the kernel cannot keep.
fn reduce(rules: &[DeviceRule]) -> Result<Vec<DeviceRule>, &'static str> {
    let mut reduced: Vec<DeviceRule> = Vec::with_capacity(rules.len());
    let mut everything = None;
    for rule in rules {
        if rule.kind == 'a' && rule.major.is_none() && rule.minor.is_none() && rule.access == EVERYTHING {
            everything = Some(rule.allow);
            reduced = vec![*rule];
            continue;
        }
        let kinds = if rule.kind == 'a' { vec!['b', 'c'] } else { vec![rule.kind] };
        for rule in kinds.into_iter().map(|kind| DeviceRule { kind, ..*rule }) {
            for other in reduced.iter_mut().filter(|other| other.allow != rule.allow && meet(other, &rule)) {
                if !covers(&rule, other) {
                    return Err(
                        "version 1 cannot allow a range of devices but for a part of it, nor deny it \
                                so: write the rules without the overlap",
                    );
                }
                other.access &= !rule.access;
            }
            // One that agrees with the answer for everything is no exception.
            if everything != Some(rule.allow) {
                reduced.push(rule);
            }
        }
    }
    reduced.retain(|rule| rule.access != 0);
    Ok(reduced)
}

/// Whether both speak of some use of some node; the answer for everything, of kind `a`, meets none.
fn meet(one: &DeviceRule, other: &DeviceRule) -> bool {
    let overlap = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
    one.kind == other.kind
        && one.access & other.access != 0
        && overlap(one.major, other.major)
        && overlap(one.minor, other.minor)
}

/// Whether `one` speaks of every node that `other` speaks of.
fn covers(one: &DeviceRule, other: &DeviceRule) -> bool {
    let all = |a: Option<u32>, b: Option<u32>| a.is_none() || a == b;
    all(one.major, other.major) && all(one.minor, other.minor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confinement::DEVICE_RULES;

    const DENY_ALL: DeviceRule = DEVICE_RULES[0];

    /// "+" or "-", then the words of the kernel.
    fn reduced(rules: &[DeviceRule]) -> Result<Vec<String>, &'static str> {
        let sign = |rule: &DeviceRule| if rule.allow { '+' } else { '-' };
        Ok(reduce(rules)?.iter().map(|rule| format!("{}{}", sign(rule), rule.line())).collect())
    }

    fn rule(sign: char, kind: char, major: Option<u32>, minor: Option<u32>, letters: &str) -> DeviceRule {
        let access = DeviceRule::access(letters).expect("letters");
        DeviceRule { allow: sign == '+', kind, major, minor, access }
    }

    #[test]
    fn the_rules_read_as_the_kernel_wants_them() {
        let lines = reduced(DEVICE_RULES).expect("can be said");
        assert_eq!(lines[..2], ["-a", "+c 1:3 rw"]);
        assert_eq!(lines[9], "+c 136:* rw");
        assert_eq!(lines.len(), DEVICE_RULES.len());
    }

    #[test]
    fn a_later_denial_takes_back_what_it_covers() {
        let allow = rule('+', 'c', Some(1), Some(11), "rw");
        let all_characters = rule('-', 'c', None, None, "rwm");
        assert_eq!(reduced(&[DENY_ALL, allow, all_characters]).expect("can be said"), ["-a"]);
        let writing = rule('-', 'c', Some(1), None, "w");
        assert_eq!(reduced(&[DENY_ALL, allow, writing]).expect("can be said"), ["-a", "+c 1:11 r"]);
        assert_eq!(reduced(&[DENY_ALL, all_characters, allow]).expect("can be said"), ["-a", "+c 1:11 rw"]);
        let blocks = rule('-', 'b', None, None, "rwm");
        assert_eq!(reduced(&[DENY_ALL, allow, blocks]).expect("can be said"), ["-a", "+c 1:11 rw"]);
    }

    #[test]
    fn a_part_of_all_devices_is_not_all_of_them() {
        let reading = rule('+', 'a', None, None, "r");
        assert_eq!(reduced(&[DENY_ALL, reading]).expect("can be said"), ["-a", "+b *:* r", "+c *:* r"]);
        let tun = rule('+', 'a', Some(10), Some(200), "rwm");
        assert_eq!(reduced(&[DENY_ALL, tun]).expect("can be said"), ["-a", "+b 10:200 rwm", "+c 10:200 rwm"]);
        let everything = rule('+', 'a', None, None, "rwm");
        let but_kmsg = rule('-', 'c', Some(1), Some(11), "rwm");
        assert_eq!(reduced(&[DENY_ALL, everything, but_kmsg]).expect("can be said"), ["+a", "-c 1:11 rwm"]);
    }

    #[test]
    fn an_exception_from_an_exception_is_refused() {
        let terminals = rule('+', 'c', Some(136), None, "rw");
        let one = rule('-', 'c', Some(136), Some(3), "w");
        assert!(reduced(&[DENY_ALL, terminals, one]).is_err());
        // The other way round the second says it all; and what does not meet is no exception.
        assert!(reduced(&[DENY_ALL, one, terminals]).is_ok());
        assert!(reduced(&[DENY_ALL, terminals, rule('-', 'c', Some(136), Some(3), "m")]).is_ok());
    }
}
