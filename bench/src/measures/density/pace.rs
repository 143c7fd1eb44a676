//! Whether the time that is left allows a number of boxes: to bring them about, to hold them as long as that takes twice,
//! and to take all of them down again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So much slower than in the last step starts have become when it is time to look at the boxes: a host whose CPUs are
/// used up takes seconds for each of the many that the next number would need.
const SLOWER: u32 = 3;

/// How fast boxes come and go.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    /// How long a start took in the last step, by the wall.
    start: Duration,
    /// How much longer that was than in the step before, as a factor of at least one.
    slower: f64,
    /// How long a removal took when several were made; none where there was none yet.
    removal: Option<Duration>,
}

impl Pace {
    /// A step's starts took so long each.
    pub(super) fn started(&mut self, each: Duration) {
        let before = self.start.as_secs_f64();
        self.slower = if before > 0.0 { (each.as_secs_f64() / before).max(1.0) } else { 1.0 };
        self.start = each;
    }

    /// Removals took so long each.
    pub(super) fn removed(&mut self, each: Duration) {
        self.removal = Some(each);
    }

    /// Whether anything is known of removals.
    pub(super) fn knows_removals(&self) -> bool {
        self.removal.is_some()
    }

    /// Looks out for starts of the next step that are much slower than those of the last, over at least so long.
    pub(super) fn lookout(&self, over: Duration) -> Lookout {
        Lookout { usual: self.start, over, began: VecDeque::new() }
    }

    /// A start of the next step, which slows down as the last did.
    fn next(&self) -> Duration {
        self.start.mul_f64(self.slower.max(1.0))
    }

    /// What so many boxes would take where so many are held: the starts, `holding`, and taking all down.
    fn needed(&self, boxes: u32, held: u32, holding: Duration) -> Duration {
        let removal = self.removal.unwrap_or(self.start);
        self.next() * boxes.saturating_sub(held) + holding + removal * boxes
    }

    /// Whether there is time for so many.
    ///
    /// # Errors
    /// Why not, in words, and for how many there is.
    pub(super) fn allows(
        &self,
        boxes: u32,
        held: u32,
        holding: Duration,
        left: Duration,
    ) -> Result<(), (String, u32)> {
        let needed = self.needed(boxes, held, holding);
        if needed <= left {
            return Ok(());
        }
        let each = self.next() + self.removal.unwrap_or(self.start);
        let more = left.saturating_sub(self.needed(held, held, holding)).as_secs_f64()
            / each.as_secs_f64().max(1e-9);
        let rate = match self.next() {
            // Before the first nobody knows.
            Duration::ZERO => String::new(),
            start => format!(" ({:.1} starts a second)", 1.0 / start.as_secs_f64()),
        };
        let why = format!(
            "{boxes} boxes would take {:.0} s more{rate}, and the profile leaves {:.0} s; `--profile full` has more, \
             `--rounds 1` sets no limit",
            needed.as_secs_f64(),
            left.as_secs_f64()
        );
        Err((why, held + more as u32))
    }
}

/// See [`Pace::lookout`].
#[derive(Debug)]
pub(super) struct Lookout {
    /// How long a start took in the last step; zero where there was none.
    usual: Duration,
    over: Duration,
    /// When the last starts began: as many as that time holds.
    began: VecDeque<Instant>,
}

impl Lookout {
    /// One that sees nothing.
    pub(super) fn blind() -> Self {
        Pace::default().lookout(Duration::ZERO)
    }

    /// A start begins now: whether those before it were slow, in words.
    pub(super) fn slow(&mut self, now: Instant) -> Option<String> {
        self.began.push_back(now);
        // At least two starts, or one that took long would be all there is to judge by.
        while self.began.len() > 3 && now - self.began[1] >= self.over {
            self.began.pop_front();
        }
        let (first, count) = (self.began.front()?, self.began.len() as u32 - 1);
        let took = now - *first;
        let each = took.checked_div(count).filter(|_| count > 1 && took >= self.over)?;
        let slow = !self.usual.is_zero() && each > self.usual * SLOWER;
        slow.then(|| format!("the last {count} starts took {} ms each", each.as_millis()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLDING: Duration = Duration::from_secs(10);

    fn seconds(it: f64) -> Duration {
        Duration::from_secs_f64(it)
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_number_that_does() {
        let mut pace = Pace::default();
        pace.started(seconds(1.0));
        // Nothing is known of removals: they count as much as the starts. 50 + 10 + 100.
        assert_eq!(pace.allows(100, 50, HOLDING, seconds(160.0)), Ok(()));
        let (why, room) = pace.allows(100, 50, HOLDING, seconds(150.0)).unwrap_err();
        assert!(why.starts_with("100 boxes would take 160 s more (1.0 starts a second)"), "{why}");
        assert_eq!((room, pace.allows(room, 50, HOLDING, seconds(150.0))), (95, Ok(())));
        pace.removed(seconds(0.1));
        assert_eq!(pace.allows(100, 50, HOLDING, seconds(70.0)), Ok(()));
        assert_eq!(pace.allows(100, 50, HOLDING, seconds(5.0)).unwrap_err().1, 50, "none more");
        let (why, room) = Pace::default().allows(8, 0, HOLDING, seconds(5.0)).unwrap_err();
        assert!(why.starts_with("8 boxes would take 10 s more, and the profile leaves 5 s"), "{why}");
        assert_eq!(room, 0, "not even to hold them");
    }

    #[test]
    fn the_next_step_slows_down_as_the_last_did() {
        let mut pace = Pace::default();
        pace.removed(Duration::ZERO);
        pace.started(seconds(1.0));
        pace.started(seconds(1.5));
        assert!(
            pace.allows(10, 0, HOLDING, seconds(32.0)).is_err()
                && pace.allows(10, 0, HOLDING, seconds(33.0)).is_ok()
        );
        pace.started(seconds(0.5));
        assert_eq!(pace.allows(10, 0, HOLDING, seconds(15.0)), Ok(()), "one that was faster is no promise");
    }

    #[test]
    fn starts_that_become_three_times_as_slow_are_noticed_and_a_hiccup_is_not() {
        let mut pace = Pace::default();
        pace.started(seconds(1.0));
        let begin = Instant::now();
        let noticed = |gaps: &[f64]| {
            let mut lookout = pace.lookout(seconds(5.0));
            let mut at = 0.0;
            let mut moments = vec![0.0];
            moments.extend(gaps.iter().map(|gap| {
                at += gap;
                at
            }));
            moments.into_iter().position(|at| lookout.slow(begin + seconds(at)).is_some())
        };
        assert_eq!(noticed(&[1.0; 50]), None);
        assert_eq!(noticed(&[1.0, 1.0, 4.0, 1.0, 1.0, 1.0, 1.0]), None, "one of them took longer");
        assert_eq!(noticed(&[2.9; 50]), None);
        assert_eq!(noticed(&[3.1; 50]), Some(2));
        assert_eq!(noticed(&[1.0, 1.0, 1.0, 1.0, 6.0, 6.0, 6.0]), Some(5));
        assert_eq!(noticed(&[0.1, 9.0]), Some(2), "two, and the time has passed");
        let mut lookout = Lookout::blind();
        assert!((0..9).all(|at| lookout.slow(begin + seconds(f64::from(at))).is_none()));
    }
}
