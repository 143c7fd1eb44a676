//! Items that hold by construction, and the tests that keep them so.

use super::Finding;

/// Item, why it holds, and the test that fails when it no longer does.
pub const KEEPERS: [(u32, &str, &str); 2] = [
    (
        1,
        "one host CLOCK_MONOTONIC: t0 before the first system call for the instance, end when the host \
         has read the nonce",
        "bench/tests/lab.rs: one_clock_from_the_first_call_to_the_nonce",
    ),
    (
        3,
        "no reading of a guest's clock enters a sample; they are used for differences inside the guest only",
        "bench/tests/lab.rs: guest_clocks_stay_inside_the_guest",
    ),
];

/// The finding for an item of [`KEEPERS`].
pub(super) fn kept(item: u32) -> Finding {
    match KEEPERS.iter().find(|(number, _, _)| *number == item) {
        Some((_, why, test)) => Finding {
            verdict: crate::document::Verdict::ByDesign,
            evidence: format!("{why}; kept by the test {test}"),
        },
        None => Finding::failed("no test is named that keeps this item"),
    }
}
