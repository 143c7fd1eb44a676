//! The floors: the kernel calls that make a box, issued by hand with no tool and no state file around them.
//! What a runtime needs above its floor is the runtime's own.
//!
//! `plain.rs` is the least that a container is, `confined.rs` the box that `tare` makes. Both consist of the
//! same steps (`steps.rs`), in the order that the kernel forces; the reasons are told in `runtime/`, where each
//! mechanism has its file. What does not differ between two instances is looked for once, before the clock
//! runs: where the cgroups are, and the seccomp filter.

mod confined;
mod plain;
mod steps;

use std::ffi::{CString, NulError};
use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::Result;
use nix::sched::CloneFlags;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use tare_runtime::sys::{CStringArray, Forked, Memory, fork};

use super::ground::{Ground, make_cgroups, remove_cgroups};
use super::search_path;
use crate::network::Link;
use crate::site::{Site, Start};
use crate::spawner::protocol::{FloorSpec, Launch};

pub use confined::FloorConfined;
pub use plain::Floor;
use steps::{Fault, Prepared};

/// The box of one instance.
fn spec(ground: &Ground, site: &Site, start: &Start, confined: bool) -> FloorSpec {
    FloorSpec {
        dir: site.instance(start),
        lower: site.rootfs(),
        confined,
        cgroups: ground.cgroups_of(site, start),
        argv: vec!["/payload".into(), start.nonce.clone()],
        env: vec![search_path()],
        network: None,
    }
}

/// The same, connected to the bridge.
fn linked(mut spec: FloorSpec, link: &Link) -> Result<Launch> {
    spec.network = Some(link.namespace()?.clone());
    spec.argv.push(link.connect());
    Ok(Launch::Floor(spec))
}

/// What must be gone after an instance.
fn leaves(site: &Site, start: &Start) -> Vec<PathBuf> {
    let mut paths = site.cgroups_of(start);
    paths.push(site.instance(start));
    paths
}

/// Starts a box; returns the process id of its first process. Runs in the spawner.
pub(crate) fn start(spec: &FloorSpec, stdio: [BorrowedFd; 3]) -> Result<u32, String> {
    let prepared = prepare(spec)?;
    let filter = spec.confined.then(tare_runtime::seccomp_program);
    let network = if spec.network.is_none() { CloneFlags::CLONE_NEWNET } else { CloneFlags::empty() };
    let namespaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | network;
    let birthplace = prepared.cgroups.birthplace.as_ref().map(AsFd::as_fd);
    // The child works in our memory until its exec, so it leaves its fault here: no pipe is needed.
    let mut fault = None;
    let forked = fork(namespaces, birthplace, Memory::Borrowed, || {
        let Err(failed) = match filter {
            Some(filter) => confined::inside(&prepared, filter, stdio),
            None => plain::inside(&prepared, stdio),
        };
        fault = Some(failed);
        127
    });
    let Forked { pid, .. } = forked.map_err(|e| format!("clone3: {e}"))?;
    let Some(Fault { step, object, errno }) = fault else { return Ok(pid as u32) };
    let _ = waitpid(Pid::from_raw(pid), None);
    Err(format!("{step} {}: {errno}", object.to_string_lossy()))
}

fn prepare(spec: &FloorSpec) -> Result<Prepared, String> {
    let [upper, work, merged] = layers(spec);
    for dir in [&spec.dir, &upper, &work, &merged] {
        fs::create_dir(dir).map_err(|e| format!("make directory {}: {e}", dir.display()))?;
    }
    let cgroups = make_cgroups(&spec.cgroups)?;
    let without_controller = spec.confined && cgroups.devices.is_none() && cgroups.birthplace.is_some();
    let device_program = without_controller.then(tare_runtime::load_device_program).transpose();
    let overlay = format!(
        "lowerdir={},upperdir={},workdir={},volatile",
        spec.lower.display(),
        upper.display(),
        work.display()
    );
    let zero = |e: NulError| format!("a path or an argument of the box: {e}");
    let strings = |words: &[String]| -> Result<CStringArray, String> {
        let words: Result<Vec<CString>, NulError> =
            words.iter().map(|word| CString::new(word.as_str())).collect();
        Ok(CStringArray::new(words.map_err(zero)?))
    };
    Ok(Prepared {
        overlay: CString::new(overlay).map_err(zero)?,
        merged: CString::new(merged.as_os_str().as_bytes()).map_err(zero)?,
        program: CString::new(spec.argv[0].as_str()).map_err(zero)?,
        argv: strings(&spec.argv)?,
        env: strings(&spec.env)?,
        cgroups,
        network: spec
            .network
            .as_ref()
            .map(|path| File::open(path).map_err(|e| format!("open {}: {e}", path.display())))
            .transpose()?,
        device_program: device_program
            .map_err(|e| format!("load the program that decides about devices: {e}"))?,
    })
}

fn layers(spec: &FloorSpec) -> [PathBuf; 3] {
    ["upper", "work", "merged"].map(|name| spec.dir.join(name))
}

/// Removes a box whose process has ended. Runs in the spawner.
pub(crate) fn delete(spec: &FloorSpec) -> Result<(), String> {
    remove_cgroups(&spec.cgroups)?;
    let [upper, work, merged] = layers(spec);
    for dir in [&merged, &work, &upper, &spec.dir] {
        // Most are empty: one call and no listing. The kernel leaves something in `work`, which is removed by the calls
        // that our runtime issues for it.
        tare_runtime::remove_tree(dir).map_err(|e| format!("remove {}: {e}", dir.display()))?;
    }
    Ok(())
}
