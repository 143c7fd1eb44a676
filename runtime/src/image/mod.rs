//! Images: a root file system in layers, with a word about what to run in it.
//!
//! An image is a list of layers (tar archives, each saying what changed), a configuration (command, environment, user)
//! and a manifest that names both by digest. A container is an image with one more, writable layer on top. So a
//! thousand containers of ten images that share a base have that base once, on the disk and in memory. Without
//! images each would bring its own copy, and nobody could say what is in it.
//!
//! Here: bringing an image in ([`Store::import`]), listing, removing, and finding what a container needs of it
//! ([`Store::image`]). `layer.rs` is where a stranger's archive is applied, `store.rs` how it is kept.
//!
//! Man page: the OCI image specification. Look at it: `tare-runtime import DIR name:tag; tare-runtime images`

mod arrival;
mod budget;
mod choice;
mod departure;
pub(crate) mod digest;
mod entries;
mod import;
mod layer;
mod pack;
mod path;
mod pax;
mod source;
mod sparse;
mod store;
pub(crate) mod tree;
mod user;

use std::collections::BTreeSet;
use std::ffi::CString;
use std::io::{self, BufReader, BufWriter, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use oci_spec::distribution::Reference;
use oci_spec::image::{ImageConfiguration, ImageManifest};
use serde::Serialize;

pub use arrival::{Arrival, Missing, Receiving};
pub use budget::{Budget, stop};
pub use departure::{Departure, Piece};
use digest::Digest;
pub use store::Store;
pub use user::Account;

use crate::error::{Error, Result};
use crate::resolve;
use crate::spec::Spec;
use crate::state::Directory;
use budget::Left;
use tree::Tree;

/// An image as a container needs it.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its full name.
    pub name: String,
    /// The digest of its manifest.
    pub digest: String,
    /// The directories of its layers, the highest first.
    pub layers: Vec<PathBuf>,
    /// What it says of itself.
    pub config: ImageConfiguration,
}

/// An image in a list.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// Its full name.
    pub name: String,
    /// The digest of its manifest.
    pub digest: String,
    /// Bytes of its layers as they came, those that it shares with others too.
    pub bytes: u64,
    /// How many layers it has.
    pub layers: usize,
}

/// Keeps an image from being removed.
#[derive(Debug)]
pub struct Standing {
    _shared: store::Lock,
}

/// The store where nobody chose one: /var/lib/tare for root, else below $XDG_DATA_HOME or ~/.local/share.
pub fn default_store() -> PathBuf {
    if nix::unistd::geteuid().is_root() {
        return "/var/lib/tare".into();
    }
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    data.or(home).unwrap_or_else(|| "/nonexistent".into()).join("tare")
}

fn refuse(object: impl Into<String>, why: impl Into<String>) -> Error {
    Error::Image { object: object.into(), why: why.into() }
}

/// The full name: a registry, a repository, and a tag or a digest. "busybox" means what it means to Docker.
///
/// # Errors
/// [`Error::Image`].
pub fn full_name(name: &str) -> Result<String> {
    let parsed: std::result::Result<Reference, _> = name.parse();
    parsed.map(|reference| reference.whole()).map_err(|error| {
        refuse(
            format!("{name:?}"),
            format!("no image's name: {error} (such as busybox:1 or 127.0.0.1:5000/me/it:2)"),
        )
    })
}

impl Store {
    /// An image by its name.
    ///
    /// # Errors
    /// [`Error::Image`] where there is none, or the store is damaged.
    pub fn image(&self, name: &str) -> Result<Image> {
        let name = full_name(name)?;
        let _shared = self.lock_if_made()?;
        let Some(named) = self.meant(&name)? else {
            return Err(refuse(name, "not in the store (import or pull it; see `images`)"));
        };
        let (manifest, config) = self.parts_of(&named)?;
        let mut layers: Vec<PathBuf> =
            chains(&config)?.iter().map(|chain| self.layer(chain).join("own")).collect();
        layers.reverse();
        if layers.len() != manifest.layers().len() {
            let why = "its manifest and its configuration name different numbers of layers";
            return Err(refuse(named.name, why));
        }
        Ok(Image { name: named.name, digest: named.manifest, layers, config })
    }

    /// What a full name means; the images of several meanings are one.
    fn meant(&self, name: &str) -> Result<Option<store::Named>> {
        Ok(self.all_meant(name)?.into_iter().next())
    }

    /// All that a full name may mean. Also one with a digest that nobody has given it, as `pull` prints it, where the name
    /// without it means an image of that digest: without a tag there may be several.
    fn all_meant(&self, name: &str) -> Result<Vec<store::Named>> {
        if let Some(named) = self.named(name)? {
            return Ok(vec![named]);
        }
        let parsed: std::result::Result<Reference, _> = name.parse();
        let Some(reference) = parsed.ok().filter(|it| it.digest().is_some()) else { return Ok(Vec::new()) };
        let is_it = |named: &store::Named| {
            let other: std::result::Result<Reference, _> = named.name.parse();
            reference.digest() == Some(named.manifest.as_str())
                && other.is_ok_and(|other| {
                    (other.registry(), other.repository()) == (reference.registry(), reference.repository())
                        && reference.tag().is_none_or(|tag| other.tag() == Some(tag))
                })
        };
        Ok(self.names()?.into_iter().filter(is_it).collect())
    }

    /// All images, by name.
    ///
    /// # Errors
    /// [`Error::Image`].
    pub fn images(&self) -> Result<Vec<Listed>> {
        let _shared = self.lock_if_made()?;
        let listed = |named: store::Named| {
            let (manifest, _) = self.parts_of(&named)?;
            let bytes = manifest.layers().iter().map(|layer| layer.size()).sum();
            Ok(Listed { name: named.name, digest: named.manifest, bytes, layers: manifest.layers().len() })
        };
        self.names()?.into_iter().map(listed).collect()
    }

    /// Removes a name, and what no other name and no container needs.
    ///
    /// # Errors
    /// [`Error::Image`] where there is none or several are meant, or a container stands on it and no other name leads there.
    pub fn remove(&self, name: &str) -> Result<()> {
        let name = full_name(name)?;
        let _alone = self.lock(true)?;
        let meant = self.all_meant(&name)?;
        let named = match meant.as_slice() {
            [] => return Err(refuse(name, "not in the store (see `images`)")),
            [one] => one,
            several => {
                let names: Vec<&str> = several.iter().map(|it| it.name.as_str()).collect();
                return Err(refuse(name, format!("several names mean it: {} (say which)", names.join(", "))));
            }
        };
        let name = named.name.clone();
        let others: Vec<store::Named> = self.names()?.into_iter().filter(|it| it.name != name).collect();
        let used = self.used()?;
        if !others.iter().any(|it| it.manifest == named.manifest)
            && let Some((_, by)) = used.iter().find(|(manifest, _)| *manifest == named.manifest)
        {
            return Err(refuse(
                name,
                format!("the container in {} stands on it (delete that first)", by.display()),
            ));
        }
        let (layers, blobs) = self.needed(&others, &used)?;
        self.forget(&name)?;
        self.sweep(&layers, &blobs)
    }

    /// Removes what no name and no container needs any more, once a name means another image than before: nobody would
    /// find it in a list. If others are at the store at this moment, it waits for the next one who removes.
    fn tidy(&self) -> Result<()> {
        let Some(_alone) = self.lock_if_free()? else { return Ok(()) };
        let (layers, blobs) = self.needed(&self.names()?, &self.used()?)?;
        self.sweep(&layers, &blobs)
    }

    /// The layers and blobs of these images. Also of those to which no name leads any more, as long as a container stands
    /// on them.
    fn needed(
        &self,
        names: &[store::Named],
        used: &[(String, PathBuf)],
    ) -> Result<(BTreeSet<Digest>, BTreeSet<Digest>)> {
        let (mut layers, mut blobs) = (BTreeSet::new(), BTreeSet::new());
        let named = names.iter().map(|it| (it.manifest.as_str(), self.parts_of(it)));
        let stood_on: BTreeSet<&str> = used.iter().map(|(manifest, _)| manifest.as_str()).collect();
        let stood_on = stood_on.into_iter().map(|manifest| (manifest, self.parts(manifest)));
        for (digest, parts) in named.chain(stood_on) {
            let (manifest, config) = parts?;
            layers.extend(chains(&config)?);
            blobs.insert(parse(digest)?);
            for descriptor in manifest.layers().iter().chain([manifest.config()]) {
                blobs.insert(parse(descriptor.digest().as_ref())?);
            }
        }
        Ok((layers, blobs))
    }

    /// An image that was brought in just now; whatever its name meant before is no image any more.
    fn brought(&self, name: &str, shared: store::Lock, renamed: bool) -> Result<Image> {
        let image = self.image(name)?;
        drop(shared);
        if renamed {
            // What cannot be removed now says why to whoever removes an image next; this one is there.
            let _ = self.tidy();
        }
        Ok(image)
    }

    /// Has a container stand on an image, so that nobody removes it: by what is returned until the container's directory
    /// exists, and by its state from then on, which says so because `spec` does.
    ///
    /// # Errors
    /// [`Error::Image`] where the image is gone, [`Error::Exists`] where the directory is another container's.
    pub fn stand_on(&self, image: &Image, root: &Path, spec: &mut Spec) -> Result<Standing> {
        let shared = self.lock(false)?;
        if Directory::new(root, &spec.id).path().exists() {
            return Err(Error::Exists(spec.id.clone()));
        }
        if self.named(&image.name)?.is_none_or(|named| named.manifest != image.digest) {
            return Err(refuse(image.name.clone(), "somebody has removed it just now"));
        }
        self.use_for(root)?;
        spec.image = Some(image.digest.clone());
        Ok(Standing { _shared: shared })
    }

    /// Those of a name. What is wrong with them is told with that: by it they are removed.
    fn parts_of(&self, named: &store::Named) -> Result<(ImageManifest, ImageConfiguration)> {
        self.parts(&named.manifest).map_err(|error| {
            refuse(named.name.as_str(), format!("damaged, {error} (rm it, and bring it in again)"))
        })
    }

    fn parts(&self, manifest: &str) -> Result<(ImageManifest, ImageConfiguration)> {
        let read = |digest: &Digest| {
            let path = self.blob(digest);
            std::fs::read(&path).map_err(store::fault(&path))
        };
        let manifest = parse(manifest)?;
        let manifest: ImageManifest = json(&manifest.to_string(), &read(&manifest)?)?;
        let config = parse(manifest.config().digest().as_ref())?;
        Ok((manifest, json(&config.to_string(), &read(&config)?)?))
    }
}

/// Copies what the tree of these layers (the highest first) has at `target` into a directory that is empty, owner and
/// mode of the directory itself too. False if there is no directory, or none that is to be copied, as an empty one may be.
///
/// # Errors
/// [`Error::Image`] of what cannot be read or made.
pub(crate) fn copy_out(layers: &[PathBuf], target: &Path, into: &Path, empty_too: bool) -> Result<bool> {
    let object = || format!("at {}", target.display());
    let kernel = |errno| refuse(object(), crate::error::describe(errno));
    let path =
        CString::new(target.as_os_str().as_bytes()).map_err(|error| refuse(object(), error.to_string()))?;
    let copy = || {
        let opened = tree::open_all(layers).map_err(|(path, errno)| store::fault(&path)(errno.into()))?;
        let root = tree::view(opened, layers).map_err(kernel)?;
        let from = match resolve::inside(root.as_fd(), &path) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(false),
            other => other.map_err(kernel)?,
        };
        let mut all = match std::fs::read_dir(format!("/proc/self/fd/{}", from.as_raw_fd())) {
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(false),
            other => other.map_err(|error| refuse(object(), error.to_string()))?,
        };
        if !empty_too && all.next().is_none() {
            return Ok(false);
        }
        // Packed and applied like any layer, so there is one way to copy links, attributes and holes.
        let (reader, writer) = std::io::pipe().map_err(|error| refuse(object(), error.to_string()))?;
        let (mut reader, mut writer) = (BufReader::new(reader), BufWriter::new(writer));
        let tree = Tree::mount(&[], into, into, into).map_err(kernel)?;
        let budget = Budget::default();
        std::thread::scope(|scope| {
            let packing = scope.spawn(move || {
                pack::pack(from.as_fd(), &mut writer, &Left::new(budget))?;
                writer.flush().map_err(|error| error.to_string())
            });
            let applied = layer::apply(&tree, &mut reader, &Left::new(budget)).map(drop);
            // Whoever writes is to end by what it finds, and not because nobody reads.
            let rest = io::copy(&mut reader, &mut io::sink());
            let packed = packing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            packed.map_err(|why| refuse(object(), why))?;
            applied.map_err(|refused| {
                refuse(format!("{}, {:?}", object(), tree::shown(&refused.entry)), refused.why)
            })?;
            rest.map_err(|error| refuse(object(), error.to_string()))
        })?;
        store::Store::new(into.to_owned()).sync()?;
        Ok(true)
    };
    tree::apart(copy).map_err(|errno| Error::at("clone", "a mount namespace", errno))?
}

fn parse(digest: &str) -> Result<Digest> {
    Digest::parse(digest).map_err(|why| refuse("the store", why))
}

fn json<T: serde::de::DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| refuse(what, format!("{}: {}", error.path(), error.inner())))
}

/// What each layer is called together with those below it, the lowest first.
fn chains(config: &ImageConfiguration) -> Result<Vec<Digest>> {
    let mut chains: Vec<Digest> = Vec::new();
    for layer in config.rootfs().diff_ids() {
        chains.push(Digest::chained(chains.last(), &parse(layer)?));
    }
    Ok(chains)
}
