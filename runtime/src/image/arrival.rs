//! An image on its way in, piece by piece, from whoever sends it: a registry.
//!
//! Who fetches is somebody else (`registry/`, a program of its own). Here stands what a stranger may send: every piece
//! is held against the digest and the size that were promised of it, the manifest against the name if that is a digest,
//! and none is longer than promised. Pieces gather in a directory of their own, as all that is not complete yet; what
//! the store holds already gets a second name there, so that it is neither fetched nor taken away meanwhile. Only when
//! all are there is anything unpacked.
//!
//! Man page: link(2); the OCI distribution specification, "Pull". Look at it, while it works:
//! `tare-runtime pull NAME:TAG & find /var/lib/tare/incoming`

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use oci_spec::distribution::Reference;
use oci_spec::image::{Descriptor, ImageManifest};

use super::budget::{Budget, Left};
use super::choice::{self, Told};
use super::digest::{Digest, Digested};
use super::source::{self, Layer, Part, Source};
use super::store::{self, Incoming};
use super::{Image, Store, full_name, refuse};
use crate::error::Result;
use crate::overlay::MOST_LAYERS;

/// See the file's head.
#[derive(Debug)]
pub struct Arrival {
    store: Store,
    incoming: Incoming,
    name: String,
    budget: Budget,
    /// What the next manifest must be, where that is known.
    awaited: Option<(Digest, Option<u64>)>,
    indexes: u32,
    manifest: Option<(Vec<u8>, ImageManifest)>,
}

/// A piece that is to be fetched.
#[derive(Clone, Debug)]
pub struct Missing {
    digest: Digest,
    /// Its bytes, as promised.
    pub size: u64,
}

impl Missing {
    /// Its name, "sha256:" and 64 digits.
    pub fn digest(&self) -> String {
        self.digest.to_string()
    }
}

impl Store {
    /// Begins to take an image in under a name.
    ///
    /// # Errors
    /// [`Error::Image`](crate::Error::Image) for a name that is none, or without root.
    pub fn arrival(&self, name: &str, budget: Budget) -> Result<Arrival> {
        let name = full_name(name)?;
        self.check_rights(&name)?;
        let _shared = self.lock(false)?;
        let parsed: Option<Reference> = name.parse().ok();
        let awaited = match parsed.as_ref().and_then(Reference::digest) {
            Some(digest) => Some((Digest::parse(digest).map_err(|why| refuse(name.as_str(), why))?, None)),
            None => None,
        };
        let incoming = self.incoming()?;
        Ok(Arrival { store: self.clone(), incoming, name, budget, awaited, indexes: 0, manifest: None })
    }
}

impl Arrival {
    /// Its full name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes a manifest, or an index: then the digest of what is to be fetched next is returned, the image for this
    /// machine.
    ///
    /// # Errors
    /// [`Error::Image`](crate::Error::Image): it is not what was promised, or leads to no image for this machine.
    pub fn manifest(&mut self, bytes: Vec<u8>) -> Result<Option<String>> {
        let is = Digest::of(&bytes);
        if let Some((digest, size)) = &self.awaited {
            if *digest != is {
                return Err(refuse(
                    self.name.as_str(),
                    format!("its manifest has another content: its digest is {is}, and {digest} is wanted"),
                ));
            }
            if size.is_some_and(|size| size != bytes.len() as u64) {
                return Err(refuse(
                    self.name.as_str(),
                    format!("{digest} is of {} bytes, and others are promised", bytes.len()),
                ));
            }
        }
        let words = |why: String| refuse(self.name.as_str(), why);
        if bytes.len() as u64 > source::LONGEST {
            // Before anybody makes structures of it, which take twenty times the room.
            return Err(words(format!(
                "its manifest is of {} bytes, more than {}",
                bytes.len(),
                source::LONGEST
            )));
        }
        match choice::told(&bytes).map_err(words)? {
            Told::Index(index) => {
                self.indexes += 1;
                if self.indexes > source::DEEPEST {
                    return Err(words(format!("more than {} indexes, one in another", source::DEEPEST)));
                }
                let chosen = choice::choose(&index, None, "by its digest, NAME@DIGEST").map_err(words)?;
                let digest = Digest::parse(chosen.digest().as_ref()).map_err(words)?;
                let name = digest.to_string();
                self.awaited = Some((digest, Some(chosen.size())));
                Ok(Some(name))
            }
            Told::Image(manifest) => {
                self.check(&manifest).map_err(words)?;
                self.manifest = Some((bytes, *manifest));
                Ok(None)
            }
        }
    }

    /// Refuses, before anything of it comes, what would be refused in the end.
    fn check(&self, manifest: &ImageManifest) -> std::result::Result<(), String> {
        let layers = manifest.layers();
        if layers.len() > MOST_LAYERS {
            let count = layers.len();
            return Err(format!("{count} layers, more than the {MOST_LAYERS} of which a box can be made"));
        }
        for layer in layers {
            choice::check_layer(layer)?;
        }
        let most = self.budget.bytes;
        // Nothing that is packed is smaller when it is unpacked, but for a few bytes in a thousand.
        let room = most.saturating_add(most / 64);
        let sum = layers.iter().try_fold(0, |sum: u64, layer| sum.checked_add(layer.size()));
        if sum.is_none_or(|sum| sum > room) {
            return Err(format!(
                "its layers are larger than {most} bytes, as they come already (raise --max-size if you trust it)"
            ));
        }
        let longest = source::LONGEST;
        if manifest.config().size() > longest {
            return Err(format!("its configuration is larger than {longest} bytes"));
        }
        Ok(())
    }

    /// The pieces that are to be fetched, each once, the configuration first. The others are held from now on.
    ///
    /// # Errors
    /// [`Error::Image`](crate::Error::Image).
    pub fn missing(&self) -> Result<Vec<Missing>> {
        let _shared = self.store.lock(false)?;
        let mut missing: Vec<Missing> = Vec::new();
        for descriptor in self.pieces()? {
            let (digest, size) = (self.parse(descriptor)?, descriptor.size());
            if missing.iter().any(|it| it.digest == digest) {
                continue;
            }
            let (held, place) = (self.store.blob(&digest), self.place(&digest));
            match fs::hard_link(&held, &place) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    missing.push(Missing { digest, size });
                    continue;
                }
                Err(error) => return Err(store::fault(&held)(error)),
            }
            let is = fs::metadata(&place).map_err(store::fault(&place))?.len();
            if is != size {
                let why = format!("{digest} is of {is} bytes, and {size} are promised");
                return Err(refuse(self.name.as_str(), why));
            }
        }
        Ok(missing)
    }

    /// Begins to receive a piece.
    ///
    /// # Errors
    /// [`Error::Image`](crate::Error::Image) where no file can be made.
    pub fn receive(&self, piece: &Missing) -> Result<Receiving> {
        let place = self.place(&piece.digest);
        let coming = place.with_extension("coming");
        let file = File::create(&coming).map_err(store::fault(&coming))?;
        Ok(Receiving { stream: Digested::new(file), count: 0, piece: piece.clone(), coming, place })
    }

    /// Unpacks the layers that are new, and gives the image its name.
    ///
    /// # Errors
    /// [`Error::Image`](crate::Error::Image), as [`Store::import`]; nothing is left of it then.
    pub fn complete(mut self) -> Result<Image> {
        let shared = self.store.lock(false)?;
        let Some((manifest, parsed)) = self.manifest.take() else {
            return Err(refuse(self.name, "no manifest has come"));
        };
        let read = |descriptor: &Descriptor| -> Result<PathBuf> { Ok(self.place(&self.parse(descriptor)?)) };
        let config = read(parsed.config())?;
        let config = fs::read(&config).map_err(store::fault(&config))?;
        let mut layers = Vec::new();
        for descriptor in parsed.layers() {
            let place = read(descriptor)?;
            let part = Part::of(&place).map_err(store::fault(&place))?;
            layers.push(Layer { part, digest: Some(self.parse(descriptor)?), own: Some(place) });
        }
        let source = Source { manifest: Some(manifest), config, layers };
        let renamed = self.store.bring(&self.incoming, source, &self.name, &Left::new(self.budget))?;
        self.store.brought(&self.name, shared, renamed)
    }

    fn pieces(&self) -> Result<impl Iterator<Item = &Descriptor>> {
        let Some((_, manifest)) = &self.manifest else {
            return Err(refuse(self.name.as_str(), "no manifest has come"));
        };
        Ok([manifest.config()].into_iter().chain(manifest.layers()))
    }

    fn parse(&self, descriptor: &Descriptor) -> Result<Digest> {
        Digest::parse(descriptor.digest().as_ref()).map_err(|why| refuse(self.name.as_str(), why))
    }

    fn place(&self, digest: &Digest) -> PathBuf {
        self.incoming.path().join(digest.hex())
    }
}

/// A piece that is being received.
#[derive(Debug)]
pub struct Receiving {
    stream: Digested<File>,
    count: u64,
    piece: Missing,
    coming: PathBuf,
    place: PathBuf,
}

impl Receiving {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`Error::Image`](crate::Error::Image) where they are more than were promised, or cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let Missing { digest, size } = &self.piece;
        self.count += bytes.len() as u64;
        if self.count > *size {
            let why = format!("more bytes come than the {size} that are promised");
            return Err(refuse(digest.to_string(), why));
        }
        self.stream.write_all(bytes).map_err(store::fault(&self.coming))
    }

    /// Keeps it, if it is what was promised.
    ///
    /// # Errors
    /// [`Error::Image`](crate::Error::Image) where it is shorter, or another content.
    pub fn finish(self) -> Result<()> {
        let Missing { digest, size } = self.piece;
        let (is, count) = self.stream.sum();
        if count != size {
            let why = format!("it ends after {count} bytes, and {size} are promised");
            return Err(refuse(digest.to_string(), why));
        }
        if is != digest {
            return Err(refuse(digest.to_string(), format!("it has another content: its digest is {is}")));
        }
        fs::rename(&self.coming, &self.place).map_err(store::fault(&self.place))
    }
}
