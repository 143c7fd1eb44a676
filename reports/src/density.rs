//! How many boxes one host holds at once: the searches, and what was seen on their way.

use crate::document::{Accel, Binding, Class, Document, Mode, Sample, Series};
use crate::stats;
use crate::summary::Summary;

/// Name of the measure.
pub const MEASURE: &str = "density";

/// What the boxes do while they are counted, and the names of the quantities: three figures, never one.
pub const STATES: [&str; 3] = ["idle", "touched", "serving"];

/// The longest that 99 % of the canary's pings may take, ns: of an emulated machine, and of all others.
pub fn canary_limit(accel: Accel) -> u64 {
    match accel {
        Accel::Tcg => 1_000_000_000,
        _ => 100_000_000,
    }
}

/// The fewest pings that a number of boxes is confirmed with: a 99 % quantile needs as many.
pub const PINGS: u32 = 1_000;

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
    /// What 99 % of the canary's pings stay within, ns; None below a thousand of them, and where too many were never
    /// answered.
    pub p99: Option<f64>,
    /// The median of those that were answered, ns.
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

/// The latency that 99 % of these pings stay within, ns; None below [`PINGS`] of them. One that was never answered is
/// later than all others: left out, the worst of them would make the figure better.
pub fn p99(pings: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    let mut sorted: Vec<u64> = pings.map(|it| it.unwrap_or(u64::MAX)).collect();
    sorted.sort_unstable();
    let rank = (sorted.len() * 99).div_ceil(100);
    let enough = sorted.len() >= PINGS as usize;
    sorted.get(rank.saturating_sub(1)).copied().filter(|it| enough && *it != u64::MAX)
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
            p99: canary.and_then(|it| p99(it.samples.iter().map(|it| it.value))).map(|it| it as f64),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_never_came_is_the_latest_of_all() {
        let mut pings: Vec<Option<u64>> = (1..=1000).map(Some).collect();
        let of = |pings: &[Option<u64>]| p99(pings.iter().copied());
        assert_eq!(of(&pings), Some(990));
        assert_eq!(of(&pings[1..]), None, "too few");
        pings[..10].fill(None);
        assert_eq!(of(&pings), Some(1000), "and no ping less than were sent");
        pings[10] = None;
        assert_eq!(of(&pings), None);
        assert_eq!(of(&[]), None);
    }
}
