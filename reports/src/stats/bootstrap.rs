//! The confidence interval of a median, by the percentile bootstrap (Efron, 1979).
//!
//! The samples are drawn anew from themselves, with replacement, 2,000 times; the interval holds the
//! middle 95 % of the medians seen. No assumption on the distribution: start-up times have long tails and
//! several humps. The percentile form is used, not BCa: for a median, whose influence function is flat,
//! the acceleration estimated from a jackknife is noise. Of few samples, whose drawn medians are only a handful of
//! different values, it is too short (of seven it holds the true median in 87.5 % of all runs), so there it is widened to
//! what the sign test allows, which is exact for any distribution.

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::Serialize;

use super::median;
use super::quantile::of_sorted;

/// The range that holds the true value in about 95 of 100 such runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// Lower end, in the unit of the values.
    pub low: f64,
    /// Upper end, in the unit of the values.
    pub high: f64,
}

impl Interval {
    /// Whether the value lies inside, ends included.
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// Fewest samples that carry a 95 % interval of the median. With n samples even the widest one, from the
/// smallest to the largest, misses the true median in `2 * 0.5^n` of all runs: 6 % with five, 3 % with six.
pub const MIN_FOR_INTERVAL: usize = 6;

/// How often the samples are drawn anew.
const RESAMPLES: usize = 2_000;

/// Up to this many samples the sign test widens it.
const FEW: usize = 32;

/// Above this many samples the interval is read from the order statistics that the bootstrap tends to
/// (ranks `n/2 -+ 1.96 sqrt(n)/2`); the difference is then far below one per cent of its width.
const BY_RANK_ABOVE: usize = 1_000;

/// 95 % interval of the median. None below [`MIN_FOR_INTERVAL`] values. Equal seeds, equal intervals.
pub fn median_interval(values: &[f64], seed: u64) -> Option<Interval> {
    let count = values.len();
    if count < MIN_FOR_INTERVAL {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    if count > BY_RANK_ABOVE {
        return Some(by_rank(&sorted));
    }
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut drawn = vec![0_usize; count];
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            drawn.fill_with(|| random.random_range(0..count));
            middle(&mut drawn, &sorted)
        })
        .collect();
    Some(widened(middle_part(&mut medians), &sorted))
}

/// An interval of the median of these sorted values, widened where they are few to what the sign test leaves.
fn widened(drawn: Interval, sorted: &[f64]) -> Interval {
    let count = sorted.len();
    if count > FEW {
        return drawn;
    }
    let below = by_sign(count);
    Interval { low: drawn.low.min(sorted[below]), high: drawn.high.max(sorted[count - 1 - below]) }
}

/// How many of so many sorted values lie outside at either end of what the sign test leaves: as many as are below the
/// median by chance in less than 2.5 % of all runs.
fn by_sign(count: usize) -> usize {
    let (mut outside, mut exactly, mut at_most) = (0, 0.5_f64.powi(count as i32), 0.0);
    loop {
        at_most += exactly;
        if at_most > 0.025 {
            return outside - 1;
        }
        outside += 1;
        exactly *= (count + 1 - outside) as f64 / outside as f64;
    }
}

/// The same for values that came in groups, as the starts of one volley did: whole groups are drawn anew, because
/// those of one group have their moment, or their queue, in common. None below [`MIN_FOR_INTERVAL`] groups.
pub fn median_interval_of_groups(groups: &[Vec<f64>], seed: u64) -> Option<Interval> {
    if groups.iter().all(|it| it.len() <= 1) {
        return median_interval(&groups.concat(), seed);
    }
    let mut sorted: Vec<(f64, usize)> =
        groups.iter().enumerate().flat_map(|(at, it)| it.iter().map(move |value| (*value, at))).collect();
    sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let count = groups.iter().filter(|it| !it.is_empty()).count();
    if count < MIN_FOR_INTERVAL {
        return None;
    }
    let full: Vec<usize> = (0..groups.len()).filter(|at| !groups[*at].is_empty()).collect();
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let mut times = vec![0_usize; groups.len()];
            (0..count).for_each(|_| times[full[random.random_range(0..count)]] += 1);
            let total: usize = full.iter().map(|at| times[*at] * groups[*at].len()).sum();
            f64::midpoint(ranked(&sorted, &times, (total - 1) / 2), ranked(&sorted, &times, total / 2))
        })
        .collect();
    let mut own: Vec<f64> = full.iter().filter_map(|at| median(&groups[*at])).collect();
    own.sort_unstable_by(f64::total_cmp);
    Some(widened(middle_part(&mut medians), &own))
}

/// The ends of the middle 95 %.
fn middle_part(medians: &mut [f64]) -> Interval {
    medians.sort_unstable_by(f64::total_cmp);
    Interval { low: of_sorted(medians, 0.025), high: of_sorted(medians, 0.975) }
}

/// The value of this rank where each group is there so many times.
fn ranked(sorted: &[(f64, usize)], times: &[usize], rank: usize) -> f64 {
    let mut before = 0;
    for (value, group) in sorted {
        before += times[*group];
        if before > rank {
            return *value;
        }
    }
    sorted.last().map_or(f64::NAN, |it| it.0)
}

/// Median of the drawn samples, found by selecting among their ranks: half the work of sorting.
fn middle(ranks: &mut [usize], sorted: &[f64]) -> f64 {
    let half = ranks.len() / 2;
    let even = ranks.len().is_multiple_of(2);
    let (below, upper, _) = ranks.select_nth_unstable(half);
    let upper = sorted[*upper];
    match below.iter().max() {
        Some(&lower) if even => f64::midpoint(sorted[lower], upper),
        _ => upper,
    }
}

/// The limit of the bootstrap for many samples.
fn by_rank(sorted: &[f64]) -> Interval {
    let count = sorted.len() as f64;
    let reach = 1.96 * count.sqrt() / 2.0 / (count - 1.0);
    Interval { low: of_sorted(sorted, 0.5 - reach), high: of_sorted(sorted, 0.5 + reach) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::median;

    /// Right-skewed draws with true median 1, the shape of start-up times.
    fn skewed(random: &mut Xoshiro256PlusPlus, count: usize) -> Vec<f64> {
        (0..count)
            .map(|_| {
                let normal = (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
                (0.4 * normal).exp()
            })
            .collect()
    }

    #[test]
    fn groups_are_drawn_whole() {
        // Six visits to the same queue are six times the same: its median is known exactly, however wide it is.
        let queue: Vec<f64> = (1..=16).map(f64::from).collect();
        let interval = median_interval_of_groups(&vec![queue.clone(); 6], 1).unwrap();
        assert_eq!(interval, Interval { low: 8.5, high: 8.5 });
        let pooled = median_interval(&vec![queue; 6].concat(), 1).unwrap();
        assert!(pooled.high - pooled.low > 2.0, "{pooled:?}");
        // Visits that differ, and starts that do not, are no more than so many visits.
        let visits: Vec<f64> = (1..=8).map(f64::from).collect();
        let groups: Vec<Vec<f64>> = visits.iter().map(|it| vec![*it; 20]).collect();
        let (one, many) =
            (median_interval(&visits, 1).unwrap(), median_interval_of_groups(&groups, 1).unwrap());
        assert_eq!((one.low, one.high), (many.low, many.high));
        assert_eq!(median_interval_of_groups(&groups[..5], 1), None, "five visits are too few");
        let single: Vec<Vec<f64>> = visits.iter().map(|it| vec![*it]).collect();
        assert_eq!(median_interval_of_groups(&single, 7), median_interval(&visits, 7));
        assert_eq!(median_interval_of_groups(&[], 7), None);
    }

    /// Share of 600 seeded experiments whose interval holds the true median.
    fn coverage(count: usize) -> f64 {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        let hits = (0..600_u64)
            .filter(|round| {
                let values = skewed(&mut random, count);
                median_interval(&values, *round).unwrap().contains(1.0)
            })
            .count();
        hits as f64 / 600.0
    }

    #[test]
    fn the_interval_covers_the_true_median_as_often_as_it_says() {
        for count in [20, 51] {
            let share = coverage(count);
            assert!((0.92..=0.98).contains(&share), "{count} samples: covered {share}");
        }
        for count in [6, 7, 13, 23] {
            let share = coverage(count);
            assert!(share >= 0.93, "{count} samples: covered {share}");
        }
    }

    #[test]
    fn the_sign_test_leaves_what_its_tables_say() {
        // Of 6, 8, 9, 12 and 20 values the interval goes from the first, the first, the second, the third and the sixth
        // to the same from the end.
        assert_eq!([6, 8, 9, 12, 20].map(by_sign), [0, 0, 1, 2, 5]);
    }

    #[test]
    fn so_does_the_rank_form_for_many_samples() {
        let share = coverage(1_001);
        assert!((0.92..=0.98).contains(&share), "covered {share}");
    }

    #[test]
    fn the_two_forms_agree_where_they_meet() {
        let values = skewed(&mut Xoshiro256PlusPlus::seed_from_u64(3), BY_RANK_ABOVE);
        let drawn = median_interval(&values, 1).unwrap();
        let mut sorted = values;
        sorted.sort_unstable_by(f64::total_cmp);
        let ranked = by_rank(&sorted);
        let width = ranked.high - ranked.low;
        assert!((drawn.low - ranked.low).abs() < 0.15 * width, "{drawn:?} {ranked:?}");
        assert!((drawn.high - ranked.high).abs() < 0.15 * width, "{drawn:?} {ranked:?}");
    }

    #[test]
    fn too_few_samples_have_no_interval() {
        assert_eq!(median_interval(&[1.0; 5], 1), None);
        assert_eq!(median_interval(&[1.0; 6], 1), Some(Interval { low: 1.0, high: 1.0 }));
    }

    #[test]
    fn the_seed_decides_and_nothing_else() {
        let values: Vec<f64> = (0..60).map(|it| f64::from(it * it)).collect();
        assert_eq!(median_interval(&values, 5), median_interval(&values, 5));
        // Seeds must matter: among ten, not all may give the same interval.
        let distinct = (0..10).filter(|seed| median_interval(&values, *seed) != median_interval(&values, 0));
        assert!(distinct.count() > 0);
    }

    #[test]
    fn more_samples_narrow_it() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(9);
        let width = |values: &[f64]| median_interval(values, 1).map(|it| it.high - it.low).unwrap();
        assert!(width(&skewed(&mut random, 900)) < 0.5 * width(&skewed(&mut random, 30)));
    }

    proptest! {
        #[test]
        fn it_holds_the_median_and_stays_inside(values in prop::collection::vec(0.0..1e9, 6..60),
                                                seed: u64) {
            let interval = median_interval(&values, seed).unwrap();
            let smallest = values.iter().copied().fold(f64::INFINITY, f64::min);
            let largest = values.iter().copied().fold(0.0, f64::max);
            prop_assert!(smallest <= interval.low && interval.high <= largest);
            prop_assert!(interval.contains(median(&values).unwrap()));
        }
    }
}
