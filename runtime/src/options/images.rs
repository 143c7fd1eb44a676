//! What a line says about images and volumes.
//!
//! Man page: docker-run(1), whose words these are. Look at it: `tare-runtime help import`

use std::path::PathBuf;

use tare_runtime::image::Budget;
use tare_runtime::{Id, User, Volume};

use super::values::{bytes, user};
use crate::words::Said;

/// The image of a box: what the line does not say, the image does.
#[derive(Debug)]
pub(crate) struct FromImage {
    pub(crate) name: String,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) user: Option<User>,
}

impl FromImage {
    pub(super) fn parse(name: String, said: &Said) -> Result<Self, String> {
        let user = said.value("user", user)?.map(|(uid, gid)| User { uid, gid, groups: Vec::new() });
        Ok(Self { name, cwd: said.path("cwd"), user })
    }
}

/// What an import may cost.
pub(super) fn budget(said: &Said) -> Result<Budget, String> {
    let mut budget = Budget::default();
    budget.bytes = said.value("max-size", bytes)?.unwrap_or(budget.bytes);
    Ok(budget)
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
