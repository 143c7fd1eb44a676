//! Statistics over samples: robust, seeded, and silent where there are too few.
//!
//! | question | answer | file |
//! |---|---|---|
//! | where is the middle, how long the tail | median, quantiles | `quantile` |
//! | how sure is the median | percentile bootstrap | `bootstrap` |
//! | how much slower, how much more | ratio, difference paired within rounds | `paired` |
//! | is there a difference at all | sign-flip permutation test | `permutation` |
//! | did the host change under way | Theil-Sen slope | `drift` |
//! | what does one more box cost | Theil-Sen slope within climbs | `slope` |
//! | what would many more cost | weighted least squares, straight or bent | `fit` |
//! | how far do climbs differ | Student's t of their own slopes | `between` |
//!
//! Nothing is trimmed, nothing but the lines of `fit` and `between` is taken to be normally distributed, no figure is printed that the number
//! of samples does not carry.

mod between;
mod bootstrap;
mod drift;
mod fit;
mod paired;
mod permutation;
mod quantile;
mod slope;

pub use bootstrap::{Interval, MIN_FOR_INTERVAL, median_interval, median_interval_of_groups};
pub use drift::{Drift, drift};
pub use fit::Fit;
pub use paired::{Delta, Difference, Ratio, Rounds, by_round, difference, ratio, values_by_round};
pub use permutation::{SIGNIFICANCE, sign_flip};
pub use quantile::{median, needed, p90, p99, quantile, tail};
pub use slope::{Point, Slope, points, slope};

/// A seed of its own for each use of chance in a report: the run's seed and what it is used for
/// (64-bit FNV-1a). Equal documents give equal reports; two series never share their draws.
pub fn derive_seed(seed: u64, uses: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ seed;
    for part in uses {
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::derive_seed;

    #[test]
    fn seeds_differ_by_run_and_by_use() {
        let seeds = [derive_seed(7, &["a"]), derive_seed(8, &["a"]), derive_seed(7, &["b"])];
        assert!(seeds[0] != seeds[1] && seeds[0] != seeds[2]);
        assert_ne!(derive_seed(7, &["ab", "c"]), derive_seed(7, &["a", "bc"]));
        assert_eq!(derive_seed(7, &["a"]), seeds[0]);
    }
}
