//! The canary: pings on a fixed schedule to boxes that are held, and whether all of these are still there.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use tare_reports::document::Failure;

use super::multitude::Multitude;
use super::{Failed, Lab};
use crate::clock::{self, Deadline};
use crate::keeper::protocol::{Done, Order, Pinged, Word};
use crate::keeper::schedule::{Load, Schedule};

/// Between the order and the first ping: the keepers hear of it one after another.
const LEAD: Duration = Duration::from_millis(20);

/// What is asked of a multitude.
#[derive(Debug, Clone)]
pub struct Beat {
    /// So many pings, spread over all boxes.
    pub pings: u32,
    /// Evenly spread over this time.
    pub over: Duration,
    /// What every box has to do besides, once in each second.
    pub work: Option<String>,
    /// How long an answer is waited for.
    pub patience: Duration,
}

/// What was heard.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// For each ping, in the order in which they were meant to leave: how long after that it was answered, ns.
    pub pings: Vec<Result<u64, Failed>>,
    /// Boxes that ended although nobody asked them to: which, and how.
    pub lost: Vec<String>,
    /// What the keepers say of the schedule: the latest ping, the sums of the requests.
    pub done: Done,
}

impl Lab {
    /// Asks the boxes of a multitude on a schedule, in open loop.
    ///
    /// # Errors
    /// When the run is interrupted, or a keeper is gone.
    pub fn canary(&mut self, multitude: &mut Multitude, beat: &Beat) -> Result<Heard, Failed> {
        if let Some(last) = multitude.scripted.last() {
            let after = last.scripted.and_then(|it| it.answers).unwrap_or(0);
            self.patience.pretend(beat.over);
            let pings = vec![Ok(after); beat.pings as usize];
            return Ok(Heard { pings, ..Heard::default() });
        }
        let every_ns = Duration::from_secs(1).as_nanos() as u64;
        let schedule = Schedule {
            boxes: multitude.len(),
            pings: beat.pings,
            begin_ns: clock::now_ns() + LEAD.as_nanos() as u64,
            interval_ns: beat.over.as_nanos() as u64 / u64::from(beat.pings.max(1)),
            load: beat.work.clone().map(|line| Load { line, every_ns }),
            patience_ns: beat.patience.as_nanos() as u64,
        };
        for group in &multitude.groups {
            group.keeper.send(&Order::Keep(schedule.clone()), &[]).map_err(gone)?;
        }
        let deadline = Deadline::after(LEAD + beat.over + beat.patience * 2 + Duration::from_secs(10));
        let mut heard = Heard::default();
        let (mut pings, mut lost) = (BTreeMap::new(), Vec::new());
        let mut waiting = multitude.groups.len();
        while waiting > 0 {
            let sockets: Vec<BorrowedFd<'_>> = multitude.groups.iter().map(|it| it.keeper.socket()).collect();
            let woken = self.wait_for(&sockets, deadline)?;
            if woken.spawner {
                self.take_event()?;
            }
            for group in &mut multitude.groups {
                while let Some(word) = group.keeper.heard().map_err(gone)? {
                    match word {
                        Word::Pinged(some) => pings.extend(some),
                        Word::Done(done) => {
                            waiting -= 1;
                            heard.add(done);
                        }
                        other => lost.extend(lost_by(&other)),
                    }
                }
            }
        }
        heard.lost = self.note_all(multitude, lost);
        heard.pings = (0..beat.pings).map(|k| outcome(pings.remove(&k), schedule.box_of(k))).collect();
        Ok(heard)
    }
}

impl Lab {
    /// Boxes that have ended since anybody asked last, although nobody asked them to: which, and how.
    ///
    /// # Errors
    /// When a keeper is gone.
    pub fn losses(&mut self, multitude: &mut Multitude) -> Result<Vec<String>, Failed> {
        let mut lost = Vec::new();
        for group in &mut multitude.groups {
            while let Some(word) = group.keeper.heard().map_err(gone)? {
                lost.extend(lost_by(&word));
            }
        }
        Ok(self.note_all(multitude, lost))
    }

    fn note_all(&mut self, multitude: &mut Multitude, lost: Vec<u32>) -> Vec<String> {
        let mut all = Vec::new();
        for number in lost {
            let group = multitude.groups.iter_mut().rev().find(|it| it.first <= number);
            all.extend(group.map(|group| self.note_lost(group, number)));
        }
        all
    }
}

impl Heard {
    fn add(&mut self, done: Done) {
        self.done.late_ns = self.done.late_ns.max(done.late_ns);
        self.done.asked += done.asked;
        self.done.served += done.served;
        self.done.strange = self.done.strange.take().or(done.strange);
    }
}

fn lost_by(word: &Word) -> Option<u32> {
    match word {
        Word::Lost(number) | Word::Ended(number, _) => Some(*number),
        _ => None,
    }
}

fn outcome(pinged: Option<Pinged>, number: u32) -> Result<u64, Failed> {
    let number = number + 1;
    match pinged {
        Some(Pinged::After(ns)) => Ok(ns),
        Some(Pinged::Unanswered) => {
            Err(Failed::new(Failure::Timeout, format!("box {number} did not answer in time")))
        }
        Some(Pinged::Gone) => Err(Failed::new(Failure::Crash, format!("box {number} is gone"))),
        Some(Pinged::NotSent(why)) => {
            Err(Failed::new(Failure::Crash, format!("box {number} takes no ping: {why}")))
        }
        None => {
            Err(Failed::new(Failure::NotMeasured, format!("no keeper spoke of the ping to box {number}")))
        }
    }
}

fn gone(error: std::io::Error) -> Failed {
    Failed::new(Failure::Start, format!("a keeper is gone: {error}"))
}
