//! What a line says about a new box: a bundle, a directory with options, or an image with options.
//!
//! Man page: runc-run(8). Look at it: `tare-runtime help run`

use std::path::{Path, PathBuf};

use tare_runtime::oci::Request;
use tare_runtime::{DEFAULT_CGROUP_PARENT, DEFAULT_PIDS, Id, Limits, MissingLimits, Spec};

use super::Outside;
use super::images::{self, FromImage};
use super::network;
use super::values::{bytes, cpus};
use crate::commands::{BOX, FROM_IMAGE};
use crate::words::{Opt, Said};

#[derive(Debug)]
pub(crate) struct RunOptions {
    pub(crate) detach: bool,
    pub(crate) asked: Asked,
    /// What completes a box from options.
    pub(crate) image: Option<FromImage>,
    pub(crate) marks: Option<PathBuf>,
    pub(crate) outside: Outside,
    pub(crate) id: Id,
}

/// What `run` was asked for.
#[derive(Debug)]
pub(crate) enum Asked {
    /// A box from options.
    Options(Box<Spec>),
    /// A box from a bundle.
    Bundle(Request),
}

pub(super) fn run(said: Said) -> Result<RunOptions, String> {
    let own = |options: &[Opt]| options.iter().map(|option| option.long).collect::<Vec<_>>();
    said.alone("bundle", &own(BOX))?;
    let word = said.word(0, |text| Ok::<_, String>(text.to_owned()))?.unwrap_or_default();
    let parent = said.values("cgroup-parent")?.pop().unwrap_or_else(|| DEFAULT_CGROUP_PARENT.to_owned());
    // No container's name has these in it.
    let is_image = word.contains([':', '/', '@']) && !said.has("rootfs") && !said.has("bundle");
    let (id, asked, image) = if is_image {
        let id = images::id(&word, &said)?;
        let mut spec = spec(id.clone(), Path::new("/"), parent, &said)?;
        spec.env = said.values("env")?;
        (id, Asked::Options(Box::new(spec)), Some(FromImage::parse(word, &said)?))
    } else {
        let id = Id::new(&word).map_err(|error| error.to_string())?;
        said.only_with("rootfs", &own(BOX))?;
        if let Some(option) = own(FROM_IMAGE).into_iter().find(|option| said.has(option)) {
            return Err(format!("--{option} has a meaning only with an image (such as {word}:latest)"));
        }
        let asked = match said.path("rootfs") {
            Some(_) if said.rest.is_empty() => {
                return Err("the command to execute is missing: give it after --".into());
            }
            Some(rootfs) => Asked::Options(Box::new(spec(id.clone(), &rootfs, parent, &said)?)),
            None if !said.rest.is_empty() => {
                return Err(format!(
                    "a command has a meaning only with --rootfs or an image, which has its tag in its name (such as \
                     {word}:latest)"
                ));
            }
            None => Asked::Bundle(request(id.clone(), &said, &parent)),
        };
        (id, asked, None)
    };
    Ok(RunOptions {
        detach: said.has("detach"),
        asked,
        image,
        marks: said.path("marks"),
        outside: Outside::parse(&said),
        id,
    })
}

fn spec(id: Id, rootfs: &Path, cgroup_parent: String, said: &Said) -> Result<Spec, String> {
    let rootfs = std::path::absolute(rootfs).map_err(|e| format!("--rootfs {}: {e}", rootfs.display()))?;
    let mut spec = Spec::new(id, rootfs, said.rest.clone());
    if let Some(hostname) = said.values("hostname")?.pop() {
        spec.hostname = hostname;
    }
    let env = said.values("env")?;
    if env.iter().any(|entry| entry.starts_with("PATH=")) {
        spec.env.clear();
    }
    spec.env.extend(env);
    spec.cwd = said.path("cwd").unwrap_or_else(|| "/".into());
    spec.limits = Limits {
        memory: said.value("memory", bytes)?,
        pids: Some(said.value("pids", str::parse)?.unwrap_or(DEFAULT_PIDS)),
        cpus: said.value("cpus", cpus)?,
    };
    spec.volumes = images::volumes(said)?;
    spec.cgroup_parent = cgroup_parent;
    spec.missing_limits = missing_limits(said);
    spec.terminal = said.has("terminal");
    spec.network = network::network(said)?;
    spec.until = said.values("until")?.pop();
    spec.marks = said.has("marks");
    Ok(spec)
}

pub(super) fn request(id: Id, said: &Said, cgroup_parent: &str) -> Request {
    Request {
        id,
        bundle: said.path("bundle").unwrap_or_else(|| ".".into()),
        cgroup_parent: cgroup_parent.to_owned(),
        missing_limits: missing_limits(said),
    }
}

pub(super) fn missing_limits(said: &Said) -> MissingLimits {
    if said.has("record-missing-limits") { MissingLimits::Record } else { MissingLimits::Refuse }
}
