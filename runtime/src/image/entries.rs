//! A tar stream, entry by entry, with nothing taken on trust.
//!
//! tar is a chain of 512-byte blocks: a header, the file's bytes, padding. What does not fit into the header (long
//! names, attributes) stands in an entry of its own before it. The crate `tar` knows the fields; the chain is walked
//! here, because the crate reads such an entry into memory however large it says it is, and because what is wrong has
//! to be told with the name of the entry in which it stands.
//!
//! Man page: tar(5). Look at it: `tar -tvf LAYER`

use std::io::{self, Read};

use tar::{EntryType, Header};

use super::pax::{Pax, time};
use super::sparse::{self, Piece};

const BLOCK: usize = 512;

/// The longest entry that describes another: names and attributes. No file system takes more.
const LONGEST: u64 = 1 << 20;

/// Why a stream is refused, and at which entry.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The entry's name as the stream has it; empty before the first.
    pub(crate) entry: Vec<u8>,
    pub(crate) why: String,
}

impl Refused {
    pub(crate) fn new(entry: &[u8], why: impl Into<String>) -> Self {
        Self { entry: entry.to_vec(), why: why.into() }
    }
}

/// What one entry says.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) kind: EntryType,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    /// Seconds since 1970, and nanoseconds.
    pub(crate) modified: (i64, i64),
    pub(crate) device: (u32, u32),
    /// Extended attributes: name and value.
    pub(crate) attributes: Vec<(Vec<u8>, Vec<u8>)>,
    /// How many bytes the file has, holes included.
    pub(crate) size: u64,
    /// Where its bytes belong, if it has holes.
    pub(crate) pieces: Option<Vec<Piece>>,
}

/// The entries of a stream.
pub(crate) struct Entries<R> {
    stream: R,
    /// Bytes of the present entry that were not read yet, and its padding.
    left: u64,
    padding: u64,
    name: Vec<u8>,
}

/// What the entries before a file say of it.
#[derive(Default)]
struct Said {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: Pax,
}

impl<R: Read> Entries<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self { stream, left: 0, padding: 0, name: Vec::new() }
    }

    /// The next file; `None` at the end of the archive.
    ///
    /// # Errors
    /// [`Refused`] for whatever is no tar stream, or ends too soon.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, Refused> {
        let mut said = Said::default();
        loop {
            self.skip()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let kind = header.entry_type();
            let size = size(&header).map_err(|error| self.refuse(format!("its size: {error}")))?;
            self.begin(size)?;
            match kind {
                EntryType::GNULongName => said.path = Some(self.text()?),
                EntryType::GNULongLink => said.link = Some(self.text()?),
                // Of two the later one counts, alone: so nobody fills our memory with them.
                EntryType::XHeader => {
                    let parsed = Pax::parse(&self.whole()?);
                    said.pax = parsed.map_err(|why| self.refuse(format!("its description: {why}")))?;
                }
                // It speaks of all files that follow; layers say nothing there but a comment.
                EntryType::XGlobalHeader => {
                    self.whole()?;
                }
                _ => return self.file(&header, kind, &said).map(Some),
            }
        }
    }

    /// Some of the present file's bytes; 0 at its end.
    ///
    /// # Errors
    /// [`Refused`] where the stream ends before.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Refused> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        match self.stream.read(&mut buffer[..most]) {
            Ok(0) => Err(self.refuse("the stream ends in the middle of it")),
            Ok(count) => {
                self.left -= count as u64;
                Ok(count)
            }
            Err(error) => Err(self.refuse(error.to_string())),
        }
    }

    /// Leaves out what of the present file was not read: `pass` moves the stream on by so many bytes.
    ///
    /// # Errors
    /// [`Refused`] where it cannot.
    pub(crate) fn leave_out(
        &mut self,
        pass: impl FnOnce(&mut R, u64) -> io::Result<()>,
    ) -> Result<(), Refused> {
        let count = std::mem::take(&mut self.left) + std::mem::take(&mut self.padding);
        pass(&mut self.stream, count).map_err(|error| self.refuse(error.to_string()))
    }

    /// The stream.
    pub(crate) fn stream(&self) -> &R {
        &self.stream
    }

    /// The stream, to be read to its end.
    pub(crate) fn into_stream(self) -> R {
        self.stream
    }

    fn refuse(&self, why: impl Into<String>) -> Refused {
        Refused::new(&self.name, why)
    }

    fn header(&mut self) -> Result<Option<Header>, Refused> {
        let mut header = Header::new_old();
        if !self.block(header.as_mut_bytes())? {
            return Ok(None);
        }
        let is_empty = |header: &Header| header.as_bytes().iter().all(|byte| *byte == 0);
        if is_empty(&header) {
            // Two of them are the end. Some readers would go on after one, and see other files than we.
            return match self.block(header.as_mut_bytes())? && !is_empty(&header) {
                true => Err(self.refuse("after it comes an empty block and then more")),
                false => Ok(None),
            };
        }
        let sum: u32 = header.as_bytes().iter().map(|byte| u32::from(*byte)).sum();
        let own: u32 = header.as_old().cksum.iter().map(|byte| u32::from(*byte)).sum();
        let blank = u32::from(b' ') * 8;
        if header.cksum().ok() != Some(sum - own + blank) {
            return Err(self.refuse("after it comes no header of a tar stream (wrong check sum)"));
        }
        self.name = header.path_bytes().into_owned();
        Ok(Some(header))
    }

    /// So many bytes follow.
    fn begin(&mut self, size: u64) -> Result<(), Refused> {
        if size > i64::MAX as u64 {
            return Err(self.refuse(format!("{size} bytes, more than any file can have")));
        }
        (self.left, self.padding) = (size, size.next_multiple_of(BLOCK as u64) - size);
        Ok(())
    }

    /// Fills a block; false if the stream ended before it.
    fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, Refused> {
        let mut filled = 0;
        while filled < BLOCK {
            match self.stream.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(self.refuse("the stream ends in the middle of a header after it")),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.refuse(error.to_string())),
            }
        }
        Ok(true)
    }

    fn skip(&mut self) -> Result<(), Refused> {
        let mut buffer = [0; 16 << 10];
        self.left += std::mem::take(&mut self.padding);
        while self.left > 0 {
            self.read(&mut buffer)?;
        }
        Ok(())
    }

    /// All of an entry that describes another.
    fn whole(&mut self) -> Result<Vec<u8>, Refused> {
        if self.left > LONGEST {
            return Err(self.refuse(format!("{} bytes of description, more than {LONGEST}", self.left)));
        }
        let mut all = vec![0; self.left as usize];
        let mut filled = 0;
        while filled < all.len() {
            filled += self.read(&mut all[filled..])?;
        }
        Ok(all)
    }

    fn text(&mut self) -> Result<Vec<u8>, Refused> {
        let mut text = self.whole()?;
        text.truncate(text.iter().position(|byte| *byte == 0).unwrap_or(text.len()));
        Ok(text)
    }

    fn file(&mut self, header: &Header, kind: EntryType, said: &Said) -> Result<Entry, Refused> {
        let kind = match kind {
            // In the oldest format the name alone says so.
            EntryType::Regular if header.as_old().linkflag[0] == 0 && header.path_bytes().ends_with(b"/") => {
                EntryType::Directory
            }
            kind => kind,
        };
        let path = sparse::name(header, &said.pax).or_else(|| said.path.clone());
        let path = path.or_else(|| said.pax.of("path").map(<[u8]>::to_vec));
        self.name = path.unwrap_or_else(|| header.path_bytes().into_owned());
        let name = self.name.clone();
        let refuse = |why: String| Refused::new(&name, why);
        let field = |what: &'static str| {
            let refuse = &refuse;
            move |error: io::Error| refuse(format!("its {what}: {error}"))
        };
        let number = |key| said.pax.number(key).map_err(refuse);
        if let Some(size) = number("size")? {
            self.begin(size)?;
        }
        // Their size is that of something else, and no bytes follow.
        if matches!(
            kind,
            EntryType::Link
                | EntryType::Symlink
                | EntryType::Char
                | EntryType::Block
                | EntryType::Directory
                | EntryType::Fifo
        ) {
            self.begin(0)?;
        }
        let link = said.link.clone().or_else(|| said.pax.of("linkpath").map(<[u8]>::to_vec));
        let device = if matches!(kind, EntryType::Char | EntryType::Block) {
            let part = |number: io::Result<Option<u32>>| {
                number.map_err(field("device")).map(Option::unwrap_or_default)
            };
            (part(header.device_major())?, part(header.device_minor())?)
        } else {
            // What stands there else is anything.
            (0, 0)
        };
        let old = header.as_old();
        let mut entry = Entry {
            link: link.unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned()),
            kind,
            mode: or_blank(&old.mode, header.mode()).map_err(field("mode"))? & 0o7777,
            uid: number("uid")?
                .map_or_else(|| or_blank(&old.uid, header.uid()), Ok)
                .map_err(field("owner"))?,
            gid: number("gid")?
                .map_or_else(|| or_blank(&old.gid, header.gid()), Ok)
                .map_err(field("group"))?,
            modified: match said.pax.of("mtime") {
                Some(text) => time(text).ok_or_else(|| refuse("its time is no number".into()))?,
                None => (or_blank(&old.mtime, header.mtime()).map_err(field("time"))? as i64, 0),
            },
            device,
            attributes: said.pax.attributes(),
            size: self.left,
            pieces: None,
            path: self.name.clone(),
        };
        match sparse::kind(header, &said.pax).map_err(refuse)? {
            sparse::Kind::Whole => {}
            sparse::Kind::Old { size, mut pieces, mut more } => {
                // Further pieces stand between header and data, and no size counts them.
                while more {
                    let mut block = [0; BLOCK];
                    if !self.block(&mut block)? {
                        return Err(self.refuse("the stream ends in the list of its pieces"));
                    }
                    more = sparse::more(&block, &mut pieces).map_err(|why| self.refuse(why))?;
                }
                (entry.size, entry.pieces) = (size, Some(pieces));
            }
            sparse::Kind::Described { size, pieces } => (entry.size, entry.pieces) = (size, Some(pieces)),
            sparse::Kind::New { size } => (entry.size, entry.pieces) = (size, Some(self.list()?)),
        }
        if let Some(pieces) = &entry.pieces {
            if !matches!(kind, EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse) {
                return Err(self.refuse("it has holes and is no file"));
            }
            sparse::check(pieces, entry.size, self.left).map_err(|why| self.refuse(why))?;
        }
        Ok(entry)
    }

    /// The list of pieces with which the data of a newer sparse file begin: decimal numbers, one a line.
    fn list(&mut self) -> Result<Vec<Piece>, Refused> {
        let mut block = [0; BLOCK];
        let mut list = sparse::List::default();
        loop {
            let mut filled = 0;
            while filled < BLOCK {
                match self.read(&mut block[filled..])? {
                    0 => return Err(self.refuse("it ends in the list of its pieces")),
                    count => filled += count,
                }
            }
            if let Some(pieces) = list.take(&block).map_err(|why| self.refuse(why))? {
                return Ok(pieces);
            }
        }
    }
}

/// How many bytes follow a header. Beyond 64 bits the crate would look at the last ones only.
fn size(header: &Header) -> io::Result<u64> {
    let field = &header.as_old().size;
    if field[0] & 0x80 != 0 && (field[0] != 0x80 || field[1..4] != [0; 3]) {
        return Err(io::Error::other("below zero, or more than any file can have"));
    }
    or_blank(field, header.entry_size())
}

/// A number that is left out is 0.
fn or_blank<T: Default>(field: &[u8], number: io::Result<T>) -> io::Result<T> {
    if field.iter().all(|byte| matches!(byte, 0 | b' ')) { Ok(T::default()) } else { number }
}
