//! SECURITY's default confinement, item by item, as data: what is looked at, and what should be found.

use std::collections::BTreeMap;

use crate::look;
use crate::report::Report;

/// What should be found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expected {
    Is(&'static str),
    OneOf(&'static [&'static str]),
    /// As root, and where the box's root is an ordinary user outside.
    ByUser(&'static str, &'static str),
    /// What the caller gave under this name.
    Fact(&'static str),
    /// Something else than what the caller gave under this name.
    NotFact(&'static str),
}

use Expected::{ByUser, Fact, Is, NotFact, OneOf};

/// What only the caller can know: `name=value` on the checker's command line.
pub(crate) type Facts = BTreeMap<String, String>;

/// One line of the report.
pub(crate) struct Item {
    pub(crate) name: &'static str,
    look: fn(&str) -> String,
    /// What `look` looks at.
    object: &'static str,
    expected: Expected,
}

const fn item(
    name: &'static str,
    look: fn(&str) -> String,
    object: &'static str,
    expected: Expected,
) -> Item {
    Item { name, look, object, expected }
}

const fn masked(name: &'static str, path: &'static str) -> Item {
    item(name, look::mask, path, OneOf(&["empty read-only directory", "null device", "absent"]))
}

const fn read_only(name: &'static str, path: &'static str) -> Item {
    item(name, look::write, path, OneOf(&["read-only", "absent"]))
}

const NONE: &str = "0000000000000000";
/// Docker's fourteen without CAP_MKNOD.
const CAPABILITIES: &str = "00000000a00425fb";

/// Everything in /dev: kind, number, mode or target.
const DEV: &str = "fd->/proc/self/fd full:c1:7:666 mqueue:d:1777 null:c1:3:666 ptmx->pts/ptmx pts:d:755 random:c1:8:666 \
                   shm:d:1777 stderr->/proc/self/fd/2 stdin->/proc/self/fd/0 stdout->/proc/self/fd/1 tty:c5:0:666 \
                   urandom:c1:9:666 zero:c1:5:666";

/// In a user namespace nodes cannot be made; the host's six are bound one by one.
const BOUND: &str = "/dev/full /dev/null /dev/random /dev/tty /dev/urandom /dev/zero";

/// All items.
pub(crate) const ITEMS: &[Item] = &[
    // Rights.
    item("CapInh", look::status, "CapInh", Is(NONE)),
    item("CapPrm", look::status, "CapPrm", Is(CAPABILITIES)),
    item("CapEff", look::status, "CapEff", Is(CAPABILITIES)),
    item("CapBnd", look::status, "CapBnd", Is(CAPABILITIES)),
    item("CapAmb", look::status, "CapAmb", Is(NONE)),
    item("NoNewPrivs", look::status, "NoNewPrivs", Is("1")),
    item("Seccomp", look::status, "Seccomp", Is("2")),
    item("Seccomp_filters", look::status, "Seccomp_filters", Fact("filters")),
    item("Uid", look::status, "Uid", Is("0 0 0 0")),
    item("Gid", look::status, "Gid", Is("0 0 0 0")),
    item("Groups", look::status, "Groups", Is("")),
    // Hidden.
    masked("masked:/proc/acpi", "/proc/acpi"),
    masked("masked:/proc/asound", "/proc/asound"),
    masked("masked:/proc/interrupts", "/proc/interrupts"),
    masked("masked:/proc/kcore", "/proc/kcore"),
    masked("masked:/proc/keys", "/proc/keys"),
    masked("masked:/proc/latency_stats", "/proc/latency_stats"),
    masked("masked:/proc/sched_debug", "/proc/sched_debug"),
    masked("masked:/proc/scsi", "/proc/scsi"),
    masked("masked:/proc/timer_list", "/proc/timer_list"),
    masked("masked:/proc/timer_stats", "/proc/timer_stats"),
    masked("masked:/sys/firmware", "/sys/firmware"),
    masked("masked:/sys/devices/virtual/powercap", "/sys/devices/virtual/powercap"),
    // Kept as they are.
    read_only("read-only:/proc/bus", "/proc/bus"),
    read_only("read-only:/proc/fs", "/proc/fs"),
    read_only("read-only:/proc/irq", "/proc/irq"),
    read_only("read-only:/proc/sys", "/proc/sys"),
    read_only("read-only:/proc/sysrq-trigger", "/proc/sysrq-trigger"),
    read_only("read-only:/sys", "/sys"),
    // The box's own UTS namespace has this value: if it is written, nothing happens to the host.
    item("read-only:domainname", look::write_file, "/proc/sys/kernel/domainname", ByUser("EROFS", "EACCES")),
    // File systems: kind, then the mount's own flags.
    item("mount:/", look::mount_flags, "/", Is("overlay rw,nodev")),
    item("mount:/proc", look::mount_flags, "/proc", Is("proc rw,nosuid,nodev,noexec")),
    item("mount:/sys", look::mount_flags, "/sys", Is("sysfs ro,nosuid,nodev,noexec")),
    item("mount:/dev", look::mount_flags, "/dev", Is("tmpfs rw,nosuid,noexec")),
    item("mount:/dev/pts", look::mount_flags, "/dev/pts", Is("devpts rw,nosuid,noexec")),
    item("mount:/dev/shm", look::mount_flags, "/dev/shm", Is("tmpfs rw,nosuid,nodev,noexec")),
    item("mount:/dev/mqueue", look::mount_flags, "/dev/mqueue", Is("mqueue rw,nosuid,nodev,noexec")),
    item("mounts:others", look::other_mounts, "", ByUser("", BOUND)),
    item("mounts:propagated", look::propagated_mounts, "", Is("")),
    item("root", look::identity, "/", NotFact("root")),
    // Devices. The lab puts a node with the number of /dev/zero into the image.
    item("dev", look::dev, "/dev", Is(DEV)),
    item("device-in-image", look::open_device, "/zero", Is("EACCES")),
    item("null", look::write_file, "/dev/null", Is("written")),
    item("zero", look::open_device, "/dev/zero", Is("open")),
    item("pts:names", look::names, "/dev/pts", Is("ptmx")),
    // A new instance counts from 0.
    item("pts:first", look::first_terminal, "", Is("/dev/pts/0")),
    // Namespaces.
    item("ns:pid", look::namespace, "pid", NotFact("ns.pid")),
    item("ns:mnt", look::namespace, "mnt", NotFact("ns.mnt")),
    item("ns:net", look::namespace, "net", NotFact("ns.net")),
    item("ns:ipc", look::namespace, "ipc", NotFact("ns.ipc")),
    item("ns:uts", look::namespace, "uts", NotFact("ns.uts")),
    item("ns:cgroup", look::namespace, "cgroup", NotFact("ns.cgroup")),
    item("cgroup", look::cgroup_paths, "", Is("/")),
    item("interfaces", look::interfaces, "", Is("lo")),
    item("hostname", look::hostname, "", Fact("hostname")),
    item("pid", look::pid, "", Is("1")),
    item("parent", look::parent, "", Is("0")),
    item("processes", look::processes, "", Is("1")),
    item("session", look::session, "", Is("1")),
    item("terminal", look::open_device, "/dev/tty", Is("ENXIO")),
    // Limits and the rest.
    item("pids-limit", look::pids_limit, "", Fact("pids")),
    item("umask", look::status, "Umask", Is("0022")),
    item("descriptors", look::descriptors, "", Is("0 1 2")),
    item("environment", look::environment, "", Fact("env")),
    item("working-directory", look::working_directory, "", Is("/")),
    // The last, because the kernel then regards the checker as a program that was somebody else's.
    item("user-change", look::change_user, "", ByUser("there and back", "EINVAL")),
];

/// Looks at all items.
pub(crate) fn check(facts: &Facts, report: &mut Report) {
    let fact = |name: &str| facts.get(name).map_or("(not told)", String::as_str);
    let rootless = fact("rootless") == "yes";
    for Item { name, look, object, expected } in ITEMS {
        let got = look(object);
        match *expected {
            Is(text) => report.compare(name, text, &got),
            ByUser(root, _) if !rootless => report.compare(name, root, &got),
            ByUser(_, user) => report.compare(name, user, &got),
            Fact(key) => report.compare(name, fact(key), &got),
            OneOf(all) => report.judge(name, &all.join(" or "), &got, all.contains(&got.as_str())),
            NotFact(key) => {
                let other = !got.is_empty() && facts.get(key).is_some_and(|host| *host != got);
                report.judge(name, &format!("other than {}", fact(key)), &got, other);
            }
        }
    }
}
