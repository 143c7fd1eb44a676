//! The system calls, as data: what the box answers, and what a kernel without our filter would.
//!
//! Written from the list in SECURITY and the kernel's headers (asm/unistd_64.h, unistd_32.h), not from
//! `rules.rs`; a test compares the two. Arguments are chosen so that the kernel stops at the first look:
//! a wrong magic number, a bad descriptor, an unknown flag, a null pointer. Nothing here restarts, mounts,
//! loads or sets anything, even where it is allowed.

use libc::{EACCES, EBADF, EFAULT, EINVAL, ENOSYS, ENOTTY, EOPNOTSUPP, EPERM, ESRCH};

use crate::calls::Answer::{self, Fails, Works};
use crate::calls::Pointer::{Page, Path};
use crate::calls::{Call, open, refused, refused_32};

// What a bare kernel says. "Not permitted" is its own answer where it asks for a capability first.
const NOT_PERMITTED: &[Answer] = &[Fails(EPERM)];
const INVALID: &[Answer] = &[Fails(EINVAL)];
const BAD_POINTER: &[Answer] = &[Fails(EFAULT)];
const BAD_FILE: &[Answer] = &[Fails(EBADF)];
const NO_PROCESS: &[Answer] = &[Fails(ESRCH)];
const GONE: &[Answer] = &[Fails(ENOSYS)];
const WORKS: &[Answer] = &[Works];

/// Together with a namespace's flag this is no valid clone(2): the kernel refuses before it makes anything.
const ALONE: i64 = libc::CLONE_THREAD as i64;
/// Not a flag of unshare(2).
const ODD: i64 = 1;
/// Not a type of socket: refused before the kernel loads a module for the family.
const NO_TYPE: i64 = 15;

const NEWTIME: i64 = 0x80;
const NEWNS: i64 = 0x2_0000;
const NEWCGROUP: i64 = 0x0200_0000;
const NEWUTS: i64 = 0x0400_0000;
const NEWIPC: i64 = 0x0800_0000;
const NEWUSER: i64 = 0x1000_0000;
const NEWPID: i64 = 0x2000_0000;
const NEWNET: i64 = 0x4000_0000;

/// ADJ_TICK, and then a tick of no length, which the kernel refuses to whoever may set the clock.
const SET_TICK: &[u32] = &[0x4000];

/// All rows.
pub(crate) const CALLS: &[Call] = &[
    // Mounts.
    refused("mount", (165, 21), &[0, 0, 0, 0, 0], BAD_POINTER),
    refused("umount2", (166, 52), &[0, -1], INVALID),
    refused_32("umount", 22, &[0], BAD_POINTER),
    refused("pivot_root", (155, 217), &[0, 0], NOT_PERMITTED),
    refused("open_tree", (428, 428), &[-1, 0, -1], INVALID),
    refused("open_tree_attr", (467, 467), &[-1, 0, -1, 0, 0], INVALID),
    refused("move_mount", (429, 429), &[-1, 0, -1, 0, -1], NOT_PERMITTED),
    refused("fsopen", (430, 430), &[0, -1], NOT_PERMITTED),
    refused("fsconfig", (431, 431), &[-1, -1, 0, 0, 0], INVALID),
    refused("fsmount", (432, 432), &[-1, -1, -1], NOT_PERMITTED),
    refused("fspick", (433, 433), &[-1, 0, -1], NOT_PERMITTED),
    refused("mount_setattr", (442, 442), &[-1, 0, -1, 0, 0], INVALID),
    refused("quotactl", (179, 131), &[-1, 0, 0, 0], INVALID),
    refused("quotactl_fd", (443, 443), &[-1, -1, 0, 0], BAD_FILE),
    refused("swapon", (167, 87), &[0, -1], INVALID),
    refused("swapoff", (168, 115), &[0], NOT_PERMITTED),
    open("chroot", 161, &[0], WORKS).with(0, Path(c"/")).bare(NOT_PERMITTED),
    // Namespaces.
    refused("unshare:time", (272, 310), &[NEWTIME | ODD], INVALID),
    refused("unshare:mnt", (272, 310), &[NEWNS | ODD], INVALID),
    refused("unshare:cgroup", (272, 310), &[NEWCGROUP | ODD], INVALID),
    refused("unshare:uts", (272, 310), &[NEWUTS | ODD], INVALID),
    refused("unshare:ipc", (272, 310), &[NEWIPC | ODD], INVALID),
    refused("unshare:user", (272, 310), &[NEWUSER | ODD], INVALID),
    refused("unshare:pid", (272, 310), &[NEWPID | ODD], INVALID),
    refused("unshare:net", (272, 310), &[NEWNET | ODD], INVALID),
    // The real thing: without the filter, the whole kernel behind a user namespace's root is in reach.
    refused("unshare:user:really", (272, 310), &[NEWUSER], WORKS),
    refused("setns", (308, 346), &[-1, 0], BAD_FILE),
    refused("setns:net", (308, 346), &[-1, NEWNET], BAD_FILE),
    refused("clone:mnt", (56, 120), &[NEWNS | ALONE], INVALID),
    refused("clone:cgroup", (56, 120), &[NEWCGROUP | ALONE], INVALID),
    refused("clone:uts", (56, 120), &[NEWUTS | ALONE], INVALID),
    refused("clone:ipc", (56, 120), &[NEWIPC | ALONE], INVALID),
    refused("clone:user", (56, 120), &[NEWUSER | ALONE], INVALID),
    refused("clone:pid", (56, 120), &[NEWPID | ALONE], INVALID),
    refused("clone:net", (56, 120), &[NEWNET | ALONE], INVALID),
    open("clone:none", 56, &[ALONE], INVALID).and_compat(120),
    open("clone:fork", 56, &[libc::SIGCHLD as i64], WORKS),
    refused("clone3", (435, 435), &[0, 0], INVALID).missing(),
    refused("sethostname", (170, 74), &[0, -1], NOT_PERMITTED),
    refused("setdomainname", (171, 121), &[0, -1], NOT_PERMITTED),
    // The kernel itself. reboot(2) without its magic numbers does nothing.
    refused("bpf", (321, 357), &[-1, 0, 0], INVALID),
    refused("perf_event_open", (298, 336), &[0, 0, -1, -1, -1], INVALID),
    refused("init_module", (175, 128), &[0, 0, 0], NOT_PERMITTED),
    refused("finit_module", (313, 350), &[-1, 0, -1], NOT_PERMITTED),
    refused("delete_module", (176, 129), &[0, 0], NOT_PERMITTED),
    refused("create_module", (174, 127), &[0, 0], GONE),
    refused("get_kernel_syms", (177, 130), &[0], GONE),
    refused("query_module", (178, 167), &[0, 0, 0, 0, 0], GONE),
    refused("kexec_load", (246, 283), &[0, -1, 0, -1], NOT_PERMITTED),
    refused("kexec_load:x32", (0, 0), &[0, -1, 0, -1], NOT_PERMITTED).only_x32(528),
    refused("kexec_file_load", (320, 0), &[-1, -1, 0, 0, -1], NOT_PERMITTED).only_64(),
    refused("reboot", (169, 88), &[0, 0, 0, 0], NOT_PERMITTED),
    refused("syslog", (103, 103), &[-1, 0, 0], NOT_PERMITTED),
    refused("acct", (163, 51), &[-1], NOT_PERMITTED),
    refused("settimeofday", (164, 79), &[-1, 0], BAD_POINTER),
    refused_32("stime", 25, &[-1], BAD_POINTER),
    refused("clock_settime", (227, 264), &[0x7fff, 0], INVALID),
    refused_32("clock_settime64", 404, &[0x7fff, 0], INVALID),
    open("adjtimex:read", 159, &[0], WORKS).with(0, Page(&[0])),
    open("adjtimex:set", 159, &[0], NOT_PERMITTED).with(0, Page(SET_TICK)),
    open("clock_adjtime:read", 305, &[0, 0], WORKS).with(1, Page(&[0])),
    open("clock_adjtime:set", 305, &[0, 0], NOT_PERMITTED).with(1, Page(SET_TICK)),
    refused("iopl", (172, 110), &[4], INVALID),
    refused("ioperm", (173, 101), &[-1, 0, 0], INVALID),
    refused_32("vm86old", 113, &[0], GONE),
    refused_32("vm86", 166, &[-1, 0], GONE),
    // Things without a namespace of their own.
    refused("add_key", (248, 286), &[0, 0, 0, 0, 0], BAD_POINTER),
    refused("request_key", (249, 287), &[0, 0, 0, 0], BAD_POINTER),
    refused("keyctl", (250, 288), &[-1, 0, 0, 0, 0], &[Fails(EOPNOTSUPP)]),
    refused("open_by_handle_at", (304, 342), &[-1, 0, 0], &[Fails(EFAULT), Fails(EPERM)]),
    // A handle that cannot be opened is only a number.
    open("name_to_handle_at", 303, &[-1, 0, 0, 0, 0], BAD_POINTER),
    refused("fanotify_init", (300, 338), &[-1, -1], NOT_PERMITTED),
    refused("kcmp", (312, 349), &[0, 0, -1, 0, 0], NO_PROCESS),
    refused("pidfd_getfd", (438, 438), &[-1, -1, -1], INVALID),
    refused("mbind", (237, 274), &[0, 0, -1, 0, 0, -1], INVALID),
    refused("set_mempolicy", (238, 276), &[-1, 0, 0], INVALID),
    refused("get_mempolicy", (239, 275), &[0, 0, 0, 0, -1], INVALID),
    refused("set_mempolicy_home_node", (450, 450), &[0, 0, 0, -1], INVALID),
    refused("migrate_pages", (256, 294), &[-1, 0, 0, 0], NO_PROCESS),
    refused("move_pages", (279, 317), &[-1, 0, 0, 0, 0, -1], INVALID),
    refused("move_pages:x32", (0, 0), &[-1, 0, 0, 0, 0, -1], INVALID).only_x32(533),
    // Processes of the box may look at each other, as on any Linux.
    open("ptrace:traceme", 101, &[0, 0, 0, 0], WORKS),
    open("process_vm_readv", 310, &[1, 0, 0, 0, 0, -1], INVALID),
    // Large code with a history of faults.
    refused("userfaultfd", (323, 374), &[-1], INVALID),
    refused("io_uring_setup", (425, 425), &[-1, 0], BAD_POINTER),
    refused("io_uring_enter", (426, 426), &[-1, 0, 0, -1, 0], INVALID),
    refused("io_uring_register", (427, 427), &[-1, -1, 0, 0], INVALID),
    open("modify_ldt:read", 154, &[0, 0, 0], WORKS).with(1, Page(&[0])),
    // Long dead, most of them in the kernel too.
    refused("uselib", (134, 86), &[0], &[Fails(ENOSYS), Fails(EFAULT)]),
    refused("ustat", (136, 62), &[0, 0], INVALID),
    refused("sysfs", (139, 135), &[-1, 0, 0], INVALID),
    refused("_sysctl", (156, 149), &[0], GONE),
    refused("vhangup", (153, 111), &[], NOT_PERMITTED),
    refused("lookup_dcookie", (212, 253), &[-1, 0, 0], &[Fails(ENOSYS), Fails(EPERM)]),
    refused("nfsservctl", (180, 169), &[-1, 0, 0], GONE),
    // By argument: sockets of families that reach beyond the box, and persona that weaken the memory layout.
    refused("socket:alg", (41, 359), &[38, NO_TYPE, 0], INVALID),
    refused("socket:vsock", (41, 359), &[40, NO_TYPE, 0], INVALID),
    refused_32("socketcall:socket", 102, &[1, 0], BAD_POINTER),
    open("socket:unix", 41, &[1, 1, 0], WORKS).and_compat(359),
    open("socket:inet", 41, &[2, 2, 0], WORKS),
    open("socket:netlink", 41, &[16, 3, 0], WORKS),
    open("socket:inet-raw", 41, &[2, 3, 1], WORKS).bare(NOT_PERMITTED),
    refused("personality:no-randomize", (135, 136), &[0x4_0000], WORKS),
    refused("personality:read-implies-exec", (135, 136), &[0x40_0000], WORKS),
    open("personality:linux", 135, &[0], WORKS),
    open("personality:linux32", 135, &[8], WORKS).and_compat(136),
    open("personality:query", 135, &[0xffff_ffff], WORKS),
    // No filter, but a capability that the box does not have.
    open("mknod:character", 133, &[0, 0o020_666, 0x105], NOT_PERMITTED).with(0, Path(c"/dev/shm/zero")),
    open("mknod:block", 133, &[0, 0o060_666, 0x800], NOT_PERMITTED).with(0, Path(c"/dev/shm/disk")),
    open("mknod:fifo", 133, &[0, 0o010_666, 0], WORKS).with(0, Path(c"/dev/shm/fifo")),
    open("ioprio_set:real-time", 251, &[1, 0, 1 << 13], NOT_PERMITTED),
    open("setpriority:urgent", 141, &[0, 0, -5], &[Fails(EACCES)]),
    // Pushing a character into the terminal that the caller typed the command in: there is none.
    open("ioctl:tiocsti", 16, &[0, 0x5412, 0], &[Fails(ENOTTY)]),
    // The capabilities that it has, and everyday life. Without root there is one user id, and no other.
    open("setresuid", 117, &[-1, 1, -1], WORKS).bare(NOT_PERMITTED).rootless(Fails(EINVAL)),
    open("setresgid", 119, &[-1, 1, -1], WORKS).bare(NOT_PERMITTED).rootless(Fails(EINVAL)),
    open("setgroups", 116, &[1, 0], WORKS).with(1, Page(&[7])).bare(NOT_PERMITTED).rootless(Fails(EPERM)),
    open("chown", 92, &[0, 1, 1], WORKS)
        .with(0, Path(c"/dev/shm"))
        .bare(NOT_PERMITTED)
        .rootless(Fails(EINVAL)),
    open("kill", 62, &[1, 0], WORKS),
    open("getppid", 110, &[], WORKS).and_compat(64),
    open("memfd_create", 319, &[0, 0], WORKS).with(0, Path(c"x")),
    open("pidfd_open", 434, &[1, 0], WORKS),
    open("inotify_init1", 294, &[0], WORKS),
    open("shmget", 29, &[0, 4096, 0o600], WORKS),
    open("msgget", 68, &[0, 0o600], WORKS),
    // Numbers that nobody has looked at.
    open("number:470", 470, &[-1, -1, -1, -1, -1, -1], GONE).and_compat(470),
    open("number:511", 511, &[-1, -1, -1, -1, -1, -1], GONE),
];
