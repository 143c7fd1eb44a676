//! `floor-confined`: the floor of the very box that `tare` makes by default. To `floor` it adds exactly the
//! mounts, devices, cgroups, capabilities and the filter of `tare_runtime::confinement`.
//!
//! The runtime mounts /proc, /sys and /dev after pivot_root onto descriptors that it opened without following
//! links, for it must not trust the image. The floor knows its image, so it mounts by path, relative to the new
//! root. What else it leaves out makes no difference to the box: the state files, the pipe for errors, the look
//! at the working directory and at the program, the copies of descriptors. `bench/tests/strace/main.rs` compares the two call by call, and
//! `bench/tests/same_box.rs` the boxes that come out.

use std::convert::Infallible;
use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use anyhow::Result;
use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{Mode, SFlag, makedev, mknod, umask};
use nix::unistd::{mkdir, symlinkat};
use tare_reports::document::{Accel, Class};
use tare_runtime::confinement::{
    CAPABILITY_MASK, Cover, DEV, DEVICES, DEVPTS, LINKS, MASKED_PATHS, MQUEUE, NOTHING, PROC, READONLY_PATHS,
    SHM, SYS, UMASK,
};
use tare_runtime::sys::{self, FilterInstruction, MsFlags, mount, setsid};

use super::steps::{self, Done, Fault, NONE, Prepared, at, here, mount_here};
use super::{leaves, linked, spec};
use crate::contenders::ground::Ground;
use crate::contenders::{Contender, Description, Found, Missing, Surroundings, Undo, Wiring};
use crate::network::Link;
use crate::site::{Site, Start};
use crate::spawner::protocol::{Launch, Made};

/// See the file's head.
#[derive(Debug, Default)]
pub struct FloorConfined {
    ground: Ground,
}

impl Contender for FloorConfined {
    fn description(&self) -> Description<'_> {
        Description {
            name: "floor-confined",
            class: Class::Container,
            about: "the same box as tare's, its kernel calls issued by hand",
            inside_clock: &[
                "pipes",
                "request to the spawner",
                "instance directories",
                "cgroups and limits",
                "clone3 with namespaces",
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
        self.ground = Ground::find(&["memory", "pids", "cpu", "devices"], surroundings)?;
        Ok(Found {
            version: env!("CARGO_PKG_VERSION").into(),
            accel: Accel::Native,
            not_expressed: Vec::new(),
        })
    }

    fn prepare(&mut self, site: &Site) -> Result<()> {
        self.ground.prepare(site)
    }

    fn launch(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        Ok(Launch::Floor(spec(&self.ground, site, start, true)))
    }

    fn wiring(&self) -> Wiring {
        Wiring::Namespace
    }

    fn launch_linked(&mut self, site: &Site, start: &Start, link: &Link) -> Result<Launch> {
        linked(spec(&self.ground, site, start, true), link)
    }

    fn command(&mut self, _: &Site) -> Vec<String> {
        vec!["(kernel calls issued by the spawner: bench/src/contenders/floor/confined.rs)".into()]
    }

    fn teardown(&self, site: &Site, start: &Start) -> Vec<Undo> {
        vec![Undo::Made(Made::Floor(spec(&self.ground, site, start, true)))]
    }

    fn leaves(&self, site: &Site, start: &Start) -> Vec<PathBuf> {
        leaves(site, start)
    }
}

/// The child's part; comes back only with a fault.
pub(super) fn inside(
    p: &Prepared,
    filter: &[FilterInstruction],
    stdio: [BorrowedFd; 3],
) -> Result<Infallible, Fault> {
    steps::enter_cgroups(p)?;
    steps::join_network(p)?;
    setsid().map_err(at("start", c"a session"))?;
    steps::reset_signals()?;
    umask(Mode::empty());
    steps::enter_overlay(p)?;
    mount_here(&PROC)?;
    mount_here(&SYS)?;
    devices()?;
    steps::lock_devices(p)?;
    steps::hide_cgroups()?;
    cover()?;
    freeze()?;
    steps::swap_roots()?;
    steps::set_host_name()?;
    if p.network.is_none() {
        sys::interface_up(c"lo").map_err(at("bring up", c"lo"))?;
    }
    steps::stdio(stdio)?;
    give_up_power()?;
    umask(Mode::from_bits_truncate(UMASK));
    sys::close_copies_from(3, &[]).map_err(at("close", c"other descriptors"))?;
    sys::install_filter(filter).map_err(at("install", c"the seccomp filter"))?;
    steps::exec(p)
}

fn devices() -> Done {
    mount_here(&DEV)?;
    let everybody = Mode::from_bits_truncate(0o666);
    for device in DEVICES {
        let number = makedev(device.major.into(), device.minor.into());
        mknod(here(device.path), SFlag::S_IFCHR, everybody, number).map_err(at("make", device.path))?;
    }
    for (name, target) in LINKS {
        symlinkat(*target, AT_FDCWD, here(name)).map_err(at("link", name))?;
    }
    for below in [&DEVPTS, &SHM, &MQUEUE] {
        mkdir(here(below.target), Mode::from_bits_truncate(0o755)).map_err(at("make", below.target))?;
        mount_here(below)?;
    }
    Ok(())
}

/// What makes a copy of a part of /proc read-only; a remount has to repeat the flags of /proc.
const READ_ONLY: MsFlags = MsFlags::MS_BIND
    .union(MsFlags::MS_REMOUNT)
    .union(MsFlags::MS_RDONLY)
    .union(MsFlags::MS_NOSUID)
    .union(MsFlags::MS_NODEV)
    .union(MsFlags::MS_NOEXEC);

/// Hides paths: files behind the box's own /dev/null, directories behind one that is empty.
fn cover() -> Done {
    let mut empty: Option<&'static CStr> = None;
    for (path, cover) in MASKED_PATHS {
        let target = here(path);
        let source = match cover {
            Cover::Null => c"dev/null",
            Cover::Empty => empty.unwrap_or(here(NOTHING)),
        };
        match mount(Some(source), target, NONE, MsFlags::MS_BIND, NONE) {
            Ok(()) if *cover == Cover::Empty && empty.is_none() => {
                mount(NONE, target, NONE, READ_ONLY, NONE).map_err(at("make read-only", path))?;
                empty = Some(target);
            }
            // This kernel does not have the path.
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(at("cover", path)(errno)),
        }
    }
    Ok(())
}

fn freeze() -> Done {
    for path in READONLY_PATHS {
        match mount(Some(here(path)), here(path), NONE, MsFlags::MS_BIND, NONE) {
            Ok(()) => mount(NONE, here(path), NONE, READ_ONLY, NONE).map_err(at("make read-only", path))?,
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(at("bind", path)(errno)),
        }
    }
    Ok(())
}

/// No groups, no capability outside the mask, nothing to be gained by exec.
fn give_up_power() -> Done {
    sys::set_groups(&[]).map_err(at("leave", c"supplementary groups"))?;
    sys::become_user(0, 0).map_err(at("become", c"user and group 0"))?;
    for capability in (0..64).filter(|number| CAPABILITY_MASK & (1 << number) == 0) {
        match sys::drop_bounding(capability) {
            Ok(()) => {}
            // Beyond the last one that this kernel knows.
            Err(Errno::EINVAL) => break,
            Err(errno) => return Err(at("drop from", c"the bounding set")(errno)),
        }
    }
    sys::clear_ambient().map_err(at("empty", c"the ambient set"))?;
    sys::set_capabilities(CAPABILITY_MASK).map_err(at("set", c"capabilities"))?;
    sys::no_new_privileges().map_err(at("set", c"no_new_privs"))
}
