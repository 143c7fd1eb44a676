//! Host memory of one idle box, rung by rung: a climb each.

use tare_reports::document::{Parameters, Unit};
use tare_runtime::ladder::RUNGS;

use super::rungs;
use super::until::Until;
use crate::contenders::Contender;
use crate::contenders::altered::Altered;
use crate::lab::Lab;
use crate::measures::climb::climb;
use crate::measures::{Order, Pass};
use crate::record::Visit;
use crate::rounds::Plan;
use crate::site::Site;

/// So many boxes more than the first one: 3 MiB without any mechanism, 16 MiB of whole boxes, where the use of a
/// quiet host wanders by some 200 KiB from one reading to the next.
const BOXES: u32 = 48;

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
        let _ = climb(lab, site, &mut Altered { contender, change: Until(rung) }, BOXES);
    }

    fn visit(&self, lab: &mut Lab, site: &Site, contender: &mut dyn Contender, visit: &mut Visit<'_>) {
        let Some(rung) = visit.parameters.rung.as_deref() else { return };
        let memory = climb(lab, site, &mut Altered { contender, change: Until(rung) }, BOXES);
        visit.outcome("memory", Unit::Bytes, memory);
    }
}
