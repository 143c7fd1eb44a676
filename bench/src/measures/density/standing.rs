//! Brings so many boxes about, holds them, and judges whether everything holds.

use std::time::{Duration, Instant};

use tare_reports::density::{PINGS, p99};
use tare_reports::document::{Census, Class, Failure, Parameters, Unit};

use super::binding::{self, Named};
use super::limits::{Limits, Took};
use super::pace::{Lookout, Pace};
use super::reserve::eats_the_reserve;
use super::search::{Break, Ground, Stood, Time};
use super::witness::Witness;
use super::{ON_THE_WAY, State, TOUCHED_KIB};
use crate::contenders::{Contender, MEMORY};
use crate::host::{census, memory};
use crate::lab::{Beat, Failed, Heard, Lab, Multitude};
use crate::measures::since::since;
use crate::record::Visit;
use crate::site::Site;

/// So much longer than the canary may take an answer is waited for: one that is that late has failed.
const PATIENCE: u32 = 50;

/// In at most this share of the time may some process wait for memory, in hundredths of a per cent.
const PRESSURE: u64 = 1000;

/// The last so many starts on the way to a number are recorded.
const STARTS: usize = 32;

/// How long what was taken down may take to disappear altogether.
const SETTLE: Duration = Duration::from_secs(20);

/// See the file's head.
pub(super) struct Standing<'a, 'v> {
    lab: &'a mut Lab,
    site: &'a Site,
    contender: &'a mut dyn Contender,
    visit: &'a mut Visit<'v>,
    state: State,
    hold: Duration,
    latency: Duration,
    multitude: Multitude,
    /// What the host used before the first box, bytes.
    base: u64,
    before: Census,
    /// What the host's limits were before the first box.
    limits: Limits,
    pace: Pace,
    /// The most boxes that were held.
    most: u32,
    /// What a box was last seen to take.
    took: Took,
    /// How much of the time CPUs had nothing to do while the last were held, per cent.
    idle: Option<u64>,
}

impl<'a, 'v> Standing<'a, 'v> {
    pub(super) fn new(
        lab: &'a mut Lab,
        site: &'a Site,
        contender: &'a mut dyn Contender,
        visit: &'a mut Visit<'v>,
        (state, hold, latency): (State, Duration, Duration),
    ) -> Result<Self, Failed> {
        // The search of another state may have ended with the engine's end.
        contender.revive(site).map_err(unseen)?;
        let base = memory::settled().map_err(unseen)?.bytes;
        let before = census::take(site, lab.spawner_pid());
        let limits = Limits::read(contender, site);
        let (multitude, pace) = (Multitude::default(), Pace::default());
        Ok(Self {
            lab,
            site,
            contender,
            visit,
            state,
            hold,
            latency,
            multitude,
            base,
            before,
            limits,
            pace,
            most: 0,
            took: Took::default(),
            idle: None,
        })
    }

    /// Takes all boxes down, however the search ended, and looks for what is left.
    ///
    /// # Errors
    /// When something is.
    pub(super) fn clear(&mut self) -> Result<(), Failed> {
        let held = self.multitude.len();
        let ended = self.revive()?;
        let took = self.lab.shrink(self.contender, self.site, &mut self.multitude, 0)?;
        if held > 0 && held == self.most && !ended {
            let each = took.as_nanos() as u64 / u64::from(held);
            self.record(held, |visit| visit.outcome("clear", Unit::Ns, Ok(each)));
        }
        if self.contender.is_scripted() {
            return Ok(());
        }
        let deadline = crate::clock::Deadline::after(SETTLE);
        loop {
            let now = census::take(self.site, self.lab.spawner_pid());
            let Some(left) = left(&self.before, &now) else { return Ok(()) };
            if deadline.passed() {
                return Err(Failed::new(Failure::Leak, left));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts the contender's engine anew where it has ended, as one does that the kernel has killed for want of memory.
    /// The boxes that it held end with that. Whether it had ended.
    fn revive(&mut self) -> Result<bool, Failed> {
        let ended = self.contender.revive(self.site);
        if !matches!(ended, Ok(false)) {
            self.multitude.give_up();
        }
        ended.map_err(unseen)
    }

    /// What was not judged here, in words.
    pub(super) fn unjudged(&self) -> Option<&'static str> {
        Witness::read(self.site).unjudged().filter(|_| !self.contender.is_scripted())
    }

    /// Records something of so many boxes.
    fn record(&mut self, boxes: u32, what: impl FnOnce(&mut Visit<'_>)) {
        let parameters = Parameters { instances: Some(boxes), ..self.visit.parameters.clone() };
        what(&mut Visit {
            record: &mut *self.visit.record,
            measure: self.visit.measure,
            contender: self.visit.contender,
            mode: self.visit.mode,
            round: self.visit.round,
            position: self.visit.position,
            parameters: &parameters,
        });
    }

    /// How long it is held.
    fn held_for(&self, time: Time) -> Duration {
        match time {
            Time::Whole => self.hold,
            Time::Short => self.hold / ON_THE_WAY,
        }
    }

    /// Which limit would end a search beyond so many boxes, in words.
    pub(super) fn next_limit(&self, boxes: u32) -> Option<String> {
        self.limits.next(boxes, self.took, self.idle)
    }

    /// Whether there is time to bring so many about, to hold them as long as at the end, and to take them down.
    fn time_for(&self, boxes: u32, time: Time) -> Result<(), (String, u32)> {
        let held = self.multitude.len();
        if time == Time::Whole && boxes <= held {
            // Whoever brought them about has left the time for it.
            return Ok(());
        }
        self.pace.allows(boxes, held, self.held_for(time) + self.hold, self.lab.left())
    }

    /// Takes boxes away until so many are left.
    fn shrink(&mut self, to: u32) -> Result<(), Failed> {
        let gone = self.multitude.len() - to;
        let took = self.lab.shrink(self.contender, self.site, &mut self.multitude, to)?;
        if gone > 1 {
            self.pace.removed(took / gone);
        }
        Ok(())
    }

    /// Takes half of the first boxes down and brings them about again, where the time is bounded: how long all of them
    /// will take to go must be known before they are too many to go in time.
    fn try_removal(&mut self) -> Result<Option<Stood>, Failed> {
        let held = self.multitude.len();
        let bounded = self.lab.left() != Duration::MAX && !self.contender.is_scripted();
        if !bounded || self.pace.knows_removals() || held < 4 {
            return Ok(None);
        }
        self.shrink(held / 2)?;
        self.bring(held, Lookout::blind())
    }

    /// Makes them as many as that, or fewer where the lookout says that it is time to look at them.
    fn bring(&mut self, boxes: u32, mut lookout: Lookout) -> Result<Option<Stood>, Failed> {
        self.revive()?;
        self.lab.losses(&mut self.multitude)?;
        let held = self.multitude.len();
        if held > boxes || self.multitude.lost() {
            // Where one has ended by itself the others no longer are those that are counted.
            let to = if self.multitude.lost() { 0 } else { boxes };
            self.shrink(to)?;
        }
        let before = Witness::read(self.site);
        let line = self.state.first_line();
        let margin = self.margin();
        let mut reserve = None;
        let mut slow = None;
        let mut allowed = || {
            reserve = eats_the_reserve(margin);
            slow = lookout.slow(Instant::now());
            let refused = |why: &String| Failed::new(Failure::NotMeasured, why.clone());
            reserve.as_ref().or(slow.as_ref()).map(refused).map_or(Ok(()), Err)
        };
        let to = (boxes, line.as_deref());
        let grown = self.lab.grow(self.contender, self.site, &mut self.multitude, to, &mut allowed);
        let started = grown.starts.len() as u32;
        let now_held = self.multitude.len();
        self.most = self.most.max(now_held);
        self.visit.not_applied(&grown.not_applied.into_iter().collect::<Vec<_>>());
        if started > 0 {
            let each = grown.wall_ns / u64::from(started);
            self.pace.started(Duration::from_nanos(each));
            // A figure stands for the number that was reached, which a failed start may have made smaller.
            self.record(now_held, |visit| {
                visit.outcome("climb", Unit::Ns, Ok(each));
                for &start in &grown.starts[grown.starts.len().saturating_sub(STARTS)..] {
                    visit.outcome("start", Unit::Ns, Ok(start));
                }
            });
        }
        let lost = self.lab.losses(&mut self.multitude)?;
        if let Some(first) = lost.first() {
            let detail = format!("{first}, of {} that ended on the way to {boxes}", lost.len());
            let now = Witness::read(self.site);
            return Ok(Some(broke(now_held, false, self.named(&before, &now, now_held, &detail))));
        }
        let Some(failed) = grown.failed else { return Ok(None) };
        if let Some(why) = reserve {
            let at = now_held + 1;
            return Ok(Some(broke(at, true, ("memory", why))));
        }
        if slow.is_some() {
            return Ok(None);
        }
        match failed.failure {
            Failure::Interrupted => Err(failed),
            Failure::NotMeasured if self.lab.was_cut() => {
                Ok(Some(Stood::NoTime { why: failed.detail, room: now_held }))
            }
            _ => {
                let detail = format!("box {}: {}", now_held + 1, failed.detail);
                self.record(now_held + 1, |visit| visit.outcome("start", Unit::Ns, Err(failed)));
                let now = Witness::read(self.site);
                Ok(Some(broke(now_held + 1, true, self.named(&before, &now, now_held, &detail))))
            }
        }
    }

    /// What a failed start, or a box that ended, is evidence of.
    fn named(&self, before: &Witness, now: &Witness, held: u32, detail: &str) -> Named {
        self.limits.or_reached(binding::of_failure(before, now, held, detail), held)
    }

    /// What one more box may come to use at once, bytes.
    fn margin(&self) -> u64 {
        match (self.contender.description().class, self.state) {
            // A machine may touch all that it was promised.
            (Class::Vm, _) => MEMORY,
            (_, State::Touched) => TOUCHED_KIB << 10,
            _ => 0,
        }
    }

    fn host(&self) -> Result<u64, Failed> {
        match self.multitude.scripted_memory() {
            Some(bytes) => Ok(bytes),
            None => since("the host uses", memory::settled().map_err(unseen)?.bytes, self.base),
        }
    }

    /// What does not hold, if anything.
    fn judge(&self, boxes: u32, before: &Witness, heard: &Heard) -> Result<Option<Named>, Failed> {
        let now = Witness::read(self.site);
        if let Some(how) = heard.lost.first() {
            let detail = format!("{how}, of {} that ended", heard.lost.len());
            return Ok(Some(self.named(before, &now, boxes, &detail)));
        }
        if let Some(line) = heard.done.strange.as_deref().filter(|line| line.starts_with("ERR ")) {
            return Err(Failed::new(Failure::WrongAnswer, format!("a box says {line:?}")));
        }
        if now.oom_kills > before.oom_kills {
            let detail = "while the boxes were held";
            return Ok(Some(self.named(before, &now, boxes, detail)));
        }
        if let Some(why) = eats_the_reserve(0).filter(|_| !self.contender.is_scripted()) {
            return Ok(Some(("memory", why)));
        }
        let pressure = now.pressure_since(before).filter(|it| *it > PRESSURE);
        if let Some(pressure) = pressure.filter(|_| !self.contender.is_scripted()) {
            let (whole, part) = (pressure / 100, pressure % 100);
            let why = format!("/proc/pressure/memory: some process waited {whole}.{part:02} % of the time");
            return Ok(Some(binding::of_pressure(before, &now, &why)));
        }
        let (late, latency) = (p99(heard.pings.iter().map(|it| it.clone().ok())), self.latency);
        if late.is_none_or(|ns| Duration::from_nanos(ns) > latency) {
            let unanswered = heard.pings.iter().filter(|it| it.is_err()).count();
            let seen = late.map_or("never".into(), |ns| format!("after {:.0} ms", ns as f64 / 1e6));
            let detail = format!(
                "of {} pings to {boxes} boxes 99 % were answered {seen} ({unanswered} not at all), not within \
                 {} ms; the keepers sent them up to {:.0} ms late",
                heard.pings.len(),
                latency.as_millis(),
                heard.done.late_ns as f64 / 1e6
            );
            return Ok(Some(binding::of_lateness(before, &now, &detail)));
        }
        let (asked, served) = (heard.done.asked, heard.done.served);
        if served < asked - asked / 100 {
            let detail = format!("of {asked} requests to {boxes} boxes {served} were served");
            return Ok(Some(binding::of_lateness(before, &now, &detail)));
        }
        Ok(None)
    }
}

impl Ground for Standing<'_, '_> {
    fn stand(&mut self, boxes: u32, time: Time) -> Result<Stood, Failed> {
        if let Err((why, room)) = self.time_for(boxes, time) {
            return Ok(Stood::NoTime { why, room });
        }
        // Only on the way up is a smaller number than the one that was asked for of use.
        let lookout = match time {
            Time::Short if boxes > self.most => self.pace.lookout(self.held_for(time)),
            _ => Lookout::blind(),
        };
        if let Some(stood) = self.bring(boxes, lookout)? {
            return Ok(stood);
        }
        let boxes = self.multitude.len();
        if let Some(stood) = self.try_removal()? {
            return Ok(stood);
        }
        let host = self.host();
        let each = |all: Option<u64>| all.map(|it| it / u64::from(boxes.max(1)));
        let charged = self.limits.charged_since(self.site);
        self.took = Took { host: each(host.as_ref().ok().copied()), charged: each(charged) };
        self.record(boxes, |visit| visit.outcome("host", Unit::Bytes, host));
        let before = Witness::read(self.site);
        let pings = if time == Time::Whole { PINGS.max(boxes) } else { PINGS };
        let beat = Beat {
            pings,
            over: self.held_for(time),
            work: self.state.work(),
            patience: self.latency * PATIENCE,
        };
        let heard = self.lab.canary(&mut self.multitude, &beat)?;
        let idle = Witness::read(self.site).idle_since(&before);
        self.idle = Some(idle).filter(|_| !self.contender.is_scripted());
        self.record(boxes, |visit| {
            for ping in &heard.pings {
                visit.outcome("canary", Unit::Ns, ping.clone());
            }
        });
        Ok(match self.judge(boxes, &before, &heard)? {
            Some(named) => broke(boxes, false, named),
            None => Stood::Held(boxes),
        })
    }
}

/// What there is more of than before, in words; what has gone meanwhile was not this search's.
fn left(before: &Census, now: &Census) -> Option<String> {
    let ours = |it: &Census| [it.processes, it.mounts, it.cgroups, it.files];
    let (before, now) = (ours(before), ours(now));
    let more = before.iter().zip(&now).any(|(before, now)| now > before);
    more.then(|| format!("left behind: processes, mounts, cgroups and files were {before:?} and are {now:?}"))
}

fn broke(at: u32, refused: bool, (resource, evidence): Named) -> Stood {
    Stood::Broke(Break { at, refused, resource, evidence })
}

fn unseen(error: anyhow::Error) -> Failed {
    Failed::new(Failure::NotMeasured, format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_away_meanwhile_is_nothing_left_behind() {
        let census =
            |processes, files| Census { processes, mounts: 1, cgroups: 2, namespaces: 9, links: 1, files };
        assert_eq!(left(&census(3, 4), &census(3, 4)), None);
        assert_eq!(left(&census(3, 4), &census(2, 4)), None, "somebody's before the search began");
        let why = left(&census(3, 4), &census(2, 5)).unwrap();
        assert!(why.contains("were [3, 1, 2, 4] and are [2, 1, 2, 5]"), "{why}");
    }
}
