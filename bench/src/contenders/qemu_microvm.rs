//! `qemu-microvm`: the best that QEMU can be: the microvm machine, a small kernel entered by PVH, the payload as initramfs.

use std::time::Duration;

use super::qemu::{Kind, Qemu};
use crate::vm::card;
use crate::vm::microvm::Ram;
use crate::vm::small;

const KIND: Kind = Kind {
    name: "qemu-microvm",
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
    kernel: small::find,
    command: |machine, nonce, kernel, initramfs, console| {
        machine.microvm_command(nonce, kernel, initramfs, console, Ram::Own)
    },
    // Ready after half a second under TCG on an idle host.
    deadline: Duration::from_secs(15),
    card: &card::MMIO,
    images: Err("its small kernel has no file system of a disk"),
};

/// See the file's head.
pub fn new() -> Qemu {
    Qemu::of(&KIND)
}
