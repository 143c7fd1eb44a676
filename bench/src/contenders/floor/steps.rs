//! The steps that both floors have, as the child takes them between clone and exec: system calls on prepared
//! data, nothing that allocates.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sched::setns;
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, write};
use tare_runtime::confinement::Mount;
use tare_runtime::sys::bpf::attach_device_program;
use tare_runtime::sys::{
    self, CStringArray, CloneFlags, MntFlags, MsFlags, chdir, execve, mount, pivot_root, sethostname,
    umount2, unshare,
};

use crate::contenders::HOSTNAME;
use crate::contenders::ground::Cgroups;

/// What the child needs, built before the fork: afterwards nothing may allocate.
pub(super) struct Prepared {
    /// Options of the overlay.
    pub(super) overlay: CString,
    /// Where it is mounted.
    pub(super) merged: CString,
    pub(super) program: CString,
    pub(super) argv: CStringArray,
    pub(super) env: CStringArray,
    /// Of them the one that locks devices is entered last.
    pub(super) cgroups: Cgroups,
    /// v2: the program that decides about devices, where there is no such cgroup.
    pub(super) device_program: Option<OwnedFd>,
    /// The network namespace to join.
    pub(super) network: Option<File>,
}

/// The step that failed, on what, and the kernel's answer.
pub(super) struct Fault {
    pub(super) step: &'static str,
    pub(super) object: &'static CStr,
    pub(super) errno: Errno,
}

/// How a step ends.
pub(super) type Done = Result<(), Fault>;

/// Names the step and the object of a failure; made for `map_err`.
pub(super) fn at(step: &'static str, object: &'static CStr) -> impl Fn(Errno) -> Fault {
    move |errno| Fault { step, object, errno }
}

pub(super) const NONE: Option<&CStr> = None;

/// Joins the cgroups with limits.
pub(super) fn enter_cgroups(p: &Prepared) -> Done {
    p.cgroups.members.iter().try_for_each(enter)
}

/// From here on no node can be made, and only the known ones can be used.
pub(super) fn lock_devices(p: &Prepared) -> Done {
    if let (Some(program), Some(cgroup)) = (&p.device_program, &p.cgroups.birthplace) {
        attach_device_program(program.as_fd(), cgroup.as_fd())
            .map_err(at("attach", c"the program that decides about devices"))?;
    }
    p.cgroups.devices.as_ref().map_or(Ok(()), enter)
}

/// Enters the network namespace that was made for the box, if one was.
pub(super) fn join_network(p: &Prepared) -> Done {
    let joined = p.network.as_ref().map_or(Ok(()), |it| setns(it, CloneFlags::CLONE_NEWNET));
    joined.map_err(at("join", c"the network namespace"))
}

fn enter(tasks: &File) -> Done {
    write(tasks, b"0").map(drop).map_err(at("join", c"the cgroup"))
}

/// Takes a cgroup namespace, whose roots are the cgroups that the caller is in.
pub(super) fn hide_cgroups() -> Done {
    unshare(CloneFlags::CLONE_NEWCGROUP).map_err(at("unshare", c"the cgroup namespace"))
}

/// Mounts the overlay, hidden from the host, and goes there: from here on paths are relative to it.
pub(super) fn enter_overlay(p: &Prepared) -> Done {
    mount(NONE, c"/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
        .map_err(at("make private", c"the mounts"))?;
    let options = Some(p.overlay.as_c_str());
    mount(Some(c"overlay"), p.merged.as_c_str(), Some(c"overlay"), MsFlags::MS_NODEV, options)
        .map_err(at("mount", c"the overlay"))?;
    chdir(p.merged.as_c_str()).map_err(at("enter", c"the overlay"))
}

/// Mounts a file system at its place below the working directory.
pub(super) fn mount_here(m: &Mount) -> Done {
    mount(Some(m.source), here(m.target), Some(m.kind), m.flags, Some(m.data)).map_err(at("mount", m.target))
}

/// An absolute path of the box, relative to its root.
pub(super) fn here(path: &CStr) -> &CStr {
    &path[1..]
}

/// Makes the working directory the root, and takes the host's away.
pub(super) fn swap_roots() -> Done {
    pivot_root(c".", c".").map_err(at("pivot_root to", c"the overlay"))?;
    umount2(c".", MntFlags::MNT_DETACH).map_err(at("unmount", c"the host's root"))?;
    chdir(c"/").map_err(at("enter", c"/"))
}

pub(super) fn set_host_name() -> Done {
    sethostname(HOSTNAME).map_err(at("set", c"the host name"))
}

pub(super) fn stdio([input, output, error]: [BorrowedFd; 3]) -> Done {
    dup2_stdin(input).map_err(at("put in place", c"descriptor 0"))?;
    dup2_stdout(output).map_err(at("put in place", c"descriptor 1"))?;
    dup2_stderr(error).map_err(at("put in place", c"descriptor 2"))
}

pub(super) fn reset_signals() -> Done {
    sys::reset_signals().map_err(at("reset", c"signals"))
}

/// Becomes the payload.
pub(super) fn exec(p: &Prepared) -> Result<Infallible, Fault> {
    Err(at("execute", c"the payload")(execve(&p.program, &p.argv, &p.env)))
}
