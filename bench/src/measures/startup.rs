//! `startup`: how long from the first call until the payload has said READY, how long to take the box down
//! again, and how much CPU time both cost.

use std::time::Duration;

use tare_reports::document::Unit;

use super::Measure;
use crate::contenders::Contender;
use crate::lab::{Failed, Lab};
use crate::record::Visit;
use crate::site::Site;

/// How long a payload that said READY may take to answer a ping.
const PONG: Duration = Duration::from_secs(5);

/// See the file's head.
#[derive(Debug)]
pub struct Startup;

impl Measure for Startup {
    fn name(&self) -> &'static str {
        "startup"
    }

    fn about(&self) -> &'static str {
        "how long until a box works, how long until it is gone, and the CPU time of both"
    }

    fn quantities(&self) -> &'static [(&'static str, Unit)] {
        &[("ready", Unit::Ns), ("teardown", Unit::Ns), ("cpu", Unit::Ns)]
    }

    fn visit(&self, lab: &mut Lab, site: &Site, contender: &mut dyn Contender, visit: &mut Visit<'_>) {
        let mut instance = match lab.start(contender, site) {
            Ok(instance) => instance,
            Err(failed) => {
                for (quantity, unit) in self.quantities() {
                    visit.failure(quantity, *unit, &failed);
                }
                return;
            }
        };
        // A box that says READY and then answers nothing has not started.
        let alive = if instance.is_scripted() { Ok(()) } else { lab.ping(&mut instance, PONG) };
        let ready = alive.map(|()| instance.ready_ns);
        visit.not_applied(&instance.not_applied);
        let stopped = lab.stop(contender, site, instance);
        // A leak fails the whole sample: what was left behind may have been what made it fast.
        let left: Result<(), Failed> = match &stopped.teardown_ns {
            Err(failed) if failed.failure == tare_reports::document::Failure::Leak => Err(failed.clone()),
            _ => Ok(()),
        };
        visit.outcome("ready", Unit::Ns, left.clone().and(ready));
        visit.outcome("teardown", Unit::Ns, stopped.teardown_ns.clone());
        visit.outcome("cpu", Unit::Ns, stopped.teardown_ns.map(|_| stopped.cpu_ns));
    }
}
