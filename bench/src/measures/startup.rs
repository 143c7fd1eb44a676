//! `startup`: how long from the first call until the payload has said READY, how long to take the box down
//! again, and how much CPU time both cost.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use tare_reports::document::{Failure, Unit};

use super::cold::Cold;
use super::{Measure, Pass};
use crate::contenders::Contender;
use crate::lab::Lab;
use crate::record::Visit;
use crate::site::Site;

/// What every start brings.
pub(super) const QUANTITIES: [(&str, Unit); 3] =
    [("ready", Unit::Ns), ("teardown", Unit::Ns), ("cpu", Unit::Ns)];

/// See the file's head.
#[derive(Debug)]
pub struct Startup {
    usual: Starts,
    cold: Cold,
}

/// One start after another, as warm as the ones before have left the host.
#[derive(Debug, Clone)]
pub(super) struct Starts {
    /// Lines sent to a contender's payload instead of `ping`: how tests make real boxes hang and crash.
    faults: BTreeMap<String, String>,
}

impl Startup {
    /// Reads `TARE_FAULT`, as `tare=hang,qemu=crash`.
    ///
    /// # Errors
    /// When it is set and has another form.
    pub fn new() -> Result<Self> {
        let text = std::env::var("TARE_FAULT").unwrap_or_default();
        let faults = text
            .split(',')
            .filter(|part| !part.is_empty())
            .map(|part| {
                let (name, line) = part
                    .split_once('=')
                    .with_context(|| format!("TARE_FAULT: {part:?} is not CONTENDER=COMMAND"))?;
                Ok((name.to_owned(), line.to_owned()))
            })
            .collect::<Result<_>>()?;
        let usual = Starts { faults };
        Ok(Self { cold: Cold(usual.clone()), usual })
    }
}

impl Measure for Startup {
    fn name(&self) -> &'static str {
        "startup"
    }

    fn about(&self) -> &'static str {
        "how long until a box works, how long until it is gone, and the CPU time of both"
    }

    fn quantities(&self) -> &'static [(&'static str, Unit)] {
        &QUANTITIES
    }

    fn passes(&self) -> Vec<&dyn Pass> {
        vec![&self.usual, &self.cold]
    }
}

impl Pass for Starts {
    fn visit(&self, lab: &mut Lab, site: &Site, contender: &mut dyn Contender, visit: &mut Visit<'_>) {
        let fault = self.faults.get(contender.name()).map(String::as_str);
        let instance = match lab.start_alive(contender, site, fault) {
            Ok(instance) => instance,
            Err(failed) => {
                visit.nothing(&QUANTITIES, &failed);
                return;
            }
        };
        let (ready, prepared) = (instance.ready_ns, instance.prepared_ns);
        let spans = instance.spans.clone();
        visit.not_applied(&instance.not_applied);
        let stopped = lab.stop(contender, site, instance);
        // A leak fails the whole sample: what was left behind may have been what made it fast.
        let ready = match &stopped.teardown_ns {
            Err(failed) if failed.failure == Failure::Leak => Err(failed.clone()),
            _ => Ok(ready),
        };
        if let Some(prepared) = prepared {
            visit.outcome("prepare", Unit::Ns, Ok(prepared));
        }
        visit.parted("ready", Unit::Ns, ready.map(|ready| (ready, spans)));
        visit.outcome("teardown", Unit::Ns, stopped.teardown_ns.clone());
        visit.outcome("cpu", Unit::Ns, stopped.teardown_ns.and(stopped.cpu_ns));
    }
}
