//! Virtual machines: QEMU, a guest kernel, the initramfs around the payload, the command lines that start
//! them, and whether KVM is worth the name here.
//!
//! The lab spawns the command lines itself; nothing here is inside its clock.

pub mod card;
pub mod distro;
pub mod drive;
pub mod guest;
pub mod initramfs;
pub mod kernel;
pub mod kvm;
pub mod microvm;
pub mod monitor;
pub mod qemu;
pub mod saved;
pub mod small;
mod sys;
pub mod tool;

/// Why something that a virtual machine needs cannot be used, and what would change that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}; {fix}")]
pub struct Unavailable {
    /// What is missing or broken, and where it was looked for.
    pub reason: String,
    /// What to do, a command where there is one.
    pub fix: String,
}

/// Whether a mapping of this path, as /proc/PID/smaps writes it, is the RAM of one of our machines: the memory backend
/// of [`qemu::RAM`], or the file that a saved state keeps it in.
#[must_use]
pub fn is_guest_ram(mapped: &str) -> bool {
    mapped.starts_with("/memfd:memory-backend-memfd") || mapped.rsplit('/').next() == Some(saved::RAM)
}

/// Numbers compare as numbers: 6.1.0-9 comes before 6.1.0-10. Splits at every change between digits and
/// the rest.
pub(crate) fn version_key(text: &str) -> Vec<(u64, String)> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let word = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        parts.push((number.parse().unwrap_or(0), after[..word].to_owned()));
        rest = &after[word..];
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::version_key;

    #[test]
    fn versions_compare_by_number() {
        let mut versions = ["6.1.0-9-cloud", "6.12.3-1-cloud", "6.1.0-56-cloud", "5.10.0-99-cloud"];
        versions.sort_by_key(|version| version_key(version));
        assert_eq!(versions, ["5.10.0-99-cloud", "6.1.0-9-cloud", "6.1.0-56-cloud", "6.12.3-1-cloud"]);
    }
}
