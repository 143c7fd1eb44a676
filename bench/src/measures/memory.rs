//! `memory`: what one more idle box costs the host.
//!
//! A first slice: the host's method alone, which sees everything (the box's processes, the kernel's objects
//! for namespaces, mounts and cgroups, page tables) and cannot say what is what; for processes and
//! containers.

use tare_reports::document::{Class, Parameters, Unit};

use super::climb::climb;
use super::{Measure, Order, Pass};
use crate::contenders::Contender;
use crate::lab::Lab;
use crate::record::Visit;
use crate::rounds::Plan;
use crate::run::Profile;
use crate::site::Site;

/// So many boxes more than the first one: the effect of the smallest, some 100 KiB each, is then hundreds of
/// times what the host's use wanders by itself.
const BOXES: u32 = 256;

/// See the file's head.
#[derive(Debug)]
pub struct Memory;

impl Measure for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn about(&self) -> &'static str {
        "what one more idle process or container costs the host"
    }

    fn quantities(&self) -> &'static [(&'static str, Unit)] {
        &[("host", Unit::Bytes)]
    }

    fn in_profile(&self, _: Profile) -> bool {
        // Not before the other two methods are there: one alone invites wrong conclusions.
        false
    }

    fn passes(&self) -> Vec<&dyn Pass> {
        vec![self]
    }
}

impl Pass for Memory {
    fn settings(&self, contender: &dyn Contender) -> Vec<Parameters> {
        if contender.description().class == Class::Vm || !contender.can_be_held() {
            return Vec::new();
        }
        vec![Parameters {
            network: Some("none".into()),
            state: Some("idle".into()),
            instances: Some(BOXES),
            ..Parameters::default()
        }]
    }

    fn order(&self) -> Order {
        Order::Mirrored
    }

    fn single_starts(&self) -> bool {
        false
    }

    fn plan(&self, run: Plan) -> Plan {
        // A climb costs as much as hundreds of starts.
        Plan { rounds: run.rounds.div_ceil(20), budget: run.budget }
    }

    /// One climb is thrown away: the kernel's slabs grow once and are used again.
    fn warm_up(&self, lab: &mut Lab, site: &Site, contender: &mut dyn Contender) {
        // What goes wrong here goes wrong again where it is recorded.
        let _ = climb(lab, site, contender, BOXES);
    }

    fn visit(&self, lab: &mut Lab, site: &Site, contender: &mut dyn Contender, visit: &mut Visit<'_>) {
        let host = climb(lab, site, contender, BOXES);
        visit.outcome("host", Unit::Bytes, host);
    }
}
