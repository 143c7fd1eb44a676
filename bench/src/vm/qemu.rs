//! QEMU's command lines. Default options throughout: `qemu` is what a person gets who does nothing special,
//! without devices that nobody asked for.

use std::path::{Path, PathBuf};

/// What executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accel {
    /// QEMU's translator. Its times are upper bounds and never compared silently with KVM's.
    Tcg,
    /// The processor itself, through /dev/kvm.
    Kvm,
}

/// Processor models to try under KVM, by name, best first: where `host` is refused the next one is taken.
pub const KVM_CPUS: [&str; 2] = ["host", "kvm64"];

/// The name of the guest's memory, by which the accounting finds it (`/memfd:memory-backend-memfd` in
/// smaps; this is the object's id for QMP).
pub const RAM: &str = "tare-ram";

/// How to start machines with one QEMU on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qemu {
    /// The program.
    pub binary: PathBuf,
    /// What executes the guest.
    pub accel: Accel,
    /// The processor model under KVM (`-cpu`), one of [`KVM_CPUS`]; TCG keeps QEMU's default.
    pub cpu: String,
    /// The guest's memory, in MiB.
    pub memory_mib: u32,
    /// The guest's processors.
    pub cpus: u32,
}

impl Qemu {
    /// 256 MiB and one processor.
    #[must_use]
    pub fn new(binary: &Path, accel: Accel) -> Self {
        Self { binary: binary.to_owned(), accel, cpu: KVM_CPUS[0].to_owned(), memory_mib: 256, cpus: 1 }
    }

    /// The baseline: machine q35, SeaBIOS, a Linux kernel, the payload as initramfs.
    ///
    /// The channel is the first serial port, on QEMU's own standard input and output. The second one is the
    /// kernel's console and goes to `console_log`, where [`panic_in`] finds out why a guest died.
    #[must_use]
    pub fn q35_command(
        &self,
        nonce: &str,
        kernel: &Path,
        initramfs: &Path,
        console_log: &Path,
    ) -> Vec<String> {
        let mut command = self.common("q35");
        let log = spread(console_log);
        // `panic=-1` with `-no-reboot`: a guest that panics ends QEMU at once. `reboot=t`, a triple fault, is
        // the reset that needs no device. What follows `--` are the arguments of /init.
        let append = format!("console=ttyS1 quiet panic=-1 reboot=t -- {nonce} machine=ttyS0");
        extend(
            &mut command,
            &["-chardev", &format!("file,id=console,path={log}"), "-serial", "chardev:console"],
        );
        extend(
            &mut command,
            &["-kernel", &kernel.to_string_lossy(), "-initrd", &initramfs.to_string_lossy()],
        );
        extend(&mut command, &["-append", &append]);
        command
    }

    /// A machine without an operating system: microvm, qboot, `image` being [`crate::payload::NANO`] in a
    /// file. No interrupt controller, timer or clock, because the guest uses none.
    #[must_use]
    pub fn nano_command(&self, nonce: &str, image: &Path) -> Vec<String> {
        // Without ACPI the firmware is qboot; QEMU would add its devices to the guest's command line.
        let machine = "microvm,acpi=off,pit=off,pic=off,rtc=off,isa-serial=on,auto-kernel-cmdline=off";
        let mut command = self.common(machine);
        extend(&mut command, &["-kernel", &image.to_string_lossy(), "-append", &format!("-- {nonce}")]);
        command
    }

    /// What both have in common: the accelerator, the named memory, no default device, and the channel.
    pub(super) fn common(&self, machine: &str) -> Vec<String> {
        let mut command = vec![self.binary.to_string_lossy().into_owned()];
        extend(&mut command, &["-machine", &format!("{machine},memory-backend={RAM}")]);
        match self.accel {
            Accel::Tcg => extend(&mut command, &["-accel", "tcg"]),
            Accel::Kvm => extend(&mut command, &["-accel", "kvm", "-cpu", &self.cpu]),
        }
        // Shared: a private mapping of a memfd takes each touched page twice, once as the file's own (found
        // in Shmem only) and once as the copy.
        let memory = format!("memory-backend-memfd,id={RAM},size={}M,share=on", self.memory_mib);
        extend(&mut command, &["-m", &format!("{}M", self.memory_mib), "-object", &memory]);
        extend(&mut command, &["-smp", &self.cpus.to_string()]);
        extend(&mut command, &["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        extend(&mut command, &["-chardev", "stdio,id=channel,signal=off", "-serial", "chardev:channel"]);
        command
    }
}

/// Gives a machine RAM that the kernel may merge: private and anonymous, which no memfd is, and marked for it. None
/// where no word of the command line names its memory.
pub fn make_mergeable(command: &mut [String]) -> Option<()> {
    let object = command.iter_mut().find(|word| word.starts_with("memory-backend-memfd,"))?;
    let anonymous = object.replacen("memory-backend-memfd", "memory-backend-ram", 1);
    *object = anonymous.replace("share=on", "share=off") + ",merge=on";
    Some(())
}

pub(super) fn extend(command: &mut Vec<String>, arguments: &[&str]) {
    command.extend(arguments.iter().map(|&argument| argument.to_owned()));
}

/// A path as QEMU's options take it, in which a comma ends a value and two are one.
pub(super) fn spread(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

/// The line with which a guest kernel said why it died, if its console log holds one: `Kernel panic - not
/// syncing: ...`.
#[must_use]
pub fn panic_in(log: &str) -> Option<String> {
    const WORDS: &str = "Kernel panic - ";
    log.lines().find_map(|line| Some(line[line.find(WORDS)?..].trim_end().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{Accel, Qemu, make_mergeable, panic_in};

    fn words(command: &[String]) -> String {
        command.join(" ")
    }

    #[test]
    fn q35_under_tcg() {
        let qemu = Qemu::new("/usr/bin/qemu".as_ref(), Accel::Tcg);
        let command = qemu.q35_command("n7", "/k".as_ref(), "/i".as_ref(), "/a,b/log".as_ref());
        assert_eq!(
            words(&command),
            "/usr/bin/qemu -machine q35,memory-backend=tare-ram -accel tcg -m 256M \
             -object memory-backend-memfd,id=tare-ram,size=256M,share=on -smp 1 \
             -nodefaults -no-user-config -display none -no-reboot \
             -chardev stdio,id=channel,signal=off -serial chardev:channel \
             -chardev file,id=console,path=/a,,b/log -serial chardev:console -kernel /k -initrd /i \
             -append console=ttyS1 quiet panic=-1 reboot=t -- n7 machine=ttyS0"
        );
        assert_eq!(
            command.last().map(String::as_str),
            Some("console=ttyS1 quiet panic=-1 reboot=t -- n7 machine=ttyS0")
        );
    }

    #[test]
    fn kvm_names_its_processor() {
        let mut qemu = Qemu::new("qemu".as_ref(), Accel::Kvm);
        assert!(words(&qemu.nano_command("n7", "/n".as_ref())).contains("-accel kvm -cpu host "));
        qemu.cpu = "kvm64".to_owned();
        assert!(words(&qemu.nano_command("n7", "/n".as_ref())).contains("-accel kvm -cpu kvm64 "));
    }

    #[test]
    fn mergeable_memory_is_private_anonymous_and_marked() {
        let mut command = Qemu::new("qemu".as_ref(), Accel::Tcg).nano_command("n7", "/n".as_ref());
        make_mergeable(&mut command).unwrap();
        let wanted = "-object memory-backend-ram,id=tare-ram,size=256M,share=off,merge=on ";
        assert!(words(&command).contains(wanted), "{command:?}");
        assert_eq!(make_mergeable(&mut ["qemu".to_owned()]), None);
    }

    #[test]
    fn quotes_a_real_panic() {
        let log = include_str!("../../tests/fixtures/guest-panic.txt");
        assert_eq!(
            panic_in(log).as_deref(),
            Some("Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000004")
        );
    }

    #[test]
    fn a_clean_log_holds_no_panic() {
        assert_eq!(panic_in("[    1.719340] reboot: Restarting system\n"), None);
        assert_eq!(panic_in(""), None);
    }
}
