//! The best that QEMU can be: command lines of the microvm machine, and of q35 without what it does not need.

use super::qemu::{Qemu, RAM, extend, spread};
use std::path::Path;

/// No ACPI, so that the firmware is qboot. The interval timer and the interrupt controller stay: without them the
/// kernel hangs under TCG, whose processor has no other clock to calibrate by. The clock chip stays too: a kernel
/// that finds none waits a second for it.
const MACHINE: &str = "microvm,acpi=off,isa-serial=on,auto-kernel-cmdline=off";

/// What a kernel need not look for in such a machine. Only what this kernel knows: a word that it does not know
/// becomes an argument of `/init`. `nolapic_timer`: the interval timer ticks once when it is asked to, and the local
/// one would first be calibrated for a tenth of a second.
const KERNEL: &str = "console=ttyS1 quiet panic=-1 reboot=t pci=off nolapic_timer random.trust_cpu=on";

/// The same for Debian's kernel on a q35.
const TUNED_KERNEL: &str = "console=ttyS1 quiet panic=-1 reboot=t mitigations=off \
                            random.trust_cpu=on cryptomgr.notests pci=lastbus=0 \
                            i8042.noaux i8042.nokbd";

/// Where a microvm's memory is.
#[derive(Debug, Clone, Copy)]
pub enum Ram<'a> {
    /// Its own, as every machine's here.
    Own,
    /// In this file, which the machine changes: how a state is saved.
    File(&'a Path),
    /// A private copy of this file, page by page as they are written.
    CopyOf(&'a Path),
}

impl Qemu {
    /// qboot, the small kernel entered by PVH, the payload as `/init`. Channel and console are those of
    /// [`Qemu::q35_command`].
    #[must_use]
    pub fn microvm_command(
        &self,
        nonce: &str,
        kernel: &Path,
        initramfs: &Path,
        console_log: &Path,
        ram: Ram<'_>,
    ) -> Vec<String> {
        let mut command = self.microvm(console_log, ram);
        boot(&mut command, kernel, initramfs, KERNEL, nonce);
        command
    }

    /// A microvm that does not boot: its memory comes from `ram`, and its state from where its monitor is told.
    #[must_use]
    pub fn resume_command(&self, console_log: &Path, ram: &Path) -> Vec<String> {
        let mut command = self.microvm(console_log, Ram::CopyOf(ram));
        extend(&mut command, &["-incoming", "defer"]);
        command
    }

    /// The baseline's machine, firmware and kernel without what they do not need.
    #[must_use]
    pub fn tuned_command(
        &self,
        nonce: &str,
        kernel: &Path,
        initramfs: &Path,
        console_log: &Path,
    ) -> Vec<String> {
        // Not `graphics=off`: the firmware would then write to the first serial port, which is the channel.
        let machine = "q35,usb=off,sata=off,smbus=off,hpet=off,vmport=off,i8042=off";
        let mut command = self.common(machine);
        console(&mut command, "-serial", "chardev:console", console_log);
        boot(&mut command, kernel, initramfs, TUNED_KERNEL, nonce);
        command
    }

    fn microvm(&self, console_log: &Path, ram: Ram<'_>) -> Vec<String> {
        let mut command = self.common(MACHINE);
        if let Ram::File(path) | Ram::CopyOf(path) = ram {
            let share = if matches!(ram, Ram::File(_)) { "on" } else { "off" };
            let object = command.iter_mut().find(|word| word.starts_with("memory-backend-memfd,"));
            if let Some(object) = object {
                *object = format!(
                    "memory-backend-file,id={RAM},size={}M,share={share},mem-path={}",
                    self.memory_mib,
                    spread(path)
                );
            }
        }
        // The machine has one serial port of its own.
        console(&mut command, "-device", "isa-serial,index=1,chardev=console", console_log);
        command
    }
}

fn console(command: &mut Vec<String>, option: &str, device: &str, log: &Path) {
    let chardev = format!("file,id=console,path={}", spread(log));
    extend(command, &["-chardev", &chardev, option, device]);
}

fn boot(command: &mut Vec<String>, kernel: &Path, initramfs: &Path, options: &str, nonce: &str) {
    extend(command, &["-kernel", &kernel.to_string_lossy(), "-initrd", &initramfs.to_string_lossy()]);
    extend(command, &["-append", &format!("{options} -- {nonce} machine=ttyS0")]);
}

#[cfg(test)]
mod tests {
    use super::{Qemu, Ram};
    use crate::vm::qemu::Accel;
    use std::path::Path;

    #[test]
    fn a_microvm_has_its_memory_where_it_was_told() {
        let qemu = Qemu::new("qemu".as_ref(), Accel::Tcg);
        let line =
            |ram| qemu.microvm_command("n7", "/k".as_ref(), "/i".as_ref(), "/c".as_ref(), ram).join(" ");
        let file = Path::new("/a,b/ram");
        assert!(line(Ram::Own).contains("-object memory-backend-memfd,id=tare-ram,size=256M,share=on "));
        assert!(
            line(Ram::File(file))
                .contains("-object memory-backend-file,id=tare-ram,size=256M,share=on,mem-path=/a,,b/ram ")
        );
        assert!(line(Ram::CopyOf(file)).contains("share=off,mem-path=/a,,b/ram "));
        assert!(line(Ram::Own).ends_with(" -- n7 machine=ttyS0"));
    }

    #[test]
    fn a_resumed_machine_boots_nothing() {
        let qemu = Qemu::new("qemu".as_ref(), Accel::Tcg);
        let line = qemu.resume_command("/c".as_ref(), "/r".as_ref()).join(" ");
        assert!(line.ends_with(" -incoming defer"), "{line}");
        assert!(!line.contains(" -kernel") && line.contains("share=off"), "{line}");
    }
}
