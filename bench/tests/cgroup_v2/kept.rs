//! What boxes keep of a limit above them, where its kernel's words are those of version 2.

use crate::expect;
use crate::guest::report;

#[test]
fn what_boxes_are_charged_and_keep_of_a_limit_is_read_here_too() {
    let Some(report) = report() else { return };
    expect(report, "kept", &[("status", "0"), ("error", ""), ("cgroup:failures", ""), ("kept:failures", "")]);
    // Two climbs of four looks.
    expect(report, "kept", &[("cgroup:values", "8"), ("kept:values", "8"), ("left", "")]);
    let of = |key: &str| report.number("kept", key);
    assert_eq!(of("cgroup:boxes"), of("kept:boxes"), "{report}");
    // A page or two of the payload, and what the kernel has for a process, at least; no more than is charged and some for
    // what else is in the cgroup.
    let (kept, charged, boxes) = (of("kept:last"), of("cgroup:last"), of("kept:boxes"));
    assert!(kept >= 16 * 1024 * boxes, "{report}");
    assert!(kept <= charged * 5 / 4, "{report}");
}
