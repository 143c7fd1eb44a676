//! `runc`: the reference runtime, detached, on a bundle.

use super::Needs;
use super::oci::{Bundled, Runtime, with_the_labs_overlay};

/// See the file's head.
pub type Runc = Bundled<Reference>;

/// What sets runc apart.
#[derive(Debug, Default)]
pub struct Reference;

impl Runtime for Reference {
    const NAME: &'static str = "runc";
    const VARIABLE: &'static str = "TARE_RUNC";
    const ABOUT: &'static str = "the reference runtime, detached, given the same box as tare";
    const FIX: &'static str = "./scripts/setup (or apt-get install runc)";

    fn needs(&self) -> Needs {
        Needs { keys: 1, ..with_the_labs_overlay(Self::CLASS) }
    }

    fn inside_clock(&self) -> &'static [&'static str] {
        &[
            "bundle written",
            "pipes",
            "request to the spawner",
            "overlay mounted by the lab",
            "posix_spawn of runc",
            "runc run",
            "READY",
        ]
    }
}
