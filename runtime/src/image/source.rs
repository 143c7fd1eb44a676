//! Where an image comes from: an OCI layout (a directory, or an archive of one), an archive of `docker save`, or a
//! plain root file system.
//!
//! All of them end as the same thing: a configuration, and layers with what is known of each beforehand.
//!
//! Man page: image-layout.md of the OCI image specification; docker-save(1). Look at it: `tar -tf ARCHIVE`

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_spec::image::{Arch, Descriptor, ImageIndex, ImageManifest, MediaType, Os};
use serde::Deserialize;
use tar::EntryType;

use super::digest::Digest;
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
    /// Those of opening it.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), at: 0, length })
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
    /// The same as an archive, maybe compressed.
    Archive(Part),
}

/// Looks at `path`.
///
/// # Errors
/// What is wrong with it, in words that name what.
pub(crate) fn open(path: &Path) -> Result<Found, String> {
    let words = |error: io::Error| format!("{}: {error}", path.display());
    if std::fs::metadata(path).map_err(words)?.is_dir() {
        if !path.join("oci-layout").exists() {
            return Ok(Found::Directory);
        }
        return layout(&Files::Directory(path.to_owned())).map(Found::Image);
    }
    let whole = Part::of(path).map_err(words)?;
    match Files::of_archive(&whole)? {
        Some(files) if files.has("oci-layout") && files.has("index.json") => layout(&files).map(Found::Image),
        Some(files) if files.has("manifest.json") => saved(&files).map(Found::Image),
        _ => Ok(Found::Archive(whole)),
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
                EntryType::Regular => {
                    parts.insert(name_of_it, Part { file: Arc::clone(&whole.file), at, length: entry.size });
                }
                // `docker save` stores a layer once, and links to it: "../ID/layer.tar".
                EntryType::Symlink => {
                    let above = name_of_it.rsplit_once('/').map_or("", |(above, _)| above).to_owned();
                    links.insert(name_of_it, beside(&above, &name(&entry.link)));
                }
                _ => {}
            }
            if parts.len() + links.len() > MOST {
                return Ok(None);
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
        let part = self.part(&format!("blobs/sha256/{}", digest.hex()))?;
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

fn parse<'a, T: Deserialize<'a>>(what: &str, bytes: &'a [u8]) -> Result<T, String> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| format!("{what}: {}: {}", error.path(), error.inner()))
}

fn layout(files: &Files) -> Result<Source, String> {
    let mut index: ImageIndex = parse("index.json", &files.small("index.json")?)?;
    for _ in 0..DEEPEST {
        let chosen = choose(&index)?;
        let bytes = files.small_blob(chosen)?;
        if matches!(chosen.media_type(), MediaType::ImageIndex) || is_list(chosen.media_type()) {
            index = parse(chosen.digest().as_ref(), &bytes)?;
            continue;
        }
        let manifest: ImageManifest = parse(chosen.digest().as_ref(), &bytes)?;
        let config = files.small_blob(manifest.config())?;
        let layers = manifest.layers().iter().map(|descriptor| {
            let (digest, part) = files.blob(descriptor)?;
            Ok(Layer { part, digest: Some(digest), own: None })
        });
        let layers = layers.collect::<Result<_, String>>()?;
        return Ok(Source { manifest: Some(bytes), config, layers });
    }
    Err(format!("more than {DEEPEST} indexes, one in another"))
}

/// What a registry's answer is.
pub(crate) enum Told {
    Index(Box<ImageIndex>),
    Image(Box<ImageManifest>),
}

/// What a manifest turns out to be.
///
/// # Errors
/// It is neither an image nor an index of images, and what it is instead.
pub(crate) fn told(bytes: &[u8]) -> Result<Told, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Kind {
        schema_version: u32,
        #[serde(default)]
        media_type: Option<MediaType>,
        #[serde(default)]
        config: Option<Config>,
        #[serde(default)]
        manifests: Option<serde::de::IgnoredAny>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Config {
        media_type: MediaType,
    }
    let kind: Kind = parse("its manifest", bytes)?;
    let named = kind.media_type.as_ref();
    let other =
        |what: String| Err(format!("its manifest is no image's: {what} (is it a chart or a signature?)"));
    if kind.schema_version != 2 {
        return other(format!("it has the schema {}, and only 2 is known", kind.schema_version));
    }
    match kind.config {
        None if kind.manifests.is_some()
            && named.is_none_or(|it| matches!(it, MediaType::ImageIndex) || is_list(it)) =>
        {
            parse("its index", bytes).map(Box::new).map(Told::Index)
        }
        Some(Config { media_type: MediaType::ImageConfig }) => {
            parse("its manifest", bytes).map(Box::new).map(Told::Image)
        }
        Some(Config { media_type }) if is_docker(&media_type, "container.image.v1") => {
            parse("its manifest", bytes).map(Box::new).map(Told::Image)
        }
        Some(Config { media_type }) => other(format!("its configuration is of type {media_type}")),
        None => {
            other(named.map_or_else(
                || "it names neither layers nor images".into(),
                |it| format!("its type is {it}"),
            ))
        }
    }
}

/// Docker's own words for the same things.
fn is_docker(kind: &MediaType, what: &str) -> bool {
    matches!(kind, MediaType::Other(name) if *name == format!("application/vnd.docker.{what}+json"))
}

fn is_list(kind: &MediaType) -> bool {
    is_docker(kind, "distribution.manifest.list.v2")
}

/// The image for this machine, or the only one.
///
/// # Errors
/// Which ones there are, where none is for us or several are.
pub(crate) fn choose(index: &ImageIndex) -> Result<&Descriptor, String> {
    let ours = |it: &&Descriptor| {
        it.platform().as_ref().is_some_and(|it| *it.os() == Os::Linux && *it.architecture() == Arch::Amd64)
    };
    let all = index.manifests();
    let fitting: Vec<&Descriptor> = all.iter().filter(ours).collect();
    match (fitting.as_slice(), all.as_slice()) {
        ([one], _) => Ok(one),
        ([], [one]) if one.platform().is_none() => Ok(one),
        _ => {
            let name = |it: &Descriptor| {
                let platform =
                    it.platform().as_ref().map(|it| format!(" for {}/{}", it.os(), it.architecture()));
                format!("{}{}", it.digest(), platform.unwrap_or_default())
            };
            let names: Vec<String> = all.iter().map(name).collect();
            Err(format!(
                "of {} images in it not exactly one is for linux/amd64: {}",
                all.len(),
                names.join(", ")
            ))
        }
    }
}

/// One image in `docker save`'s list.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    layers: Vec<String>,
}

fn saved(files: &Files) -> Result<Source, String> {
    let bytes = files.small("manifest.json")?;
    let list: Vec<Saved> = parse("manifest.json", &bytes)?;
    let [one] = list.as_slice() else {
        return Err(format!(
            "manifest.json names {} images, and one is imported at a time (save one)",
            list.len()
        ));
    };
    let layers = one.layers.iter().map(|name| Ok(Layer { part: files.part(name)?, digest: None, own: None }));
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
