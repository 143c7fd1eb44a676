//! How long the lab waits when a run's time is short, and the clock by which that is told.

use std::time::{Duration, Instant};

use tare_reports::document::Failure;

use super::{Failed, Instance, Lab};
use crate::clock::Deadline;
use crate::contenders::Contender;

/// Why a start was given up that did nothing wrong.
const CUT: &str = "not ready when its share of the profile's time was over";

/// See the file's head.
#[derive(Debug)]
pub(super) struct Patience {
    opened: Instant,
    /// What scripted boxes say to have taken.
    pretended: Duration,
    /// When a start is given up, whatever the contender's own deadline.
    cut_at: Option<Duration>,
    /// Whether one was.
    was_cut: bool,
}

impl Default for Patience {
    fn default() -> Self {
        Self { opened: Instant::now(), pretended: Duration::ZERO, cut_at: None, was_cut: false }
    }
}

impl Patience {
    /// Scripted boxes took so long.
    pub(super) fn pretend(&mut self, took: Duration) {
        self.pretended += took;
    }
}

impl Lab {
    /// Time since the lab was opened. Scripted boxes take here what their script says.
    pub fn elapsed(&self) -> Duration {
        self.patience.opened.elapsed() + self.patience.pretended
    }

    /// Starts are given up at this moment of [`Lab::elapsed`], and are then `not-measured`: the time was short,
    /// the contender did nothing wrong. `None`: its own deadline alone counts.
    pub fn cut_at(&mut self, moment: Option<Duration>) {
        self.patience.cut_at = moment;
        self.patience.was_cut = false;
    }

    /// Whether a start was given up since [`Lab::cut_at`] was called.
    pub fn was_cut(&self) -> bool {
        self.patience.was_cut
    }

    /// Time left until starts are given up.
    pub fn left(&self) -> Duration {
        self.patience.cut_at.map_or(Duration::MAX, |it| it.saturating_sub(self.elapsed()))
    }

    /// When a start of this contender that begins now has failed.
    pub(super) fn deadline(&self, contender: &dyn Contender) -> Deadline {
        Deadline::after(contender.deadline().min(self.left()))
    }

    /// How long starts that share the CPUs with others, so many for each, are waited for.
    pub(super) fn patience_for(&self, contender: &dyn Contender, each: u32) -> Duration {
        contender.deadline().saturating_mul(1 + each).min(self.left())
    }

    /// Nothing came before the deadline: the start's own, or the run's time.
    pub(super) fn too_late(&mut self) -> Failed {
        if self.left().is_zero() {
            self.patience.was_cut = true;
            return Failed::new(Failure::NotMeasured, CUT);
        }
        Failed::new(Failure::Timeout, "nothing came before the deadline")
    }

    /// Scripted starts were all ready after so long, ns.
    ///
    /// # Errors
    /// When the run's time was over before.
    pub(super) fn pretend_volley(&mut self, ns: u64) -> Result<(), Failed> {
        let (took, left) = (Duration::from_nanos(ns), self.left());
        self.patience.pretended += took.min(left);
        if took > left { Err(self.too_late()) } else { Ok(()) }
    }

    /// A scripted box says to have taken so long, ns.
    pub(super) fn pretend(&mut self, contender: &dyn Contender, ns: u64) {
        if contender.is_scripted() {
            self.patience.pretended += Duration::from_nanos(ns);
        }
    }

    /// Judges whether it was the run's time that ended a start, and lets scripted boxes take theirs.
    pub(super) fn in_time(
        &mut self,
        contender: &dyn Contender,
        result: Result<Instance, Failed>,
    ) -> Result<Instance, Failed> {
        let scripted = contender.is_scripted();
        let took = match &result {
            Ok(instance) if scripted => Duration::from_nanos(instance.ready_ns),
            Err(failed) if scripted && failed.failure == Failure::Timeout => contender.deadline(),
            _ => Duration::ZERO,
        };
        let left = self.left();
        self.patience.pretended += took.min(left);
        let timed_out = matches!(&result, Err(failed) if failed.failure == Failure::Timeout);
        if took > left || (timed_out && left.is_zero()) {
            self.patience.was_cut = true;
            return Err(Failed::new(Failure::NotMeasured, CUT));
        }
        result
    }
}
