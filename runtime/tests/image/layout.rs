//! Images written by hand, so that they can be wrong in every way.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

pub(crate) fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A layer that is being written. Names are put into the header as they are: the `tar` crate refuses some.
pub(crate) struct Layer {
    builder: Builder<Vec<u8>>,
}

impl Layer {
    pub(crate) fn new() -> Self {
        Self { builder: Builder::new(Vec::new()) }
    }

    fn header(kind: EntryType, name: &str) -> Header {
        let mut header = Header::new_gnu();
        let raw = header.as_old_mut();
        raw.name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        header.set_size(0);
        header
    }

    /// Any entry, with a change of its header.
    pub(crate) fn raw(
        mut self,
        kind: EntryType,
        name: &str,
        content: &[u8],
        change: impl Fn(&mut Header),
    ) -> Self {
        let mut header = Self::header(kind, name);
        header.set_size(content.len() as u64);
        change(&mut header);
        header.set_cksum();
        self.builder.append(&header, content).expect("append");
        self
    }

    pub(crate) fn file(self, name: &str, content: &str) -> Self {
        self.raw(EntryType::Regular, name, content.as_bytes(), |_| {})
    }

    pub(crate) fn directory(self, name: &str) -> Self {
        self.raw(EntryType::Directory, name, b"", |_| {})
    }

    pub(crate) fn link(self, kind: EntryType, name: &str, target: &str) -> Self {
        self.raw(kind, name, b"", |header| {
            header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        })
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.link(EntryType::Symlink, name, target)
    }

    /// A description of the next entry.
    pub(crate) fn pax(mut self, records: &[(&str, &[u8])]) -> Self {
        self.builder.append_pax_extensions(records.iter().copied()).expect("pax");
        self
    }

    /// A name of any length.
    pub(crate) fn long(self, name: &str) -> Self {
        let named = [name.as_bytes(), b"\0"].concat();
        self.raw(EntryType::GNULongName, "././@LongLink", &named, |_| {}).file("long", "")
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        self.builder.into_inner().expect("finish")
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("gzip");
    encoder.finish().expect("gzip")
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).expect("zstd")
}

/// A layer as it is stored, and as it is unpacked.
pub(crate) type Stored = (Vec<u8>, Vec<u8>);

fn blob(root: &Path, bytes: &[u8]) -> serde_json::Value {
    fs::write(root.join("blobs/sha256").join(&digest(bytes)[7..]), bytes).expect("blob");
    json!({ "digest": digest(bytes), "size": bytes.len() })
}

/// Writes an OCI layout of these layers, each as it is stored and as it is unpacked.
pub(crate) fn write(root: &Path, layers: &[Stored]) {
    write_with(root, layers, json!({}), |_| {});
}

/// The same with a configuration, and a change of the manifest.
pub(crate) fn write_with(
    root: &Path,
    layers: &[Stored],
    config: serde_json::Value,
    change: impl Fn(&mut serde_json::Value),
) {
    fs::create_dir_all(root.join("blobs/sha256")).expect("mkdir");
    fs::write(root.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("layout");
    let ids: Vec<String> = layers.iter().map(|(_, plain)| digest(plain)).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": config,
        "rootfs": { "type": "layers", "diff_ids": ids }
    });
    let typed = |mut value: serde_json::Value, kind: &str| {
        value["mediaType"] = json!(format!("application/vnd.oci.image.{kind}"));
        value
    };
    let layers: Vec<_> = layers.iter().map(|(stored, _)| typed(blob(root, stored), "layer.v1.tar")).collect();
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": typed(blob(root, config.to_string().as_bytes()), "config.v1+json"), "layers": layers
    });
    change(&mut manifest);
    let manifest = typed(blob(root, manifest.to_string().as_bytes()), "manifest.v1+json");
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    fs::write(root.join("index.json"), index.to_string()).expect("index");
}

/// The same bytes stored and unpacked.
pub(crate) fn plain(layer: Layer) -> Stored {
    let bytes = layer.bytes();
    (bytes.clone(), bytes)
}

/// The layers of a layout that was written here, none of them packed.
pub(crate) fn layers_of(root: &Path) -> Vec<Stored> {
    let read = |path: &Path| -> serde_json::Value {
        serde_json::from_slice(&fs::read(path).expect("read")).expect("JSON")
    };
    let at =
        |it: &serde_json::Value| root.join("blobs/sha256").join(&it["digest"].as_str().expect("digest")[7..]);
    let manifest = read(&at(&read(&root.join("index.json"))["manifests"][0]));
    let layers = manifest["layers"].as_array().expect("layers").iter();
    layers.map(|layer| fs::read(at(layer)).expect("layer")).map(|bytes| (bytes.clone(), bytes)).collect()
}
