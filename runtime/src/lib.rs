//! A container, explained: a minimal runtime for Linux, one file per kernel mechanism.
//!
//! Read `container.rs` first: it is the list of steps. `README.md` gives the order of the others.
//!
//! ```no_run
//! use std::os::fd::AsFd;
//! use tare_runtime::{Id, Runtime, Spec, default_root};
//!
//! let spec = Spec::new(Id::new("hello")?, "/srv/image", vec!["echo".into(), "hello".into()]);
//! let runtime = Runtime::new(default_root());
//! let (input, output, error) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
//! let container = runtime.run(&spec, [input.as_fd(), output.as_fd(), error.as_fd()])?;
//! println!("{}", container.wait()?);
//! runtime.delete(&spec.id, false)?;
//! # Ok::<(), tare_runtime::Error>(())
//! ```

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("containers are made of Linux, and the system call filter is written for x86_64");

mod blueprint;
mod by_path;
mod capabilities;
pub mod cgroup;
mod child;
mod claim;
pub mod confinement;
pub mod container;
mod delete;
mod devices;
mod error;
mod exec;
mod idmap;
pub mod image;
mod join;
pub mod ladder;
mod lifecycle;
mod marks;
mod mounts;
mod namespaces;
pub mod network;
pub mod oci;
mod overlay;
mod own_program;
mod pool;
mod report;
mod resolve;
mod rlimits;
mod rootfs;
mod runtime;
mod seccomp;
mod spec;
mod start;
mod state;
#[doc(hidden)]
pub mod sys;
mod sysctl;
mod terminal;
mod unlink;
mod volumes;
mod wait;

pub use cgroup::remove_parent;
pub use error::{Error, Result};
pub use join::ExecSpec;
pub use lifecycle::connect_console;
pub use marks::{Mark, now};
pub use pool::Pooled;
pub use runtime::{Container, Exit, Runtime};
pub use spec::{
    DEFAULT_CGROUP_PARENT, DEFAULT_PATH, DEFAULT_PIDS, Id, Limits, MilliCpus, MissingLimits, Spec, User,
};
pub use state::{Directory, Given, Process, State, Status, default_root};
pub use unlink::tree as remove_tree;
pub use volumes::{Lent, Volume, VolumeSource, Volumes};

/// The program that decides about devices on cgroup version 2, loaded, for whoever builds the same box by hand.
///
/// # Errors
/// Those of bpf(2).
pub fn load_device_program() -> std::result::Result<std::os::fd::OwnedFd, sys::Errno> {
    cgroup::load_default_program()
}

/// The seccomp filter as the kernel takes it, for whoever builds the same box by hand.
pub fn seccomp_program() -> &'static [sys::FilterInstruction] {
    seccomp::PROGRAM
}
