//! Archives that engines import: the common root as one layer (tar(5), the ustar format), and an image around
//! it in the form of `docker save`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use sha2::{Digest, Sha256};

/// Tar's unit, bytes.
const BLOCK: usize = 512;

/// The root file system as one layer; all of it belongs to root.
///
/// # Errors
/// When it cannot be read.
pub fn layer(rootfs: &Path) -> Result<Vec<u8>> {
    let mut tar = Tar::default();
    let mut names: Vec<_> = fs::read_dir(rootfs)
        .with_context(|| format!("read {}", rootfs.display()))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    names.sort_unstable();
    for name in names {
        let path = rootfs.join(&name);
        let meta = fs::symlink_metadata(&path)?;
        let mode = meta.permissions().mode() & 0o7777;
        if meta.is_dir() {
            ensure!(
                fs::read_dir(&path)?.next().is_none(),
                "{} is not empty: the image would lack it",
                path.display()
            );
            tar.entry(&format!("{name}/"), mode, b'5', &[])?;
        } else {
            tar.entry(&name, mode, b'0', &fs::read(&path)?)?;
        }
    }
    Ok(tar.end())
}

/// An image of this one layer.
///
/// # Errors
/// When a name is too long for the format.
pub fn image(layer: &[u8], name: &str) -> Result<Vec<u8>> {
    let digest: String = Sha256::digest(layer).iter().map(|byte| format!("{byte:02x}")).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "config": {"Env": [format!("PATH={}", tare_runtime::DEFAULT_PATH)]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
    });
    let manifest = json!([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]);
    let mut tar = Tar::default();
    tar.entry("config.json", 0o644, b'0', &serde_json::to_vec(&config)?)?;
    tar.entry("layer.tar", 0o644, b'0', layer)?;
    tar.entry("manifest.json", 0o644, b'0', &serde_json::to_vec(&manifest)?)?;
    Ok(tar.end())
}

#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn entry(&mut self, name: &str, mode: u32, kind: u8, bytes: &[u8]) -> Result<()> {
        ensure!(name.len() < 100, "{name}: too long a name for the archive");
        let mut head = [0; BLOCK];
        let mut put = |at: usize, text: &str| head[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, name);
        put(100, &format!("{mode:07o}"));
        put(108, "0000000");
        put(116, "0000000");
        put(124, &format!("{:011o}", bytes.len()));
        put(136, "00000000000");
        // The checksum counts its own field as blanks.
        put(148, "        ");
        put(257, "ustar");
        put(263, "00");
        head[156] = kind;
        let sum: u32 = head.iter().map(|&byte| u32::from(byte)).sum();
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&head);
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        Ok(())
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tar_itself_reads_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(root.join("payload"), [7; 700]).unwrap();
        fs::set_permissions(root.join("payload"), fs::Permissions::from_mode(0o755)).unwrap();
        let file = dir.path().join("layer.tar");
        fs::write(&file, layer(&root).unwrap()).unwrap();
        let out = dir.path().join("out");
        fs::create_dir(&out).unwrap();
        let status =
            std::process::Command::new("tar").arg("-xpf").arg(&file).arg("-C").arg(&out).status().unwrap();
        assert!(status.success());
        assert_eq!(fs::read(out.join("payload")).unwrap(), [7; 700]);
        assert_eq!(out.join("payload").metadata().unwrap().permissions().mode() & 0o777, 0o755);
        assert!(out.join("etc").is_dir());
        fs::write(root.join("etc/passwd"), "x").unwrap();
        assert!(layer(&root).is_err(), "a file below a directory would be missing in the image");
    }
}
