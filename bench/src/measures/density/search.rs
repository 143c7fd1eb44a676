//! The search: up by doubling, then by halves, then the whole time at what was found, and once more one step above.
//!
//! Not "fixed N", nor "until it crashes" (METHOD 17): what is said to fit was seen to hold, and a step more was seen
//! not to.

use std::collections::BTreeSet;

use tare_reports::document::Binding;

use crate::lab::Failed;

/// The first number that is tried.
const FIRST: u32 = 8;

/// No more than this are looked for: more than any kernel here has process ids for.
const MOST: u32 = 1 << 22;

/// So often a number that was seen not to hold may hold after all, before it is left at that.
const SECOND_THOUGHTS: u32 = 2;

/// How long everything has to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Time {
    /// Shortly: on the way.
    Short,
    /// As long as the design wants it.
    Whole,
}

/// What came of bringing so many boxes about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stood {
    /// Everything held, with so many: fewer than were asked for, where starting them became so slow on the way that it
    /// was time to look.
    Held(u32),
    /// Something did not.
    Broke(Break),
    /// There is no time for it.
    NoTime {
        /// In words.
        why: String,
        /// For so many there is.
        room: u32,
    },
}

/// What did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Break {
    /// So many boxes do not fit.
    pub(super) at: u32,
    /// Whether box number `at` was refused: then one less is the next to be tried, not the half of the way.
    pub(super) refused: bool,
    /// What ran out.
    pub(super) resource: &'static str,
    /// How that showed, in words.
    pub(super) evidence: String,
}

/// Where boxes are brought about.
pub(super) trait Ground {
    /// Brings it to so many boxes, and holds them.
    ///
    /// # Errors
    /// When nothing can be said: the run was interrupted, or boxes could not be taken away.
    fn stand(&mut self, boxes: u32, time: Time) -> Result<Stood, Failed>;
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The most boxes at which everything held.
    pub(super) boxes: u32,
    /// What ended it.
    pub(super) binding: Binding,
}

/// How far apart what holds and what does not may be: one box, or a hundredth.
fn step(held: u32) -> u32 {
    (held / 100).max(1)
}

/// Finds the most boxes at which everything holds.
///
/// # Errors
/// As [`Ground::stand`].
pub(super) fn search(ground: &mut dyn Ground) -> Result<Found, Failed> {
    let mut search = Search {
        held: BTreeSet::from([0]),
        lasted: BTreeSet::from([0]),
        broke: None,
        no_time: None,
        room: None,
        over: false,
        time: Time::Short,
    };
    let mut thoughts = 0;
    loop {
        search.narrow(ground)?;
        let found = search.low();
        if !search.lasted.contains(&found) && !search.tries(ground, found, Time::Whole)? {
            continue;
        }
        let Some(broke) = search.broke.clone().filter(|_| search.no_time.is_none()) else { break };
        // Whether a step more fails was seen on the way; it has to fail again, now that this many are known to hold.
        thoughts += 1;
        if thoughts > SECOND_THOUGHTS || found == 0 || !search.tries(ground, broke.at, search.time)? {
            break;
        }
    }
    Ok(search.found())
}

struct Search {
    /// What was seen to hold.
    held: BTreeSet<u32>,
    /// What was seen to hold for the whole time.
    lasted: BTreeSet<u32>,
    /// The least that was seen not to.
    broke: Option<Break>,
    /// Why a number was not tried for want of time, and the number that there was time for, until it is tried.
    no_time: Option<String>,
    room: Option<u32>,
    /// Whether there was no time even for that.
    over: bool,
    time: Time,
}

impl Search {
    fn low(&self) -> u32 {
        self.held.last().copied().unwrap_or(0)
    }

    /// What to try next; nothing when the two ends have met, or there is no more time.
    fn next(&mut self) -> Option<u32> {
        let low = self.low();
        if self.over {
            return None;
        }
        if self.no_time.is_some() {
            // What lasts is looked for further down too, where nothing more has to be started for it.
            let below = || self.broke.as_ref().filter(|_| low == 0).map(|it| it.at / 2).filter(|it| *it > 0);
            return self.room.take().or_else(below);
        }
        match &self.broke {
            None => Some((low * 2).max(FIRST)).filter(|it| *it <= MOST),
            Some(broke) if broke.at <= low + step(low) => None,
            Some(broke) if broke.refused => Some(broke.at - 1),
            Some(broke) => Some(low + (broke.at - low) / 2),
        }
    }

    fn narrow(&mut self, ground: &mut dyn Ground) -> Result<(), Failed> {
        while let Some(next) = self.next() {
            self.tries(ground, next, self.time)?;
        }
        Ok(())
    }

    /// Whether so many hold; what that says of the others is noted.
    fn tries(&mut self, ground: &mut dyn Ground, boxes: u32, time: Time) -> Result<bool, Failed> {
        match ground.stand(boxes, time)? {
            Stood::Held(held) => {
                // Looked at sooner, with time left for more.
                self.room = Some(boxes).filter(|it| *it > held && self.no_time.is_some());
                let boxes = held;
                self.held.insert(boxes);
                if time == Time::Whole {
                    self.lasted.insert(boxes);
                }
                self.broke = self.broke.take().filter(|it| it.at > boxes);
                Ok(true)
            }
            Stood::Broke(broke) => {
                if time == Time::Whole {
                    // What holds shortly need not last: from here on all of the time is asked for.
                    self.time = Time::Whole;
                    self.held.clone_from(&self.lasted);
                }
                self.held.retain(|it| *it < broke.at);
                self.broke = Some(broke);
                Ok(false)
            }
            Stood::NoTime { why, room } => {
                self.over = self.no_time.is_some();
                if !self.over {
                    let low = self.low();
                    self.room = Some(room).filter(|it| (low + step(low)..boxes).contains(it));
                    self.no_time = Some(why);
                }
                // What was not tried has not failed.
                Ok(true)
            }
        }
    }

    fn found(self) -> Found {
        let boxes = self.low();
        let binding = match (self.no_time, self.broke) {
            (Some(why), Some(Break { at, resource, evidence, .. })) if at > boxes + step(boxes) => {
                let evidence = format!("{why}; on the way {at} were seen to fail, of {resource}: {evidence}");
                Binding { resource: "time budget".into(), failed_at: None, evidence }
            }
            (Some(why), None) => Binding { resource: "time budget".into(), failed_at: None, evidence: why },
            (no_time, Some(Break { at, resource, evidence, .. })) => {
                let once = no_time.map_or(String::new(), |why| format!("; seen once, for {why}"));
                let evidence = format!("{evidence}{once}");
                Binding { resource: resource.into(), failed_at: Some(at), evidence }
            }
            (None, None) => {
                let evidence = format!("{boxes} held, and more than {MOST} are not looked for");
                Binding { resource: "unknown".into(), failed_at: None, evidence }
            }
        };
        Found { boxes, binding }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ground on which so many hold shortly, so many for the whole time, and no more than so many can be started.
    struct Script {
        short: u32,
        whole: u32,
        starts: u32,
        tried: Vec<(u32, Time)>,
        time_for: usize,
        /// After that there is time for so many.
        room: u32,
    }

    impl Ground for Script {
        fn stand(&mut self, boxes: u32, time: Time) -> Result<Stood, Failed> {
            if self.tried.len() >= self.time_for && boxes > self.room {
                return Ok(Stood::NoTime { why: "the time is over".into(), room: self.room });
            }
            self.tried.push((boxes, time));
            let broke = |at, refused, resource| {
                Ok(Stood::Broke(Break { at, refused, resource, evidence: format!("{at}") }))
            };
            let lasts = if time == Time::Short { self.short } else { self.whole };
            if boxes > self.starts {
                return broke(self.starts + 1, true, "pids");
            }
            if boxes > lasts { broke(boxes, false, "cpu") } else { Ok(Stood::Held(boxes)) }
        }
    }

    fn of(short: u32, whole: u32, starts: u32) -> (Found, Vec<(u32, Time)>) {
        let mut script = Script { short, whole, starts, tried: Vec::new(), time_for: usize::MAX, room: 0 };
        let found = search(&mut script).unwrap();
        (found, script.tried)
    }

    #[test]
    fn every_edge_is_found_exactly_and_one_step_more_is_seen_to_fail() {
        for edge in [1, 2, 7, 8, 9, 40, 63, 64, 65, 137, 199] {
            let (found, tried) = of(edge, edge, u32::MAX - 1);
            assert_eq!((found.boxes, found.binding.failed_at), (edge, Some(edge + 1)), "{edge}");
            assert_eq!(found.binding.resource, "cpu");
            assert!(tried.contains(&(edge, Time::Whole)), "{edge} was confirmed: {tried:?}");
            assert_eq!(tried.last().unwrap().0, edge + 1, "and a step more failed again: {tried:?}");
        }
    }

    #[test]
    fn a_far_edge_is_found_within_a_step() {
        for edge in [1000, 12_345, 31_000] {
            let (found, tried) = of(edge, edge, u32::MAX - 1);
            let failed = found.binding.failed_at.unwrap();
            assert!(found.boxes <= edge && edge < failed, "{found:?}");
            assert!(failed - found.boxes <= step(found.boxes) && tried.len() < 32, "{found:?}, {tried:?}");
        }
    }

    #[test]
    fn a_refused_start_is_the_edge_itself() {
        let (found, tried) = of(u32::MAX, u32::MAX, 40);
        assert_eq!((found.boxes, found.binding.failed_at), (40, Some(41)));
        assert_eq!(found.binding.resource, "pids");
        let boxes: Vec<u32> = tried.iter().map(|(boxes, _)| *boxes).collect();
        assert_eq!(boxes, [8, 16, 32, 64, 40, 40, 41], "no halving: {tried:?}");
    }

    #[test]
    fn what_holds_shortly_only_is_not_what_fits() {
        let (found, _) = of(100, 70, u32::MAX - 1);
        assert_eq!((found.boxes, found.binding.failed_at), (70, Some(71)));
    }

    #[test]
    fn where_not_one_holds_none_is_found() {
        let (found, _) = of(u32::MAX, u32::MAX, 0);
        assert_eq!((found.boxes, found.binding.failed_at), (0, Some(1)));
    }

    /// What is found where after the third number there is time for so many only.
    fn in_short_time(short: u32, whole: u32, room: u32) -> (Found, Vec<(u32, Time)>) {
        let mut script = Script { short, whole, starts: 9999, tried: Vec::new(), time_for: 3, room };
        let found = search(&mut script).unwrap();
        (found, script.tried)
    }

    #[test]
    fn the_time_ends_it_with_what_was_reached() {
        for (room, reached) in [(32, 32), (50, 50), (63, 63), (64, 64)] {
            let (found, tried) = in_short_time(999, 999, room);
            // Where there is time for the next number after all, the one after it is refused.
            assert_eq!((found.boxes, found.binding.failed_at), (reached, None), "{tried:?}");
            assert_eq!(found.binding.resource, "time budget");
            assert_eq!(tried.last(), Some(&(reached, Time::Whole)), "and that was confirmed");
        }
    }

    #[test]
    fn a_number_that_the_time_allowed_and_that_fails_leaves_the_search_open() {
        let (found, _) = in_short_time(40, 40, 50);
        assert_eq!((found.boxes, found.binding.failed_at), (32, None), "nobody looked at those between");
        assert_eq!(found.binding.resource, "time budget");
        assert!(found.binding.evidence.ends_with("50 were seen to fail, of cpu: 50"), "{found:?}");
    }

    #[test]
    fn what_was_held_shortly_when_the_time_was_over_is_halved_until_it_lasts() {
        let (found, tried) = in_short_time(999, 20, 50);
        assert_eq!((found.boxes, found.binding.resource.as_str()), (12, "time budget"), "{tried:?}");
        assert!(found.binding.evidence.contains("25 were seen to fail"), "{found:?}");
        assert_eq!(tried[4..], [(50, Time::Whole), (25, Time::Whole), (12, Time::Whole)]);
    }

    #[test]
    fn no_time_for_a_second_look_leaves_the_first_one_standing() {
        let mut script =
            Script { short: 10, whole: 10, starts: 9999, tried: Vec::new(), time_for: 5, room: 10 };
        let found = search(&mut script).unwrap();
        assert_eq!((found.boxes, found.binding.failed_at), (10, Some(11)), "{:?}", script.tried);
        assert_eq!(found.binding.evidence, "11; seen once, for the time is over");
    }

    /// Starts become slow here, and from the number after it there is time only for so many.
    struct Slow(u32, u32);

    impl Ground for Slow {
        fn stand(&mut self, boxes: u32, time: Time) -> Result<Stood, Failed> {
            match boxes {
                _ if time == Time::Whole || boxes <= self.0 => Ok(Stood::Held(boxes)),
                _ if boxes > self.1 => Ok(Stood::NoTime { why: "the time is over".into(), room: self.1 }),
                _ => {
                    self.0 += 3;
                    Ok(Stood::Held(self.0.min(boxes)))
                }
            }
        }
    }

    #[test]
    fn a_look_on_the_way_is_a_step_of_it_and_no_end() {
        for slow in [9, 20, 40, 63] {
            let found = search(&mut Slow(slow, 77)).unwrap();
            assert_eq!((found.boxes, found.binding.resource.as_str()), (77, "time budget"), "{slow}");
        }
    }

    /// One start fails once and never again.
    struct Flaky(u32, bool);

    impl Ground for Flaky {
        fn stand(&mut self, boxes: u32, _: Time) -> Result<Stood, Failed> {
            if boxes > 20 && !self.1 {
                self.1 = true;
                let evidence = "by chance".to_owned();
                return Ok(Stood::Broke(Break { at: 21, refused: true, resource: "unknown", evidence }));
            }
            let (at, evidence) = (self.0 + 1, "the edge".to_owned());
            let broke = Break { at, refused: true, resource: "pids", evidence };
            Ok(if boxes > self.0 { Stood::Broke(broke) } else { Stood::Held(boxes) })
        }
    }

    #[test]
    fn a_start_that_failed_by_chance_is_tried_again_and_the_search_goes_on() {
        let found = search(&mut Flaky(50, false)).unwrap();
        assert_eq!((found.boxes, found.binding.evidence.as_str()), (50, "the edge"));
    }
}
