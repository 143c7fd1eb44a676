//! `concurrency`: how long a start takes when many are started at once: 1, 2, 4 and 8 for each CPU.
//!
//! In open loop: all are meant to leave at the same moment, none waits for another's answer, and the latency
//! of each counts from that moment. What the lab itself needs to send them off is the quantity `late`.

use std::time::Duration;

use tare_reports::document::{Mode, Parameters, Unit};

use super::levels::{cpus, split};
use super::{Measure, Pass};
use crate::contenders::Contender;
use crate::lab::{Lab, Schedule};
use crate::record::Visit;
use crate::rounds::Plan;
use crate::run::Profile;
use crate::site::Site;

/// So many starts for each CPU.
const PER_CPU: [u32; 4] = [1, 2, 4, 8];

/// See the file's head.
#[derive(Debug)]
pub struct Concurrency;

fn levels() -> [u32; 4] {
    PER_CPU.map(|it| it * cpus())
}

/// A volley listens for READY, which a resumed box has said long ago.
fn is_resumed(contender: &dyn Contender) -> bool {
    contender.description().mode == Mode::Restore
}

impl Measure for Concurrency {
    fn name(&self) -> &'static str {
        "concurrency"
    }

    fn about(&self) -> &'static str {
        "how long a start takes when 1, 2, 4 and 8 for each CPU are started at once (open loop)"
    }

    fn quantities(&self) -> &'static [(&'static str, Unit)] {
        &[("ready", Unit::Ns), ("late", Unit::Ns)]
    }

    fn in_profile(&self, profile: Profile) -> bool {
        profile != Profile::Quick
    }

    fn left_out(&self, contender: &dyn Contender) -> Vec<String> {
        match is_resumed(contender) {
            true => vec![format!(
                "{} of {}: a resumed box is woken by several exchanges, one box at a time",
                self.name(),
                contender.name()
            )],
            false => split(self.name(), contender, &levels()).1,
        }
    }

    fn passes(&self) -> Vec<&dyn Pass> {
        vec![self]
    }
}

impl Pass for Concurrency {
    fn settings(&self, contender: &dyn Contender) -> Vec<Parameters> {
        if is_resumed(contender) {
            return Vec::new();
        }
        let (fitting, _) = split(self.name(), contender, &levels());
        let each = fitting.into_iter().map(|level| Parameters {
            concurrency: Some(level),
            running: Some(0),
            network: Some("none".into()),
            ..Parameters::default()
        });
        each.collect()
    }

    fn single_starts(&self) -> bool {
        false
    }

    fn plan(&self, run: Plan) -> Plan {
        // A round has 15 starts for each CPU and contender.
        Plan { rounds: run.rounds.div_ceil(10), budget: run.budget }
    }

    fn visit(&self, lab: &mut Lab, site: &Site, contender: &mut dyn Contender, visit: &mut Visit<'_>) {
        let count = visit.parameters.concurrency.unwrap_or(1);
        for arrival in lab.volley(contender, site, Schedule { count, interval: Duration::ZERO }) {
            visit.not_applied(&arrival.not_applied);
            visit.outcome("ready", Unit::Ns, arrival.ready_ns);
            visit.outcome("late", Unit::Ns, arrival.late_ns);
        }
    }
}
