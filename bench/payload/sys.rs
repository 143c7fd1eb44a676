//! The kernel's interface by hand: the entry point, the system calls, and the memory routines that the
//! compiler calls by name. Everything unsafe in the payload is in this file and those below it.
#![allow(unsafe_code)]

mod facts;
pub(crate) mod files;

use core::arch::{asm, global_asm};

pub(crate) use facts::{
    CLOCK_BOOTTIME, CLOCK_MONOTONIC, GETGID, GETPID, GETPPID, GETUID, Names, clock, cpus, limit, memory,
    number, umask,
};

// The kernel enters with the argument vector on the stack and nothing to return to (System V ABI,
// "Process Initialization"): the stack pointer is the only argument the Rust side needs. `call` on a
// 16-byte boundary gives it the alignment it may assume.
global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {main}",
    "ud2",
    main = sym start,
);

extern "C" fn start(stack: *const usize) -> ! {
    // SAFETY: `_start` passes the initial stack pointer; the kernel laid out argc, argc pointers, a
    // null, and the environment's pointers up to a null there, and nothing has written to it.
    let arguments = unsafe { Arguments::from_stack(stack) };
    crate::main(arguments)
}

/// The argument vector and the environment, as the kernel left them on the stack.
#[derive(Clone, Copy)]
pub(crate) struct Arguments {
    count: usize,
    first: *const *const u8,
}

impl Arguments {
    /// # Safety
    /// `stack` is the stack pointer at process entry.
    unsafe fn from_stack(stack: *const usize) -> Self {
        // SAFETY: by the caller's promise argc is the first word and the pointers follow it.
        unsafe { Self { count: *stack, first: stack.add(1).cast() } }
    }

    /// How many arguments there are, the program's own name included.
    pub(crate) fn count(self) -> usize {
        self.count
    }

    /// The argument at `index`, 0 being the program's own name.
    pub(crate) fn get(self, index: usize) -> Option<&'static [u8]> {
        if index >= self.count {
            return None;
        }
        // SAFETY: `index` is below argc, so the pointer is there and leads to a string that ends with
        // a null and lives as long as the process.
        Some(unsafe { string(*self.first.add(index)) })
    }

    /// The environment's string at `index`; `None` past the end. Callers count up from 0.
    pub(crate) fn environment(self, index: usize) -> Option<&'static [u8]> {
        for i in 0..=index {
            // SAFETY: the environment follows the null after argv; the walk stops at its closing null,
            // so no pointer beyond it is read.
            let pointer = unsafe { *self.first.add(self.count + 1 + i) };
            if pointer.is_null() {
                return None;
            }
            if i == index {
                // SAFETY: not the closing null, hence a string of the environment.
                return Some(unsafe { string(pointer) });
            }
        }
        None
    }
}

/// # Safety
/// `pointer` leads to bytes that end with a null and are never written again.
unsafe fn string(pointer: *const u8) -> &'static [u8] {
    let mut length = 0;
    // SAFETY: by the caller's promise a null comes, and all bytes up to it may be read.
    unsafe {
        while *pointer.add(length) != 0 {
            length += 1;
        }
        core::slice::from_raw_parts(pointer, length)
    }
}

/// An error number of the kernel (errno), positive.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) usize);

pub(crate) const ENOENT: Errno = Errno(2);
pub(crate) const EINTR: Errno = Errno(4);
pub(crate) const EAGAIN: Errno = Errno(11);
pub(crate) const ENOTSUP: Errno = Errno(95);

/// `number(a, b, c, d, e, f)`, x86_64 convention (syscall(2)).
///
/// # Safety
/// The arguments are valid for that call: what it reads is readable, and what it writes is borrowed
/// mutably by nobody else.
unsafe fn call(number: usize, a: [usize; 6]) -> Result<usize, Errno> {
    let result: isize;
    // SAFETY: the kernel preserves every register except rax, rcx and r11, which are named here; memory
    // effects are the caller's promise.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a[0],
            in("rsi") a[1],
            in("rdx") a[2],
            in("r10") a[3],
            in("r8") a[4],
            in("r9") a[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    if (-4095..0).contains(&result) { Err(Errno(result.unsigned_abs())) } else { Ok(result as usize) }
}

/// read(2).
pub(crate) fn read(fd: i32, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel writes at most `len` bytes into a slice that is ours alone.
    unsafe { call(0, [fd as usize, buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0]) }
}

/// write(2).
pub(crate) fn write(fd: i32, bytes: &[u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel reads `len` bytes of a valid slice.
    unsafe { call(1, [fd as usize, bytes.as_ptr() as usize, bytes.len(), 0, 0, 0]) }
}

/// poll(2) on one descriptor, without a time limit: 1 = readable, 4 = writable.
pub(crate) fn wait_for(fd: i32, events: u16) {
    let mut entry = [fd as u32, u32::from(events)];
    // SAFETY: `entry` is one struct pollfd (fd, then events and revents in one word).
    let _ = unsafe { call(7, [entry.as_mut_ptr() as usize, 1, usize::MAX, 0, 0, 0]) };
}

/// open(2). `path` ends with a null byte, which is checked.
pub(crate) fn open(path: &[u8], flags: usize) -> Result<i32, Errno> {
    let path = terminated(path)?;
    // SAFETY: `path` ends with a null inside its slice.
    unsafe { call(2, [path as usize, flags, 0, 0, 0, 0]) }.map(|fd| fd as i32)
}

pub(crate) const O_RDONLY: usize = 0;
pub(crate) const O_WRONLY: usize = 0o1;
pub(crate) const O_RDWR: usize = 0o2;
pub(crate) const O_NOCTTY: usize = 0o400;
pub(crate) const O_DIRECTORY: usize = 0o200_000;
pub(crate) const O_CLOEXEC: usize = 0o2_000_000;

/// close(2).
pub(crate) fn close(fd: i32) {
    // SAFETY: touches no memory; descriptors are plain numbers here, nothing owns them.
    let _ = unsafe { call(3, [fd as usize, 0, 0, 0, 0, 0]) };
}

/// dup2(2).
pub(crate) fn duplicate(from: i32, to: i32) {
    // SAFETY: touches no memory.
    let _ = unsafe { call(33, [from as usize, to as usize, 0, 0, 0, 0]) };
}

/// Maps `length` fresh private bytes (mmap(2)) and writes one word that `value` chooses into each page.
/// The mapping is never returned.
pub(crate) fn dirty(length: usize, mut value: impl FnMut() -> u64) -> Result<(), Errno> {
    const READ_WRITE: usize = 3;
    const PRIVATE_ANONYMOUS: usize = 0x22;
    // SAFETY: an anonymous mapping without MAP_FIXED replaces nothing that exists.
    let start = unsafe { call(9, [0, length, READ_WRITE, PRIVATE_ANONYMOUS, usize::MAX, 0]) }?;
    for offset in (0..length).step_by(4096) {
        // SAFETY: a page of the new mapping, aligned, writable and known to nobody else. Volatile,
        // because nobody reads it again and the write is the purpose.
        unsafe { core::ptr::write_volatile((start + offset) as *mut u64, value()) };
    }
    Ok(())
}

/// getdents64(2).
pub(crate) fn directory_entries(fd: i32, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel writes at most `len` bytes into a slice that is ours alone.
    unsafe { call(217, [fd as usize, buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0]) }
}

/// The names in what getdents64(2) has filled in.
pub(crate) fn each_name(entries: &[u8], mut take: impl FnMut(&[u8])) {
    let mut rest = entries;
    // struct linux_dirent64: inode 8, offset 8, length of the entry 2, type 1, name and a null.
    while let [_, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, low, high, ..] = *rest {
        let length = usize::from(u16::from_le_bytes([low, high])).clamp(19, rest.len());
        let (entry, next) = rest.split_at(length);
        rest = next;
        take(entry[19..].split(|&byte| byte == 0).next().unwrap_or(&[]));
    }
}

/// readlink(2). `path` ends with a null byte.
pub(crate) fn read_link(path: &[u8], buffer: &mut [u8]) -> Result<usize, Errno> {
    let path = terminated(path)?;
    // SAFETY: `path` ends with a null; the kernel writes at most `len` bytes into `buffer`.
    unsafe { call(89, [path as usize, buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0]) }
}

/// getcwd(2): the bytes written, the closing null included.
pub(crate) fn working_directory(buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel writes at most `len` bytes into a slice that is ours alone.
    unsafe { call(79, [buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0, 0]) }
}

/// The terminal as a plain byte pipe, at 115,200 baud (termios(3), what cfmakeraw does).
///
/// The speed matters under emulation too: QEMU's UART raises the receive interrupt for a few bytes only
/// after four character times, 4 ms at the kernel's default of 9,600 baud.
pub(crate) fn raw_terminal(fd: i32) -> Result<(), Errno> {
    const TCGETS: usize = 0x5401;
    const TCSETS: usize = 0x5402;
    // struct termios of the kernel: four flag words, then one byte of line discipline and 19 characters.
    let mut termios = [0u32; 9];
    // SAFETY: `termios` has the size and alignment of the kernel's struct termios.
    unsafe { call(16, [fd as usize, TCGETS, termios.as_mut_ptr() as usize, 0, 0, 0]) }?;
    termios[0] &= !0o2_753; // input: IGNBRK BRKINT PARMRK ISTRIP INLCR IGNCR ICRNL IXON
    termios[1] &= !0o1; // output: OPOST
    // Control: B115200, CS8, CREAD, CLOCAL; no parity, one stop bit.
    termios[2] = (termios[2] & !0o10_577) | 0o10_002 | 0o60 | 0o200 | 0o4_000;
    termios[3] &= !0o100_113; // local: ISIG ICANON ECHO ECHONL IEXTEN
    // SAFETY: as above; the kernel only reads it.
    unsafe { call(16, [fd as usize, TCSETS, termios.as_mut_ptr() as usize, 0, 0, 0]) }?;
    Ok(())
}

/// mount(2) of a file system without a device. All three end with a null byte.
pub(crate) fn mount(kind: &[u8], target: &[u8]) -> Result<(), Errno> {
    let (kind, target) = (terminated(kind)?, terminated(target)?);
    // SAFETY: both strings end with a null inside their slices; no data is passed.
    unsafe { call(165, [kind as usize, target as usize, kind as usize, 0, 0, 0]) }.map(|_| ())
}

/// reboot(2), RB_AUTOBOOT; returns only if it is refused.
pub(crate) fn restart_machine() {
    // SAFETY: touches no memory of ours.
    let _ = unsafe { call(169, [0xfee1_dead, 672_274_793, 0x0123_4567, 0, 0, 0]) };
}

/// socket(2), of IPv4.
pub(crate) fn socket(kind: usize) -> Result<i32, Errno> {
    // SAFETY: touches no memory.
    unsafe { call(41, [2, kind, 0, 0, 0, 0]) }.map(|fd| fd as i32)
}

pub(crate) const STREAM: usize = 1;
pub(crate) const DATAGRAM: usize = 2;

/// connect(2).
pub(crate) fn connect(fd: i32, peer: &[u8; 16]) -> Result<(), Errno> {
    // SAFETY: the kernel reads one struct sockaddr_in, which has 16 bytes.
    unsafe { call(42, [fd as usize, peer.as_ptr() as usize, peer.len(), 0, 0, 0]) }.map(|_| ())
}

/// Sets something of an interface (netdevice(7)); `which` is one of the constants below.
pub(crate) fn set_interface(socket: i32, which: usize, name: &[u8], value: &[u8]) -> Result<(), Errno> {
    // struct ifreq: 16 bytes of name, ended by a null, and a union of 24.
    let mut request = [0u8; 40];
    request[..15][..name.len()].copy_from_slice(name);
    request[16..][..value.len()].copy_from_slice(value);
    // SAFETY: each of these requests reads one struct ifreq and writes nowhere.
    unsafe { call(16, [socket as usize, which, request.as_ptr() as usize, 0, 0, 0]) }.map(|_| ())
}

pub(crate) const FLAGS: usize = 0x8914;
pub(crate) const ADDRESS: usize = 0x8916;
pub(crate) const NETMASK: usize = 0x891c;

/// finit_module(2), without parameters.
pub(crate) fn load_module(fd: i32) -> Result<(), Errno> {
    // SAFETY: the kernel reads an empty string that ends with a null.
    unsafe { call(313, [fd as usize, b"\0".as_ptr() as usize, 0, 0, 0, 0]) }.map(|_| ())
}

/// ioperm(2): from here on this thread may use the port.
pub(crate) fn allow_port(port: u16) -> Result<(), Errno> {
    // SAFETY: touches no memory of ours.
    unsafe { call(173, [usize::from(port), 1, 1, 0, 0, 0]) }.map(|_| ())
}

/// Writes a byte to a port that [`allow_port`] has given us; without that the kernel ends the process.
pub(crate) fn write_port(port: u16, byte: u8) {
    // SAFETY: the ports that are written to take a byte and do nothing to memory; the instruction changes no flags.
    unsafe { asm!("out dx, al", in("dx") port, in("al") byte, options(nomem, nostack, preserves_flags)) };
}

/// nanosleep(2) for so many milliseconds.
pub(crate) fn sleep(ms: u64) {
    let time = [ms / 1000, ms % 1000 * 1_000_000];
    // SAFETY: the kernel reads two words that live until it returns, and writes nowhere.
    let _ = unsafe { call(35, [time.as_ptr() as usize, 0, 0, 0, 0, 0]) };
}

/// pause(2): returns after a signal that did not end the process.
pub(crate) fn pause() {
    // SAFETY: touches no memory.
    let _ = unsafe { call(34, [0; 6]) };
}

/// exit_group(2).
pub(crate) fn exit(code: u8) -> ! {
    loop {
        // SAFETY: does not return; the loop satisfies the compiler, not the kernel.
        let _ = unsafe { call(231, [usize::from(code), 0, 0, 0, 0, 0]) };
    }
}

/// Ends by an illegal instruction (SIGILL; as a machine's pid 1 that panics the kernel). A dump of the
/// memory would be a file left behind, so none is made (prctl(2), PR_SET_DUMPABLE).
pub(crate) fn crash() -> ! {
    // SAFETY: prctl takes a number here; `ud2` is defined to raise an exception and not to continue.
    unsafe {
        let _ = call(157, [4, 0, 0, 0, 0, 0]);
        asm!("ud2", options(noreturn, nomem, nostack));
    }
}

fn terminated(path: &[u8]) -> Result<*const u8, Errno> {
    if path.last() == Some(&0) { Ok(path.as_ptr()) } else { Err(ENOENT) }
}

/// The routines that the compiler calls by name and a C library would bring. `rep` string instructions,
/// because a loop here would be compiled into a call of itself.
mod memory {
    use core::arch::asm;

    /// # Safety
    /// As memcpy(3).
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
        // SAFETY: the caller promises two areas of `count` bytes that do not overlap; the direction
        // flag is clear by the ABI.
        unsafe {
            asm!("rep movsb", inout("rcx") count => _, inout("rdi") to => _, inout("rsi") from => _,
                options(nostack, preserves_flags));
        }
        to
    }

    /// # Safety
    /// As memmove(3).
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
        if (to as usize).wrapping_sub(from as usize) >= count {
            // SAFETY: `to` does not begin inside the source, so copying upwards never overwrites a
            // byte before it is read.
            return unsafe { memcpy(to, from, count) };
        }
        // SAFETY: both areas hold `count` bytes (`count` > 0 here); copied downwards, because `to`
        // begins inside the source; the direction flag is cleared again.
        unsafe {
            asm!("std", "rep movsb", "cld", inout("rcx") count => _, inout("rdi") to.add(count - 1) => _,
                inout("rsi") from.add(count - 1) => _, options(nostack));
        }
        to
    }

    /// # Safety
    /// As memset(3).
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, value: i32, count: usize) -> *mut u8 {
        // SAFETY: the caller promises `count` writable bytes; the direction flag is clear by the ABI.
        unsafe {
            asm!("rep stosb", inout("rcx") count => _, inout("rdi") to => _, in("al") value as u8,
                options(nostack, preserves_flags));
        }
        to
    }

    /// # Safety
    /// As strlen(3).
    #[unsafe(no_mangle)]
    unsafe extern "C" fn strlen(text: *const u8) -> usize {
        let mut length = 0;
        // SAFETY: the caller promises a null, and every byte up to it is readable. Volatile for the same
        // reason as in memcmp.
        while unsafe { text.add(length).read_volatile() } != 0 {
            length += 1;
        }
        length
    }

    /// # Safety
    /// As memcmp(3).
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, count: usize) -> i32 {
        for i in 0..count {
            // SAFETY: the caller promises `count` readable bytes in both. Volatile, so that the loop is
            // not recognised and turned into a call of memcmp.
            let (x, y) = unsafe { (a.add(i).read_volatile(), b.add(i).read_volatile()) };
            if x != y {
                return i32::from(x) - i32::from(y);
            }
        }
        0
    }

    /// # Safety
    /// As memcmp(3); only equality matters.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, count: usize) -> i32 {
        // SAFETY: the same promise.
        unsafe { memcmp(a, b, count) }
    }
}
