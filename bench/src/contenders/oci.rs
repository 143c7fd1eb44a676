//! What the runtimes that take OCI bundles have in common: a bundle written and an overlay mounted for them
//! inside the clock, because they do neither themselves; started detached; `delete` afterwards.

mod config;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Undo, text};
use crate::site::{Site, Start};
use crate::spawner::protocol::{Launch, Overlay};

/// One such runtime.
#[derive(Debug)]
pub(super) struct Oci {
    /// Its name, which its state directory gets too.
    name: &'static str,
    /// The program; its name as long as it has not been found.
    program: PathBuf,
    /// Words before the program when it starts a box.
    wrapper: Vec<String>,
}

impl Oci {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, program: name.into(), wrapper: Vec::new() }
    }

    /// Tells where it was found, and what must stand before it when it starts a box.
    pub(super) fn found(&mut self, program: PathBuf, wrapper: Vec<String>) {
        self.program = program;
        self.wrapper = wrapper;
    }

    /// What of the common box such a runtime cannot express.
    pub(super) fn not_expressed() -> Vec<String> {
        vec![
            "it mounts no overlay: the lab mounts it inside the clock".into(),
            "cgroups: it makes one in every v1 tree there is, tare only in those of its limits".into(),
            "devices: it lets any node be made, and ours be made anew; runc opens /dev/net/tun too".into(),
            "environment: it adds HOME".into(),
            "masked paths: covered under other flags and sizes than tare's".into(),
            "signals: it resets none, and posix_spawn leaves one or two of the C library's own ignored"
                .into(),
            "seccomp: no refusal of personality by value, nor of system calls newer than the filter".into(),
        ]
    }

    /// Writes the bundle and says how the box is started.
    pub(super) fn launch(&self, site: &Site, start: &Start) -> Result<Launch> {
        let dir = site.instance(start);
        fs::create_dir(&dir).with_context(|| format!("make the bundle {}", dir.display()))?;
        let config = config::config(site, start);
        let file = dir.join("config.json");
        fs::write(&file, serde_json::to_vec(&config)?)
            .with_context(|| format!("write {}", file.display()))?;
        Ok(Launch::Command {
            argv: self.run(site, start),
            env: Vec::new(),
            overlay: Some(Overlay { lower: site.rootfs(), dir }),
            dies_with_parent: false,
        })
    }

    /// The command that starts a box.
    pub(super) fn run(&self, site: &Site, start: &Start) -> Vec<String> {
        let (bundle, pid_file) = (text(&site.instance(start)), text(&self.pid_file(site, start)));
        let words = ["run", "--detach", "--bundle", &bundle, "--pid-file", &pid_file, &start.id];
        self.wrapper.iter().cloned().chain(self.argv(site, &words)).collect()
    }

    /// How a box in the state that `words` (a form of `delete`) take is removed. It needs no wrapper: removing
    /// is by the paths in the runtime's own state.
    pub(super) fn undo(&self, site: &Site, start: &Start, words: &[&str]) -> Vec<Undo> {
        vec![
            Undo::Command(self.argv(site, words)),
            Undo::Unmount(site.instance(start).join("merged")),
            Undo::Remove(site.instance(start)),
        ]
    }

    /// What must be gone after an instance.
    pub(super) fn leaves(&self, site: &Site, start: &Start) -> Vec<PathBuf> {
        let mut paths = site.cgroups_of(start);
        paths.extend([site.instance(start), self.state(site).join(&start.id)]);
        paths
    }

    pub(super) fn pid_file(&self, site: &Site, start: &Start) -> PathBuf {
        site.instance(start).join("pid")
    }

    fn state(&self, site: &Site) -> PathBuf {
        site.dir().join(self.name)
    }

    fn argv(&self, site: &Site, words: &[&str]) -> Vec<String> {
        let program: &Path = &self.program;
        let mut argv = vec![text(program), "--root".into(), text(&self.state(site))];
        argv.extend(words.iter().map(|w| (*w).to_owned()));
        argv
    }
}
