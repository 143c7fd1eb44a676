//! Who is visited in which round, so that the time is kept: a first round, then what is left is shared out.
//!
//! Times are moments and lengths on the lab's clock, on which scripted boxes take what their script says.

use std::time::Duration;

/// A visit above this length is slow: it is not made in every round.
const SLOW: Duration = Duration::from_millis(400);

/// A visit begun in time may end so much later; one that takes longer is cut.
const GRACE: Duration = Duration::from_secs(5);

/// Of whom no further visit is made.
const NEVER: u32 = u32::MAX;

/// What is known of one place in the rounds.
#[derive(Debug, Clone)]
struct Place {
    /// The longest visit so far.
    cost: Duration,
    /// Visits made.
    visits: u32,
    /// It is visited in every n-th round.
    every: u32,
    /// A visit of it was cut, so that nobody knows how long it takes.
    cut: bool,
}

/// See the file's head.
#[derive(Debug)]
pub(super) struct Schedule {
    places: Vec<Place>,
    /// When the time is over; `None` visits everybody in every round, however long it takes.
    end: Option<Duration>,
}

impl Schedule {
    pub(super) fn new(places: usize, end: Option<Duration>) -> Self {
        let place = Place { cost: Duration::ZERO, visits: 0, every: 1, cut: false };
        Self { places: vec![place; places], end }
    }

    /// Whether the place has its turn in this round.
    pub(super) fn is_due(&self, place: usize, round: u32) -> bool {
        let every = self.places[place].every;
        every != NEVER && round.is_multiple_of(every)
    }

    /// Whether there is time to visit it.
    pub(super) fn fits(&self, place: usize, now: Duration) -> bool {
        let Some(end) = self.end else { return true };
        // One stalled start must not end the rounds of those that take milliseconds.
        let cost = Some(self.places[place].cost).filter(|it| *it > SLOW).unwrap_or_default();
        now < end && now + cost <= end
    }

    /// Into how many shares the time that is left is divided, so many at most, where none may be smaller than `least`;
    /// nothing where even one would be.
    pub(super) fn shares(&self, most: u32, least: Duration, now: Duration) -> Option<u32> {
        let Some(end) = self.end.filter(|_| !least.is_zero()) else { return Some(most) };
        Some(most.min(times(end.saturating_sub(now), least))).filter(|it| *it > 0)
    }

    /// When a visit that begins now is cut. Nobody knows how long a first one will take: it may use its share of what
    /// is left, one of `shares`. With two, which is half, something stays for the others however many of them hang.
    pub(super) fn cut_at(&self, place: usize, now: Duration, shares: u32) -> Option<Duration> {
        let end = self.end?;
        match self.places[place].visits {
            0 => Some(now + end.saturating_sub(now) / shares.max(1)),
            _ => Some(end + GRACE),
        }
    }

    /// A visit was made.
    pub(super) fn visited(&mut self, place: usize, took: Duration, cut: bool) {
        let place = &mut self.places[place];
        place.cost = place.cost.max(took);
        place.visits += 1;
        if cut {
            place.cut = true;
            place.every = NEVER;
        }
    }

    /// Visits made to a place, and the longest of them.
    pub(super) fn made(&self, place: usize) -> (u32, Duration) {
        (self.places[place].visits, self.places[place].cost)
    }

    /// Visits that so many rounds will make, those already made included.
    pub(super) fn planned(&self, rounds: u32) -> u64 {
        let of = |it: &Place| if it.every == NEVER { it.visits } else { rounds.div_ceil(it.every) };
        self.places.iter().map(|it| u64::from(of(it))).sum()
    }

    /// After the first round: how many rounds that go there and back fit, an even number unless not even the
    /// way back does. Where it does not fit for everybody, the slowest are left out of it. `began` is when that round
    /// did.
    pub(super) fn pairs(&mut self, most: u32, began: Duration, now: Duration) -> u32 {
        let Some(end) = self.end else { return even_above(most) };
        let (left, mut cost) = (end.saturating_sub(now), now - began);
        while cost > left
            && let Some(slowest) = self.slowest()
        {
            cost = cost.saturating_sub(slowest.cost);
            slowest.every = NEVER;
        }
        let rounds = 1 + times(left, cost).min(most);
        if rounds == 1 { 1 } else { (rounds - rounds % 2).min(even_above(most)) }
    }

    /// The slowest of several places that further visits are made to.
    fn slowest(&mut self) -> Option<&mut Place> {
        let visited = self.places.iter().filter(|it| it.every != NEVER).count();
        let slow = self.places.iter_mut().filter(|it| it.every != NEVER && it.cost > SLOW);
        slow.max_by_key(|it| it.cost).filter(|_| visited > 1)
    }

    /// After the first round: shares out what is left. Half of it is for the visits that take milliseconds; the
    /// other half, and what those leave over, goes evenly to the slow ones. Of whom not even one visit fits
    /// into its share, no further one is made, and the others have the more. Returns the number of rounds.
    pub(super) fn share(&mut self, most: u32, now: Duration) -> u32 {
        let Some(end) = self.end else { return most };
        let left = end.saturating_sub(now);
        let cost = |places: &[Place], i: usize| places[i].cost;
        for place in self.places.iter_mut().filter(|it| it.visits == 0) {
            place.every = NEVER;
        }
        let (mut slow, quick): (Vec<usize>, Vec<usize>) = (0..self.places.len())
            .filter(|&i| self.places[i].every != NEVER)
            .partition(|&i| cost(&self.places, i) > SLOW);
        slow.sort_by_key(|&i| cost(&self.places, i));
        let quick: Duration = quick.iter().map(|&i| cost(&self.places, i)).sum();
        // The first round is done already.
        let more = most.saturating_sub(1);
        loop {
            let Some(&slowest) = slow.last() else { return 1 + times(left, quick).min(more) };
            let count = slow.len() as u32;
            // Without a quick one the slow ones decide.
            let rounds = match quick.is_zero() {
                true => times(left, slow.iter().map(|&i| cost(&self.places, i)).sum()).min(more),
                false => times(left / 2, quick).min(more),
            };
            let share = left.saturating_sub(quick * rounds) / count;
            if cost(&self.places, slowest) > share {
                self.places[slowest].every = NEVER;
                slow.pop();
                continue;
            }
            for &i in slow.iter().filter(|_| !quick.is_zero()) {
                let visits = times(share, cost(&self.places, i)).max(1);
                self.places[i].every = rounds.div_ceil(visits).max(1);
            }
            return 1 + rounds;
        }
    }
}

/// The next even number, at least two.
pub(super) fn even_above(rounds: u32) -> u32 {
    rounds.max(1).next_multiple_of(2)
}

fn times(time: Duration, cost: Duration) -> u32 {
    u32::try_from(time.as_nanos() / cost.as_nanos().max(1)).unwrap_or(u32::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn no_share_is_smaller_than_what_finds_something_out() {
        let schedule = Schedule::new(9, Some(SECOND * 150));
        assert_eq!(schedule.shares(9, SECOND * 60, Duration::ZERO), Some(2));
        assert_eq!(schedule.shares(8, SECOND * 60, SECOND * 90), Some(1));
        assert_eq!(schedule.shares(7, SECOND * 60, SECOND * 91), None, "what is left is too short for one");
        assert_eq!(schedule.shares(2, SECOND * 10, Duration::ZERO), Some(2), "no more than there are");
        assert_eq!(schedule.shares(9, Duration::ZERO, SECOND * 200), Some(9));
        assert_eq!(Schedule::new(9, None).shares(9, SECOND * 60, SECOND * 999), Some(9));
    }

    /// A whole pass on a clock of its own, where each place takes so long, ms. Returns the visits made to each,
    /// and when the pass was over.
    fn pass(costs: &[u64], budget: Duration, most: u32) -> (Vec<u32>, Duration) {
        let mut schedule = Schedule::new(costs.len(), Some(budget));
        let (mut now, mut round, mut total) = (Duration::ZERO, 0, most);
        while round < total {
            for (place, cost) in costs.iter().enumerate() {
                if !schedule.is_due(place, round) || !schedule.fits(place, now) {
                    continue;
                }
                let wanted = Duration::from_millis(*cost);
                let took = wanted.min(schedule.cut_at(place, now, 2).unwrap() - now);
                now += took;
                schedule.visited(place, took, took < wanted);
            }
            if round == 0 {
                total = schedule.share(most, now);
            }
            round += 1;
        }
        ((0..costs.len()).map(|it| schedule.made(it).0).collect(), now)
    }

    #[test]
    fn the_budget_is_used_and_kept_and_the_slow_one_is_not_starved() {
        let (visits, end) = pass(&[10, 20, 70, 3000], 120 * SECOND, 10_000);
        assert!((115 * SECOND..=120 * SECOND).contains(&end), "{end:?}, {visits:?}");
        assert!(visits[..3].iter().all(|it| *it == visits[0]) && visits[0] > 500, "{visits:?}");
        assert!(visits[3] >= 19, "the slow one gets its half: {visits:?}");
    }

    #[test]
    fn whose_visit_exceeds_its_share_is_visited_once_and_the_others_have_the_more() {
        let (visits, end) = pass(&[10, 20, 40_000, 3000], 120 * SECOND, 400);
        // 77 s are left after the first round; 400 rounds of the quick ones take 12 s of them.
        assert_eq!((visits[0], visits[2], visits[3]), (400, 1, 22), "{visits:?}");
        assert!(end <= 120 * SECOND, "{end:?}");
        // It fits once more where it is alone with the quick ones.
        assert_eq!(pass(&[10, 20, 40_000], 120 * SECOND, 400).0, [400, 400, 2]);
    }

    #[test]
    fn first_visits_that_do_not_end_leave_something_for_all() {
        let hour = 3_600_000;
        let (visits, end) = pass(&[hour, hour, hour, hour, 10], 120 * SECOND, 400);
        assert_eq!(visits, [1, 1, 1, 1, 400], "each is cut at half of what is left, and not tried again");
        assert!(end <= 120 * SECOND, "{end:?}");
    }

    #[test]
    fn no_costs_break_the_budget() {
        for cost in [1, 399, 401, 5_000, 20_000, 59_000, 61_000, 119_000, 500_000] {
            for other in [1, 300, 2_000, 40_000] {
                let (visits, end) = pass(&[cost, other, 7, cost], 120 * SECOND, 400);
                assert!(end <= 120 * SECOND + GRACE, "{cost} and {other}: {end:?}, {visits:?}");
            }
        }
    }

    #[test]
    fn a_visit_that_became_slow_is_not_begun_where_it_no_longer_fits() {
        let mut schedule = Schedule::new(2, Some(120 * SECOND));
        schedule.visited(0, 2 * SECOND, false);
        schedule.visited(1, SECOND / 100, false);
        assert!(schedule.fits(0, 118 * SECOND) && !schedule.fits(0, 119 * SECOND));
        schedule.visited(0, 30 * SECOND, false);
        assert!(schedule.fits(0, 90 * SECOND) && !schedule.fits(0, 91 * SECOND));
        assert!(schedule.fits(1, 119 * SECOND) && !schedule.fits(1, 120 * SECOND));
        assert_eq!(schedule.cut_at(0, 90 * SECOND, 2), Some(125 * SECOND));
    }

    #[test]
    fn no_time_is_no_visit() {
        assert_eq!(pass(&[10, 3000], Duration::ZERO, 400), (vec![0, 0], Duration::ZERO));
    }

    #[test]
    fn the_number_of_rounds_is_bounded() {
        assert_eq!(pass(&[1], 1000 * SECOND, 50).0, [50]);
    }

    #[test]
    fn slow_ones_among_themselves_are_visited_in_every_round() {
        assert_eq!(pass(&[3000], 60 * SECOND, 1000).0, [20]);
        assert_eq!(pass(&[3000, 4000], 70 * SECOND, 1000).0, [10, 10]);
    }

    #[test]
    fn without_a_budget_everybody_is_visited_in_every_round() {
        let mut schedule = Schedule::new(1, None);
        schedule.visited(0, 60 * SECOND, false);
        assert_eq!(schedule.share(7, 60 * SECOND), 7);
        assert!(schedule.is_due(0, 6) && schedule.fits(0, 1000 * SECOND));
        assert_eq!((schedule.cut_at(0, SECOND, 2), schedule.planned(7)), (None, 7));
    }

    #[test]
    fn mirrored_rounds_come_in_pairs_and_keep_the_budget() {
        assert_eq!([0, 1, 2, 3, 40].map(even_above), [2, 2, 2, 4, 40]);
        let mut schedule = Schedule::new(1, Some(20 * SECOND));
        let mut made = |seconds| schedule.pairs(100, Duration::ZERO, SECOND * seconds);
        assert_eq!([1, 2, 3, 6, 15, 60].map(&mut made), [20, 10, 6, 2, 1, 1]);
        assert_eq!(schedule.pairs(4, Duration::ZERO, SECOND / 2), 4, "never more than planned");
        assert_eq!(Schedule::new(1, None).pairs(7, Duration::ZERO, 60 * SECOND), 8);
    }
    #[test]
    fn who_takes_too_long_for_the_way_back_is_left_out_of_it() {
        // A round of 24 s, of which 20 are one place's, and 10 s are left.
        let mut schedule = Schedule::new(3, Some(34 * SECOND));
        for (place, seconds) in [(0, 1), (1, 20), (2, 3)] {
            schedule.visited(place, seconds * SECOND, false);
        }
        assert_eq!(schedule.pairs(100, Duration::ZERO, 24 * SECOND), 2);
        assert_eq!([0, 1, 2].map(|it| schedule.is_due(it, 1)), [true, false, true]);
        assert_eq!(schedule.planned(2), 5);
        // Where nobody's way back fits there is none.
        let mut schedule = Schedule::new(2, Some(25 * SECOND));
        schedule.visited(0, 12 * SECOND, false);
        schedule.visited(1, 12 * SECOND, false);
        assert_eq!(schedule.pairs(100, Duration::ZERO, 24 * SECOND), 1);
    }
}
