//! The host: what it is, what it does besides, and what of ours is on it.

pub mod caches;
pub mod census;
pub mod cgroups;
pub mod charges;
pub mod empty_cgroup;
pub mod facts;
pub mod ksm;
pub mod limits;
pub mod mapped;
pub mod memory;
pub mod noise;
pub mod process;
