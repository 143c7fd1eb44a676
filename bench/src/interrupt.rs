//! Ctrl-C, SIGTERM and the end of the terminal (SIGHUP) as events to wait for (signalfd(2)), so that a sample under way
//! ends in order.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use procfs::process::Process;

/// SIGHUP in the kernel's sets of signals: bit 0 is signal 1.
const HANG_UP: u64 = 1 << (Signal::SIGHUP as u64 - 1);

/// Listens for SIGINT, SIGTERM and SIGHUP. The second one ends the process at once.
#[derive(Debug)]
pub struct Interrupt {
    signals: SignalFd,
    seen: Option<Signal>,
}

impl Interrupt {
    /// Takes over these signals for this thread and those it starts later.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn listen() -> std::io::Result<Self> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGINT);
        mask.add(Signal::SIGTERM);
        // Whoever started us by nohup(1) wants us to go on; one that is held back would come all the same.
        let ignored = Process::myself().and_then(|it| it.status()).map_or(0, |it| it.sigign);
        if ignored & HANG_UP == 0 {
            mask.add(Signal::SIGHUP);
        }
        mask.thread_block()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { signals, seen: None })
    }

    /// The descriptor to poll(2).
    pub fn readable(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }

    /// Takes note of signals that have arrived; the first one seen stays.
    pub fn check(&mut self) -> Option<Signal> {
        while let Ok(Some(info)) = self.signals.read_signal() {
            let signal = Signal::try_from(info.ssi_signo as i32).unwrap_or(Signal::SIGTERM);
            if self.seen.is_some() {
                // The spawner learns of our end and ends what runs; `tare clean` takes the rest away.
                std::process::exit(exit_status(signal));
            }
            self.seen = Some(signal);
        }
        self.seen
    }

    /// The signal that was seen, if any.
    pub fn seen(&self) -> Option<Signal> {
        self.seen
    }
}

/// The exit status that tells which signal ended a program: 129 for SIGHUP, 130 for SIGINT, 143
/// for SIGTERM.
pub fn exit_status(signal: Signal) -> i32 {
    128 + signal as i32
}
