//! What each further box costs: the slope of a value over the number of boxes held.
//!
//! Boxes are held in climbs, and what the host does meanwhile moves a whole climb up or down; so only the pairs
//! within a climb are looked at. The slope is the median of the slopes of all these pairs: Theil and Sen's, taken
//! over blocks (Hirsch, Slack and Smith, 1982). A third of the climbs may be outliers without moving it far. The
//! intercept is what is paid once: a daemon, shared caches, the first of its kind.
//!
//! Its interval comes from drawing whole climbs anew, each with the slope of its own, where there are six or more.
//! Below that it is Sen's, from the variance of Kendall's tau summed over the climbs, which takes the points of a
//! climb to err independently. They do not quite: what a kernel keeps back is missing from all later points, and what
//! tilts a whole climb is in none of them. So it is widened to hold the slope of every single climb, and by as much as
//! those slopes lie apart (`between.rs`): two climbs hold the truth between them only every second time.

use std::collections::BTreeMap;

use serde::Serialize;

use super::between::Between;
use super::quantile::of_sorted;
use super::{Interval, MIN_FOR_INTERVAL, median, median_interval};
use crate::document::Series;

/// One look at a climb.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Which climb: its round, and its place in the round.
    pub climb: (u32, u32),
    /// Boxes held.
    pub boxes: f64,
    /// What all of them cost together.
    pub value: f64,
}

/// What one more box costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Slope {
    /// Cost of one more box, in the unit of the values.
    pub each: f64,
    /// Its 95 % interval; None with fewer than six points.
    pub interval: Option<Interval>,
    /// The intercept: what is paid once, however many boxes there are.
    pub once: f64,
    /// Climbs it was computed from.
    pub climbs: usize,
    /// Points it was computed from.
    pub points: usize,
    /// The largest number of boxes seen.
    pub most: f64,
}

/// Quantile of the normal distribution for a two-sided 95 %.
const Z: f64 = 1.96;

/// The points of some series that differ in how many boxes were held. A series that does not say how many has none.
pub fn points<'a>(series: impl Iterator<Item = &'a Series>) -> Vec<Point> {
    let each = series.filter_map(|it| Some((f64::from(it.parameters.instances?), it)));
    let samples = each.flat_map(|(boxes, it)| it.samples.iter().map(move |sample| (boxes, sample)));
    let points = samples.filter_map(|(boxes, it)| {
        Some(Point { climb: (it.round, it.position), boxes, value: it.value? as f64 })
    });
    points.collect()
}

/// The slope over the boxes. None where no climb was looked at with two different numbers of them.
pub fn slope(points: &[Point], seed: u64) -> Option<Slope> {
    let mut climbs: BTreeMap<(u32, u32), Vec<&Point>> = BTreeMap::new();
    for point in points.iter().filter(|it| it.value.is_finite()) {
        climbs.entry(point.climb).or_default().push(point);
    }
    let groups: Vec<Vec<f64>> = climbs.values().map(|it| pairs(it)).filter(|it| !it.is_empty()).collect();
    let all = groups.concat();
    let each = median(&all)?;
    let used = climbs.values().filter(|it| it.iter().any(|point| point.boxes != it[0].boxes));
    let used: Vec<&Vec<&Point>> = used.collect();
    let rests: Vec<f64> = used.iter().flat_map(|it| it.iter()).map(|it| it.value - each * it.boxes).collect();
    let own: Vec<f64> = groups.iter().filter_map(|it| median(it)).collect();
    let interval = match groups.len() >= MIN_FOR_INTERVAL {
        true => median_interval(&own, seed).map(|it| around(it, &[each])),
        false if rests.len() < MIN_FOR_INTERVAL => None,
        false => {
            let sizes: Vec<usize> = used.iter().map(|it| it.len()).collect();
            let tilt = Between::of(points).map_or(0.0, Between::of_mean);
            Some(around(around(sen(all, &sizes), &own), &[each - tilt, each + tilt]))
        }
    };
    Some(Slope {
        each,
        interval,
        once: median(&rests)?,
        climbs: groups.len(),
        points: rests.len(),
        most: used.iter().flat_map(|it| it.iter()).map(|it| it.boxes).fold(0.0, f64::max),
    })
}

/// The slopes of all pairs of a climb that differ in their boxes.
fn pairs(climb: &[&Point]) -> Vec<f64> {
    let mut slopes = Vec::with_capacity(climb.len() * climb.len() / 2);
    for (index, one) in climb.iter().enumerate() {
        let others = climb[..index].iter().filter(|it| it.boxes != one.boxes);
        slopes.extend(others.map(|it| (one.value - it.value) / (one.boxes - it.boxes)));
    }
    slopes
}

/// Sen's interval over blocks of these sizes.
fn sen(mut slopes: Vec<f64>, sizes: &[usize]) -> Interval {
    slopes.sort_unstable_by(f64::total_cmp);
    let variance = |count: f64| count * (count - 1.0) * (2.0 * count + 5.0) / 18.0;
    let variance: f64 = sizes.iter().map(|it| variance(*it as f64)).sum();
    let reach = Z * variance.sqrt() / 2.0 / slopes.len() as f64;
    let at = |p: f64| of_sorted(&slopes, p.clamp(0.0, 1.0));
    Interval { low: at(0.5 - reach), high: at(0.5 + reach) }
}

/// The interval, widened to hold these values.
fn around(interval: Interval, values: &[f64]) -> Interval {
    values.iter().fold(interval, |it, value| Interval { low: it.low.min(*value), high: it.high.max(*value) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    /// `count` climbs of four looks each at 100 a box and 5,000 once, plus what `error` says of climb and boxes.
    fn climbs(count: u32, mut error: impl FnMut(u32, u32) -> f64) -> Vec<Point> {
        let looks = (0..count).flat_map(|climb| [64, 128, 192, 256].map(|boxes| (climb, boxes)));
        let point = |(climb, boxes): (u32, u32)| Point {
            climb: (climb / 2, climb % 2),
            boxes: f64::from(boxes),
            value: 5_000.0 + 100.0 * f64::from(boxes) + error(climb, boxes),
        };
        looks.map(point).collect()
    }

    fn normal(random: &mut Xoshiro256PlusPlus) -> f64 {
        (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0
    }

    #[test]
    fn a_straight_line_is_found_to_the_figure() {
        let found = slope(&climbs(4, |_, _| 0.0), 1).unwrap();
        assert_eq!((found.each, found.once, found.climbs, found.points), (100.0, 5_000.0, 4, 16));
        assert_eq!((found.interval, found.most), (Some(Interval { low: 100.0, high: 100.0 }), 256.0));
    }

    #[test]
    fn what_moves_a_whole_climb_does_not_move_the_slope() {
        let found = slope(&climbs(4, |climb, _| f64::from(climb) * 1e6), 1).unwrap();
        assert_eq!(found.each, 100.0);
    }

    #[test]
    fn an_outlier_climb_does_not_move_it_and_shows_in_the_interval() {
        let wild = |climb, boxes| if climb == 2 { f64::from(boxes * boxes) * 7.0 } else { 0.0 };
        let few = slope(&climbs(4, wild), 1).unwrap();
        assert_eq!(few.each, 100.0);
        assert!(few.interval.unwrap().high > 1_000.0, "{few:?}");
        let many = slope(&climbs(9, wild), 1).unwrap();
        assert_eq!((many.each, many.interval.unwrap().high), (100.0, 100.0), "one of nine is outvoted");
    }

    #[test]
    fn too_few_looks_have_no_interval_and_one_number_of_boxes_no_slope() {
        let all = climbs(1, |_, _| 0.0);
        assert_eq!(slope(&all, 1).unwrap().interval, None);
        assert_eq!(slope(&all[..1], 1), None);
        assert_eq!(slope(&[], 1), None);
        let same: Vec<Point> = all.iter().map(|it| Point { boxes: 64.0, ..*it }).collect();
        assert_eq!(slope(&same, 1), None);
    }

    /// Share of 400 seeded experiments whose interval holds the truth, and the mean width; where it `walks` an
    /// error of the kernel's stays with all later looks of its climb, and where it `tilts` each climb has a slope of its
    /// own.
    fn coverage(count: u32, walks: bool, tilts: f64) -> (f64, f64) {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(11);
        let (mut hits, mut width) = (0, 0.0);
        for seed in 0..400 {
            let (mut before, mut tilt) = (0.0, 0.0);
            let points = climbs(count, |_, boxes| {
                let own = 400.0 * normal(&mut random);
                before = if walks && boxes > 64 { before + own } else { own };
                if boxes == 64 {
                    tilt = tilts * normal(&mut random);
                }
                before + tilt * f64::from(boxes)
            });
            let interval = slope(&points, seed).unwrap().interval.unwrap();
            hits += u32::from(interval.contains(100.0));
            width += (interval.high - interval.low) / 400.0;
        }
        (f64::from(hits) / 400.0, width)
    }

    #[test]
    fn the_interval_covers_the_truth_about_as_often_as_it_says() {
        for (count, walks) in [(4, false), (4, true), (8, false), (8, true), (16, true)] {
            let (share, width) = coverage(count, walks, 0.0);
            assert!((0.90..=1.0).contains(&share), "{count} climbs, walks {walks}: {share}, width {width}");
        }
        assert!(coverage(16, true, 0.0).1 < 0.7 * coverage(4, true, 0.0).1, "more climbs narrow it");
    }

    #[test]
    fn climbs_that_differ_are_no_better_known_for_being_looked_at_often() {
        for count in 2..=9 {
            let (share, width) = coverage(count, false, 20.0);
            assert!(share >= 0.90, "{count} climbs: {share}, width {width}");
        }
    }

    proptest! {
        #[test]
        fn it_holds_its_slope_and_scales(values in prop::collection::vec(0.0..1e9, 24), seed: u64) {
            let mut values = values.into_iter();
            let points = climbs(6, |_, _| values.next().unwrap_or(0.0));
            let found = slope(&points, seed).unwrap();
            prop_assert!(found.interval.unwrap().contains(found.each));
            let twice: Vec<Point> = points.iter().map(|it| Point { value: it.value * 2.0, ..*it }).collect();
            prop_assert!((slope(&twice, seed).unwrap().each - 2.0 * found.each).abs() <= 1e-6 * found.each.abs().max(1.0));
        }
    }
}
