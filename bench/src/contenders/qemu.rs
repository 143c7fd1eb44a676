//! `qemu`: the baseline virtual machine: q35, SeaBIOS, Debian's cloud kernel, the payload as initramfs. And what it
//! shares with the other machines that boot a Linux kernel, of which each is a [`Kind`] in a file of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tare_reports::document::{Accel, Class, Failure};
use tare_reports::summary::QEMU;

use super::{Contender, Description, Fetches, Found, Missing, Surroundings, Undo, Wiring, example};
use crate::image::{Image, disk};
use crate::network::Link;
use crate::registry;
use crate::site::{Site, Start};
use crate::spans::machine;
use crate::spawner::protocol::Launch;
use crate::vm::card::{self, Card};
use crate::vm::initramfs::Extras;
use crate::vm::kvm::Kvm;
use crate::vm::{Unavailable, drive, initramfs, kernel, qemu, tool};

/// A virtual machine that boots a Linux kernel with the payload as its first process.
#[derive(Debug)]
pub struct Qemu {
    kind: &'static Kind,
    machine: Option<(qemu::Qemu, PathBuf)>,
    /// The initramfs of a machine with a network card, or why there is none.
    linked: Option<Result<PathBuf, String>>,
}

/// In what such machines differ.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// What comes between QEMU and the kernel.
    pub(super) inside_clock: &'static [&'static str],
    pub(super) kernel: fn() -> Result<kernel::Kernel, Unavailable>,
    /// The command line, of nonce, kernel, initramfs, and the file for the kernel's console.
    pub(super) command: fn(&qemu::Qemu, &str, &Path, &Path, &Path) -> Vec<String>,
    /// Under TCG on a busy host a boot takes several times as long as on an idle one; one that hangs must not eat
    /// the run.
    pub(super) deadline: Duration,
    /// Its network card, where it is asked to have one.
    pub(super) card: &'static Card,
    /// Whether it can have an image on a disk; why not.
    pub(super) images: Result<(), &'static str>,
}

/// Debian's kernel is ready after two seconds under TCG on an idle host.
pub(super) const DEBIANS_KERNEL: Duration = Duration::from_secs(30);

/// A start by way of the firmware of a PC.
pub(super) const WITH_SEABIOS: &[&str] = &[
    "pipes",
    "request to the spawner",
    "QEMU",
    "SeaBIOS",
    "kernel and initramfs loaded",
    "guest kernel boot",
    "payload as /init",
    "READY",
];

const BASELINE: Kind = Kind {
    name: QEMU,
    about: "QEMU q35 with SeaBIOS, Debian's cloud kernel and the payload as initramfs: the baseline VM",
    inside_clock: WITH_SEABIOS,
    kernel: kernel::find,
    command: qemu::Qemu::q35_command,
    deadline: DEBIANS_KERNEL,
    card: &card::PCI,
    images: Ok(()),
};

impl Qemu {
    /// The baseline.
    pub fn baseline() -> Self {
        Self::of(&BASELINE)
    }

    pub(super) fn of(kind: &'static Kind) -> Self {
        Self { kind, machine: None, linked: None }
    }

    fn argv(&self, site: &Site, start: &Start) -> Result<Vec<String>> {
        let (machine, _) = self.machine.as_ref().context("the contender was not probed")?;
        self.argv_of(machine, site, start)
    }

    fn argv_of(&self, machine: &qemu::Qemu, site: &Site, start: &Start) -> Result<Vec<String>> {
        let (_, kernel) = self.machine.as_ref().context("the contender was not probed")?;
        let (initramfs, console) = (initramfs_file(site), console(site, start));
        Ok((self.kind.command)(machine, &start.nonce, kernel, &initramfs, &console))
    }
}

impl Contender for Qemu {
    fn description(&self) -> Description<'_> {
        Description {
            name: self.kind.name,
            class: Class::Vm,
            about: self.kind.about,
            inside_clock: self.kind.inside_clock,
            channel: "ttyS0 (the kernel's console is ttyS1)",
            noisy_channel: true,
            ..Description::default()
        }
    }

    fn probe(&mut self, surroundings: &Surroundings) -> Result<Found, Missing> {
        let found = tool::find().map_err(missing)?;
        let kernel = (self.kind.kernel)().map_err(missing)?;
        let accel = accel(&surroundings.kvm);
        let version = format!("{}, guest kernel {}", found.version, kernel.release);
        self.machine = Some((surroundings.kvm.qemu(&found.path), kernel.image));
        Ok(Found { version, accel, not_expressed: vec![OWN_KERNEL.into()] })
    }

    fn prepare(&mut self, site: &Site) -> Result<()> {
        initramfs::write(&initramfs_file(site)).context("write the initramfs")?;
        let (_, kernel) = self.machine.as_ref().context("the contender was not probed")?;
        self.linked = Some(linked_initramfs(self.kind.card, kernel, site));
        Ok(())
    }

    fn launch(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        Ok(launch(self.argv(site, start)?))
    }

    fn wiring(&self) -> Wiring {
        Wiring::Tap
    }

    fn launch_linked(&mut self, site: &Site, start: &Start, link: &Link) -> Result<Launch> {
        let image = self.linked.as_ref().context("the contender was not prepared")?;
        let image = image.as_ref().map_err(|why| anyhow::anyhow!("{why}"))?;
        let mut argv = self.argv(site, start)?;
        self.kind
            .card
            .plug_in(&mut argv, link, image)
            .context("the command line has no place for a network")?;
        Ok(launch(argv))
    }

    fn takes_images(&self) -> Result<(), &'static str> {
        self.kind.images.and_then(|()| disk::possible())
    }

    fn take_image(&mut self, site: &Site, image: &Image) -> Result<()> {
        let (_, kernel) = self.machine.as_ref().context("the contender was not probed")?;
        disk::make(image)?;
        // Machines of several kinds may share it.
        drive::write_initramfs(kernel, image).with_context(|| format!("in {}", site.dir().display()))
    }

    fn keeps_images(&self) -> Result<&'static [&'static str], &'static str> {
        self.takes_images().map(|()| &[drive::BACKED, drive::WHOLE][..])
    }

    fn keeps_in(&self, site: &Site, image: &Image) -> Vec<PathBuf> {
        vec![image.disk(), image.initramfs(), site.boxes()]
    }

    fn fetches(&self) -> Result<&dyn Fetches, &'static str> {
        match self.kind.name {
            QEMU => registry::possible().and(self.takes_images()).map(|()| self as _),
            _ => Err("its disks travel as those of qemu do"),
        }
    }

    fn launch_image(&mut self, site: &Site, start: &Start, image: &Image) -> Result<Launch> {
        let [backed, whole] = own_disks(site, start);
        let own = if image.whole {
            disk::copy(&image.disk(), &whole)?;
            whole
        } else {
            disk::back(&image.disk(), &backed)?;
            backed
        };
        let mut argv = self.argv(site, start)?;
        drive::plug_in(&mut argv, image, &own).context("the command line has no place for a disk")?;
        Ok(launch(argv))
    }

    fn undo_image(&self, site: &Site, start: &Start) -> Vec<Undo> {
        own_disks(site, start).map(Undo::Remove).into()
    }

    fn has_a_size(&self) -> bool {
        true
    }

    fn launch_sized(&mut self, site: &Site, start: &Start, mib: u32) -> Result<Launch> {
        let (machine, _) = self.machine.as_ref().context("the contender was not probed")?;
        let machine = qemu::Qemu { memory_mib: mib, ..machine.clone() };
        Ok(launch(self.argv_of(&machine, site, start)?))
    }

    fn can_merge(&self) -> bool {
        true
    }

    fn launch_mergeable(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        let mut argv = self.argv(site, start)?;
        qemu::make_mergeable(&mut argv).context("the command line names no memory")?;
        Ok(launch(argv))
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
        let [backed, whole] = own_disks(site, start);
        vec![console(site, start), backed, whole]
    }

    fn diagnose(&self, site: &Site, start: &Start) -> Option<(Failure, String)> {
        panic_of(&console(site, start))
    }

    fn deadline(&self) -> Duration {
        self.kind.deadline
    }
}

/// What no virtual machine expresses of the common box.
pub(super) const OWN_KERNEL: &str =
    "its own kernel instead of namespaces and cgroups: the memory limit is the guest's RAM";

pub(super) fn missing(unavailable: Unavailable) -> Missing {
    Missing::new(unavailable.reason, unavailable.fix)
}

/// The accel class of machines started with what the probe found.
pub(super) fn accel(kvm: &Kvm) -> Accel {
    match kvm {
        Kvm::Usable { nested: false, .. } => Accel::Kvm,
        Kvm::Usable { nested: true, .. } => Accel::KvmNested,
        Kvm::Emulated(_) | Kvm::Absent(_) | Kvm::Unknown(_) => Accel::Tcg,
    }
}

/// QEMU does not end with its input: the kernel ends it when the spawner dies.
pub(super) fn launch(argv: Vec<String>) -> Launch {
    Launch::Command { argv, env: Vec::new(), overlay: None, dies_with_parent: true }
}

/// Why the guest kernel died, if its console says that it did.
pub(super) fn panic_of(console: &Path) -> Option<(Failure, String)> {
    let log = std::fs::read(console).ok()?;
    let panic = qemu::panic_in(&String::from_utf8_lossy(&log))?;
    Some((Failure::GuestPanic, panic))
}

/// The initramfs of a machine with a network card: the usual one, where its kernel needs no modules for it.
fn linked_initramfs(card: &Card, kernel: &Path, site: &Site) -> Result<PathBuf, String> {
    if !card.needs_modules {
        return Ok(initramfs_file(site));
    }
    let modules = card::modules(kernel)?;
    let path = site.dir().join("initramfs-network.cpio");
    let extras = Extras { modules, command: None };
    initramfs::write_with(&path, &extras).map_err(|e| format!("write {}: {e}", path.display()))?;
    Ok(path)
}

pub(super) fn initramfs_file(site: &Site) -> PathBuf {
    site.dir().join("initramfs.cpio")
}

/// The disk of a machine that has an image: on the image's, or a whole one.
fn own_disks(site: &Site, start: &Start) -> [PathBuf; 2] {
    ["qcow2", "raw"].map(|form| site.boxes().join(format!("{}.{form}", start.id)))
}

pub(super) fn console(site: &Site, start: &Start) -> PathBuf {
    site.boxes().join(format!("{}.console", start.id))
}
