//! The smallest RAM with which a machine still boots, found by bisection: what of its size is its own need, and what
//! was a choice.
//!
//! It is taken for granted that a machine that boots also boots with more. The result was seen to boot, and a MiB less
//! was seen not to, twice: under TCG a boot hangs now and then.

use std::time::Duration;

use tare_reports::document::{Failure, Parameters, Unit};

use super::otherwise::Otherwise;
use crate::contenders::altered::Altered;
use crate::contenders::{Contender, MEMORY};
use crate::lab::{Failed, Lab};
use crate::measures::Pass;
use crate::record::Visit;
use crate::rounds::Plan;
use crate::site::Site;

/// A boot that takes so many times as long as one with all the memory is taken for one that hangs.
const PATIENCE: u32 = 4;

/// How often a boot is tried before it is believed that there is none.
const TRIES: u32 = 2;

/// See the file's head.
#[derive(Debug)]
pub(super) struct Smallest;

impl Pass for Smallest {
    fn left_to_longer_profiles(&self) -> Option<&'static str> {
        Some("memory, the smallest RAM that still boots: tare run memory --profile standard")
    }

    fn settings(&self, contender: &dyn Contender) -> Vec<Parameters> {
        if !contender.has_a_size() {
            return Vec::new();
        }
        vec![Parameters { network: Some("none".into()), ..Parameters::default() }]
    }

    fn single_starts(&self) -> bool {
        false
    }

    fn plan(&self, run: Plan) -> Plan {
        Plan { rounds: 1, ..run }
    }

    fn visit(&self, lab: &mut Lab, site: &Site, contender: &mut dyn Contender, visit: &mut Visit<'_>) {
        let smallest = search(lab, site, contender);
        visit.outcome("smallest", Unit::Bytes, smallest.map(|mib| u64::from(mib) << 20));
    }
}

/// Bisects, and returns MiB.
fn search(lab: &mut Lab, site: &Site, contender: &mut dyn Contender) -> Result<u32, Failed> {
    let most = (MEMORY >> 20) as u32;
    let patience = contender.deadline();
    let usual = boot(lab, site, contender, most, patience)?;
    let patience = patience.min(usual * PATIENCE + Duration::from_secs(1));
    bisect(most, |mib| {
        for _ in 0..TRIES {
            match boot(lab, site, contender, mib, patience) {
                Ok(_) => return Ok(true),
                Err(failed) if says_no(&failed) => {}
                Err(failed) => return Err(failed),
            }
        }
        Ok(false)
    })
}

/// The smallest number up to one of which it is known, for which this holds.
fn bisect(known: u32, mut holds: impl FnMut(u32) -> Result<bool, Failed>) -> Result<u32, Failed> {
    let (mut too_small, mut enough) = (0, known);
    while enough - too_small > 1 {
        let middle = too_small.midpoint(enough);
        if holds(middle)? {
            enough = middle;
        } else {
            too_small = middle;
        }
    }
    Ok(enough)
}

/// Whether a failed start says that the machine does not boot with that much. Neither a lack of time nor an
/// interrupted run says so, nor what was left behind.
fn says_no(failed: &Failed) -> bool {
    use Failure::{Crash, GuestPanic, Start, Timeout, WrongAnswer};
    matches!(failed.failure, Start | Timeout | Crash | GuestPanic | WrongAnswer)
}

/// Starts one with so many MiB until it answers, and stops it. Returns how long it took.
fn boot(
    lab: &mut Lab,
    site: &Site,
    contender: &mut dyn Contender,
    mib: u32,
    deadline: Duration,
) -> Result<Duration, Failed> {
    let launch = &|it: &mut dyn Contender, site: &Site, start: &_| it.launch_sized(site, start, mib);
    let sized = &mut Altered { contender, change: Otherwise { launch, deadline } };
    let instance = lab.start_alive(sized, site, None)?;
    let ready = Duration::from_nanos(instance.ready_ns);
    lab.stop(sized, site, instance).teardown_ns?;
    Ok(ready)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_is_found_wherever_it_is_in_eight_tries() {
        for smallest in 1..=256 {
            let mut tries = 0;
            let found = bisect(256, |mib| {
                tries += 1;
                Ok(mib >= smallest)
            });
            assert_eq!(found, Ok(smallest));
            assert!(tries <= 8, "{tries} for {smallest}");
        }
    }

    #[test]
    fn what_says_nothing_about_the_size_ends_the_search() {
        let cut = Failed::new(Failure::NotMeasured, "the time was over");
        assert_eq!(bisect(256, |_| Err(cut.clone())), Err(cut.clone()));
        assert!(!says_no(&cut) && says_no(&Failed::new(Failure::GuestPanic, "out of memory")));
    }
}
