//! bpf(2), as far as a program that decides about devices needs it.
//!
//! Man page: bpf(2); `linux/bpf.h` has the numbers. Look at it:
//! `strace -f -e bpf tare-runtime run --rootfs DIR box -- /bin/true` on a host with cgroup version 2

use std::ffi::{CStr, c_int, c_long};
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

/// One instruction of the extended packet filter.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BpfInstruction {
    /// Operation.
    pub code: u8,
    /// Destination register in the low half, source register in the high half.
    pub registers: u8,
    /// Instructions to skip, or where in memory.
    pub offset: i16,
    /// Operand.
    pub immediate: i32,
}

const PROG_LOAD: c_int = 5;
const PROG_ATTACH: c_int = 8;
const PROG_DETACH: c_int = 9;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
/// Others above and below may attach programs too; what one of them refuses is refused.
const ALLOW_MULTI: u32 = 1 << 1;

/// Gives the kernel a program of type BPF_PROG_TYPE_CGROUP_DEVICE to check and keep.
///
/// # Errors
/// EPERM without CAP_BPF and CAP_NET_ADMIN (before Linux 5.8: CAP_SYS_ADMIN), EINVAL or EACCES for a program
/// that the checker refuses, ENOSYS for a kernel without the call.
pub fn load_device_program(instructions: &[BpfInstruction], license: &CStr) -> Result<OwnedFd, Errno> {
    /// The beginning of the kernel's union as BPF_PROG_LOAD reads it; what is not there counts as zero.
    #[repr(C)]
    struct Load {
        kind: u32,
        length: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log_buffer: u64,
        kernel_version: u32,
        flags: u32,
    }
    let load = Load {
        kind: TYPE_CGROUP_DEVICE,
        length: u32::try_from(instructions.len()).map_err(|_| Errno::E2BIG)?,
        instructions: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buffer: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: the kernel reads as many bytes as `Load` has, which is laid out as in linux/bpf.h. The two
    // pointers lead to `length` instructions and to a C string, both borrowed for the whole call; there is
    // no log to write.
    let done = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const load, size_of::<Load>()) };
    let fd = Errno::result(done)?;
    // SAFETY: the kernel just made the descriptor (close-on-exec, as all of bpf's) and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as c_int) })
}

/// Lets `program` decide about devices for every process in `cgroup` and below, beside the programs that
/// are there already. Allocates nothing: for the child too.
///
/// # Errors
/// EPERM where a cgroup above allows no others, E2BIG for more than 64 programs, EBADF for a directory that
/// is no cgroup of version 2. One opened with O_PATH will do.
pub fn attach_device_program(program: BorrowedFd<'_>, cgroup: BorrowedFd<'_>) -> Result<(), Errno> {
    attach(PROG_ATTACH, program, cgroup, ALLOW_MULTI)
}

/// Takes it off again.
///
/// # Errors
/// ENOENT if it is not attached there.
pub fn detach_device_program(program: BorrowedFd<'_>, cgroup: BorrowedFd<'_>) -> Result<(), Errno> {
    attach(PROG_DETACH, program, cgroup, 0)
}

fn attach(command: c_int, program: BorrowedFd<'_>, cgroup: BorrowedFd<'_>, flags: u32) -> Result<(), Errno> {
    /// The beginning of the kernel's union as BPF_PROG_ATTACH and BPF_PROG_DETACH read it.
    #[repr(C)]
    struct Attach {
        target: u32,
        program: u32,
        kind: u32,
        flags: u32,
    }
    let attach = Attach {
        target: cgroup.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        kind: ATTACH_CGROUP_DEVICE,
        flags,
    };
    // SAFETY: the kernel reads as many bytes as `Attach` has, which is laid out as in linux/bpf.h and holds
    // numbers only; both descriptors are borrowed for the whole call.
    let done: c_long =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw const attach, size_of::<Attach>()) };
    Errno::result(done).map(drop)
}
