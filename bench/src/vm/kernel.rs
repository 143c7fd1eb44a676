//! Finding the guest kernel: Debian's cloud kernel, the same for every host that has apt.
//!
//! `TARE_KERNEL`, then where `scripts/setup` unpacks it (`target/tare/guest`), then `/boot`.

use super::{Unavailable, version_key};
use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

const FIX: &str = "unpack Debian's with ./scripts/setup (apt-get install linux-image-cloud-amd64 does too), or name one in TARE_KERNEL";

/// A guest kernel that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The bzImage.
    pub image: PathBuf,
    /// What its file name says after `vmlinuz-`: `6.1.0-56-cloud-amd64`.
    pub release: String,
}

/// Finds the guest kernel.
///
/// # Errors
/// There is none, or the one that was named cannot be read.
pub fn find() -> Result<Kernel, Unavailable> {
    let unavailable = |reason: String| Unavailable { reason, fix: FIX.to_owned() };
    if let Some(named) = env::var_os("TARE_KERNEL").filter(|path| !path.is_empty()) {
        let image = PathBuf::from(named);
        File::open(&image)
            .map_err(|error| unavailable(format!("cannot read TARE_KERNEL {}: {error}", image.display())))?;
        return Ok(kernel(image));
    }
    let directories = directories();
    for directory in &directories {
        if let Some(image) = newest(directory) {
            return Ok(kernel(image));
        }
    }
    let looked: Vec<_> = directories.iter().map(|directory| directory.display().to_string()).collect();
    Err(unavailable(format!("no readable vmlinuz-*-cloud-amd64 in {}", looked.join(", "))))
}

/// Where to look, best first.
fn directories() -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = guest_directories().iter().map(|guest| guest.join("boot")).collect();
    directories.push(PathBuf::from("/boot"));
    directories
}

/// Where the scripts may have left what guests need, best first.
pub(super) fn guest_directories() -> Vec<PathBuf> {
    let mut directories = Vec::new();
    if let Some(root) = Path::new(env!("CARGO_MANIFEST_DIR")).parent() {
        directories.push(root.join("target/tare/guest"));
    }
    // A suite that was moved, or built into another target directory: `<target>/<triple>/<profile>/tare`.
    if let Ok(own) = env::current_exe() {
        directories.extend(own.ancestors().skip(1).take(4).map(|above| above.join("tare/guest")));
    }
    directories
}

/// The newest readable cloud kernel in a directory.
fn newest(directory: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(directory).ok()?;
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("vmlinuz-") && name.ends_with("-cloud-amd64"))
        .filter(|name| File::open(directory.join(name)).is_ok())
        .max_by_key(|name| version_key(name))
        .map(|name| directory.join(name))
}

fn kernel(image: PathBuf) -> Kernel {
    let name = image.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let release = name.strip_prefix("vmlinuz-").unwrap_or(&name).to_owned();
    Kernel { image, release }
}

/// These modules, as paths below the kernel's directory of them, of the kernel with this image: from `lib/modules`
/// beside the image's directory.
///
/// # Errors
/// In words, where one cannot be read.
pub fn modules(image: &Path, names: &[&str]) -> Result<Vec<Vec<u8>>, String> {
    let directory = modules_of(image)?;
    let read = |name: &&str| {
        let path = directory.join(name);
        fs::read(&path).map_err(|e| format!("read the guest kernel's module {}: {e}", path.display()))
    };
    names.iter().map(read).collect()
}

/// `DIR/boot/vmlinuz-RELEASE` has its modules in `DIR/lib/modules/RELEASE/kernel`.
fn modules_of(image: &Path) -> Result<PathBuf, String> {
    let release = image.file_name().and_then(|name| name.to_str()?.strip_prefix("vmlinuz-"));
    let above = image.parent().and_then(Path::parent);
    match (release, above) {
        (Some(release), Some(above)) => Ok(above.join("lib/modules").join(release).join("kernel")),
        _ => {
            Err(format!("{} is not called boot/vmlinuz-RELEASE, so its modules are unknown", image.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{kernel, modules_of, newest};

    #[test]
    fn modules_lie_beside_the_image() {
        let found = modules_of("/g/boot/vmlinuz-6.1.0-56-cloud-amd64".as_ref());
        assert_eq!(found, Ok("/g/lib/modules/6.1.0-56-cloud-amd64/kernel".into()));
        assert!(modules_of("/g/bzImage".as_ref()).is_err());
    }

    #[test]
    fn takes_the_newest_cloud_kernel_and_no_other() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for name in [
            "vmlinuz-6.1.0-9-cloud-amd64",
            "vmlinuz-6.1.0-56-cloud-amd64",
            "vmlinuz-6.12.0-1-amd64",
            "initrd.img-7.0.0-1-cloud-amd64",
        ] {
            std::fs::write(directory.path().join(name), "").expect("a file");
        }
        let image = newest(directory.path()).expect("a kernel");
        assert_eq!(kernel(image).release, "6.1.0-56-cloud-amd64");
    }

    #[test]
    fn an_absent_directory_holds_none() {
        assert_eq!(newest("/nonexistent".as_ref()), None);
    }
}
