//! The disk of a whole distribution, which `scripts/guest-distro` builds: Debian with systemd, its own kernel and
//! initramfs, GRUB in the boot sector.
//!
//! `TARE_DISTRO`, then where the script leaves it (`target/tare/guest/distro`). What is on it nobody changes: a run
//! makes a copy, puts the payload there, and starts machines on overlays of the copy.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

use super::Unavailable;
use super::kernel::guest_directories;
use super::qemu::{Qemu, extend, spread};
use crate::payload::PAYLOAD;
use crate::program::answer;

const FIX: &str = "run scripts/guest-distro, or name a disk of its kind in TARE_DISTRO";
/// Where its unit looks for the payload.
const PLACE: &str = "/usr/local/bin/payload";
const SECTOR: u64 = 512;
/// The type of a partition with a Linux file system (MBR).
const LINUX: u8 = 0x83;

/// A disk to boot from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The raw image.
    pub image: PathBuf,
    /// What is on it: versions of Debian, its kernel, systemd and GRUB.
    pub release: String,
    /// How large the disk is, bytes.
    pub size: u64,
    /// How much of the host's disk the image takes, bytes.
    pub used: u64,
    /// Where the root file system begins, bytes.
    offset: u64,
}

/// Finds the disk.
///
/// # Errors
/// There is none, or what is there has no boot sector with a Linux partition.
pub fn find() -> Result<Disk, Unavailable> {
    if let Some(named) = env::var_os("TARE_DISTRO").filter(|path| !path.is_empty()) {
        return open(&PathBuf::from(named));
    }
    let images: Vec<PathBuf> =
        guest_directories().iter().map(|directory| directory.join("distro/disk.img")).collect();
    match images.iter().find(|image| image.exists()) {
        Some(image) => open(image),
        None => Err(Unavailable {
            reason: "the disk with Debian (target/tare/guest/distro/disk.img) was not built".into(),
            fix: FIX.into(),
        }),
    }
}

fn open(image: &Path) -> Result<Disk, Unavailable> {
    let shown = image.display();
    let unavailable = |reason: String| Unavailable { reason, fix: FIX.to_owned() };
    let mut boot = [0; SECTOR as usize];
    let meta = File::open(image)
        .and_then(|mut file| file.read_exact(&mut boot).and_then(|()| file.metadata()))
        .map_err(|error| unavailable(format!("cannot read {shown}: {error}")))?;
    let offset = first_partition(&boot).ok_or_else(|| {
        unavailable(format!("{shown} has no boot sector whose first partition is a Linux file system"))
    })?;
    // Where it came without a note, its name has to do.
    let noted = image.parent().and_then(|parent| fs::read_to_string(parent.join("release")).ok());
    let release = noted.map_or_else(|| shown.to_string(), |text| text.trim().to_owned());
    Ok(Disk { image: image.to_owned(), release, size: meta.len(), used: meta.blocks() * 512, offset })
}

/// Where the first partition of a boot sector (MBR) begins, bytes, if it is one for a Linux file system.
fn first_partition(boot: &[u8; SECTOR as usize]) -> Option<u64> {
    let entry = &boot[446..462];
    let start = u32::from_le_bytes(entry[8..12].try_into().ok()?);
    (boot[510..] == [0x55, 0xaa] && entry[4] == LINUX && start > 0).then_some(u64::from(start) * SECTOR)
}

impl Disk {
    /// Makes a copy with the payload on it. Preparation: once per image, never inside the clock.
    ///
    /// # Errors
    /// It cannot be copied, or `debugfs` cannot write to its file system.
    pub fn with_payload(&self, debugfs: &Path, copy: &Path) -> Result<()> {
        copy_sparse(&self.image, copy)
            .with_context(|| format!("copy {} to {}", self.image.display(), copy.display()))?;
        let beside = |what: &str| copy.with_extension(what);
        let (payload, read_back) = (beside("payload"), beside("read-back"));
        fs::write(&payload, PAYLOAD)?;
        fs::set_permissions(&payload, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let file_system = format!("{}?offset={}", copy.display(), self.offset);
        let ask = |options: &[&str], request: String| {
            let mut words: Vec<&str> = options.to_vec();
            words.extend(["-R", &request, &file_system]);
            answer(debugfs, &words, &[])
        };
        // It ends with 0 whatever came of the request; what can be read afterwards tells.
        ask(&["-w"], format!("rm {PLACE}"))?;
        ask(&["-w"], format!("write \"{}\" {PLACE}", payload.display()))?;
        ask(&[], format!("dump {PLACE} \"{}\"", read_back.display()))?;
        let there = fs::read(&read_back).unwrap_or_default();
        ensure!(there == PAYLOAD, "debugfs did not put the payload onto {}", copy.display());
        fs::remove_file(payload)?;
        fs::remove_file(read_back)?;
        Ok(())
    }
}

/// Copies a file and leaves its holes: reading them would make a gigabyte of zeros of them.
fn copy_sparse(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let mut target = File::create(to)?;
    let length = source.metadata()?.len();
    target.set_len(length)?;
    let mut at: i64 = 0;
    loop {
        let begin = match lseek(&source, at, Whence::SeekData) {
            Ok(begin) => begin,
            // No more data (lseek(2)).
            Err(Errno::ENXIO) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        at = lseek(&source, begin, Whence::SeekHole)?;
        source.seek(SeekFrom::Start(begin as u64))?;
        target.seek(SeekFrom::Start(begin as u64))?;
        io::copy(&mut (&source).take((at - begin) as u64), &mut target)?;
    }
}

impl Qemu {
    /// A PC that boots this disk by its firmware. The disk itself stays as it is: QEMU makes an overlay, which is
    /// gone with it. The payload's unit finds the nonce in the machine's serial number, which firmware hands on
    /// (SMBIOS): the kernel's command line is on the disk, and the same for all.
    ///
    /// Channel and console are those of [`Qemu::q35_command`].
    #[must_use]
    pub fn distro_command(&self, nonce: &str, disk: &Path, console_log: &Path) -> Vec<String> {
        let mut command = self.common("q35");
        let (disk, log) = (spread(disk), spread(console_log));
        extend(
            &mut command,
            &["-chardev", &format!("file,id=console,path={log}"), "-serial", "chardev:console"],
        );
        extend(&mut command, &["-drive", &format!("if=none,id=disk,file={disk},format=raw,snapshot=on")]);
        extend(&mut command, &["-device", "virtio-blk-pci,drive=disk"]);
        extend(&mut command, &["-smbios", &format!("type=1,serial={nonce}")]);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::{copy_sparse, first_partition, open};
    use crate::vm::qemu::{Accel, Qemu};
    use std::fs::{self, File};
    use std::os::unix::fs::{FileExt, MetadataExt};

    fn boot_sector() -> [u8; 512] {
        let mut boot = [0; 512];
        boot[450] = 0x83;
        boot[454..458].copy_from_slice(&2048u32.to_le_bytes());
        boot[510..].copy_from_slice(&[0x55, 0xaa]);
        boot
    }

    #[test]
    fn the_root_file_system_is_where_the_boot_sector_says() {
        assert_eq!(first_partition(&boot_sector()), Some(1 << 20));
        for (at, byte) in [(510, 0), (450, 0xef), (455, 0)] {
            let mut other = boot_sector();
            other[at] = byte;
            assert_eq!(first_partition(&other), None, "byte {at}");
        }
    }

    #[test]
    fn takes_a_disk_and_its_note_and_nothing_else() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let image = directory.path().join("disk.img");
        assert!(open(&image).unwrap_err().reason.starts_with("cannot read "));
        fs::write(&image, "short").expect("written");
        assert!(open(&image).unwrap_err().reason.starts_with("cannot read "), "cut off");
        fs::write(&image, [0; 512]).expect("written");
        assert!(open(&image).unwrap_err().reason.contains("no boot sector"));
        fs::write(&image, boot_sector()).expect("written");
        assert_eq!(open(&image).expect("a disk").release, image.display().to_string());
        fs::write(directory.path().join("release"), "Debian 12\n").expect("written");
        let disk = open(&image).expect("a disk");
        assert_eq!((disk.release.as_str(), disk.size, disk.offset), ("Debian 12", 512, 1 << 20));
    }

    #[test]
    fn holes_stay_holes_and_data_is_copied() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        let file = File::create(&from).expect("made");
        for at in [0, 3 << 20, 9 << 20] {
            file.write_all_at(b"data", at).expect("written");
        }
        file.set_len(64 << 20).expect("longer");
        copy_sparse(&from, &to).expect("copied");
        assert!(fs::read(&from).expect("read") == fs::read(&to).expect("read"));
        let used = to.metadata().expect("there").blocks() * 512;
        assert!(used < 1 << 20, "{used} bytes");
    }

    #[test]
    fn a_machine_with_a_disk_of_its_own() {
        let qemu = Qemu::new("qemu".as_ref(), Accel::Tcg);
        let line = qemu.distro_command("n7", "/a,b/disk".as_ref(), "/c".as_ref()).join(" ");
        assert!(line.ends_with(
            " -chardev file,id=console,path=/c -serial chardev:console \
             -drive if=none,id=disk,file=/a,,b/disk,format=raw,snapshot=on \
             -device virtio-blk-pci,drive=disk -smbios type=1,serial=n7"
        ));
        assert!(line.contains(" q35,") || line.contains(" -machine q35,"), "{line}");
        assert!(!line.contains(" -kernel"), "it finds its kernel by itself: {line}");
    }
}
