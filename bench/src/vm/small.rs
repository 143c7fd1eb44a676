//! Finding the small guest kernel, which `scripts/guest-kernel` builds: tickless, virtio built in, entered by PVH.
//!
//! `TARE_SMALL_KERNEL`, then where the script leaves it (`target/tare/guest/small`).

use super::Unavailable;
use super::kernel::{Kernel, guest_directories};
use std::env;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

const FIX: &str = "run scripts/guest-kernel";

/// Finds the small guest kernel.
///
/// # Errors
/// There is none, or what is there is not an uncompressed kernel.
pub fn find() -> Result<Kernel, Unavailable> {
    if let Some(named) = env::var_os("TARE_SMALL_KERNEL").filter(|path| !path.is_empty()) {
        return open(&PathBuf::from(named));
    }
    let images: Vec<PathBuf> =
        guest_directories().iter().map(|directory| directory.join("small/vmlinux")).collect();
    match images.iter().find(|image| image.exists()) {
        Some(image) => open(image),
        None => Err(Unavailable {
            reason: "the small guest kernel (target/tare/guest/small/vmlinux) was not built".into(),
            fix: FIX.into(),
        }),
    }
}

fn open(image: &Path) -> Result<Kernel, Unavailable> {
    let shown = image.display();
    let unavailable = |reason: String| Unavailable { reason, fix: FIX.to_owned() };
    let mut magic = [0; 4];
    File::open(image)
        .and_then(|mut file| file.read_exact(&mut magic))
        .map_err(|error| unavailable(format!("cannot read {shown}: {error}")))?;
    if magic != *b"\x7fELF" {
        return Err(unavailable(format!("{shown} is not an ELF file, so it cannot be entered by PVH")));
    }
    // Where it came without a note, its name has to do.
    let noted = image.parent().and_then(|parent| fs::read_to_string(parent.join("release")).ok());
    let release = noted.map_or_else(|| shown.to_string(), |text| text.trim().to_owned());
    Ok(Kernel { image: image.to_owned(), release })
}

#[cfg(test)]
mod tests {
    use super::open;
    use std::fs;

    #[test]
    fn takes_an_elf_file_and_its_note_and_nothing_else() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let image = directory.path().join("vmlinux");
        assert!(open(&image).unwrap_err().reason.starts_with("cannot read "));
        fs::write(&image, "\x7fEL").expect("written");
        assert!(open(&image).unwrap_err().reason.starts_with("cannot read "), "cut off");
        fs::write(&image, "MZ and more").expect("written");
        assert!(open(&image).unwrap_err().reason.ends_with("cannot be entered by PVH"));
        fs::write(&image, "\x7fELF and more").expect("written");
        assert_eq!(open(&image).expect("a kernel").release, image.display().to_string());
        fs::write(directory.path().join("release"), "6.1.1-tare (x)\n").expect("written");
        assert_eq!(open(&image).expect("a kernel").release, "6.1.1-tare (x)");
    }
}
