//! What a document is, which of several images in it is meant, and whether its layers are any that can be unpacked.
//!
//! An index lists images for several machines, and a layout several images by name. Nobody guesses here: exactly one has
//! to be meant, or the error lists those that there are.
//!
//! Man page: image-index.md of the OCI image specification, "platform"; annotations.md,
//! "org.opencontainers.image.ref.name". Look at it: `tare-runtime import --ref NAME DIR name:tag`

use std::collections::BTreeSet;

use oci_spec::image::{Arch, Descriptor, ImageIndex, ImageManifest, MediaType, Os};
use serde::Deserialize;

/// What is behind a digest.
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
        // One reader would take it for this, another for that (CVE-2021-41190).
        Some(_) if kind.manifests.is_some() => other("it names both layers and images".into()),
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

pub(crate) fn parse<'a, T: Deserialize<'a>>(what: &str, bytes: &'a [u8]) -> Result<T, String> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| format!("{what}: {}: {}", error.path(), error.inner()))
}

/// Refuses what is no archive of files, or one that takes a key.
pub(crate) fn check_layer(layer: &Descriptor) -> Result<(), String> {
    let docker = ["tar", "tar.gzip", "tar.zstd"];
    let known = match layer.media_type() {
        MediaType::ImageLayer | MediaType::ImageLayerGzip | MediaType::ImageLayerZstd => true,
        MediaType::ImageLayerNonDistributable
        | MediaType::ImageLayerNonDistributableGzip
        | MediaType::ImageLayerNonDistributableZstd => true,
        MediaType::Other(name) => ["rootfs.diff", "rootfs.foreign.diff"].iter().any(|kind| {
            let rest =
                name.strip_prefix("application/vnd.docker.image.").and_then(|it| it.strip_prefix(kind));
            rest.is_some_and(|rest| docker.iter().any(|packed| rest.strip_prefix('.') == Some(packed)))
        }),
        _ => false,
    };
    match known {
        true => Ok(()),
        false => {
            Err(format!("layer {} is of type {}, which is no layer's", layer.digest(), layer.media_type()))
        }
    }
}

/// The image for this machine, or the only one; among those that are called `name` if that is given. `by`: what one says
/// to choose another.
///
/// # Errors
/// Which ones there are, where none is for us or several are.
pub(crate) fn choose<'a>(
    index: &'a ImageIndex,
    name: Option<&str>,
    by: &str,
) -> Result<&'a Descriptor, String> {
    let ours = |it: &Descriptor| {
        it.platform().as_ref().map(|it| *it.os() == Os::Linux && *it.architecture() == Arch::Amd64)
    };
    let mut all: Vec<&Descriptor> = index.manifests().iter().collect();
    all.retain(|it| name.is_none_or(|name| names_of(it).any(|own| is_same_name(own, name))));
    // One image may have several names.
    let mut seen = BTreeSet::new();
    all.retain(|it| seen.insert((it.digest().to_string(), ours(it))));
    let fitting: Vec<&Descriptor> = all.iter().copied().filter(|it| ours(it) == Some(true)).collect();
    match (fitting.as_slice(), all.as_slice()) {
        ([one], _) => return Ok(one),
        ([], [one]) if one.platform().is_none() => return Ok(one),
        _ => {}
    }
    let words = |it: &Descriptor| {
        let platform = it.platform().as_ref().map(|it| format!(" for {}/{}", it.os(), it.architecture()));
        let names = names_of(it).collect::<Vec<_>>().join(" = ");
        format!(
            "{names}{}{}{}",
            if names.is_empty() { "" } else { " " },
            it.digest(),
            platform.unwrap_or_default()
        )
    };
    let there: Vec<String> = index.manifests().iter().map(words).collect();
    let (count, there) = (there.len(), there.join(", "));
    // Of those that are for other machines it helps to choose none.
    let open = fitting.len() > 1 || all.iter().any(|it| it.platform().is_none());
    Err(match name {
        Some(name) if all.is_empty() => format!("none of its images is called {name}: {there}"),
        _ if open => {
            format!("of {count} images in it not exactly one is for linux/amd64 (choose one {by}): {there}")
        }
        _ => format!("of {count} images in it none is for linux/amd64: {there}"),
    })
}

/// What an image is called in its layout, by the specification and by Docker.
fn names_of(image: &Descriptor) -> impl Iterator<Item = &str> {
    let annotations = image.annotations().as_ref();
    let keys = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
    keys.into_iter().filter_map(move |key| annotations?.get(key).map(String::as_str))
}

/// "it:1" and "docker.io/library/it:1" are one.
pub(crate) fn is_same_name(one: &str, other: &str) -> bool {
    let full = |name| super::full_name(name).ok();
    one == other || (full(one).is_some() && full(one) == full(other))
}
