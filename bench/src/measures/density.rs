//! `density`: how many boxes fit at once, all of them answering, and what it is that ends it.
//!
//! The largest number at which *all* of this holds for half a minute: a canary of pings, in open loop and spread over
//! all boxes, of which 99 % are answered within 100 ms (1 s where a machine is emulated); every start is ready within
//! its deadline; some process waits for memory no more than a tenth of the time; the host keeps its reserve of
//! memory; nothing is killed for want of memory, and no box ends. Idle, with memory touched, and with work to do:
//! three figures, for the first alone is no capacity (METHOD 15).
//!
//! `search.rs` finds it, `standing.rs` brings so many boxes about and judges, `witness.rs` reads the host's counters,
//! `binding.rs` names what ended it, with what `limits.rs` knows of the host; `pace.rs` knows how far the time goes.

mod binding;
mod limits;
mod pace;
mod reserve;
mod search;
mod standing;
mod witness;

use std::time::Duration;

use anyhow::{Context, Result};
use tare_reports::density::canary_limit;
use tare_reports::document::{Accel, Failure, Parameters, Unit};

use super::{Measure, Pass};
use crate::contenders::{Contender, MEMORY};
use crate::lab::{Failed, Lab};
use crate::record::Visit;
use crate::rounds::Plan;
use crate::run::Profile;
use crate::site::Site;

use standing::Standing;

/// How long everything has to hold.
const HOLD: Duration = Duration::from_secs(30);

/// How long it has to hold on the way, as a part of that.
const ON_THE_WAY: u32 = 6;

/// A share of the memory limit that a box dirties where its state is `touched`, KiB: a quarter.
const TOUCHED_KIB: u64 = (MEMORY >> 10) / 4;

/// What a box is asked to do in each second where its state is `serving`.
const WORK: &str = "burn 1";

/// What the boxes of a search do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Touched,
    Serving,
}

const STATES: [State; 3] = [State::Idle, State::Touched, State::Serving];

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Touched => "touched",
            Self::Serving => "serving",
        }
    }

    fn of(parameters: &Parameters) -> Self {
        let word = parameters.state.as_deref();
        STATES.into_iter().find(|it| Some(it.word()) == word).unwrap_or(Self::Idle)
    }

    /// What a box is asked for right after its start; a `ping` where nothing.
    fn first_line(self) -> Option<String> {
        (self == Self::Touched).then(|| format!("touch {TOUCHED_KIB}"))
    }

    fn work(self) -> Option<String> {
        (self == Self::Serving).then(|| WORK.to_owned())
    }
}

/// See the file's head.
#[derive(Debug)]
pub struct Density {
    /// How long everything has to hold.
    hold: Duration,
    /// What 99 % of the pings are answered within, where it is not the design's limit.
    canary: Option<Duration>,
}

impl Density {
    /// With the design's half minute and its limit of the canary, or what `TARE_HOLD` and `TARE_CANARY` say instead:
    /// they are for tests, whose boxes need not hold as long, on a machine that others use. The audit judges answers by
    /// the design's limit all the same; how long boxes were held it does not know.
    ///
    /// # Errors
    /// When one of them is not a number of milliseconds.
    pub fn new() -> Result<Self> {
        let hold = milliseconds("TARE_HOLD", "30000")?.unwrap_or(HOLD);
        Ok(Self { hold, canary: milliseconds("TARE_CANARY", "100")? })
    }

    /// With other times: as long everything has to hold, and as soon pings have to be answered.
    #[must_use]
    pub fn holding(hold: Duration, canary: Duration) -> Self {
        Self { hold, canary: Some(canary) }
    }
}

/// What a variable says, if it is set.
fn milliseconds(name: &str, for_instance: &str) -> Result<Option<Duration>> {
    let Some(text) = std::env::var_os(name) else { return Ok(None) };
    let ms = text.to_str().and_then(|text| text.parse().ok()).with_context(|| {
        format!("{name} is {text:?}, not a number of milliseconds: unset it, or set it to {for_instance}")
    })?;
    Ok(Some(Duration::from_millis(ms)))
}

impl Measure for Density {
    fn name(&self) -> &'static str {
        "density"
    }

    fn about(&self) -> &'static str {
        "how many boxes fit at once, idle, touched and serving, and which resource ends it"
    }

    fn quantities(&self) -> &'static [(&'static str, Unit)] {
        &[("idle", Unit::Instances), ("touched", Unit::Instances), ("serving", Unit::Instances)]
    }

    fn in_profile(&self, _: Profile) -> bool {
        // It fills the host: only who names it gets it.
        false
    }

    fn passes(&self) -> Vec<&dyn Pass> {
        vec![self]
    }
}

impl Pass for Density {
    fn settings(&self, contender: &dyn Contender) -> Vec<Parameters> {
        if !contender.can_be_held() {
            return Vec::new();
        }
        let each = STATES.map(|state| Parameters {
            network: Some("none".into()),
            state: Some(state.word().into()),
            ..Parameters::default()
        });
        each.into()
    }

    fn single_starts(&self) -> bool {
        false
    }

    fn shares_evenly(&self) -> bool {
        true
    }

    fn least(&self) -> Duration {
        // To hold one number to the end, some shortly before, and to bring the boxes about.
        self.hold * 3 / 2
    }

    fn plan(&self, run: Plan) -> Plan {
        // One search fills the host and empties it again.
        Plan { rounds: run.rounds.div_ceil(1000), budget: run.budget }
    }

    fn visit(&self, lab: &mut Lab, site: &Site, contender: &mut dyn Contender, visit: &mut Visit<'_>) {
        let state = State::of(visit.parameters);
        let row = visit.record.document.contenders.iter().find(|row| row.name == visit.contender);
        let accel = row.map_or(Accel::Native, |row| row.accel);
        let canary = self.canary.unwrap_or(Duration::from_nanos(canary_limit(accel)));
        let standing = Standing::new(lab, site, contender, visit, (state, self.hold, canary));
        let found = standing.and_then(|mut standing| {
            let mut found = search::search(&mut standing);
            if let Ok(found) = &mut found
                && found.binding.failed_at.is_none()
                && let Some(next) = standing.next_limit(found.boxes)
            {
                found.binding.evidence = format!("{}; {next}", found.binding.evidence);
            }
            if let (Ok(found), Some(unjudged)) = (&mut found, standing.unjudged()) {
                found.binding.evidence = format!("{}; {unjudged}", found.binding.evidence);
            }
            // What was found counts only where nothing of it stays; why nothing was is the cause of what stays then.
            match (found, standing.clear()) {
                (Ok(found), cleared) => cleared.map(|()| found),
                (Err(failed), Ok(())) => Err(failed),
                (Err(failed), Err(left)) => {
                    Err(Failed { detail: format!("{}; then {}", failed.detail, left.detail), ..failed })
                }
            }
        });
        match found {
            Ok(found) if found.boxes > 0 => {
                visit.outcome(state.word(), Unit::Instances, Ok(u64::from(found.boxes)));
                visit.bound_by(state.word(), found.binding);
            }
            Ok(found) => {
                let failed = Failed::new(Failure::Start, found.binding.evidence.clone());
                visit.outcome(state.word(), Unit::Instances, Err(failed));
                visit.bound_by(state.word(), found.binding);
            }
            Err(failed) => visit.outcome(state.word(), Unit::Instances, Err(failed)),
        }
    }
}
