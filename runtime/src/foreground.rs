//! `run` without `--detach`: stay, pass signals on, and end as the command ended.
//!
//! Without it Ctrl-C would end the runtime and leave the box. Signals are taken as data from a
//! descriptor, beside the pidfd that tells of the end, so there is one place to wait and no handler.
//!
//! Man page: signalfd(2). Look at it: `tare-runtime run --rootfs DIR box -- sleep 100`, then Ctrl-C

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tare_runtime::{Container, Error, Exit, sys};

/// Those that people and supervisors send.
const FORWARDED: [Signal; 8] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGCONT,
    Signal::SIGWINCH,
];

/// Signals held back from this process.
pub(crate) struct Signals(SignalFd);

impl Signals {
    /// Holds them from now on. The new process gets an empty mask of its own.
    pub(crate) fn hold() -> Result<Self, Errno> {
        let set: SigSet = FORWARDED.into_iter().collect();
        set.thread_block()?;
        SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map(Self)
    }

    /// Passes them on until the container's first process ends.
    pub(crate) fn forward_until_exit(&self, container: &Container) -> Result<Exit, Error> {
        loop {
            let mut ready = [
                PollFd::new(self.0.as_fd(), PollFlags::POLLIN),
                PollFd::new(container.pidfd.as_fd(), PollFlags::POLLIN),
            ];
            // Interrupted or not, both are looked at.
            let _ = poll(&mut ready, PollTimeout::NONE);
            if ready[1].any().unwrap_or(false) {
                return container.wait();
            }
            while let Ok(Some(info)) = self.0.read_signal() {
                // It may have ended meanwhile, which the next round sees.
                let _ = sys::pidfd_signal(&container.pidfd, info.ssi_signo as i32);
            }
        }
    }
}
