//! Machines whose memory the kernel may merge (KSM), without merging and with it, in the same run: a curve of its own,
//! and only with `--allow-host`. Nothing else of a run is measured while pages are merged.
//!
//! Their RAM is not that of the other figures: the kernel merges private anonymous memory only, so that it lies in no
//! file of memory as elsewhere. That is why the figure without merging is measured here, too. Containers have no such
//! curve: a program has to mark its memory for it, and the payload does not.

use tare_reports::document::{Failure, Parameters, Unit};

use super::held::{RUNGS, held, more};
use super::otherwise::Otherwise;
use super::reading::not_measured;
use crate::contenders::Contender;
use crate::contenders::altered::Altered;
use crate::host::ksm::{self, Changed, Ksm};
use crate::host::memory;
use crate::lab::{Failed, Lab};
use crate::measures::since::since;
use crate::measures::{OnHost, Order, Pass};
use crate::record::Visit;
use crate::rounds::Plan;
use crate::site::Site;

/// As many machines as hold other memory figures: the tenth has little left to share that the eighth had not.
const MOST: u32 = 8;

const ADDS: &str = "memory with KSM: tare run memory --allow-host --profile standard";

/// See the file's head.
#[derive(Debug)]
pub(super) struct Merged;

impl Pass for Merged {
    fn on_host(&self) -> Option<OnHost> {
        Some(OnHost { adds: ADDS, possible: ksm::can_be_switched })
    }

    fn left_to_longer_profiles(&self) -> Option<&'static str> {
        Some(ADDS)
    }

    fn settings(&self, contender: &dyn Contender) -> Vec<Parameters> {
        if !contender.can_merge() || held(contender, RUNGS).is_err() {
            return Vec::new();
        }
        let setting = |(state, ksm): (&str, &str)| Parameters {
            network: Some("none".into()),
            state: Some(state.into()),
            ksm: Some(ksm.into()),
            ..Parameters::default()
        };
        [("idle", "off"), ("idle", "on"), ("touched", "off"), ("touched", "on")].map(setting).into()
    }

    fn order(&self) -> Order {
        Order::Mirrored
    }

    fn single_starts(&self) -> bool {
        false
    }

    fn plan(&self, run: Plan) -> Plan {
        Plan { rounds: run.rounds.div_ceil(20), budget: run.budget }
    }

    fn visit(&self, lab: &mut Lab, site: &Site, contender: &mut dyn Contender, visit: &mut Visit<'_>) {
        let setting = visit.parameters.clone();
        let at = |boxes: u32| Parameters { instances: Some(boxes), ..setting.clone() };
        let merging = setting.ksm.as_deref() == Some("on");
        let touched = setting.state.as_deref() == Some("touched");
        let each = held(contender, MOST).unwrap_or(RUNGS) / RUNGS;
        let rungs: Vec<u32> = (1..=RUNGS).map(|rung| rung * each).collect();
        let changed = match Ksm::of_host().change(site.dir(), merging) {
            Ok(changed) => changed,
            Err(error) => {
                for boxes in rungs {
                    visit.at(&at(boxes)).outcome("ksm", Unit::Bytes, Err(not_measured(&error)));
                }
                return;
            }
        };
        let looked = climb(lab, site, contender, &rungs, touched, merging.then_some(&changed));
        for (boxes, used) in looked {
            visit.at(&at(boxes)).outcome("ksm", Unit::Bytes, used);
        }
        for change in changed.put_back() {
            visit.record.note_host_change(change);
        }
    }
}

/// Waits until all that can be merged is, or somebody wants the run to end.
fn settle(lab: &mut Lab, merging: &Changed) -> Result<(), Failed> {
    match merging.settle(|| lab.interrupted().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => {
            Err(Failed::new(Failure::Interrupted, "the run was interrupted while pages were merged"))
        }
        Err(error) => Err(not_measured(&error)),
    }
}

/// What the host uses more with so many machines, and so many; those beyond a rung that was not reached have its reason.
fn climb(
    lab: &mut Lab,
    site: &Site,
    contender: &mut dyn Contender,
    rungs: &[u32],
    touched: bool,
    merging: Option<&Changed>,
) -> Vec<(u32, Result<u64, Failed>)> {
    let deadline = contender.deadline();
    let launch = &|it: &mut dyn Contender, site: &Site, start: &_| it.launch_mergeable(site, start);
    let machines = &mut Altered { contender, change: Otherwise { launch, deadline } };
    let used = || memory::settled().map(|it| it.bytes).map_err(|error| not_measured(&error));
    memory::wait_until_still();
    let (before, mut herd) = (used(), Vec::new());
    let mut reached = before.as_ref().map(|_| ()).map_err(Clone::clone);
    let mut looked = Vec::new();
    for boxes in rungs {
        let used = reached
            .and_then(|()| more(lab, site, machines, &mut herd, *boxes, touched))
            .and_then(|()| merging.map_or(Ok(()), |it| settle(lab, it)))
            .and_then(|()| since("the host uses", used()?, before.clone()?));
        reached = used.as_ref().map(|_| ()).map_err(Clone::clone);
        looked.push((*boxes, used));
    }
    match reached {
        Ok(()) => {
            if let (Err(failed), Some(last)) = (lab.release(machines, site, herd), looked.last_mut()) {
                last.1 = Err(failed);
            }
        }
        Err(_) => lab.drop_herd(machines, site, herd),
    }
    looked
}
