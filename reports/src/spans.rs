//! Spans: the parts of a start, from the samples of the measure `spans`.
//!
//! A drawing shows one start that took place, the one in the middle: its parts add up to its time, which medians
//! of parts do not. The table shows the medians.

use crate::document::{Document, Sample, Series};
use crate::stats;

/// Name of the measure.
pub const MEASURE: &str = "spans";

/// The names of spans, in the order in which a start begins them; a mechanism may be worked at more than once.
pub const ORDER: [&str; 23] = [
    "spawn",
    "vmm",
    "machine",
    "firmware",
    "kernel",
    "boot",
    "modules",
    "init",
    "resume",
    "answer",
    "touch",
    "runtime",
    "cgroup",
    "clone",
    "idmap",
    "overlay",
    "mounts",
    "pivot",
    "capabilities",
    "seccomp",
    "exec",
    "payload",
    "notice",
];

/// Of a sample the time that no probe saw, ns. A sample whose parts are more than its value has none.
pub fn unattributed(sample: &Sample) -> Option<u64> {
    Some(sample.value?.saturating_sub(sample.spans.values().sum()))
}

/// The sample in the middle of those with a value; of an even number the faster one.
pub fn middle(series: &Series) -> Option<&Sample> {
    let mut samples: Vec<&Sample> = series.samples.iter().filter(|it| it.value.is_some()).collect();
    samples.sort_by_key(|it| (it.value, it.round));
    samples.get(samples.len().checked_sub(1)? / 2).copied()
}

/// The parts of a sample in their order, names that nobody knows before the payload's own.
pub fn parts(sample: &Sample) -> Vec<(&str, u64)> {
    let mut parts: Vec<(&str, u64)> = sample.spans.iter().map(|(name, ns)| (name.as_str(), *ns)).collect();
    parts.sort_by_key(|(name, _)| place(name));
    parts
}

/// Where a span stands among the others.
fn place(name: &str) -> usize {
    let last = ORDER.len() - 2;
    match ORDER.iter().position(|it| *it == name) {
        Some(index) if index < last => index,
        Some(index) => index + 1,
        None => last,
    }
}

/// The names of all spans in a document, in their order.
pub fn names<'a>(series: impl Iterator<Item = &'a Series>) -> Vec<&'a str> {
    let samples = series.flat_map(|it| &it.samples);
    let mut names: Vec<&str> = samples.flat_map(|it| it.spans.keys().map(String::as_str)).collect();
    names.sort_by_key(|name| (place(name), *name));
    names.dedup();
    names
}

/// The median of a span, ns, over the samples that have it.
pub fn median(series: &Series, name: &str) -> Option<f64> {
    let values: Vec<f64> =
        series.samples.iter().filter_map(|it| it.spans.get(name)).map(|it| *it as f64).collect();
    stats::median(&values)
}

/// The median share of a start that no probe saw, from 0 to 1.
pub fn unattributed_share(series: &Series) -> Option<f64> {
    let share = |it: &Sample| Some(unattributed(it)? as f64 / it.value.filter(|it| *it > 0)? as f64);
    let shares: Vec<f64> = series.samples.iter().filter_map(share).collect();
    stats::median(&shares)
}

/// The median of this contender's starts that nobody watched, ns, where the run has them in the same mode and setting:
/// against it stands what watching costs.
pub fn unwatched(document: &Document, watched: &Series) -> Option<f64> {
    let same = |it: &&Series| {
        (&*it.measure, &it.quantity, &it.contender, it.mode)
            == ("startup", &watched.quantity, &watched.contender, watched.mode)
            && it.parameters == watched.parameters
    };
    let series = document.series.iter().find(same)?;
    stats::median(&series.samples.iter().filter_map(|it| it.value).map(|it| it as f64).collect::<Vec<_>>())
}

/// The series of a contender's watched starts; the first, where it was watched in several modes.
pub fn of<'a>(document: &'a Document, contender: &str) -> Option<&'a Series> {
    document.series.iter().find(|it| it.measure == MEASURE && it.contender == contender)
}
