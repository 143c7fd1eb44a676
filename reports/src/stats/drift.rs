//! Whether the figures wandered over the run: the Theil-Sen slope of log(value) over the rounds.
//!
//! The slope is the median of the slopes of all pairs of rounds, so a third of the rounds may be outliers
//! without moving it; its interval is Sen's (1968), from the variance of Kendall's tau. Times the length
//! of the run it is the drift: +10 % means that the last round is a tenth above the first.

use serde::Serialize;

use super::quantile::of_sorted;
use super::{Interval, Rounds, median};

/// How far a contender's figures wandered from the first round to the last.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Drift {
    /// Relative change over the run: 0.1 is +10 %.
    pub change: f64,
    /// 99 % interval of the change. 99, not 95: a run has many series, and one of them would fall outside
    /// by chance.
    pub interval: Interval,
    /// Rounds it was computed from.
    pub rounds: usize,
}

impl Drift {
    /// Whether the interval excludes "no drift".
    pub fn is_certain(&self) -> bool {
        !self.interval.contains(0.0)
    }
}

/// Fewest rounds that can show a drift at 99 %.
const MIN_ROUNDS: usize = 6;

/// More rounds than this are first gathered into as many groups: the work grows with the square.
const MOST_POINTS: usize = 300;

/// Quantile of the normal distribution for a two-sided 99 %.
const Z: f64 = 2.576;

/// The drift of the rounds; None below six rounds or where a value is 0.
pub fn drift(rounds: &Rounds) -> Option<Drift> {
    if rounds.len() < MIN_ROUNDS || rounds.values().any(|it| *it <= 0.0) {
        return None;
    }
    let all: Vec<(f64, f64)> = rounds.iter().map(|(round, it)| (f64::from(*round), it.ln())).collect();
    let points: Vec<(f64, f64)> = all
        .chunks(all.len().div_ceil(MOST_POINTS))
        .filter_map(|group| {
            let (rounds, logs): (Vec<f64>, Vec<f64>) = group.iter().copied().unzip();
            Some((median(&rounds)?, median(&logs)?))
        })
        .collect();

    let mut slopes = Vec::with_capacity(points.len() * (points.len() - 1) / 2);
    for (index, later) in points.iter().enumerate() {
        slopes.extend(points[..index].iter().map(|earlier| (later.1 - earlier.1) / (later.0 - earlier.0)));
    }
    slopes.sort_unstable_by(f64::total_cmp);

    let (count, pairs) = (points.len() as f64, slopes.len() as f64);
    let reach = Z * (count * (count - 1.0) * (2.0 * count + 5.0) / 18.0).sqrt() / 2.0 / pairs;
    let length = all[all.len() - 1].0 - all[0].0;
    let change = |p: f64| (of_sorted(&slopes, p.clamp(0.0, 1.0)) * length).exp() - 1.0;
    Some(Drift {
        change: change(0.5),
        interval: Interval { low: change(0.5 - reach), high: change(0.5 + reach) },
        rounds: rounds.len(),
    })
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    fn rounds(count: u32, mut value: impl FnMut(u32) -> f64) -> Rounds {
        (0..count).map(|round| (round, value(round))).collect()
    }

    #[test]
    fn a_steady_rise_is_found_to_the_figure() {
        let found = drift(&rounds(21, |round| 100.0 * 1.2_f64.powf(f64::from(round) / 20.0))).unwrap();
        assert!((found.change - 0.2).abs() < 1e-9 && found.is_certain(), "{found:?}");
        let falling = drift(&rounds(21, |round| 100.0 * 0.8_f64.powf(f64::from(round) / 20.0))).unwrap();
        assert!((falling.change + 0.2).abs() < 1e-9 && falling.is_certain(), "{falling:?}");
    }

    #[test]
    fn a_fifth_of_outliers_does_not_move_it() {
        let found = drift(&rounds(30, |round| if round % 5 == 0 { 900.0 } else { 100.0 })).unwrap();
        assert!(found.change.abs() < 0.01, "{found:?}");
    }

    #[test]
    fn noise_is_rarely_taken_for_drift() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(6);
        let wrong = (0..500)
            .filter(|_| drift(&rounds(15, |_| 80.0 + 40.0 * random.random::<f64>())).unwrap().is_certain())
            .count();
        assert!(wrong <= 15, "{wrong} of 500");
    }

    #[test]
    fn too_few_rounds_and_zeros_say_nothing() {
        assert_eq!(drift(&rounds(5, |_| 1.0)), None);
        assert_eq!(drift(&rounds(9, f64::from)), None);
    }

    #[test]
    fn thousands_of_rounds_are_gathered() {
        let found = drift(&rounds(5_000, |round| 100.0 + f64::from(round) * 0.004)).unwrap();
        assert!((found.change - 0.2).abs() < 0.01 && found.rounds == 5_000, "{found:?}");
    }
}
