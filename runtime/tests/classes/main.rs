//! The classes of faults that trusted runtimes had, one test each (SECURITY's table): refused or contained,
//! with an error that names it, and canaries as before. Each fails when its guard is removed; some of the
//! guards are removed for good in scripts/mutants. Devices, /dev/null and terminals are in `../oci`.

#[path = "../common/mod.rs"]
mod common;

mod identity;
mod own_program;
mod paths;
mod refusals;

use std::path::PathBuf;

pub(crate) const NOTHING: Vec<PathBuf> = Vec::new();
