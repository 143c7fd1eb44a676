//! Host memory of one idle box, rung by rung: what the host uses with many of them, less what it uses with
//! one, divided by how many more there are. The first box stays in the difference's base, so that what is
//! paid once and shared by all is not charged to the others.

use anyhow::Result;
use tare_reports::document::{Failure, Parameters, Unit};
use tare_runtime::ladder::RUNGS;

use super::climber::Climber;
use super::rungs;
use crate::contenders::Contender;
use crate::host::memory;
use crate::lab::{Failed, Lab};
use crate::measures::{Order, Pass};
use crate::record::Visit;
use crate::rounds::Plan;
use crate::site::Site;

/// So many boxes more than the first one. Their memory, at least 100 KiB each, stands well above what the
/// host's use wanders by itself within a second (some 100 KiB).
const BOXES: u32 = 64;

/// The pass for `memory`.
pub(super) struct Memory;

impl Pass for Memory {
    fn settings(&self, contender: &dyn Contender) -> Vec<Parameters> {
        let parameters = Parameters {
            network: Some("none".into()),
            state: Some("idle".into()),
            instances: Some(BOXES),
            ..Parameters::default()
        };
        rungs(contender, &parameters)
    }

    fn order(&self) -> Order {
        Order::Mirrored
    }

    fn single_starts(&self) -> bool {
        false
    }

    fn plan(&self, run: Plan) -> Plan {
        // A climb costs as much as dozens of starts: a sixth of the time, and where the rounds are counted,
        // a tenth of them.
        Plan { rounds: run.rounds.div_ceil(10), budget: run.budget.map(|it| it / 6) }
    }

    /// One climb of the whole box is thrown away: the kernel's slabs grow once and are used again.
    fn warm_up(&self, lab: &mut Lab, site: &Site, contender: &mut dyn Contender) {
        let Some(rung) = RUNGS.last() else { return };
        // What goes wrong here goes wrong again where it is recorded.
        let _ = climb(lab, site, &mut Climber { contender, rung });
    }

    fn visit(&self, lab: &mut Lab, site: &Site, contender: &mut dyn Contender, visit: &mut Visit<'_>) {
        let Some(rung) = visit.parameters.rung.as_deref() else { return };
        let memory = climb(lab, site, &mut Climber { contender, rung });
        visit.outcome("memory", Unit::Bytes, memory);
    }
}

fn climb(lab: &mut Lab, site: &Site, contender: &mut dyn Contender) -> Result<u64, Failed> {
    let mut herd = Vec::new();
    lab.hold(contender, site, &mut herd, 1)?;
    if let Some(scripted) = herd.first().and_then(|first| first.scripted_memory()) {
        return Ok(scripted);
    }
    let one = host();
    lab.hold(contender, site, &mut herd, BOXES)?;
    let many = host();
    lab.release(contender, site, herd)?;
    let (one, many) = (one?, many?);
    many.checked_sub(one).map(|bytes| bytes / u64::from(BOXES)).ok_or_else(|| {
        let why = format!(
            "the host used {} bytes less with {BOXES} boxes more: others let go of memory",
            one - many
        );
        Failed::new(Failure::NotMeasured, why)
    })
}

fn host() -> Result<u64, Failed> {
    memory::settled().map_err(|error| Failed::new(Failure::NotMeasured, format!("{error:#}")))
}
