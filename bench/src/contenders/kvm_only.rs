//! What the machine monitors that know KVM only have in common: the small kernel, the payload as initramfs, one
//! serial port, which is the kernel's console and the channel. Each is a [`Kind`] in a file of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tare_reports::document::{Class, Failure};

use super::qemu::{OWN_KERNEL, accel, initramfs_file, launch, missing};
use super::tool::tool;
use super::{Contender, Description, Found, Missing, Surroundings, Undo, Wiring, example, version_of};
use crate::site::{Site, Start};
use crate::spawner::protocol::Launch;
use crate::vm::kvm::Kvm;
use crate::vm::{initramfs, small};

/// In what they differ.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// The environment variable that names another program.
    pub(super) variable: &'static str,
    pub(super) fix: &'static str,
    pub(super) about: &'static str,
    pub(super) inside_clock: &'static [&'static str],
    pub(super) channel: &'static str,
    /// Whether it reads its input only from a terminal.
    pub(super) terminal: bool,
    /// What the kernel and the payload are told before and after the nonce.
    pub(super) words: [&'static str; 2],
    pub(super) command: fn(&Boot) -> Vec<String>,
    /// What it wants to have in a file.
    pub(super) configuration: Option<fn(&Boot) -> Value>,
}

/// What one machine is made of.
#[derive(Debug)]
pub struct Boot {
    /// The monitor.
    pub program: PathBuf,
    /// An uncompressed kernel.
    pub kernel: PathBuf,
    /// The payload as /init.
    pub initramfs: PathBuf,
    /// The kernel's command line.
    pub words: String,
    /// Where its configuration goes.
    pub configuration: PathBuf,
    /// Where it notes what went wrong.
    pub log: PathBuf,
}

/// A monitor that knows KVM only.
#[derive(Debug)]
pub struct KvmOnly {
    kind: &'static Kind,
    /// The program and the kernel.
    found: Option<(PathBuf, PathBuf)>,
}

impl KvmOnly {
    pub(super) fn of(kind: &'static Kind) -> Self {
        Self { kind, found: None }
    }

    fn boot(&self, site: &Site, start: &Start) -> Result<Boot> {
        let (program, kernel) = self.found.clone().context("the contender was not probed")?;
        let [before, after] = self.kind.words;
        let [configuration, log] = files(site, start);
        let words = format!("{before} -- {} machine=ttyS0{after}", start.nonce);
        Ok(Boot { program, kernel, initramfs: initramfs_file(site), words, configuration, log })
    }
}

impl Contender for KvmOnly {
    fn description(&self) -> Description<'_> {
        Description {
            name: self.kind.name,
            class: Class::Vm,
            about: self.kind.about,
            inside_clock: self.kind.inside_clock,
            channel: self.kind.channel,
            noisy_channel: true,
            ..Description::default()
        }
    }

    fn probe(&mut self, surroundings: &Surroundings) -> Result<Found, Missing> {
        let program = tool(self.kind.variable, self.kind.name, self.kind.fix)?;
        let version = version_of(&program, "--version")?;
        works(&surroundings.kvm)?;
        let kernel = small::find().map_err(missing)?;
        self.found = Some((program, kernel.image));
        Ok(Found {
            version: format!("{version}, small guest kernel {}", kernel.release),
            accel: accel(&surroundings.kvm),
            not_expressed: vec![OWN_KERNEL.into()],
        })
    }

    fn prepare(&mut self, site: &Site) -> Result<()> {
        initramfs::write(&initramfs_file(site)).context("write the initramfs")
    }

    fn launch(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        let boot = self.boot(site, start)?;
        if let Some(configuration) = self.kind.configuration {
            let text = configuration(&boot).to_string();
            fs::write(&boot.configuration, text).context("write the machine's configuration")?;
            // It makes none itself.
            File::create(&boot.log).context("make the machine's log")?;
        }
        Ok(launch((self.kind.command)(&boot)))
    }

    fn wants_a_terminal(&self) -> bool {
        self.kind.terminal
    }

    fn wiring(&self) -> Wiring {
        Wiring::LeftOut("it needs KVM, and its network was never tried")
    }

    fn command(&mut self, site: &Site) -> Vec<String> {
        self.boot(site, &example()).map(|boot| (self.kind.command)(&boot)).unwrap_or_default()
    }

    fn teardown(&self, site: &Site, start: &Start) -> Vec<Undo> {
        files(site, start).map(Undo::Remove).into()
    }

    fn leaves(&self, site: &Site, start: &Start) -> Vec<PathBuf> {
        files(site, start).into()
    }

    fn diagnose(&self, site: &Site, start: &Start) -> Option<(Failure, String)> {
        let [_, log] = files(site, start);
        last_line(&log).map(|line| (Failure::Crash, format!("{}: {line}", self.kind.name)))
    }

    fn deadline(&self) -> Duration {
        // There is no translator here that could be slow.
        Duration::from_secs(15)
    }
}

fn files(site: &Site, start: &Start) -> [PathBuf; 2] {
    ["json", "log"].map(|kind| site.boxes().join(format!("{}.{kind}", start.id)))
}

fn last_line(log: &Path) -> Option<String> {
    let said = fs::read_to_string(log).ok()?;
    said.lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned)
}

/// Whether KVM works here: without it these monitors start nothing.
fn works(kvm: &Kvm) -> Result<(), Missing> {
    let (why, fix) = match kvm {
        Kvm::Usable { .. } => return Ok(()),
        Kvm::Emulated(why) => {
            (why, "run on hardware, or on a host whose own hypervisor passes virtualisation through")
        }
        Kvm::Absent(why) if why.contains("permission") => {
            (why, "as root: usermod -aG kvm USER; then log in again")
        }
        Kvm::Absent(why) => (why, "as root: modprobe kvm_intel || modprobe kvm_amd"),
        Kvm::Unknown(why) => (why, "./scripts/setup: it is QEMU that shows whether KVM works"),
    };
    Err(Missing::new(format!("it needs a KVM that works: {why}"), fix))
}

#[cfg(test)]
mod tests {
    use super::{Kvm, last_line, works};

    #[test]
    fn only_a_kvm_that_works_will_do_and_the_reason_is_the_probes() {
        assert_eq!(works(&Kvm::Usable { nested: true, cpu: "host" }), Ok(()));
        for (kvm, reason, fix) in [
            (Kvm::Emulated("50 times as long".into()), "50 times as long", "run on hardware"),
            (Kvm::Absent("no permission to open /dev/kvm".into()), "no permission", "usermod"),
            (Kvm::Absent("there is no /dev/kvm".into()), "there is no /dev/kvm", "modprobe"),
            (Kvm::Unknown("qemu is not on PATH".into()), "qemu is not on PATH", "scripts/setup"),
        ] {
            let missing = works(&kvm).unwrap_err();
            assert!(missing.reason.starts_with("it needs a KVM that works: "), "{missing:?}");
            assert!(missing.reason.contains(reason), "{missing:?}");
            assert!(missing.fix.as_deref().unwrap_or_default().contains(fix), "{missing:?}");
        }
    }

    #[test]
    fn an_empty_log_says_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        assert_eq!(last_line(&log), None);
        std::fs::write(&log, "\n").unwrap();
        assert_eq!(last_line(&log), None);
        std::fs::write(&log, "first\nKVM_EXIT_INTERNAL_ERROR\n\n").unwrap();
        assert_eq!(last_line(&log).as_deref(), Some("KVM_EXIT_INTERNAL_ERROR"));
    }
}
