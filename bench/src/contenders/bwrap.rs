//! `bwrap`: bubblewrap, the tool with which desktop applications are boxed.
//!
//! It takes file systems, capabilities and a filter, and knows no cgroup and no overlay: the lab makes these
//! for it. It mounts no sysfs, so its box has an empty /sys. A path that is to be read-only in /proc it covers with
//! the host's own, for it can bind only what the host has.

use std::ffi::CStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tare_reports::document::Class;
use tare_runtime::confinement::{CAPABILITIES, Cover, MASKED_PATHS, READONLY_PATHS};

use super::assisted::{Tool, merged};
use super::oci::{NO_OVERLAY, with_the_labs_overlay};
use super::{
    Contender, Description, Found, HOSTNAME, Missing, Needs, Surroundings, Undo, Wiring, example, text,
};
use crate::network::Link;
use crate::site::{Site, Start};
use crate::spawner::protocol::{Assisted, Launch};

const NOT_EXPRESSED: &[&str] = &[
    NO_OVERLAY,
    "cgroups and limits: it makes none: the lab makes them inside the clock and starts it, and so the process \
     with which it waits, in them",
    "capabilities: started by root it leaves the bounding set whole, and tare's are inheritable and ambient too",
    "mounts: it mounts no sysfs, so /sys is empty; what is read-only in /proc is the host's, bound; its mounts \
     are flagged otherwise",
    "devices: bound from the host, not made; /dev has a link `core`",
    "environment: it adds PWD",
];

/// See the file's head.
#[derive(Debug)]
pub struct Bwrap {
    tool: Tool,
}

impl Default for Bwrap {
    fn default() -> Self {
        Self { tool: Tool::new("bwrap", &[]) }
    }
}

impl Bwrap {
    fn argv(&self, site: &Site, start: &Start, link: Option<&Link>) -> Vec<String> {
        let (root, filter) = (text(&merged(site, start)), Assisted::FILE.to_string());
        let mut words: Vec<&str> = vec![
            "--unshare-ipc",
            "--unshare-pid",
            "--unshare-net",
            "--unshare-uts",
            "--unshare-cgroup",
            "--as-pid-1",
            "--die-with-parent",
            "--new-session",
            "--hostname",
            HOSTNAME,
            "--bind",
            &root,
            "/",
            "--proc",
            "/proc",
            "--dev",
            "/dev",
            "--perms",
            "1777",
            "--size",
            "67108864",
            "--tmpfs",
            "/dev/shm",
            "--mqueue",
            "/dev/mqueue",
        ];
        for path in READONLY_PATHS.iter().copied().filter_map(of_proc) {
            words.extend(["--ro-bind", path, path]);
        }
        for (path, cover) in MASKED_PATHS {
            let Some(path) = of_proc(path) else { continue };
            match cover {
                Cover::Null => words.extend(["--ro-bind", "/dev/null", path]),
                Cover::Empty => words.extend(["--tmpfs", path, "--remount-ro", path]),
            }
        }
        words.extend(["--cap-drop", "ALL"]);
        for capability in CAPABILITIES {
            words.extend(["--cap-add", capability.name]);
        }
        words.extend(["--seccomp", &filter, "--"]);
        // It cannot be told of a network namespace: it is started in the box's own.
        words.retain(|word| link.is_none() || *word != "--unshare-net");
        let mut argv = self.tool.argv(words.into_iter().map(str::to_owned).collect(), start);
        argv.extend(link.map(Link::connect));
        argv
    }
}

/// The path, where it lies in /proc and this kernel has it.
fn of_proc(path: &'static CStr) -> Option<&'static str> {
    let path = path.to_str().ok()?;
    (path.starts_with("/proc/") && Path::new(path).exists()).then_some(path)
}

/// The filter as bwrap reads it: the kernel's own instructions, one after another.
fn filter() -> Vec<u8> {
    let instructions = tare_runtime::seccomp_program().iter();
    let bytes = instructions.flat_map(|i| {
        let mut bytes = i.code.to_ne_bytes().to_vec();
        bytes.extend([i.jt, i.jf]);
        bytes.extend(i.k.to_ne_bytes());
        bytes
    });
    bytes.collect()
}

fn filter_file(site: &Site) -> PathBuf {
    site.dir().join("bwrap.seccomp")
}

impl Contender for Bwrap {
    fn description(&self) -> Description<'_> {
        Description {
            name: "bwrap",
            class: Class::Container,
            about: "bubblewrap, given tare's box as far as it can say it",
            inside_clock: &[
                "instance directory",
                "pipes",
                "request to the spawner",
                "overlay mounted by the lab",
                "cgroups and limits made by the lab",
                "clone3 and exec of bwrap in them",
                "bwrap",
                "READY",
            ],
            ..Description::default()
        }
    }

    fn probe(&mut self, surroundings: &Surroundings) -> Result<Found, Missing> {
        let fix = "./scripts/setup --peers (or apt-get install bubblewrap)";
        self.tool.probe(("TARE_BWRAP", "bwrap", fix), surroundings, NOT_EXPRESSED)
    }

    fn prepare(&mut self, site: &Site) -> Result<()> {
        let file = filter_file(site);
        std::fs::write(&file, filter()).with_context(|| format!("write {}", file.display()))?;
        self.tool.prepare(site)
    }

    fn launch(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        self.tool.launch(site, start, self.argv(site, start, None), Some(filter_file(site)))
    }

    fn wiring(&self) -> Wiring {
        Wiring::Namespace
    }

    fn launch_linked(&mut self, site: &Site, start: &Start, link: &Link) -> Result<Launch> {
        let argv = self.argv(site, start, Some(link));
        Tool::linked(self.tool.launch(site, start, argv, Some(filter_file(site)))?, link)
    }

    fn command(&mut self, site: &Site) -> Vec<String> {
        self.argv(site, &example(), None)
    }

    fn needs(&self) -> Needs {
        Needs { tasks: 2, ..with_the_labs_overlay(Class::Container) }
    }

    fn teardown(&self, site: &Site, start: &Start) -> Vec<Undo> {
        self.tool.undo(site, start)
    }

    fn leaves(&self, site: &Site, start: &Start) -> Vec<PathBuf> {
        self.tool.leaves(site, start)
    }
}
