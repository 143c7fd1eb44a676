//! The disk of a machine whose image is on one: virtio-blk, and what Debian's kernel needs for it. The file system is
//! built into that kernel.

use std::path::Path;

use anyhow::{Context, Result};

use super::initramfs::{self, Extras};
use super::kernel;
use super::qemu::{extend, spread};
use crate::image::Image;

/// A machine's disk that has only what it wrote, on the image's as backing file.
pub const BACKED: &str = "qcow2 on a backing file";
/// A machine's disk that is a copy of the image's.
pub const WHOLE: &str = "whole copy";

/// What drives the disk, each after what it needs.
const MODULES: [&str; 6] = [
    "drivers/virtio/virtio_ring.ko",
    "drivers/virtio/virtio.ko",
    "drivers/virtio/virtio_pci_legacy_dev.ko",
    "drivers/virtio/virtio_pci_modern_dev.ko",
    "drivers/virtio/virtio_pci.ko",
    "drivers/block/virtio_blk.ko",
];

/// Writes the initramfs from which machines go over to this image, under a kernel.
///
/// # Errors
/// When a module is missing, or it cannot be written.
pub fn write_initramfs(kernel: &Path, image: &Image) -> Result<()> {
    let modules = kernel::modules(kernel, &MODULES).map_err(anyhow::Error::msg)?;
    let path = image.initramfs();
    let extras = Extras { modules, command: Some(command(image)) };
    initramfs::write_with(&path, &extras).with_context(|| format!("write {}", path.display()))
}

/// Adds a disk with the image to a command line of a machine that boots a kernel, which gets another initramfs.
/// `None` where the line boots none.
pub fn plug_in(argv: &mut Vec<String>, image: &Image, disk: &Path) -> Option<()> {
    let after = |argv: &[String], option: &str| argv.iter().position(|it| it == option).map(|at| at + 1);
    let (append, initrd) = (after(argv, "-append")?, after(argv, "-initrd")?);
    *argv.get_mut(initrd)? = image.initramfs().to_string_lossy().into_owned();
    argv.get_mut(append)?.push_str(" image=vda");
    let format = if disk.extension().is_some_and(|it| it == "raw") { "raw" } else { "qcow2" };
    let drive = format!("file={},format={format},if=none,id=disk", spread(disk));
    extend(argv, &["-drive", &drive, "-device", "virtio-blk-pci,drive=disk"]);
    Some(())
}

/// What an engine would know of the image beside its files.
fn command(image: &Image) -> Vec<u8> {
    let mut text = Vec::new();
    let words = std::iter::once("/payload").chain(image.words.iter().map(String::as_str)).map(|it| ('a', it));
    let env = image.env.iter().map(|it| ('e', it.as_str()));
    for (letter, word) in std::iter::once(('d', image.cwd.as_str())).chain(env).chain(words) {
        text.push(letter as u8);
        text.extend_from_slice(word.as_bytes());
        text.push(0);
    }
    text
}
