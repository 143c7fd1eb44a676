//! An image on its way out: the bytes that came in, named as they were, for whoever sends them on.
//!
//! The store keeps manifests, configurations and layers as they came, beside the layers unpacked. A layer that was
//! packed anew would have another digest: compressors differ, and so do the orders of files. So what was pulled is
//! pushed with the same digests, and a registry that has it already is sent nothing.
//!
//! Man page: the OCI distribution specification, "Push". Look at it: `sha256sum /var/lib/tare/blobs/*`

use std::path::PathBuf;

use oci_spec::image::{ImageManifest, MediaType};

use super::{Store, full_name, json, parse, refuse, store};
use crate::error::Result;

/// See the file's head. As long as it lives, nothing is removed from the store.
#[derive(Debug)]
pub struct Departure {
    /// Its full name here.
    pub name: String,
    /// The digest of the manifest.
    pub digest: String,
    /// The manifest as it is.
    pub manifest: Vec<u8>,
    /// What the manifest is called.
    pub media_type: String,
    /// What it names, each once, the configuration last.
    pub pieces: Vec<Piece>,
    _shared: store::Lock,
}

/// A configuration or a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its name.
    pub digest: String,
    /// Its bytes.
    pub size: u64,
    /// Where they are.
    pub path: PathBuf,
}

impl Store {
    /// Takes an image of the store to be sent.
    ///
    /// # Errors
    /// [`Error::Image`](crate::Error::Image) where there is none, or the store is damaged.
    pub fn departure(&self, name: &str) -> Result<Departure> {
        let name = full_name(name)?;
        let shared = self.lock(false)?;
        let Some(named) = self.meant(&name)? else {
            return Err(refuse(name, "not in the store (see `images`)"));
        };
        let place = self.blob(&parse(&named.manifest)?);
        let bytes = std::fs::read(&place).map_err(store::fault(&place))?;
        let manifest: ImageManifest = json(&named.manifest, &bytes)?;
        let mut pieces: Vec<Piece> = Vec::new();
        for descriptor in manifest.layers().iter().chain([manifest.config()]) {
            let digest = parse(descriptor.digest().as_ref())?;
            let path = self.blob(&digest);
            let is = std::fs::metadata(&path).map_err(store::fault(&path))?.len();
            if is != descriptor.size() {
                let why =
                    format!("{digest} is of {is} bytes in the store, and {} are promised", descriptor.size());
                return Err(refuse(name, why));
            }
            let piece = Piece { digest: digest.to_string(), size: is, path };
            if !pieces.contains(&piece) {
                pieces.push(piece);
            }
        }
        // A manifest of the first years does not say what it is.
        let media_type = manifest.media_type().as_ref().unwrap_or(&MediaType::ImageManifest).to_string();
        Ok(Departure {
            name: named.name,
            digest: named.manifest,
            manifest: bytes,
            media_type,
            pieces,
            _shared: shared,
        })
    }
}
