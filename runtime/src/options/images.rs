//! What a line says about images and volumes.
//!
//! Man page: docker-run(1), whose words these are. Look at it: `tare-runtime help import`

use std::path::PathBuf;

use tare_runtime::image::{Budget, full_name};
use tare_runtime::{Id, Volume};

use super::values::bytes;
use crate::transfer::What;
use crate::words::Said;

/// The image of a box: what the line does not say, the image does.
#[derive(Debug)]
pub(crate) struct FromImage {
    pub(crate) name: String,
    pub(crate) cwd: Option<PathBuf>,
    /// A name or a number, and a group.
    pub(crate) user: Option<String>,
    /// Instead of the image's entry point; an empty one is none.
    pub(crate) entrypoint: Option<String>,
}

impl FromImage {
    pub(super) fn parse(name: String, said: &Said) -> Result<Self, String> {
        let last = |option| said.values(option).map(|mut values| values.pop());
        Ok(Self { name, cwd: said.path("cwd"), user: last("user")?, entrypoint: last("entrypoint")? })
    }
}

/// What an import may cost.
pub(super) fn budget(said: &Said) -> Result<Budget, String> {
    let mut budget = Budget::default();
    budget.bytes = said.value("max-size", bytes)?.unwrap_or(budget.bytes);
    Ok(budget)
}

/// What is to be moved between the store and a registry.
#[derive(Debug)]
pub(crate) struct Transfer {
    pub(crate) what: What,
    pub(crate) plain_http: bool,
    pub(crate) timeout: u64,
}

impl Transfer {
    /// `name` gives the words of the line.
    pub(super) fn parse(
        verb: &str,
        name: impl Fn(usize) -> Result<String, String>,
        said: &Said,
    ) -> Result<Self, String> {
        let full = |index| full_name(&name(index)?).map_err(|error| error.to_string());
        let what = match verb {
            "pull" => What::Pull { name: full(0)?, most: budget(said)?.bytes },
            _ => What::Push { local: full(0)?, remote: full(1)? },
        };
        let seconds = |text: &str| match text.parse() {
            Ok(seconds @ 1..=86_400) => Ok(seconds),
            _ => Err("it is a number of seconds, 1 to 86400"),
        };
        let timeout = said.value("timeout", seconds)?.unwrap_or(30);
        Ok(Self { what, plain_http: said.has("plain-http"), timeout })
    }
}

/// What is mounted from outside.
pub(super) fn volumes(said: &Said) -> Result<Vec<Volume>, String> {
    let words = |error: tare_runtime::Error| error.to_string();
    let mut volumes = Vec::new();
    for text in said.values("volume")? {
        volumes.push(Volume::parse(&text).map_err(words)?);
    }
    for text in said.values("tmpfs")? {
        volumes.push(Volume::parse_tmpfs(&text).map_err(words)?);
    }
    Ok(volumes)
}

/// The name of a container of an image: the one that was said, or the image's own and a number by chance.
pub(super) fn id(image: &str, said: &Said) -> Result<Id, String> {
    if let Some(id) = said.value("name", Id::new)? {
        return Ok(id);
    }
    let name = image.split('@').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    let name = name.split(':').next().unwrap_or_default();
    let chance = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), 0) as u32;
    let name: String =
        name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')).take(40).collect();
    Id::new(&format!("{}-{chance:08x}", if name.is_empty() { "box" } else { &name }))
        .map_err(|error| error.to_string())
}
