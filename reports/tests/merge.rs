//! Runs of one `cargo bench` as one document.

#[path = "../examples/demo/document.rs"]
#[allow(dead_code)]
mod made_up;

use tare_reports::document::{Census, Status, Verdict};
use tare_reports::{Document, Lang};
use tare_reports::{audit, check, merge::merge, page, text};

/// A run of start-up, and one of memory on the same host a minute later.
fn two() -> [Document; 2] {
    let (mut startup, mut memory) = (made_up::good(8), made_up::good(8));
    startup.run.id = "a".into();
    startup.series.retain(|it| it.measure == "startup");
    memory.run.id = "b".into();
    memory.run.started = "2026-11-24T05:43:00Z".into();
    memory.run.finished = Some("2026-11-24T05:44:00Z".into());
    memory.run.readings.clear();
    memory.series.retain(|it| it.measure != "startup");
    for it in &startup.series {
        let mut it = it.clone();
        it.measure = "memory".into();
        it.parameters.aa = None;
        if !memory.series.iter().any(|known| {
            (&known.measure, &known.quantity, &known.contender, &known.parameters)
                == (&it.measure, &it.quantity, &it.contender, &it.parameters)
        }) {
            memory.series.push(it);
        }
    }
    [startup, memory]
}

#[test]
fn nothing_is_lost_and_the_run_says_where_it_came_from() {
    let two = two();
    let merged = merge(&two, "both").unwrap();
    assert_eq!(merged.series.len(), two[0].series.len() + two[1].series.len());
    assert_eq!(merged.run.merged_from, ["a", "b"]);
    assert_eq!((merged.run.id.as_str(), &merged.run.started), ("both", &two[0].run.started));
    assert_eq!(merged.run.finished, two[1].run.finished);
    assert_eq!(merged.run.readings, two[0].run.readings);
    assert_eq!(merged.contenders.len(), two[0].contenders.len());
    check(&merged).unwrap();
    // The reports accept it: the same verdicts as on start-up alone where only start-up is judged.
    let verdict = |document: &Document, item: u32| audit::audit(document)[item as usize - 1].verdict;
    for item in [6, 7, 19, 26] {
        assert_eq!(verdict(&merged, item), verdict(&two[0], item), "item {item}");
    }
    assert!(page::render(&merged, Lang::En).unwrap().contains("</html>"));
    assert!(!text::table(&merged).is_empty());
}

#[test]
fn a_row_that_one_run_skipped_is_the_others() {
    let mut two = two();
    let name = two[1].contenders[0].name.clone();
    two[1].contenders[0].status = Status::Skipped;
    two[1].contenders[0].reason = Some("has no answer to memory".into());
    two[1].series.retain(|it| it.contender != name);
    let merged = merge(&two, "both").unwrap();
    let row = merged.contenders.iter().find(|it| it.name == name).unwrap();
    assert_eq!(row.status, Status::Measured);
    assert_eq!(row.reason.as_deref(), Some("has no answer to memory"));
    check(&merged).unwrap();
}

#[test]
fn what_one_run_alone_looked_at_on_the_host_is_in_the_whole() {
    let mut two = two();
    two[0].host.empty_cgroup_bytes = None;
    two[1].host.empty_cgroup_bytes = Some(20_480);
    assert_eq!(merge(&two, "both").unwrap().host.empty_cgroup_bytes, Some(20_480));
}

#[test]
fn a_run_that_left_something_or_was_cut_off_is_seen_in_the_whole() {
    let mut two = two();
    let census = two[0].run.census.as_mut().unwrap();
    census.after = Census { cgroups: 3, ..census.after.clone() };
    two[1].run.complete = false;
    let merged = merge(&two, "both").unwrap();
    assert_eq!(merged.audit[25].verdict, Verdict::Failed, "{:?}", merged.audit[25]);
    assert!(!merged.run.complete);
    two[1].run.finished = None;
    let merged = merge(&two, "both").unwrap();
    assert!(!merged.run.reliable && merged.run.finished.is_none());
}

#[test]
fn the_same_measured_twice_and_another_host_are_refused() {
    let [startup, mut memory] = two();
    assert!(merge(&[], "none").is_err());
    let error = merge(&[startup.clone(), startup.clone()], "twice").unwrap_err();
    assert!(error.contains("startup of"), "{error}");
    memory.host.memory_bytes += 1;
    let error = merge(&[startup, memory], "two hosts").unwrap_err();
    assert!(error.contains("different hosts"), "{error}");
}
