//! What a working network adds to a start: the same box without and with one, compared within rounds.

use crate::document::{Document, Sample, Series, Unit};
use crate::stats::{self, Delta, Ratio};

/// Name of the measure.
pub const MEASURE: &str = "network";

/// One contender without and with a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Cost {
    /// Whose boxes.
    pub contender: String,
    /// How they are connected: `bridge` or `tap`.
    pub network: String,
    /// Median of `ready` without one, ns.
    pub without: Option<f64>,
    /// Median of `ready` with one, ns.
    pub with: Option<f64>,
    /// Median of `reachable`, ns.
    pub reachable: Option<f64>,
    /// Median of the part of `ready` in which a machine's kernel loads modules for its card, ns; None where it
    /// loads none.
    pub modules: Option<f64>,
    /// What `ready` with one has more; None where no round has both.
    pub adds: Option<Delta>,
    /// How many times `reachable` takes what `ready` without one takes.
    pub ratio: Option<Ratio>,
}

impl Cost {
    /// The unit of all its figures.
    pub const UNIT: Unit = Unit::Ns;
}

/// Of every contender that was connected, in the document's order.
pub fn costs(document: &Document) -> Vec<Cost> {
    let connected = document.series.iter().filter(|it| {
        let network = it.parameters.network.as_deref();
        is(it, "ready") && network.is_some_and(|it| it != "none")
    });
    connected.map(|it| cost(document, it)).collect()
}

fn is(series: &Series, quantity: &str) -> bool {
    series.measure == MEASURE && series.quantity == quantity && series.parameters.aa != Some(true)
}

fn cost(document: &Document, with: &Series) -> Cost {
    let own = |quantity: &str, network: &str| {
        document.series.iter().find(|it| {
            is(it, quantity)
                && (&it.contender, it.mode) == (&with.contender, with.mode)
                && it.parameters.network.as_deref() == Some(network)
        })
    };
    let network = with.parameters.network.clone().unwrap_or_default();
    let (without, reachable) = (own("ready", "none"), own("reachable", &network));
    let seed = |role| stats::derive_seed(document.run.seed, &[MEASURE, &with.contender, role]);
    let rounds = |it: Option<&Series>| it.map(stats::by_round).unwrap_or_default();
    Cost {
        without: without.and_then(median),
        with: median(with),
        modules: stats::median(&with.samples.iter().filter_map(modules).collect::<Vec<_>>()),
        reachable: reachable.and_then(median),
        adds: stats::difference(&stats::by_round(with), &rounds(without), seed("adds")),
        ratio: stats::ratio(&rounds(reachable), &rounds(without), seed("ratio")),
        contender: with.contender.clone(),
        network,
    }
}

fn modules(sample: &Sample) -> Option<f64> {
    sample.value.and(sample.spans.get("modules")).map(|it| *it as f64)
}

fn median(series: &Series) -> Option<f64> {
    let values: Vec<f64> = series.samples.iter().filter_map(|it| it.value).map(|it| it as f64).collect();
    stats::median(&values)
}
