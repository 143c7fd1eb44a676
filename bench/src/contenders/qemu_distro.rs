//! `qemu-distro`: what the word VM means to most people: a PC that boots a whole Debian with systemd from its own
//! disk, by way of firmware and boot loader, and then runs the payload as a service.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use tare_reports::document::{Class, Failure};

use super::qemu::{OWN_KERNEL, accel, console, missing, panic_of};
use super::{Contender, Description, Found, Missing, Surroundings, Undo, Wiring, example, text};
use crate::program::on_path;
use crate::site::{Site, Start};
use crate::spawner::protocol::Launch;
use crate::vm::distro::{self, Disk};
use crate::vm::{qemu, tool};

/// See the file's head.
#[derive(Debug, Default)]
pub struct QemuDistro {
    machine: Option<Machine>,
}

#[derive(Debug)]
struct Machine {
    qemu: qemu::Qemu,
    disk: Disk,
    debugfs: PathBuf,
}

impl QemuDistro {
    fn machine(&self) -> Result<&Machine> {
        self.machine.as_ref().context("the contender was not probed")
    }

    fn argv(&self, site: &Site, start: &Start) -> Result<Vec<String>> {
        Ok(self.machine()?.qemu.distro_command(&start.nonce, &disk(site), &console(site, start)))
    }
}

impl Contender for QemuDistro {
    fn description(&self) -> Description<'_> {
        Description {
            name: "qemu-distro",
            class: Class::Vm,
            about: "QEMU q35 that boots a whole Debian with systemd from its own disk; the payload is a service of it",
            inside_clock: &[
                "pipes",
                "request to the spawner",
                "QEMU",
                "disk overlay (qcow2), made by QEMU: snapshot=on",
                "SeaBIOS",
                "GRUB",
                "kernel and initramfs loaded",
                "guest kernel boot",
                "initramfs, file system check, root mounted",
                "systemd up to multi-user.target's services",
                "payload as a service",
                "READY",
            ],
            channel: "ttyS0 (the kernel's console is ttyS1)",
            noisy_channel: true,
            ..Description::default()
        }
    }

    fn probe(&mut self, surroundings: &Surroundings) -> Result<Found, Missing> {
        let found = tool::find().map_err(missing)?;
        let disk = distro::find().map_err(missing)?;
        let debugfs = on_path("debugfs").ok_or_else(|| {
            Missing::new(
                "debugfs, which puts the payload onto the disk, is not on PATH",
                "apt-get install e2fsprogs",
            )
        })?;
        let mib = |bytes: u64| bytes >> 20;
        let version = format!(
            "{}, {}, disk of {} MiB with {} in use",
            found.version,
            disk.release,
            mib(disk.size),
            mib(disk.used)
        );
        self.machine = Some(Machine { qemu: surroundings.kvm.qemu(&found.path), disk, debugfs });
        Ok(Found {
            version,
            accel: accel(&surroundings.kvm),
            not_expressed: vec![
                OWN_KERNEL.into(),
                "the payload is a service below systemd, started by a shell that reads the nonce, not process 1".into(),
                "stop: the end of the service resets the machine at once, as in the other machines; \
                 an orderly shutdown would take longer"
                    .into(),
            ],
        })
    }

    fn prepare(&mut self, site: &Site) -> Result<()> {
        let machine = self.machine()?;
        machine.disk.with_payload(&machine.debugfs, &disk(site))
    }

    fn launch(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        let argv = self.argv(site, start)?;
        // There QEMU makes the overlay, without a name.
        let env = vec![("TMPDIR".to_owned(), text(&site.boxes()))];
        Ok(Launch::Command { argv, env, overlay: None, dies_with_parent: true })
    }

    fn wiring(&self) -> Wiring {
        Wiring::LeftOut("its guest is a whole Debian, of which no network was configured")
    }

    fn command(&mut self, site: &Site) -> Vec<String> {
        self.argv(site, &example()).unwrap_or_default()
    }

    fn teardown(&self, site: &Site, start: &Start) -> Vec<Undo> {
        vec![Undo::Remove(console(site, start))]
    }

    fn leaves(&self, site: &Site, start: &Start) -> Vec<PathBuf> {
        vec![console(site, start)]
    }

    fn diagnose(&self, site: &Site, start: &Start) -> Option<(Failure, String)> {
        panic_of(&console(site, start))
    }

    fn deadline(&self) -> Duration {
        match self.machine.as_ref().map(|it| it.qemu.accel) {
            Some(qemu::Accel::Kvm) => Duration::from_secs(60),
            // Ready after twenty seconds on an idle host.
            Some(qemu::Accel::Tcg) | None => Duration::from_secs(180),
        }
    }
}

fn disk(site: &Site) -> PathBuf {
    site.dir().join("distro.img")
}
