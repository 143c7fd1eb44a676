//! The tree of an image as a machine's disk: an ext4 file system in a file, made by mke2fs(8), which reads a directory
//! with its owners, links and attributes. No archive of an initramfs could carry the attributes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::{Entry, Image, Kind};
use crate::program::{answer, on_path};

/// What is free on the disk beside the image, bytes: what boxes write.
const FREE: u64 = 64 << 20;
/// The same names on every disk: they are in its bytes.
const UUID: &str = "7a7e0000-0000-4000-8000-000000000001";

/// The program that makes file systems.
///
/// # Errors
/// In words, where there is none.
pub fn maker() -> Result<PathBuf> {
    on_path("mke2fs").context("mke2fs is not on PATH: apt-get install e2fsprogs")
}

/// Whether both programs are there that disks are made with.
///
/// # Errors
/// In words, which is not.
pub fn possible() -> Result<(), &'static str> {
    match (on_path("mke2fs"), on_path("qemu-img")) {
        (None, _) => Err("mke2fs is not on PATH: apt-get install e2fsprogs"),
        (_, None) => Err("qemu-img is not on PATH: ./scripts/setup (or apt-get install qemu-utils)"),
        _ => Ok(()),
    }
}

/// Makes the image's disk, with as much free room as boxes need. Equal trees have equal disks.
///
/// # Errors
/// When the program fails or is not there.
pub fn make(image: &Image) -> Result<()> {
    let bytes: u64 = image.merged().iter().map(size).sum();
    let length = (bytes + bytes / 8 + FREE).next_multiple_of(1 << 20);
    let path = image.disk();
    File::create(&path)
        .and_then(|file| file.set_len(length))
        .with_context(|| format!("make {}", path.display()))?;
    let (tree, disk) = (image.tree().to_string_lossy().into_owned(), path.to_string_lossy().into_owned());
    // Nothing is left for the guest's kernel to do later, which would be taken for what the box wrote.
    let options = format!("hash_seed={UUID},lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0");
    let words = ["-q", "-F", "-t", "ext4", "-U", UUID, "-E", &options, "-d", &tree, &disk];
    let time = [("SOURCE_DATE_EPOCH", "0"), ("E2FSPROGS_FAKE_TIME", "1")];
    let env = time.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let words: Vec<String> = words.map(str::to_owned).into();
    answer(&maker()?, &words, &env).context("make the file system of a machine's disk")?;
    ensure!(fs::metadata(&path)?.len() == length, "{} has not the size that it was given", path.display());
    Ok(())
}

fn size(entry: &Entry) -> u64 {
    match &entry.kind {
        Kind::File(bytes) => (bytes.len() as u64).next_multiple_of(4096),
        _ => 4096,
    }
}

/// A disk of a machine's own that is all there: a copy. Where the image's was never written to, the copy has a hole as
/// well, as every tool for disks leaves it: zeros that are really written would be the lab's weight and no machine's.
///
/// # Errors
/// When cp(1) fails.
pub fn copy(base: &Path, own: &Path) -> Result<()> {
    let program = on_path("cp").context("cp is not on PATH: apt-get install coreutils")?;
    let (base, own) = (base.to_string_lossy(), own.to_string_lossy());
    let words = ["--sparse=auto", "--reflink=never", "--", &base, &own].map(str::to_owned);
    answer(&program, &words, &[]).map(drop)
}

/// A disk of a machine's own, on which only what it writes takes room: qcow2 with the image's as backing file.
///
/// # Errors
/// When `qemu-img` fails or is not there.
pub fn back(base: &Path, own: &Path) -> Result<()> {
    tool(&["create", "-q", "-f", "qcow2", "-F", "raw", "-b", &base.to_string_lossy(), &own.to_string_lossy()])
}

/// A disk as the file in which it travels: qcow2, each cluster compressed. With a `base`, that is such a file in the same
/// directory, only the clusters that differ from it are in the file, which names it as its backing file.
///
/// # Errors
/// As [`back`].
pub fn to_travel(disk: &Path, base: Option<&Path>, file: &Path) -> Result<()> {
    let (disk, to) = (disk.to_string_lossy(), file.to_string_lossy());
    let Some(base) = base else {
        return tool(&["convert", "-q", "-c", "-f", "raw", "-O", "qcow2", &disk, &to]);
    };
    // Looked for beside the file, wherever that is.
    let base = base.file_name().context("a backing file without a name")?.to_string_lossy();
    let differs = file.with_extension("differs");
    let between = differs.to_string_lossy();
    // A disk of nothing on this one, put on the other instead: what differs has to be written (qemu-img(1), rebase).
    tool(&["create", "-q", "-f", "qcow2", "-F", "raw", "-b", &disk, &between])?;
    tool(&["rebase", "-q", "-f", "qcow2", "-F", "qcow2", "-b", &base, &between])?;
    tool(&["convert", "-q", "-c", "-f", "qcow2", "-O", "qcow2", "-F", "qcow2", "-B", &base, &between, &to])?;
    fs::remove_file(&differs).with_context(|| format!("remove {between}"))
}

/// Whether the disk in a qcow2 file is this one, byte for byte.
///
/// # Errors
/// When it is not, with the first place in which they differ, or `qemu-img` fails.
pub fn same(file: &Path, disk: &Path) -> Result<()> {
    let (file, disk) = (file.to_string_lossy(), disk.to_string_lossy());
    tool(&["compare", "-q", "-f", "qcow2", "-F", "raw", &file, &disk])
        .with_context(|| format!("{file} is not the disk that was published"))
}

fn tool(words: &[&str]) -> Result<()> {
    let program = on_path("qemu-img")
        .context("qemu-img is not on PATH: ./scripts/setup (or apt-get install qemu-utils)")?;
    answer(&program, words, &[]).map(drop)
}
