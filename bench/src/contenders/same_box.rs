//! The same box for everybody: what each contender gives its boxes, as far as it can.

use anyhow::Result;

use crate::site::{Site, Start};

/// The effective memory of every box, bytes: a container's limit, a VM's RAM.
pub const MEMORY: u64 = 256 << 20;
/// The most processes in every container.
pub const PIDS: u64 = 64;
/// The CPUs of every box.
pub const CPUS: u32 = 1;
/// Host name inside every box that has one of its own.
pub const HOSTNAME: &str = "tare";

/// The environment of every box: what our runtime sets where its caller says nothing.
pub(crate) fn search_path() -> String {
    format!("PATH={}", tare_runtime::DEFAULT_PATH)
}

/// The common box, as our runtime is told of it.
pub(super) fn runtime_spec(site: &Site, start: &Start) -> Result<tare_runtime::Spec> {
    let args = vec!["/payload".into(), start.nonce.clone()];
    Ok(tare_runtime::Spec {
        env: vec![search_path()],
        hostname: HOSTNAME.into(),
        limits: tare_runtime::Limits {
            memory: Some(MEMORY),
            pids: Some(PIDS),
            cpus: Some(tare_runtime::MilliCpus(CPUS * 1000)),
        },
        cgroup_parent: site.cgroup_parent().into(),
        missing_limits: tare_runtime::MissingLimits::Record,
        ..tare_runtime::Spec::new(start.id.parse()?, site.rootfs(), args)
    })
}
