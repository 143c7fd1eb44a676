//! OCI bundles: the box as the standard describes it, a directory with a root file system and a
//! `config.json`.
//!
//! The [OCI runtime specification](https://github.com/opencontainers/runtime-spec) is what engines such as
//! Docker and Podman write, and what runc reads. Without it none of their boxes could be ours. What it says
//! is checked here, all of it, before anything is made, and becomes a [`Blueprint`]; what we do not know how
//! to do is refused with its place in the file, and never passed over.
//!
//! Man page: config.md of the specification. Look at it: `tare-runtime spec; cat config.json`

mod linux;
mod mounts;
mod once;
mod print;
mod process;
mod seccomp;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use oci_spec::runtime as oci;
use serde::Deserialize;

use crate::blueprint::{Blueprint, Process, Root, RootKind};
use crate::error::{Error, Result};
use crate::spec::{Id, MissingLimits};
use crate::sys::{FilterInstruction, MsFlags};

pub(crate) use mounts::mounts;
pub use print::default_config;
pub(crate) use process::process;

/// The version of the specification that `state` and `spec` name.
pub const VERSION: &str = "1.0.2";
/// No sensible configuration is longer.
const LONGEST: u64 = 16 << 20;
/// The file's name in the bundle.
const CONFIG: &str = "config.json";

/// What the bundle does not say.
#[derive(Clone, Debug)]
pub struct Request {
    /// The container's name.
    pub id: Id,
    /// The bundle's directory.
    pub bundle: PathBuf,
    /// Below which cgroup its own is made where the bundle names none.
    pub cgroup_parent: String,
    /// What to do where a limit cannot be applied.
    pub missing_limits: MissingLimits,
}

/// A refusal at a place in the configuration.
fn fault(field: impl Into<String>, why: impl Into<String>) -> Error {
    Error::Spec { field: format!("{CONFIG}: {}", field.into()).into(), why: why.into() }
}

/// Refuses what is there and not supported.
fn refuse(present: bool, field: &str) -> Result<()> {
    if present { Err(fault(field, "not supported (remove it from the bundle)")) } else { Ok(()) }
}

/// Reads a bundle's configuration, as text too.
///
/// # Errors
/// [`Error::Spec`] naming the place in the file.
pub(crate) fn read(bundle: &Path) -> Result<(oci::Spec, String)> {
    let path = bundle.join(CONFIG);
    let unreadable = |why: String| Error::Spec { field: path.display().to_string().into(), why };
    let size = match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(unreadable(
                "there is none (a bundle is named with --bundle, and an image with its tag, such as busybox:1)".into(),
            ));
        }
        found => found.map_err(|e| unreadable(e.to_string()))?.len(),
    };
    if size > LONGEST {
        return Err(unreadable(format!("{size} bytes are more than the {LONGEST} that are read")));
    }
    let text = fs::read_to_string(&path).map_err(|e| unreadable(e.to_string()))?;
    Ok((parse(&text)?, text))
}

/// Whether a bundle asks for a terminal, which the caller must then be ready for.
///
/// # Errors
/// [`Error::Spec`] naming the place in the file.
pub fn wants_terminal(request: &Request) -> Result<bool> {
    let (spec, _) = read(&request.bundle)?;
    Ok(spec.process().as_ref().is_some_and(|process| process.terminal().unwrap_or(false)))
}

/// Reads the text of a configuration and makes nothing of it: whether it would be a box.
///
/// # Errors
/// [`Error::Spec`] naming the place in the file.
#[doc(hidden)]
pub fn check(request: &Request, text: &str) -> Result<()> {
    blueprint(request, &parse(text)?).map(drop)
}

/// Parses a configuration.
///
/// # Errors
/// [`Error::Spec`] naming the place in the file.
pub(crate) fn parse(text: &str) -> Result<oci::Spec> {
    typed(text)
}

fn typed<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T> {
    once::check(text)?;
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| fault(error.path().to_string(), error.inner().to_string()))?;
    json.end().map_err(|error| fault(".", error.to_string()))?;
    Ok(value)
}

/// Parses the `process` object of a configuration by itself, as `exec --process` takes it.
///
/// # Errors
/// [`Error::Spec`] naming the place.
pub(crate) fn parse_process(text: &str) -> Result<oci::Process> {
    typed(text)
}

/// The box that a bundle describes.
///
/// # Errors
/// [`Error::Spec`] naming the place in the file.
pub(crate) fn blueprint(request: &Request, spec: &oci::Spec) -> Result<Blueprint> {
    check_version(spec.version())?;
    refuse(spec.hooks().as_ref().is_some_and(|hooks| *hooks != oci::Hooks::default()), "hooks")?;
    refuse(spec.solaris().is_some(), "solaris")?;
    refuse(spec.windows().is_some(), "windows")?;
    refuse(spec.vm().is_some(), "vm")?;
    refuse(spec.zos().is_some(), "zos")?;
    let root = spec.root().as_ref().ok_or_else(|| fault("root", "missing"))?;
    let process = spec.process().as_ref().ok_or_else(|| fault("process", "missing"))?;
    let linux = spec.linux().as_ref().ok_or_else(|| fault("linux", "missing"))?;
    let namespaces = linux::namespaces(linux)?;
    let mounts = mounts::mounts(spec.mounts().as_deref().unwrap_or_default(), &namespaces)?;
    let (hostname, domainname) = linux::names(spec, &namespaces)?;
    Ok(Blueprint {
        id: request.id.clone(),
        bundle: request.bundle.clone(),
        image: None,
        annotations: spec.annotations().clone().unwrap_or_default().into_iter().collect(),
        root: Root {
            layers: Vec::new(),
            path: root_path(&request.bundle, root.path())?,
            kind: RootKind::Direct { read_only: root.readonly().unwrap_or(false) },
            propagation: propagation(linux.rootfs_propagation().as_deref())?,
        },
        cgroup: linux::cgroup(linux, request)?,
        hostname,
        domainname,
        directories: Vec::new(),
        devices: linux::devices(linux)?,
        masked: linux::masked(linux)?,
        read_only: linux::paths(linux.readonly_paths().as_deref(), "linux.readonlyPaths")?,
        ours_alone: false,
        sysctls: linux::sysctls(linux, &namespaces)?,
        process: self::process(process)?,
        filter: filter(Some(linux))?.into(),
        until: None,
        marks: false,
        namespaces,
        bridge: None,
        mounts,
    })
}

/// What one more process in such a box needs: its process, for comparison, and the filter.
///
/// # Errors
/// [`Error::Spec`] naming the place in the file.
pub(crate) fn confined_process(spec: &oci::Spec) -> Result<(Process, Vec<FilterInstruction>)> {
    let process = spec.process().as_ref().ok_or_else(|| fault("process", "missing"))?;
    Ok((self::process(process)?, filter(spec.linux().as_ref())?))
}

fn filter(linux: Option<&oci::Linux>) -> Result<Vec<FilterInstruction>> {
    linux.and_then(|linux| linux.seccomp().as_ref()).map_or(Ok(Vec::new()), seccomp::filter)
}

fn check_version(version: &str) -> Result<()> {
    let numbers = version.split(['-', '+']).next().unwrap_or_default();
    let parts: Vec<Option<u32>> = numbers.split('.').map(|part| part.parse().ok()).collect();
    match parts[..] {
        [Some(1), Some(_), Some(_)] => Ok(()),
        _ => Err(fault("ociVersion", format!("{version:?} is not a version 1.x.y"))),
    }
}

/// The root file system: a directory, and not the host's own.
fn root_path(bundle: &Path, path: &Path) -> Result<PathBuf> {
    let refused = |why: &str| Err(fault("root.path", format!("{}: {why}", path.display())));
    if path.as_os_str().is_empty() {
        return refused("is empty");
    }
    let absolute = bundle.join(path);
    let found = match fs::canonicalize(&absolute) {
        Ok(found) => found,
        Err(error) => return refused(&error.to_string()),
    };
    crate::spec::check_rootfs(&found)
        .map_err(|error| match error {
            Error::Spec { why, .. } => fault("root.path", why),
            other => other,
        })
        .map(|()| found)
}

/// How mounts that are made on the host later reach the box. What is made inside never gets out.
fn propagation(name: Option<&str>) -> Result<MsFlags> {
    match name {
        None | Some("" | "private" | "rprivate") => Ok(MsFlags::MS_REC | MsFlags::MS_PRIVATE),
        Some("slave" | "rslave") => Ok(MsFlags::MS_REC | MsFlags::MS_SLAVE),
        Some(other) => Err(fault(
            "linux.rootfsPropagation",
            format!("{other:?} is not supported (use private or slave)"),
        )),
    }
}
