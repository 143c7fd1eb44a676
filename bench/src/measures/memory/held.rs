//! The climb: a quarter, a half, three quarters and all of so many boxes are held at once, and looked at.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use tare_reports::document::{Class, Failure, Parameters, Unit};
use tare_reports::memory::KEPT;

use super::birthplace::Birthplace;
use super::kept::{self, Each};
use super::reading::{Reading, is_payload, not_measured, processes};
use super::{METHODS, TOUCHED_KIB};
use crate::contenders::Contender;
use crate::host::{charges, memory};
use crate::lab::{Failed, Instance, Lab};
use crate::measures::levels;
use crate::measures::{Order, Pass};
use crate::record::Visit;
use crate::rounds::Plan;
use crate::site::Site;

/// Looks at each climb: a slope needs several, and a bend is seen from four.
pub(super) const RUNGS: u32 = 4;

/// The parts of a pass's time: the starts of one climb of each contender may take one of so many. A round is two climbs
/// of each, each is taken down again, and there are to be two rounds.
const CLIMBS: u32 = 5;

/// So many parts there are at least: where few are compared, a climb must leave the time to go there again.
const FEWEST: u32 = 12;

/// As many parts for the climb that is thrown away, when it is not known yet who takes part.
const FIRST: u32 = 40;

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// The time of the pass; nothing where the rounds are counted.
    budget: Cell<Option<Duration>>,
    /// How long a start of each contender took when it was tried.
    took: RefCell<BTreeMap<String, Duration>>,
    /// What a box of each was seen to take below a limit.
    each: RefCell<BTreeMap<String, Each>>,
}

/// The most boxes of one climb. The effect is then fifty times what the use of a quiet host wanders by itself, some
/// 200 KiB: a process costs 100 KiB, a container 400, a machine tens of megabytes.
fn most(class: Class, touched: bool) -> u32 {
    match (class, touched) {
        (Class::Vm, _) => 8,
        (_, true) => 16,
        (Class::Process | Class::Container, false) => 256,
        (Class::Sandbox | Class::Engine, false) => 32,
    }
}

/// How many boxes this host can hold, of so many; or why not even a few.
pub(super) fn held(contender: &dyn Contender, most: u32) -> Result<u32, String> {
    let mut count = most;
    while count > RUNGS && levels::fits(contender, count).is_err() {
        count = (count / 2).max(RUNGS);
    }
    levels::fits(contender, count).map(|()| count)
}

/// What is left out for a contender.
pub(super) fn left_out(contender: &dyn Contender) -> Option<String> {
    let why = held(contender, RUNGS).err().filter(|_| contender.can_be_held())?;
    Some(format!("memory of {}: {why}", contender.name()))
}

fn is_touched(parameters: &Parameters) -> bool {
    parameters.state.as_deref() == Some("touched")
}

impl Held {
    /// How long the starts of one climb may take. Who takes part is known once each has been tried.
    fn longest(&self) -> Option<Duration> {
        let contenders = self.took.borrow().len() as u32;
        self.budget.get().map(|it| it / (CLIMBS * contenders).max(FEWEST))
    }

    /// How many boxes a climb of this contender ends with: fewer where its starts take long, and below a limit of their
    /// parent's memory as many as that allows.
    ///
    /// # Errors
    /// When it allows too few; in words.
    fn boxes(&self, site: &Site, contender: &dyn Contender, touched: bool) -> Result<u32, String> {
        let most = most(contender.description().class, touched);
        let most = match kept::limit(site).filter(|_| !contender.is_scripted()) {
            None => most,
            Some(limit) => {
                let each = self.each.borrow().get(contender.name()).copied();
                let most = if touched { most } else { u32::MAX };
                kept::boxes(contender, &limit, each, (touched, RUNGS, most))?
            }
        };
        let most = held(contender, most).unwrap_or(RUNGS);
        let took = self.took.borrow().get(contender.name()).copied();
        let fit = match (self.longest(), took) {
            (Some(longest), Some(took)) => longest.as_nanos() / took.as_nanos().max(1),
            _ => u128::MAX,
        };
        let fit = u32::try_from(fit).unwrap_or(u32::MAX).min(most);
        Ok((fit - fit % RUNGS).max(RUNGS))
    }

    /// Climbs, looks at each rung, and takes all boxes down, with the cgroup that they were born in.
    fn climb(
        &self,
        lab: &mut Lab,
        site: &Site,
        contender: &mut dyn Contender,
        up_to: (u32, bool),
    ) -> Result<Climb, Failed> {
        memory::wait_until_still();
        let born = Birthplace::make(lab, site, contender);
        let climbed = self.climb_from(lab, site, contender, up_to, born.as_ref());
        match born {
            Some(Ok(born)) => born.remove(lab).and(climbed),
            _ => climbed,
        }
    }

    fn climb_from(
        &self,
        lab: &mut Lab,
        site: &Site,
        contender: &mut dyn Contender,
        (boxes, touched): (u32, bool),
        born: Option<&Result<Birthplace, Failed>>,
    ) -> Result<Climb, Failed> {
        let mut herd = Vec::new();
        let before = Reading::take(lab, site, contender, &herd, born)?;
        let mut reached = more(lab, site, contender, &mut herd, 1, touched);
        let peak = reached.clone().and_then(|()| peak(lab, site, contender, &herd, born));
        let mut rungs: Vec<(u32, Result<Reading, Failed>)> = Vec::new();
        for boxes in rungs_to(boxes) {
            // Those beyond one that was not reached are not tried: theirs is the same reason.
            reached = reached.and_then(|()| more(lab, site, contender, &mut herd, boxes, touched));
            let looked = reached.clone().and_then(|()| Reading::take(lab, site, contender, &herd, born));
            reached = looked.as_ref().map(|_| ()).map_err(Clone::clone);
            rungs.push((boxes, looked));
        }
        match reached {
            Ok(()) => lab.release(contender, site, herd)?,
            Err(_) => lab.drop_herd(contender, site, herd),
        }
        // What the workers have not freed yet would be missing from the next climb when they do. A part stays in the
        // slabs for good.
        if let Some((_, Ok(top))) = rungs.last() {
            memory::wait_until_below(before.host() + top.host().saturating_sub(before.host()) / 8);
        }
        Ok(Climb { before, rungs, peak })
    }
}

/// A quarter of so many boxes, a half, three quarters, and all.
fn rungs_to(boxes: u32) -> Vec<u32> {
    (1..=RUNGS).map(|rung| rung * (boxes / RUNGS)).collect()
}

/// What one climb brought.
struct Climb {
    /// Before its first box.
    before: Reading,
    /// Boxes held, and what was seen then.
    rungs: Vec<(u32, Result<Reading, Failed>)>,
    /// The most that the first box was charged for so far, bytes.
    peak: Result<u64, Failed>,
}

/// Starts boxes until there are so many. Each has answered; where they are to be touched, that was its answer.
pub(super) fn more(
    lab: &mut Lab,
    site: &Site,
    contender: &mut dyn Contender,
    herd: &mut Vec<Instance>,
    boxes: u32,
    touched: bool,
) -> Result<(), Failed> {
    let have = herd.len();
    lab.hold(contender, site, herd, boxes.saturating_sub(have as u32))?;
    let touch = touched.then(|| format!("touch {TOUCHED_KIB}"));
    for instance in &mut herd[have..] {
        lab.alive(contender, site, instance, touch.as_deref())?;
    }
    Ok(())
}

/// The high-water mark of the only box's cgroup.
fn peak(
    lab: &Lab,
    site: &Site,
    contender: &dyn Contender,
    herd: &[Instance],
    born: Option<&Result<Birthplace, Failed>>,
) -> Result<u64, Failed> {
    if let Some(born) = born {
        let dir = charges::directory(born.as_ref().map_err(Clone::clone)?.path());
        return dir.and_then(|dir| charges::peak(&dir)).map_err(|error| not_measured(&error));
    }
    if matches!(contender.description().class, Class::Process | Class::Vm) {
        let why = "below a parent such boxes share a cgroup, whose mark is not one box's";
        return Err(Failed::new(Failure::NotMeasured, why));
    }
    let own = herd.first().map(|it| format!("{}/{}", site.cgroup_parent(), it.start.id));
    let dir = match contender.served_in(site).transpose().map_err(|error| not_measured(&error))? {
        None => charges::directory(&own.unwrap_or_default()),
        // An engine names the cgroup itself; the payload is in it.
        Some(all) => payload_in(lab, &all).and_then(charges::directory_of),
    };
    dir.and_then(|dir| charges::peak(&dir)).map_err(|error| not_measured(&error))
}

fn payload_in(lab: &Lab, cgroup: &str) -> anyhow::Result<u32> {
    let found = processes(lab.spawner_pid(), Some(cgroup)).into_iter().find(is_payload);
    found.map(|it| it.pid as u32).with_context(|| format!("no payload runs in {cgroup}"))
}

impl Pass for Held {
    fn settings(&self, contender: &dyn Contender) -> Vec<Parameters> {
        if !contender.can_be_held() || held(contender, RUNGS).is_err() {
            return Vec::new();
        }
        let setting = |state: &str| Parameters {
            network: Some("none".into()),
            state: Some(state.into()),
            ..Parameters::default()
        };
        ["idle", "touched"].map(setting).into()
    }

    fn order(&self) -> Order {
        Order::Mirrored
    }

    fn single_starts(&self) -> bool {
        false
    }

    fn plan(&self, run: Plan) -> Plan {
        self.budget.set(run.budget);
        // A climb costs as much as hundreds of starts.
        Plan { rounds: run.rounds.div_ceil(20), budget: run.budget }
    }

    /// One climb is thrown away: the kernel's slabs grow once and are used again. Of machines one is enough, beside
    /// whose RAM slabs are nothing. It tells how long a start takes, too.
    fn warm_up(&self, lab: &mut Lab, site: &Site, contender: &mut dyn Contender) {
        let name = contender.name().to_owned();
        let (began, mut herd, mut before) = (lab.elapsed(), Vec::new(), None);
        if kept::limit(site).is_some() && !contender.is_scripted() {
            // What goes wrong here goes wrong again where it is recorded.
            let Ok((empty, each)) = kept::first(lab, site, contender, &mut herd) else {
                lab.drop_herd(contender, site, herd);
                return;
            };
            before = Some(empty);
            self.each.borrow_mut().insert(name.clone(), each);
        }
        let class = contender.description().class;
        let most = if class == Class::Vm { 1 } else { self.boxes(site, contender, false).unwrap_or(RUNGS) };
        let longest = self.budget.get().map(|it| it / FIRST);
        let over = |lab: &Lab| longest.is_some_and(|longest| lab.elapsed() - began > longest);
        while (herd.len() as u32) < most && !over(lab) {
            if lab.hold(contender, site, &mut herd, 1).is_err() {
                return;
            }
        }
        let each = (lab.elapsed() - began) / (herd.len() as u32).max(1);
        self.took.borrow_mut().insert(name.clone(), each);
        // The first few told it roughly: what they found in the slabs, and what went meanwhile, weighs less now.
        if let Some(Ok(each)) = before.map(|it| it.each(site, herd.len())) {
            self.each.borrow_mut().insert(name, each);
        }
        let _ = lab.release(contender, site, herd);
    }

    fn visit(&self, lab: &mut Lab, site: &Site, contender: &mut dyn Contender, visit: &mut Visit<'_>) {
        let touched = is_touched(visit.parameters);
        let state = visit.parameters.clone();
        let at = |boxes: u32| Parameters { instances: Some(boxes), ..state.clone() };
        let boxes = match self.boxes(site, contender, touched) {
            Ok(boxes) => boxes,
            Err(why) => {
                let failed = Failed::new(Failure::NotMeasured, why);
                return visit.at(&at(RUNGS)).nothing(&METHODS, &failed);
            }
        };
        if contender.is_scripted() {
            for boxes in rungs_to(boxes) {
                visit.at(&at(boxes)).outcome("host", Unit::Bytes, rehearse(lab, site, contender, boxes));
            }
            return;
        }
        let climb = match self.climb(lab, site, contender, (boxes, touched)) {
            Ok(climb) => climb,
            Err(failed) => {
                for boxes in rungs_to(boxes) {
                    visit.at(&at(boxes)).nothing(&METHODS, &failed);
                }
                return;
            }
        };
        for (boxes, looked) in climb.rungs {
            let (parameters, before) = (at(boxes), &climb.before);
            let mut visit = visit.at(&parameters);
            match looked {
                Ok(seen) => {
                    visit.accounted("host", seen.host_since(before));
                    visit.outcome("cgroup", Unit::Bytes, seen.cgroup_since(before));
                    visit.outcome("pss", Unit::Bytes, seen.pss_since(before));
                }
                Err(failed) => visit.nothing(&METHODS, &failed),
            }
        }
        if !touched {
            let one = Parameters { state: None, ..at(1) };
            visit.at(&one).outcome("peak", Unit::Bytes, climb.peak);
        }
        if !touched && kept::limit(site).is_some() {
            for (boxes, kept) in kept::climb(lab, site, contender, &rungs_to(boxes)) {
                visit.at(&at(boxes)).outcome(KEPT, Unit::Bytes, kept);
            }
        }
    }
}

/// The climb of scripted boxes: each costs what its script says.
fn rehearse(lab: &mut Lab, site: &Site, contender: &mut dyn Contender, boxes: u32) -> Result<u64, Failed> {
    let mut herd = Vec::new();
    lab.hold(contender, site, &mut herd, boxes)?;
    let none = || Failed::new(Failure::NotMeasured, "the script names no memory");
    herd.iter().map(|it| it.scripted_memory().ok_or_else(none)).sum()
}
