//! Axes. A logarithmic one, where zeros, which have no logarithm, get a place of their own before it; and a
//! linear one from zero, for what is added up.

/// Maps values to pixels and knows its ticks.
pub(super) struct Log {
    low: f64,
    high: f64,
    /// Pixel of the low end and of the high end; the second may be smaller (a vertical axis).
    pixels: (i32, i32),
    /// Pixel for zeros, where there are any.
    zero: Option<i32>,
}

/// A line of the grid.
pub(super) struct Tick {
    /// Its pixel.
    pub(super) at: i32,
    /// Its value; 0 for the place of the zeros.
    pub(super) value: f64,
}

/// Room that the place of the zeros takes, px.
const ZERO_ROOM: i32 = 34;

impl Log {
    /// An axis over the values, with air at both ends; always wider than a factor of two.
    pub(super) fn over(values: impl Iterator<Item = f64>, pixels: (i32, i32)) -> Self {
        let (mut low, mut high, mut zeros) = (f64::INFINITY, 0.0_f64, false);
        for value in values.filter(|it| it.is_finite()) {
            if value > 0.0 {
                low = low.min(value);
                high = high.max(value);
            } else {
                zeros = true;
            }
        }
        if high == 0.0 {
            (low, high) = (1.0, 10.0);
        }
        let air = (high / low).powf(0.04).max(1.05);
        let (mut low, mut high) = (low.ln() - air.ln(), high.ln() + air.ln());
        let short = 2.0_f64.ln() - (high - low);
        if short > 0.0 {
            (low, high) = (low - short / 2.0, high + short / 2.0);
        }
        let step = (pixels.1 - pixels.0).signum() * ZERO_ROOM;
        let (zero, start) =
            if zeros { (Some(pixels.0 + step / 3), pixels.0 + step) } else { (None, pixels.0) };
        Self { low, high, pixels: (start, pixels.1), zero }
    }

    /// The pixel of a value.
    pub(super) fn place(&self, value: f64) -> i32 {
        if value <= 0.0 {
            return self.zero.unwrap_or(self.pixels.0);
        }
        let share = ((value.ln() - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        self.pixels.0 + (share * f64::from(self.pixels.1 - self.pixels.0)).round() as i32
    }

    /// The densest set of round values whose ticks keep `room` pixels between them.
    pub(super) fn ticks(&self, room: i32) -> Vec<Tick> {
        const SETS: [&[f64]; 5] = [
            &[1.0],
            &[1.0, 3.0],
            &[1.0, 2.0, 5.0],
            &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0],
            &[1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0],
        ];
        let far_apart = |ticks: &[Tick]| ticks.windows(2).all(|it| (it[1].at - it[0].at).abs() >= room);
        let dense = SETS.iter().rev().map(|set| self.ticks_of(set)).find(|it| far_apart(it));
        let mut ticks = dense.unwrap_or_else(|| {
            // Too many decades even for one tick each: every third.
            self.ticks_of(&[1.0]).into_iter().step_by(3).collect()
        });
        if let Some(at) = self.zero {
            ticks.insert(0, Tick { at, value: 0.0 });
        }
        ticks
    }

    /// The same of bytes: the densest powers of two, and between those that lie far apart their halves or quarters.
    pub(super) fn byte_ticks(&self, room: i32) -> Vec<Tick> {
        const PARTS: [&[f64]; 2] = [&[1.0, 1.25, 1.5, 1.75], &[1.0, 1.5]];
        let octaves = (self.low / 2_f64.ln()).floor() as i32..=(self.high / 2_f64.ln()).floor() as i32;
        let of = |step: usize, parts: &[f64]| -> Vec<Tick> {
            let own = octaves.clone().filter(|it| it.rem_euclid(step as i32) == 0);
            let values = own.flat_map(|it| parts.iter().map(move |part| part * 2_f64.powi(it)));
            let inside = values.filter(|it| self.low <= it.ln() && it.ln() <= self.high);
            inside.map(|value| Tick { at: self.place(value), value }).collect()
        };
        let far_apart = |ticks: &Vec<Tick>| ticks.windows(2).all(|it| (it[1].at - it[0].at).abs() >= room);
        let split = PARTS.into_iter().map(|parts| of(1, parts));
        let whole = [1, 2, 5, 10].into_iter().map(|step| of(step, &[1.0]));
        let mut ticks = split.chain(whole).find(far_apart).unwrap_or_else(|| of(20, &[1.0]));
        if let Some(at) = self.zero {
            ticks.insert(0, Tick { at, value: 0.0 });
        }
        ticks
    }

    fn ticks_of(&self, set: &[f64]) -> Vec<Tick> {
        let decades = (self.low / 10_f64.ln()).floor() as i32..=(self.high / 10_f64.ln()).ceil() as i32;
        let values = decades.flat_map(|decade| set.iter().map(move |it| it * 10_f64.powi(decade)));
        let inside = values.filter(|it| self.low <= it.ln() && it.ln() <= self.high);
        inside.map(|value| Tick { at: self.place(value), value }).collect()
    }
}

/// A linear axis from zero.
pub(super) struct Linear {
    high: f64,
    grain: f64,
    pixels: (i32, i32),
}

impl Linear {
    /// An axis from zero to a little above `high`; its ticks are round multiples of `grain`.
    pub(super) fn up_to(high: f64, grain: f64, pixels: (i32, i32)) -> Self {
        let high = if high > 0.0 { high * 1.04 } else { grain };
        Self { high, grain, pixels }
    }

    /// The pixel of a value.
    pub(super) fn place(&self, value: f64) -> i32 {
        let share = (value / self.high).clamp(0.0, 1.0);
        self.pixels.0 + (share * f64::from(self.pixels.1 - self.pixels.0)).round() as i32
    }

    /// Pixels and values of a few round ticks, zero first.
    pub(super) fn ticks(&self) -> Vec<(i32, f64)> {
        let decade = self.grain * 10_f64.powf((self.high / self.grain).log10().floor());
        let steps = [decade, decade / 2.0, decade / 4.0];
        let step = steps.into_iter().find(|step| self.high / step >= 2.0).unwrap_or(decade / 4.0);
        let count = (self.high / step).floor() as u32;
        // Up to nine; more than five would run into each other where the panel is narrow.
        let stride = count.div_ceil(4).max(1);
        (0..=count / stride).map(|it| f64::from(it * stride) * step).map(|it| (self.place(it), it)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_decade_has_its_ticks_in_order_and_apart() {
        let axis = Log::over([1e6, 1e9].into_iter(), (200, 760));
        let ticks = axis.ticks(60);
        assert!(ticks.len() >= 4, "{}", ticks.len());
        assert!(ticks.windows(2).all(|it| it[1].at - it[0].at >= 60 && it[1].value > it[0].value));
        assert!(ticks.iter().any(|it| (it.value - 1e7).abs() < 1.0));
    }

    #[test]
    fn bytes_have_round_ticks_of_their_own() {
        let axis = Log::over([5.0 * 1_048_576.0, 9.0 * 1_073_741_824.0].into_iter(), (456, 276));
        let ticks = axis.byte_ticks(26);
        assert!(ticks.len() >= 2 && ticks.iter().all(|it| it.value.log2().fract() == 0.0), "{}", ticks.len());
        assert!(ticks.windows(2).all(|it| it[0].at - it[1].at >= 26 && it[1].value > it[0].value));
        let narrow =
            Log::over([27.2, 54.2].into_iter().map(|it| it * 1_048_576.0), (200, 680)).byte_ticks(64);
        let narrow: Vec<f64> = narrow.iter().map(|it| it.value / 1_048_576.0).collect();
        assert_eq!(narrow, [28.0, 32.0, 40.0, 48.0, 56.0]);
    }

    #[test]
    fn zeros_stand_before_everything_else() {
        let axis = Log::over([0.0, 5.0, 50.0].into_iter(), (0, 500));
        assert!(axis.place(0.0) < axis.place(5.0) - 10);
        assert!(axis.ticks(40)[0].value.abs() < f64::EPSILON);
        let upright = Log::over([0.0, 5.0, 50.0].into_iter(), (400, 0));
        assert!(upright.place(0.0) > upright.place(5.0) + 10);
    }

    #[test]
    fn a_linear_axis_begins_at_zero_and_has_a_few_round_ticks() {
        for high in [0.0, 1.0, 7.3, 1_900_000.0, 260_000.0, 9.99e5] {
            let axis = Linear::up_to(high, 1.0, (100, 400));
            let ticks = axis.ticks();
            assert_eq!(ticks[0], (100, 0.0), "{high}");
            assert!((3..=5).contains(&ticks.len()), "{high}: {ticks:?}");
            assert!(ticks.windows(2).all(|it| it[1].0 - it[0].0 >= 50), "{high}: {ticks:?}");
            assert!(axis.place(high) <= 400 && axis.place(high * 2.0) <= 400);
        }
        let bytes = Linear::up_to(300.0 * 1024.0, 1024.0, (0, 300)).ticks();
        assert_eq!(bytes.iter().map(|it| it.1 / 1024.0).collect::<Vec<_>>(), [0.0, 100.0, 200.0, 300.0]);
    }

    proptest! {
        #[test]
        fn every_value_has_a_place_on_the_axis(values in prop::collection::vec(0.0..1e15, 0..30)) {
            let axis = Log::over(values.iter().copied(), (100, 700));
            for value in &values {
                prop_assert!((100..=700).contains(&axis.place(*value)));
            }
            prop_assert!(axis.ticks(50).iter().all(|it| (100..=700).contains(&it.at)));
        }
    }
}
