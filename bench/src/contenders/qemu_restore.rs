//! `qemu-restore`: the machine of `qemu-microvm`, booted once before the run and saved; each start resumes a private
//! copy of it.
//!
//! Its payload said READY when it was saved. So the mark is another one: the answer to a fresh `ping` as first act
//! after the resume, and then a first touch of memory, because a restored machine has its memory page by page, when
//! it uses it. Both are inside the clock.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use tare_reports::document::{Class, Failure, Mode};

use super::qemu::{OWN_KERNEL, accel, console, launch, missing, panic_of};
use super::{Contender, Description, Found, Missing, Resumption, Surroundings, Undo, Wiring, example};
use crate::channel::Channel;
use crate::site::{Site, Start};
use crate::spawner::protocol::Launch;
use crate::vm::saved::Saved;
use crate::vm::{initramfs, monitor, qemu, small, tool};

/// How much memory a resumed box touches before it counts as ready, KiB.
const TOUCH_KIB: u32 = 1024;

/// See the file's head.
#[derive(Debug, Default)]
pub struct QemuRestore {
    machine: Option<(qemu::Qemu, PathBuf)>,
    /// Of the start in hand.
    monitor: Option<Channel>,
}

impl QemuRestore {
    fn argv(&self, site: &Site, start: &Start) -> Result<Vec<String>> {
        let (machine, _) = self.machine.as_ref().context("the contender was not probed")?;
        let mut argv = machine.resume_command(&console(site, start), &saved(site).ram());
        argv.extend(monitor::arguments(&monitor_name(site, start)));
        Ok(argv)
    }
}

impl Contender for QemuRestore {
    fn description(&self) -> Description<'_> {
        Description {
            name: "qemu-restore",
            class: Class::Vm,
            about: "the machine of qemu-microvm, resumed from a saved state",
            inside_clock: &[
                "pipes",
                "monitor's FIFOs",
                "request to the spawner",
                "QEMU",
                "state loaded, memory mapped privately",
                "resume",
                "answer to ping",
                "first touch of 1 MiB",
            ],
            channel: "ttyS0 (the kernel's console is ttyS1)",
            mode: Mode::Restore,
            ..Description::default()
        }
    }

    fn probe(&mut self, surroundings: &Surroundings) -> Result<Found, Missing> {
        let found = tool::find().map_err(missing)?;
        let kernel = small::find().map_err(missing)?;
        let version = format!("{}, small guest kernel {}", found.version, kernel.release);
        self.machine = Some((surroundings.kvm.qemu(&found.path), kernel.image));
        Ok(Found {
            version,
            accel: accel(&surroundings.kvm),
            not_expressed: vec![
                OWN_KERNEL.into(),
                "outside the clock, once per run: booting the machine and saving its state".into(),
                "that state lies in the host's page cache, where it was just written: from a disk it takes longer".into(),
                "all instances share one file as memory until they write to it, and the nonce of their boot"
                    .into(),
            ],
        })
    }

    fn prepare(&mut self, site: &Site) -> Result<()> {
        let (machine, kernel) = self.machine.as_ref().context("the contender was not probed")?;
        let archive = site.dir().join("restore.cpio");
        initramfs::write(&archive).context("write the initramfs")?;
        saved(site).make(machine, kernel, &archive)
    }

    fn launch(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        let channel = monitor::open(&monitor_name(site, start), &saved(site).requests())
            .context("make QEMU's monitor")?;
        self.monitor = Some(channel);
        Ok(launch(self.argv(site, start)?))
    }

    fn resumption(&mut self) -> Option<Resumption> {
        Some(Resumption { monitor: self.monitor.take()?, touch_kib: TOUCH_KIB })
    }

    fn wiring(&self) -> Wiring {
        Wiring::LeftOut("its state was saved in a machine without a network card")
    }

    fn command(&mut self, site: &Site) -> Vec<String> {
        self.argv(site, &example()).unwrap_or_default()
    }

    fn teardown(&self, site: &Site, start: &Start) -> Vec<Undo> {
        self.leaves(site, start).into_iter().map(Undo::Remove).collect()
    }

    fn leaves(&self, site: &Site, start: &Start) -> Vec<PathBuf> {
        let [to, from] = monitor::files(&monitor_name(site, start));
        vec![console(site, start), to, from]
    }

    fn diagnose(&self, site: &Site, start: &Start) -> Option<(Failure, String)> {
        panic_of(&console(site, start))
    }

    fn deadline(&self) -> Duration {
        Duration::from_secs(10)
    }
}

fn saved(site: &Site) -> Saved {
    Saved::at(&site.dir().join("restore"))
}

fn monitor_name(site: &Site, start: &Start) -> PathBuf {
    site.boxes().join(format!("{}.monitor", start.id))
}
