//! Tare weighs the box: one payload, started as a bare process, in containers and in virtual machines,
//! under one clock.
//!
//! ```text
//! contender --start--> lab --READY, stop--> measure --samples--> result document --> page
//! ```
//!
//! Who is compared stands in [`contenders`], what is measured in [`measures`], how in [`lab`], [`rounds`]
//! and [`host`]. The numbers are read and drawn by `tare-reports`.

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!(
    "tare measures on x86_64 Linux only; `cargo build -p tare-reports` builds the reports anywhere"
);

pub mod cargo_bench;
pub mod channel;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod contenders;
pub mod engine;
mod helper;
pub mod host;
pub mod image;
pub mod interrupt;
pub mod keeper;
pub mod lab;
pub mod measures;
pub mod network;
pub mod payload;
pub mod program;
pub mod record;
pub mod registry;
pub mod rounds;
pub mod run;
pub mod site;
pub mod spans;
pub mod spawner;
mod sys;
pub mod vm;

/// Version and git revision of the suite.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("TARE_REVISION"), ")");
