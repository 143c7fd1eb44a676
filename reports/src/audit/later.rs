//! Items that a run can be held to only once it measures memory, density, restore or load.

use super::Finding;
use crate::document::{Class, Document, Mode, Series, Status};

/// The quantities that measure memory. Each names what the kernel field is in the design's words.
const MEMORY: [&str; 3] = ["pss", "cgroup", "host"];
/// What else `memory` brings: a high-water mark of the cgroup, and a size that was asked for.
const BESIDE: [&str; 2] = ["peak", "smallest"];

fn of<'a>(document: &'a Document, measure: &'a str) -> impl Iterator<Item = &'a Series> + Clone {
    document.series.iter().filter(move |it| it.measure == measure)
}

/// Hands the memory series to a check, or says that there are none.
fn memory(document: &Document, check: impl Fn(&[&Series]) -> Finding) -> Finding {
    let series: Vec<&Series> = of(document, "memory").collect();
    if series.is_empty() {
        return Finding::not_checkable("this run measured no memory");
    }
    check(&series)
}

fn missing(series: &[&Series], wanted: &[&str]) -> Vec<String> {
    let absent = wanted.iter().filter(|it| series.iter().all(|series| series.quantity != **it));
    absent.map(|it| format!("the quantity `{it}` is missing")).collect()
}

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

/// 9: PSS, checked against the host's own change; never a sum of RSS.
pub(super) fn memory_is_pss_and_host(document: &Document) -> Finding {
    memory(document, |series| Finding::of(&missing(series, &["pss", "host"]), "`pss` beside `host`"))
}

/// 10: the metric names its kernel field; no virtual size.
pub(super) fn memory_names_its_field(document: &Document) -> Finding {
    memory(document, |series| {
        let unknown =
            series.iter().filter(|it| ![&MEMORY[..], &BESIDE[..]].concat().contains(&it.quantity.as_str()));
        let faults: Vec<String> =
            unknown.map(|it| format!("`{}` of {} is no known field", it.quantity, it.contender)).collect();
        Finding::of(&faults, "only pss (smaps_rollup), cgroup (memory controller) and host (meminfo)")
    })
}

/// 11: the ledger with all its lines.
pub(super) fn memory_has_a_ledger(document: &Document) -> Finding {
    memory(document, |_| Finding::not_checkable("this version's document carries no ledger"))
}

/// 12: guest RAM on a named memory backend.
pub(super) fn guest_ram_is_named(document: &Document) -> Finding {
    memory(document, |series| {
        let vms = document.contenders.iter().filter(|it| {
            it.class == Class::Vm
                && it.status == Status::Measured
                && series.iter().any(|series| series.contender == it.name)
        });
        let unnamed = vms.filter(|it| !it.command.iter().any(|word| word.contains("memory-backend")));
        let faults: Vec<String> =
            unnamed.map(|it| format!("{} has no memory-backend on its command line", it.name)).collect();
        Finding::of(&faults, "every measured VM has its RAM on a named memory backend")
    })
}

/// 13: with page cache, without, and the host's change.
pub(super) fn page_cache_is_told_apart(document: &Document) -> Finding {
    memory(document, |series| Finding::of(&missing(series, &MEMORY), "pss, cgroup and host side by side"))
}

/// 15: idle, touched and serving are three figures.
pub(super) fn density_in_three_states(document: &Document) -> Finding {
    let series: Vec<&Series> = of(document, "density").collect();
    if series.is_empty() {
        return Finding::not_checkable("this run measured no density");
    }
    Finding::of(&missing(&series, &["idle", "touched", "serving"]), "idle, touched and serving")
}

/// 16: the binding resource is named.
pub(super) fn binding_resource_is_named(document: &Document) -> Finding {
    density_needs_more(document, "no binding resource")
}

/// 17: the limit is confirmed and N + step shown failing.
pub(super) fn limit_is_confirmed(document: &Document) -> Finding {
    density_needs_more(document, "no confirmation and no failing step")
}

fn density_needs_more(document: &Document, lacks: &str) -> Finding {
    match of(document, "density").next() {
        None => Finding::not_checkable("this run measured no density"),
        Some(_) => Finding::not_checkable(format!("this version's document carries {lacks}")),
    }
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
