//! The climb: a quarter, a half, three quarters and all of so many boxes are held at once, and looked at.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use tare_reports::document::{Class, Failure, Parameters, Unit};

use super::METHODS;
use super::reading::{Reading, is_payload, not_measured, processes, uncharged};
use crate::contenders::{Contender, MEMORY};
use crate::host::{charges, memory};
use crate::lab::{Failed, Instance, Lab};
use crate::measures::levels;
use crate::measures::{Order, Pass};
use crate::record::Visit;
use crate::rounds::Plan;
use crate::site::Site;

/// A quarter of what a box may have: much against what it has anyway, and 16 boxes of it fit on a small host. KiB.
const TOUCHED_KIB: u64 = MEMORY / 4 / 1024;

/// Looks at each climb: a slope needs several, and a bend is seen from four.
pub(super) const RUNGS: u32 = 4;

/// The part of a pass's time that the starts of one climb may take. A round is two climbs of each of some eight
/// contenders, each is taken down again, and there are to be two rounds.
const CLIMBS: u32 = 40;

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// How long the starts of one climb may take; nothing where the rounds are counted.
    longest: Cell<Option<Duration>>,
    /// How long a start of each contender took when it was tried.
    took: RefCell<BTreeMap<String, Duration>>,
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
        count /= 2;
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
    /// How many boxes a climb of this contender ends with: fewer where its starts take long.
    fn boxes(&self, contender: &dyn Contender, touched: bool) -> u32 {
        let most = held(contender, most(contender.description().class, touched)).unwrap_or(RUNGS);
        let took = self.took.borrow().get(contender.name()).copied();
        let (Some(longest), Some(took)) = (self.longest.get(), took) else { return most };
        let fit = longest.as_nanos() / took.as_nanos().max(1);
        let fit = u32::try_from(fit).unwrap_or(u32::MAX);
        (fit - fit % RUNGS).clamp(RUNGS, most)
    }

    /// Climbs, looks at each rung, and takes all boxes down.
    fn climb(
        &self,
        lab: &mut Lab,
        site: &Site,
        contender: &mut dyn Contender,
        touched: bool,
    ) -> Result<Climb, Failed> {
        let mut herd = Vec::new();
        memory::wait_until_still();
        let before = Reading::take(lab, site, contender, &herd)?;
        let mut reached = more(lab, site, contender, &mut herd, 1, touched);
        let peak = reached.clone().and_then(|()| peak(lab, site, contender, &herd));
        let mut rungs: Vec<(u32, Result<Reading, Failed>)> = Vec::new();
        for boxes in self.rungs(contender, touched) {
            // Those beyond one that was not reached are not tried: theirs is the same reason.
            reached = reached.and_then(|()| more(lab, site, contender, &mut herd, boxes, touched));
            let looked = reached.clone().and_then(|()| Reading::take(lab, site, contender, &herd));
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

    fn rungs(&self, contender: &dyn Contender, touched: bool) -> Vec<u32> {
        let each = self.boxes(contender, touched) / RUNGS;
        (1..=RUNGS).map(|rung| rung * each).collect()
    }
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
fn peak(lab: &Lab, site: &Site, contender: &dyn Contender, herd: &[Instance]) -> Result<u64, Failed> {
    if let Some(reason) = uncharged(contender.description().class) {
        return Err(Failed::new(Failure::NotMeasured, reason));
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
        self.longest.set(run.budget.map(|it| it / CLIMBS));
        // A climb costs as much as hundreds of starts.
        Plan { rounds: run.rounds.div_ceil(20), budget: run.budget }
    }

    /// One climb is thrown away: the kernel's slabs grow once and are used again. Of machines one is enough, beside
    /// whose RAM slabs are nothing. It tells how long a start takes, too.
    fn warm_up(&self, lab: &mut Lab, site: &Site, contender: &mut dyn Contender) {
        let class = contender.description().class;
        let most = if class == Class::Vm { 1 } else { self.boxes(contender, false) };
        let (began, mut herd) = (lab.elapsed(), Vec::new());
        let over = |lab: &Lab| self.longest.get().is_some_and(|longest| lab.elapsed() - began > longest);
        while (herd.len() as u32) < most && !over(lab) {
            // What goes wrong here goes wrong again where it is recorded.
            if lab.hold(contender, site, &mut herd, 1).is_err() {
                return;
            }
        }
        let each = (lab.elapsed() - began) / (herd.len() as u32).max(1);
        self.took.borrow_mut().insert(contender.name().to_owned(), each);
        let _ = lab.release(contender, site, herd);
    }

    fn visit(&self, lab: &mut Lab, site: &Site, contender: &mut dyn Contender, visit: &mut Visit<'_>) {
        let touched = is_touched(visit.parameters);
        let state = visit.parameters.clone();
        let at = |boxes: u32| Parameters { instances: Some(boxes), ..state.clone() };
        if contender.is_scripted() {
            for boxes in self.rungs(contender, touched) {
                visit.at(&at(boxes)).outcome("host", Unit::Bytes, rehearse(lab, site, contender, boxes));
            }
            return;
        }
        let climb = match self.climb(lab, site, contender, touched) {
            Ok(climb) => climb,
            Err(failed) => {
                for boxes in self.rungs(contender, touched) {
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
    }
}

/// The climb of scripted boxes: each costs what its script says.
fn rehearse(lab: &mut Lab, site: &Site, contender: &mut dyn Contender, boxes: u32) -> Result<u64, Failed> {
    let mut herd = Vec::new();
    lab.hold(contender, site, &mut herd, boxes)?;
    let none = || Failed::new(Failure::NotMeasured, "the script names no memory");
    herd.iter().map(|it| it.scripted_memory().ok_or_else(none)).sum()
}
