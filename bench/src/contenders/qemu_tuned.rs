//! `qemu-tuned`: the baseline's machine, firmware and kernel under the best command line that is known for them.

use super::qemu::{DEBIANS_KERNEL, Kind, Qemu, WITH_SEABIOS};
use crate::vm::{card, kernel, qemu};

const KIND: Kind = Kind {
    name: "qemu-tuned",
    about: "as qemu, with a command line that leaves out what machine and kernel do not need",
    inside_clock: WITH_SEABIOS,
    kernel: kernel::find,
    command: qemu::Qemu::tuned_command,
    deadline: DEBIANS_KERNEL,
    card: &card::PCI,
    images: Ok(()),
};

/// See the file's head.
pub fn new() -> Qemu {
    Qemu::of(&KIND)
}
