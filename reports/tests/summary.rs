//! What a row says, on samples whose answers are known.

#[path = "../examples/demo/held.rs"]
#[allow(dead_code)]
mod held;
#[path = "../examples/demo/document.rs"]
#[allow(dead_code)]
mod made_up;

use std::collections::BTreeMap;

use tare_reports::Lang;
use tare_reports::claims::{State, claims};
use tare_reports::document::*;
use tare_reports::stats::Difference;
use tare_reports::summary::{Summary, caveat, summarise};
use tare_reports::text;

/// A document in which a contender's `ready` values are those given.
fn with(values: &[(&str, &[u64])]) -> Document {
    let mut document = made_up::good(1);
    document.series.retain(|it| it.quantity == "ready");
    for series in &mut document.series {
        series.samples.clear();
    }
    for (name, values) in values {
        let samples = (0..).zip(values.iter()).map(|(round, value)| Sample::value(round, 0, *value));
        made_up::find(&mut document, name, "ready", false).samples = samples.collect();
    }
    document
}

fn row(document: &Document, name: &str) -> Summary {
    summarise(document).into_iter().find(|it| it.contender == name && !it.is_aa()).unwrap()
}

#[test]
fn one_row_per_series_in_order() {
    let document = made_up::good(7);
    let rows = summarise(&document);
    assert_eq!(rows.len(), document.series.len());
    for (row, series) in rows.iter().zip(&document.series) {
        assert_eq!((&row.contender, &row.quantity), (&series.contender, &series.quantity));
        assert_eq!(row.n, 7);
    }
}

#[test]
fn figures_of_known_samples() {
    let document = with(&[("process", &[10, 20, 30, 40]), ("tare", &[100, 30, 90, 120])]);
    let tare = row(&document, "tare");
    assert_eq!((tare.n, tare.median, tare.min, tare.max), (4, Some(95.0), Some(30), Some(120)));
    // Four samples carry no interval, no tail, no verdict.
    assert_eq!((tare.interval, tare.p90, tare.p99), (None, None, None));
    let to_process = tare.to_process.unwrap();
    // Ratios by round: 10, 1.5, 3, 3.
    assert!((to_process.ratio.ratio - 3.0).abs() < 1e-9);
    assert_eq!((to_process.ratio.pairs, to_process.ratio.difference), (4, Difference::NoVerdict));
    assert_eq!(tare.to_qemu, None);
    assert_eq!(row(&document, "process").to_process, None);
}

#[test]
fn failures_are_counted_by_reason_and_lower_the_success_rate() {
    let mut document = with(&[("tare", &[100, 110, 120])]);
    let samples = &mut made_up::find(&mut document, "tare", "ready", false).samples;
    samples.push(Sample::failure(3, 0, Failure::Timeout, "late"));
    samples.push(Sample::failure(4, 0, Failure::Timeout, "late"));
    samples.push(Sample::failure(5, 0, Failure::Crash, "gone"));
    samples.push(Sample::failure(6, 0, Failure::Interrupted, "the user"));
    samples.push(Sample::failure(7, 0, Failure::NotMeasured, "no cgroup"));
    let tare = row(&document, "tare");
    let expected =
        [(Failure::Timeout, 2), (Failure::Crash, 1), (Failure::Interrupted, 1), (Failure::NotMeasured, 1)];
    assert_eq!(tare.failures, BTreeMap::from(expected));
    assert_eq!((tare.n, tare.failed(), tare.median), (3, 5, Some(110.0)));
    // The user's interruption and the missing cgroup say nothing about the contender.
    assert_eq!(tare.success_rate, Some(0.5));
}

#[test]
fn no_success_is_a_row_without_figures() {
    let mut document = with(&[]);
    made_up::find(&mut document, "tare", "ready", false).samples =
        vec![Sample::failure(0, 0, Failure::Start, "refused")];
    let tare = row(&document, "tare");
    assert_eq!((tare.n, tare.median, tare.success_rate), (0, None, Some(0.0)));
    assert_eq!(row(&document, "runc").success_rate, None);
}

#[test]
fn tails_come_with_enough_samples() {
    let values: Vec<u64> = (1..=1000).collect();
    let tare = |count: usize| row(&with(&[("tare", &values[..count])]), "tare");
    assert_eq!((tare(99).p90, tare(100).p99), (None, None));
    assert!(tare(100).p90.is_some() && tare(999).p99.is_none() && tare(1000).p99.is_some());
}

#[test]
fn accel_classes_are_never_silently_compared() {
    let rows = summarise(&made_up::good(12));
    let qemu = rows.iter().find(|it| it.contender == "qemu").unwrap();
    assert_eq!(qemu.to_process.as_ref().unwrap().caveat, Some("tcg: an upper bound"));
    let runc = rows.iter().find(|it| it.contender == "runc").unwrap();
    assert_eq!(runc.to_process.as_ref().unwrap().caveat, None);
    assert_eq!(runc.to_qemu.as_ref().unwrap().caveat, Some("tcg: an upper bound of the base"));
    assert_eq!(caveat(Accel::Kvm, Accel::Native), None);
    assert_eq!(caveat(Accel::Tcg, Accel::Tcg), None);
    for accel in [Accel::Native, Accel::Kvm, Accel::KvmNested] {
        assert!(caveat(Accel::Tcg, accel).unwrap().starts_with("tcg"));
        assert!(caveat(accel, Accel::Tcg).unwrap().starts_with("tcg"));
    }
    assert!(caveat(Accel::KvmNested, Accel::Native).unwrap().starts_with("kvm-nested"));
}

#[test]
fn modes_and_parameters_are_never_mixed_in_a_ratio() {
    let values: Vec<u64> = (0..10).map(|it| 1_000 + it).collect();
    let mut document = with(&[("process", &values), ("tare", &values), ("runc", &values)]);
    assert!(row(&document, "tare").to_process.is_some());
    made_up::find(&mut document, "tare", "ready", false).mode = Mode::Cold;
    made_up::find(&mut document, "runc", "ready", false).parameters.network = Some("bridge".into());
    assert_eq!(row(&document, "tare").to_process, None);
    assert_eq!(row(&document, "runc").to_process, None);
}

/// The state of the hypothesis that starts so.
fn state(document: &Document, said: &str) -> State {
    let all = claims(document, &summarise(document), Lang::En);
    all.iter().find(|it| it.said.starts_with(said)).unwrap().state
}

fn accel(document: &mut Document, accel: Accel) {
    document.contenders.iter_mut().find(|it| it.name == "qemu").unwrap().accel = accel;
}

#[test]
fn a_tcg_time_refutes_minutes_and_never_confirms_anything() {
    let mut document = made_up::good(20);
    assert_eq!(state(&document, "VMs boot"), State::Refuted);
    assert_eq!(state(&document, "Containers start"), State::Unconfirmed);
    // Two minutes under TCG say nothing about a VM with hardware help.
    for sample in &mut made_up::find(&mut document, "qemu", "ready", false).samples {
        sample.value = sample.value.map(|it| it * 40);
    }
    assert_eq!(state(&document, "VMs boot"), State::Unconfirmed);
    accel(&mut document, Accel::Kvm);
    assert_eq!(state(&document, "VMs boot"), State::Supported);
}

#[test]
fn a_restore_is_no_boot_and_the_distribution_answers_where_it_was_measured() {
    let mut restored = made_up::good(20);
    made_up::find(&mut restored, "qemu", "ready", false).mode = Mode::Restore;
    assert_eq!(state(&restored, "VMs boot"), State::NotMeasured);

    let mut document = made_up::good(20);
    accel(&mut document, Accel::Kvm);
    let mut row = document.contenders.iter().find(|it| it.name == "qemu").unwrap().clone();
    row.name = "qemu-distro".into();
    document.contenders.push(row);
    let mut series = made_up::find(&mut document, "qemu", "ready", false).clone();
    series.contender = "qemu-distro".into();
    for sample in &mut series.samples {
        sample.value = sample.value.map(|it| it * 40);
    }
    document.series.push(series);
    assert_eq!(state(&document, "VMs boot"), State::Supported, "a boot of minutes, beside one of seconds");
}

#[test]
fn kvm_decides_whether_containers_start_faster() {
    let mut document = made_up::good(20);
    accel(&mut document, Accel::Kvm);
    assert_eq!(state(&document, "Containers start"), State::Supported);
    for sample in &mut made_up::find(&mut document, "runc", "ready", false).samples {
        sample.value = sample.value.map(|it| it * 200);
    }
    assert_eq!(state(&document, "Containers start"), State::Refuted);
    // Slower than even an emulated VM: an upper bound can refute.
    accel(&mut document, Accel::Tcg);
    assert_eq!(state(&document, "Containers start"), State::Refuted);
}

#[test]
fn a_container_that_costs_nothing_would_be_believed() {
    let mut document = made_up::good(20);
    assert_eq!(state(&document, "A container costs"), State::Refuted);
    for name in ["tare", "tare-lib", "runc"] {
        let process = made_up::find(&mut document, "process", "ready", false).samples.clone();
        made_up::find(&mut document, name, "ready", false).samples = process;
    }
    assert_eq!(state(&document, "A container costs"), State::Supported);
}

#[test]
fn what_was_not_measured_is_not_claimed() {
    let mut document = made_up::good(20);
    for said in ["A VM costs", "More containers", "Containers run", "Build once", "Layers make"] {
        assert_eq!(state(&document, said), State::NotMeasured, "{said}");
    }
    document.series.clear();
    let all = claims(&document, &[], Lang::Zh);
    assert!(all.len() == 9 && all.iter().all(|it| it.state == State::NotMeasured));
}

/// What the host lost for each box of a contender, times a factor.
fn times(document: &mut Document, contender: &str, factor: u64) {
    let own = document.series.iter_mut().filter(|it| it.measure == "memory" && it.contender == contender);
    for sample in own.flat_map(|it| &mut it.samples) {
        sample.value = sample.value.map(|it| it * factor);
    }
}

#[test]
fn gigabytes_are_judged_by_what_the_host_lost_for_an_idle_box() {
    let mut document = made_up::good(4);
    held::add(&mut document);
    assert_eq!(state(&document, "A VM costs"), State::Refuted);
    times(&mut document, "qemu", 20);
    for name in ["tare", "runc"] {
        times(&mut document, name, 8);
    }
    assert_eq!(state(&document, "A VM costs"), State::Unconfirmed, "an emulator's own memory is in it");
    accel(&mut document, Accel::Kvm);
    assert_eq!(state(&document, "A VM costs"), State::Supported);
    times(&mut document, "qemu", 0);
    assert_eq!(state(&document, "A VM costs"), State::Refuted);
    let shown = claims(&document, &summarise(&document), Lang::En);
    let shown = &shown.iter().find(|it| it.said.starts_with("A VM costs")).unwrap();
    assert!(shown.shown.contains("`tare` 4.06 MiB") && shown.sure.contains("touched"), "{shown:?}");
}

#[test]
fn more_fit_only_where_both_were_searched_and_neither_emulated() {
    let mut document = made_up::good(4);
    held::add(&mut document);
    assert_eq!(state(&document, "More containers"), State::Unconfirmed, "emulated");
    accel(&mut document, Accel::Kvm);
    assert_eq!(state(&document, "More containers"), State::Supported);
    let qemu = |document: &mut Document, edit: &dyn Fn(&mut Series)| {
        let own = |it: &&mut Series| it.contender == "qemu" && it.quantity == "idle";
        document.series.iter_mut().filter(own).for_each(edit);
    };
    let mut timed = document.clone();
    qemu(&mut timed, &|it| it.binding.as_mut().unwrap().failed_at = None);
    assert_eq!(
        state(&timed, "More containers"),
        State::Unconfirmed,
        "more machines may fit: nobody saw them fail"
    );
    let mut predicted = document.clone();
    qemu(&mut predicted, &|it| it.predicted = true);
    predicted.series.iter_mut().filter(|it| it.quantity == "idle").for_each(|it| it.predicted = true);
    assert_eq!(state(&predicted, "More containers"), State::Unconfirmed);
    qemu(&mut document, &|it| it.samples[0].value = Some(50_000));
    assert_eq!(state(&document, "More containers"), State::Refuted);
    let mut open = document.clone();
    for it in open.series.iter_mut().filter(|it| it.quantity == "idle" && it.contender != "qemu") {
        it.binding.iter_mut().for_each(|it| it.failed_at = None);
    }
    assert_eq!(state(&open, "More containers"), State::Unconfirmed, "of containers, too, more may fit");
    document.series.retain(|it| it.measure != "density");
    assert_eq!(
        state(&document, "More containers"),
        State::Unconfirmed,
        "memory alone leans and decides nothing"
    );
}

#[test]
fn held_boxes_have_a_line_per_method_and_search_in_the_terminal() {
    let mut document = with(&[]);
    document.series.clear();
    held::add(&mut document);
    insta::assert_snapshot!(text::table(&document));
}

#[test]
fn the_terminal_table() {
    let mut document = with(&[
        ("process", &[400_000, 410_000, 420_000, 400_000, 410_000, 420_000]),
        ("tare", &[4_000_000, 4_100_000, 4_200_000, 4_000_000, 4_100_000, 4_200_000]),
        ("qemu", &[4_000_000_000, 4_100_000_000]),
    ]);
    made_up::find(&mut document, "tare", "ready", false).samples.push(Sample::failure(
        6,
        0,
        Failure::Timeout,
        "late",
    ));
    document.series.retain(|it| !it.samples.is_empty());
    insta::assert_snapshot!(text::table(&document));
}
