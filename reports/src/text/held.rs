//! Memory and density for a terminal: a line per method or search, not one per number of boxes.

use super::{aligned, or_na};
use crate::Lang;
use crate::charts::{accel_name, mode_name};
use crate::density::{self, Search};
use crate::document::{Document, Mode};
use crate::memory::{self, Cost, Ledger, Method};
use crate::merging;
use crate::stats::Slope;
use crate::units::{bytes, duration, percent};

/// What one more box costs, by each method, and where the host's use goes.
pub(super) fn memory(document: &Document) -> Vec<String> {
    let mut out = Vec::new();
    let costs = memory::costs(document);
    let methods = Method::of(&costs);
    for (mode, state, costs) in settings(&costs) {
        out.push(String::new());
        out.push(format!("memory of one more {state} box: the slope over the boxes held, {mode}"));
        let header = ["contender", "method", "one more box", "95 % interval", "paid once", "climbs", "boxes"];
        let mut rows = vec![header.map(str::to_owned).to_vec()];
        for cost in &costs {
            rows.extend(cost.slopes.iter().map(|(method, slope)| row(cost, *method, slope)));
        }
        out.extend(aligned(&rows, 2));
        for cost in &costs {
            out.extend(cost.ledger.as_ref().map(|it| ledger(&cost.contender, it)));
        }
    }
    out.extend(merged(document));
    if !out.is_empty() {
        let covers = |it: Method| format!("  {}: {}", it.quantity(), it.covers(Lang::En).replace('`', ""));
        out.extend(methods.into_iter().map(covers));
    }
    out
}

/// What merging equal pages makes of it.
fn merged(document: &Document) -> Vec<String> {
    let found = merging::mergings(document);
    let each = |line: &merging::Line| line.slope.map_or_else(|| "n/a".to_owned(), |it| bytes(it.each));
    let lines = found.iter().map(|it| {
        let saved = or_na(it.saved().map(|(share, _)| percent(share)));
        let (off, on) = (each(&it.off), each(&it.on));
        format!("  {} {}: {off}, merged {on}, saved {saved}", it.state, it.contender)
    });
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() {
        return lines;
    }
    let head = "memory of one more machine, without and with merging of equal pages (KSM)".to_owned();
    [vec![String::new(), head], lines].concat()
}

/// The costs by mode and state, in the order in which they are there.
fn settings(costs: &[Cost]) -> Vec<(&'static str, String, Vec<&Cost>)> {
    let mut found: Vec<((Mode, String), Vec<&Cost>)> = Vec::new();
    for cost in costs {
        let key = (cost.mode, cost.state.clone());
        match found.iter_mut().find(|it| it.0 == key) {
            Some((_, costs)) => costs.push(cost),
            None => found.push((key, vec![cost])),
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found.into_iter().map(|((mode, state), costs)| (mode_name(mode, Lang::En), state, costs)).collect()
}

fn row(cost: &Cost, method: Method, slope: &Slope) -> Vec<String> {
    vec![
        // Below an emulator a machine's figure holds what the emulator needs for itself.
        format!("{} ({})", cost.contender, accel_name(cost.accel)),
        method.quantity().to_owned(),
        bytes(slope.each),
        or_na(slope.interval.map(|it| format!("{} .. {}", bytes(it.low), bytes(it.high)))),
        bytes(slope.once),
        slope.climbs.to_string(),
        format!("{:.0}", slope.most),
    ]
}

/// `tare = slab 286 KiB + page tables 31 KiB + unexplained 52 KiB (10.0 %)`.
fn ledger(contender: &str, ledger: &Ledger) -> String {
    let lines: Vec<String> =
        ledger.lines.iter().map(|it| format!("{} {}", it.name, bytes(it.each))).collect();
    let flag = if ledger.adds_up() { "" } else { ": above 15 %, the ledger has a hole" };
    let beside = ledger
        .beside_guest
        .map_or(String::new(), |it| format!("; beside guest RAM and translation cache {}", bytes(it)));
    format!(
        "  {contender} = {} + unexplained {} ({}{flag}){beside}",
        lines.join(" + "),
        bytes(ledger.unexplained),
        percent(ledger.share)
    )
}

/// How many boxes fit, and what ended each search.
pub(super) fn density(document: &Document) -> Vec<String> {
    let searches = density::searches(document);
    let mut out = Vec::new();
    for state in density::STATES {
        let own: Vec<&Search> = searches.iter().filter(|it| it.state == state).collect();
        if own.is_empty() {
            continue;
        }
        out.push(String::new());
        out.push(format!("density, {state}: the most boxes at which everything held"));
        let header =
            ["contender", "boxes", "", "ended by", "seen failing at", "p99", "start", "host", "clear"];
        let mut rows = vec![header.map(str::to_owned).to_vec()];
        rows.extend(own.iter().map(|it| found(it)));
        out.extend(aligned(&rows, 1));
        for search in own {
            let why = search.binding.as_ref().map(|it| &it.evidence).or(search.reason.as_ref());
            out.extend(why.map(|it| format!("  {}: {it}", search.contender)));
        }
    }
    out
}

fn found(search: &Search) -> Vec<String> {
    let last = search.last();
    let time = |it: Option<f64>| it.map_or_else(|| "-".to_owned(), duration);
    // A terminal may not know the page's letters.
    let boxes = search.figure().replace('≥', ">=").replace('–', "..");
    vec![
        format!("{} ({})", search.contender, accel_name(search.accel)),
        boxes,
        if search.predicted { "predicted" } else { "measured" }.to_owned(),
        search.binding.as_ref().map_or_else(|| "-".to_owned(), |it| it.resource.clone()),
        search
            .binding
            .as_ref()
            .and_then(|it| it.failed_at)
            .map_or_else(|| "-".to_owned(), |it| it.to_string()),
        time(last.and_then(|it| it.p99)),
        time(last.and_then(|it| it.start)),
        last.and_then(|it| it.host).map_or_else(|| "-".to_owned(), bytes),
        time(last.and_then(|it| it.clear)),
    ]
}
