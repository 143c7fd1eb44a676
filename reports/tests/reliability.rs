//! Each UNRELIABLE rule fires just above its limit and keeps silent just below.

#[path = "../examples/demo/document.rs"]
#[allow(dead_code)]
mod made_up;

use tare_reports::document::*;
use tare_reports::reliability::{State, check, rules};

/// A document whose figures are exact: no noise, no drift, no A/A effect, nothing read on the host.
fn still() -> Document {
    let mut document = made_up::good(20);
    for series in &mut document.series {
        let first = series.samples[0].value;
        series.samples.iter_mut().for_each(|it| it.value = first);
    }
    let first = made_up::find(&mut document, "process", "ready", false).samples.clone();
    let second = made_up::find(&mut document, "process", "ready", true);
    for (sample, other) in second.samples.iter_mut().zip(first) {
        sample.value = other.value;
    }
    for reading in &mut document.run.readings {
        (reading.wall_ns, reading.steal_ns, reading.foreign_cpu_ns) = (1_000_000_000, 0, 0);
    }
    document
}

fn scale(series: &mut Series, factor: impl Fn(u32) -> f64) {
    for sample in &mut series.samples {
        sample.value = sample.value.map(|it| (it as f64 * factor(sample.round)) as u64);
    }
}

#[test]
fn a_still_host_is_reliable_and_every_rule_was_judged() {
    assert_eq!(check(&still()), Vec::<String>::new());
    assert!(rules(&still()).iter().all(|it| it.state == State::Kept), "{:?}", rules(&still()));
    assert_eq!(check(&made_up::good(20)), Vec::<String>::new());
}

#[test]
fn steal_counts_over_all_cpus() {
    let mut document = still();
    // 1 % of one second times two CPUs is 20 ms.
    document.run.readings.iter_mut().for_each(|it| it.steal_ns = 19_900_000);
    assert_eq!(check(&document), Vec::<String>::new());
    document.run.readings.iter_mut().for_each(|it| it.steal_ns = 21_000_000);
    assert_eq!(check(&document), ["steal: 1.1 % of the CPU time was taken away (limit 1 %)"]);
}

#[test]
fn one_bad_round_counts_for_its_share_of_the_run() {
    let mut document = still();
    document.run.readings[0].steal_ns = 390_000_000;
    assert_eq!(check(&document), Vec::<String>::new());
    document.run.readings[0].steal_ns = 410_000_000;
    assert_eq!(check(&document).len(), 1);
}

#[test]
fn foreign_cpu_counts_over_one_core() {
    let mut document = still();
    document.run.readings.iter_mut().for_each(|it| it.foreign_cpu_ns = 29_900_000);
    assert_eq!(check(&document), Vec::<String>::new());
    document.run.readings.iter_mut().for_each(|it| it.foreign_cpu_ns = 31_000_000);
    assert_eq!(check(&document), ["foreign CPU: other processes used 3.1 % of a core (limit 3 %)"]);
}

#[test]
fn an_aa_effect_fires_by_size_and_certainty() {
    let mut document = still();
    scale(made_up::find(&mut document, "process", "ready", true), |_| 1.049);
    assert_eq!(check(&document), Vec::<String>::new());
    let mut document = still();
    scale(made_up::find(&mut document, "process", "ready", true), |_| 1.06);
    let reasons = check(&document);
    assert!(
        reasons.len() == 1 && reasons[0].starts_with("A/A effect: process differs from itself by 6.0 %"),
        "{reasons:?}"
    );
    // As large in the median, but the sign changes from round to round: the interval includes 0.
    let mut document = still();
    scale(
        made_up::find(&mut document, "process", "ready", true),
        |round| if round % 5 < 3 { 1.06 } else { 0.8 },
    );
    assert_eq!(check(&document), Vec::<String>::new());
}

#[test]
fn a_faster_second_visit_fires_too() {
    let mut document = still();
    scale(made_up::find(&mut document, "process", "ready", true), |_| 0.93);
    assert_eq!(check(&document).len(), 1);
}

#[test]
fn drift_fires_above_a_tenth_over_the_run() {
    for (over_the_run, fires) in [(1.099, false), (1.11, true), (0.88, true)] {
        let mut document = still();
        scale(made_up::find(&mut document, "tare", "ready", false), |round| {
            f64::powf(over_the_run, f64::from(round) / 19.0)
        });
        let reasons = check(&document);
        assert_eq!(reasons.len(), usize::from(fires), "{over_the_run}: {reasons:?}");
        assert!(reasons.iter().all(|it| it.starts_with("drift: tare changed by")), "{reasons:?}");
    }
}

#[test]
fn a_drift_of_the_host_shows_through_the_noise_of_each() {
    let mut document = made_up::good(20);
    for series in &mut document.series {
        scale(series, |round| f64::powf(1.25, f64::from(round) / 19.0));
    }
    let reasons = check(&document);
    assert!(reasons.iter().any(|it| it.starts_with("drift: ")), "{reasons:?} {:?}", rules(&document));
    // Noise alone, in fifty runs of twenty rounds, is hardly ever taken for drift.
    let wrong = (0..50).filter(|seed| !check(&made_up::seeded(20, *seed)).is_empty()).count();
    assert!(wrong <= 3, "{wrong} of 50 runs without drift");
}

#[test]
fn drift_under_load_is_not_the_hosts() {
    let mut document = still();
    let series = made_up::find(&mut document, "tare", "ready", false);
    series.parameters.concurrency = Some(8);
    scale(series, |round| 1.0 + f64::from(round));
    assert_eq!(check(&document), Vec::<String>::new());
}

#[test]
fn what_was_not_read_is_not_judged() {
    let mut document = still();
    document.run.readings.clear();
    document.series.retain(|it| it.parameters.aa.is_none());
    let states: Vec<State> = rules(&document).iter().map(|it| it.state).collect();
    assert_eq!(states, [State::NotJudged, State::NotJudged, State::NotJudged, State::Kept]);
}
