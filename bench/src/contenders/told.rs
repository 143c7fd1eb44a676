//! What a contender tells of itself, and is told: what it is, what it found on this host or misses there, how its boxes
//! are taken down.

use std::path::PathBuf;

use tare_reports::document::{Accel, Class, Mode};

use crate::spawner::protocol::Made;
use crate::vm::kvm::Kvm;

/// What a contender found on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Version of the tool.
    pub version: String,
    /// What executes the payload's instructions.
    pub accel: Accel,
    /// What of the common box it cannot express, in words.
    pub not_expressed: Vec<String>,
}

/// Why a contender cannot run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// In words.
    pub reason: String,
    /// The command that would change it.
    pub fix: Option<String>,
}

impl Missing {
    /// A reason with the command that fixes it.
    pub fn new(reason: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { reason: reason.into(), fix: Some(fix.into()) }
    }

    /// For what only root can do here.
    pub fn root(what: &str) -> Self {
        Self::new(format!("{what} needs root"), "run the same command as root")
    }
}

/// What a contender is asked to look at when it is asked whether it can run.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Whether the run has root's rights.
    pub root: bool,
    /// Whether hardware virtualisation works here.
    pub kvm: Kvm,
}

/// One step of taking a box down, carried out by the lab or the spawner.
#[derive(Debug, Clone)]
pub enum Undo {
    /// Run the tool's own command.
    Command(Vec<String>),
    /// The same with an environment.
    CommandIn(Vec<String>, Vec<(String, String)>),
    /// Have the spawner take down what it made.
    Made(Made),
    /// Undo the overlay mount that the lab made.
    Unmount(PathBuf),
    /// Remove the cgroups below this path, within each hierarchy, in which nothing runs.
    IdleCgroups(String),
    /// Remove a file or a directory tree.
    Remove(PathBuf),
}

/// How a resumed box becomes ready: it runs again, answers a fresh `ping` as its first act, and touches memory.
#[derive(Debug)]
pub struct Resumption {
    /// Its monitor, which says when it runs.
    pub monitor: crate::channel::Channel,
    /// How much memory it touches first, KiB.
    pub touch_kib: u32,
}

/// What a contender is, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description<'a> {
    /// Its name on the command line.
    pub name: &'a str,
    /// What kind of box it makes.
    pub class: Class,
    /// One line on what it is.
    pub about: &'a str,
    /// What is inside the clock, in order.
    pub inside_clock: &'static [&'static str],
    /// How payload and lab talk.
    pub channel: &'static str,
    /// What state its boxes start from.
    pub mode: Mode,
    /// Whether something else than the payload may write to the channel before READY.
    pub noisy_channel: bool,
}

impl Default for Description<'_> {
    /// The common case: a container on inherited pipes, that only the payload writes to.
    fn default() -> Self {
        Self {
            name: "",
            class: Class::Container,
            about: "",
            inside_clock: &[],
            channel: "inherited pipes",
            mode: Mode::Warm,
            noisy_channel: false,
        }
    }
}
