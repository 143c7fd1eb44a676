//! Which span a system call belongs to, by its number and arguments (syscalls(2), x86_64).

/// `CLONE_THREAD` of sched.h: a thread more, not a process.
pub const CLONE_THREAD: u64 = 0x0001_0000;

/// Calls in which a thread may wait for another one: only while it sleeps in one of these is it not at work.
const WAITS: [u32; 31] = [
    0,   // read
    7,   // poll
    19,  // readv
    23,  // select
    24,  // sched_yield
    34,  // pause
    35,  // nanosleep
    42,  // connect
    43,  // accept
    45,  // recvfrom
    47,  // recvmsg
    61,  // wait4
    73,  // flock
    128, // rt_sigtimedwait
    130, // rt_sigsuspend
    202, // futex
    219, // restart_syscall
    230, // clock_nanosleep
    232, // epoll_wait
    247, // waitid
    270, // pselect6
    271, // ppoll
    281, // epoll_pwait
    288, // accept4
    295, // preadv
    299, // recvmmsg
    441, // epoll_pwait2
    449, // futex_waitv
    455, // futex_wait
    456, // futex_requeue
    231, // exit_group: others of it end too
];

/// Whether a thread that sleeps in this call waits for somebody else.
pub fn waits(number: u32) -> bool {
    WAITS.contains(&number)
}

/// The call's number for execve(2) or execveat(2).
pub fn executes(number: u32) -> bool {
    matches!(number, 59 | 322)
}

/// The span of a call; `None` for one that serves no mechanism in particular.
pub fn span_of(number: u32, arguments: &[u64; 6]) -> Option<&'static str> {
    Some(match number {
        // clone, fork, vfork, clone3, unshare, setns
        56 if arguments[0] & CLONE_THREAD != 0 => return None,
        56..=58 | 435 | 272 | 308 => "clone",
        // mount, umount2, the calls of the newer interface, and the nodes and links that /dev is made of
        165 | 166 | 428..=433 | 442 | 467 => "mounts",
        133 | 259 | 88 | 266 => "mounts",
        // chroot, pivot_root
        155 | 161 => "pivot",
        // setuid, setgid, setgroups, setresuid, setresgid, setfsuid, setfsgid, capset
        105 | 106 | 116 | 117 | 119 | 122 | 123 | 126 => "capabilities",
        317 => "seccomp",
        157 => return prctl(arguments[0]),
        // bpf: a runtime's only use of it is the program that decides about devices
        321 => "cgroup",
        _ => return None,
    })
}

/// prctl(2) by its option.
fn prctl(option: u64) -> Option<&'static str> {
    match option {
        22 => Some("seccomp"),
        // PR_SET_KEEPCAPS, PR_CAPBSET_READ and _DROP, PR_SET_SECUREBITS, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT
        8 | 23 | 24 | 28 | 38 | 47 => Some("capabilities"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_kernels_headers() {
        let mechanisms = [
            (libc::SYS_clone, "clone"),
            (libc::SYS_clone3, "clone"),
            (libc::SYS_unshare, "clone"),
            (libc::SYS_setns, "clone"),
            (libc::SYS_mount, "mounts"),
            (libc::SYS_umount2, "mounts"),
            (libc::SYS_move_mount, "mounts"),
            (libc::SYS_mount_setattr, "mounts"),
            (libc::SYS_mknodat, "mounts"),
            (libc::SYS_symlinkat, "mounts"),
            (libc::SYS_pivot_root, "pivot"),
            (libc::SYS_chroot, "pivot"),
            (libc::SYS_capset, "capabilities"),
            (libc::SYS_setgroups, "capabilities"),
            (libc::SYS_setresuid, "capabilities"),
            (libc::SYS_seccomp, "seccomp"),
            (libc::SYS_bpf, "cgroup"),
        ];
        for (number, span) in mechanisms {
            assert_eq!(span_of(number as u32, &[0; 6]), Some(span), "{number}");
        }
        let option = |it: i32| span_of(libc::SYS_prctl as u32, &[it as u64, 0, 0, 0, 0, 0]);
        assert_eq!(option(libc::PR_SET_SECCOMP), Some("seccomp"));
        assert_eq!(option(libc::PR_CAPBSET_DROP), Some("capabilities"));
        assert_eq!(option(libc::PR_SET_NO_NEW_PRIVS), Some("capabilities"));
        assert_eq!(option(libc::PR_SET_NAME), None);
        assert_eq!(span_of(libc::SYS_clone as u32, &[CLONE_THREAD, 0, 0, 0, 0, 0]), None, "a thread");
        for number in [libc::SYS_openat, libc::SYS_mmap, libc::SYS_execve] {
            assert_eq!(span_of(number as u32, &[0; 6]), None, "{number}");
        }
        let waiting = [
            libc::SYS_read,
            libc::SYS_wait4,
            libc::SYS_futex,
            libc::SYS_ppoll,
            libc::SYS_epoll_pwait,
            libc::SYS_nanosleep,
            libc::SYS_recvmsg,
            libc::SYS_waitid,
            libc::SYS_flock,
        ];
        for number in waiting {
            assert!(waits(number as u32), "{number}");
        }
        assert!(
            !waits(libc::SYS_mount as u32)
                && executes(libc::SYS_execve as u32)
                && executes(libc::SYS_execveat as u32)
        );
    }
}
