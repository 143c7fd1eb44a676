//! What a process has mapped: /proc/PID/smaps_rollup and, for a machine's VMM, /proc/PID/smaps (proc(5)).
//!
//! PSS divides a page by the processes that map it, so that a sum over processes counts each page once; RSS would
//! count the C library of hundreds of processes hundreds of times. Of a VMM's mappings two are told apart, by what
//! they are called and not by their size: the guest's RAM, and QEMU's translation cache.

use std::collections::HashMap;

use anyhow::{Context, Result};
use procfs::process::{MMPermissions, MMapPath, MemoryMap, Process};

use crate::vm;

/// What one process has mapped, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mapped {
    /// `Pss`: all of it.
    pub pss: u64,
    /// `Pss_Anon`: what is in no file. Linux tells it since 5.4.
    pub anonymous: Option<u64>,
}

/// What of a VMM's memory is not its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Machine {
    /// The guest's RAM; none where no mapping bears its name.
    pub ram: Option<Held>,
    /// The code that the guest's was translated into; none where there is no translator.
    pub translated: Option<Held>,
}

/// How the pages of some mappings are held, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// In no file: part of the process's anonymous memory.
    pub anonymous: u64,
    /// In a shared file that lies in memory: part of the host's `Shmem`.
    pub shared: u64,
}

impl Held {
    /// Bytes of both kinds. Pages of a file on disk are neither, and belong to the page cache.
    pub fn bytes(self) -> u64 {
        self.anonymous + self.shared
    }

    fn add(known: &mut Option<Self>, map: &HashMap<String, u64>, in_memory: bool) {
        let held = known.get_or_insert_default();
        let anonymous = map.get("Anonymous").copied().unwrap_or(0);
        held.anonymous += anonymous;
        if in_memory {
            held.shared += map.get("Pss").copied().unwrap_or(0).saturating_sub(anonymous);
        }
    }
}

/// Reads the sums of a process.
///
/// # Errors
/// When it is gone or may not be looked into.
pub fn of(process: &Process) -> Result<Mapped> {
    let name = || format!("read /proc/{}/smaps_rollup", process.pid());
    let sums = process.smaps_rollup().with_context(name)?.memory_map_rollup;
    let map = &sums.iter().next().with_context(name)?.extension.map;
    let pss = map.get("Pss").copied().with_context(|| format!("{}: no Pss in it", name()))?;
    Ok(Mapped { pss, anonymous: map.get("Pss_Anon").copied() })
}

/// Reads a VMM's mappings one by one.
///
/// # Errors
/// As [`of`].
pub fn machine(process: &Process) -> Result<Machine> {
    let maps = process.smaps().with_context(|| format!("read /proc/{}/smaps", process.pid()))?;
    Ok(sorted(maps.iter()))
}

fn sorted<'a>(maps: impl Iterator<Item = &'a MemoryMap>) -> Machine {
    let mut machine = Machine::default();
    for it in maps {
        let path = if let MMapPath::Path(path) = &it.pathname { path.to_str() } else { None };
        let in_memory = path.is_some_and(|it| it.starts_with("/memfd:"));
        if path.is_some_and(vm::is_guest_ram) {
            Held::add(&mut machine.ram, &it.extension.map, in_memory);
        } else if is_translation_cache(it) {
            Held::add(&mut machine.translated, &it.extension.map, in_memory);
        }
    }
    machine
}

/// QEMU's translator writes code and jumps to it: one anonymous mapping that may be written and executed, which
/// nothing else in it is; or, with `split-wx=on`, a memfd that QEMU names.
fn is_translation_cache(map: &MemoryMap) -> bool {
    match &map.pathname {
        MMapPath::Anonymous => map.perms.contains(MMPermissions::WRITE | MMPermissions::EXECUTE),
        MMapPath::Path(path) => path.to_string_lossy().starts_with("/memfd:tcg-jit"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use procfs::FromBufRead;
    use procfs::process::MemoryMaps;

    use super::*;

    fn machine_in(text: &str) -> Machine {
        sorted(MemoryMaps::from_buf_read(text.as_bytes()).unwrap().iter())
    }

    #[test]
    fn guest_ram_and_translation_cache_are_found_by_what_they_are_called() {
        let text = include_str!("../../tests/fixtures/smaps-qemu-7.2");
        let found = machine_in(text);
        assert_eq!(found.ram, Some(Held { anonymous: 0, shared: 113_172 << 10 }));
        assert_eq!(found.translated, Some(Held { anonymous: 36_864 << 10, shared: 0 }));
        // The same sizes under other names are the VMM's own.
        let other = text.replace("memfd:memory-backend-memfd", "memfd:other").replace("rwxp", "rw-p");
        assert_eq!(machine_in(&other), Machine::default());
    }

    #[test]
    fn of_a_file_mapped_privately_only_the_copies_are_the_machines() {
        let text = include_str!("../../tests/fixtures/smaps-qemu-7.2")
            .replace("/memfd:memory-backend-memfd (deleted)", "/var/lib/tare/run/restore/guest-ram")
            .replace("Anonymous:             0 kB", "Anonymous:           512 kB");
        assert_eq!(machine_in(&text).ram, Some(Held { anonymous: 512 << 10, shared: 0 }));
    }

    #[test]
    fn a_process_has_something_mapped_until_it_is_gone() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::new(child.id().cast_signed()).unwrap();
        let sums = of(&process).unwrap();
        assert!(sums.anonymous.unwrap() > 0 && sums.anonymous.unwrap() <= sums.pss, "{sums:?}");
        child.kill().unwrap();
        child.wait().unwrap();
        let error = format!("{:#}", of(&process).unwrap_err());
        assert!(error.contains(&format!("/proc/{}/smaps_rollup", child.id())), "{error}");
    }
}
