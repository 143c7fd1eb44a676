//! An image that the lab makes for a measure: what it holds is said once, here in memory, and everything else follows
//! from that: the tree on disk, the archive that engines take, a machine's disk, and what `digest` has to answer.

pub mod compare;
pub mod disk;
pub mod entries;
mod layer;
mod listing;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::site::Site;

pub use entries::{Entry, Kind};
pub use layer::gzipped;

/// An image and where it lies.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its short name: in the names of files, and of the image in an engine.
    pub name: String,
    /// What an engine calls it.
    pub tag: String,
    /// Where its files are.
    dir: PathBuf,
    /// What it holds, layer by layer; only a single one may have links or be a whole tree.
    pub layers: Vec<Vec<Entry>>,
    /// The words of its command after the program and the nonce.
    pub words: Vec<String>,
    /// Its environment, `NAME=value`.
    pub env: Vec<String>,
    /// Its working directory.
    pub cwd: String,
    /// Whether each machine of it has a whole copy of its disk.
    pub whole: bool,
}

impl Image {
    /// An image of these layers in the site; nothing is made yet.
    pub fn new(site: &Site, name: &str, layers: Vec<Vec<Entry>>) -> Self {
        let tag = format!("tare/{}-{name}:1", crate::engine::run_name(site));
        Self { tag, ..Self::new_in(site.dir(), name, layers) }
    }

    /// The same with its files below another directory, and no run's name in its own.
    pub fn new_in(dir: &Path, name: &str, layers: Vec<Vec<Entry>>) -> Self {
        let (dir, tag) = (dir.join("images").join(name), format!("tare/{name}:1"));
        let env = vec![crate::contenders::search_path()];
        Self { name: name.into(), tag, dir, layers, words: Vec::new(), env, cwd: "/".into(), whole: false }
    }

    /// Writes the tree and the archive. Preparation, outside of every clock.
    ///
    /// # Errors
    /// When something of it cannot be made; owners and capabilities need root.
    pub fn make(&self) -> Result<()> {
        self.make_tree()?;
        fs::write(self.archive(), self.docker_archive()?)
            .with_context(|| format!("write {}", self.archive().display()))
    }

    /// Writes the tree alone.
    ///
    /// # Errors
    /// As [`make`](Self::make).
    pub fn make_tree(&self) -> Result<()> {
        fs::create_dir_all(&self.dir).with_context(|| format!("make {}", self.dir.display()))?;
        tree::write(&self.tree(), &self.merged())
    }

    /// Removes all that was made of it here; what a contender has taken stays where that keeps it.
    ///
    /// # Errors
    /// When something stays.
    pub fn remove(&self) -> Result<()> {
        fs::remove_dir_all(&self.dir).with_context(|| format!("remove {}", self.dir.display()))
    }

    /// The directory with its files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What a box of it sees as its root, as a directory.
    pub fn tree(&self) -> PathBuf {
        self.dir.join("tree")
    }

    /// An archive of the form that `docker save` has.
    pub fn archive(&self) -> PathBuf {
        self.dir.join("image.tar")
    }

    /// A file system with the tree, for a machine: see [`disk`].
    pub fn disk(&self) -> PathBuf {
        self.dir.join("disk.raw")
    }

    /// What a machine boots from before it goes over to its disk: with the image's command.
    pub fn initramfs(&self) -> PathBuf {
        self.dir.join("initramfs.cpio")
    }

    /// Program and arguments of a box, the lab's own words at the end.
    pub fn argv(&self, nonce: &str, own: &[String]) -> Vec<String> {
        let first = ["/payload".to_owned(), nonce.to_owned()];
        first.into_iter().chain(self.words.iter().cloned()).chain(own.iter().cloned()).collect()
    }

    /// All layers on top of each other: a later entry stands in for an earlier one of its path.
    pub fn merged(&self) -> Vec<Entry> {
        let mut all: Vec<Entry> = Vec::new();
        for entry in self.layers.iter().flatten() {
            match all.iter_mut().find(|it| it.path == entry.path) {
                Some(known) => *known = entry.clone(),
                None => all.push(entry.clone()),
            }
        }
        all
    }

    /// What `digest` answers in a box of this image, line by line; `left_out` is what was asked to be left out.
    pub fn lines(&self, left_out: &[&str]) -> Vec<String> {
        listing::lines(self, left_out)
    }

    /// Its configuration, and its layers as archives that nobody has packed.
    ///
    /// # Errors
    /// When an archive cannot be made.
    pub fn unpacked(&self) -> Result<(Vec<u8>, Vec<Vec<u8>>)> {
        let archives = self.layers.iter().map(|it| layer::pack(it)).collect::<Result<Vec<_>>>()?;
        let digests: Vec<String> = archives.iter().map(|it| format!("sha256:{}", sha256(it))).collect();
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "config": {"Env": self.env, "WorkingDir": self.cwd, "Cmd": ["/payload"]},
            "rootfs": {"type": "layers", "diff_ids": digests},
        });
        Ok((serde_json::to_vec(&config)?, archives))
    }

    /// The image with a manifest and its configuration, as `docker load` and `tare-runtime import` take it.
    fn docker_archive(&self) -> Result<Vec<u8>> {
        let (config, packed) = self.unpacked()?;
        let names: Vec<String> = (0..packed.len()).map(|index| format!("layer{index}.tar")).collect();
        let manifest = json!([{"Config": "config.json", "RepoTags": [&self.tag], "Layers": names}]);
        let mut files = vec![("config.json".to_owned(), config)];
        files.extend(names.into_iter().zip(packed));
        files.push(("manifest.json".to_owned(), serde_json::to_vec(&manifest)?));
        let entries: Vec<Entry> = files
            .into_iter()
            .map(|(name, bytes)| Entry::new(&format!("/{name}"), 0o644, Kind::File(bytes.into())))
            .collect();
        layer::pack(&entries)
    }
}

/// In lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
