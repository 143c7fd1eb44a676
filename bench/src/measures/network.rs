//! `network`: what a working network costs a start: the same box without and with one, paired within rounds.
//!
//! A container gets a veth pair and a bridge, a machine a tap interface on the same bridge (`crate::network`). Making
//! them is inside the clock. `reachable` ends when the host has read the start's nonce over TCP.

mod linked;

use std::cell::RefCell;
use std::collections::BTreeMap;

use tare_reports::document::{Failure, Parameters, Unit};

use super::{Measure, Pass};
use crate::contenders::{Contender, Wiring};
use crate::lab::{Failed, Instance, Lab};
use crate::network::{Bridge, Link, Way};
use crate::record::Visit;
use crate::rounds::Plan;
use crate::run::Profile;
use crate::site::Site;

pub use linked::Linked;

const QUANTITIES: [(&str, Unit); 3] = [("ready", Unit::Ns), ("reachable", Unit::Ns), ("teardown", Unit::Ns)];

/// See the file's head.
#[derive(Debug, Default)]
pub struct Network {
    /// Made before the first round; or why it cannot be.
    bridge: RefCell<Option<Result<Bridge, String>>>,
}

impl Measure for Network {
    fn name(&self) -> &'static str {
        "network"
    }

    fn about(&self) -> &'static str {
        "how long until a box with a network works, beside the same box without"
    }

    fn quantities(&self) -> &'static [(&'static str, Unit)] {
        &QUANTITIES
    }

    fn in_profile(&self, profile: Profile) -> bool {
        profile != Profile::Quick
    }

    fn left_out(&self, contender: &dyn Contender) -> Vec<String> {
        match contender.wiring() {
            Wiring::LeftOut(why) => vec![format!("measure {} of {}: {why}", self.name(), contender.name())],
            _ => Vec::new(),
        }
    }

    fn passes(&self) -> Vec<&dyn Pass> {
        vec![self]
    }
}

impl Pass for Network {
    fn settings(&self, contender: &dyn Contender) -> Vec<Parameters> {
        let with = match contender.wiring() {
            Wiring::Namespace => "bridge",
            Wiring::Tap => "tap",
            Wiring::LeftOut(_) | Wiring::NotAsked => return Vec::new(),
        };
        let setting = |network: &str| Parameters {
            concurrency: Some(1),
            running: Some(0),
            network: Some(network.into()),
            ..Parameters::default()
        };
        ["none", with].map(setting).into()
    }

    fn plan(&self, run: Plan) -> Plan {
        // A fifth of the time: the difference is large, and `startup` has the figures without a network.
        let rounds = run.rounds.min(run.rounds.div_ceil(5).max(30));
        Plan { rounds, budget: run.budget.map(|it| it / 5) }
    }

    fn warm_up(&self, lab: &mut Lab, _: &Site, _: &mut dyn Contender) {
        self.bridge.borrow_mut().get_or_insert_with(|| {
            let bridge = Bridge::open().map_err(|e| format!("{e:#}"))?;
            lab.use_bridge(&bridge).map_err(|failed| failed.detail)?;
            Ok(bridge)
        });
    }

    fn visit(&self, lab: &mut Lab, site: &Site, contender: &mut dyn Contender, visit: &mut Visit<'_>) {
        let connected = visit.parameters.network.as_deref() != Some("none");
        let mut spans = Spans::new();
        let outcomes = if connected {
            self.with(lab, site, contender, visit, &mut spans)
        } else {
            without(lab, site, contender, visit)
        };
        for ((quantity, unit), outcome) in QUANTITIES.into_iter().zip(outcomes) {
            let spans = if quantity == "teardown" { Spans::new() } else { spans.clone() };
            if connected || quantity != "reachable" {
                visit.parted(quantity, unit, outcome.map(|value| (value, spans)));
            }
        }
    }
}

/// Parts of a start that can be told apart, ns.
type Spans = BTreeMap<String, u64>;

/// Loading modules, where a machine's kernel needs them.
fn modules(instance: &Instance) -> Option<(String, u64)> {
    let at = |name: &str| instance.moments.named.get(name).copied();
    Some(("modules".to_owned(), at("modules")?.saturating_sub(at("init")?)))
}

/// What came of each of the quantities.
type Outcomes = [Result<u64, Failed>; 3];

fn none(failed: &Failed) -> Outcomes {
    [Err(failed.clone()), Err(failed.clone()), Err(failed.clone())]
}

fn without(lab: &mut Lab, site: &Site, contender: &mut dyn Contender, visit: &mut Visit<'_>) -> Outcomes {
    let instance = match lab.start_alive(contender, site, None) {
        Ok(instance) => instance,
        Err(failed) => return none(&failed),
    };
    let ready = instance.ready_ns;
    stopped(lab, site, contender, instance, [ready, 0], visit)
}

impl Network {
    fn with(
        &self,
        lab: &mut Lab,
        site: &Site,
        contender: &mut dyn Contender,
        visit: &mut Visit<'_>,
        spans: &mut Spans,
    ) -> Outcomes {
        let bridge = self.bridge.borrow();
        let bridge = match bridge.as_ref() {
            Some(Ok(bridge)) => bridge,
            Some(Err(why)) => return none(&Failed::new(Failure::Start, why.clone())),
            None => return none(&Failed::new(Failure::Start, "no bridge was made")),
        };
        let link = link_for(bridge, lab, site, contender);
        let mut linked = Linked::new(contender, link);
        bridge.forget();
        let instance = match lab.start_alive(&mut linked, site, None) {
            Ok(instance) => instance,
            Err(failed) => return none(&failed),
        };
        spans.extend(modules(&instance));
        let (ready, reachable) = (instance.ready_ns, instance.reached.map_or(0, |it| it.ns));
        let outcomes = stopped(lab, site, &mut linked, instance, [ready, reachable], visit);
        match bridge.ports() {
            Ok(ports) if ports.is_empty() => outcomes,
            Ok(ports) => {
                none(&Failed::new(Failure::Leak, format!("left on the bridge: {}", ports.join(", "))))
            }
            Err(e) => none(&Failed::new(Failure::Leak, format!("list what is on the bridge: {e}"))),
        }
    }
}

/// The link of the next box of a contender.
pub fn link_for(bridge: &Bridge, lab: &Lab, site: &Site, contender: &dyn Contender) -> Link {
    bridge.next(|port| match contender.wiring() {
        Wiring::Tap => Way::Tap,
        _ => {
            let namespace = site.boxes().join(format!("{port}.network"));
            Way::Veth { namespace, spawner: lab.spawner_pid() }
        }
    })
}

fn stopped(
    lab: &mut Lab,
    site: &Site,
    contender: &mut dyn Contender,
    instance: Instance,
    [ready, reachable]: [u64; 2],
    visit: &mut Visit<'_>,
) -> Outcomes {
    visit.not_applied(&instance.not_applied);
    let teardown = lab.stop(contender, site, instance).teardown_ns;
    match &teardown {
        // What was left behind may have been what made it fast.
        Err(failed) if failed.failure == Failure::Leak => none(failed),
        _ => [Ok(ready), Ok(reachable), teardown],
    }
}
