//! A line through what many boxes cost, bent only where the points demand it, to say what more of them would cost.
//!
//! Least squares with Huber's weights, so that a stray look counts less. A quadratic term is taken only where it is
//! above zero at 95 % (the kernel's own cost of a box grows with their number): a line that bends down would promise
//! room that nobody saw. And only where it stays above zero without the fewest boxes: the first of a climb cost less
//! where they use what an earlier climb left in the kernel's slabs, which looks like growth and is none.
//!
//! The interval is that of one more observation, by Student's t. Where there are several climbs it is widened as if
//! all looks of a climb erred alike, and by as much as their own slopes lie apart: that grows with the boxes, and who
//! asks how many fit will hold them in a climb of its own.

use std::collections::BTreeSet;

use super::between::{Between, student};
use super::{Point, median};

/// A fitted line, straight or bent.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// What is paid once, what the first box more costs, and how much that grows with each.
    terms: Vec<f64>,
    /// Covariance of the terms, on the scale of `unit`.
    covariance: Vec<Vec<f64>>,
    /// Variance of one look.
    spread: f64,
    /// Student's t for a two-sided 95 %.
    t: f64,
    /// How far the slope of another climb may lie from this one, at 95 %; 0 where there was one climb only.
    tilt: f64,
    /// The largest number of boxes seen: boxes are counted in it, or the squares would drown all else.
    most: f64,
    /// Looks it rests on.
    points: usize,
}

/// Fewest looks, and fewest different numbers of boxes, that carry a straight line with an interval.
const MIN_FOR_LINE: usize = 4;
/// As much for a bent one.
const MIN_FOR_BEND: usize = 6;

impl Fit {
    /// The line through these points; None with too few of them.
    pub fn of(points: &[Point]) -> Option<Self> {
        let straight = Self::with(points, 2, MIN_FOR_LINE)?;
        let Some(bent) = Self::bent(points).filter(Self::bends) else { return Some(straight) };
        let rest = without_the_fewest(points);
        if Self::with(&rest, 3, MIN_FOR_BEND - 1).is_some_and(|it| it.bends()) {
            return Some(bent);
        }
        // Those that cost less would make it too steep for all others.
        Some(Self::with(&rest, 2, MIN_FOR_LINE).unwrap_or(straight))
    }

    /// The bent line through them, whether or not it must bend.
    pub(crate) fn bent(points: &[Point]) -> Option<Self> {
        Self::with(points, 3, MIN_FOR_BEND)
    }

    fn with(points: &[Point], terms: usize, fewest: usize) -> Option<Self> {
        let numbers: BTreeSet<u64> = points.iter().map(|it| it.boxes.to_bits()).collect();
        let climbs: BTreeSet<(u32, u32)> = points.iter().map(|it| it.climb).collect();
        if numbers.len() <= terms || points.len() < fewest {
            return None;
        }
        let most = points.iter().map(|it| it.boxes).fold(0.0, f64::max);
        let row =
            |boxes: f64| -> Vec<f64> { (0..terms as i32).map(|power| (boxes / most).powi(power)).collect() };
        let free = points.len() - terms;
        let mut weights = vec![1.0; points.len()];
        let mut fitted = solve(points, &weights, terms, row)?;
        for _ in 0..20 {
            let rests: Vec<f64> =
                points.iter().map(|it| (it.value - dot(&row(it.boxes), &fitted.0)).abs()).collect();
            // 1.4826 makes the median of absolute errors a standard deviation, 1.345 is Huber's usual cut.
            let cut = 1.345 * 1.4826 * median(&rests)? * (points.len() as f64 / free as f64).sqrt();
            if cut <= 0.0 {
                break;
            }
            for (weight, rest) in weights.iter_mut().zip(&rests) {
                *weight = (cut / rest.max(cut)).min(1.0);
            }
            fitted = solve(points, &weights, terms, row)?;
        }
        let (found, inverse) = fitted;
        let squares = points.iter().zip(&weights).map(|(it, weight)| {
            let rest = it.value - dot(&row(it.boxes), &found);
            weight * rest * rest
        });
        let spread = squares.sum::<f64>() / free as f64;
        let alike = if climbs.len() > 1 { points.len() as f64 / climbs.len() as f64 } else { 1.0 };
        let covariance =
            inverse.iter().map(|row| row.iter().map(|it| it * spread * alike).collect()).collect();
        let tilt = Between::of(points).map_or(0.0, Between::of_another);
        Some(Self { terms: found, covariance, spread, t: student(free), tilt, most, points: points.len() })
    }

    /// Whether its quadratic term is above zero at 95 %.
    fn bends(&self) -> bool {
        self.is_bent() && self.terms[2] > self.t * self.covariance[2][2].max(0.0).sqrt()
    }

    /// Whether one more box costs more the more there are.
    pub fn is_bent(&self) -> bool {
        self.terms.len() > 2
    }

    /// What is paid once.
    pub fn once(&self) -> f64 {
        self.terms[0]
    }

    /// What one more box costs beside so many.
    pub fn each(&self, beside: f64) -> f64 {
        let bend = self.terms.get(2).copied().unwrap_or(0.0);
        (self.terms[1] + 2.0 * bend * beside / self.most) / self.most
    }

    /// The largest number of boxes that was seen.
    pub fn most(&self) -> f64 {
        self.most
    }

    /// Looks it rests on.
    pub fn points(&self) -> usize {
        self.points
    }

    /// What so many boxes cost, and how far a look at them may lie from that.
    pub fn at(&self, boxes: f64) -> (f64, f64) {
        let row: Vec<f64> = (0..self.terms.len() as i32).map(|it| (boxes / self.most).powi(it)).collect();
        let along: Vec<f64> = self.covariance.iter().map(|it| dot(it, &row)).collect();
        let looked = self.t * (dot(&row, &along).max(0.0) + self.spread).sqrt();
        (dot(&row, &self.terms), looked.hypot(self.tilt * boxes))
    }
}

/// The looks at more boxes than the fewest that were looked at.
fn without_the_fewest(points: &[Point]) -> Vec<Point> {
    let fewest = points.iter().map(|it| it.boxes).fold(f64::INFINITY, f64::min);
    points.iter().filter(|it| it.boxes > fewest).copied().collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Weighted least squares: the terms, and the inverse of the normal matrix.
fn solve(
    points: &[Point],
    weights: &[f64],
    terms: usize,
    row: impl Fn(f64) -> Vec<f64>,
) -> Option<(Vec<f64>, Vec<Vec<f64>>)> {
    let mut normal = vec![vec![0.0; terms]; terms];
    let mut right = vec![0.0; terms];
    for (point, weight) in points.iter().zip(weights) {
        let row = row(point.boxes);
        for i in 0..terms {
            right[i] += weight * row[i] * point.value;
            for j in 0..terms {
                normal[i][j] += weight * row[i] * row[j];
            }
        }
    }
    let inverse = inverse(normal)?;
    Some((inverse.iter().map(|it| dot(it, &right)).collect(), inverse))
}

/// By Gauss and Jordan, the largest pivot first; None where the rows depend on each other.
fn inverse(mut matrix: Vec<Vec<f64>>) -> Option<Vec<Vec<f64>>> {
    let size = matrix.len();
    for (index, row) in matrix.iter_mut().enumerate() {
        row.extend((0..size).map(|it| f64::from(u8::from(it == index))));
    }
    for column in 0..size {
        let pivot =
            (column..size).max_by(|a, b| matrix[*a][column].abs().total_cmp(&matrix[*b][column].abs()))?;
        matrix.swap(column, pivot);
        let scale = matrix[column][column];
        if scale.abs() < 1e-12 || !scale.is_finite() {
            return None;
        }
        matrix[column].iter_mut().for_each(|it| *it /= scale);
        let own = matrix[column].clone();
        for (_, row) in matrix.iter_mut().enumerate().filter(|(index, _)| *index != column) {
            let factor = row[column];
            row.iter_mut().zip(&own).for_each(|(it, own)| *it -= factor * own);
        }
    }
    Some(matrix.into_iter().map(|row| row[size..].to_vec()).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    /// A climb that doubles, of these terms and this error.
    fn climb(rungs: i32, terms: [f64; 3], mut error: impl FnMut(i32) -> f64) -> Vec<Point> {
        let point = |rung: i32| {
            let boxes = 4.0 * 2_f64.powi(rung);
            let value = terms[0] + terms[1] * boxes + terms[2] * boxes * boxes + error(rung);
            Point { climb: (0, 0), boxes, value }
        };
        (0..rungs).map(point).collect()
    }

    #[test]
    fn exact_lines_are_found_exactly() {
        let straight = Fit::of(&climb(6, [1e6, 5e5, 0.0], |_| 0.0)).unwrap();
        let (value, error) = straight.at(1_000.0);
        assert!(
            (value / 501e6 - 1.0).abs() < 1e-9 && error < 100.0 && !straight.is_bent(),
            "{value} {error}"
        );
        let bent = Fit::of(&climb(8, [1e6, 4e5, 25.0], |_| 0.0)).unwrap();
        assert!(bent.is_bent() && (bent.at(2_000.0).0 / 901e6 - 1.0).abs() < 1e-6, "{bent:?}");
        assert!((bent.each(1_000.0) / 450e3 - 1.0).abs() < 1e-6 && (bent.once() / 1e6 - 1.0).abs() < 1e-3);
    }

    #[test]
    fn a_line_that_bends_down_stays_straight() {
        let found = Fit::of(&climb(8, [0.0, 5e5, -100.0], |_| 0.0)).unwrap();
        assert!(!found.is_bent());
    }

    #[test]
    fn slabs_of_an_earlier_climb_are_no_growth() {
        // A hundred boxes find 300 KB each in slabs that are there already; each one more costs 500 KB.
        let look = |climb: u32, boxes: f64| Point {
            climb: (climb, 0),
            boxes,
            value: 500e3 * boxes - 300e3 * boxes.min(100.0) + 2e3 * f64::from(climb),
        };
        let rungs = [64.0, 128.0, 192.0, 256.0];
        let looks: Vec<Point> = (0..3).flat_map(|climb| rungs.map(|boxes| look(climb, boxes))).collect();
        assert!(Fit::bent(&looks).is_some_and(|it| it.bends()), "it looks like growth");
        let found = Fit::of(&looks).unwrap();
        assert!(!found.is_bent() && (found.each(256.0) / 500e3 - 1.0).abs() < 1e-3, "{found:?}");
        assert!((found.at(1_024.0).0 / 482e6 - 1.0).abs() < 1e-3, "{:?}", found.at(1_024.0));
        // Growth goes on without the fewest boxes.
        let growth = Fit::of(&climb(9, [0.0, 500e3, 60.0], |rung| 2e3 * f64::from((rung * 7) % 5 - 2)));
        let growth = growth.unwrap();
        assert!(growth.is_bent() && (growth.each(1_000.0) / 620e3 - 1.0).abs() < 0.01, "{growth:?}");
    }

    #[test]
    fn a_stray_look_counts_less() {
        let found =
            Fit::of(&climb(8, [0.0, 5e5, 0.0], |rung| if rung == 3 { 4e7 } else { f64::from(rung % 2) }))
                .unwrap();
        let (value, _) = found.at(512.0);
        assert!((value / 256e6 - 1.0).abs() < 0.02, "{value}");
    }

    #[test]
    fn too_few_looks_carry_no_line() {
        assert_eq!(Fit::of(&climb(3, [0.0, 1.0, 0.0], |_| 0.0)), None);
        let same: Vec<Point> = vec![Point { climb: (0, 0), boxes: 8.0, value: 1.0 }; 9];
        assert_eq!(Fit::of(&same), None);
        let two = [climb(2, [0.0, 1.0, 0.0], |_| 0.0), climb(2, [0.0, 1.0, 0.0], |_| 1.0)].concat();
        assert_eq!(Fit::of(&two), None, "two numbers of boxes are a line by necessity");
    }

    #[test]
    fn the_interval_holds_a_look_four_times_farther_out_as_often_as_it_says() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(5);
        let mut normal = move || (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
        let mut hits = 0;
        for _ in 0..500 {
            let fit = Fit::with(&climb(9, [2e6, 5e5, 0.0], |_| 2e5 * normal()), 2, 4).unwrap();
            let (value, error) = fit.at(4_096.0);
            let seen = 2e6 + 5e5 * 4_096.0 + 2e5 * normal();
            hits += u32::from((seen - value).abs() <= error);
        }
        // Huber's weights make the spread a little too small.
        assert!((450..=490).contains(&hits), "{hits} of 500");
    }

    #[test]
    fn where_climbs_differ_it_holds_a_look_at_another_climb_four_times_farther_out() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(5);
        let mut normal = move || (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
        for climbs in [2, 3, 4] {
            let mut hits = 0;
            for _ in 0..500 {
                let mut looks = Vec::new();
                for climb in 0..climbs {
                    let each = 5e5 + 25e3 * normal();
                    looks.extend([64.0, 128.0, 192.0, 256.0].map(|boxes| Point {
                        climb: (climb, 0),
                        boxes,
                        value: 2e6 + each * boxes + 2e5 * normal(),
                    }));
                }
                let (value, error) = Fit::with(&looks, 2, 4).unwrap().at(1_024.0);
                hits += u32::from((2e6 + (5e5 + 25e3 * normal()) * 1_024.0 - value).abs() <= error);
            }
            // Without that they were 380 of 500 with two climbs.
            assert!(hits >= 455, "{hits} of 500 with {climbs} climbs");
        }
    }

    #[test]
    fn noise_alone_rarely_bends_it() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(5);
        let mut normal = move || (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
        let bent = (0..500)
            .filter(|_| Fit::of(&climb(9, [2e6, 5e5, 0.0], |_| 2e5 * normal())).unwrap().is_bent())
            .count();
        assert!(bent <= 40, "{bent} of 500");
    }

    proptest! {
        #[test]
        fn any_points_are_borne(values in prop::collection::vec((0_u32..2_000, -1e12..1e12), 0..30)) {
            let points: Vec<Point> = values
                .iter()
                .map(|(boxes, value)| Point { climb: (boxes % 3, 0), boxes: f64::from(*boxes), value: *value })
                .collect();
            if let Some(fit) = Fit::of(&points) {
                let (value, error) = fit.at(5_000.0);
                prop_assert!(value.is_finite() && error >= 0.0);
            }
        }
    }
}
