//! Items that a run can be held to only once it measures a restore or a load.

use super::Finding;
use crate::document::{Document, Mode, Series};

/// 8: a restore ends after a first touch of memory.
pub(super) fn restore_touches_memory(document: &Document) -> Finding {
    let restored = document.series.iter().filter(|it| it.mode == Mode::Restore && it.quantity == "ready");
    let samples: Vec<_> = restored.flat_map(|it| &it.samples).filter(|it| it.value.is_some()).collect();
    if samples.is_empty() {
        return Finding::not_checkable("no box was restored in this run");
    }
    let without = samples.iter().filter(|it| !it.spans.contains_key("touch")).count();
    if without > 0 {
        return Finding::failed(format!("{without} of {} restores have no `touch` span", samples.len()));
    }
    Finding::passed(format!("all {} restores end after a first touch of memory", samples.len()))
}

/// 18: concurrent starts leave on schedule.
pub(super) fn load_is_open_loop(document: &Document) -> Finding {
    let loaded = |it: &&Series| it.parameters.concurrency.is_some_and(|it| it > 1);
    let of = |quantity: &'static str| {
        document.series.iter().filter(loaded).filter(move |it| it.quantity == quantity)
    };
    let (mut faults, mut starts, mut latest) = (Vec::new(), 0, 0);
    for ready in of("ready") {
        let late = of("late").find(|it| {
            (&it.contender, it.mode, &it.parameters) == (&ready.contender, ready.mode, &ready.parameters)
        });
        let values = |it: &Series| it.samples.iter().filter_map(|it| it.value).collect::<Vec<u64>>();
        let (took, late) = (values(ready), late.map(values).unwrap_or_default());
        let level = ready.parameters.concurrency.unwrap_or(0);
        if took.len() != late.len() {
            faults.push(format!(
                "{} at {level} starts at once: {} latencies, but {} intended start times",
                ready.contender,
                took.len(),
                late.len()
            ));
        } else if took.iter().zip(&late).any(|(took, late)| took < late) {
            faults.push(format!(
                "{} at {level} starts at once: a latency is below what the start was late by: it does not \
                 count from the intended time",
                ready.contender
            ));
        }
        starts += took.len();
        latest = latest.max(late.iter().copied().max().unwrap_or(0));
    }
    if starts == 0 && faults.is_empty() {
        return Finding::not_checkable("boxes were started one at a time; coordinated omission needs a load");
    }
    let latest = crate::units::duration(latest as f64);
    Finding::of(
        &faults,
        format!(
            "{starts} latencies count from the intended time; the lab came to a start {latest} late at most"
        ),
    )
}
