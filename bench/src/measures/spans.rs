//! `spans`: where the time of a start goes, in rounds of its own: being watched costs time, and must not touch the
//! figures of `startup`.
//!
//! The value of a sample is `ready` of the watched start, its spans are parts of it, and what they leave over was
//! seen by no probe. How the parts are found stands in `crate::spans`.

mod watched;

use std::cell::RefCell;
use std::time::Duration;

use tare_reports::document::{Failure, Parameters, Unit};

use super::{Measure, Pass};
use crate::contenders::Contender;
use crate::lab::Lab;
use crate::record::Visit;
use crate::rounds::Plan;
use crate::run::Profile;
use crate::site::Site;
use crate::spans::tracefs::Tracer;
use watched::Watched;

/// Of whom no probe would see enough, and why.
const UNSEEN: [(&str, &str); 2] = [
    ("hand-loop", "it is timed by the spawner alone, and there is nobody to watch it"),
    (
        "qemu-distro",
        "what comes between its firmware and its service (GRUB, initramfs, systemd) marks no moments",
    ),
];

fn unseen(contender: &dyn Contender) -> Option<&'static str> {
    UNSEEN.iter().find(|it| it.0 == contender.name()).map(|it| it.1)
}

/// See the file's head.
#[derive(Debug, Default)]
pub struct Spans {
    /// Opened at the first visit; or why it cannot be.
    tracer: RefCell<Option<Result<Tracer, String>>>,
}

impl Measure for Spans {
    fn name(&self) -> &'static str {
        "spans"
    }

    fn about(&self) -> &'static str {
        "where the time of a start goes, part by part"
    }

    fn quantities(&self) -> &'static [(&'static str, Unit)] {
        &[("ready", Unit::Ns)]
    }

    fn in_profile(&self, profile: Profile) -> bool {
        profile != Profile::Quick
    }

    fn left_out(&self, contender: &dyn Contender) -> Vec<String> {
        unseen(contender).map(|why| format!("spans of {}: {why}", contender.name())).into_iter().collect()
    }

    fn passes(&self) -> Vec<&dyn Pass> {
        vec![self]
    }
}

impl Pass for Spans {
    fn settings(&self, contender: &dyn Contender) -> Vec<Parameters> {
        if unseen(contender).is_some() {
            return Vec::new();
        }
        vec![Parameters {
            concurrency: Some(1),
            running: Some(0),
            network: Some("none".into()),
            ..Parameters::default()
        }]
    }

    /// Figures of watched starts are not compared, and a second visit would tell nothing.
    fn single_starts(&self) -> bool {
        false
    }

    fn plan(&self, run: Plan) -> Plan {
        // A tenth of the time; and in thirty starts the one in the middle stands firm.
        let rounds = run.rounds.min(run.rounds.div_ceil(20).max(30));
        Plan { rounds, budget: run.budget.map(|it: Duration| it / 10) }
    }

    fn visit(&self, lab: &mut Lab, site: &Site, contender: &mut dyn Contender, visit: &mut Visit<'_>) {
        let mut tracer = self.tracer.borrow_mut();
        let tracer = tracer.get_or_insert_with(|| {
            let run = site.dir().file_name().map(|name| name.to_string_lossy().into_owned());
            Tracer::open(&run.unwrap_or_default(), lab.spawner_pid())
        });
        let mut watched = Watched::new(contender, tracer.as_ref().ok(), lab.spawner_pid());
        let started = lab.start(&mut watched, site);
        let outcome = started.and_then(|instance| {
            visit.not_applied(&instance.not_applied);
            let spans = watched.seen(site, &instance);
            let ready = instance.ready_ns;
            // A box that does not end as it should is no box that works.
            match lab.stop(&mut watched, site, instance).teardown_ns {
                Err(failed) if matches!(failed.failure, Failure::Leak | Failure::Crash) => Err(failed),
                _ => Ok((ready, spans)),
            }
        });
        let outcome = outcome.map(|(ready, (spans, notes))| {
            let why = tracer.as_ref().err().map(|e| format!("spans: no tracepoints: {e}"));
            visit.not_applied(&why.into_iter().chain(notes).collect::<Vec<_>>());
            (ready, spans)
        });
        visit.parted("ready", Unit::Ns, outcome);
    }
}
