//! How long until the box works, rung by rung: one start for each rung and round.

use tare_reports::document::{Failure, Parameters, Unit};

use super::rungs;
use super::until::Until;
use crate::contenders::Contender;
use crate::contenders::altered::Altered;
use crate::lab::Lab;
use crate::measures::Pass;
use crate::record::Visit;
use crate::rounds::Plan;
use crate::site::Site;

/// The pass for `ready`.
pub(super) struct Ready;

impl Pass for Ready {
    fn settings(&self, contender: &dyn Contender) -> Vec<Parameters> {
        let network = Some("none".into());
        let parameters =
            Parameters { concurrency: Some(1), running: Some(0), network, ..Parameters::default() };
        rungs(contender, &parameters)
    }

    fn plan(&self, run: Plan) -> Plan {
        // A tenth: twelve seconds in the quick profile.
        Plan { budget: run.budget.map(|it| it / 10), ..run }
    }

    fn visit(&self, lab: &mut Lab, site: &Site, contender: &mut dyn Contender, visit: &mut Visit<'_>) {
        let Some(rung) = visit.parameters.rung.as_deref() else { return };
        let mut climber = Altered { contender, change: Until(rung) };
        let started = lab.start(&mut climber, site);
        let ready = started.and_then(|instance| {
            let ready = instance.ready_ns;
            visit.not_applied(&instance.not_applied);
            // What was left behind may have been what made it fast; a rung whose box does not end as it
            // should is no box that works.
            match lab.stop(&mut climber, site, instance).teardown_ns {
                Err(failed) if matches!(failed.failure, Failure::Leak | Failure::Crash) => Err(failed),
                _ => Ok(ready),
            }
        });
        visit.outcome("ready", Unit::Ns, ready);
    }
}
