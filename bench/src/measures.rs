//! What is measured: one question per file, and one list.
//!
//! To add one: a file with a type that implements [`Measure`] and [`Pass`], and a line in [`all`]. Nothing
//! else.

mod climb;
mod cold;
pub mod concurrency;
pub mod density;
pub mod disk;
pub mod ladder;
mod levels;
pub mod memory;
pub mod network;
pub mod running;
pub mod sameness;
mod since;
pub mod spans;
pub mod startup;

use std::time::Duration;

use anyhow::Result;
use tare_reports::document::{Mode, Parameters, Unit};

use crate::contenders::Contender;
use crate::lab::Lab;
use crate::record::Visit;
use crate::rounds::Plan;
use crate::run::Profile;
use crate::site::Site;

/// One question.
pub trait Measure {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// The question in one line.
    fn about(&self) -> &'static str;

    /// What it brings, with units.
    fn quantities(&self) -> &'static [(&'static str, Unit)];

    /// Whether a run of this profile measures it although nobody named it.
    fn in_profile(&self, _profile: Profile) -> bool {
        true
    }

    /// What it leaves out for this contender on this host, in words, and what would add it.
    fn left_out(&self, _contender: &dyn Contender) -> Vec<String> {
        Vec::new()
    }

    /// Its runs of rounds, one after another; most measures have one.
    fn passes(&self) -> Vec<&dyn Pass>;
}

/// In which order the visits of a round are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Drawn anew for each round.
    Shuffled,
    /// Drawn for each second round; the round after it goes the same way back, and the number of rounds is
    /// even (ABBA): whatever grows steadily over a pair of rounds is shared by all.
    Mirrored,
}

/// What a pass does to the host's own state. One that leaves a setting behind (KSM) puts it back after each visit, and
/// notes it in the site before, for `tare clean`; dropping caches leaves none.
#[derive(Debug, Clone, Copy)]
pub struct OnHost {
    /// What it adds, and the command that asks for it.
    pub adds: &'static str,
    /// Whether it can be done here; why not, and what would change it.
    pub possible: fn() -> Result<()>,
}

/// Rounds in which the same quantities are measured.
pub trait Pass {
    /// What it does to the host, which only `--allow-host` allows; nothing for most.
    fn on_host(&self) -> Option<OnHost> {
        None
    }

    /// For a pass that takes too long for the quick profile: what it adds, and the command that asks for it.
    fn left_to_longer_profiles(&self) -> Option<&'static str> {
        None
    }

    /// What state boxes start from, where that is this pass's doing; else it is the contender's.
    fn mode(&self) -> Option<Mode> {
        None
    }

    /// What is held constant over each series that a contender gets: one visit per round for each. Empty for
    /// a contender that the pass has no question for. The A/A test visits the last one twice.
    fn settings(&self, _contender: &dyn Contender) -> Vec<Parameters> {
        vec![Parameters {
            concurrency: Some(1),
            running: Some(0),
            network: Some("none".into()),
            ..Parameters::default()
        }]
    }

    /// The order of a round's visits.
    fn order(&self) -> Order {
        Order::Shuffled
    }

    /// Whether a visit starts one box at a time: only then do steal and foreign CPU time tell whether the
    /// figures are to be trusted, and is one visit repeated for the A/A test.
    fn single_starts(&self) -> bool {
        true
    }

    /// Whether a first visit takes as long as it is given: then each gets an equal share of the time that is left.
    fn shares_evenly(&self) -> bool {
        false
    }

    /// A visit with less time than this finds nothing out: where the time does not give each so much, as many as it does
    /// are made, and the others are listed with the flag that adds them.
    fn least(&self) -> Duration {
        Duration::ZERO
    }

    /// How much of the run's plan is for this pass.
    fn plan(&self, run: Plan) -> Plan {
        run
    }

    /// Done once for a contender before the first round; nothing is recorded.
    fn warm_up(&self, _lab: &mut Lab, _site: &Site, _contender: &mut dyn Contender) {}

    /// Visits a contender once and records one sample, value or failure, for every quantity.
    fn visit(&self, lab: &mut Lab, site: &Site, contender: &mut dyn Contender, visit: &mut Visit<'_>);
}

/// Why a measure that makes images has no question for a contender: what it takes, or what that needs.
fn without_images(taken: Result<(), &'static str>, contender: &dyn Contender) -> Option<&'static str> {
    let able = contender.is_scripted() || nix::unistd::Uid::effective().is_root();
    let root = (!able)
        .then_some("owners and capabilities of an image's files need root: run the same command as root");
    taken.err().or(root)
}

/// All measures.
///
/// # Errors
/// When `TARE_FAULT`, `TARE_HOLD` or `TARE_CANARY` has a form that nobody understands.
pub fn all() -> Result<Vec<Box<dyn Measure>>> {
    Ok(vec![
        Box::new(startup::Startup::new()?),
        Box::new(memory::Memory::default()),
        Box::new(density::Density::new()?),
        Box::new(ladder::Ladder),
        Box::new(spans::Spans::default()),
        Box::new(concurrency::Concurrency),
        Box::new(running::Running),
        Box::new(network::Network::default()),
        Box::new(sameness::Sameness::default()),
        Box::new(disk::Disk),
    ])
}
