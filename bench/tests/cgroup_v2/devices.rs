//! Device nodes on version 2: a program of ours decides. With the attach taken out of the runtime, each of
//! these refusals turns into "ok" or the driver's own answer.

use crate::expect;
use crate::guest::{Report, report};

const REFUSED: &str = "Operation not permitted";

/// What every box can use.
fn known(report: &Report, case: &str) {
    for name in ["null", "zero", "ptmx", "lent-null"] {
        expect(report, case, &[(name, "ok")]);
    }
    // Nobody refuses it: there is no terminal.
    expect(report, case, &[("tty", "No such device or address")]);
}

#[test]
fn nodes_from_a_volume_cannot_be_opened_and_none_can_be_made() {
    let Some(report) = report() else { return };
    expect(report, "devices", &[("kmsg-outside", "opened"), ("status", "0"), ("error", "")]);
    known(report, "devices");
    expect(report, "devices", &[("kmsg", REFUSED), ("loop", REFUSED)]);
    let capabilities = u64::from_str_radix(report.get("devices", "CapEff"), 16).expect("a mask");
    assert_ne!(capabilities & 1 << 27, 0, "CAP_MKNOD in {capabilities:x}");
    expect(report, "devices", &[("made-null", REFUSED), ("made-kmsg", REFUSED), ("made-loop", REFUSED)]);
}

#[test]
fn what_the_bundle_allows_can_be_used_and_made_and_nothing_more() {
    let Some(report) = report() else { return };
    let case = "devices-allowed";
    known(report, case);
    expect(report, case, &[("status", "0"), ("error", ""), ("kmsg", "ok"), ("made-kmsg", "ok")]);
    expect(report, case, &[("loop", REFUSED), ("made-null", REFUSED), ("made-loop", REFUSED)]);
}

#[test]
fn a_user_namespace_does_not_open_what_is_locked() {
    let Some(report) = report() else { return };
    let case = "devices-user";
    known(report, case);
    expect(report, case, &[("status", "0"), ("error", ""), ("kmsg", REFUSED), ("loop", REFUSED)]);
}

#[test]
fn who_comes_later_by_exec_is_locked_too() {
    let Some(report) = report() else { return };
    let case = "devices-exec";
    known(report, case);
    expect(report, case, &[("status", "0"), ("kmsg", REFUSED), ("loop", REFUSED), ("made-null", REFUSED)]);
}

#[test]
fn a_box_from_options_has_its_devices() {
    let Some(report) = report() else { return };
    expect(report, "devices-options", &[("status", "0"), ("error", "")]);
    assert!(report.get("devices-options", "tty").contains("opened"), "{report}");
}
