//! The levels of a curve, and how many boxes this host can hold at once.

use std::sync::OnceLock;
use std::time::Duration;

use procfs::Current;
use tare_reports::document::Class;

use crate::contenders::{Contender, MEMORY};
use crate::keeper;

/// Whose starts may take longer has no curves.
const PATIENCE: Duration = Duration::from_secs(60);

/// CPUs that this process may use.
pub(super) fn cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |it| it.get() as u32)
}

/// Half of the memory that was available when it was first asked, bytes.
fn memory() -> u64 {
    static HALF: OnceLock<u64> = OnceLock::new();
    *HALF.get_or_init(|| {
        let available = procfs::Meminfo::current().ok().and_then(|it| it.mem_available);
        available.unwrap_or(0) / 2
    })
}

/// Descriptors that this process needs for itself.
const OWN: u64 = 64;

/// Descriptors that so many boxes and this process need.
fn descriptors(contender: &dyn Contender, count: u32) -> u64 {
    keeper::descriptors(contender.is_served()) * u64::from(count) + OWN
}

/// How many this process may have.
fn allowed() -> u64 {
    use nix::sys::resource::{Resource, getrlimit};
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft)
}

/// Whether so many boxes can be there at once.
///
/// # Errors
/// Why not, and what would change it, in words.
pub(super) fn fits(contender: &dyn Contender, count: u32) -> Result<(), String> {
    if contender.is_scripted() {
        return Ok(());
    }
    if contender.deadline() > PATIENCE {
        return Err(format!(
            "a start may take {} s here, and a curve takes dozens of them: a host where KVM works adds it",
            contender.deadline().as_secs()
        ));
    }
    // A container takes what it touches; a machine may come to touch all that it was promised.
    let promised = MEMORY * u64::from(count);
    if contender.description().class == Class::Vm && promised > memory() {
        return Err(format!(
            "{count} machines of {} MiB are more than half of the memory available ({} MiB): \
             a host with more memory adds it",
            MEMORY >> 20,
            memory() >> 20
        ));
    }
    let needed = descriptors(contender, count);
    if needed > allowed() {
        return Err(format!("{count} channels are more than `ulimit -n` allows: ulimit -n {needed}"));
    }
    Ok(())
}

/// The levels that fit, and for each other one a line that says why it is left out.
pub(super) fn split(measure: &str, contender: &dyn Contender, levels: &[u32]) -> (Vec<u32>, Vec<String>) {
    let (mut fitting, mut left) = (Vec::new(), Vec::new());
    if !contender.can_be_held() {
        return (fitting, left);
    }
    for &level in levels {
        match fits(contender, level) {
            Ok(()) => fitting.push(level),
            Err(why) => left.push(format!("{measure} {level} of {}: {why}", contender.name())),
        }
    }
    (fitting, left)
}
