//! What merging equal pages (KSM) makes of machines: the same climb without it and with it, in one run.

use crate::document::{Accel, Document, Mode, Series, Status};
use crate::memory::{MEASURE, levels};
use crate::stats::{self, Interval, Point, Slope};

/// Name of the quantity.
pub const QUANTITY: &str = "ksm";

/// The kernel's file that switches it.
const SWITCH: &str = "/sys/kernel/mm/ksm/run";

/// One contender in one state, without merging and with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Merging {
    /// Whose machines.
    pub contender: String,
    /// What executes their instructions.
    pub accel: Accel,
    /// How they came to be.
    pub mode: Mode,
    /// `idle` or `touched`.
    pub state: String,
    /// Without.
    pub off: Line,
    /// With.
    pub on: Line,
}

/// The looks at climbs under one setting, and their slope.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Every look.
    pub points: Vec<Point>,
    /// What one more machine costs; None where no climb was looked at with two numbers of them.
    pub slope: Option<Slope>,
}

impl Merging {
    /// The share of one more machine's cost that merging saves, and as far as the two intervals allow.
    pub fn saved(&self) -> Option<(f64, Option<Interval>)> {
        let (off, on) = (self.off.slope?, self.on.slope?);
        if off.each <= 0.0 {
            return None;
        }
        let ends = off.interval.zip(on.interval).filter(|(off, _)| off.low > 0.0);
        let ends =
            ends.map(|(off, on)| Interval { low: 1.0 - on.high / off.low, high: 1.0 - on.low / off.high });
        Some((1.0 - on.each / off.each, ends))
    }
}

/// All that a document has, in its order of contenders, idle first.
pub fn mergings(document: &Document) -> Vec<Merging> {
    let rows = document.contenders.iter().filter(|it| it.status != Status::Skipped);
    let each = rows.flat_map(|row| {
        let own = document.series.iter().filter(|it| is_merging(it) && it.contender == row.name);
        let mut settings: Vec<(Mode, String)> =
            own.filter_map(|it| Some((it.mode, it.parameters.state.clone()?))).collect();
        settings.sort();
        settings.dedup();
        settings.into_iter().map(|(mode, state)| Merging {
            off: line(document, (&row.name, mode, &state), "off"),
            on: line(document, (&row.name, mode, &state), "on"),
            contender: row.name.clone(),
            accel: row.accel,
            mode,
            state,
        })
    });
    each.collect()
}

fn is_merging(series: &Series) -> bool {
    series.measure == MEASURE && series.quantity == QUANTITY
}

fn line(document: &Document, of: (&str, Mode, &str), setting: &str) -> Line {
    let own = levels(document, MEASURE, QUANTITY, of);
    let points = stats::points(own.filter(|it| it.parameters.ksm.as_deref() == Some(setting)));
    let seed = stats::derive_seed(document.run.seed, &[MEASURE, QUANTITY, of.0, of.2, setting]);
    Line { slope: stats::slope(&points, seed), points }
}

/// What is wrong with the way in which a run merged: one side without the other, or a host that was not left as it was
/// found. Nothing where it did not merge at all.
pub(crate) fn faults(document: &Document) -> Vec<String> {
    let mut faults = Vec::new();
    let has = |series: &Series, setting: &str| {
        document.series.iter().any(|it| {
            is_merging(it)
                && (&it.contender, it.mode, &it.parameters.state)
                    == (&series.contender, series.mode, &series.parameters.state)
                && it.parameters.ksm.as_deref() == Some(setting)
        })
    };
    for series in document.series.iter().filter(|it| is_merging(it)) {
        for setting in ["off", "on"] {
            let fault = format!("{} was not measured with KSM {setting}", series.contender);
            if !has(series, setting) && !faults.contains(&fault) {
                faults.push(fault);
            }
        }
    }
    let seen = |it: &Series| is_merging(it) && it.samples.iter().any(|sample| sample.value.is_some());
    let merged = |it: &&Series| seen(it) && it.parameters.ksm.as_deref() == Some("on");
    let changes = &document.run.host_changes;
    // Where it was on before, nothing was switched and nothing had to be put back.
    let was_on = document.host.facts.get("ksm").is_some_and(|it| it == "1");
    if document.series.iter().any(|it| merged(&it))
        && !was_on
        && changes.iter().all(|it| it.setting != SWITCH)
    {
        faults.push(format!("pages were merged and no change of {SWITCH} is recorded"));
    }
    let left =
        changes.iter().filter(|it| it.setting.contains("/ksm/") && !it.restored.starts_with("put back"));
    faults.extend(left.map(|it| format!("{} was left at {}: {}", it.setting, it.written, it.restored)));
    faults
}
