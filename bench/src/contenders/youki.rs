//! `youki`: the runtime written in Rust, detached, on a bundle.

use super::oci::{Bundled, Runtime};

/// See the file's head.
pub type Youki = Bundled<InRust>;

/// What sets youki apart.
#[derive(Debug, Default)]
pub struct InRust;

impl Runtime for InRust {
    const NAME: &'static str = "youki";
    const VARIABLE: &'static str = "TARE_YOUKI";
    const ABOUT: &'static str = "the runtime written in Rust, detached, given the same box as tare";
    const FIX: &'static str = "./scripts/setup --peers";

    fn inside_clock(&self) -> &'static [&'static str] {
        &[
            "bundle written",
            "pipes",
            "request to the spawner",
            "overlay mounted by the lab",
            "posix_spawn of youki",
            "youki run",
            "READY",
        ]
    }
}
