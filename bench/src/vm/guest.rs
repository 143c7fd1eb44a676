//! A QEMU that is talked to over its standard input and output, with a deadline on every answer. For the
//! KVM probe and for tests; the lab starts its machines by its own spawner.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Why a guest did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Silence {
    /// The deadline passed; the machine still runs.
    #[error("no answer in time")]
    Late,
    /// QEMU closed the channel: it ended, or is about to. Its own words, if it had any.
    #[error("qemu ended: {0}")]
    Ended(String),
    /// The channel broke.
    #[error("cannot talk to qemu: {0}")]
    Io(#[from] io::Error),
}

/// A running QEMU. Dropping it kills and reaps it, and it does not outlive the thread that started it.
#[derive(Debug)]
pub struct Guest {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    errors: ChildStderr,
    pending: Vec<u8>,
}

impl Guest {
    /// Starts a command line of [`super::qemu::Qemu`].
    ///
    /// # Errors
    /// It cannot be run.
    pub fn start(command: &[String]) -> io::Result<Self> {
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        super::sys::dies_with_parent(&mut command);
        let mut child = command.spawn()?;
        match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
            (Some(input), Some(output), Some(errors)) => {
                Ok(Self { child, input, output, errors, pending: Vec::new() })
            }
            // Not reached: all three were asked for above.
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// QEMU's process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The guest's next line, without its `\n`.
    ///
    /// # Errors
    /// No whole line came before `deadline`, or QEMU ended.
    pub fn line(&mut self, deadline: Instant) -> Result<String, Silence> {
        loop {
            if let Some(end) = self.pending.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if !readable(&self.output, deadline)? {
                return Err(Silence::Late);
            }
            let mut piece = [0; 4096];
            match self.output.read(&mut piece)? {
                0 => return Err(Silence::Ended(self.last_words(deadline))),
                length => self.pending.extend_from_slice(&piece[..length]),
            }
        }
    }

    /// Sends one command; its answer is read by [`Guest::line`].
    ///
    /// # Errors
    /// QEMU is gone.
    pub fn send(&mut self, command: &str) -> io::Result<()> {
        self.input.write_all(format!("{command}\n").as_bytes())
    }

    /// Waits for QEMU to end by itself.
    ///
    /// # Errors
    /// It still runs at `deadline`.
    pub fn wait(&mut self, deadline: Instant) -> Result<ExitStatus, Silence> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return Err(Silence::Late);
            }
            // Nothing is measured here.
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// What QEMU said on its standard error, on one line; it has closed its output already.
    fn last_words(&mut self, deadline: Instant) -> String {
        let mut words = Vec::new();
        let mut piece = [0; 4096];
        while words.len() < 16 * 1024 && matches!(readable(&self.errors, deadline), Ok(true)) {
            match self.errors.read(&mut piece) {
                Ok(length @ 1..) => words.extend_from_slice(&piece[..length]),
                Ok(0) | Err(_) => break,
            }
        }
        let words = String::from_utf8_lossy(&words);
        let words: Vec<_> = words.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if words.is_empty() { "without a word".to_owned() } else { words.join("; ") }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Both fail only for a process that was reaped already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether something can be read (or the other end closed) before `deadline`.
fn readable(from: &impl AsFd, deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up, so that the last millisecond is waited for and not spun through.
        let timeout = PollTimeout::try_from(left + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX);
        let mut entry = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
        match poll(&mut entry, timeout) {
            Ok(0) if left.is_zero() => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Guest, Silence};
    use std::time::{Duration, Instant};

    fn shell(script: &str) -> Guest {
        Guest::start(&["sh".to_owned(), "-c".to_owned(), script.to_owned()]).expect("a shell")
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[test]
    fn cuts_lines_and_reports_the_end() {
        let mut guest = shell("printf 'one \\ntw'; printf 'o\\n'; echo broken >&2; exit 3");
        assert_eq!(guest.line(soon()).expect("a line"), "one ");
        assert_eq!(guest.line(soon()).expect("a line"), "two");
        match guest.line(soon()) {
            Err(Silence::Ended(words)) => assert_eq!(words, "broken"),
            other => panic!("expected the end, got {other:?}"),
        }
        assert_eq!(guest.wait(soon()).expect("an end").code(), Some(3));
    }

    #[test]
    fn a_guest_does_not_outlive_the_thread_that_started_it() {
        use nix::sys::signal::Signal;
        use nix::sys::wait::{WaitStatus, waitpid};
        let started = std::thread::spawn(|| {
            let guest = shell("exec sleep 30");
            let id = guest.id();
            // As when the process is killed: nobody drops it.
            std::mem::forget(guest);
            id
        });
        let id = nix::unistd::Pid::from_raw(started.join().expect("a thread") as i32);
        let ended = waitpid(id, None).expect("it is ours to reap");
        assert_eq!(ended, WaitStatus::Signaled(id, Signal::SIGKILL, false));
    }

    #[test]
    fn a_silent_guest_is_late_and_dies_with_its_handle() {
        let mut guest = shell("exec sleep 60");
        let id = guest.id();
        let before = Instant::now();
        assert!(matches!(guest.line(before + Duration::from_millis(50)), Err(Silence::Late)));
        assert!(before.elapsed() < Duration::from_secs(5));
        drop(guest);
        assert!(!std::path::Path::new(&format!("/proc/{id}")).exists(), "killed and reaped");
    }
}
