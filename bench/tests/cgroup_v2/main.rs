//! Our runtime on cgroup version 2 alone, for real: in a guest of Debian's kernel that is told
//! `cgroup_no_v1=all`. It boots once; `cases`, `events`, `devices`, `floors`, `kept` and `user` beside this file are what it runs, and the tests
//! here judge what it said. Skipped aloud without QEMU, kernel or static busybox.

#[path = "../common/mod.rs"]
mod common;
mod devices;
mod events;
mod floors;
mod guest;
mod kept;

use guest::{Report, report};

const EBUSY: &str = "/sys/fs/cgroup/busy/cgroup.subtree_control: Device or resource busy (EBUSY): \
                     processes are in this cgroup";
const THREADED: &str = "a cgroup above it is threaded";

/// Asserts facts of one case.
fn expect(report: &Report, case: &str, facts: &[(&str, &str)]) {
    for (key, value) in facts {
        assert_eq!(report.get(case, key), *value, "{case} {key}\n{report}");
    }
}

/// Asserts that a start failed, that each of these limits is named with the reason and no other, and that
/// there is the advice how to go on without.
fn refused(report: &Report, case: &str, limits: &[&str], reason: &str) {
    expect(report, case, &[("status", "1")]);
    let error = report.get(case, "error");
    assert!(error.starts_with("tare-runtime: limits not applied: "), "{error}\n{report}");
    assert!(error.contains("--record-missing-limits"), "{error}\n{report}");
    named(report, error, limits, reason);
}

/// The same, of what `state` shows as not applied after a start that was to go on without.
fn recorded(report: &Report, case: &str, limits: &[&str], reason: &str) {
    expect(report, case, &[("status", "0"), ("error", "")]);
    let state = report.get(case, "state");
    assert!(state.contains(r#""status": "running""#), "{state}\n{report}");
    let (_, list) = state.split_once(r#""notApplied": ["#).unwrap_or_else(|| panic!("{state}\n{report}"));
    named(report, list, limits, reason);
}

fn named(report: &Report, text: &str, limits: &[&str], reason: &str) {
    for limit in ["memory", "pids", "cpu"] {
        let found = text.split(&format!("{limit}: ")).nth(1);
        assert_eq!(found.is_some(), limits.contains(&limit), "{limit} in {text}\n{report}");
        assert!(found.is_none_or(|found| found.contains(reason)), "{reason} in {text}\n{report}");
    }
}

#[test]
fn the_guest_has_version_2_alone_and_nobody_has_prepared_it() {
    let Some(report) = report() else { return };
    let controllers: Vec<&str> = report.get("before", "controllers").split(' ').collect();
    assert!(["memory", "pids", "cpu"].iter().all(|name| controllers.contains(name)), "{controllers:?}");
    expect(report, "before", &[("subtree_control", "")]);
}

#[test]
fn limits_stand_in_the_kernels_files_and_the_process_is_in_the_cgroup() {
    let Some(report) = report() else { return };
    let pid = report.number("limits", "pid").to_string();
    let facts = [
        ("memory.max", "67108864"),
        // What the limit forbids does not go to the swap space instead.
        ("memory.swap.max", "0"),
        ("pids.max", "17"),
        ("cpu.max", "150000 100000"),
        ("cgroup.procs", pid.as_str()),
        ("not_applied", "none"),
    ];
    expect(report, "limits", &facts);
}

#[test]
fn controllers_are_passed_on_down_to_the_parent_and_no_further() {
    let Some(report) = report() else { return };
    for directory in ["", "/p", "/p/q"] {
        expect(report, "limits", &[(&format!("passed-on:{directory}"), "cpu memory pids")]);
    }
    expect(report, "limits", &[("passed-on:/p/q/limits", "")]);
}

#[test]
fn the_cgroup_is_seen_whole_from_outside_and_as_the_root_from_inside() {
    let Some(report) = report() else { return };
    expect(report, "limits", &[("outside", "0::/p/q/limits"), ("inside", "0::/")]);
}

#[test]
fn the_process_is_born_in_its_cgroup_and_not_moved_there() {
    let Some(report) = report() else { return };
    // The parent allowed no further process, which the kernel asks at a birth and not at a move.
    expect(report, "born", &[("status", "1"), ("directory", "no"), ("state", "no")]);
    let error = report.get("born", "error");
    assert!(error.starts_with("tare-runtime: step clone: ") && error.contains("EAGAIN"), "{error}\n{report}");
}

#[test]
fn a_pids_limit_stops_a_fork_bomb() {
    let Some(report) = report() else { return };
    assert!(report.number("pids", "hit") > 0, "{report}");
    expect(report, "pids", &[("inside", "refused")]);
    let highest = report.number("pids", "highest");
    assert!((2..=8).contains(&highest), "{highest} processes\n{report}");
    // Below the limit nothing is refused.
    expect(report, "pids", &[("within", "11"), ("within-hit", "0")]);
}

#[test]
fn a_memory_limit_kills_who_takes_more() {
    let Some(report) = report() else { return };
    let facts = [("small:inside", "dd 137"), ("large:inside", "dd 0"), ("large:oom_kill", "0")];
    expect(report, "memory", &facts);
    assert!(report.number("memory", "small:oom_kill") >= 1, "{report}");
    assert!(report.number("memory", "small:peak") <= 16 << 20, "{report}");
    assert!(report.number("memory", "large:peak") > 32 << 20, "{report}");
}

#[test]
fn a_cpu_limit_throttles() {
    let Some(report) = report() else { return };
    assert!(report.number("cpu", "nr_periods") >= 10, "{report}");
    assert!(report.number("cpu", "nr_throttled") >= 5, "{report}");
    // A tenth of a CPU was allowed, in slices; three tenths are far from the whole one it asked for.
    let (used, wall) = (report.number("cpu", "usage_usec"), report.number("cpu", "wall_usec"));
    assert!(used * 10 <= wall * 3, "{used} of {wall} us\n{report}");
}

#[test]
fn delete_takes_the_directory_and_leaves_the_parent_and_nothing_else() {
    let Some(report) = report() else { return };
    let facts = [
        ("status", "0"),
        ("error", ""),
        ("directory", "no"),
        ("parent", "yes"),
        ("below", ""),
        ("sleepers", "0"),
        ("state", ""),
        ("mounts", "0"),
    ];
    expect(report, "delete", &facts);
}

#[test]
fn delete_by_force_ends_children_daemons_and_strangers_in_the_cgroup() {
    let Some(report) = report() else { return };
    expect(report, "kill", &[("members", "11"), ("status", "0"), ("error", ""), ("directory", "no")]);
    // In no namespace of the box: only the cgroup led to it.
    expect(report, "kill", &[("stranger", "137")]);
    assert_eq!(report.number("kill", "after"), report.number("kill", "before"), "{report}");
}

#[test]
fn below_a_cgroup_with_processes_every_limit_is_refused_by_name() {
    let Some(report) = report() else { return };
    refused(report, "busy", &["memory", "pids", "cpu"], EBUSY);
    // Nothing is left, and somebody else's cgroup is what it was.
    let facts = [("directory", "no"), ("state", "no"), ("type", "domain"), ("passed-on", "")];
    expect(report, "busy", &facts);
    expect(report, "freed", &[("status", "0"), ("error", "")]);
}

#[test]
fn below_a_cgroup_with_processes_it_starts_where_that_is_to_be_recorded() {
    let Some(report) = report() else { return };
    recorded(report, "busy-recorded", &["memory", "pids", "cpu"], EBUSY);
    // It cannot be limited, but it is counted.
    let facts = [("outside", "0::/busy/busy"), ("directory", "no"), ("below", "")];
    expect(report, "busy-recorded", &facts);
}

#[test]
fn a_threaded_subtree_is_refused_or_recorded() {
    let Some(report) = report() else { return };
    refused(report, "threaded", &["memory", "pids", "cpu"], THREADED);
    expect(report, "threaded", &[("directory", "no")]);
    recorded(report, "threaded-recorded", &["memory", "pids", "cpu"], THREADED);
    expect(report, "threaded-recorded", &[("outside", "0::/"), ("directory", "no")]);
    expect(report, "prepared", &[("status", "1"), ("directory", "no")]);
    let error = report.get("prepared", "error");
    assert!(error.contains("EOPNOTSUPP") && error.contains("threaded"), "{error}\n{report}");
}

#[test]
fn without_root_limits_hold_in_a_delegated_subtree() {
    let Some(report) = report() else { return };
    expect(report, "user", &[("id", "1000")]);
    let facts = [
        ("status", "0"),
        ("error", ""),
        ("outside", "0::/own/boxes/own"),
        ("inside", "0::/"),
        ("memory.max", "67108864"),
        ("pids.max", "17"),
        ("cpu.max", "50000 100000"),
        ("below", ""),
        ("sleepers", "0"),
    ];
    expect(report, "own", &facts);
    expect(report, "own-bomb", &[("status", "0")]);
    assert!(report.number("own-bomb", "hit") > 0, "{report}");
}

#[test]
fn without_root_a_controller_that_is_not_delegated_does_not_cost_the_others() {
    let Some(report) = report() else { return };
    let reason = "/sys/fs/cgroup/partial/cgroup.subtree_control: Permission denied (EACCES): \
                  this cgroup is not delegated";
    refused(report, "partial", &["cpu"], reason);
    expect(report, "partial", &[("below", "shell")]);
    recorded(report, "partial-recorded", &["cpu"], reason);
    let facts = [
        ("outside", "0::/partial/own/boxes/partial"),
        ("memory.max", "67108864"),
        ("pids.max", "17"),
        ("below", ""),
    ];
    expect(report, "partial-recorded", &facts);
}

#[test]
fn without_root_and_outside_of_a_delegated_subtree_limits_are_refused_or_recorded() {
    let Some(report) = report() else { return };
    let all = ["memory", "pids", "cpu"];
    refused(report, "outside", &all, "/sys/fs/cgroup/cgroup.procs: Permission denied (EACCES)");
    expect(report, "outside", &[("below", "")]);
    refused(report, "none", &all, "/sys/fs/cgroup/tare: Permission denied (EACCES)");
    recorded(report, "none-recorded", &all, "/sys/fs/cgroup/tare: Permission denied (EACCES)");
    expect(report, "none-recorded", &[("left", ""), ("sleepers", "0")]);
}
