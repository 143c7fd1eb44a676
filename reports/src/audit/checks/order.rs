//! 19: the order of visits is really shuffled, computed from the positions stored with the samples.

use std::collections::{BTreeMap, BTreeSet};

use super::{Document, Finding, Mode, Series};
use crate::disk;

/// A fair shuffle puts a contender's mean place further than this many standard deviations from the
/// middle once in 15,000 runs.
const FAR: f64 = 4.0;

/// Below this chance, seeing one order in all rounds proves that nobody shuffles.
const CHANCE: f64 = 0.001;

pub(in crate::audit) fn order_is_shuffled(document: &Document) -> Finding {
    // Who stood at which place, round by round. Quantities of one visit share its place.
    let mut rounds: BTreeMap<(bool, u32), BTreeMap<u32, String>> = BTreeMap::new();
    // Each measure has rounds of its own, and so have cold starts. The ladder's climbs for memory are in another order, there and back.
    let startup: fn(&Series) -> bool = |it| it.measure == "startup";
    let rungs: fn(&Series) -> bool = |it| it.measure == "ladder" && it.quantity == "ready";
    let pulls: fn(&Series) -> bool = |it| it.measure == disk::MEASURE && it.quantity == "pull";
    let timed = [startup, rungs, pulls].into_iter().find(|own| document.series.iter().any(own));
    let Some(timed) = timed else {
        return Finding::not_checkable(
            "the order is judged where one box, or one transfer, is timed at a time, and this run has none",
        );
    };
    for series in document.series.iter().filter(|it| timed(it)) {
        let second = if series.parameters.aa == Some(true) { " (A/A)" } else { "" };
        let rung = series.parameters.rung.as_ref().map_or(String::new(), |it| format!(" on rung {it}"));
        let form = series.parameters.form.as_ref().map_or(String::new(), |it| format!(" ({it})"));
        for sample in &series.samples {
            let visitor = format!("{}{form}{rung}{second}", series.contender);
            rounds
                .entry((series.mode == Mode::Cold, sample.round))
                .or_default()
                .insert(sample.position, visitor);
        }
    }
    let visitors: BTreeSet<&String> = rounds.values().flat_map(BTreeMap::values).collect();
    if visitors.len() < 2 {
        return Finding::not_checkable("an order needs two contenders");
    }
    let shared: Vec<Vec<&String>> =
        rounds.values().filter(|it| it.len() > 1).map(|it| it.values().collect()).collect();
    if shared.is_empty() {
        return Finding::failed("no round visits more than one contender: all of A, then all of B");
    }

    let orders: BTreeSet<&Vec<&String>> = shared.iter().collect();
    let expected_chance: f64 =
        shared[1..].iter().map(|it| 1.0 / (1..=it.len()).map(|it| it as f64).product::<f64>()).product();
    if expected_chance > CHANCE {
        return Finding::not_checkable(format!("{} rounds are too few to tell a shuffle", shared.len()));
    }
    if orders.len() == 1 {
        return Finding::failed(format!("the same order in all {} rounds", shared.len()));
    }
    if let Some(fault) = visitors.iter().find_map(|it| favoured(it, &shared)) {
        return Finding::failed(fault);
    }
    Finding::passed(format!(
        "{} different orders in {} rounds of {} visits; no contender favours a place",
        orders.len(),
        shared.len(),
        visitors.len()
    ))
}

/// Whether a visitor stands too often early or late: its places, each scaled to 0..1, against the mean
/// and the variance that a fair shuffle gives.
fn favoured(visitor: &String, rounds: &[Vec<&String>]) -> Option<String> {
    let (mut sum, mut variance) = (0.0, 0.0);
    for order in rounds {
        let Some(place) = order.iter().position(|it| *it == visitor) else { continue };
        let count = order.len() as f64;
        sum += place as f64 / (count - 1.0) - 0.5;
        variance += (count + 1.0) / (count - 1.0) / 12.0;
    }
    let deviations = sum / f64::sqrt(variance);
    (deviations.abs() > FAR).then(|| {
        let side = if deviations < 0.0 { "early" } else { "late" };
        format!("{visitor} stands too often {side} in the round ({deviations:.1} standard deviations)")
    })
}
