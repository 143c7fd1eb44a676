//! What the limits did, and what was made below a box's cgroup.

use crate::expect;
use crate::guest::report;

#[test]
fn a_shell_that_survives_its_child_does_not_hide_that_the_limit_killed_it() {
    let Some(report) = report() else { return };
    let error = "tare-runtime: container survivor: 1 process was killed because the memory limit was reached";
    expect(report, "survivor", &[("status", "0"), ("error", error)]);
    expect(report, "content", &[("status", "0"), ("error", "")]);
}

#[test]
fn refused_forks_are_told_of_too() {
    let Some(report) = report() else { return };
    expect(report, "crowd", &[("status", "0")]);
    let error = report.get("crowd", "error");
    assert!(error.starts_with("tare-runtime: container crowd: "), "{error}\n{report}");
    assert!(error.ends_with("refused because the limit of processes was reached"), "{error}\n{report}");
}

#[test]
fn state_shows_the_counts_of_a_box_that_runs() {
    let Some(report) = report() else { return };
    let state = report.get("both", "state");
    assert!(state.contains(r#""status": "running""#) && state.contains(r#""oom_kills": 1,"#), "{state}");
    let (_, hits) = state.split_once(r#""pids_limit_hits": "#).unwrap_or_else(|| panic!("{state}"));
    let hits: u64 = hits.split(';').next().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{state}"));
    assert!(hits >= 1, "{state}");
}

#[test]
fn a_box_is_counted_for_memory_even_where_only_pids_were_passed_on() {
    let Some(report) = report() else { return };
    let facts = [("memory", "yes"), ("passed-on", "memory pids"), ("status", "0")];
    expect(report, "counted", &facts);
}

#[test]
fn delete_by_force_takes_cgroups_below_with_what_is_in_them() {
    let Some(report) = report() else { return };
    expect(report, "nest", &[("status", "0"), ("error", ""), ("stranger", "137"), ("directory", "no")]);
}
