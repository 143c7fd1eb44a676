//! Files with holes: a list says where the bytes in the stream belong, and what lies between is zeros that take no
//! space.
//!
//! GNU tar writes the list in four ways: in the header (the oldest, type `S`), in pax records (0.0 with a record for each
//! number, 0.1 with one for all), or at the head of the data, with the rest in pax records (1.0).
//!
//! Man page: tar(5), "Sparse files". Look at it: `truncate -s 1G hole; tar -Sc hole | wc -c`

use tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

use super::pax::Pax;

/// The most pieces of one file: more is no file but an attack.
pub(crate) const MOST: usize = 1 << 16;

/// So many bytes at such a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) at: u64,
    pub(crate) length: u64,
}

/// How a file is stored.
pub(crate) enum Kind {
    Whole,
    /// The list begins in the header; whether it goes on after it.
    Old {
        size: u64,
        pieces: Vec<Piece>,
        more: bool,
    },
    /// The list is in the description.
    Described {
        size: u64,
        pieces: Vec<Piece>,
    },
    /// The list begins the data.
    New {
        size: u64,
    },
}

/// Finds out.
///
/// # Errors
/// What is wrong, or not supported.
pub(crate) fn kind(header: &Header, pax: &Pax) -> Result<Kind, String> {
    if header.entry_type() == EntryType::GNUSparse {
        let gnu = header.as_gnu().ok_or("a sparse file without a list")?;
        let mut pieces = Vec::new();
        add(&gnu.sparse, &mut pieces)?;
        let size = gnu.real_size().map_err(|error| format!("its size: {error}"))?;
        return Ok(Kind::Old { size, pieces, more: gnu.is_extended() });
    }
    let size =
        |key| pax.number(key)?.ok_or_else(|| "a sparse file that does not say how large it is".to_owned());
    match (pax.of("GNU.sparse.major"), pax.of("GNU.sparse.minor")) {
        (None, None) if !pax.speaks_of("GNU.sparse.") => Ok(Kind::Whole),
        // Those who wrote it first did not say which it is.
        (None, None) | (Some(b"0"), Some(b"0" | b"1")) => {
            Ok(Kind::Described { size: size("GNU.sparse.size")?, pieces: described(pax)? })
        }
        (Some(b"1"), Some(b"0")) => Ok(Kind::New { size: size("GNU.sparse.realsize")? }),
        _ => Err("a sparse file of a version that nobody knew when this was written".into()),
    }
}

/// What a file is called whose own entry has a name for those who know nothing of holes.
pub(crate) fn name(header: &Header, pax: &Pax) -> Option<Vec<u8>> {
    let name = pax.of("GNU.sparse.name").filter(|_| header.entry_type() != EntryType::GNUSparse);
    name.map(<[u8]>::to_vec)
}

/// The list that stands in the description: in one record, or place and length in turn in records of their own.
fn described(pax: &Pax) -> Result<Vec<Piece>, String> {
    const TURNS: [&[u8]; 2] = [b"GNU.sparse.offset", b"GNU.sparse.numbytes"];
    let count = pax.number("GNU.sparse.numblocks")?.ok_or("a sparse file without a list of its pieces")?;
    let mut numbers = Vec::new();
    for (key, value) in pax.records().filter(|(key, _)| TURNS.contains(key)) {
        if key != TURNS[numbers.len() % 2] {
            return Err("the list of its pieces: place and length do not take turns".into());
        }
        numbers.push(number(value)?);
    }
    if let Some(list) = pax.of("GNU.sparse.map") {
        if !numbers.is_empty() {
            return Err("the list of its pieces is there in two ways".into());
        }
        numbers = list.split(|byte| *byte == b',').map(number).collect::<Result<_, _>>()?;
    }
    if count.checked_mul(2) != Some(numbers.len() as u64) {
        return Err(format!("the list of its {count} pieces has {} numbers", numbers.len()));
    }
    paired(&numbers)
}

/// Place and length, in turn.
fn paired(numbers: &[u64]) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    numbers.chunks_exact(2).try_for_each(|pair| push(&mut pieces, pair[0], pair[1]))?;
    Ok(pieces)
}

fn number(text: &[u8]) -> Result<u64, String> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| {
        format!("the list of its pieces has {:?}", String::from_utf8_lossy(&text[..text.len().min(40)]))
    })
}

/// Adds the pieces of a block that continues the list; whether there is one more.
///
/// # Errors
/// What is wrong.
pub(crate) fn more(block: &[u8; 512], pieces: &mut Vec<Piece>) -> Result<bool, String> {
    let mut next = GnuExtSparseHeader::new();
    next.as_mut_bytes().copy_from_slice(block);
    add(next.sparse(), pieces)?;
    Ok(next.is_extended())
}

fn add(headers: &[GnuSparseHeader], pieces: &mut Vec<Piece>) -> Result<(), String> {
    for it in headers.iter().filter(|it| !it.is_empty()) {
        let wrong = |error: std::io::Error| format!("the list of its pieces: {error}");
        push(pieces, it.offset().map_err(wrong)?, it.length().map_err(wrong)?)?;
    }
    Ok(())
}

fn push(pieces: &mut Vec<Piece>, at: u64, length: u64) -> Result<(), String> {
    if pieces.len() == MOST {
        return Err(format!("more than {MOST} pieces"));
    }
    pieces.push(Piece { at, length });
    Ok(())
}

/// Refuses pieces that overlap, lie beyond the end, or are not what the stream holds.
///
/// # Errors
/// What is wrong.
pub(crate) fn check(pieces: &[Piece], size: u64, stored: u64) -> Result<(), String> {
    let (mut end, mut sum) = (0, 0_u64);
    for piece in pieces {
        let next = piece.at.checked_add(piece.length).filter(|next| piece.at >= end && *next <= size);
        end = next.ok_or("its pieces overlap, or lie beyond its end")?;
        sum += piece.length;
    }
    if sum == stored { Ok(()) } else { Err(format!("its pieces are {sum} bytes, the stream has {stored}")) }
}

/// The newer list of these pieces, as it begins a file's data: whole blocks.
pub(crate) fn list(pieces: &[Piece]) -> Vec<u8> {
    let numbers = pieces.iter().flat_map(|piece| [piece.at, piece.length]);
    let lines = std::iter::once(pieces.len() as u64).chain(numbers).map(|number| format!("{number}\n"));
    let mut list = lines.collect::<String>().into_bytes();
    list.resize(list.len().next_multiple_of(512), 0);
    list
}

/// The numbers of a newer list: how many pieces, then place and length of each.
#[derive(Default)]
pub(crate) struct List {
    digits: Vec<u8>,
    numbers: Vec<u64>,
}

impl List {
    /// Reads a block; the pieces if they are complete: what follows the block is data.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn take(&mut self, block: &[u8]) -> Result<Option<Vec<Piece>>, String> {
        for byte in block {
            if *byte == b'\n' {
                self.numbers.push(number(&self.digits)?);
                self.digits.clear();
            } else if self.digits.len() < 20 {
                self.digits.push(*byte);
            } else {
                return Err("the list of its pieces has no numbers".into());
            }
            let Some(&count) = self.numbers.first() else { continue };
            if count > MOST as u64 {
                return Err(format!("more than {MOST} pieces"));
            }
            if self.numbers.len() as u64 == count.saturating_mul(2).saturating_add(1) {
                return paired(&self.numbers[1..]).map(Some);
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_may_go_on_in_the_next_block() {
        let mut list = List::default();
        assert_eq!(list.take(b"2\n0\n4\n10").unwrap(), None);
        let pieces = list.take(b"24\n8\n\0\0\0").unwrap().unwrap();
        assert_eq!(pieces, [Piece { at: 0, length: 4 }, Piece { at: 1024, length: 8 }]);
        assert_eq!(check(&pieces, 1032, 12), Ok(()));
        for (size, stored) in [(1031, 12), (1032, 11)] {
            assert!(check(&pieces, size, stored).is_err());
        }
    }

    #[test]
    fn a_list_is_read_as_it_was_written() {
        for count in [0, 1, 200] {
            let pieces: Vec<Piece> = (0..count).map(|it| Piece { at: it << 40, length: it }).collect();
            let (written, mut read) = (list(&pieces), List::default());
            let mut found = written.chunks(512).map(|block| read.take(block).unwrap());
            assert_eq!(found.find_map(|it| it), Some(pieces));
            assert_eq!(found.count(), 0, "what follows is data");
        }
    }

    #[test]
    fn pieces_that_overlap_or_overflow_are_refused() {
        for pieces in [[(4, 4), (0, 4)], [(0, 4), (3, 1)], [(0, 1), (u64::MAX, 2)]] {
            let pieces = pieces.map(|(at, length)| Piece { at, length });
            assert!(check(&pieces, u64::MAX, 8).is_err(), "{pieces:?}");
        }
        assert!(List::default().take(b"99999999\n").is_err());
        // The largest number there is: a list that never ends is not collected.
        assert!(List::default().take(format!("{}\n", u64::MAX).as_bytes()).is_err());
        assert!(List::default().take(b"x\n").is_err());
    }
}
