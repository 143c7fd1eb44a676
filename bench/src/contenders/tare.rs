//! `tare`: our runtime through its command line, detached like `runc run -d`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use tare_reports::document::{Accel, Class};

use super::{
    CPUS, Contender, Description, Fetches, Found, HOSTNAME, MEMORY, Missing, PIDS, Surroundings, Undo,
    Wiring, example, text, version_of,
};
use crate::image::Image;
use crate::network::Link;
use crate::program::{answer, is_program};
use crate::registry;
use crate::site::{Site, Start};
use crate::spawner::protocol::{Launch, Mark};

/// See the file's head.
#[derive(Debug, Default)]
pub struct Tare {
    program: Option<PathBuf>,
}

impl Tare {
    pub(super) fn argv(&self, site: &Site, words: &[&str]) -> Vec<String> {
        let program = self.program.as_deref().map_or_else(|| "tare-runtime".into(), text);
        let mut argv = vec![program, "--root".into(), text(&site.runtime_root())];
        argv.extend(words.iter().map(|w| (*w).to_owned()));
        argv
    }

    fn run(&self, site: &Site, start: &Start) -> Vec<String> {
        let memory = MEMORY.to_string();
        let (pids, cpus) = (PIDS.to_string(), CPUS.to_string());
        let (rootfs, pid_file) = (text(&site.rootfs()), text(&pid_file(site, start)));
        self.argv(
            site,
            &[
                "run",
                "--detach",
                "--rootfs",
                &rootfs,
                "--hostname",
                HOSTNAME,
                "--cgroup-parent",
                site.cgroup_parent(),
                "--memory",
                &memory,
                "--pids",
                &pids,
                "--cpus",
                &cpus,
                "--record-missing-limits",
                "--pid-file",
                &pid_file,
                &start.id,
                "--",
                "/payload",
                &start.nonce,
            ],
        )
    }
}

impl Contender for Tare {
    fn description(&self) -> Description<'_> {
        Description {
            name: "tare",
            class: Class::Container,
            about: "our runtime through its command line, detached",
            inside_clock: &[
                "pipes",
                "request to the spawner",
                "posix_spawn of tare-runtime",
                "state directory",
                "cgroups and limits",
                "namespaces",
                "overlay",
                "mounts and devices",
                "pivot_root",
                "capabilities and seccomp",
                "exec",
                "READY",
            ],
            ..Description::default()
        }
    }

    fn probe(&mut self, surroundings: &Surroundings) -> Result<Found, Missing> {
        let program = find_runtime().map_err(|e| Missing::new(format!("{e:#}"), "cargo build --release"))?;
        let version = version_of(&program, "--version")?;
        self.program = Some(program);
        let mut not_expressed = Vec::new();
        if !surroundings.root {
            not_expressed.push("rootless: limits are recorded as not applied where no cgroup is ours".into());
        }
        Ok(Found { version, accel: Accel::Native, not_expressed })
    }

    fn launch(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        Ok(Launch::Command {
            argv: self.run(site, start),
            env: Vec::new(),
            overlay: None,
            dies_with_parent: false,
        })
    }

    fn takes_images(&self) -> Result<(), &'static str> {
        Ok(())
    }

    fn keeps_images(&self) -> Result<&'static [&'static str], &'static str> {
        Ok(&[])
    }

    fn keeps_in(&self, site: &Site, _: &Image) -> Vec<PathBuf> {
        vec![site.runtime_root()]
    }

    fn fetches(&self) -> Result<&dyn Fetches, &'static str> {
        registry::possible().map(|()| self as _)
    }

    fn take_image(&mut self, site: &Site, image: &Image) -> Result<()> {
        let argv = self.argv(site, &["import", &text(&image.archive()), &image.tag]);
        answer(std::path::Path::new(&argv[0]), &argv[1..], &[]).map(drop)
    }

    fn launch_image(&mut self, site: &Site, start: &Start, image: &Image) -> Result<Launch> {
        let mut argv = self.run(site, start);
        // The image says root, environment and working directory; the box's name is an option then.
        let rootfs = argv.iter().position(|word| word == "--rootfs").context("the command names no root")?;
        argv.drain(rootfs..rootfs + 2);
        let id = argv.iter().position(|word| *word == start.id).context("the command names no box")?;
        argv.truncate(id);
        argv.extend(["--name", &start.id, &image.tag, "--"].map(str::to_owned));
        argv.extend(image.argv(&start.nonce, &[]));
        Ok(Launch::Command { argv, env: Vec::new(), overlay: None, dies_with_parent: false })
    }

    fn wiring(&self) -> Wiring {
        Wiring::Namespace
    }

    fn launch_linked(&mut self, site: &Site, start: &Start, link: &Link) -> Result<Launch> {
        let mut argv = self.run(site, start);
        let id = argv.iter().position(|word| *word == start.id).context("the command names no box")?;
        argv.splice(id..id, ["--network-namespace".to_owned(), text(link.namespace()?)]);
        argv.push(link.connect());
        Ok(Launch::Command { argv, env: Vec::new(), overlay: None, dies_with_parent: false })
    }

    fn launch_watched(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        let mut argv = self.run(site, start);
        let id = argv.iter().position(|word| *word == start.id).context("the command names no box")?;
        argv.splice(id..id, ["--marks".to_owned(), text(&marks_file(site, start))]);
        Ok(Launch::Command { argv, env: Vec::new(), overlay: None, dies_with_parent: false })
    }

    fn marks(&self, site: &Site, start: &Start) -> Vec<Mark> {
        // Written when the client is done; one that cannot be read is a start of which nothing was seen.
        let file = std::fs::read(marks_file(site, start)).unwrap_or_default();
        serde_json::from_slice(&file).unwrap_or_default()
    }

    fn command(&mut self, site: &Site) -> Vec<String> {
        self.run(site, &example())
    }

    fn pid_file(&self, site: &Site, start: &Start) -> Option<PathBuf> {
        Some(pid_file(site, start))
    }

    fn teardown(&self, site: &Site, start: &Start) -> Vec<Undo> {
        vec![Undo::Command(self.argv(site, &["delete", &start.id])), Undo::Remove(pid_file(site, start))]
    }

    fn rescue(&self, site: &Site, start: &Start) -> Vec<Undo> {
        vec![
            Undo::Command(self.argv(site, &["delete", "--force", &start.id])),
            Undo::Remove(pid_file(site, start)),
        ]
    }

    fn leaves(&self, site: &Site, start: &Start) -> Vec<PathBuf> {
        let mut paths = site.cgroups_of(start);
        paths.push(site.runtime_root().join(&start.id));
        paths
    }
}

/// Only a watched start has one; the measure takes it away.
fn marks_file(site: &Site, start: &Start) -> PathBuf {
    crate::spans::file(site, start, "marks")
}

fn pid_file(site: &Site, start: &Start) -> PathBuf {
    site.boxes().join(format!("{}.pid", start.id))
}

/// `tare-runtime`: where TARE_RUNTIME points, else beside this executable. A benchmark's executable lies one
/// directory deeper.
fn find_runtime() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("TARE_RUNTIME") {
        return Ok(path.into());
    }
    let exe = std::env::current_exe().context("find this executable")?;
    exe.ancestors()
        .skip(1)
        .take(2)
        .map(|dir| dir.join("tare-runtime"))
        .find(|path| is_program(path))
        .with_context(|| format!("no tare-runtime beside {} and TARE_RUNTIME is not set", exe.display()))
}
