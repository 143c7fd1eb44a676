//! What the runtimes that take OCI bundles have in common: a bundle written and an overlay mounted for them
//! inside the clock, because they do neither themselves; started detached; `delete` afterwards.
//!
//! To add one: a type that implements [`Runtime`], the description of what sets it apart.

mod config;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tare_reports::document::{Accel, Class};

use super::tool::tool;
use super::{
    Contender, Description, Found, Missing, Needs, Surroundings, Undo, Wiring, example, text, version_of,
};
use crate::image::Image;
use crate::network::Link;
use crate::site::{Site, Start};
use crate::spawner::protocol::{Launch, Overlay};

/// What sets one of them apart from the others.
pub trait Runtime: std::fmt::Debug + Default {
    /// Its name; so its program is called, and its state directory.
    const NAME: &'static str;
    /// The environment variable that names another program.
    const VARIABLE: &'static str;
    /// What kind of box it makes.
    const CLASS: Class = Class::Container;
    /// One line on what it is.
    const ABOUT: &'static str;
    /// The command that installs it.
    const FIX: &'static str;
    /// Options between the program and its command.
    const OPTIONS: &'static [&'static str] = &[];
    /// The same for a box that has a network.
    const LINKED_OPTIONS: &'static [&'static str] = Self::OPTIONS;

    /// What is inside the clock, in order.
    fn inside_clock(&self) -> &'static [&'static str];

    /// Looks whether this host needs words before the program when it starts a box, and says which.
    ///
    /// # Errors
    /// Why it cannot run here.
    fn wrapper(&mut self) -> Result<Vec<String>, Missing> {
        Ok(Vec::new())
    }

    /// Why its boxes cannot join a network namespace on this host, if they cannot.
    fn unconnected(&self) -> Option<&'static str> {
        None
    }

    /// What one more of its boxes takes: the lab's overlay for it among that.
    fn needs(&self) -> Needs {
        with_the_labs_overlay(Self::CLASS)
    }

    /// What of the common box it cannot express.
    fn not_expressed(&self) -> Vec<String> {
        as_of_runc()
    }
}

/// What runc cannot express of the common box, and nobody who does as runc does.
pub(super) fn as_of_runc() -> Vec<String> {
    [
        NO_OVERLAY,
        "cgroups: it makes one in every v1 tree there is, tare only in those of its limits",
        "devices: it lets any node be made, and ours be made anew; runc opens /dev/net/tun too",
        "environment: it adds HOME",
        "masked paths: covered under other flags and sizes than tare's",
        SIGNALS,
        SECCOMP,
    ]
    .map(str::to_owned)
    .into()
}

/// What a box takes whose overlay the lab mounts.
pub(super) fn with_the_labs_overlay(class: Class) -> Needs {
    Needs { mounts: 1, ..Needs::of(class) }
}

/// Said of whoever mounts none.
pub(super) const NO_OVERLAY: &str = "it mounts no overlay: the lab mounts it inside the clock";
/// Said of whoever is started by posix_spawn and passes signals on as they are.
pub(super) const SIGNALS: &str =
    "signals: it resets none, and posix_spawn leaves one or two of the C library's own ignored";
/// Said of whoever takes our filter in the words of an OCI bundle.
pub(super) const SECCOMP: &str =
    "seccomp: no refusal of personality by value, nor of system calls newer than the filter";

/// The contender that such a runtime is.
#[derive(Debug)]
pub struct Bundled<R> {
    runtime: R,
    /// The program; its name as long as it has not been found.
    program: PathBuf,
    /// Words before the program when it starts a box.
    wrapper: Vec<String>,
}

impl<R: Runtime> Default for Bundled<R> {
    fn default() -> Self {
        Self { runtime: R::default(), program: R::NAME.into(), wrapper: Vec::new() }
    }
}

impl<R: Runtime> Bundled<R> {
    /// The command that starts a box.
    fn run(&self, site: &Site, start: &Start, options: &[&str]) -> Vec<String> {
        let (bundle, pid_file) = (text(&site.instance(start)), text(&pid_file(site, start)));
        let words = ["run", "--detach", "--bundle", &bundle, "--pid-file", &pid_file, &start.id];
        self.wrapper.iter().cloned().chain(argv_with::<R>(&self.program, site, options, &words)).collect()
    }

    /// Writes the bundle and says how the box is started.
    fn launch_by(
        &self,
        site: &Site,
        start: &Start,
        link: Option<&Link>,
        image: Option<&Image>,
    ) -> Result<Launch> {
        let dir = site.instance(start);
        fs::create_dir(&dir).with_context(|| format!("make the bundle {}", dir.display()))?;
        let mut config = config::config(site, start);
        if let Some(link) = link {
            config::link(&mut config, link)?;
        }
        if let Some(image) = image {
            config::image(&mut config, start, image);
        }
        let lower = image.map_or_else(|| site.rootfs(), Image::tree);
        let file = dir.join("config.json");
        fs::write(&file, serde_json::to_vec(&config)?)
            .with_context(|| format!("write {}", file.display()))?;
        let options = if link.is_some() { R::LINKED_OPTIONS } else { R::OPTIONS };
        Ok(Launch::Command {
            argv: self.run(site, start, options),
            env: Vec::new(),
            overlay: Some(Overlay { lower, dir }),
            dies_with_parent: false,
        })
    }

    /// How a box in the state that `words` (a form of `delete`) take is removed. It needs no wrapper: removing
    /// is by the paths in the runtime's own state.
    fn undo(&self, site: &Site, start: &Start, words: &[&str]) -> Vec<Undo> {
        vec![
            Undo::Command(argv::<R>(&self.program, site, words)),
            Undo::Unmount(site.instance(start).join("merged")),
            Undo::Remove(site.instance(start)),
        ]
    }
}

impl<R: Runtime> Contender for Bundled<R> {
    fn description(&self) -> Description<'_> {
        Description {
            name: R::NAME,
            class: R::CLASS,
            about: R::ABOUT,
            inside_clock: self.runtime.inside_clock(),
            ..Description::default()
        }
    }

    fn probe(&mut self, surroundings: &Surroundings) -> Result<Found, Missing> {
        let program = tool(R::VARIABLE, R::NAME, R::FIX)?;
        if !surroundings.root {
            return Err(Missing::root(&format!("{} with cgroup limits", R::NAME)));
        }
        let version = version_of(&program, "--version")?;
        self.wrapper = self.runtime.wrapper()?;
        self.program = program;
        Ok(Found { version, accel: Accel::Native, not_expressed: self.runtime.not_expressed() })
    }

    fn launch(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        self.launch_by(site, start, None, None)
    }

    fn wiring(&self) -> Wiring {
        self.runtime.unconnected().map_or(Wiring::Namespace, Wiring::LeftOut)
    }

    fn launch_linked(&mut self, site: &Site, start: &Start, link: &Link) -> Result<Launch> {
        self.launch_by(site, start, Some(link), None)
    }

    fn takes_images(&self) -> Result<(), &'static str> {
        Ok(())
    }

    fn launch_image(&mut self, site: &Site, start: &Start, image: &Image) -> Result<Launch> {
        self.launch_by(site, start, None, Some(image))
    }

    fn command(&mut self, site: &Site) -> Vec<String> {
        self.run(site, &example(), R::OPTIONS)
    }

    fn pid_file(&self, site: &Site, start: &Start) -> Option<PathBuf> {
        Some(pid_file(site, start))
    }

    fn needs(&self) -> Needs {
        self.runtime.needs()
    }

    fn teardown(&self, site: &Site, start: &Start) -> Vec<Undo> {
        self.undo(site, start, &["delete", &start.id])
    }

    fn rescue(&self, site: &Site, start: &Start) -> Vec<Undo> {
        self.undo(site, start, &["delete", "--force", &start.id])
    }

    fn leaves(&self, site: &Site, start: &Start) -> Vec<PathBuf> {
        let mut paths = site.cgroups_of(start);
        paths.extend([site.instance(start), state::<R>(site).join(&start.id)]);
        paths
    }
}

fn pid_file(site: &Site, start: &Start) -> PathBuf {
    site.instance(start).join("pid")
}

fn state<R: Runtime>(site: &Site) -> PathBuf {
    site.dir().join(R::NAME)
}

fn argv<R: Runtime>(program: &Path, site: &Site, words: &[&str]) -> Vec<String> {
    argv_with::<R>(program, site, R::OPTIONS, words)
}

fn argv_with<R: Runtime>(program: &Path, site: &Site, options: &[&str], words: &[&str]) -> Vec<String> {
    let mut argv = vec![text(program), "--root".into(), text(&state::<R>(site))];
    argv.extend(options.iter().chain(words).map(|word| (*word).to_owned()));
    argv
}
