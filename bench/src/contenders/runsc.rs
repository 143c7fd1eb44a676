//! `runsc`: gVisor. The box's system calls are answered by a kernel written in Go, which runs as a process of
//! the host; a second process opens files on its behalf.

use tare_reports::document::Class;

use super::oci::{Bundled, Runtime};

/// See the file's head.
pub type Runsc = Bundled<Gvisor>;

/// What sets runsc apart.
#[derive(Debug, Default)]
pub struct Gvisor;

impl Runtime for Gvisor {
    const NAME: &'static str = "runsc";
    const VARIABLE: &'static str = "TARE_RUNSC";
    const CLASS: Class = Class::Sandbox;
    const ABOUT: &'static str = "gVisor: a kernel in user space, detached, given the same box as tare";
    const FIX: &'static str = "./scripts/setup --peers (or apt-get install runsc)";
    /// No network but loopback, and the filter that it would otherwise pass over.
    const OPTIONS: &'static [&'static str] = &["--network=none", "--oci-seccomp"];

    fn inside_clock(&self) -> &'static [&'static str] {
        &[
            "bundle written",
            "pipes",
            "request to the spawner",
            "overlay mounted by the lab",
            "posix_spawn of runsc",
            "runsc run",
            "READY",
        ]
    }
}
