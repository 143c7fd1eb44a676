//! `firecracker`: the monitor that was made for one purpose, without its API: everything is in a file.
//!
//! docs/getting-started.md and docs/initrd.md of its repository; what the file may hold is `VmmConfig` there.

use serde_json::{Value, json};

use super::kvm_only::{Boot, Kind, KvmOnly};
use super::{MEMORY, text};
use crate::contenders::CPUS;

const KIND: Kind = Kind {
    name: "firecracker",
    variable: "TARE_FIRECRACKER",
    fix: "put the program of one of its releases on PATH, or name it in TARE_FIRECRACKER (Debian has no package)",
    about: "Firecracker without its API and its jailer, a small tickless kernel, the payload as initramfs",
    inside_clock: &[
        "configuration file written",
        "pipes",
        "request to the spawner",
        "Firecracker",
        "kernel and initramfs loaded",
        "guest kernel boot",
        "payload as /init",
        "READY",
    ],
    channel: "ttyS0, the kernel's console too (emergencies only)",
    terminal: false,
    // Its only serial port: the kernel may say there why it dies, and nothing else. A reset by the keyboard's
    // controller is what the monitor takes for the end.
    words: ["console=ttyS0 loglevel=1 panic=-1 reboot=k pci=off random.trust_cpu=on", ""],
    command: |boot| {
        // Its log would otherwise be written to the channel.
        let words = ["--no-api", "--config-file", &text(&boot.configuration), "--log-path", &text(&boot.log)];
        let program = text(&boot.program);
        [&program]
            .into_iter()
            .map(String::as_str)
            .chain(words)
            .chain(["--level", "Error"])
            .map(str::to_owned)
            .collect()
    },
    configuration: Some(configuration),
};

/// See the file's head.
pub fn new() -> KvmOnly {
    KvmOnly::of(&KIND)
}

/// The machine as its configuration file has it.
pub fn configuration(boot: &Boot) -> Value {
    json!({
        "boot-source": {
            "kernel_image_path": boot.kernel,
            "initrd_path": boot.initramfs,
            "boot_args": boot.words,
        },
        // Not optional, though there is none.
        "drives": [],
        "machine-config": { "vcpu_count": CPUS, "mem_size_mib": MEMORY >> 20 },
    })
}

#[cfg(test)]
mod tests {
    use super::{Boot, KIND, configuration};

    fn boot() -> Boot {
        Boot {
            program: "/bin/firecracker".into(),
            kernel: "/k".into(),
            initramfs: "/i".into(),
            words: "quiet -- n7 machine=ttyS0".into(),
            configuration: "/b/1.json".into(),
            log: "/b/1.log".into(),
        }
    }

    #[test]
    fn all_is_in_the_file_and_the_log_beside_the_channel() {
        assert_eq!(
            (KIND.command)(&boot()).join(" "),
            "/bin/firecracker --no-api --config-file /b/1.json --log-path /b/1.log --level Error"
        );
        assert_eq!(
            configuration(&boot()).to_string(),
            r#"{"boot-source":{"boot_args":"quiet -- n7 machine=ttyS0","initrd_path":"/i","kernel_image_path":"/k"},"drives":[],"machine-config":{"mem_size_mib":256,"vcpu_count":1}}"#
        );
    }
}
