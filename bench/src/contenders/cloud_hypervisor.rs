//! `cloud-hypervisor`: a monitor for ordinary servers' loads, told everything on its command line.
//!
//! Its README and docs/ say how a kernel is booted directly (PVH). Three things set it apart here. Of standard input
//! it takes notice only where that is a terminal, so the channel is one. A reset restarts the machine in place: the
//! payload ends it through the port that its ACPI tables name for sleep. And its monitor offers no second serial port.

use super::MEMORY;
use super::kvm_only::{Kind, KvmOnly};
use super::text;
use crate::contenders::CPUS;

const KIND: Kind = Kind {
    name: "cloud-hypervisor",
    variable: "TARE_CLOUD_HYPERVISOR",
    fix: "put the program of one of its releases on PATH, or name it in TARE_CLOUD_HYPERVISOR (Debian has no package)",
    about: "Cloud Hypervisor, a small tickless kernel entered by PVH, the payload as initramfs",
    inside_clock: &[
        "pseudo terminal",
        "request to the spawner",
        "Cloud Hypervisor",
        "kernel and initramfs loaded",
        "guest kernel boot",
        "payload as /init",
        "READY",
    ],
    channel: "ttyS0 on a pseudo terminal, the kernel's console too (emergencies only)",
    terminal: true,
    words: ["console=ttyS0 loglevel=1 panic=-1 random.trust_cpu=on", " off=cloud-hypervisor"],
    command: |boot| {
        let (cpus, memory) = (format!("boot={CPUS}"), format!("size={}M", MEMORY >> 20));
        let words = [
            &text(&boot.program),
            "--kernel",
            &text(&boot.kernel),
            "--initramfs",
            &text(&boot.initramfs),
            "--cmdline",
            &boot.words,
            "--cpus",
            &cpus,
            "--memory",
            &memory,
            "--serial",
            "tty",
            "--console",
            "off",
        ];
        words.map(str::to_owned).into()
    },
    configuration: None,
};

/// See the file's head.
pub fn new() -> KvmOnly {
    KvmOnly::of(&KIND)
}

#[cfg(test)]
mod tests {
    use super::super::kvm_only::Boot;
    use super::KIND;

    #[test]
    fn all_is_on_the_command_line() {
        let boot = Boot {
            program: "/bin/cloud-hypervisor".into(),
            kernel: "/k".into(),
            initramfs: "/i".into(),
            words: "quiet -- n7 machine=ttyS0 off=cloud-hypervisor".into(),
            configuration: "/b/1.json".into(),
            log: "/b/1.log".into(),
        };
        assert_eq!(
            (KIND.command)(&boot).join(" "),
            "/bin/cloud-hypervisor --kernel /k --initramfs /i \
             --cmdline quiet -- n7 machine=ttyS0 off=cloud-hypervisor \
             --cpus boot=1 --memory size=256M --serial tty --console off"
        );
    }
}
