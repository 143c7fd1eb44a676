//! Median and quantiles.
//!
//! Definition 7 of Hyndman and Fan (1996), "Sample quantiles in statistical packages": linear
//! interpolation between the order statistics around `p * (n - 1)`. It is the default of R, NumPy and
//! spreadsheets, so a reader who recomputes from the raw samples gets the same figures.

/// The middle value; the mean of the two middle ones where their number is even. None without values.
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// The `p`-quantile, `p` from 0 to 1. None without values or for a `p` outside.
///
/// It answers however few the values are: use [`tail`] for a figure that is to be printed.
pub fn quantile(values: &[f64], p: f64) -> Option<f64> {
    if values.is_empty() || !(0.0..=1.0).contains(&p) {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    Some(of_sorted(&sorted, p))
}

/// The `p`-quantile of values that are sorted and not empty.
pub(super) fn of_sorted(sorted: &[f64], p: f64) -> f64 {
    let place = p * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

/// How many samples a `p`-quantile needs: so many that ten of them lie beyond it, `10 / (1 - p)`.
/// 100 for p90, 1,000 for p99. With fewer, one stray sample decides the figure.
pub fn needed(p: f64) -> usize {
    let beyond = p.max(1.0 - p);
    // Rounded: 1 - 0.9 is not quite 0.1.
    (10.0 / (1.0 - beyond)).round() as usize
}

/// The `p`-quantile where there are enough samples for it, else None, to be printed as "n/a".
pub fn tail(values: &[f64], p: f64) -> Option<f64> {
    if values.len() < needed(p) { None } else { quantile(values, p) }
}

/// The 90 % quantile; None below 100 samples.
pub fn p90(values: &[f64]) -> Option<f64> {
    tail(values, 0.9)
}

/// The 99 % quantile; None below 1,000 samples.
pub fn p99(values: &[f64]) -> Option<f64> {
    tail(values, 0.99)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_answers() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        // R: quantile(c(1, 2, 3, 4, 10), c(0.25, 0.9)) gives 2.0 and 7.6.
        assert_eq!(quantile(&[10.0, 1.0, 3.0, 2.0, 4.0], 0.25), Some(2.0));
        assert!((quantile(&[10.0, 1.0, 3.0, 2.0, 4.0], 0.9).unwrap() - 7.6).abs() < 1e-12);
        assert_eq!(quantile(&[1.0, 2.0], 1.1), None);
        assert_eq!(quantile(&[1.0, 2.0], f64::NAN), None);
    }

    #[test]
    fn a_tail_needs_ten_samples_beyond_it() {
        assert_eq!((needed(0.5), needed(0.9), needed(0.99), needed(0.1)), (20, 100, 1000, 100));
        let values: Vec<f64> = (1..=1000).map(f64::from).collect();
        assert_eq!(p90(&values[..99]), None);
        assert!((p90(&values[..100]).unwrap() - 90.1).abs() < 1e-9);
        assert_eq!(p99(&values[..999]), None);
        assert!((p99(&values).unwrap() - 990.01).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn quantiles_are_ordered_and_inside(mut values in prop::collection::vec(0.0..1e12, 1..80),
                                            p in 0.0..=1.0, q in 0.0..=1.0) {
            let (low, high) = (f64::min(p, q), f64::max(p, q));
            let (at_low, at_high) = (quantile(&values, low).unwrap(), quantile(&values, high).unwrap());
            values.sort_unstable_by(f64::total_cmp);
            prop_assert!(values[0] <= at_low && at_low <= at_high * (1.0 + 1e-12) + 1e-12);
            prop_assert!(at_high <= values[values.len() - 1] * (1.0 + 1e-12));
        }

        #[test]
        fn order_does_not_matter_and_scale_carries_over(values in prop::collection::vec(1.0..1e9, 1..60)) {
            let middle = median(&values).unwrap();
            let reversed: Vec<f64> = values.iter().rev().copied().collect();
            prop_assert_eq!(median(&reversed), Some(middle));
            let doubled: Vec<f64> = values.iter().map(|it| it * 2.0).collect();
            prop_assert_eq!(median(&doubled), Some(middle * 2.0));
        }
    }
}
