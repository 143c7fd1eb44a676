//! Digests: a name that is computed from what it names, so that what was received can be checked against it.
//!
//! A digest becomes a file's name in the store, so it is a type before it is a path: 64 hexadecimal digits and nothing
//! else.
//!
//! Man page: sha256sum(1). Look at it: `sha256sum STORE/blobs/*`

use std::io::{self, Read, Write};
use std::str::FromStr;

use oci_spec::image::Sha256Digest;
use sha2::{Digest as _, Sha256};

/// The SHA-256 of some bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Digest(String);

impl Digest {
    /// Reads "sha256:" and 64 digits.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no digest (sha256: and 64 digits of 0-9 a-f)");
        let hex = text.strip_prefix("sha256:").ok_or_else(wrong)?;
        let digest = Sha256Digest::from_str(hex).map_err(|_| wrong())?;
        let hex = digest.digest().to_owned();
        let known = hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if known { Ok(Self(hex)) } else { Err(wrong()) }
    }

    /// That of `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(hex(&Sha256::digest(bytes)))
    }

    /// That of a layer on top of others: "chain id" in the specification.
    pub(crate) fn chained(below: Option<&Self>, layer: &Self) -> Self {
        below.map_or_else(|| layer.clone(), |below| Self::of(format!("{below} {layer}").as_bytes()))
    }

    /// The digits, a safe name for a file.
    pub(crate) fn hex(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A stream that is counted and digested while it is read or written.
#[derive(Debug)]
pub(crate) struct Digested<R> {
    stream: R,
    sum: Sha256,
    count: u64,
}

impl<R> Digested<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self { stream, sum: Sha256::new(), count: 0 }
    }

    /// Of what has passed so far.
    pub(crate) fn sum(self) -> (Digest, u64) {
        (Digest(hex(&self.sum.finalize())), self.count)
    }
}

impl<R: Read> Digested<R> {
    /// Reads the rest.
    ///
    /// # Errors
    /// Those of the stream.
    pub(crate) fn finish(mut self) -> io::Result<(Digest, u64, R)> {
        io::copy(&mut self, &mut io::sink())?;
        Ok((Digest(hex(&self.sum.finalize())), self.count, self.stream))
    }
}

impl<R: Read> Read for Digested<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.sum.update(&buffer[..count]);
        self.count += count as u64;
        Ok(count)
    }
}

impl<W: Write> Write for Digested<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.stream.write(buffer)?;
        self.sum.update(&buffer[..count]);
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_digest_is_one() {
        let good = format!("sha256:{}", "0f".repeat(32));
        assert_eq!(Digest::parse(&good).unwrap().to_string(), good);
        let traversal = format!("sha256:../../{}", "0".repeat(58));
        for bad in
            ["", "sha256:", "sha256:00", &good[7..], &good.to_uppercase(), &traversal, &format!("{good}0")]
        {
            assert!(Digest::parse(bad).is_err(), "{bad}");
        }
        assert!(Digest::parse(&format!("sha512:{}", "0f".repeat(64))).is_err());
    }

    #[test]
    fn what_is_read_is_digested_to_its_end() {
        let mut stream = Digested::new(&b"abc"[..]);
        let mut one = [0];
        stream.read_exact(&mut one).unwrap();
        let (digest, count, _) = stream.finish().unwrap();
        assert_eq!((digest, count), (Digest::of(b"abc"), 3));
        // FIPS 180-2, appendix B.1.
        assert!(Digest::of(b"abc").hex().starts_with("ba7816bf8f01cfea"));
    }
}
