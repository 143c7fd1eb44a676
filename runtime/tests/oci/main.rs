//! The life cycle of OCI over bundles, as an engine drives it: what a bundle says is what the box has.

#[path = "../common/mod.rs"]
mod common;

mod devices;
mod exec;
mod life;
mod mounts;
mod namespaces;
mod rootless;
mod settings;
mod terminal;

use std::path::PathBuf;

pub(crate) const NOTHING: Vec<PathBuf> = Vec::new();
