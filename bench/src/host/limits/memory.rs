//! The host's memory: what a box takes of it, as measured where it was, and what there is beside the reserve.

use tare_reports::capacity;
use tare_reports::document::{Class, Document};
use tare_reports::memory::{Method, costs};

use super::{Asked, Limit};
use crate::contenders::MEMORY;
use crate::host;

/// Where the host's memory is told.
pub(super) const MEMINFO: &str = "/proc/meminfo";

/// What memory of the host one box takes, and from where that is known.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct MemoryNeed {
    /// Bytes.
    pub bytes: u64,
    /// In words.
    pub source: String,
}

impl MemoryNeed {
    /// What is assumed of a box of this class that nobody has measured here: on the large side of what such boxes
    /// took elsewhere, and for a virtual machine all that it could take.
    pub fn assumed(class: Class) -> Self {
        let bytes = match class {
            Class::Process => 100 << 10,
            Class::Container => 750 << 10,
            Class::Engine => 20 << 20,
            Class::Sandbox => 40 << 20,
            Class::Vm => MEMORY + (64 << 20),
        };
        let source = "assumed of its class, not measured: `tare run memory` measures it".into();
        Self { bytes, source }
    }

    /// As measured in an earlier run where one measured this contender, else as assumed of its class.
    pub fn of(earlier: Option<&Document>, contender: &str, class: Class) -> Self {
        earlier.and_then(|it| measured(it, contender)).unwrap_or_else(|| Self::assumed(class))
    }
}

/// What one idle box of this contender cost the host in an earlier run: the slope over their number.
fn measured(document: &Document, contender: &str) -> Option<MemoryNeed> {
    let costs = costs(document);
    let cost = costs.iter().find(|it| it.contender == contender && it.state == "idle")?;
    let slope = cost.by(Method::Host).filter(|it| it.each > 0.0)?;
    let source = format!("measured in run {} with up to {} boxes held", document.run.id, slope.most);
    Some(MemoryNeed { bytes: slope.each.ceil() as u64, source })
}

/// The host's memory less the reserve.
pub(super) fn limits(asked: &Asked) -> Vec<Limit> {
    let Ok((total, used)) = host::memory::total().and_then(|total| Ok((total, host::memory::used()?))) else {
        return Vec::new();
    };
    vec![Limit {
        resource: "memory",
        what: format!("memory of the host, but for a reserve of {:.0} %", capacity::RESERVE * 100.0),
        bytes: true,
        per_box: asked.memory.bytes,
        source: asked.memory.source.clone(),
        limit: Some((total as f64 * (1.0 - capacity::RESERVE)) as u64),
        in_use: used,
        set_in: format!("{MEMINFO} (proc(5))"),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_assumed_grows_with_the_class() {
        let of = |class| MemoryNeed::assumed(class).bytes;
        assert!(of(Class::Process) < of(Class::Container) && of(Class::Container) < of(Class::Engine));
        assert!(of(Class::Vm) > MEMORY, "a machine is its RAM and something around it");
    }
}
