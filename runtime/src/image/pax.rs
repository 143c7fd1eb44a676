//! What a header of type `x` says about the file after it: records of the form `LENGTH KEY=VALUE\n`.
//!
//! The length is what counts. A value may hold any byte, a newline too: the capabilities of a program are bits, and
//! ten of them may be a newline. (The crate `tar` ends a record at the first newline, so it is read here.)
//!
//! Man page: pax(1p), "pax Extended Header". Look at it: `tar --xattrs --format=pax -c FILE | head -c 2048 | strings`

/// The records, in their order.
#[derive(Debug, Default)]
pub(crate) struct Pax(Vec<(Vec<u8>, Vec<u8>)>);

impl Pax {
    /// Takes a header's content apart.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(mut bytes: &[u8]) -> Result<Self, String> {
        let mut records = Vec::new();
        while !bytes.is_empty() {
            let (record, rest) = record(bytes).ok_or_else(|| {
                let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]);
                format!("a record that is none, or not as long as it says: {shown:?}")
            })?;
            records.push(record);
            bytes = rest;
        }
        Ok(Self(records))
    }

    /// What is said of `key`. An empty value takes back what was said before.
    pub(crate) fn of(&self, key: &str) -> Option<&[u8]> {
        let last = self.0.iter().rev().find(|(name, _)| name == key.as_bytes());
        last.map(|(_, value)| value.as_slice()).filter(|value| !value.is_empty())
    }

    /// The same as a number.
    ///
    /// # Errors
    /// That it is none.
    pub(crate) fn number(&self, key: &str) -> Result<Option<u64>, String> {
        let Some(value) = self.of(key) else { return Ok(None) };
        let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        number.map(Some).ok_or_else(|| format!("{key} is {:?}, no number", String::from_utf8_lossy(value)))
    }

    /// Whether any key begins like this.
    pub(crate) fn speaks_of(&self, beginning: &str) -> bool {
        self.0.iter().any(|(name, _)| name.starts_with(beginning.as_bytes()))
    }

    /// Key and value of all of them.
    pub(crate) fn records(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(key, value)| (key.as_slice(), value.as_slice()))
    }

    /// Extended attributes: name and value.
    pub(crate) fn attributes(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let attribute = |(key, value): (&[u8], &[u8])| {
            Some((key.strip_prefix(b"SCHILY.xattr.")?.to_vec(), value.to_vec()))
        };
        self.records().filter_map(attribute).collect()
    }
}

type Record = (Vec<u8>, Vec<u8>);

fn record(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    let text = record.strip_suffix(b"\n")?.get(space + 1..)?;
    let equals = text.iter().position(|byte| *byte == b'=')?;
    Some(((text[..equals].to_vec(), text[equals + 1..].to_vec()), rest))
}

/// "1700000000.25", "-1.25": seconds, rounded down, and nanoseconds.
pub(crate) fn time(text: &[u8]) -> Option<(i64, i64)> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: String = part.chars().chain("000000000".chars()).take(9).collect();
    let (seconds, nanoseconds): (i64, i64) = (whole.parse().ok()?, digits.parse().ok()?);
    match whole.starts_with('-') && nanoseconds > 0 {
        true => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds)),
        false => Some((seconds, nanoseconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_as_long_as_it_says() {
        let pax = Pax::parse(b"12 path=a\nb\n11 path=cd\n8 size=\n8 gid=5\n").expect("good");
        assert_eq!(pax.of("path"), Some(&b"cd"[..]));
        assert_eq!((pax.number("size"), pax.number("gid")), (Ok(None), Ok(Some(5))));
        for bad in
            ["x", "5", "3 a", "9 path=ab", "99 path=ab\n", "5 ab\n", "0 a=b\n", "\n", "-6 a=b\n", "6  a=b\n"]
        {
            assert!(Pax::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn times_are_rounded_down() {
        for (text, is) in [
            ("5", Some((5, 0))),
            ("5.25", Some((5, 250_000_000))),
            ("-1.25", Some((-2, 750_000_000))),
            ("-0.5", Some((-1, 500_000_000))),
            ("-3", Some((-3, 0))),
            ("1.0000000019", Some((1, 1))),
            ("", None),
            ("1.-5", None),
            ("1e5", None),
        ] {
            assert_eq!(time(text.as_bytes()), is, "{text}");
        }
    }
}
