//! Where an image comes from: an OCI layout (a directory, or an archive of one), an archive of `docker save`, or a
//! plain root file system.
//!
//! All of them end as the same thing: a configuration, and layers with what is known of each beforehand.
//!
//! Man page: image-layout.md of the OCI image specification; docker-save(1). Look at it: `tar -tf ARCHIVE`

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_spec::image::{Descriptor, ImageIndex, OciLayout};
use serde::Deserialize;
use tar::EntryType;

use super::choice::{Told, check_layer, choose, is_same_name, parse, told};
use super::digest::{Digest, Digested};
use super::entries::Entries;

/// No sensible manifest, index or configuration is longer.
pub(crate) const LONGEST: u64 = 4 << 20;
/// So many files at most in an archive of an image: four for each layer, and a few.
const MOST: usize = 10_000;
/// An index may lead to another, but not for ever.
pub(crate) const DEEPEST: u32 = 4;

/// Some bytes in a file.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    file: Arc<File>,
    at: u64,
    pub(crate) length: u64,
}

impl Part {
    /// All of a file.
    ///
    /// # Errors
    /// Those of opening it; also where it is none: to open a pipe would wait for ever.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("neither a file nor a directory"));
        }
        Ok(Self { file: Arc::new(file), at: 0, length: metadata.len() })
    }

    /// Whether its bytes are packed.
    fn is_packed(&self) -> io::Result<bool> {
        let mut magic = Vec::new();
        self.clone().take(4).read_to_end(&mut magic)?;
        Ok(magic.starts_with(&[0x1f, 0x8b]) || magic == [0x28, 0xb5, 0x2f, 0xfd])
    }
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.length).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..most], self.at)?;
        self.at += count as u64;
        self.length -= count as u64;
        Ok(count)
    }
}

/// One layer, not looked at yet.
pub(crate) struct Layer {
    pub(crate) part: Part,
    /// Its digest as it is stored, maybe compressed; unknown in an archive of `docker save`.
    pub(crate) digest: Option<Digest>,
    /// A file that is nobody else's: it becomes the store's, without a copy.
    pub(crate) own: Option<PathBuf>,
}

/// See the file's head.
pub(crate) struct Source {
    /// As it was written, so that its digest stays; none in an archive of `docker save`.
    pub(crate) manifest: Option<Vec<u8>>,
    pub(crate) config: Vec<u8>,
    /// The lowest first.
    pub(crate) layers: Vec<Layer>,
}

/// What was found at a path.
pub(crate) enum Found {
    Image(Source),
    /// The root file system itself, as a directory.
    Directory,
    /// The same as an archive.
    Archive(Part),
    /// Something that is packed: what it is shows when it is unpacked.
    Packed(Part),
}

/// Looks at `path`, for the image that is called `chosen` there if there are several.
///
/// # Errors
/// What is wrong with it, in words that name what.
pub(crate) fn open(path: &Path, chosen: Option<&str>) -> Result<Found, String> {
    let words = |error: io::Error| format!("{}: {error}", path.display());
    let found = if std::fs::metadata(path).map_err(words)?.is_dir() {
        match path.join("oci-layout").exists() {
            true => Found::Image(layout(&Files::Directory(path.to_owned()), chosen)?),
            false => Found::Directory,
        }
    } else {
        let whole = Part::of(path).map_err(words)?;
        if whole.is_packed().map_err(words)? {
            return Ok(Found::Packed(whole));
        }
        match Files::of_archive(&whole)? {
            Some(files) if files.has("oci-layout") && files.has("index.json") => {
                Found::Image(layout(&files, chosen)?)
            }
            Some(files) if files.has("manifest.json") => Found::Image(saved(&files, chosen)?),
            _ => Found::Archive(whole),
        }
    };
    match (&found, chosen) {
        (Found::Directory | Found::Archive(_), Some(name)) => {
            Err(format!("it is a root file system and no image, and nothing in it is called {name}"))
        }
        _ => Ok(found),
    }
}

/// The files of an image, in a directory or in an archive.
enum Files {
    Directory(PathBuf),
    Archive(BTreeMap<String, Part>),
}

impl Files {
    /// The files in an uncompressed archive, if it looks like an image's: a root file system may have a million.
    fn of_archive(whole: &Part) -> Result<Option<Self>, String> {
        let mut file = BufReader::with_capacity(64 << 10, &*whole.file);
        file.seek(SeekFrom::Start(0)).map_err(|error| error.to_string())?;
        let mut magic = [0; 512];
        if file.read(&mut magic).unwrap_or(0) < 512 || &magic[257..262] != b"ustar" {
            return Ok(None);
        }
        file.seek(SeekFrom::Start(0)).map_err(|error| error.to_string())?;
        let mut entries = Entries::new(Counted { stream: file, count: 0 });
        let (mut parts, mut links) = (BTreeMap::new(), BTreeMap::new());
        // What is no image is read as what it is, and refused there.
        while let Ok(Some(entry)) = entries.next() {
            let name = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_start_matches("./").to_owned();
            let (at, name_of_it) = (entries.stream().count, name(&entry.path));
            match entry.kind {
                // What has holes is no file of an image.
                EntryType::Regular if entry.pieces.is_none() => {
                    parts.insert(name_of_it, Part { file: Arc::clone(&whole.file), at, length: entry.size });
                }
                // `docker save` stores a layer once, and links to it: "../ID/layer.tar".
                EntryType::Symlink => {
                    let above = name_of_it.rsplit_once('/').map_or("", |(above, _)| above).to_owned();
                    links.insert(name_of_it, beside(&above, &name(&entry.link)));
                }
                EntryType::Link => drop(links.insert(name_of_it, name(&entry.link))),
                _ => {}
            }
            if parts.len() + links.len() > MOST {
                return Ok(None);
            }
            // To read them would take as long as the archive says that it is large.
            if entries.leave_out(Counted::pass).is_err() {
                break;
            }
        }
        for (name, target) in links {
            if let Some(part) = parts.get(&target).cloned() {
                parts.insert(name, part);
            }
        }
        Ok(Some(Self::Archive(parts)))
    }

    fn has(&self, name: &str) -> bool {
        self.part(name).is_ok()
    }

    fn part(&self, name: &str) -> Result<Part, String> {
        match self {
            Self::Directory(root) => {
                Part::of(&root.join(name)).map_err(|error| format!("{}: {error}", root.join(name).display()))
            }
            Self::Archive(parts) => {
                parts.get(name).cloned().ok_or_else(|| format!("{name} is missing in the archive"))
            }
        }
    }

    fn small(&self, name: &str) -> Result<Vec<u8>, String> {
        let mut part = self.part(name)?;
        if part.length > LONGEST {
            return Err(format!("{name} is of {} bytes, more than {LONGEST}", part.length));
        }
        let mut bytes = Vec::new();
        part.read_to_end(&mut bytes).map_err(|error| format!("{name}: {error}"))?;
        Ok(bytes)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<(Digest, Part), String> {
        let digest = Digest::parse(descriptor.digest().as_ref())?;
        let part = self.part(&format!("blobs/sha256/{}", digest.hex())).map_err(|why| {
            let urls = descriptor.urls().clone().unwrap_or_default().join(", ");
            if urls.is_empty() {
                why
            } else {
                format!("{why} (it is to be fetched from {urls}, which is not done here)")
            }
        })?;
        if part.length != descriptor.size() {
            let (is, said) = (part.length, descriptor.size());
            return Err(format!("{digest} is of {is} bytes, and {said} are promised"));
        }
        Ok((digest, part))
    }

    fn small_blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, String> {
        let (digest, _) = self.blob(descriptor)?;
        let bytes = self.small(&format!("blobs/sha256/{}", digest.hex()))?;
        let is = Digest::of(&bytes);
        if is == digest {
            Ok(bytes)
        } else {
            Err(format!("{digest} has another content: its digest is {is}"))
        }
    }
}

/// A path beside others, `..` followed.
fn beside(above: &str, path: &str) -> String {
    let mut names: Vec<&str> = above.split('/').filter(|name| !name.is_empty()).collect();
    for name in path.split('/') {
        match name {
            ".." => drop(names.pop()),
            "" | "." => {}
            name => names.push(name),
        }
    }
    names.join("/")
}

fn layout(files: &Files, name: Option<&str>) -> Result<Source, String> {
    let version: OciLayout = parse("oci-layout", &files.small("oci-layout")?)?;
    if version.image_layout_version() != "1.0.0" {
        return Err(format!("a layout of version {:?}, and 1.0.0 is known", version.image_layout_version()));
    }
    let mut index: ImageIndex = parse("index.json", &files.small("index.json")?)?;
    for depth in 0..DEEPEST {
        // Only the outermost index has names.
        let chosen = choose(&index, name.filter(|_| depth == 0), "by its name with --ref")?;
        let bytes = files.small_blob(chosen)?;
        let manifest = match told(&bytes)? {
            Told::Index(next) => {
                index = *next;
                continue;
            }
            Told::Image(manifest) => manifest,
        };
        let config = files.small_blob(manifest.config())?;
        let layers = manifest.layers().iter().map(|descriptor| {
            check_layer(descriptor)?;
            let (digest, part) = files.blob(descriptor)?;
            Ok(Layer { part, digest: Some(digest), own: None })
        });
        let layers = layers.collect::<Result<_, String>>()?;
        return Ok(Source { manifest: Some(bytes), config, layers });
    }
    Err(format!("more than {DEEPEST} indexes, one in another"))
}

/// One image in `docker save`'s list.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Saved {
    fn names(&self) -> &[String] {
        self.repo_tags.as_deref().unwrap_or_default()
    }
}

fn saved(files: &Files, name: Option<&str>) -> Result<Source, String> {
    let bytes = files.small("manifest.json")?;
    let list: Vec<Saved> = parse("manifest.json", &bytes)?;
    let is_it = |it: &&Saved| name.is_none_or(|name| it.names().iter().any(|own| is_same_name(own, name)));
    let chosen: Vec<&Saved> = list.iter().filter(is_it).collect();
    let [one] = chosen.as_slice() else {
        let names: Vec<String> = list.iter().map(|it| it.names().join(" = ")).collect();
        return Err(format!(
            "{} of the {} images in it are meant (choose one by its name with --ref): {}",
            chosen.len(),
            list.len(),
            names.join(", ")
        ));
    };
    let layers = one.layers.iter().map(|name| {
        let part = files.part(name)?;
        let words = |error: io::Error| format!("{name}: {error}");
        // What is not packed has the digest that the configuration tells.
        let digest = match part.is_packed().map_err(words)? {
            true => Some(Digested::new(part.clone()).finish().map_err(words)?.0),
            false => None,
        };
        Ok(Layer { part, digest, own: None })
    });
    Ok(Source {
        manifest: None,
        config: files.small(&one.config)?,
        layers: layers.collect::<Result<_, String>>()?,
    })
}

/// A stream of which the position is known.
pub(crate) struct Counted<R> {
    stream: R,
    pub(crate) count: u64,
}

impl<R: Seek> Counted<BufReader<R>> {
    fn pass(&mut self, bytes: u64) -> io::Result<()> {
        self.count += bytes;
        self.stream.seek_relative(i64::try_from(bytes).map_err(io::Error::other)?)
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_in_an_archive_stays_in_it() {
        assert_eq!(beside("a", "../b/layer.tar"), "b/layer.tar");
        assert_eq!(beside("a", "../../../etc/passwd"), "etc/passwd");
        assert_eq!(beside("", "./x"), "x");
    }
}
