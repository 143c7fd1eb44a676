//! The floors make their boxes here too, with limits in version 2's files and a program for devices.

use crate::expect;
use crate::guest::report;

#[test]
fn the_floors_and_our_runtime_start_their_boxes_and_leave_nothing() {
    let Some(report) = report() else { return };
    for name in ["floor", "floor-confined", "tare-lib", "tare"] {
        let case = format!("floors-{name}");
        expect(report, &case, &[("status", "0"), ("error", ""), ("failed", "0")]);
        // One visit, and where there is nobody else to compare with, one more of it.
        assert!(report.number(&case, "ready") >= 1, "{case}\n{report}");
    }
    expect(report, "floors", &[("left", "")]);
}
