//! Curves: how long a start takes against how many are started at once, and against how many run already; and what
//! many boxes cost against their number.

use hdrhistogram::Histogram;

use crate::document::{Document, Parameters, Series};
use crate::stats;
use crate::summary::Summary;
use crate::{density, memory};

/// What the horizontal axis of a curve counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Along {
    /// Starts that are meant to leave at once.
    AtOnce,
    /// Boxes that run already.
    Running,
    /// Boxes held, whose figure is over all of them.
    Instances,
}

impl Along {
    /// The curve that a quantity of a measure draws; none for most.
    pub fn of(measure: &str, quantity: &str) -> Option<Self> {
        match (measure, quantity) {
            ("concurrency", _) => Some(Self::AtOnce),
            ("running", _) => Some(Self::Running),
            (memory::MEASURE, "host" | "cgroup" | "pss" | "ksm" | memory::KEPT)
            | (density::MEASURE, "canary" | "start" | "host" | "climb" | "clear") => Some(Self::Instances),
            _ => None,
        }
    }

    /// A series' place along it.
    pub fn level(self, parameters: &Parameters) -> u32 {
        match self {
            Self::AtOnce => parameters.concurrency.unwrap_or(1),
            Self::Running => parameters.running.unwrap_or(0),
            Self::Instances => parameters.instances.unwrap_or(1),
        }
    }
}

/// The tail of one level: high quantiles from a histogram of three significant figures, which is how latency
/// under load is usually told (HdrHistogram). Medians are exact and come from the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// 90 % quantile; None below 100 samples.
    pub p90: Option<u64>,
    /// 99 % quantile; None below 1,000 samples.
    pub p99: Option<u64>,
}

/// The tail of a series.
pub fn tail(series: &Series) -> Tail {
    let none = Tail { p90: None, p99: None };
    let Ok(mut histogram) = Histogram::<u64>::new(3) else { return none };
    for value in series.samples.iter().filter_map(|it| it.value) {
        // It grows with its values: `saturating_record` would not, and would cut them.
        if histogram.record(value).is_err() {
            return none;
        }
    }
    let at = |p: f64| {
        let enough = histogram.len() >= stats::needed(p) as u64;
        enough.then(|| histogram.value_at_quantile(p))
    };
    Tail { p90: at(0.9), p99: at(0.99) }
}

/// One contender's curve: indices of its lanes, by level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Whose it is.
    pub contender: String,
    /// Level, and place among the lanes.
    pub points: Vec<(u32, usize)>,
}

/// The lines among these lanes, in the document's order of contenders, each from its lowest level.
pub fn lines(document: &Document, along: Along, lanes: &[&Summary]) -> Vec<Line> {
    let each = document.contenders.iter().filter_map(|row| {
        let own = lanes.iter().enumerate().filter(|(_, it)| it.contender == row.name && !it.is_aa());
        let mut points: Vec<(u32, usize)> = own.map(|(at, it)| (along.level(&it.parameters), at)).collect();
        points.sort_unstable();
        (!points.is_empty()).then(|| Line { contender: row.name.clone(), points })
    });
    each.collect()
}
