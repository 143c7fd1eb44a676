//! The ladder: what each rung costs, and what it adds to the rung before.
//!
//! Rungs are visited in one round, so what a mechanism adds is the median of the differences within rounds,
//! not the difference of two overall medians.

use crate::document::{Document, Series, Unit};
use crate::stats::{self, Delta, Interval};

/// Name of the measure.
pub const MEASURE: &str = "ladder";

/// One rung of a contender's ladder, for one quantity.
#[derive(Debug, Clone, PartialEq)]
pub struct Rung {
    /// Its name: the last mechanism that the boxes have.
    pub name: String,
    /// Its place, from 0 for no mechanism at all.
    pub step: u32,
    /// Unit of all figures.
    pub unit: Unit,
    /// Samples with a value.
    pub n: usize,
    /// Samples without one.
    pub failed: usize,
    /// The middle value with all mechanisms up to here.
    pub median: Option<f64>,
    /// Its 95 % interval; None with too few samples.
    pub interval: Option<Interval>,
    /// Against the rung before; None for the first one, and where no round has both.
    pub adds: Option<Delta>,
}

/// The rungs of a contender's ladder in one quantity, from the bottom; empty where it was not measured.
pub fn climb(document: &Document, contender: &str, quantity: &str) -> Vec<Rung> {
    let mut series: Vec<&Series> = document
        .series
        .iter()
        .filter(|it| it.measure == MEASURE && it.contender == contender && it.quantity == quantity)
        .filter(|it| it.parameters.rung.is_some() && it.parameters.aa != Some(true))
        .collect();
    series.sort_by_key(|it| it.parameters.step);
    let mut before: Option<&Series> = None;
    let rungs = series.into_iter().map(|it| {
        let rung = rung(document, it, before);
        before = Some(it);
        rung
    });
    rungs.collect()
}

fn rung(document: &Document, series: &Series, before: Option<&Series>) -> Rung {
    let name = series.parameters.rung.clone().unwrap_or_default();
    let seed = |role| {
        let uses = [MEASURE, &series.quantity, &series.contender, &name, role];
        stats::derive_seed(document.run.seed, &uses)
    };
    let values: Vec<f64> = series.samples.iter().filter_map(|it| it.value).map(|it| it as f64).collect();
    Rung {
        step: series.parameters.step.unwrap_or(0),
        unit: series.unit,
        n: values.len(),
        failed: series.samples.len() - values.len(),
        median: stats::median(&values),
        interval: stats::median_interval(&values, seed("median")),
        adds: before.and_then(|before| {
            stats::difference(&stats::by_round(series), &stats::by_round(before), seed("adds"))
        }),
        name,
    }
}
