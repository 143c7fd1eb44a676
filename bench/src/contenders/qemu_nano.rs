//! `qemu-nano`: a virtual machine without an operating system. The guest is a few instructions that speak the
//! payload's language on the serial port (`payload/nano.rs`): what is left is QEMU and its firmware.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use tare_reports::document::Class;

use super::qemu::{accel, launch, missing};
use super::{Contender, Description, Found, Missing, Surroundings, Wiring, example};
use crate::payload::NANO;
use crate::site::{Site, Start};
use crate::spans::machine;
use crate::spawner::protocol::Launch;
use crate::vm::{qemu, tool};

/// See the file's head.
#[derive(Debug, Default)]
pub struct QemuNano {
    machine: Option<qemu::Qemu>,
}

impl QemuNano {
    fn argv(&self, site: &Site, start: &Start) -> Result<Vec<String>> {
        let machine = self.machine.as_ref().context("the contender was not probed")?;
        Ok(machine.nano_command(&start.nonce, &image(site)))
    }
}

impl Contender for QemuNano {
    fn description(&self) -> Description<'_> {
        Description {
            name: "qemu-nano",
            class: Class::Vm,
            about: "QEMU microvm with a guest of a few instructions: a VM without an operating system",
            inside_clock: &["pipes", "request to the spawner", "QEMU", "qboot", "guest loaded", "READY"],
            channel: "COM1",
            noisy_channel: true,
            ..Description::default()
        }
    }

    fn probe(&mut self, surroundings: &Surroundings) -> Result<Found, Missing> {
        let found = tool::find().map_err(missing)?;
        self.machine = Some(surroundings.kvm.qemu(&found.path));
        Ok(Found {
            version: found.version,
            accel: accel(&surroundings.kvm),
            not_expressed: vec![
                "not the payload: a guest that knows READY, ping and exit, and no kernel, process or file system"
                    .into(),
            ],
        })
    }

    fn prepare(&mut self, site: &Site) -> Result<()> {
        std::fs::write(image(site), NANO).context("write the nano guest")
    }

    fn launch(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        Ok(launch(self.argv(site, start)?))
    }

    fn launch_watched(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        let mut argv = self.argv(site, start)?;
        machine::watch(&mut argv, site, start);
        Ok(launch(argv))
    }

    fn wiring(&self) -> Wiring {
        Wiring::LeftOut("its guest has no driver for a network card")
    }

    fn command(&mut self, site: &Site) -> Vec<String> {
        self.argv(site, &example()).unwrap_or_default()
    }

    fn deadline(&self) -> Duration {
        Duration::from_secs(10)
    }
}

fn image(site: &Site) -> PathBuf {
    site.dir().join("nano")
}
