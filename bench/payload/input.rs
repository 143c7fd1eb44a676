//! Commands: lines cut from whatever pieces descriptor 0 hands out.

use crate::sys;

/// The longest line that is understood, its end not counted.
pub(crate) const LONGEST: usize = 4096;

/// What came next on descriptor 0.
pub(crate) enum Line<'a> {
    /// A line without its end (`\n` or `\r\n`).
    Text(&'a [u8]),
    /// A line longer than [`LONGEST`], skipped up to its end.
    TooLong,
    /// End of input. An unfinished last line is dropped: half a command is not one.
    End,
}

/// The reader; one buffer, reused.
pub(crate) struct Input {
    bytes: [u8; LONGEST + 2],
    start: usize,
    end: usize,
    skipping: bool,
}

impl Input {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; LONGEST + 2], start: 0, end: 0, skipping: false }
    }

    /// Waits for the next line.
    pub(crate) fn line(&mut self) -> Line<'_> {
        let mut searched = self.start;
        loop {
            if let Some(length) = self.bytes[searched..self.end].iter().position(|&byte| byte == b'\n') {
                let (first, last) = (self.start, searched + length);
                self.start = last + 1;
                if core::mem::take(&mut self.skipping) {
                    return Line::TooLong;
                }
                let line = &self.bytes[first..last];
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                return if line.len() > LONGEST { Line::TooLong } else { Line::Text(line) };
            }
            if self.skipping {
                self.start = self.end;
            }
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if self.end == self.bytes.len() {
                self.skipping = true;
                self.end = 0;
            }
            searched = self.end;
            if !self.fill() {
                return Line::End;
            }
        }
    }

    /// Reads once into the free part, which is never empty; false at end of input.
    fn fill(&mut self) -> bool {
        loop {
            match sys::read(0, &mut self.bytes[self.end..]) {
                Ok(0) => return false,
                Ok(count) => {
                    self.end += count;
                    return true;
                }
                Err(sys::EINTR) => {}
                Err(sys::EAGAIN) => sys::wait_for(0, 1),
                Err(_) => return false,
            }
        }
    }
}
