//! `qemu-microvm`: the best that QEMU can be: the microvm machine, a small kernel entered by PVH, the payload as initramfs.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use tare_reports::document::{Class, Failure};

use super::qemu::{OWN_KERNEL, accel, console, initramfs_file, launch, missing, panic_of};
use super::{Contender, Description, Found, Missing, Surroundings, Undo, example};
use crate::site::{Site, Start};
use crate::spans::machine;
use crate::spawner::protocol::Launch;
use crate::vm::microvm::Ram;
use crate::vm::{initramfs, qemu, small, tool};

/// See the file's head.
#[derive(Debug, Default)]
pub struct QemuMicrovm {
    machine: Option<(qemu::Qemu, PathBuf)>,
}

impl QemuMicrovm {
    fn argv(&self, site: &Site, start: &Start) -> Result<Vec<String>> {
        let (machine, kernel) = self.machine.as_ref().context("the contender was not probed")?;
        let (initramfs, console) = (initramfs_file(site), console(site, start));
        Ok(machine.microvm_command(&start.nonce, kernel, &initramfs, &console, Ram::Own))
    }
}

impl Contender for QemuMicrovm {
    fn description(&self) -> Description<'_> {
        Description {
            name: "qemu-microvm",
            class: Class::Vm,
            about: "QEMU microvm with qboot, a small tickless kernel entered by PVH, the payload as initramfs",
            inside_clock: &[
                "pipes",
                "request to the spawner",
                "QEMU",
                "qboot",
                "kernel and initramfs loaded",
                "guest kernel boot",
                "payload as /init",
                "READY",
            ],
            channel: "ttyS0 (the kernel's console is ttyS1)",
            noisy_channel: true,
            ..Description::default()
        }
    }

    fn probe(&mut self, surroundings: &Surroundings) -> Result<Found, Missing> {
        let found = tool::find().map_err(missing)?;
        let kernel = small::find().map_err(missing)?;
        let version = format!("{}, small guest kernel {}", found.version, kernel.release);
        self.machine = Some((surroundings.kvm.qemu(&found.path), kernel.image));
        Ok(Found { version, accel: accel(&surroundings.kvm), not_expressed: vec![OWN_KERNEL.into()] })
    }

    fn prepare(&mut self, site: &Site) -> Result<()> {
        initramfs::write(&initramfs_file(site)).context("write the initramfs")
    }

    fn launch(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        Ok(launch(self.argv(site, start)?))
    }

    fn launch_watched(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        let mut argv = self.argv(site, start)?;
        machine::watch(&mut argv, site, start);
        Ok(launch(argv))
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
        // A boot that hangs, as happens under TCG, must not eat the run.
        Duration::from_secs(30)
    }
}
