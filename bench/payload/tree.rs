//! `digest`: what the box's file system holds, file by file, and what its command was told. Lines, then
//! `OK digest SHA-256 NUMBER` over those of them that are content.
//!
//! ```text
//! entry TYPE+MODE UID GID LINKS DETAIL PATH   DETAIL: SHA-256 of a file, target of a link, number of a device, or -
//!                                             LINKS: how many names it has; where several, `#` and the beginning of the
//!                                             SHA-256 of the first one's path: so it is told which are one file
//! xattr NAME SHA-256 PATH                     of the entry before
//! argv WORD / env NAME=VALUE / cwd PATH       the lab's own words left out
//! beside PATH                                 not content: a mount, or named in the request; nor is what lies below
//! ```
//!
//! In the order of the names' bytes, without a buffer for them: the next name of a directory is the smallest one
//! greater than the last, looked for anew each time. So a directory may have any number. Times are no content, nor
//! are attributes but `user.*` and `security.capability`: the others belong to who looks.

use hmac_sha256::Hash;

use crate::output::{Output, decimal};
use crate::sys::files::{self, Status};
use crate::{Start, sys};

/// The longest path, its end not counted; the kernel takes no longer one.
const LONGEST: usize = 4095;
/// The longest name (NAME_MAX).
const NAME: usize = 255;
/// The most files with several names: each is kept until the walk's end.
const LINKED: usize = 256;

/// A line under way: said, and hashed where it is content.
struct Line<'a> {
    output: &'a mut Output,
    hash: &'a mut Hash,
}

impl Line<'_> {
    // Called from everywhere: in line it would be longer than all that calls it.
    #[inline(never)]
    fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.output.raw(bytes);
        self.hash.update(bytes);
        self
    }

    /// Bytes of unknown origin: what is not visible ASCII, and the backslash, as `\ooo`. So no field has a blank.
    fn escaped(&mut self, bytes: &[u8]) -> &mut Self {
        for &byte in bytes {
            if byte.is_ascii_graphic() && byte != b'\\' {
                self.raw(&[byte]);
            } else {
                let digit = |shift: u8| b'0' + ((byte >> shift) & 7);
                self.raw(&[b'\\', digit(6), digit(3), digit(0)]);
            }
        }
        self
    }

    fn number(&mut self, value: u32) -> &mut Self {
        self.raw(decimal(value.into(), &mut [0; 20]))
    }

    fn hex(&mut self, bytes: &[u8]) -> &mut Self {
        for byte in bytes {
            let digit = |half: u8| b"0123456789abcdef"[usize::from(half)];
            self.raw(&[digit(byte >> 4), digit(byte & 15)]);
        }
        self
    }
}

/// Where something cannot be read: what was tried, and the kernel's number.
struct Unread(&'static [u8], sys::Errno);

/// The whole answer. `left_out` are the words of the request: paths, and names of variables.
// In line its buffers would be a part of every payload's stack, and so of every box's memory, asked or not.
#[inline(never)]
pub(crate) fn answer(start: &Start, left_out: &[u8], output: &mut Output) -> Result<(), &'static str> {
    if start.machine {
        crate::machine::mount_once();
    }
    let mut hash = Hash::new();
    let mut count = command(start, left_out, &mut Line { output, hash: &mut hash });
    let mut walk =
        Walk { path: [0; LONGEST + 1], length: 0, root: [0; 2], linked: [(0, [0; FIRST_NAME]); LINKED] };
    match walk.all(left_out, output, &mut hash) {
        Ok(entries) => count += entries,
        Err(Unread(what, errno)) => {
            output.raw(b"ERR digest cannot ").raw(what).raw(b" ");
            Line { output, hash: &mut hash }.escaped(walk.shown());
            output.raw(b": errno ").number(errno.0 as u64).end();
            return Ok(());
        }
    }
    output.raw(b"OK digest ");
    let sum = hash.finalize();
    Line { output, hash: &mut Hash::new() }.hex(&sum);
    output.raw(b" ").number(count).end();
    Ok(())
}

/// What the command was told. Returns the number of lines.
fn command(start: &Start, left_out: &[u8], line: &mut Line<'_>) -> u64 {
    let mut count = 1;
    for index in 0..start.arguments.count() {
        let word = start.arguments.get(index).unwrap_or(&[]);
        // The nonce and the channel are the lab's, and differ.
        if index == 0 || word.starts_with(b"word=") {
            line.raw(b"argv ").escaped(word).raw(b"\n");
            count += 1;
        }
    }
    // In their order: two tools that agree on the variables may not on that.
    let mut last: Option<&[u8]> = None;
    loop {
        let all = (0..).map_while(|index| start.arguments.environment(index));
        let next = all.filter(|it| last.is_none_or(|last| *it > last)).min();
        let Some(variable) = next else { break };
        last = Some(variable);
        let name = variable.split(|&byte| byte == b'=').next().unwrap_or(&[]);
        if !has(left_out, name) {
            line.raw(b"env ").escaped(variable).raw(b"\n");
            count += 1;
        }
    }
    let mut path = [0; LONGEST + 1];
    let length = sys::working_directory(&mut path).unwrap_or(1);
    line.raw(b"cwd ").escaped(&path[..length - 1]).raw(b"\n");
    count
}

/// Whether a word is among those of the request.
fn has(words: &[u8], wanted: &[u8]) -> bool {
    words.split(|&byte| byte == b' ').any(|word| !word.is_empty() && word == wanted)
}

/// How much of the SHA-256 of a path stands for it.
const FIRST_NAME: usize = 4;

/// Where the walk is: `path[..length]`, below the root, without a blank at its end but the null that the kernel wants.
struct Walk {
    path: [u8; LONGEST + 1],
    length: usize,
    /// The mount that the root is on.
    root: [u64; 2],
    /// The files of several names that were met: each by its number, with what stands for its first name.
    linked: [(u64, [u8; FIRST_NAME]); LINKED],
}

impl Walk {
    fn shown(&self) -> &[u8] {
        if self.length == 0 { b"/" } else { &self.path[..self.length] }
    }

    /// The path as the kernel takes it.
    fn for_kernel(&self) -> &[u8] {
        if self.length == 0 { b"/\0" } else { &self.path[..=self.length] }
    }

    fn all(&mut self, left_out: &[u8], output: &mut Output, hash: &mut Hash) -> Result<u64, Unread> {
        let status = Status::of(self.for_kernel()).map_err(|errno| Unread(b"look at", errno))?;
        self.root = status.place();
        let mut count = self.entry(&status, &mut Line { output, hash })?;
        // The last name seen in the directory that the walk is in.
        let (mut last, mut length) = ([0; NAME], 0);
        loop {
            let mut next = [0; NAME];
            let Some(found) = self.next_name(&last[..length], &mut next)? else {
                // Back to the directory above, from which on its own name is the last one.
                let Some(slash) = self.path[..self.length].iter().rposition(|&byte| byte == b'/') else {
                    return Ok(count);
                };
                length = self.length - slash - 1;
                last[..length].copy_from_slice(&self.path[slash + 1..self.length]);
                self.cut(slash);
                continue;
            };
            let above = self.length;
            self.extend(&next[..found])?;
            let status = Status::of(self.for_kernel()).map_err(|errno| Unread(b"look at", errno))?;
            let beside = status.place() != self.root || has(left_out, self.shown());
            if beside {
                output.raw(b"beside ");
                // Not content, so into a sum that nobody asks for.
                Line { output, hash: &mut Hash::new() }.escaped(self.shown());
                output.end();
            } else {
                count += self.entry(&status, &mut Line { output, hash })?;
            }
            if !beside && status.mode() & files::KIND == files::DIRECTORY {
                length = 0;
            } else {
                last = next;
                length = found;
                self.cut(above);
            }
        }
    }

    fn extend(&mut self, name: &[u8]) -> Result<(), Unread> {
        let end = self.length + 1 + name.len();
        if end > LONGEST {
            return Err(Unread(b"go on below, for the path is too long,", sys::Errno(36)));
        }
        self.path[self.length] = b'/';
        self.path[self.length + 1..end].copy_from_slice(name);
        self.cut(end);
        Ok(())
    }

    fn cut(&mut self, length: usize) {
        self.length = length;
        self.path[length] = 0;
    }

    /// The smallest name of the directory that is greater than `last`.
    fn next_name(&self, last: &[u8], next: &mut [u8; NAME]) -> Result<Option<usize>, Unread> {
        let flags = sys::O_RDONLY | sys::O_DIRECTORY | sys::O_CLOEXEC;
        let fd = sys::open(self.for_kernel(), flags).map_err(|errno| Unread(b"open", errno))?;
        let mut found: Option<usize> = None;
        let mut entries = [0; 2048];
        let read = loop {
            let filled = match sys::directory_entries(fd, &mut entries) {
                Ok(0) => break Ok(()),
                Ok(filled) => filled,
                Err(errno) => break Err(Unread(b"list", errno)),
            };
            sys::each_name(&entries[..filled], |name| {
                let smallest = found.is_none_or(|length| name < &next[..length]);
                if name != b"." && name != b".." && name.len() <= NAME && name > last && smallest {
                    next[..name.len()].copy_from_slice(name);
                    found = Some(name.len());
                }
            });
        };
        sys::close(fd);
        read.map(|()| found)
    }

    /// Says what stands at the path, with what is attached to it. Returns the number of lines.
    fn entry(&mut self, status: &Status, line: &mut Line<'_>) -> Result<u64, Unread> {
        let mode = status.mode();
        let kind = match mode & files::KIND {
            files::REGULAR => b"f",
            files::DIRECTORY => b"d",
            files::LINK => b"l",
            files::CHARACTER => b"c",
            files::BLOCK => b"b",
            files::FIFO => b"p",
            _ => b"s",
        };
        line.raw(b"entry ").raw(kind);
        line.raw(&[9, 6, 3, 0].map(|shift| b'0' + ((mode >> shift) & 7) as u8));
        for owner in status.owner() {
            line.raw(b" ").number(owner);
        }
        line.raw(b" ");
        // What a directory counts as links differs between file systems.
        if kind == b"d" {
            line.raw(b"-");
        } else {
            self.names(status, line)?;
        }
        line.raw(b" ");
        match kind {
            b"f" => line.hex(&self.sum()?),
            b"l" => {
                let mut target = [0; LONGEST];
                let length = sys::read_link(self.for_kernel(), &mut target);
                let length = length.map_err(|errno| Unread(b"read the link", errno))?;
                line.escaped(&target[..length])
            }
            b"c" | b"b" => {
                let [major, minor] = status.device();
                line.number(major).raw(b":").number(minor)
            }
            _ => line.raw(b"-"),
        };
        line.raw(b" ").escaped(self.shown()).raw(b"\n");
        Ok(1 + self.attributes(line)?)
    }

    /// Says how many names it has, and by the first of them which others are names of the same file: two pairs of equal
    /// files could else be linked crosswise and look the same.
    fn names(&mut self, status: &Status, line: &mut Line<'_>) -> Result<(), Unread> {
        line.number(status.links());
        if status.links() < 2 {
            return Ok(());
        }
        let number = status.number();
        // A number of 0 is no file's.
        let place = self.linked.iter_mut().find(|(known, _)| [0, number].contains(known));
        let (known, first) = place.ok_or(Unread(b"remember", sys::Errno(12)))?;
        if *known == 0 {
            let [a, b, c, d, ..] = Hash::hash(&self.path[..self.length]);
            (*known, *first) = (number, [a, b, c, d]);
        }
        line.raw(b"#").hex(first);
        Ok(())
    }

    /// SHA-256 of the file's bytes.
    fn sum(&self) -> Result<[u8; 32], Unread> {
        let opened = sys::open(self.for_kernel(), sys::O_RDONLY | sys::O_CLOEXEC);
        let fd = opened.map_err(|errno| Unread(b"open", errno))?;
        let (mut hash, mut piece) = (Hash::new(), [0; 4096]);
        let read = loop {
            match sys::read(fd, &mut piece) {
                Ok(0) => break Ok(hash.finalize()),
                Ok(length) => hash.update(&piece[..length]),
                Err(sys::EINTR) => {}
                Err(errno) => break Err(Unread(b"read", errno)),
            }
        };
        sys::close(fd);
        read
    }

    fn attributes(&self, line: &mut Line<'_>) -> Result<u64, Unread> {
        let mut names = [0; 4096];
        let length = match files::attributes(self.for_kernel(), &mut names) {
            Ok(length) => length,
            // A file system that has none.
            Err(sys::ENOTSUP) => return Ok(0),
            Err(errno) => return Err(Unread(b"list the attributes of", errno)),
        };
        let (mut count, mut last) = (0, &[][..]);
        loop {
            // Each name with the null that ends it.
            let all = names[..length].split_inclusive(|&byte| byte == 0);
            let own = all.filter(|name| name.starts_with(b"user.") || *name == b"security.capability\0");
            let Some(name) = own.filter(|name| *name > last).min() else { return Ok(count) };
            last = name;
            let mut value = [0; 4096];
            let length = files::attribute(self.for_kernel(), name, &mut value);
            let length = length.map_err(|errno| Unread(b"read an attribute of", errno))?;
            line.raw(b"xattr ").escaped(&name[..name.len() - 1]).raw(b" ");
            line.hex(&Hash::hash(&value[..length])).raw(b" ").escaped(self.shown()).raw(b"\n");
            count += 1;
        }
    }
}
