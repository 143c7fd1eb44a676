//! `runc`: the reference runtime, detached, with a bundle written and an overlay mounted for it inside the
//! clock, because it does neither itself.

mod config;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use tare_reports::document::{Accel, Class};

use super::{Contender, Description, Found, Missing, Surroundings, Undo, example, find, text, version_of};
use crate::site::{Site, Start};
use crate::spawner::protocol::{Launch, Overlay};

/// See the file's head.
#[derive(Debug, Default)]
pub struct Runc {
    program: Option<PathBuf>,
}

impl Runc {
    fn argv(&self, site: &Site, words: &[&str]) -> Vec<String> {
        let program = self.program.as_deref().map_or_else(|| "runc".into(), text);
        let mut argv = vec![program, "--root".into(), text(&state(site))];
        argv.extend(words.iter().map(|w| (*w).to_owned()));
        argv
    }

    fn run(&self, site: &Site, start: &Start) -> Vec<String> {
        let (bundle, pid_file) = (text(&site.instance(start)), text(&pid_file(site, start)));
        self.argv(site, &["run", "--detach", "--bundle", &bundle, "--pid-file", &pid_file, &start.id])
    }

    fn undo(&self, site: &Site, start: &Start, delete: &[&str]) -> Vec<Undo> {
        vec![
            Undo::Command(self.argv(site, delete)),
            Undo::Unmount(site.instance(start).join("merged")),
            Undo::Remove(site.instance(start)),
        ]
    }
}

impl Contender for Runc {
    fn description(&self) -> Description<'_> {
        Description {
            name: "runc",
            class: Class::Container,
            about: "the reference runtime, detached, given the same box as tare",
            inside_clock: &[
                "bundle written",
                "pipes",
                "request to the spawner",
                "overlay mounted by the lab",
                "posix_spawn of runc",
                "runc run",
                "READY",
            ],
            ..Description::default()
        }
    }

    fn probe(&mut self, surroundings: &Surroundings) -> Result<Found, Missing> {
        let program = find("TARE_RUNC", "runc").ok_or_else(|| {
            Missing::new(
                "runc is not on PATH and TARE_RUNC is not set",
                "./scripts/setup (or apt-get install runc)",
            )
        })?;
        if !surroundings.root {
            return Err(Missing::root("runc with cgroup limits"));
        }
        let version = version_of(&program, "--version")?;
        self.program = Some(program);
        Ok(Found {
            version,
            accel: Accel::Native,
            not_expressed: vec![
                "it mounts no overlay: the lab mounts it inside the clock".into(),
                "seccomp: no refusal of personality by value, nor of system calls newer than the filter"
                    .into(),
            ],
        })
    }

    fn launch(&mut self, site: &Site, start: &Start) -> Result<Launch> {
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

    fn command(&mut self, site: &Site) -> Vec<String> {
        self.run(site, &example())
    }

    fn pid_file(&self, site: &Site, start: &Start) -> Option<PathBuf> {
        Some(pid_file(site, start))
    }

    fn teardown(&self, site: &Site, start: &Start) -> Vec<Undo> {
        self.undo(site, start, &["delete", &start.id])
    }

    fn rescue(&self, site: &Site, start: &Start) -> Vec<Undo> {
        self.undo(site, start, &["delete", "--force", &start.id])
    }

    fn leaves(&self, site: &Site, start: &Start) -> Vec<PathBuf> {
        let mut paths = site.cgroups_of(start);
        paths.extend([site.instance(start), state(site).join(&start.id)]);
        paths
    }
}

fn state(site: &Site) -> PathBuf {
    site.dir().join("runc")
}

fn pid_file(site: &Site, start: &Start) -> PathBuf {
    site.instance(start).join("pid")
}
