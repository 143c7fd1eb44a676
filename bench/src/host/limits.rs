//! What N boxes need, against what this host allows: every kernel limit that a box of a contender counts towards,
//! and the one that is reached first.
//!
//! A limit is read where the kernel keeps it, with what counts towards it already; what a box needs of it is the
//! contender's own claim (`contenders/needs.rs`), or memory as measured. Nothing here is a promise: caches, the
//! time that starting takes, and the CPU are no limits of this kind, and only a search finds them.

mod cgroup;
mod kernel;
mod memory;

use serde::Serialize;
use tare_reports::document::Class;

use crate::contenders::{Contender, Needs};
use crate::keeper;

pub use cgroup::memory_below;
pub use memory::MemoryNeed;

/// One limit, and what a box needs of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Limit {
    /// What runs out, in the words of what ends a search for how many fit (`Binding::resource`).
    pub resource: &'static str,
    /// What is counted, in words.
    pub what: String,
    /// Whether bytes are counted, and not things.
    pub bytes: bool,
    /// How much one box needs.
    pub per_box: u64,
    /// From where that is known.
    pub source: String,
    /// How much there may be; none where the kernel sets no bound here.
    pub limit: Option<u64>,
    /// How much of it was taken when this was read.
    pub in_use: u64,
    /// The file or the manual page in which the limit stands.
    pub set_in: String,
}

impl Limit {
    /// The largest number of boxes that it allows beside what is there; none where it bounds nothing.
    pub fn largest(&self) -> Option<u64> {
        self.left()?.checked_div(self.per_box)
    }

    /// How much of it is left; none where the kernel sets no bound.
    pub fn left(&self) -> Option<u64> {
        self.limit.map(|limit| limit.saturating_sub(self.in_use))
    }

    /// Whether it is the limit of a cgroup's memory, which counts what is charged and not what the host uses.
    pub fn is_of_a_cgroups_memory(&self) -> bool {
        self.resource == "memory" && !self.is_of_the_hosts_memory()
    }

    /// Whether it is that of the host's own memory, which a model of what boxes cost follows by itself.
    pub fn is_of_the_hosts_memory(&self) -> bool {
        self.resource == "memory" && self.set_in.starts_with(memory::MEMINFO)
    }
}

/// Whose boxes, and where they will be.
#[derive(Debug, Clone)]
pub struct Asked<'a> {
    /// What one of them takes.
    pub needs: Needs,
    /// Descriptors that its channel costs who holds it.
    pub descriptors: u64,
    /// What kind of box it is.
    pub class: Class,
    /// What memory one of them takes of the host.
    pub memory: &'a MemoryNeed,
    /// The cgroup below which everything of the run lives, as a path within each hierarchy; the hierarchies' roots
    /// where none is given.
    pub parent: Option<&'a str>,
}

impl<'a> Asked<'a> {
    /// Of boxes of this contender.
    pub fn of(contender: &dyn Contender, memory: &'a MemoryNeed, parent: Option<&'a str>) -> Self {
        let descriptors = keeper::descriptors(contender.is_served());
        Self { needs: contender.needs(), descriptors, class: contender.description().class, memory, parent }
    }
}

/// Every limit that such boxes count towards, the one that allows the fewest first, those that bound nothing last.
///
/// A limit that this host has no file for is left out: it is none.
pub fn of(asked: &Asked) -> Vec<Limit> {
    let mut limits = kernel::limits(asked.needs, asked.descriptors);
    limits.extend(cgroup::limits(asked));
    limits.extend(memory::limits(asked));
    limits.sort_by_key(|it| it.largest().unwrap_or(u64::MAX));
    limits
}

/// The one that is reached first.
pub fn binding(limits: &[Limit]) -> Option<&Limit> {
    limits.iter().filter(|it| it.largest().is_some()).min_by_key(|it| it.largest())
}

/// The number that stands alone in a file of the kernel; none where there is no such file, or it says `max`.
fn number(path: impl AsRef<std::path::Path>) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(limit: Option<u64>, in_use: u64, per_box: u64) -> Limit {
        let (what, source, set_in) = (String::new(), String::new(), String::new());
        Limit { resource: "pids", what, bytes: false, per_box, source, limit, in_use, set_in }
    }

    #[test]
    fn the_largest_number_is_what_is_left_by_what_a_box_needs() {
        assert_eq!(limit(Some(100), 10, 4).largest(), Some(22));
        assert_eq!(limit(Some(100), 100, 4).largest(), Some(0));
        assert_eq!(limit(Some(100), 200, 4).largest(), Some(0), "more is in use than is allowed");
        assert_eq!(limit(Some(100), 0, 0).largest(), None, "what is not needed bounds nothing");
        assert_eq!(limit(None, 0, 4).largest(), None, "what is not limited bounds nothing");
    }

    #[test]
    fn the_one_that_allows_the_fewest_binds() {
        let all = [limit(None, 0, 1), limit(Some(10), 0, 1), limit(Some(10), 0, 3), limit(Some(9), 0, 0)];
        assert_eq!(binding(&all).and_then(Limit::largest), Some(3));
        assert_eq!(binding(&all[..1]), None);
    }
}
