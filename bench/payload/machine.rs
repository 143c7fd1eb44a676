//! What a virtual machine's `/init` has to do for itself.

use crate::sys;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

const LONGEST_NAME: usize = 32;

static MACHINE: AtomicBool = AtomicBool::new(false);

/// Whether this payload was started as a machine's `/init`.
pub(crate) fn is_machine() -> bool {
    MACHINE.load(Relaxed)
}

/// A plain file name: it becomes a path below /dev.
pub(crate) fn is_terminal_name(name: &[u8]) -> bool {
    !name.is_empty() && name.len() <= LONGEST_NAME && name.iter().all(u8::is_ascii_alphanumeric)
}

/// Makes `/dev/<terminal>` descriptors 0, 1 and 2, as a plain byte pipe.
///
/// The terminal is made raw before READY and not after it: the host answers READY at once, and a cooked
/// terminal would echo that answer back as if the payload had said it.
/// If the terminal cannot be opened, the kernel's console stays, and READY with it where a person sees it.
pub(crate) fn open_channel(terminal: &[u8]) {
    MACHINE.store(true, Relaxed);
    let mut path = [0; 5 + LONGEST_NAME + 1];
    path[..5].copy_from_slice(b"/dev/");
    path[5..5 + terminal.len()].copy_from_slice(terminal);
    let Ok(fd) = sys::open(&path, sys::O_RDWR | sys::O_NOCTTY) else { return };
    let _ = sys::raw_terminal(fd);
    for standard in 0..3 {
        sys::duplicate(fd, standard);
    }
    if fd > 2 {
        sys::close(fd);
    }
}

/// Where Cloud Hypervisor has the sleep register that its ACPI tables name, and what asks for S5 there. A reset
/// starts its machine anew instead of ending it.
const SLEEP: (u16, u8) = (0x600, (5 << 2) | (1 << 5));

static SWITCHED_OFF: AtomicBool = AtomicBool::new(false);

/// The machine is to be left by switching it off, for the monitor of this name. Whether it is known.
pub(crate) fn switch_off(monitor: &[u8]) -> bool {
    SWITCHED_OFF.store(true, Relaxed);
    monitor == b"cloud-hypervisor"
}

/// Leaves the machine: it restarts, which ends a monitor that was told not to reboot; or is switched off.
pub(crate) fn leave() {
    if SWITCHED_OFF.load(Relaxed) && sys::allow_port(SLEEP.0).is_ok() {
        sys::write_port(SLEEP.0, SLEEP.1);
    }
    sys::restart_machine();
}

/// The port on which firmware tells of itself where the machine has it (QEMU's isa-debugcon).
const DEBUG_PORT: u16 = 0x402;
/// On that port: /init runs. No firmware writes such bytes, which are no ASCII.
pub(crate) const INIT: u8 = 0xe0;
/// On that port: the channel is open, READY follows.
pub(crate) const CHANNEL: u8 = 0xe2;

/// Writes one byte to the debug port. Where nothing listens, or we have not the right, nothing happens.
pub(crate) fn mark(byte: u8) {
    if sys::allow_port(DEBUG_PORT).is_ok() {
        sys::write_port(DEBUG_PORT, byte);
    }
}

/// Mounts /proc, /sys and /dev, once, when a command first needs them: not part of being ready.
pub(crate) fn mount_once() {
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.swap(true, Relaxed) {
        return;
    }
    // What cannot be mounted is seen in the answer of `self`.
    let _ = sys::mount(b"proc\0", b"/proc\0");
    let _ = sys::mount(b"sysfs\0", b"/sys\0");
    let _ = sys::mount(b"devtmpfs\0", b"/dev\0");
}
