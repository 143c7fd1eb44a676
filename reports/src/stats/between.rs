//! How far the slopes of single climbs lie apart.
//!
//! Climbs of the same boxes do not cost the same: what an earlier one left in the kernel's slabs, or what others did
//! on the host for its whole length, tilts all of a climb. Looks within a climb cannot show that, however many there
//! are; only the climbs' own slopes do, and few of them tell it poorly, for which Student's t makes up: of two it takes
//! the deviation almost thirteen times.

use std::collections::BTreeMap;

use super::Point;

/// The standard deviation between the slopes of climbs, and of how many it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Between {
    deviation: f64,
    climbs: f64,
}

impl Between {
    /// Of these looks; none where fewer than two climbs were looked at with different numbers of boxes.
    pub(super) fn of(points: &[Point]) -> Option<Self> {
        let mut climbs: BTreeMap<(u32, u32), Vec<&Point>> = BTreeMap::new();
        for point in points.iter().filter(|it| it.value.is_finite()) {
            climbs.entry(point.climb).or_default().push(point);
        }
        let slopes: Vec<f64> = climbs.values().filter_map(|it| slope_of(it)).collect();
        if slopes.len() < 2 {
            return None;
        }
        let climbs = slopes.len() as f64;
        let mean = slopes.iter().sum::<f64>() / climbs;
        let squares: f64 = slopes.iter().map(|it| (it - mean).powi(2)).sum();
        Some(Self { deviation: (squares / (climbs - 1.0)).sqrt(), climbs })
    }

    /// How far the mean of these slopes may lie from that of all climbs, at 95 %.
    pub(super) fn of_mean(self) -> f64 {
        self.times(1.0 / self.climbs)
    }

    /// How far the slope of one more climb may lie from the mean of these, at 95 %.
    pub(super) fn of_another(self) -> f64 {
        self.times(1.0 + 1.0 / self.climbs)
    }

    fn times(self, variance: f64) -> f64 {
        student(self.climbs as usize - 1) * self.deviation * variance.sqrt()
    }
}

/// The slope of one climb by least squares; none where all looks are at one number of boxes.
fn slope_of(climb: &[&Point]) -> Option<f64> {
    let looks = climb.len() as f64;
    let boxes = climb.iter().map(|it| it.boxes).sum::<f64>() / looks;
    let reach: f64 = climb.iter().map(|it| (it.boxes - boxes).powi(2)).sum();
    let rise: f64 = climb.iter().map(|it| (it.boxes - boxes) * it.value).sum();
    (reach > 0.0).then_some(rise / reach)
}

/// Student's t for a two-sided 95 %, by degrees of freedom.
pub(super) fn student(free: usize) -> f64 {
    const T: [f64; 20] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145,
        2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    ];
    T.get(free.saturating_sub(1)).copied().unwrap_or(1.96 + 2.5 / free as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One climb of such a slope, higher than the one before.
    fn climb(number: u32, slope: f64) -> Vec<Point> {
        let look =
            |boxes| Point { climb: (number, 0), boxes, value: 1e4 * f64::from(number) + slope * boxes };
        [64.0, 128.0, 192.0, 256.0].map(look).into()
    }

    #[test]
    fn climbs_are_apart_by_what_their_slopes_differ_and_not_by_how_high_they_begin() {
        let alike = Between::of(&[climb(0, 100.0), climb(1, 100.0)].concat()).unwrap();
        assert!(alike.of_another() < 1e-6, "{alike:?}");
        let tilted = Between::of(&[climb(0, 95.0), climb(1, 105.0)].concat()).unwrap();
        assert!((tilted.of_mean() - 12.706 * 5.0).abs() < 1e-6, "{tilted:?}");
        assert!((tilted.of_another() - 12.706 * 75_f64.sqrt()).abs() < 1e-6, "{tilted:?}");
    }

    #[test]
    fn one_climb_or_one_number_of_boxes_tells_nothing() {
        assert_eq!(Between::of(&climb(0, 100.0)), None);
        assert_eq!(Between::of(&[&climb(0, 1.0)[..1], &climb(1, 1.0)[..1]].concat()), None);
    }
}
