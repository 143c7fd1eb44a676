//! `running`: how long a start takes beside 0, 10, 100 and 1,000 idle boxes of the same kind.
//!
//! Each visit makes its own herd, starts some boxes beside it one at a time, and takes the herd down: so the
//! levels stand in shuffled order as everything else does. The herd is outside the clock.

use std::collections::BTreeMap;
use std::time::Duration;

use tare_reports::document::{Failure, Parameters, Unit};

use super::levels::split;
use super::{Measure, Pass};
use crate::contenders::Contender;
use crate::lab::{Failed, Lab};
use crate::record::Visit;
use crate::rounds::Plan;
use crate::run::Profile;
use crate::site::Site;

/// So many idle boxes.
const LEVELS: [u32; 4] = [0, 10, 100, 1000];

/// So many starts beside each herd: making the herd costs far more.
const STARTS: u32 = 20;

/// Between two starts of one contender, which in other measures are apart because the others come between: the kernel
/// still takes the last box's cgroups apart when it is gone, and the next start would pay for that. Seen on the confined
/// floor without a herd: medians of 12.1 ms without the pause and 2.7 ms with it (one run of each).
const PAUSE: Duration = Duration::from_millis(30);

/// See the file's head.
#[derive(Debug)]
pub struct Running;

impl Measure for Running {
    fn name(&self) -> &'static str {
        "running"
    }

    fn about(&self) -> &'static str {
        "how long a start takes beside 0, 10, 100 and 1,000 idle boxes of the same kind"
    }

    fn quantities(&self) -> &'static [(&'static str, Unit)] {
        &[("ready", Unit::Ns), ("teardown", Unit::Ns)]
    }

    fn in_profile(&self, profile: Profile) -> bool {
        profile != Profile::Quick
    }

    fn left_out(&self, contender: &dyn Contender) -> Vec<String> {
        split(self.name(), contender, &LEVELS).1
    }

    fn passes(&self) -> Vec<&dyn Pass> {
        vec![self]
    }
}

impl Pass for Running {
    fn settings(&self, contender: &dyn Contender) -> Vec<Parameters> {
        let (fitting, _) = split(self.name(), contender, &LEVELS);
        let each = fitting.into_iter().map(|level| Parameters {
            concurrency: Some(1),
            running: Some(level),
            network: Some("none".into()),
            ..Parameters::default()
        });
        each.collect()
    }

    fn single_starts(&self) -> bool {
        false
    }

    fn plan(&self, run: Plan) -> Plan {
        // A round starts more than a thousand boxes for each contender.
        Plan { rounds: run.rounds.div_ceil(100), budget: run.budget }
    }

    fn visit(&self, lab: &mut Lab, site: &Site, contender: &mut dyn Contender, visit: &mut Visit<'_>) {
        let level = visit.parameters.running.unwrap_or(0);
        let mut herd = Vec::new();
        let held = lab.hold(contender, site, &mut herd, level).and_then(|()| lab.keep(&herd));
        if let Err(failed) = held {
            let failed = Failed::new(failed.failure, format!("the herd: {}", failed.detail));
            lab.drop_herd(contender, site, herd);
            visit.nothing(self.quantities(), &failed);
            return;
        }
        let mut seen = Vec::new();
        for _ in 0..STARTS {
            if !contender.is_scripted() {
                std::thread::sleep(PAUSE);
            }
            let one = beside(lab, site, contender, visit);
            let over = matches!(&one, Err(it) if it.failure == Failure::Interrupted) || lab.was_cut();
            seen.push(one);
            if over {
                break;
            }
        }
        // A herd of which one is missing was not the herd that the parameters name: nothing seen beside it counts.
        if let Err(failed) = lab.release(contender, site, herd) {
            let failed = Failed::new(failed.failure, format!("the herd: {}", failed.detail));
            seen.fill(Err(failed));
        }
        for one in seen {
            match one {
                Ok((ready, teardown)) => {
                    visit.parted("ready", Unit::Ns, ready);
                    visit.outcome("teardown", Unit::Ns, teardown);
                }
                Err(failed) => visit.nothing(self.quantities(), &failed),
            }
        }
    }
}

/// Time until READY with its parts, and of the teardown, ns.
type Seen = (Result<(u64, BTreeMap<String, u64>), Failed>, Result<u64, Failed>);

/// One start beside the herd.
fn beside(
    lab: &mut Lab,
    site: &Site,
    contender: &mut dyn Contender,
    visit: &mut Visit<'_>,
) -> Result<Seen, Failed> {
    let instance = lab.start_alive(contender, site, None)?;
    visit.not_applied(&instance.not_applied);
    let parted = (instance.ready_ns, instance.spans.clone());
    let teardown = lab.stop(contender, site, instance).teardown_ns;
    let ready = match &teardown {
        Err(failed) if failed.failure == Failure::Leak => Err(failed.clone()),
        _ => Ok(parted),
    };
    Ok((ready, teardown))
}
