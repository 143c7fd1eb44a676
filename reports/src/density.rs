//! How many boxes one host holds at once: the searches, and what was seen on their way.

use crate::document::{Accel, Binding, Class, Document, Mode, Sample, Series};
use crate::stats;
use crate::summary::Summary;

/// Name of the measure.
pub const MEASURE: &str = "density";

/// What the boxes do while they are counted, and the names of the quantities: three figures, never one.
pub const STATES: [&str; 3] = ["idle", "touched", "serving"];

/// One search, or what a quick run predicts instead.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    /// Whose boxes.
    pub contender: String,
    /// What kind.
    pub class: Class,
    /// What executes their instructions.
    pub accel: Accel,
    /// How they came to be.
    pub mode: Mode,
    /// What they do: one of [`STATES`].
    pub state: String,
    /// Whether it was predicted, not measured.
    pub predicted: bool,
    /// The most at which everything held.
    pub boxes: Option<f64>,
    /// A prediction's interval or band.
    pub range: Option<(f64, f64)>,
    /// What ended it.
    pub binding: Option<Binding>,
    /// Why there is no figure.
    pub reason: Option<String>,
    /// What was seen on the way, from few boxes to many.
    pub rungs: Vec<Rung>,
}

impl Search {
    /// Whether it ended without having seen a number fail: more may fit.
    pub fn is_open(&self) -> bool {
        !self.predicted
            && self.boxes.is_some()
            && self.binding.as_ref().is_none_or(|it| it.failed_at.is_none())
    }

    /// The figure, a bound or a band in words: `12400`, `≥ 4096`, `1024 – 15900`, `n/a`.
    pub fn figure(&self) -> String {
        match (self.boxes, self.range) {
            (Some(boxes), _) if self.is_open() => format!("≥ {boxes:.0}"),
            (Some(boxes), _) => format!("{boxes:.0}"),
            (None, Some((low, high))) => format!("{low:.0} – {high:.0}"),
            (None, None) => "n/a".to_owned(),
        }
    }

    /// What was seen at the most boxes at which everything held.
    pub fn last(&self) -> Option<&Rung> {
        let boxes = self.boxes.filter(|_| !self.predicted)?;
        self.rungs.iter().rev().find(|it| f64::from(it.boxes) <= boxes)
    }
}

/// One number of boxes on the way.
#[derive(Debug, Clone, PartialEq)]
pub struct Rung {
    /// Boxes held.
    pub boxes: u32,
    /// High quantile of the canary's latencies, ns; None below a thousand pings.
    pub p99: Option<f64>,
    /// Their median, ns.
    pub p50: Option<f64>,
    /// Pings, and those of them that failed.
    pub pings: (usize, usize),
    /// The median of the last starts, ns.
    pub start: Option<f64>,
    /// What the host uses more than before the first box, bytes.
    pub host: Option<f64>,
    /// Mean wall time per start of the step to here, ns.
    pub climb: Option<f64>,
    /// Mean wall time per box of taking all down, ns.
    pub clear: Option<f64>,
}

/// The searches of a document, by state, in its order of contenders; a measured one before a predicted one.
pub fn searches(document: &Document) -> Vec<Search> {
    let mut found = Vec::new();
    for state in STATES {
        for row in &document.contenders {
            let mut own: Vec<&Series> = document
                .series
                .iter()
                .filter(|it| it.measure == MEASURE && it.quantity == state && it.contender == row.name)
                .collect();
            own.sort_by_key(|it| (it.predicted, it.mode));
            found.extend(own.into_iter().map(|it| search(document, it, row.class, row.accel)));
        }
    }
    found
}

/// The search whose result a row of a table is.
pub(crate) fn search_of(document: &Document, lane: &Summary) -> Search {
    search(document, &document.series[lane.series], lane.class, lane.accel)
}

fn search(document: &Document, series: &Series, class: Class, accel: Accel) -> Search {
    let state = series.quantity.clone();
    let part = |name: &str| series.samples.iter().find_map(|it| it.parts.get(name)).map(|it| *it as f64);
    let rungs = if series.predicted { Vec::new() } else { rungs(document, series, &state) };
    Search {
        contender: series.contender.clone(),
        class,
        accel,
        mode: series.mode,
        predicted: series.predicted,
        boxes: found(series),
        range: part("low").zip(part("high")),
        binding: series.binding.clone(),
        reason: series.samples.iter().find_map(reason),
        rungs,
        state,
    }
}

fn reason(sample: &Sample) -> Option<String> {
    sample.failure.map(|it| sample.detail.clone().unwrap_or_else(|| format!("{it:?}").to_lowercase()))
}

/// Of several searches the middle one, the lower of two: a number that was really held.
fn found(series: &Series) -> Option<f64> {
    let mut values: Vec<u64> = series.samples.iter().filter_map(|it| it.value).collect();
    values.sort_unstable();
    values.get(values.len().saturating_sub(1) / 2).map(|it| *it as f64)
}

fn middle(series: &Series) -> Option<f64> {
    let values: Vec<f64> = series.samples.iter().filter_map(|it| it.value).map(|it| it as f64).collect();
    stats::median(&values)
}

fn rungs(document: &Document, search: &Series, state: &str) -> Vec<Rung> {
    let own = |it: &&Series| {
        it.measure == MEASURE
            && (&it.contender, it.mode) == (&search.contender, search.mode)
            && it.parameters.state.as_deref() == Some(state)
    };
    let own: Vec<&Series> = document.series.iter().filter(own).collect();
    let mut counts: Vec<u32> = own.iter().filter_map(|it| it.parameters.instances).collect();
    counts.sort_unstable();
    counts.dedup();
    let rung = |boxes: u32| {
        let at = |quantity: &str| {
            own.iter().find(|it| it.quantity == quantity && it.parameters.instances == Some(boxes)).copied()
        };
        let canary = at("canary");
        let failed = |it: &Series| it.samples.iter().filter(|it| it.failure.is_some()).count();
        Rung {
            boxes,
            p99: canary.and_then(|it| crate::curves::tail(it).p99).map(|it| it as f64),
            p50: canary.and_then(middle),
            pings: canary.map_or((0, 0), |it| (it.samples.len(), failed(it))),
            start: at("start").and_then(middle),
            host: at("host").and_then(middle),
            climb: at("climb").and_then(middle),
            clear: at("clear").and_then(middle),
        }
    };
    counts.into_iter().map(rung).collect()
}
