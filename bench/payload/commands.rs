//! The commands, one answer each.

use crate::output::Output;
use crate::sys::files;
use crate::{Start, leave, report, sys, tree};

/// Steps of one unit of `burn`: about a millisecond of a CPU of these years.
const BURN: u64 = 1_000_000;

/// The state that commands share.
pub(crate) struct Commands<'a> {
    start: &'a Start,
    /// A random-looking sequence, different in each instance: see `touch`.
    sequence: u64,
}

impl<'a> Commands<'a> {
    pub(crate) fn new(start: &'a Start) -> Self {
        // FNV-1a of the nonce.
        let fold = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self { start, sequence: start.nonce.iter().fold(0xcbf2_9ce4_8422_2325, fold) }
    }

    /// Obeys one line. A new command is a new arm here.
    pub(crate) fn obey(&mut self, line: &[u8], output: &mut Output) {
        let (command, argument) = match line.iter().position(|&byte| byte == b' ') {
            Some(at) => (&line[..at], Some(&line[at + 1..])),
            None => (line, None),
        };
        let result = match (command, argument) {
            (b"ping", Some(nonce)) => ping(nonce, output),
            (b"touch", Some(kib)) => self.touch(kib, output),
            (b"burn", Some(units)) => self.burn(units, output),
            (b"self", None) => report::answer(self.start, output),
            (b"digest", words) => tree::answer(self.start, words.unwrap_or(b""), output),
            (b"write", Some(kib)) => self.write(kib, output),
            (b"crash", None) => sys::crash(),
            (b"hang", None) => loop {
                sys::pause();
            },
            (b"exit", code) => exit(code.unwrap_or(b"0"), output),
            (b"ping" | b"touch" | b"burn" | b"write", None) => Err("an argument is missing"),
            (b"self" | b"crash" | b"hang", Some(_)) => Err("takes no argument"),
            _ => Err("unknown command"),
        };
        if let Err(reason) = result {
            let shown =
                command.len() <= 32 && !command.is_empty() && command.iter().all(u8::is_ascii_graphic);
            output
                .raw(b"ERR ")
                .raw(if shown { command } else { b"-" })
                .raw(b" ")
                .raw(reason.as_bytes())
                .end();
        }
        output.flush();
    }

    /// `touch N`: dirties N KiB more. Each page gets a value of its own, different between instances too:
    /// equal pages could be merged by the host (KSM), and zero pages be found to be nothing at all.
    fn touch(&mut self, argument: &[u8], output: &mut Output) -> Result<(), &'static str> {
        let kib = number(argument).filter(|&kib| kib <= 1 << 40).ok_or("not a number of KiB")?;
        if kib > 0 {
            sys::dirty(kib as usize * 1024, || self.next())
                .map_err(|_| "the kernel refuses that much memory")?;
        }
        output.raw(b"OK touch ").number(kib).end();
        Ok(())
    }

    /// `burn N`: N times a million steps, each of which needs the one before. Work is counted, not time: how long it
    /// takes is the question.
    fn burn(&mut self, argument: &[u8], output: &mut Output) -> Result<(), &'static str> {
        let units = number(argument).filter(|&units| units <= 1 << 32).ok_or("not a number of units")?;
        for _ in 0..units * BURN {
            core::hint::black_box(self.next());
        }
        output.raw(b"OK burn ").number(units).end();
        Ok(())
    }

    /// `write N`: writes N KiB to a file of its own in /tmp, and has the kernel write them down. No byte of it is zero
    /// for long, and no two boxes write the same: a store may leave out the one and share the other.
    fn write(&mut self, argument: &[u8], output: &mut Output) -> Result<(), &'static str> {
        let kib = number(argument).filter(|&kib| kib <= 1 << 30).ok_or("not a number of KiB")?;
        let fd = files::create(b"/tmp/written\0").map_err(|_| "/tmp/written cannot be made")?;
        let mut result = Ok(());
        for _ in 0..kib {
            let mut piece = [0; 1024];
            for word in piece.chunks_exact_mut(8) {
                word.copy_from_slice(&self.next().to_le_bytes());
            }
            let mut rest = &piece[..];
            while let (false, Ok(())) = (rest.is_empty(), result) {
                match sys::write(fd, rest) {
                    Ok(written) => rest = &rest[written..],
                    Err(sys::EINTR) => {}
                    Err(_) => result = Err("the file system takes no more"),
                }
            }
        }
        result = result.and_then(|()| files::to_disk(fd).map_err(|_| "it does not reach the disk"));
        sys::close(fd);
        result?;
        output.raw(b"OK write ").number(kib).end();
        Ok(())
    }

    /// The next of the sequence: Knuth's 64-bit linear congruential generator.
    fn next(&mut self) -> u64 {
        self.sequence = self.sequence.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.sequence
    }
}

fn ping(nonce: &[u8], output: &mut Output) -> Result<(), &'static str> {
    if nonce.is_empty() || nonce.len() > crate::LONGEST_NONCE || !nonce.iter().all(u8::is_ascii_graphic) {
        return Err("the nonce is not 1 to 64 visible ASCII characters");
    }
    output.raw(b"PONG ").raw(nonce).end();
    Ok(())
}

fn exit(argument: &[u8], output: &mut Output) -> Result<(), &'static str> {
    let code = number(argument).and_then(|code| u8::try_from(code).ok()).ok_or("the code is not 0 to 255")?;
    output.raw(b"OK exit ").number(u64::from(code)).end().flush();
    leave(code)
}

/// A decimal number, digits only.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}
