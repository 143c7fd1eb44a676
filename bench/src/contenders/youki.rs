//! `youki`: the runtime written in Rust, detached, on a bundle.

use super::oci::{Bundled, NO_OVERLAY, Runtime, SECCOMP};

/// See the file's head.
pub type Youki = Bundled<InRust>;

/// What sets youki apart.
#[derive(Debug, Default)]
pub struct InRust;

impl Runtime for InRust {
    const NAME: &'static str = "youki";
    const VARIABLE: &'static str = "TARE_YOUKI";
    const ABOUT: &'static str = "the runtime written in Rust, detached, given the same box as tare";
    const FIX: &'static str = "./scripts/setup --youki";

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

    fn not_expressed(&self) -> Vec<String> {
        [
            NO_OVERLAY,
            "cgroups: it makes one in every v1 tree there is, tare only in those of its limits",
            "devices: it lets any node be made, ours be made anew, and /dev/net/tun be opened",
            "masked paths: covered under other flags and sizes than tare's",
            "network: its loopback stays down",
            "signals: it leaves SIGINT, SIGTERM and SIGCHLD blocked and SIGPIPE ignored, and posix_spawn one or \
             two of the C library's own",
            SECCOMP,
        ]
        .map(str::to_owned)
        .into()
    }
}
