//! A registry of the lab's own, and the line to it on which bytes are counted: where the measure `disk` has images
//! fetched from.
//!
//! It is the one that Debian packages (docker-registry), which everybody's tools speak to. It listens on a socket in the
//! site only; who fetches comes by a [`Line`].

mod line;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::engine::{self, daemon::Daemon};
use crate::image::{Image, gzipped, sha256};
use crate::program::{answer, on_path};
use crate::site::Site;

pub use line::Line;

const NAME: &str = "registry";

/// How curl is called: nobody's settings and no proxy of the user's, and a refusal is an error.
pub const CURL: [&str; 6] = ["--disable", "--silent", "--show-error", "--fail", "--noproxy", "*"];

/// Whether there is a registry to start, and what is put into it with.
///
/// # Errors
/// In words, what is missing and how to get it.
pub fn possible() -> Result<(), &'static str> {
    programs().map(drop)
}

fn programs() -> Result<[PathBuf; 2], &'static str> {
    let registry =
        "docker-registry is not on PATH: ./scripts/setup --peers (or apt-get install docker-registry)";
    let curl = "curl is not on PATH: ./scripts/setup --peers (or apt-get install curl)";
    Ok([on_path("docker-registry").ok_or(registry)?, on_path("curl").ok_or(curl)?])
}

/// A registry that runs, empty at first. It and all that is in it go when it is dropped.
#[derive(Debug)]
pub struct Registry {
    dir: PathBuf,
    curl: PathBuf,
    /// Layers that are in it, by the digest of their archive: digest and length as they are kept.
    layers: BTreeMap<String, Blob>,
    daemon: Option<Daemon>,
}

/// Something in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Its digest, in hexadecimal.
    pub sha256: String,
    /// Its length, bytes.
    pub size: u64,
}

impl Registry {
    /// Starts one, below the site's directory and in a cgroup of the run's.
    ///
    /// # Errors
    /// Where there is none, or it does not answer.
    pub fn start(site: &Site) -> Result<Self> {
        let [program, curl] = programs().map_err(anyhow::Error::msg)?;
        let dir = engine::directory(site, NAME)?;
        let mut registry = Self { dir, curl, layers: BTreeMap::new(), daemon: None };
        let (socket, config) = (registry.socket(), registry.dir.join("config.yml"));
        // JSON is YAML too, and quotes what needs it.
        let settings = json!({
            "version": 0.1, "log": {"level": "error", "accesslog": {"disabled": true}},
            "storage": {"filesystem": {"rootdirectory": registry.dir.join("data")}},
            "http": {"net": "unix", "addr": socket},
        });
        fs::write(&config, serde_json::to_vec(&settings)?)
            .with_context(|| format!("write {}", config.display()))?;
        let argv = [program, "serve".into(), config].map(|it| it.to_string_lossy().into_owned());
        let log = registry.dir.join("log");
        let answers = || UnixStream::connect(&socket).is_ok();
        registry.daemon = Some(Daemon::start(&argv, &engine::cgroup(site, NAME), &log, answers)?);
        Ok(registry)
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("socket")
    }

    /// Its process.
    pub fn pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(Daemon::pid)
    }

    /// Puts an image under a name and a tag, its layers packed by gzip, each once. Returns what its manifest names:
    /// the configuration, and the layers from below.
    ///
    /// # Errors
    /// When it cannot be packed, or the registry does not take it.
    pub fn put_image(&mut self, image: &Image, name: &str, tag: &str) -> Result<Vec<Blob>> {
        let (config, archives) = image.unpacked()?;
        let mut blobs = vec![self.put(name, &config)?];
        for archive in &archives {
            let known = sha256(archive);
            let blob = match self.layers.get(&known) {
                Some(blob) => blob.clone(),
                None => self.put(name, &gzipped(archive)?)?,
            };
            self.layers.insert(known, blob.clone());
            blobs.push(blob);
        }
        let kind = |kind: &str| format!("application/vnd.oci.image.{kind}");
        let described = |blob: &Blob, of: &str| json!({"mediaType": kind(of), "digest": format!("sha256:{}", blob.sha256), "size": blob.size});
        let layers: Vec<_> = blobs[1..].iter().map(|it| described(it, "layer.v1.tar+gzip")).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": kind("manifest.v1+json"),
            "config": described(&blobs[0], "config.v1+json"), "layers": layers,
        });
        let file = self.dir.join("manifest.json");
        fs::write(&file, serde_json::to_vec(&manifest)?)
            .with_context(|| format!("write {}", file.display()))?;
        self.upload(&file, &kind("manifest.v1+json"), &format!("http://registry/v2/{name}/manifests/{tag}"))?;
        Ok(blobs)
    }

    /// Puts a file there as it is.
    ///
    /// # Errors
    /// When it cannot be read, or the registry does not take it.
    pub fn put_file(&self, name: &str, file: &Path) -> Result<Blob> {
        let bytes = fs::read(file).with_context(|| format!("read {}", file.display()))?;
        let blob = Blob { sha256: sha256(&bytes), size: bytes.len() as u64 };
        let place = self.call(&[
            "--data",
            "",
            "--output",
            "/dev/null",
            "--write-out",
            "%header{location}",
            &format!("http://registry/v2/{name}/blobs/uploads/"),
        ])?;
        ensure!(place.contains('?'), "the registry says {place:?} for the place of an upload");
        let place = format!("{place}&digest=sha256:{}", blob.sha256);
        self.upload(file, "application/octet-stream", &place)?;
        Ok(blob)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<Blob> {
        let file = self.dir.join("upload");
        fs::write(&file, bytes).with_context(|| format!("write {}", file.display()))?;
        self.put_file(name, &file)
    }

    fn upload(&self, file: &Path, kind: &str, to: &str) -> Result<()> {
        let (kind, file) = (format!("Content-Type: {kind}"), file.to_string_lossy());
        self.call(&["--upload-file", &file, "--header", &kind, to]).map(drop)
    }

    fn call(&self, words: &[&str]) -> Result<String> {
        let socket = self.socket().to_string_lossy().into_owned();
        let words: Vec<&str> =
            CURL.into_iter().chain(["--unix-socket", &socket]).chain(words.iter().copied()).collect();
        answer(&self.curl, &words, &[]).context("put into the lab's registry")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // First its process, which writes there. What stays goes with the site, and the census tells of it.
        drop(self.daemon.take());
        let _ = fs::remove_dir_all(&self.dir);
    }
}
