//! `crun`: the runtime written in C, detached, on a bundle. And `crun-wrapper`: what of crun's figure is not
//! crun.
//!
//! crun starts no box where v1 trees and a v2 tree with controllers in it stand side by side ("cgroups in
//! hybrid mode not supported"). On such a host it is started in a mount namespace from which the v2 tree was
//! taken away, by the usual tools: `unshare -m sh -c 'umount /sys/fs/cgroup/unified; exec crun ...'`. Three
//! more programs are executed for that, inside the clock. The row `crun-wrapper` is the same wrapper around the
//! bare payload: its distance from `process` is what the wrapper costs. Elsewhere crun is started plainly, and
//! that row is skipped.

use std::path::Path;

use anyhow::Result;
use tare_reports::document::{Accel, Class};

use super::oci::{Bundled, Runtime, as_of_runc, with_the_labs_overlay};
use super::{Contender, Description, Found, Missing, Needs, Surroundings, example, text, version_of};
use crate::program::on_path;
use crate::site::{Site, Start};
use crate::spawner::protocol::Launch;

/// The tree that crun looks at to tell whether it is on such a host.
const UNIFIED: &str = "/sys/fs/cgroup/unified";

/// The words before a command that take the v2 tree from its sight; none where crun needs none.
fn wrapper(unified: &Path) -> Result<Vec<String>, Missing> {
    let controllers = std::fs::read_to_string(unified.join("cgroup.controllers")).unwrap_or_default();
    if controllers.trim().is_empty() {
        return Ok(Vec::new());
    }
    let tool = |name: &str| {
        let lacking =
            || Missing::new(format!("{name} is not on PATH"), format!("install {name} (util-linux)"));
        on_path(name).map(|path| text(&path)).ok_or_else(lacking)
    };
    let script = format!("{} {} && exec \"$@\"", tool("umount")?, unified.display());
    Ok(vec![tool("unshare")?, "-m".into(), "/bin/sh".into(), "-c".into(), script, "sh".into()])
}

/// See the file's head.
pub type Crun = Bundled<InC>;

/// What sets crun apart.
#[derive(Debug, Default)]
pub struct InC {
    wrapped: bool,
}

impl Runtime for InC {
    const NAME: &'static str = "crun";
    const VARIABLE: &'static str = "TARE_CRUN";
    const ABOUT: &'static str = "the runtime written in C, detached, given the same box as tare";
    const FIX: &'static str = "./scripts/setup (or apt-get install crun)";

    fn inside_clock(&self) -> &'static [&'static str] {
        if self.wrapped {
            &[
                "bundle written",
                "pipes",
                "request to the spawner",
                "overlay mounted by the lab",
                "posix_spawn of unshare, sh and umount, which hide the v2 cgroup tree (alone: crun-wrapper)",
                "exec of crun",
                "crun run",
                "READY",
            ]
        } else {
            &[
                "bundle written",
                "pipes",
                "request to the spawner",
                "overlay mounted by the lab",
                "posix_spawn of crun",
                "crun run",
                "READY",
            ]
        }
    }

    fn needs(&self) -> Needs {
        Needs { keys: 1, ..with_the_labs_overlay(Self::CLASS) }
    }

    fn wrapper(&mut self) -> Result<Vec<String>, Missing> {
        let words = wrapper(Path::new(UNIFIED))?;
        self.wrapped = !words.is_empty();
        Ok(words)
    }

    fn not_expressed(&self) -> Vec<String> {
        let mut not_expressed = as_of_runc();
        not_expressed.push(
            "mounts: its root is not nodev, its masks are the host's /dev/null, and /dev has a link `core`"
                .into(),
        );
        if self.wrapped {
            not_expressed.push(format!(
                "it refuses hosts whose v2 cgroup tree has controllers beside v1 trees: it is started without \
                 {UNIFIED} in sight, by programs whose cost the row crun-wrapper shows"
            ));
        }
        not_expressed
    }
}

/// See the file's head.
#[derive(Debug, Default)]
pub struct CrunWrapper {
    wrapper: Vec<String>,
}

impl CrunWrapper {
    fn argv(&self, site: &Site, start: &Start) -> Vec<String> {
        let payload = [text(&site.payload()), start.nonce.clone()];
        self.wrapper.iter().cloned().chain(payload).collect()
    }
}

impl Contender for CrunWrapper {
    fn description(&self) -> Description<'_> {
        Description {
            name: "crun-wrapper",
            class: Class::Process,
            about: "what crun is wrapped in where cgroups are hybrid, around the bare payload: calibrates crun",
            inside_clock: &[
                "pipes",
                "request to the spawner",
                "posix_spawn of unshare, sh and umount",
                "exec of the payload",
                "READY",
            ],
            ..Description::default()
        }
    }

    fn probe(&mut self, surroundings: &Surroundings) -> Result<Found, Missing> {
        self.wrapper = wrapper(Path::new(UNIFIED))?;
        if self.wrapper.is_empty() {
            let reason = "crun needs no wrapper here: no v2 cgroup tree with controllers beside v1 trees";
            return Err(Missing { reason: reason.into(), fix: None });
        }
        if !surroundings.root {
            return Err(Missing::root("unshare -m without a user namespace"));
        }
        Ok(Found {
            version: version_of(Path::new(&self.wrapper[0]), "--version")?,
            accel: Accel::Native,
            not_expressed: vec!["it has no box but a mount namespace: no limits, no confinement".into()],
        })
    }

    fn launch(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        Ok(Launch::Command {
            argv: self.argv(site, start),
            env: Vec::new(),
            overlay: None,
            dies_with_parent: false,
        })
    }

    fn needs(&self) -> Needs {
        Needs { namespaces: &["mnt"], ..Needs::of(Class::Process) }
    }

    fn command(&mut self, site: &Site) -> Vec<String> {
        self.argv(site, &example())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_v2_tree_with_controllers_needs_the_wrapper() {
        let tree = tempfile::tempdir().unwrap();
        assert_eq!(wrapper(tree.path()), Ok(Vec::new()), "there is none");
        let file = tree.path().join("cgroup.controllers");
        std::fs::write(&file, "\n").unwrap();
        assert_eq!(wrapper(tree.path()), Ok(Vec::new()), "it has none");
        std::fs::write(&file, "hugetlb misc\n").unwrap();
        let words = wrapper(tree.path()).unwrap();
        assert!(words[0].ends_with("/unshare"), "{words:?}");
        assert!(words[4].contains(&format!("umount {} && exec", tree.path().display())), "{words:?}");
    }
}
