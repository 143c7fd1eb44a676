//! The audit: the 27 ways in which such comparisons go wrong (`METHOD.md`), judged for one run.
//!
//! Each item is one small check in a list; adding one is one function and one entry. A check looks at
//! the document alone, so anybody can repeat it on a published result.

mod by_design;
mod checks;
mod density;
mod later;
mod memory;
mod titles;

use crate::document::{AuditItem, Document, Verdict};

pub use by_design::KEEPERS;
pub(crate) use checks::{fingerprint, lab_share};
pub use titles::title;

/// What a check found: the verdict and what it rests on.
pub(crate) struct Finding {
    verdict: Verdict,
    evidence: String,
}

impl Finding {
    fn passed(evidence: impl Into<String>) -> Self {
        Self { verdict: Verdict::Passed, evidence: evidence.into() }
    }

    fn failed(evidence: impl Into<String>) -> Self {
        Self { verdict: Verdict::Failed, evidence: evidence.into() }
    }

    fn not_checkable(why: impl Into<String>) -> Self {
        Self { verdict: Verdict::NotCheckable, evidence: why.into() }
    }

    /// Failed with the faults named, passed with the evidence where there is none.
    fn of(faults: &[String], evidence: impl Into<String>) -> Self {
        if faults.is_empty() { Self::passed(evidence) } else { Self::failed(faults.join("; ")) }
    }
}

/// One item of the audit: a number in `METHOD.md` and the check that judges it.
pub(crate) struct Item {
    number: u32,
    check: fn(&Document) -> Finding,
}

/// The list. Numbers are those of `METHOD.md`.
const ITEMS: [Item; 27] = [
    Item { number: 1, check: |_| by_design::kept(1) },
    Item { number: 2, check: checks::teardown_is_its_own_series },
    Item { number: 3, check: |_| by_design::kept(3) },
    Item { number: 4, check: checks::same_payload },
    Item { number: 5, check: checks::accel_is_stamped },
    Item { number: 6, check: checks::host_is_recorded },
    Item { number: 7, check: checks::modes_are_apart },
    Item { number: 8, check: later::restore_touches_memory },
    Item { number: 9, check: memory::memory_is_pss_and_host },
    Item { number: 10, check: memory::memory_names_its_field },
    Item { number: 11, check: memory::memory_has_a_ledger },
    Item { number: 12, check: memory::guest_ram_is_named },
    Item { number: 13, check: memory::page_cache_is_told_apart },
    Item { number: 14, check: checks::memory_tricks_are_recorded },
    Item { number: 15, check: density::density_in_three_states },
    Item { number: 16, check: density::binding_resource_is_named },
    Item { number: 17, check: density::limit_is_confirmed },
    Item { number: 18, check: later::load_is_open_loop },
    Item { number: 19, check: checks::order_is_shuffled },
    Item { number: 20, check: checks::all_samples_are_kept },
    Item { number: 21, check: checks::lab_is_calibrated },
    Item { number: 22, check: checks::clock_contents_are_listed },
    Item { number: 23, check: checks::network_is_equal },
    Item { number: 24, check: checks::command_lines_are_there },
    Item { number: 25, check: checks::failures_are_rows },
    Item { number: 26, check: checks::nothing_leaked },
    Item { number: 27, check: checks::host_is_named },
];

/// Judges the 27 items for this document, in order.
pub fn audit(document: &Document) -> Vec<AuditItem> {
    let judged = ITEMS.iter().map(|item| {
        let Finding { verdict, evidence } = (item.check)(document);
        let title = title(item.number, crate::Lang::En).to_owned();
        AuditItem { item: item.number, title, verdict, evidence }
    });
    judged.collect()
}
