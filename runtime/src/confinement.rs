//! What a box may see and do by default: the profile as data, for whoever wants to build the same box.
//!
//! At least as strict as Docker's default. Without it root in the box would be nearly root on the host:
//! the same kernel, the same /proc/sys, the same devices. The steps that apply it are in
//! `capabilities.rs`, `mounts.rs`, `devices.rs` and `seccomp/`; the benchmark translates it for the
//! runtimes we are compared with, so that every contender builds the same box.
//!
//! Man pages: capabilities(7), proc(5), seccomp(2). Look at it:
//! `tare-runtime run --rootfs DIR box -- /bin/sh -c 'grep -E "Cap|Priv|Seccomp" /proc/self/status'`

use std::ffi::CStr;

use nix::mount::MsFlags;

pub use crate::seccomp::rules::{Condition, Denial, LAST_REVIEWED, RULES, Rule};

/// A capability's name and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// As in capabilities(7).
    pub name: &'static str,
    /// Its bit.
    pub number: u32,
}

const fn capability(name: &'static str, number: u32) -> Capability {
    Capability { name, number }
}

/// The capabilities that stay: Docker's fourteen without CAP_MKNOD.
pub const CAPABILITIES: &[Capability] = &[
    capability("CAP_CHOWN", 0),
    capability("CAP_DAC_OVERRIDE", 1),
    capability("CAP_FOWNER", 3),
    capability("CAP_FSETID", 4),
    capability("CAP_KILL", 5),
    capability("CAP_SETGID", 6),
    capability("CAP_SETUID", 7),
    capability("CAP_SETPCAP", 8),
    capability("CAP_NET_BIND_SERVICE", 10),
    capability("CAP_NET_RAW", 13),
    capability("CAP_SYS_CHROOT", 18),
    capability("CAP_AUDIT_WRITE", 29),
    capability("CAP_SETFCAP", 31),
];

/// The same as the kernel's bit mask, as /proc/self/status shows it.
pub const CAPABILITY_MASK: u64 = {
    let (mut mask, mut i) = (0, 0);
    while i < CAPABILITIES.len() {
        mask |= 1 << CAPABILITIES[i].number;
        i += 1;
    }
    mask
};

/// One file system mounted inside.
#[derive(Clone, Copy, Debug)]
pub struct Mount {
    /// Shown as the device in /proc/self/mountinfo.
    pub source: &'static CStr,
    /// Where.
    pub target: &'static CStr,
    /// The file system's type.
    pub kind: &'static CStr,
    /// Flags of the mount.
    pub flags: MsFlags,
    /// Options of the file system, as root.
    pub data: &'static CStr,
    /// The same in a user namespace, where only id 0 exists.
    pub data_rootless: &'static CStr,
}

const QUIET: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

const fn mount(
    source: &'static CStr,
    target: &'static CStr,
    kind: &'static CStr,
    flags: MsFlags,
    data: &'static CStr,
) -> Mount {
    Mount { source, target, kind, flags, data, data_rootless: data }
}

/// Processes of the box's own pid namespace, and the kernel's settings.
pub const PROC: Mount = mount(c"proc", c"/proc", c"proc", QUIET, c"");
/// Devices and drivers, for reading; its /sys/class/net shows the box's own network namespace.
pub const SYS: Mount = mount(c"sysfs", c"/sys", c"sysfs", QUIET.union(MsFlags::MS_RDONLY), c"");
/// An empty directory for the few devices a program needs.
pub const DEV: Mount = mount(
    c"tmpfs",
    c"/dev",
    c"tmpfs",
    MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC).union(MsFlags::MS_STRICTATIME),
    c"mode=755,size=65536k",
);
/// Pseudo-terminals of the box's own.
pub const DEVPTS: Mount = Mount {
    data_rootless: c"newinstance,ptmxmode=0666,mode=0620",
    ..mount(
        c"devpts",
        c"/dev/pts",
        c"devpts",
        MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC),
        c"newinstance,ptmxmode=0666,mode=0620,gid=5",
    )
};
/// POSIX shared memory.
pub const SHM: Mount = mount(c"shm", c"/dev/shm", c"tmpfs", QUIET, c"mode=1777,size=65536k");
/// POSIX message queues of the box's own IPC namespace.
pub const MQUEUE: Mount = mount(c"mqueue", c"/dev/mqueue", c"mqueue", QUIET, c"");

/// All of them, in the order in which they are mounted.
pub const MOUNTS: &[Mount] = &[PROC, SYS, DEV, DEVPTS, SHM, MQUEUE];

/// A character device of the box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Where.
    pub path: &'static CStr,
    /// The same relative to the host's root, for binding it where making nodes is not allowed.
    pub relative: &'static CStr,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

const fn device(path: &'static CStr, relative: &'static CStr, major: u32, minor: u32) -> Device {
    Device { path, relative, major, minor }
}

/// The devices, readable and writable by everybody. None of them reaches hardware.
pub const DEVICES: &[Device] = &[
    device(c"/dev/null", c"dev/null", 1, 3),
    device(c"/dev/zero", c"dev/zero", 1, 5),
    device(c"/dev/full", c"dev/full", 1, 7),
    device(c"/dev/random", c"dev/random", 1, 8),
    device(c"/dev/urandom", c"dev/urandom", 1, 9),
    device(c"/dev/tty", c"dev/tty", 5, 0),
];

/// One line of the devices controller: what may be done with which nodes, wherever they lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// Allowed or denied; later rules win.
    pub allow: bool,
    /// `c`haracter, `b`lock, or `a`ll of both.
    pub kind: char,
    /// Major number; `None` is any.
    pub major: Option<u32>,
    /// Minor number; `None` is any.
    pub minor: Option<u32>,
    /// Of [`DeviceRule::MAKE`], [`DeviceRule::READ`] and [`DeviceRule::WRITE`].
    pub access: u32,
}

impl DeviceRule {
    /// mknod; the kernel's numbers of linux/bpf.h.
    pub const MAKE: u32 = 1;
    /// Open for reading.
    pub const READ: u32 = 2;
    /// Open for writing.
    pub const WRITE: u32 = 4;

    /// The rule as the kernel reads it in `devices.allow` and `devices.deny` of cgroup v1.
    pub fn line(&self) -> String {
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |n| n.to_string());
        match self.kind {
            'a' => "a".to_owned(),
            kind => format!("{kind} {}:{} {}", number(self.major), number(self.minor), self.access_letters()),
        }
    }

    /// Parses letters such as "rw".
    pub fn access(letters: &str) -> Option<u32> {
        let bit = |letter| match letter {
            'm' => Some(Self::MAKE),
            'r' => Some(Self::READ),
            'w' => Some(Self::WRITE),
            _ => None,
        };
        letters.chars().try_fold(0, |access, letter| Some(access | bit(letter)?))
    }

    /// The letters.
    pub fn access_letters(&self) -> String {
        let letters = [('r', Self::READ), ('w', Self::WRITE), ('m', Self::MAKE)];
        letters.iter().filter(|(_, bit)| self.access & bit != 0).map(|(letter, _)| *letter).collect()
    }
}

const fn rule(major: u32, minor: Option<u32>) -> DeviceRule {
    let access = DeviceRule::READ | DeviceRule::WRITE;
    DeviceRule { allow: true, kind: 'c', major: Some(major), minor, access }
}

/// Everything is denied but the nine known ones: the six of [`DEVICES`], the console, the multiplexer of
/// pseudo-terminals and they themselves. Nothing may be made.
pub const DEVICE_RULES: &[DeviceRule] = &[
    DeviceRule { allow: false, kind: 'a', major: None, minor: None, access: 7 },
    rule(1, Some(3)),
    rule(1, Some(5)),
    rule(1, Some(7)),
    rule(1, Some(8)),
    rule(1, Some(9)),
    rule(5, Some(0)),
    rule(5, Some(1)),
    rule(5, Some(2)),
    rule(136, None),
];

/// Symbolic links in /dev: name and what it points to.
pub const LINKS: &[(&CStr, &CStr)] = &[
    (c"/dev/fd", c"/proc/self/fd"),
    (c"/dev/stdin", c"/proc/self/fd/0"),
    (c"/dev/stdout", c"/proc/self/fd/1"),
    (c"/dev/stderr", c"/proc/self/fd/2"),
    (c"/dev/ptmx", c"pts/ptmx"),
];

/// What hides a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cover {
    /// The box's own /dev/null over a file.
    Null,
    /// An empty read-only directory over a directory.
    Empty,
}

/// A path with its cover. Paths that this kernel does not have are passed over.
pub type Mask = (&'static CStr, Cover);

/// A directory in which there is nothing, nor can be: the kernel keeps it because programs once looked there
/// (fs/proc/proc_tty.c), and nobody makes files in /proc. It covers directories, so that a box needs no empty file
/// system for that. Each file system that stands costs every memory cgroup of the host 16 bytes of a table of
/// what can be reclaimed (mm/shrinker.c), and each round of reclaim a look at them: at 10,000 boxes with eight file
/// systems each these tables were two thirds of all memory in use, and reading them kept one CPU busy (measured).
pub const NOTHING: &CStr = c"/proc/tty/ldisc";

/// Paths that tell about the host, or let its hardware be steered.
pub const MASKED_PATHS: &[Mask] = &[
    (c"/proc/acpi", Cover::Empty),
    (c"/proc/asound", Cover::Empty),
    (c"/proc/interrupts", Cover::Null),
    (c"/proc/kcore", Cover::Null),
    (c"/proc/keys", Cover::Null),
    (c"/proc/latency_stats", Cover::Null),
    (c"/proc/sched_debug", Cover::Null),
    (c"/proc/scsi", Cover::Empty),
    (c"/proc/timer_list", Cover::Null),
    (c"/proc/timer_stats", Cover::Null),
    (c"/sys/firmware", Cover::Empty),
    (c"/sys/devices/virtual/powercap", Cover::Empty),
];

/// Paths through which root would change the whole host.
pub const READONLY_PATHS: &[&CStr] =
    &[c"/proc/bus", c"/proc/fs", c"/proc/irq", c"/proc/sys", c"/proc/sysrq-trigger"];

/// The mode of new files: nobody but the owner writes.
pub const UMASK: u32 = 0o022;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_is_the_one_that_security_promises() {
        assert_eq!(format!("{CAPABILITY_MASK:016x}"), "00000000a00425fb");
    }

    #[test]
    fn the_lists_are_the_ones_that_security_promises() {
        let masked: Vec<&str> = MASKED_PATHS.iter().map(|(path, _)| path.to_str().unwrap()).collect();
        let names = "acpi asound interrupts kcore keys latency_stats sched_debug scsi timer_list timer_stats";
        for name in names.split(' ') {
            assert!(masked.contains(&format!("/proc/{name}").as_str()), "/proc/{name} must be masked");
        }
        for path in ["/sys/firmware", "/sys/devices/virtual/powercap"] {
            assert!(masked.contains(&path), "{path} must be masked");
        }
        let frozen: Vec<&str> = READONLY_PATHS.iter().map(|path| path.to_str().unwrap()).collect();
        for name in ["bus", "fs", "irq", "sys", "sysrq-trigger"] {
            assert!(frozen.contains(&format!("/proc/{name}").as_str()), "/proc/{name} must be read-only");
        }
    }

    #[test]
    fn relative_device_paths_name_the_same_files() {
        for device in DEVICES {
            assert_eq!(device.path.to_bytes()[1..], *device.relative.to_bytes());
        }
    }
}
