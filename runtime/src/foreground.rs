//! `run` without `--detach`: stay, pass signals on, and end as the command ended.
//!
//! Without it Ctrl-C would end the runtime and leave the box. Signals are taken as data from a
//! descriptor, beside the pidfd that tells of the end, so there is one place to wait and no handler. With
//! `-t` the same place passes on what is typed and what is printed, and waits in no write for it: a box that prints
//! all it reads would wait for us to take that, and we for the box to take more.
//!
//! Man page: signalfd(2), termios(3). Look at it, and press Ctrl-C:
//! `tare-runtime run --rootfs DIR box -- sh -c 'trap "echo bye; exit" INT; sleep 100 & wait'`; without the
//! handler process 1 would not even notice (`namespaces.rs`)

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{read, write};
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

/// Ctrl-D, as somebody would type it at the end: once for a line that was begun, and once for the end itself.
const END_OF_INPUT: &[u8] = &[4, 4];

/// Who stays with a container.
pub(crate) struct Session {
    signals: SignalFd,
    /// With a terminal: through which its other end comes, and where the box sends it.
    console: Option<(OwnedFd, OwnedFd)>,
}

impl Session {
    /// Holds signals back from now on; `None` for who does not stay. The new process gets an empty mask of
    /// its own.
    ///
    /// # Errors
    /// EMFILE.
    pub(crate) fn open(detach: bool, terminal: bool) -> Result<Option<Self>, Errno> {
        if detach {
            return Ok(None);
        }
        let set: SigSet = FORWARDED.into_iter().collect();
        set.thread_block()?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let pair = || socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC);
        let console = if terminal { Some(pair()?) } else { None };
        Ok(Some(Self { signals, console }))
    }

    /// Where the box is to send its terminal's other end.
    pub(crate) fn console(&self) -> Option<BorrowedFd<'_>> {
        self.console.as_ref().map(|(_, theirs)| theirs.as_fd())
    }

    /// Passes signals, and what is typed and printed, on until the container's first process ends.
    ///
    /// # Errors
    /// [`Error::Step`].
    pub(crate) fn stay(self, container: &Container) -> Result<Exit, Error> {
        let Some((ours, _)) = &self.console else { return self.wait(container, None) };
        let outer = sys::terminal::receive(ours.as_fd()).and_then(|outer| {
            fcntl(&outer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
            Ok(outer)
        });
        let outer = outer.map_err(|errno| failed("terminal", errno))?;
        let raw = Raw::make();
        // What is not a terminal has no size; the box keeps its own.
        let _ = sys::terminal::copy_size(std::io::stdin().as_fd(), outer.as_fd());
        let ended = self.wait(container, Some(outer));
        drop(raw);
        ended
    }

    fn wait(&self, container: &Container, mut terminal: Option<OwnedFd>) -> Result<Exit, Error> {
        let (input, output) = (std::io::stdin(), std::io::stdout());
        let (mut typing, mut printing) = (terminal.is_some(), terminal.is_some());
        // What was typed and has no room in the terminal yet, and whether what is printed has none in our output.
        let (mut typed, mut full) = (Vec::new(), false);
        loop {
            let mut ready = vec![
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
                PollFd::new(container.pidfd.as_fd(), PollFlags::POLLIN),
            ];
            let mut watch = |fd, events| {
                ready.push(PollFd::new(fd, events));
                ready.len() - 1
            };
            let keys = (typing && typed.is_empty()).then(|| watch(input.as_fd(), PollFlags::POLLIN));
            let mut wanted = PollFlags::empty();
            wanted.set(PollFlags::POLLIN, printing && !full);
            wanted.set(PollFlags::POLLOUT, !typed.is_empty());
            // Once nobody has the other end open it reports that for ever: waiting for more would not wait.
            let screen = terminal.as_ref().filter(|_| !wanted.is_empty()).map(|it| watch(it.as_fd(), wanted));
            let room = full.then(|| watch(output.as_fd(), PollFlags::POLLOUT));
            // Interrupted or not, all are looked at.
            let _ = poll(&mut ready, PollTimeout::NONE);
            let any = |place: usize| ready.get(place).is_some_and(|fd| fd.any().unwrap_or(false));
            let (ended, pressed, shown) = (any(1), keys.is_some_and(any), screen.is_some_and(any));
            full &= !room.is_some_and(any);
            if pressed && !read_keys(input.as_fd(), &mut typed) {
                typing = false;
                // Else whoever reads in the box would wait for more for ever.
                typed.extend_from_slice(END_OF_INPUT);
            }
            if let Some(terminal) = terminal.as_ref().filter(|_| !typed.is_empty()) {
                match write(terminal, &typed) {
                    Ok(length) => drop(typed.drain(..length)),
                    Err(Errno::EAGAIN | Errno::EINTR) => {}
                    Err(_) => (typing, typed) = (false, Vec::new()),
                }
            }
            if let Some(outer) = terminal.as_ref().filter(|_| shown && printing && !full) {
                full =
                    poll(&mut [PollFd::new(output.as_fd(), PollFlags::POLLOUT)], PollTimeout::ZERO) == Ok(0);
                match if full { Passed::Nothing } else { pass_on(outer.as_fd(), output.as_fd()) } {
                    Passed::On | Passed::Nothing => {}
                    Passed::Ended => printing = false,
                    // Whoever prints would wait for a reader for ever. A terminal that nobody looks at is hung up.
                    Passed::Refused => (terminal, typing, printing, typed) = (None, false, false, Vec::new()),
                }
            }
            if ended {
                if let Some(terminal) = &terminal {
                    // What it printed last.
                    while pass_on(terminal.as_fd(), output.as_fd()) == Passed::On {}
                }
                return container.wait();
            }
            while let Ok(Some(info)) = self.signals.read_signal() {
                let signal = info.ssi_signo as i32;
                match &terminal {
                    Some(terminal) if signal == Signal::SIGWINCH as i32 => {
                        let _ = sys::terminal::copy_size(input.as_fd(), terminal.as_fd());
                    }
                    // It may have ended meanwhile, which the next round sees.
                    _ => drop(sys::pidfd_signal(&container.pidfd, signal)),
                }
            }
        }
    }
}

/// Takes what was typed; false at its end.
fn read_keys(input: BorrowedFd<'_>, typed: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    match read(input, &mut buffer) {
        Ok(0) => false,
        Ok(length) => {
            typed.extend_from_slice(&buffer[..length]);
            true
        }
        Err(errno) => matches!(errno, Errno::EAGAIN | Errno::EINTR),
    }
}

fn failed(object: &str, errno: Errno) -> Error {
    Error::Step { step: "terminal", object: object.into(), errno, meaning: "the box did not send it" }
}

/// What came of passing on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passed {
    /// There may be more.
    On,
    /// There is nothing at this moment.
    Nothing,
    /// There is no more.
    Ended,
    /// Nobody takes it.
    Refused,
}

/// Copies what the box has printed. A terminal whose other end is closed answers EIO.
fn pass_on(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Passed {
    let mut buffer = [0; 4096];
    let length = match read(from, &mut buffer) {
        Ok(length @ 1..) => length,
        Err(Errno::EAGAIN | Errno::EINTR) => return Passed::Nothing,
        _ => return Passed::Ended,
    };
    let mut rest = &buffer[..length];
    while !rest.is_empty() {
        match write(to, rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::EINTR) => {}
            // Somebody who shares it has made it so that nobody waits there; it is full, not gone.
            Err(Errno::EAGAIN) => drop(poll(&mut [PollFd::new(to, PollFlags::POLLOUT)], PollTimeout::NONE)),
            Err(_) => return Passed::Refused,
        }
    }
    Passed::On
}

/// The caller's terminal passes every key on as it is; as before when this goes.
struct Raw(Option<Termios>);

impl Raw {
    fn make() -> Self {
        let input = std::io::stdin();
        let before = tcgetattr(input.as_fd()).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            cfmakeraw(&mut raw);
            let _ = tcsetattr(input.as_fd(), SetArg::TCSANOW, &raw);
        }
        Self(before)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(std::io::stdin().as_fd(), SetArg::TCSANOW, before);
        }
    }
}
