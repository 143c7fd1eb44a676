//! Bringing an image in: every byte checked while it passes, every layer unpacked once.
//!
//! Man page: the OCI image specification, "Layer DiffID" and "Layer ChainID". Look at it:
//! `docker save IMAGE -o it.tar; tare-runtime import it.tar it:1; tare-runtime images`

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use nix::errno::Errno;
use oci_spec::image::{
    Arch, Descriptor, ImageConfiguration, ImageConfigurationBuilder, ImageManifestBuilder, MediaType, Os,
    RootFsBuilder, SCHEMA_VERSION, Sha256Digest,
};

use super::budget::{Budget, Left, Paid};
use super::digest::{Digest, Digested};
use super::entries::{Entries, Refused};
use super::source::{self, Found, Layer, Part, Source};
use super::store::{self, Incoming, Named};
use super::tree::{self, Tree};
use super::{Image, Store, chains, full_name, json, layer, pack, refuse};
use crate::error::{Error, Result};
use crate::overlay::MOST_LAYERS;

/// As large as the decoder's memory may become at the word of a stranger: 2^25 bytes. What zstd writes by itself needs
/// a quarter of that.
const ZSTD_WINDOW: u32 = 25;

impl Store {
    /// Brings the image at `path` in under a name: an OCI layout (a directory, or an archive of it), an archive of
    /// `docker save`, or a root file system (a directory, or an archive of it). A name that exists means this
    /// image from then on.
    ///
    /// # Errors
    /// [`Error::Image`] for what is refused, which names it; nothing is left of it then.
    pub fn import(&self, path: &Path, name: &str, budget: Budget) -> Result<Image> {
        self.import_chosen(path, None, name, budget)
    }

    /// The same where there are several images at `path`: the one that is called `chosen` there, by its annotation
    /// `org.opencontainers.image.ref.name` or by a tag in the list of `docker save`.
    ///
    /// # Errors
    /// As [`Store::import`]; also where none is called so, with the names that there are.
    pub fn import_chosen(
        &self,
        path: &Path,
        chosen: Option<&str>,
        name: &str,
        budget: Budget,
    ) -> Result<Image> {
        let name = full_name(name)?;
        if name.contains('@') {
            return Err(refuse(
                name,
                "a digest is what an image is, not what it is called (import it as NAME:TAG)",
            ));
        }
        self.check_rights(&name)?;
        let shared = self.lock(false)?;
        let incoming = self.incoming()?;
        let left = Left::new(budget);
        let object = path.display().to_string();
        let source = match source::open(path, chosen).map_err(|why| refuse(object.as_str(), why))? {
            Found::Image(source) => source,
            Found::Directory => {
                crate::spec::check_rootfs(path)?;
                let packed = incoming.path().join("packed");
                let file = File::create(&packed).map_err(store::fault(&packed))?;
                let mut file = io::BufWriter::new(file);
                let root = File::open(path).map_err(store::fault(path))?;
                // It is read once more when it is unpacked, and paid for then.
                pack::pack(root.as_fd(), &mut file, &Left::new(budget))
                    .map_err(|why| refuse(object.as_str(), why))?;
                file.flush().map_err(store::fault(&packed))?;
                bare(&packed)?
            }
            Found::Archive(part) => bare(&unpacked(&incoming, part, &object, budget)?)?,
            // `docker save` is often packed by hand, and so are archives of layouts.
            Found::Packed(part) => {
                let plain = unpacked(&incoming, part, &object, budget)?;
                match source::open(&plain, chosen).map_err(|why| refuse(object.as_str(), why))? {
                    Found::Image(source) => source,
                    _ => bare(&plain)?,
                }
            }
        };
        let renamed = self.bring(&incoming, source, &name, &left)?;
        drop(incoming);
        self.brought(&name, shared, renamed)
    }

    /// Whether we may bring an image in.
    pub(crate) fn check_rights(&self, name: &str) -> Result<()> {
        if nix::unistd::geteuid().is_root() {
            return Ok(());
        }
        Err(refuse(name, "importing takes root: the files of an image belong to many users"))
    }

    /// Keeps an image: its layers first, its name last. Whether the name meant another one before.
    pub(crate) fn bring(&self, incoming: &Incoming, source: Source, name: &str, left: &Left) -> Result<bool> {
        let config: ImageConfiguration = json("configuration", &source.config)?;
        if *config.os() != Os::Linux || *config.architecture() != Arch::Amd64 {
            let why = format!("it is for {}/{}, and this is linux/amd64", config.os(), config.architecture());
            return Err(refuse(name, why));
        }
        let chains = chains(&config)?;
        if chains.is_empty() && source.layers.is_empty() {
            return Err(refuse(name, "it has no layers, and so no file that a box could execute"));
        }
        if chains.len() != source.layers.len() {
            let why = format!("{} layers, and {} are described", source.layers.len(), chains.len());
            return Err(refuse(name, why));
        }
        if chains.len() > MOST_LAYERS {
            let why =
                format!("{} layers, more than the {MOST_LAYERS} of which a box can be made", chains.len());
            return Err(refuse(name, why));
        }
        let mut descriptors = Vec::new();
        for (index, layer) in source.layers.iter().enumerate() {
            let diff = Digest::parse(&config.rootfs().diff_ids()[index]).map_err(|why| refuse(name, why))?;
            let (digest, size) = self.bring_layer(incoming, layer, &diff, &chains[..=index], left)?;
            let kind = packing(&layer.part).map_err(|error| refuse(name, error.to_string()))?;
            descriptors.push(Descriptor::new(kind, size, sha256(&digest)?));
        }
        let config = self.keep(incoming, &source.config)?;
        let manifest = match source.manifest {
            Some(manifest) => manifest,
            None => {
                let config =
                    Descriptor::new(MediaType::ImageConfig, source.config.len() as u64, sha256(&config)?);
                let manifest = ImageManifestBuilder::default()
                    .schema_version(SCHEMA_VERSION)
                    .media_type(MediaType::ImageManifest)
                    .config(config)
                    .layers(descriptors)
                    .build()
                    .map_err(|error| refuse(name, error.to_string()))?;
                serde_json::to_vec(&manifest).map_err(|error| refuse(name, error.to_string()))?
            }
        };
        left.time().map_err(|why| refuse(name, why))?;
        let manifest = self.keep(incoming, &manifest)?.to_string();
        let before = self.named(name)?;
        let renamed = before.is_some_and(|before| before.manifest != manifest);
        self.set_name(incoming, &Named { name: name.to_owned(), manifest })?;
        Ok(renamed)
    }

    /// Keeps one layer, as it came and unpacked. Returns its digest and size as it came.
    fn bring_layer(
        &self,
        incoming: &Incoming,
        layer: &Layer,
        diff: &Digest,
        chains: &[Digest],
        left: &Left,
    ) -> Result<(Digest, u64)> {
        let Some((chain, below)) = chains.split_last() else { return Err(refuse("layer", "none")) };
        let digest = layer.digest.as_ref().unwrap_or(diff);
        let object = format!("layer {digest}");
        let _unpacking = self.lock_layer(chain)?;
        let (blob, place) = (self.blob(digest), self.layer(chain));
        // That there is such a layer and such a content does not mean that one is the other: it was seen, or it is looked
        // at now.
        let seen = place.join("from").join(digest.hex());
        if let (Ok(known), true) = (blob.metadata(), seen.exists()) {
            return Ok((digest.clone(), known.len()));
        }
        let new = incoming.path().join("layer");
        for name in ["", "own", "work", "merged", "from"] {
            DirBuilder::new().mode(0o700).create(new.join(name)).map_err(store::fault(&new))?;
        }
        // The image's root, should no layer say otherwise.
        fs::set_permissions(new.join("own"), fs::Permissions::from_mode(0o755))
            .map_err(store::fault(&new))?;
        // The highest first.
        let lower: Vec<_> = below.iter().rev().map(|chain| self.layer(chain).join("own")).collect();
        let copy = layer.own.is_none().then(|| incoming.path().join("blob"));
        let unpacked = tree::apart(|| {
            let lower = tree::open_all(&lower).map_err(|(path, errno)| store::fault(&path)(errno.into()))?;
            let tree = Tree::mount(&lower, &new.join("own"), &new.join("work"), &new.join("merged"))
                .map_err(|errno| refuse(object.as_str(), no_overlay(errno)))?;
            unpack(&tree, layer.part.clone(), copy.as_deref(), left, &object)
        });
        let (came, is) =
            unpacked.map_err(|errno| Error::at("clone", "a mount namespace for the import", errno))??;
        for (what, promised, is) in [("the layer", digest, &came), ("its content", diff, &is)] {
            if promised != is {
                return Err(refuse(
                    object,
                    format!("the digest of {what} is {is}, and {promised} is promised"),
                ));
            }
        }
        for name in ["work", "merged"] {
            fs::remove_dir_all(new.join(name)).map_err(store::fault(&new))?;
        }
        // Whatever has its place counts as whole, after a power failure too.
        self.sync()?;
        match (&copy, &layer.own) {
            (Some(copy), _) => self.publish(copy, &blob)?,
            (None, Some(own)) => match fs::hard_link(own, &blob) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => other.map_err(store::fault(&blob))?,
            },
            (None, None) => {}
        }
        self.publish(&new, &place)?;
        File::create(&seen).map_err(store::fault(&seen))?;
        if new.exists() {
            // The same content was there, from another archive.
            fs::remove_dir_all(&new).map_err(store::fault(&new))?;
        }
        Ok((digest.clone(), layer.part.length))
    }
}

fn no_overlay(errno: Errno) -> String {
    let why = crate::error::describe(errno);
    match errno {
        Errno::EINVAL | Errno::EOPNOTSUPP => format!(
            "overlay: {why} (the store's file system may be none that overlayfs writes to, such as another overlay or one \
             of the network: choose a place on ext4, xfs, btrfs or tmpfs with --root)"
        ),
        _ => format!("overlay: {why}"),
    }
}

/// Unpacks a layer into the tree, and keeps a copy as it came; returns the digests of both.
fn unpack(
    tree: &Tree,
    part: Part,
    copy: Option<&Path>,
    left: &Left,
    object: &str,
) -> Result<(Digest, Digest)> {
    let words = |error: io::Error| refuse(object, error.to_string());
    let create = |copy: &Path| File::create(copy).map_err(store::fault(copy));
    let kept = Copied { stream: part, copy: copy.map(create).transpose()?.map(io::BufWriter::new) };
    let opened = decoder(BufReader::with_capacity(128 << 10, Digested::new(kept))).map_err(words)?;
    let content = Digested::new(Paid { stream: opened, left });
    let content = layer::apply(tree, content, left).map_err(|Refused { entry, why }| {
        refuse(format!("{object}, entry {:?}", tree::shown(&entry)), why)
    })?;
    // Whatever follows the end of the archive belongs to the layer's digest.
    let (is, _, paid) = content.finish().map_err(words)?;
    let (came, _, kept) = paid.stream.into_inner().finish().map_err(words)?;
    if let Some(copy) = kept.copy {
        copy.into_inner().map_err(|error| words(error.into_error()))?;
    }
    Ok((came, is))
}

/// A stream of which a copy is kept, where it is wanted.
struct Copied<R, W> {
    stream: R,
    copy: Option<W>,
}

impl<R: Read, W: Write> Read for Copied<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        if let Some(copy) = &mut self.copy {
            copy.write_all(&buffer[..count])?;
        }
        Ok(count)
    }
}

/// A layer's stream, unpacked: its first bytes say how it is packed.
enum Decoder<R: Read> {
    Plain(BufReader<R>),
    Gzip(MultiGzDecoder<BufReader<R>>),
    Zstd(zstd::Decoder<'static, BufReader<R>>),
}

/// How files are packed that no layer is, by their first bytes.
const OTHER_PACKINGS: &[(&[u8], &str)] =
    &[(b"\xfd7zXZ\0", "xz"), (b"BZh", "bzip2"), (b"\x04\x22\x4d\x18", "lz4"), (b"PK\x03\x04", "zip")];

fn decoder<R: Read>(mut stream: BufReader<R>) -> io::Result<Decoder<R>> {
    let begins = io::BufRead::fill_buf(&mut stream)?;
    Ok(if begins.starts_with(&[0x1f, 0x8b]) {
        Decoder::Gzip(MultiGzDecoder::new(stream))
    } else if begins.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let mut decoder = zstd::Decoder::with_buffer(stream)?;
        decoder.window_log_max(ZSTD_WINDOW)?;
        Decoder::Zstd(decoder)
    } else if let Some((_, other)) = OTHER_PACKINGS.iter().find(|(magic, _)| begins.starts_with(magic)) {
        return Err(io::Error::other(format!(
            "packed with {other}, as no layer is (unpack it, or use gzip or zstd)"
        )));
    } else {
        Decoder::Plain(stream)
    })
}

impl<R: Read> Decoder<R> {
    fn into_inner(self) -> R {
        match self {
            Self::Plain(stream) => stream.into_inner(),
            Self::Gzip(stream) => stream.into_inner().into_inner(),
            Self::Zstd(stream) => stream.finish().into_inner(),
        }
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Gzip(stream) => stream.read(buffer),
            Self::Zstd(stream) => stream.read(buffer),
        }
    }
}

/// How a layer is packed, as manifests call it.
fn packing(part: &Part) -> io::Result<MediaType> {
    Ok(match decoder(BufReader::new(part.clone()))? {
        Decoder::Plain(_) => MediaType::ImageLayer,
        Decoder::Gzip(_) => MediaType::ImageLayerGzip,
        Decoder::Zstd(_) => MediaType::ImageLayerZstd,
    })
}

/// A copy of an archive, unpacked if it was packed, which nobody changes meanwhile.
fn unpacked(incoming: &Incoming, part: Part, object: &str, budget: Budget) -> Result<PathBuf> {
    let words = |error: io::Error| refuse(object, error.to_string());
    let plain = incoming.path().join("packed");
    let mut file = File::create(&plain).map_err(store::fault(&plain))?;
    let stream = decoder(BufReader::new(part)).map_err(words)?;
    // It is read once more when it is unpacked, and paid for then.
    io::copy(&mut Paid { stream, left: &Left::new(budget) }, &mut file).map_err(words)?;
    if is_empty(&plain).map_err(store::fault(&plain))? {
        return Err(refuse(object, "neither an image nor an archive with anything in it"));
    }
    let begins = File::open(&plain).map_err(store::fault(&plain))?;
    match Entries::new(BufReader::new(begins)).next() {
        Err(Refused { entry, .. }) if entry.is_empty() => {
            Err(refuse(object, "neither an image nor an archive of tar"))
        }
        _ => Ok(plain),
    }
}

/// Whether an archive ends where it begins.
fn is_empty(archive: &Path) -> io::Result<bool> {
    let mut first = Vec::new();
    File::open(archive)?.take(512).read_to_end(&mut first)?;
    Ok(first.iter().all(|byte| *byte == 0))
}

/// A root file system without a word about it: an image of one layer.
fn bare(archive: &Path) -> Result<Source> {
    let part = Part::of(archive).map_err(store::fault(archive))?;
    let (digest, _, _) =
        Digested::new(BufReader::new(part.clone())).finish().map_err(store::fault(archive))?;
    let wrong = |error: oci_spec::OciSpecError| refuse("configuration", error.to_string());
    let root =
        RootFsBuilder::default().typ("layers").diff_ids(vec![digest.to_string()]).build().map_err(wrong)?;
    let config = ImageConfigurationBuilder::default().architecture(Arch::Amd64).os(Os::Linux).rootfs(root);
    let config = serde_json::to_vec(&config.build().map_err(wrong)?)
        .map_err(|error| refuse("configuration", error.to_string()))?;
    Ok(Source { manifest: None, config, layers: vec![Layer { part, digest: Some(digest), own: None }] })
}

fn sha256(digest: &Digest) -> Result<Sha256Digest> {
    digest
        .hex()
        .parse()
        .map_err(|error: oci_spec::OciSpecError| refuse(digest.to_string(), error.to_string()))
}
