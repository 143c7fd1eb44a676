//! When which box is asked: in open loop, on the host's monotonic clock.
//!
//! Each ping has a moment at which it is *meant* to leave, whatever the answers before it do, and its latency counts
//! from there (METHOD 18). All keepers follow the same schedule, each for the boxes that it holds.

use serde::{Deserialize, Serialize};

/// See the file's head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// How many boxes are held by all keepers.
    pub boxes: u32,
    /// How many pings are sent to all of them.
    pub pings: u32,
    /// When the first is meant to leave, ns.
    pub begin_ns: u64,
    /// Between one ping and the next, ns.
    pub interval_ns: u64,
    /// What every box has to do besides.
    pub load: Option<Load>,
    /// How long an answer is waited for, ns.
    pub patience_ns: u64,
}

/// Work that every box is given in steady steps, as long as the pings last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// The line.
    pub line: String,
    /// Between one and the next for the same box, ns. The boxes have their turns evenly spread over it.
    pub every_ns: u64,
}

impl Schedule {
    /// Which box ping `k` is for. Fewer pings than boxes are spread over all of them, more go round.
    #[must_use]
    pub fn box_of(&self, k: u32) -> u32 {
        match self.pings < self.boxes {
            true => (u64::from(k) * u64::from(self.boxes) / u64::from(self.pings.max(1))) as u32,
            false => k % self.boxes.max(1),
        }
    }

    /// When ping `k` is meant to leave, ns.
    #[must_use]
    pub fn leaves_ns(&self, k: u32) -> u64 {
        self.begin_ns + u64::from(k) * self.interval_ns
    }

    /// When the last ping has been meant to leave, and one interval has passed, ns.
    #[must_use]
    pub fn end_ns(&self) -> u64 {
        self.leaves_ns(self.pings)
    }

    /// When request `turn` of this box is meant to leave, ns.
    #[must_use]
    pub fn turn_ns(&self, load: &Load, number: u32, turn: u64) -> u64 {
        let own = u64::from(number) * load.every_ns / u64::from(self.boxes.max(1));
        self.begin_ns + own + turn * load.every_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn of(boxes: u32, pings: u32) -> Schedule {
        Schedule { boxes, pings, begin_ns: 1000, interval_ns: 10, load: None, patience_ns: 1 }
    }

    #[test]
    fn pings_reach_every_box_or_are_spread_over_all() {
        for (boxes, pings) in [(1, 1000), (7, 1000), (1000, 1000), (999, 1000)] {
            let seen: BTreeSet<u32> = (0..pings).map(|k| of(boxes, pings).box_of(k)).collect();
            assert_eq!(seen, (0..boxes).collect(), "{pings} to {boxes}");
        }
        let few: Vec<u32> = (0..4).map(|k| of(10_000, 4).box_of(k)).collect();
        assert_eq!(few, [0, 2500, 5000, 7500]);
    }

    #[test]
    fn moments_depend_on_nothing_but_the_clock() {
        let schedule = of(4, 3);
        assert_eq!((0..3).map(|k| schedule.leaves_ns(k)).collect::<Vec<_>>(), [1000, 1010, 1020]);
        assert_eq!(schedule.end_ns(), 1030);
        let load = Load { line: "burn 1".into(), every_ns: 400 };
        assert_eq!(
            (0..4).map(|it| schedule.turn_ns(&load, it, 0)).collect::<Vec<_>>(),
            [1000, 1100, 1200, 1300]
        );
        assert_eq!(schedule.turn_ns(&load, 1, 2), 1900);
    }
}
