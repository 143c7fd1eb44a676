//! Whether two contenders differ at all: a sign-flip permutation test on paired log-ratios.
//!
//! If they did not, the two values of a round could be swapped, that is, the sign of the round's log-ratio
//! flipped, without changing anything. The statistic is the sum of signed ranks (Wilcoxon, 1945) rather
//! than of the ratios themselves: one stalled start must not decide, nor hide, a difference.

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Below this p-value two contenders `differ`; otherwise there is no verdict, which is not "equal".
pub const SIGNIFICANCE: f64 = 0.05;

/// Up to this many pairs every pattern of signs is tried and p is exact; six pairs are the fewest that
/// can reach [`SIGNIFICANCE`] (2 / 2^6 = 0.031).
const EXACT_UP_TO: usize = 14;

/// Patterns drawn where there are too many to try them all.
const DRAWS: u64 = 10_000;

/// Above this many pairs the sum of signed ranks is normal to well within the error of drawing.
const DRAWN_UP_TO: usize = 300;

/// Chance that a standard normal value is further than `z` from 0: `erfc(z / sqrt 2)` by formula 7.1.26 of
/// Abramowitz and Stegun, error below 2e-7.
fn two_sided(z: f64) -> f64 {
    let x = z / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let terms = [0.254_829_592, -0.284_496_736, 1.421_413_741, -1.453_152_027, 1.061_405_429];
    terms.iter().rev().fold(0.0, |sum, it| (sum + it) * t) * (-x * x).exp()
}

/// Two-sided p-value for "the log-ratios are symmetric around 0". None without a pair.
/// Zeros keep their place and carry no sign, so that contenders with equal values give p = 1.
pub fn sign_flip(log_ratios: &[f64], seed: u64) -> Option<f64> {
    if log_ratios.is_empty() {
        return None;
    }
    let ranks = doubled_ranks(log_ratios);
    let seen = ranks.iter().zip(log_ratios).map(|(rank, it)| signed(*rank, *it > 0.0)).sum::<i64>().abs();
    let count = ranks.len();
    if count <= EXACT_UP_TO {
        let patterns = 1_u64 << count;
        let extreme = (0..patterns).filter(|pattern| flipped(&ranks, &[*pattern]) >= seen).count();
        return Some(extreme as f64 / patterns as f64);
    }
    if count > DRAWN_UP_TO {
        let spread = ranks.iter().map(|it| (it * it) as f64).sum::<f64>().sqrt();
        return Some(if spread > 0.0 { two_sided(seen as f64 / spread) } else { 1.0 });
    }
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut words = vec![0_u64; count.div_ceil(64)];
    let extreme = (0..DRAWS)
        .filter(|_| {
            words.fill_with(|| random.next_u64());
            flipped(&ranks, &words) >= seen
        })
        .count() as u64;
    // The pattern seen is itself one of the patterns: p is never 0.
    Some((extreme + 1) as f64 / (DRAWS + 1) as f64)
}

/// Size of the statistic under a pattern of signs, one bit for each pair.
fn flipped(ranks: &[i64], pattern: &[u64]) -> i64 {
    let sum: i64 = ranks
        .iter()
        .enumerate()
        .map(|(index, rank)| signed(*rank, pattern[index / 64] >> (index % 64) & 1 == 1))
        .sum();
    sum.abs()
}

fn signed(rank: i64, positive: bool) -> i64 {
    if positive { rank } else { -rank }
}

/// Twice the rank of each size, ties sharing their mean rank (doubled, they stay whole numbers);
/// 0 for a ratio of exactly 1.
fn doubled_ranks(log_ratios: &[f64]) -> Vec<i64> {
    let mut order: Vec<usize> = (0..log_ratios.len()).collect();
    let size = |index: usize| log_ratios[index].abs();
    order.sort_unstable_by(|a, b| size(*a).total_cmp(&size(*b)));
    let mut ranks = vec![0; log_ratios.len()];
    let mut start = 0;
    while start < order.len() {
        let tied = order[start..].iter().take_while(|it| size(**it) == size(order[start])).count();
        let shared = (2 * start + tied + 1) as i64;
        for index in &order[start..start + tied] {
            ranks[*index] = if size(*index) == 0.0 { 0 } else { shared };
        }
        start += tied;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    #[test]
    fn exact_answers() {
        assert_eq!(sign_flip(&[], 1), None);
        // All signs equal: two of 2^n patterns are as extreme.
        assert_eq!(sign_flip(&[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 1), Some(2.0 / 64.0));
        assert_eq!(sign_flip(&[-0.1, -0.2, -0.3, -0.4, -0.5], 1), Some(2.0 / 32.0));
        // Wilcoxon's W+ = 1 with n = 6: P(W+ <= 1) = 2/64, two-sided 4/64.
        assert_eq!(sign_flip(&[-0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 1), Some(4.0 / 64.0));
        assert_eq!(sign_flip(&[0.0; 8], 1), Some(1.0));
        assert_eq!(sign_flip(&[0.5, -0.5], 1), Some(1.0));
    }

    #[test]
    fn a_drawn_p_is_never_zero() {
        let all_one_way: Vec<f64> = (1..=60).map(f64::from).collect();
        let p = sign_flip(&all_one_way, 3).unwrap();
        assert_eq!(p, 1.0 / (DRAWS + 1) as f64, "the pattern seen is itself one of the patterns");
    }

    #[test]
    fn drawn_patterns_agree_with_all_patterns() {
        let ratios: Vec<f64> = (0..14).map(|it| (f64::from(it) - 4.2) * 0.01).collect();
        let exact = sign_flip(&ratios, 1).unwrap();
        let mut longer = ratios.clone();
        longer.push(0.0); // A zero carries no sign: the test is the same, the method another.
        let drawn = sign_flip(&longer, 1).unwrap();
        assert!((exact - drawn).abs() < 0.02, "{exact} {drawn}");
        assert!(exact > 0.01 && exact < 0.5, "{exact} is too easy a case");
    }

    #[test]
    fn the_normal_form_agrees_with_drawn_patterns() {
        assert!((two_sided(1.959_964) - 0.05).abs() < 1e-6 && (two_sided(0.0) - 1.0).abs() < 1e-6);
        let ratios: Vec<f64> = (0..DRAWN_UP_TO).map(|it| ((it * 7_919) % 301) as f64 - 138.0).collect();
        let drawn = sign_flip(&ratios, 1).unwrap();
        let mut longer = ratios;
        longer.push(0.0);
        let normal = sign_flip(&longer, 1).unwrap();
        assert!((drawn - normal).abs() < 0.02 && drawn > 0.01 && drawn < 0.5, "{drawn} {normal}");
    }

    #[test]
    fn ties_share_their_rank() {
        assert_eq!(doubled_ranks(&[0.2, -0.1, 0.1, 0.0]), [8, 5, 5, 0]);
    }

    #[test]
    fn equal_contenders_differ_as_rarely_as_promised() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(2);
        let wrong = (0..1_000_u64)
            .filter(|seed| {
                let ratios: Vec<f64> = (0..12).map(|_| random.random::<f64>() - 0.5).collect();
                sign_flip(&ratios, *seed).unwrap() < SIGNIFICANCE
            })
            .count();
        assert!((25..=75).contains(&wrong), "{wrong} of 1000");
    }

    #[test]
    fn one_stalled_start_does_not_hide_a_difference() {
        let mut ratios = vec![0.1; 19];
        ratios.push(-9.0);
        assert!(sign_flip(&ratios, 1).unwrap() < SIGNIFICANCE);
    }
}
