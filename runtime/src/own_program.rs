//! The box must never execute the runtime itself.
//!
//! An image can name /proc/self/exe as its command, or as the interpreter of its script. Between fork and
//! exec that is *our* program: the box would run it, wait until the host is done with it, and write into
//! it through /proc (CVE-2019-5736). A static program is more exposed than others, since its copy in the
//! box starts without a loader that could be missing there.
//!
//! So the command is looked at before it is executed: it must not be our own file, nor may its
//! interpreter, as far as scripts lead. In a fresh box nobody else is there to swap files between the look
//! and the exec. Where files can be somebody else's too (a bundle with volumes, `exec` into a box that
//! runs) the runtime first moves into a sealed copy of itself, see `seal.rs`.
//!
//! Man page: execve(2), "Interpreter scripts"; proc(5), "exe". Look at it:
//! `tare-runtime run --rootfs DIR box -- /proc/self/exe`

use std::ffi::CStr;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, fstat, stat};
use nix::unistd::read;

/// As many files as the kernel looks at: five scripts that interpret one another, and the program.
const DEPTH: usize = 6;
/// What the kernel reads of a script's first line.
const LINE: usize = 256;

/// The file that this process executes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnProgram {
    device: u64,
    inode: u64,
}

impl OwnProgram {
    /// Finds it, before the fork.
    ///
    /// # Errors
    /// ENOENT without /proc.
    pub(crate) fn find() -> Result<Self, Errno> {
        let found = stat(c"/proc/self/exe")?;
        Ok(Self { device: found.st_dev, inode: found.st_ino })
    }

    fn is(&self, file: impl AsFd) -> bool {
        fstat(file).is_ok_and(|found| (found.st_dev, found.st_ino) == (self.device, self.inode))
    }

    /// Whether executing `path` would execute it, directly or as an interpreter. In the child; a file that
    /// cannot be opened is left to exec, which says why.
    pub(crate) fn is_meant_by(&self, path: &CStr) -> bool {
        let mut line = [0; LINE];
        let mut next = open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK, Mode::empty());
        for _ in 0..DEPTH {
            // Not readable: then it may still be executable, and the file itself is what counts.
            let file = match next {
                Ok(file) => file,
                Err(_) => return stat(path).is_ok_and(|s| (s.st_dev, s.st_ino) == (self.device, self.inode)),
            };
            if self.is(&file) {
                return true;
            }
            let Ok(length) = read(&file, &mut line) else { return false };
            let Some(interpreter) = interpreter(&mut line, length) else { return false };
            next = open(interpreter, OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK, Mode::empty());
            if next.is_err() {
                return false;
            }
        }
        false
    }
}

/// The interpreter that a script's first line names, in place.
fn interpreter(line: &mut [u8; LINE], length: usize) -> Option<&CStr> {
    let text = line.get(..length)?;
    let rest = text.strip_prefix(b"#!")?;
    let start = 2 + rest.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    let end = start + text[start..].iter().take_while(|b| !matches!(b, b' ' | b'\t' | b'\n' | 0)).count();
    if end == start || end >= LINE {
        return None;
    }
    line[end] = 0;
    CStr::from_bytes_with_nul(&line[start..=end]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    fn c(path: &Path) -> CString {
        CString::new(path.as_os_str().as_bytes()).expect("path")
    }

    #[test]
    fn it_is_recognised_through_links_and_scripts_and_nothing_else_is() {
        let own = OwnProgram::find().expect("own program");
        let dir = tempfile::tempdir().expect("tempdir");
        let write = |name: &str, text: &str| {
            std::fs::write(dir.path().join(name), text).expect("write");
            c(&dir.path().join(name))
        };
        std::os::unix::fs::symlink("/proc/self/exe", dir.path().join("link")).expect("symlink");
        let second = write("second", "#! /proc/self/exe -x\nrest");
        let first = write("first", &format!("#!{}\n", second.to_str().expect("ascii")));
        // As long as the kernel goes along: five scripts, and then the program.
        let chain = (0..5).fold(c"/proc/self/exe".to_owned(), |last, number| {
            write(&format!("chain{number}"), &format!("#!{}\n", last.to_str().expect("ascii")))
        });
        for bad in [c"/proc/self/exe".to_owned(), c(&dir.path().join("link")), first, second, chain] {
            assert!(own.is_meant_by(&bad), "{bad:?}");
        }
        for good in
            [c"/bin/sh".to_owned(), write("script", "#!/bin/sh\n"), write("empty", ""), write("odd", "#!")]
        {
            assert!(!own.is_meant_by(&good), "{good:?}");
        }
    }
}
