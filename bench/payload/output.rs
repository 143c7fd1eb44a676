//! Answers: bytes collected in a fixed buffer, written to descriptor 1.

use crate::sys;

/// A number's digits, which stand at the end of the buffer.
#[inline(never)]
pub(crate) fn decimal(value: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    let mut rest = value;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 || at == 0 {
            return &digits[at..];
        }
    }
}

/// Collects an answer and writes it when full or flushed. A reader that went away ends the payload.
pub(crate) struct Output {
    bytes: [u8; 1024],
    used: usize,
}

impl Output {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; 1024], used: 0 }
    }

    /// Appends bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        for &byte in bytes {
            if self.used == self.bytes.len() {
                self.flush();
            }
            self.bytes[self.used] = byte;
            self.used += 1;
        }
        self
    }

    /// Appends bytes of unknown origin; control characters become `\ooo`, so that one line stays one line.
    pub(crate) fn escaped(&mut self, bytes: &[u8]) -> &mut Self {
        for &byte in bytes {
            if byte < b' ' || byte == 0x7f {
                let digit = |shift: u8| b'0' + ((byte >> shift) & 7);
                self.raw(&[b'\\', digit(6), digit(3), digit(0)]);
            } else {
                self.raw(&[byte]);
            }
        }
        self
    }

    /// Appends a decimal number.
    pub(crate) fn number(&mut self, value: u64) -> &mut Self {
        self.raw(decimal(value, &mut [0; 20]))
    }

    /// Ends the line.
    pub(crate) fn end(&mut self) -> &mut Self {
        self.raw(b"\n")
    }

    /// Writes what was collected, all of it.
    pub(crate) fn flush(&mut self) {
        let mut rest = &self.bytes[..self.used];
        while !rest.is_empty() {
            match sys::write(1, rest) {
                Ok(written) => rest = &rest[written..],
                Err(sys::EINTR) => {}
                Err(sys::EAGAIN) => sys::wait_for(1, 4),
                // Nobody reads any more (EPIPE, where SIGPIPE did not end us already) or will again.
                Err(_) => crate::leave(1),
            }
        }
        self.used = 0;
    }
}
