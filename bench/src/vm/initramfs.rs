//! The guest's root: a cpio archive (format newc, Documentation/driver-api/early-userspace) that the
//! kernel unpacks into memory. The payload is `/init`; beside it only what it opens before it can mount.

use crate::payload::PAYLOAD;
use cpio::newc::{self, Builder};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;
const CHARACTER: u32 = 0o020_600;

/// Name, mode, device number, contents. The kernel makes nothing that has no parent directory yet, so a
/// directory stands before what is in it.
const ENTRIES: [(&str, u32, (u32, u32), Contents); 8] = [
    ("dev", DIRECTORY, (0, 0), Contents::None),
    ("proc", DIRECTORY, (0, 0), Contents::None),
    ("sys", DIRECTORY, (0, 0), Contents::None),
    ("tmp", DIRECTORY, (0, 0), Contents::None),
    // The kernel opens it as descriptors 0, 1 and 2 of /init.
    ("dev/console", CHARACTER, (5, 1), Contents::None),
    ("dev/ttyS0", CHARACTER, (4, 64), Contents::None),
    ("dev/ttyS1", CHARACTER, (4, 65), Contents::None),
    ("init", PROGRAM, (0, 0), Contents::Payload),
];

#[derive(Clone, Copy)]
enum Contents {
    None,
    Payload,
}

/// What the archive has beside what every machine needs.
#[derive(Debug, Clone, Default)]
pub struct Extras {
    /// Modules of the kernel, which the payload loads in this order.
    pub modules: Vec<Vec<u8>>,
    /// What the payload executes once it has gone over to the image on its disk, as `payload/image.rs` reads it.
    pub command: Option<Vec<u8>>,
}

/// The archive's bytes: the same payload gives the same bytes, whoever builds them and when.
///
/// # Errors
/// None in practice: it is written to memory.
pub fn build(Extras { modules, command }: &Extras) -> io::Result<Vec<u8>> {
    let mut archive = Vec::new();
    let mut number = 0;
    let mut add = |name: &str, mode: u32, (major, minor): (u32, u32), bytes: &[u8]| {
        number += 1;
        let entry = Builder::new(name).ino(number).mode(mode).rdev_major(major).rdev_minor(minor);
        let mut file = entry.write(&mut archive, bytes.len() as u32);
        file.write_all(bytes)?;
        file.finish().map(drop)
    };
    for (name, mode, device, contents) in ENTRIES {
        let bytes = match contents {
            Contents::None => &[],
            Contents::Payload => PAYLOAD,
        };
        add(name, mode, device, bytes)?;
    }
    if !modules.is_empty() {
        add("modules", DIRECTORY, (0, 0), &[])?;
    }
    for (index, module) in modules.iter().enumerate() {
        add(&format!("modules/{index}"), PROGRAM, (0, 0), module)?;
    }
    if let Some(command) = command {
        add("image", DIRECTORY, (0, 0), &[])?;
        add("command", FILE, (0, 0), command)?;
    }
    newc::trailer(&mut archive)?;
    Ok(archive)
}

/// Writes the archive, whole or not at all. Preparation: once per image, never inside the clock.
///
/// # Errors
/// `path` cannot be written.
pub fn write(path: &Path) -> io::Result<()> {
    write_with(path, &Extras::default())
}

/// The same with more.
///
/// # Errors
/// As [`write()`].
pub fn write_with(path: &Path, extras: &Extras) -> io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let mut file = File::create(&partial)?;
    file.write_all(&build(extras)?)?;
    file.sync_all()?;
    fs::rename(&partial, path)
}

#[cfg(test)]
mod tests {
    use super::{ENTRIES, Extras, PAYLOAD, build, write_with};
    use cpio::newc::Reader;
    use std::io::Read;

    #[test]
    fn reads_back_what_was_written() {
        let archive = build(&Extras::default()).expect("an archive");
        let mut rest = archive.as_slice();
        for (name, mode, (major, minor), _) in ENTRIES {
            let mut reader = Reader::new(rest).expect("an entry");
            let entry = reader.entry();
            assert_eq!((entry.name(), entry.mode(), entry.mtime()), (name, mode, 0));
            assert_eq!((entry.rdev_major(), entry.rdev_minor()), (major, minor), "{name}");
            assert_eq!((entry.uid(), entry.gid()), (0, 0), "{name}");
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).expect("contents");
            if name == "init" {
                assert!(bytes == PAYLOAD, "/init is the payload");
            }
            rest = reader.finish().expect("the next entry");
        }
        assert!(Reader::new(rest).expect("a trailer").entry().is_trailer());
    }

    #[test]
    fn the_same_bytes_twice() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("initramfs");
        let extras = Extras { modules: vec![b"module".to_vec()], command: Some(b"a/payload\0".to_vec()) };
        write_with(&path, &extras).expect("written");
        let archive = build(&extras).expect("an archive");
        assert!(std::fs::read(&path).expect("read") == archive);
        assert!(build(&Extras::default()).expect("an archive").len() < archive.len());
        let left = std::fs::read_dir(directory.path()).expect("a directory").count();
        assert_eq!(left, 1, "no partial file stays");
    }
}
