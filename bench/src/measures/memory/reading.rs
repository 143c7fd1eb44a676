//! One look at the memory of all boxes that are held, by three methods, with the lines of a ledger.
//!
//! The methods cover different things. PSS sees what the boxes' processes have mapped, helpers and VMM included, and
//! nothing of the kernel. The cgroup sees what the boxes are charged for, kernel memory included, and the page cache
//! that they were the first to touch; a machine's VMM and a bare process are born in one for this (`birthplace.rs`). The
//! host sees all that cannot be taken back, whoever uses it, and so no page cache.
//!
//! The ledger splits the host's figure, and no page is in two of its lines: the anonymous memory of the processes by
//! what they are, the guests' RAM by its name, the kernel's own lines (see [`memory`]), and of the host's shared
//! memory whatever is not a guest's RAM. What is left is the lab's own growth, buffers of pipes and sockets, and what
//! others did meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use procfs::process::{Process, Stat};
use tare_reports::document::{Class, Failure};

use super::birthplace::Birthplace;
use crate::contenders::Contender;
use crate::host::{cgroups, charges, mapped, memory, process};
use crate::lab::{Failed, Instance, Lab};
use crate::measures::since::since;
use crate::site::Site;

/// A ledger's lines, bytes.
pub(super) type Lines = BTreeMap<String, i64>;

/// See the file's head.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    host: u64,
    cgroup: Result<u64, Failed>,
    pss: u64,
    lines: BTreeMap<&'static str, u64>,
}

/// What the boxes' processes have mapped.
#[derive(Debug, Default)]
struct Mapped {
    pss: u64,
    /// Lines of the ledger.
    lines: BTreeMap<&'static str, u64>,
    /// What of the lines is shared memory, and must not be in a second one.
    shared: u64,
    /// Boxes that were seen.
    boxes: usize,
}

impl Reading {
    /// Looks once the host has settled.
    ///
    /// # Errors
    /// When the host cannot be read, or when there are not as many boxes as the lab holds: the figures would be over
    /// another number than they say.
    pub(super) fn take(
        lab: &Lab,
        site: &Site,
        contender: &dyn Contender,
        herd: &[Instance],
        born: Option<&Result<Birthplace, Failed>>,
    ) -> Result<Self, Failed> {
        let host = memory::settled().map_err(|error| not_measured(&error))?;
        let all = contender.served_in(site).transpose().map_err(|error| not_measured(&error))?;
        let mapped = Mapped::read(lab.spawner_pid(), all.as_deref(), contender.description().class)
            .map_err(|error| not_measured(&error))?;
        counted(mapped.boxes, herd.len())?;
        let mut lines: BTreeMap<&'static str, u64> = host.kernel;
        lines.extend(mapped.lines);
        lines.extend(host.shared.map(|it| ("page cache and tmpfs", it.saturating_sub(mapped.shared))));
        Ok(Self {
            host: host.bytes,
            cgroup: charged(site, all.as_deref(), herd, born),
            pss: mapped.pss,
            lines,
        })
    }

    /// What the host uses more than at an earlier moment, and the lines of it that are seen now.
    pub(super) fn host_since(&self, before: &Self) -> Result<(u64, Lines), Failed> {
        let earlier = |name: &&str| before.lines.get(name).copied().unwrap_or(0);
        let lines = self.lines.iter().map(|(name, now)| {
            (String::from(*name), now.cast_signed().saturating_sub(earlier(name).cast_signed()))
        });
        Ok((since("the host uses", self.host, before.host)?, lines.collect()))
    }

    /// Bytes that the host uses.
    pub(super) fn host(&self) -> u64 {
        self.host
    }

    /// What is charged to the boxes' cgroups more than at an earlier moment.
    pub(super) fn cgroup_since(&self, before: &Self) -> Result<u64, Failed> {
        since("the cgroups are charged", self.cgroup.clone()?, before.cgroup.clone()?)
    }

    /// What the boxes' processes have mapped more than at an earlier moment.
    pub(super) fn pss_since(&self, before: &Self) -> Result<u64, Failed> {
        since("the processes have mapped", self.pss, before.pss)
    }
}

/// Counts the boxes that there are.
///
/// # Errors
/// When they are not as many as the lab holds.
pub(super) fn standing(
    lab: &Lab,
    site: &Site,
    contender: &dyn Contender,
    herd: &[Instance],
) -> Result<(), Failed> {
    let all = contender.served_in(site).transpose().map_err(|error| not_measured(&error))?;
    let mapped = Mapped::read(lab.spawner_pid(), all.as_deref(), contender.description().class)
        .map_err(|error| not_measured(&error))?;
    counted(mapped.boxes, herd.len())
}

/// The number started is the number that the figures are over.
fn counted(found: usize, held: usize) -> Result<(), Failed> {
    if found == held {
        return Ok(());
    }
    let why =
        format!("the lab holds {held} boxes and the host has {found}: a figure over them would be wrong");
    Err(Failed::new(Failure::Crash, why))
}

/// Every process of every box: below the spawner, and in the cgroup that boxes share with an engine's daemon and shims.
pub(super) fn processes(spawner: u32, served_in: Option<&str>) -> Vec<Stat> {
    // The same process is a member in every hierarchy.
    let trees = served_in.map(cgroups::tree).unwrap_or_default();
    let mut pids: BTreeSet<i32> = trees.iter().flat_map(|dir| cgroups::members(dir)).collect();
    pids.extend(process::descendants(spawner).into_iter().map(u32::cast_signed));
    // One that ends meanwhile is a client; a box that does is missed when the boxes are counted.
    let stats = pids.into_iter().filter_map(|pid| Process::new(pid).and_then(|it| it.stat()).ok());
    stats.filter(|it| it.state != 'Z').collect()
}

/// Whether a process is the payload of a container, by the name of its program.
pub(super) fn is_payload(process: &Stat) -> bool {
    process.comm == "payload"
}

impl Mapped {
    fn read(spawner: u32, served_in: Option<&str>, class: Class) -> Result<Self> {
        let (mut it, mut payloads, mut children) = (Self::default(), 0, 0);
        for stat in processes(spawner, served_in) {
            let sums = match Process::new(stat.pid).map(|it| (mapped::of(&it), it)) {
                Ok((Ok(sums), process)) => (sums, process),
                Ok((Err(error), process)) if process.is_alive() => return Err(error),
                _ => continue,
            };
            let (sums, process) = sums;
            it.pss += sums.pss;
            children += usize::from(stat.ppid.cast_unsigned() == spawner);
            let is_payload = class != Class::Vm && is_payload(&stat);
            payloads += usize::from(is_payload);
            if class == Class::Vm {
                it.add_machine(&process, sums.anonymous)?;
            } else if let Some(anonymous) = sums.anonymous {
                *it.lines.entry(if is_payload { "payload" } else { "helpers" }).or_default() += anonymous;
            }
        }
        // Where no process is the payload, in a machine or a sandbox, each box is a child of the spawner.
        it.boxes = if payloads == 0 { children } else { payloads };
        Ok(it)
    }

    /// A VMM's own memory can be told only where its guest's RAM is known.
    fn add_machine(&mut self, vmm: &Process, anonymous: Option<u64>) -> Result<()> {
        let machine = mapped::machine(vmm)?;
        let Some(ram) = machine.ram else { return Ok(()) };
        let translated = machine.translated.unwrap_or_default();
        *self.lines.entry("guest RAM").or_default() += ram.bytes();
        if machine.translated.is_some() {
            *self.lines.entry("translation cache").or_default() += translated.bytes();
        }
        if let Some(anonymous) = anonymous {
            let own = anonymous.saturating_sub(ram.anonymous + translated.anonymous);
            *self.lines.entry("VMM").or_default() += own;
        }
        self.shared += ram.shared + translated.shared;
        Ok(())
    }
}

/// What is charged to the cgroups of all boxes: the one that they share with their helpers or were born in, or each one's
/// own. Below a parent that the run was given it is all that is charged to the run there, what its cgroups themselves
/// take included: that is what the parent's limits count, and a machine and a bare process are in it too.
fn charged(
    site: &Site,
    served_in: Option<&str>,
    herd: &[Instance],
    born: Option<&Result<Birthplace, Failed>>,
) -> Result<u64, Failed> {
    let of = |path: &str| charges::directory(path).and_then(|dir| charges::charged(&dir));
    let memory = cgroups::root_of("memory");
    if site.birthplaces().iter().any(|dir| memory.as_ref().is_some_and(|root| dir.starts_with(root))) {
        return of(site.cgroup_parent()).map_err(|error| not_measured(&error));
    }
    if let Some(born) = born {
        return of(born.as_ref().map_err(Clone::clone)?.path()).map_err(|error| not_measured(&error));
    }
    let sum = match served_in {
        // An engine may make it with its first box.
        Some(path) if herd.is_empty() && charges::directory(path).is_err() => Ok(0),
        Some(path) => of(path),
        None => herd.iter().map(|it| of(&format!("{}/{}", site.cgroup_parent(), it.start.id))).sum(),
    };
    sum.map_err(|error| not_measured(&error))
}

pub(super) fn not_measured(error: &anyhow::Error) -> Failed {
    Failed::new(Failure::NotMeasured, format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_box_more_or_less_than_are_held_is_no_reading() {
        counted(256, 256).unwrap();
        for found in [255, 257, 0] {
            let failed = counted(found, 256).unwrap_err();
            assert!(
                failed.detail.contains("256") && failed.detail.contains(&found.to_string()),
                "{failed:?}"
            );
        }
    }

    fn reading(host: u64, lines: &[(&'static str, u64)]) -> Reading {
        let lines = lines.iter().copied().collect();
        Reading { host, cgroup: Ok(host), pss: host, lines }
    }

    #[test]
    fn lines_may_shrink_and_appear_and_the_whole_may_not_shrink() {
        let before = reading(1000, &[("slab", 500)]);
        let now = reading(1600, &[("slab", 400), ("payload", 300)]);
        let (value, lines) = now.host_since(&before).unwrap();
        assert_eq!(value, 600);
        assert_eq!(lines, [("payload".into(), 300), ("slab".into(), -100)].into());
        assert_eq!(before.host_since(&now).unwrap_err().failure, Failure::NotMeasured);
    }
}
