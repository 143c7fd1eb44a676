//! Which system calls are refused, as data.
//!
//! A list of refusals, where Docker keeps a list of some 340 permissions: what a program may need
//! grows with every release, what must not be reachable from a box is short and known. The price of a
//! list of refusals is a call that it does not know yet, so numbers above [`LAST_REVIEWED`] do not
//! exist in the box. Most of what is listed would need a capability that the box does not have; the
//! list holds even if one was added, and keeps the attack surface of the kernel small.
//!
//! Man page: syscalls(2). Look at it: `tare-runtime spec; grep -A1 '"names"' config.json`, and for the
//! numbers `arch/x86/entry/syscalls/` in the kernel

/// What a refused call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denial {
    /// EPERM: not for you.
    NotPermitted,
    /// ENOSYS: there is no such call, use the older one.
    Missing,
}

/// When a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Whatever its arguments are.
    Always,
    /// If argument `argument` has any bit of `mask`.
    AnyBit {
        /// Its position, from 0.
        argument: u32,
        /// The bits.
        mask: u32,
    },
    /// If argument `argument` is one of `values`.
    OneOf {
        /// Its position, from 0.
        argument: u32,
        /// The values, of 32 bits: the kernel reads these arguments as int.
        values: &'static [u32],
    },
    /// If argument `argument` is none of `values`.
    NoneOf {
        /// Its position, from 0.
        argument: u32,
        /// The values.
        values: &'static [u32],
    },
}

/// One system call with its number in the 64-bit table and in the 32-bit table behind `int 0x80`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The name, as in syscalls(2).
    pub name: &'static str,
    /// Number for x86_64, also with the x32 bit.
    pub native: Option<u32>,
    /// Number for i386.
    pub compat: Option<u32>,
    /// The answer.
    pub denial: Denial,
    /// When.
    pub when: Condition,
}

const fn both(name: &'static str, native: u32, compat: u32) -> Rule {
    let (denial, when) = (Denial::NotPermitted, Condition::Always);
    Rule { name, native: Some(native), compat: Some(compat), denial, when }
}

/// From number 424 on the two tables are one.
const fn same(name: &'static str, number: u32) -> Rule {
    both(name, number, number)
}

const fn native(name: &'static str, number: u32) -> Rule {
    Rule { compat: None, ..both(name, number, 0) }
}

const fn compat(name: &'static str, number: u32) -> Rule {
    Rule { native: None, ..both(name, 0, number) }
}

/// The flags of clone(2) that make namespaces. CLONE_NEWTIME is not among clone's.
const NAMESPACE_FLAGS: u32 = 0x7e02_0000;

/// Address families whose code reaches beyond the box: AF_ALG (the kernel's crypto, a source of
/// escalations), AF_VSOCK (the hypervisor).
const FAMILIES: &[u32] = &[38, 40];

/// Linux, 32-bit Linux, both calling themselves version 2.6, and the question "which one am I".
const PERSONALITIES: &[u32] = &[0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// The last system call that was looked at for this list (file_setattr, Linux 6.17).
pub const LAST_REVIEWED: u32 = 469;

/// x32 has some numbers of its own above 512.
pub(crate) const X32_ONLY: &[(&str, u32)] = &[("kexec_load", 528), ("move_pages", 533)];

/// All refusals.
pub const RULES: &[Rule] = &[
    // Mounts.
    both("mount", 165, 21),
    both("umount2", 166, 52),
    compat("umount", 22),
    both("pivot_root", 155, 217),
    same("open_tree", 428),
    same("move_mount", 429),
    same("fsopen", 430),
    same("fsconfig", 431),
    same("fsmount", 432),
    same("fspick", 433),
    same("mount_setattr", 442),
    same("open_tree_attr", 467),
    both("quotactl", 179, 131),
    same("quotactl_fd", 443),
    both("swapon", 167, 87),
    both("swapoff", 168, 115),
    // Namespaces. clone3 passes its flags in memory, where a filter cannot look, so it does not exist
    // here and the C library falls back to clone.
    both("unshare", 272, 310),
    both("setns", 308, 346),
    Rule { denial: Denial::Missing, ..same("clone3", 435) },
    Rule { when: Condition::AnyBit { argument: 0, mask: NAMESPACE_FLAGS }, ..both("clone", 56, 120) },
    both("sethostname", 170, 74),
    both("setdomainname", 171, 121),
    // The kernel itself: its code, its log, its clock, its accounting, its power.
    both("bpf", 321, 357),
    both("perf_event_open", 298, 336),
    both("init_module", 175, 128),
    both("finit_module", 313, 350),
    both("delete_module", 176, 129),
    both("create_module", 174, 127),
    both("get_kernel_syms", 177, 130),
    both("query_module", 178, 167),
    both("kexec_load", 246, 283),
    native("kexec_file_load", 320),
    both("reboot", 169, 88),
    both("syslog", 103, 103),
    both("acct", 163, 51),
    both("settimeofday", 164, 79),
    compat("stime", 25),
    both("clock_settime", 227, 264),
    compat("clock_settime64", 404),
    both("iopl", 172, 110),
    both("ioperm", 173, 101),
    compat("vm86old", 113),
    compat("vm86", 166),
    // Things without a namespace of their own: keys, file handles, other processes, NUMA placement.
    both("add_key", 248, 286),
    both("request_key", 249, 287),
    both("keyctl", 250, 288),
    both("open_by_handle_at", 304, 342),
    both("fanotify_init", 300, 338),
    both("kcmp", 312, 349),
    same("pidfd_getfd", 438),
    both("mbind", 237, 274),
    both("set_mempolicy", 238, 276),
    both("get_mempolicy", 239, 275),
    same("set_mempolicy_home_node", 450),
    both("migrate_pages", 256, 294),
    both("move_pages", 279, 317),
    // Large code with a history of faults.
    both("userfaultfd", 323, 374),
    same("io_uring_setup", 425),
    same("io_uring_enter", 426),
    same("io_uring_register", 427),
    // Long dead.
    both("uselib", 134, 86),
    both("ustat", 136, 62),
    both("sysfs", 139, 135),
    both("_sysctl", 156, 149),
    both("vhangup", 153, 111),
    both("lookup_dcookie", 212, 253),
    both("nfsservctl", 180, 169),
    // By argument.
    Rule { when: Condition::OneOf { argument: 0, values: FAMILIES }, ..both("socket", 41, 359) },
    // The 32-bit socketcall(SYS_SOCKET, ...) passes the family in memory: no sockets by this door.
    Rule { when: Condition::OneOf { argument: 0, values: &[1] }, ..compat("socketcall", 102) },
    Rule { when: Condition::NoneOf { argument: 0, values: PERSONALITIES }, ..both("personality", 135, 136) },
];
