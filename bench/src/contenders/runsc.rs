//! `runsc`: gVisor. The box's system calls are answered by a kernel written in Go, which runs as a process of
//! the host; a second process opens files on its behalf.

use tare_reports::document::Class;

use super::Needs;
use super::oci::{Bundled, NO_OVERLAY, Runtime, SECCOMP, with_the_labs_overlay};

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
    /// No network but loopback; and the filter and CAP_NET_RAW of the bundle, which it would otherwise pass over.
    const OPTIONS: &'static [&'static str] = &["--network=none", "--oci-seccomp", "--net-raw"];

    /// The namespace's interface and its address become those of its own network stack.
    const LINKED_OPTIONS: &'static [&'static str] = &["--network=sandbox", "--oci-seccomp", "--net-raw"];

    /// Seen with release 20221219.
    fn unconnected(&self) -> Option<&'static str> {
        crate::network::every_namespace_shows("/proc/sys/net/core/rmem_default").then_some(
            "it takes every network namespace for the host's, for this kernel shows net.core.rmem_default in each, and \
             refuses",
        )
    }

    /// Two processes in Go, each in namespaces of its own.
    fn needs(&self) -> Needs {
        let namespaces = &["ipc", "ipc", "mnt", "mnt", "net", "net", "pid", "user", "uts", "uts"];
        Needs { tasks: 32, namespaces, ..with_the_labs_overlay(Self::CLASS) }
    }

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

    fn not_expressed(&self) -> Vec<String> {
        [
            NO_OVERLAY,
            "kernel: not the host's; namespaces, mounts, devices, masked and read-only paths are those of gVisor's \
             own, which runs in namespaces of the host",
            "cgroups: it makes one in every v1 tree there is; its own two processes and their threads count in the \
             limits",
            "environment: it adds HOME",
            SECCOMP,
        ]
        .map(str::to_owned)
        .into()
    }
}
