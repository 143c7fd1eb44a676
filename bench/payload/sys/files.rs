//! Calls about files: what they are, what is attached to them, and the image that a machine's `/init` goes over to.

use core::ops::Range;

use super::{ENOENT, Errno, call, terminated};

/// What a file is (statx(2)).
pub(crate) struct Status([u64; 32]);

/// The kinds of files, as they stand in a mode (inode(7)).
pub(crate) const KIND: u32 = 0o170_000;
pub(crate) const REGULAR: u32 = 0o100_000;
pub(crate) const DIRECTORY: u32 = 0o040_000;
pub(crate) const LINK: u32 = 0o120_000;
pub(crate) const CHARACTER: u32 = 0o020_000;
pub(crate) const BLOCK: u32 = 0o060_000;
pub(crate) const FIFO: u32 = 0o010_000;

/// Bit of the mask: the kernel knows which mount the file is on (Linux 5.8).
const MOUNT: u64 = 0x1000;

impl Status {
    /// Of the file itself, where it is a link. `path` ends with a null byte.
    pub(crate) fn of(path: &[u8]) -> Result<Self, Errno> {
        const HERE: usize = -100isize as usize;
        const NO_FOLLOW: usize = 0x100;
        const BASIC: usize = 0x7ff;
        let path = terminated(path)?;
        let mut status = Self([0; 32]);
        let out = status.0.as_mut_ptr() as usize;
        // SAFETY: `path` ends with a null; the array has the 256 bytes of struct statx.
        unsafe { call(332, [HERE, path as usize, NO_FOLLOW, BASIC | MOUNT as usize, out, 0]) }?;
        Ok(status)
    }

    /// Half a word of the structure.
    fn half(&self, offset: usize) -> u32 {
        let word = self.0[offset / 8];
        (if offset % 8 == 0 { word } else { word >> 32 }) as u32
    }

    pub(crate) fn links(&self) -> u32 {
        self.half(16)
    }

    /// What tells it from the other files of its mount.
    pub(crate) fn number(&self) -> u64 {
        self.0[4]
    }

    pub(crate) fn owner(&self) -> [u32; 2] {
        [self.half(20), self.half(24)]
    }

    /// Kind and permissions.
    pub(crate) fn mode(&self) -> u32 {
        self.half(28) & 0xffff
    }

    /// Major and minor number of a device node.
    pub(crate) fn device(&self) -> [u32; 2] {
        [self.half(128), self.half(132)]
    }

    /// What is the same for all files of one mount: its number, and where the kernel does not tell it the device.
    pub(crate) fn place(&self) -> [u64; 2] {
        let mount = if self.0[0] & MOUNT == 0 { 0 } else { self.0[18] };
        // Below an overlay devices may differ between directories and files, and mounts do not.
        if mount == 0 { [0, self.0[17]] } else { [mount, 0] }
    }
}

/// llistxattr(2): names, each ended by a null. `path` ends with one too.
pub(crate) fn attributes(path: &[u8], buffer: &mut [u8]) -> Result<usize, Errno> {
    let path = terminated(path)?;
    // SAFETY: `path` ends with a null; the kernel writes at most `len` bytes into `buffer`.
    unsafe { call(195, [path as usize, buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0]) }
}

/// lgetxattr(2). `path` and `name` end with a null byte.
pub(crate) fn attribute(path: &[u8], name: &[u8], buffer: &mut [u8]) -> Result<usize, Errno> {
    let (path, name) = (terminated(path)?, terminated(name)?);
    let out = buffer.as_mut_ptr() as usize;
    // SAFETY: both strings end with a null; the kernel writes at most `len` bytes into `buffer`.
    unsafe { call(192, [path as usize, name as usize, out, buffer.len(), 0, 0]) }
}

/// mount(2) of a device, or with [`MOVE`] of what is mounted already. All strings end with a null byte.
pub(crate) fn mount_from(source: &[u8], target: &[u8], kind: &[u8], flags: usize) -> Result<(), Errno> {
    let (source, target, kind) = (terminated(source)?, terminated(target)?, terminated(kind)?);
    // SAFETY: the strings end with a null inside their slices; no data is passed.
    unsafe { call(165, [source as usize, target as usize, kind as usize, flags, 0, 0]) }.map(|_| ())
}

pub(crate) const MOVE: usize = 0x2000;

/// chdir(2). `path` ends with a null byte.
pub(crate) fn enter(path: &[u8]) -> Result<(), Errno> {
    let path = terminated(path)?;
    // SAFETY: `path` ends with a null inside its slice.
    unsafe { call(80, [path as usize, 0, 0, 0, 0, 0]) }.map(|_| ())
}

/// chroot(2) to the working directory.
pub(crate) fn root_here() -> Result<(), Errno> {
    // SAFETY: the kernel reads a string that ends with a null.
    unsafe { call(161, [b".\0".as_ptr() as usize, 0, 0, 0, 0, 0]) }.map(|_| ())
}

/// fsync(2).
pub(crate) fn to_disk(fd: i32) -> Result<(), Errno> {
    // SAFETY: touches no memory.
    unsafe { call(74, [fd as usize, 0, 0, 0, 0, 0]) }.map(|_| ())
}

/// open(2) of a file that is made or emptied, readable for its owner. `path` ends with a null byte.
pub(crate) fn create(path: &[u8]) -> Result<i32, Errno> {
    const WRITE_CREATE_TRUNCATE: usize = 0o1 | 0o100 | 0o1000;
    let path = terminated(path)?;
    // SAFETY: `path` ends with a null inside its slice.
    let fd = unsafe { call(2, [path as usize, WRITE_CREATE_TRUNCATE, 0o600, 0, 0, 0]) };
    fd.map(|fd| fd as i32)
}

/// The most words of a command or an environment.
const WORDS: usize = 32;

/// execve(2): strings of `text`, each ended by a null byte, as program and arguments, and as environment. Comes back
/// only with an error.
pub(crate) fn execute(text: &[u8], arguments: &[Range<usize>], environment: &[Range<usize>]) -> Errno {
    let mut pointers = [[0usize; WORDS + 1]; 2];
    for (pointers, words) in pointers.iter_mut().zip([arguments, environment]) {
        if words.len() > WORDS {
            return ENOENT;
        }
        for (pointer, word) in pointers.iter_mut().zip(words) {
            match text.get(word.clone()).map(terminated) {
                Some(Ok(start)) => *pointer = start as usize,
                _ => return ENOENT,
            }
        }
    }
    let [arguments, environment] = &pointers;
    // SAFETY: each pointer leads into `text`, to a string that ends with a null, and both arrays end with one.
    let result = unsafe {
        call(59, [arguments[0], arguments.as_ptr() as usize, environment.as_ptr() as usize, 0, 0, 0])
    };
    result.err().unwrap_or(ENOENT)
}
