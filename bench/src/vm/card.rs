//! The network card of a machine: virtio-net on a tap interface that QEMU finds open, and what its kernel needs for it.

use std::path::Path;

use super::kernel;
use super::qemu::extend;
use crate::network::{Link, PREFIX};

/// How a kind of machine has its card.
#[derive(Debug)]
pub struct Card {
    /// QEMU's device. It says nothing of the cable's state, so that the guest takes it as plugged in at once and
    /// not a moment later, and it has no firmware of its own: nothing is booted from it.
    device: &'static str,
    /// What the kernel must be told to find it.
    kernel: &'static str,
    /// Whether the kernel has its drivers as modules.
    pub needs_modules: bool,
}

/// On a q35, under Debian's kernel.
pub const PCI: Card =
    Card { device: "virtio-net-pci,netdev=net,status=off,romfile=", kernel: "", needs_modules: true };

/// On a microvm, under the small kernel, at the first place that QEMU gives away.
pub const MMIO: Card = Card {
    device: "virtio-net-device,netdev=net,status=off",
    kernel: " virtio_mmio.device=512@0xfeb00e00:12",
    needs_modules: false,
};

/// What drives the card in Debian's kernel, each after what it needs.
const MODULES: [&str; 8] = [
    "drivers/virtio/virtio_ring.ko",
    "drivers/virtio/virtio.ko",
    "drivers/virtio/virtio_pci_legacy_dev.ko",
    "drivers/virtio/virtio_pci_modern_dev.ko",
    "drivers/virtio/virtio_pci.ko",
    "net/core/failover.ko",
    "drivers/net/net_failover.ko",
    "drivers/net/virtio_net.ko",
];

impl Card {
    /// Adds it to a command line of a machine that boots a kernel, which gets another initramfs. `None` where the
    /// line boots none.
    pub fn plug_in(&self, command: &mut Vec<String>, link: &Link, initramfs: &Path) -> Option<()> {
        let after =
            |command: &[String], option: &str| command.iter().position(|it| it == option).map(|at| at + 1);
        let (append, initrd) = (after(command, "-append")?, after(command, "-initrd")?);
        *command.get_mut(initrd)? = initramfs.to_string_lossy().into_owned();
        // What follows `--` are the arguments of /init.
        let (kernel, init) = command.get(append)?.split_once(" -- ")?;
        command[append] =
            format!("{kernel}{} -- {init} address={}/{PREFIX} {}", self.kernel, link.address, link.connect());
        let tap = format!("tap,id=net,fd={},vhost=off", Link::TAP);
        extend(command, &["-netdev", &tap, "-device", self.device]);
        Some(())
    }
}

/// The modules that drive the card, of the kernel with this image: from `lib/modules` beside the image's directory.
///
/// # Errors
/// In words, where one cannot be read.
pub fn modules(image: &Path) -> Result<Vec<Vec<u8>>, String> {
    kernel::modules(image, &MODULES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Way;

    fn link() -> Link {
        let listener = "198.18.0.1:4000".parse().expect("an address");
        Link { port: "box0".into(), address: [198, 18, 0, 2].into(), listener, way: Way::Tap }
    }

    #[test]
    fn the_card_comes_with_its_words_to_kernel_and_init() {
        let mut command: Vec<String> = ["qemu", "-initrd", "/i", "-append"].map(str::to_owned).into();
        command.push("quiet -- n7 machine=ttyS0".into());
        MMIO.plug_in(&mut command, &link(), "/j".as_ref()).expect("a place");
        assert_eq!(
            command.join(" "),
            "qemu -initrd /j -append quiet virtio_mmio.device=512@0xfeb00e00:12 -- n7 machine=ttyS0 \
             address=198.18.0.2/15 connect=198.18.0.1:4000 -netdev tap,id=net,fd=3,vhost=off \
             -device virtio-net-device,netdev=net,status=off"
        );
    }

    #[test]
    fn a_line_that_boots_nothing_takes_no_card() {
        let mut command = vec!["qemu".to_owned()];
        assert_eq!(PCI.plug_in(&mut command, &link(), "/j".as_ref()), None);
        assert_eq!(command, ["qemu"]);
    }
}
