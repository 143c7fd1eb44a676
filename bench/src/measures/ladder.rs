//! `ladder`: what each mechanism of a container adds, in time and in host memory.
//!
//! The runtime can stop at any rung of `tare_runtime::ladder`: "process" is no box at all, each further rung
//! one mechanism more, the last one the whole box, confinement included. Every rung is a visit of its own in
//! the round, so what a mechanism adds is the difference of two neighbours within one round.

mod memory;
mod ready;
mod until;

use tare_reports::document::{Parameters, Unit};
use tare_runtime::ladder::RUNGS;

use super::{Measure, Pass};
use crate::contenders::Contender;
use crate::run::Profile;

/// See the file's head.
#[derive(Debug)]
pub struct Ladder;

impl Measure for Ladder {
    fn name(&self) -> &'static str {
        "ladder"
    }

    fn about(&self) -> &'static str {
        "what each mechanism of a container adds, in time and in host memory"
    }

    fn quantities(&self) -> &'static [(&'static str, Unit)] {
        &[("ready", Unit::Ns), ("memory", Unit::Bytes)]
    }

    fn in_profile(&self, profile: Profile) -> bool {
        profile != Profile::Quick
    }

    fn passes(&self) -> Vec<&dyn Pass> {
        // Time first: what a herd leaves in the kernel's caches would be in the way of single starts.
        vec![&ready::Ready, &memory::Memory]
    }
}

/// One set of parameters per rung, in the order of the ladder, for a contender that can climb.
fn rungs(contender: &dyn Contender, parameters: &Parameters) -> Vec<Parameters> {
    let all = if contender.climbs() { RUNGS } else { &[] };
    let each = (0..).zip(all).map(|(step, rung)| Parameters {
        rung: Some((*rung).into()),
        step: Some(step),
        ..parameters.clone()
    });
    each.collect()
}
