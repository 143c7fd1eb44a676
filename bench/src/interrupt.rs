//! Ctrl-C and SIGTERM as events to wait for (signalfd(2)), so that a sample under way ends in order.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Listens for SIGINT and SIGTERM. The second one ends the process at once.
#[derive(Debug)]
pub struct Interrupt {
    signals: SignalFd,
    seen: Option<Signal>,
}

impl Interrupt {
    /// Takes over both signals for this thread and those it starts later.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn listen() -> std::io::Result<Self> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGINT);
        mask.add(Signal::SIGTERM);
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

/// The exit status that tells which signal ended a program: 130 for SIGINT, 143 for SIGTERM.
pub fn exit_status(signal: Signal) -> i32 {
    128 + signal as i32
}
