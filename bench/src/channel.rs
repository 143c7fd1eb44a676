//! The channel between lab and payload: one line out, one line back, over inherited pipes (pipe(7)), or over
//! FIFOs in a directory that the box shares (fifo(7)) where its tool hands no descriptor through.
//!
//! A VM's first serial port arrives here too: QEMU connects it to its own standard input and output.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::pty::{OpenptyResult, openpty};
use nix::sys::stat::Mode;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{mkfifo, pipe2, read, write};

use crate::clock;

/// Longest line a payload may send, bytes. Its own limit is 4 KiB.
const LONGEST: usize = 64 * 1024;

/// The lab's ends of a box's standard input and output.
#[derive(Debug)]
pub struct Channel {
    to_box: Option<OwnedFd>,
    from_box: OwnedFd,
    buffer: Vec<u8>,
    /// The box's end of its output, held as long as the box may not have opened it yet.
    keeper: Option<OwnedFd>,
    /// When a line was begun that is not whole yet, ns.
    began_ns: Option<u64>,
}

/// A line from the box, without its end, and when the lab had read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The text; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// When its first byte had been read, on the host's monotonic clock, ns. A serial line brings it in pieces.
    pub began_ns: u64,
    /// When it had been read, ns.
    pub at_ns: u64,
}

/// What one read brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// A whole line.
    Line(Line),
    /// Part of a line.
    Partial,
    /// The box has closed its side.
    End,
}

impl Channel {
    /// Makes both pipes: the channel, and the box's standard input and output.
    ///
    /// # Errors
    /// When the process has no descriptors left (pipe2(2)).
    pub fn pipes() -> io::Result<(Self, [OwnedFd; 2])> {
        let (input, to_box) = pipe2(OFlag::O_CLOEXEC)?;
        let (from_box, output) = pipe2(OFlag::O_CLOEXEC)?;
        Ok((
            Self { to_box: Some(to_box), from_box, buffer: Vec::new(), began_ns: None, keeper: None },
            [input, output],
        ))
    }

    /// Makes the FIFOs `in` and `out` in a directory, and opens the lab's ends of them.
    ///
    /// # Errors
    /// When they cannot be made (mkfifo(3)) or the process has no descriptors left.
    pub fn fifos(directory: &Path) -> io::Result<Self> {
        let open = |name: &str, flags: OFlag| -> io::Result<OwnedFd> {
            Ok(nix::fcntl::open(&directory.join(name), flags | OFlag::O_CLOEXEC, Mode::empty())?)
        };
        for name in ["in", "out"] {
            mkfifo(&directory.join(name), Mode::from_bits_truncate(0o600))?;
        }
        // Both for reading and writing: neither end waits for its other side (fifo(7)).
        let to_box = open("in", OFlag::O_RDWR)?;
        let keeper = open("out", OFlag::O_RDWR)?;
        let from_box = open("out", OFlag::O_RDONLY)?;
        Ok(Self { to_box: Some(to_box), from_box, buffer: Vec::new(), began_ns: None, keeper: Some(keeper) })
    }

    /// Makes a pseudo terminal (pty(7)) that passes every byte on as it is: the channel is its master, and both
    /// standard input and output of the box are its other side.
    ///
    /// # Errors
    /// When there is no terminal or descriptor left.
    pub fn terminal() -> io::Result<(Self, [OwnedFd; 2])> {
        let OpenptyResult { master, slave } = openpty(None, None)?;
        for end in [&master, &slave] {
            fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        }
        // Before anybody reads: an echo would be taken for what the box says.
        let mut raw = tcgetattr(&slave)?;
        cfmakeraw(&mut raw);
        tcsetattr(&slave, SetArg::TCSANOW, &raw)?;
        Ok((Self::over(master.try_clone()?, master), [slave.try_clone()?, slave]))
    }

    /// Whether a box that never came would leave the lab waiting: true for FIFOs before READY.
    pub fn is_kept_open(&self) -> bool {
        self.keeper.is_some()
    }

    /// The channel of a box that has opened its side: from now on the end of the box is the end of its output.
    #[must_use]
    pub fn of_an_open_box(mut self) -> Self {
        self.keeper = None;
        self
    }

    /// A channel over ends that somebody else made.
    pub fn over(to_box: OwnedFd, from_box: OwnedFd) -> Self {
        Self { to_box: Some(to_box), from_box, buffer: Vec::new(), began_ns: None, keeper: None }
    }

    /// Its two ends, for somebody else to hold; none when the input was closed or something was read of which
    /// nobody has heard.
    pub fn into_ends(self) -> Option<[OwnedFd; 2]> {
        if self.buffer.is_empty() { Some([self.to_box?, self.from_box]) } else { None }
    }

    /// Sends one line.
    ///
    /// # Errors
    /// `BrokenPipe` when the box is gone or the input was closed.
    pub fn send(&self, line: &str) -> io::Result<()> {
        let to_box = self.to_box.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        let bytes = format!("{line}\n").into_bytes();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match write(to_box, rest) {
                Ok(n) => rest = &rest[n..],
                Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Closes the box's input: for the payload, the end.
    pub fn close_input(&mut self) {
        self.to_box = None;
    }

    /// The descriptor to poll(2) before [`Channel::read`].
    pub fn readable(&self) -> BorrowedFd<'_> {
        self.from_box.as_fd()
    }

    /// A line that an earlier read brought along.
    pub fn buffered(&mut self) -> Option<Line> {
        let end = self.buffer.iter().position(|&b| b == b'\n')?;
        let rest = self.buffer.split_off(end + 1);
        let line = std::mem::replace(&mut self.buffer, rest);
        // A serial line ends in CR LF until the guest's terminal is raw.
        let text = String::from_utf8_lossy(&line[..end]).trim_end_matches('\r').to_owned();
        let at_ns = clock::now_ns();
        Some(Line { text, began_ns: self.began_ns.take().unwrap_or(at_ns), at_ns })
    }

    /// Reads once; blocks unless poll(2) said that there is something.
    ///
    /// # Errors
    /// `InvalidData` for a line above 64 KiB.
    pub fn read(&mut self) -> io::Result<Read> {
        let mut chunk = [0; 4096];
        let n = match read(&self.from_box, &mut chunk) {
            Ok(n) => n,
            Err(nix::errno::Errno::EINTR) => return Ok(Read::Partial),
            // A terminal's other side is closed.
            Err(nix::errno::Errno::EIO) => return Ok(Read::End),
            Err(errno) => return Err(errno.into()),
        };
        if n == 0 {
            return Ok(Read::End);
        }
        self.buffer.extend_from_slice(&chunk[..n]);
        match self.buffered() {
            Some(line) => Ok(Read::Line(line)),
            None if self.buffer.len() > LONGEST => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "a line above 64 KiB"))
            }
            None => {
                self.began_ns.get_or_insert_with(clock::now_ns);
                Ok(Read::Partial)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_arrive_whole_and_in_order_however_they_are_cut() {
        let (mut channel, [_input, output]) = Channel::pipes().unwrap();
        let mut texts = Vec::new();
        for chunk in ["RE", "ADY a\r", "\nPONG b\nPO"] {
            write(&output, chunk.as_bytes()).unwrap();
            if let Read::Line(line) = channel.read().unwrap() {
                texts.push(line.text);
            }
            while let Some(line) = channel.buffered() {
                texts.push(line.text);
            }
        }
        assert_eq!(texts, ["READY a", "PONG b"]);
        drop(output);
        assert_eq!(channel.read().unwrap(), Read::End);
    }

    #[test]
    fn a_terminal_passes_bytes_on_as_they_are_and_ends_with_its_other_side() {
        let (mut channel, [input, output]) = Channel::terminal().unwrap();
        assert!(nix::unistd::isatty(&input).unwrap() && nix::unistd::isatty(&output).unwrap());
        channel.send("ping \x03 x").unwrap();
        let mut bytes = [0; 64];
        let count = read(&input, &mut bytes).unwrap();
        assert_eq!(&bytes[..count], b"ping \x03 x\n", "no signal, no wait, no change");
        write(&output, b"PONG x\n").unwrap();
        let Read::Line(line) = channel.read().unwrap() else { panic!("no line") };
        assert_eq!(line.text, "PONG x", "and no echo before it");
        drop((input, output));
        assert_eq!(channel.read().unwrap(), Read::End);
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let (mut channel, [_input, output]) = Channel::pipes().unwrap();
        let result = loop {
            write(&output, &[b'x'; 4096]).unwrap();
            match channel.read() {
                Ok(Read::Partial) => {}
                other => break other,
            }
        };
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
