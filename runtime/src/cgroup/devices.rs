//! Which device nodes may be used: the second lock on a door that /dev leaves shut.
//!
//! A node can come from elsewhere than /dev: from a volume, from an image, through a descriptor. This
//! controller is asked at every open and every mknod, wherever the node lies. Version 1 has files for the
//! rules. Version 2 has none: there a program is attached to the cgroup, see `bpf.rs`.
//!
//! Man page: `Documentation/admin-guide/cgroup-v1/devices.rst` in the kernel. Look at it:
//! `cat /sys/fs/cgroup/devices/tare/*/devices.list`

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use super::Refusal;
use crate::confinement::DeviceRule;

/// Writes the rules, in their order, one line a write as the kernel wants.
pub(super) fn write(directory: &Path, rules: &[DeviceRule]) -> Result<(), Refusal> {
    let open = |file: &str| {
        let path = directory.join(file);
        OpenOptions::new().write(true).open(&path).map_err(Refusal::new(&path))
    };
    let (mut allow, mut deny) = (open("devices.allow")?, open("devices.deny")?);
    for rule in rules {
        let file = if rule.allow { &mut allow } else { &mut deny };
        let name = if rule.allow { "devices.allow" } else { "devices.deny" };
        file.write_all(rule.line().as_bytes()).map_err(Refusal::new(&directory.join(name)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::confinement::{DEVICE_RULES, DeviceRule};

    #[test]
    fn the_rules_read_as_the_kernel_wants_them() {
        let lines: Vec<String> = DEVICE_RULES.iter().map(DeviceRule::line).collect();
        assert_eq!(lines[..2], ["a", "c 1:3 rw"]);
        assert_eq!(lines[9], "c 136:* rw");
    }
}
