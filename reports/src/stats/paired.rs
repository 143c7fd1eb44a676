//! How much slower, and how much more: ratios and differences paired within rounds.
//!
//! A round visits every contender once within a short time, so what the host does to one it does to the
//! other, and dividing round by round cancels it. Ratios of two overall medians would not.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Interval, SIGNIFICANCE, median, median_interval, sign_flip};
use crate::document::Series;

/// One figure a round: the median of the values of that round. Rounds without a value are absent.
pub type Rounds = BTreeMap<u32, f64>;

/// The values of a series, round by round.
pub fn values_by_round(series: &Series) -> BTreeMap<u32, Vec<f64>> {
    let mut rounds: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for sample in &series.samples {
        if let Some(value) = sample.value {
            rounds.entry(sample.round).or_default().push(value as f64);
        }
    }
    rounds
}

/// The rounds of a series; several visits in one round become their median, failures have no value.
pub fn by_round(series: &Series) -> Rounds {
    values_by_round(series)
        .into_iter()
        .filter_map(|(round, values)| Some((round, median(&values)?)))
        .collect()
}

/// What the permutation test decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Difference {
    /// p < 0.05.
    Differs,
    /// Not shown to differ. This is not "equal": there may be too few rounds.
    NoVerdict,
}

/// A ratio of two contenders over the rounds in which both have a value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ratio {
    /// Median over the rounds of value / base.
    pub ratio: f64,
    /// 95 % bootstrap interval over the rounds; None with too few of them.
    pub interval: Option<Interval>,
    /// Rounds in which both have a value above 0.
    pub pairs: usize,
    /// p-value of the permutation test.
    pub p: f64,
    /// Its verdict.
    pub difference: Difference,
}

/// The ratio of `rounds` to `base`. A round in which either has no value, or the value 0 (no ratio
/// exists), is left out and shows in `pairs`. None where no round is left.
pub fn ratio(rounds: &Rounds, base: &Rounds, seed: u64) -> Option<Ratio> {
    let logs: Vec<f64> = rounds
        .iter()
        .filter_map(|(round, value)| Some((*value, *base.get(round)?)))
        .filter(|(value, base)| *value > 0.0 && *base > 0.0)
        .map(|(value, base)| value.ln() - base.ln())
        .collect();
    let p = sign_flip(&logs, seed)?;
    let interval =
        median_interval(&logs, seed).map(|logs| Interval { low: logs.low.exp(), high: logs.high.exp() });
    let difference = if p < SIGNIFICANCE { Difference::Differs } else { Difference::NoVerdict };
    Some(Ratio { ratio: median(&logs)?.exp(), interval, pairs: logs.len(), p, difference })
}

/// What one series has more than another, over the rounds in which both have a value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Delta {
    /// Median over the rounds of value - base, in the series' unit.
    pub delta: f64,
    /// 95 % bootstrap interval over the rounds; None with too few of them.
    pub interval: Option<Interval>,
    /// Rounds in which both have a value.
    pub pairs: usize,
    /// p-value of the permutation test.
    pub p: f64,
    /// Its verdict.
    pub difference: Difference,
}

impl Delta {
    /// Whether both the test and the interval say that something is added or taken away: where one stall can be
    /// longer than all that is looked for, they may part ways.
    pub fn is_certain(&self) -> bool {
        let excludes = self.interval.is_some_and(|it| !it.contains(0.0));
        excludes && self.difference == Difference::Differs
    }
}

/// The difference of `rounds` to `base`. None where no round has both.
pub fn difference(rounds: &Rounds, base: &Rounds, seed: u64) -> Option<Delta> {
    let deltas: Vec<f64> =
        rounds.iter().filter_map(|(round, value)| Some(value - base.get(round)?)).collect();
    let p = sign_flip(&deltas, seed)?;
    let difference = if p < SIGNIFICANCE { Difference::Differs } else { Difference::NoVerdict };
    let interval = median_interval(&deltas, seed);
    Some(Delta { delta: median(&deltas)?, interval, pairs: deltas.len(), p, difference })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;
    use crate::document::{Failure, Mode, Parameters, Sample, Unit};

    fn rounds(values: impl IntoIterator<Item = f64>) -> Rounds {
        (0..).zip(values).collect()
    }

    #[test]
    fn several_visits_of_a_round_become_their_median() {
        let series = Series {
            measure: "startup".into(),
            quantity: "ready".into(),
            mode: Mode::Warm,
            contender: "tare".into(),
            unit: Unit::Ns,
            predicted: false,
            binding: None,
            parameters: Parameters::default(),
            samples: vec![
                Sample::value(0, 0, 10),
                Sample::value(0, 1, 20),
                Sample::value(0, 2, 30),
                Sample::failure(1, 0, Failure::Timeout, "late"),
                Sample::value(2, 0, 5),
            ],
        };
        assert_eq!(by_round(&series), BTreeMap::from([(0, 20.0), (2, 5.0)]));
    }

    #[test]
    fn pairing_cancels_what_the_host_does_to_both() {
        // The host gets ten times slower under way; the contender stays at three times the base.
        let base = rounds((0..12).map(|it| 100.0 * f64::from(1 + it)));
        let other = rounds((0..12).map(|it| 300.0 * f64::from(1 + it)));
        let found = ratio(&other, &base, 1).unwrap();
        assert!((found.ratio - 3.0).abs() < 1e-9);
        let interval = found.interval.unwrap();
        assert!((interval.low - 3.0).abs() < 1e-9 && (interval.high - 3.0).abs() < 1e-9);
        assert_eq!((found.pairs, found.difference), (12, Difference::Differs));
    }

    #[test]
    fn rounds_of_one_side_only_and_zeros_are_left_out() {
        let base = Rounds::from([(0, 10.0), (1, 0.0), (2, 10.0), (4, 10.0)]);
        let other = Rounds::from([(0, 20.0), (1, 20.0), (3, 20.0), (4, 40.0)]);
        let found = ratio(&other, &base, 1).unwrap();
        assert_eq!((found.pairs, found.interval, found.difference), (2, None, Difference::NoVerdict));
        assert!((found.ratio - 800_f64.sqrt() / 10.0).abs() < 1e-9);
        assert_eq!(ratio(&Rounds::new(), &base, 1), None);
    }

    #[test]
    fn the_interval_of_a_ratio_covers_the_true_one() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(4);
        let hits = (0..500_u64)
            .filter(|seed| {
                let mut host = 1.0;
                let mut noise = || 0.9 + 0.2 * random.random::<f64>();
                let (mut base, mut other) = (Rounds::new(), Rounds::new());
                for round in 0..25 {
                    host *= noise();
                    base.insert(round, 100.0 * host * noise());
                    other.insert(round, 250.0 * host * noise());
                }
                ratio(&other, &base, *seed).unwrap().interval.unwrap().contains(2.5)
            })
            .count();
        assert!((460..=490).contains(&hits), "{hits} of 500");
    }

    #[test]
    fn what_is_added_is_seen_through_what_the_host_does_to_both() {
        // The host wanders by far more than the 5 that are added.
        let base = rounds((0..12).map(|it| 100.0 + 40.0 * f64::from(it % 5)));
        let more = base.iter().map(|(round, value)| (*round, value + 5.0)).collect();
        let found = difference(&more, &base, 1).unwrap();
        assert_eq!((found.delta, found.pairs, found.difference), (5.0, 12, Difference::Differs));
        assert_eq!(found.interval, Some(Interval { low: 5.0, high: 5.0 }));
        assert!(found.is_certain());
        let doubtful = Delta { interval: Some(Interval { low: -1.0, high: 9.0 }), ..found };
        assert!(!doubtful.is_certain() && !Delta { interval: None, ..found }.is_certain());
        let same = difference(&base, &base, 1).unwrap();
        assert_eq!((same.delta, same.difference), (0.0, Difference::NoVerdict));
        // Five pairs carry no verdict, one-sided rounds no pair.
        let few = Rounds::from([(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0), (4, 5.0), (90, 6.0)]);
        let found = difference(&few, &base, 1).unwrap();
        assert_eq!((found.pairs, found.interval, found.difference), (5, None, Difference::NoVerdict));
        assert_eq!(difference(&Rounds::new(), &base, 1), None);
    }

    proptest! {
        #[test]
        fn turning_a_ratio_round_inverts_it(pairs in prop::collection::vec((1.0..1e9, 1.0..1e9), 6..40)) {
            let (a, b) = (rounds(pairs.iter().map(|it| it.0)), rounds(pairs.iter().map(|it| it.1)));
            let (there, back) = (ratio(&a, &b, 1).unwrap(), ratio(&b, &a, 1).unwrap());
            prop_assert!((there.ratio * back.ratio - 1.0).abs() < 1e-9);
            prop_assert!(there.interval.unwrap().contains(there.ratio));
            prop_assert_eq!(there.difference, back.difference);
        }
    }
}
