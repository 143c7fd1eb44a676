//! The plain summary for a terminal: aligned, no escape codes, nothing that a pipe would spoil.

use std::collections::BTreeMap;

use crate::Lang;
use crate::audit;
use crate::charts::Topic;
use crate::density;
use crate::document::{Document, Status, Verdict};
use crate::ladder::climb;
use crate::stats::Difference;
use crate::summary::{Comparison, Summary, summarise};
use crate::units::{percent, ratio, value};

mod held;
mod image;

/// The run's summary as plain text. The first line says whether the figures can be relied upon.
pub fn table(document: &Document) -> String {
    let mut out = Vec::new();
    head(document, &mut out);
    let summaries = summarise(document);
    let topics = Topic::all(document, &summaries);
    for (index, topic) in topics.iter().enumerate() {
        if topic.is_of_held_boxes() {
            // All of a measure's topics stand where its first one would.
            let own = |it: &&Topic| it.measure == topic.measure && it.is_of_held_boxes();
            if !topics[..index].iter().any(|it| own(&it)) {
                out.extend(match topic.measure {
                    density::MEASURE => held::density(document),
                    _ => held::memory(document),
                });
                out.extend(topics.iter().filter(own).flat_map(failures));
            }
            continue;
        }
        if topic.is_of_content() {
            out.extend(image::sameness(document));
            out.extend(failures(topic));
            continue;
        }
        out.push(String::new());
        out.push(format!("{} / {}, {}", topic.measure, topic.quantity, topic.setting(crate::Lang::En)));
        if let Some(climber) = topic.climber {
            out.extend(aligned(&rungs(document, climber, topic.quantity), 1));
            continue;
        }
        let caveats = caveats(topic);
        out.extend(aligned(&rows(topic, &caveats), 2));
        out.extend(caveats.iter().enumerate().map(|(index, it)| format!("  {} {it}", stars(index))));
        for lane in topic.lanes.iter().filter(|it| it.failed() > 0) {
            let counts = crate::charts::failure_counts(lane);
            let first = topic.series(lane).samples.iter().find_map(|it| it.detail.as_deref());
            let first = first.map_or_else(String::new, |it| format!("; the first: {it}"));
            out.push(format!("  failed: {}: {counts}{first}", lane.label(Lang::En)));
        }
    }
    idle(document, &mut out);
    verdicts(document, &mut out);
    out.push(String::new());
    out.join("\n")
}

fn head(document: &Document, out: &mut Vec<String>) {
    let run = &document.run;
    if run.reliable {
        out.push(format!("tare run {}, profile {}, seed {}", run.id, run.profile, run.seed));
    } else {
        out.push(format!("UNRELIABLE: {}", run.unreliable_because.join("; ")));
        out.push(format!("tare run {}, profile {}, seed {}", run.id, run.profile, run.seed));
    }
    if !run.complete {
        out.push("incomplete: the run ended before its last planned round".to_owned());
    }
    out.push(format!("this host only: {}", audit::fingerprint(document)));
    out.push(format!("kvm: {}", document.host.kvm));
}

/// The failed samples of each contender, over all numbers of boxes.
fn failures(topic: &Topic) -> Vec<String> {
    let mut each: BTreeMap<&str, usize> = BTreeMap::new();
    for lane in &topic.lanes {
        *each.entry(&lane.contender).or_default() += lane.failed();
    }
    each.retain(|_, count| *count > 0);
    let why = |contender: &str| {
        let own = topic.lanes.iter().filter(|it| it.contender == contender);
        own.flat_map(|it| &topic.series(it).samples).find_map(|it| it.detail.clone()).unwrap_or_default()
    };
    let setting = match topic.setting(crate::Lang::En) {
        none if none.is_empty() => none,
        setting => format!(" ({setting})"),
    };
    let line = |(contender, count): (&&str, &usize)| {
        format!("  no {}{setting} in {count} samples of {contender}: {}", topic.quantity, why(contender))
    };
    each.iter().map(line).collect()
}

/// The header and one row per lane.
fn rows(topic: &Topic, caveats: &[&str]) -> Vec<Vec<String>> {
    let mut header = vec!["contender", "accel", "median", "95 % interval", "n", "failed", "x process"];
    // Without the machine in the run its column would hold dashes only.
    let with_qemu = topic.lanes.iter().any(|lane| lane.to_qemu.is_some());
    if with_qemu {
        header.push("x qemu");
    }
    let mut rows = vec![header.into_iter().map(str::to_owned).collect::<Vec<_>>()];
    rows.extend(topic.lanes.iter().map(|lane| {
        let mut row = vec![
            lane.label(Lang::En),
            accel(lane),
            or_na(lane.median.map(|it| value(it, lane.unit))),
            or_na(
                lane.interval
                    .map(|it| format!("{} .. {}", value(it.low, lane.unit), value(it.high, lane.unit))),
            ),
            lane.n.to_string(),
            failed(lane),
            compared(lane.to_process.as_ref(), caveats),
        ];
        if with_qemu {
            let qemu = lane.to_qemu.as_ref();
            row.push(qemu.map_or_else(|| "-".to_owned(), |it| ratio(it.ratio.ratio) + &marked(it, caveats)));
        }
        row
    }));
    rows
}

/// The header and one row per rung of a ladder, from the bottom.
fn rungs(document: &Document, climber: &str, quantity: &str) -> Vec<Vec<String>> {
    let header = ["rung", "median", "95 % interval", "n", "failed", "adds"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    rows.extend(climb(document, climber, quantity).into_iter().map(|it| {
        let range = |low: f64, high: f64| format!("{} .. {}", value(low, it.unit), value(high, it.unit));
        let adds = it.adds.map_or_else(
            || "-".to_owned(),
            |adds| {
                let interval =
                    adds.interval.map_or(String::new(), |at| format!(" [{}]", range(at.low, at.high)));
                let doubt = if adds.is_certain() { "" } else { " no verdict" };
                format!("{}{interval}{doubt}", value(adds.delta, it.unit))
            },
        );
        vec![
            it.name,
            or_na(it.median.map(|median| value(median, it.unit))),
            or_na(it.interval.map(|at| range(at.low, at.high))),
            it.n.to_string(),
            it.failed.to_string(),
            adds,
        ]
    }));
    rows
}

fn accel(lane: &Summary) -> String {
    crate::charts::accel_name(lane.accel).to_owned()
}

fn or_na(text: Option<String>) -> String {
    text.unwrap_or_else(|| "n/a".to_owned())
}

/// `0`, or `2 of 30`; the reasons stand below the table.
fn failed(lane: &Summary) -> String {
    if lane.failed() == 0 {
        return "0".to_owned();
    }
    format!("{} of {}", lane.failed(), lane.failed() + lane.n)
}

/// `3.05x [2.98, 3.12]`, with the words where the test gives no verdict and a mark where a
/// caveat applies.
fn compared(comparison: Option<&Comparison>, caveats: &[&str]) -> String {
    let Some(found) = comparison else { return "-".to_owned() };
    let interval = found.ratio.interval.map_or(String::new(), |it| {
        format!(" [{}, {}]", crate::units::digits(it.low), crate::units::digits(it.high))
    });
    let doubt = if found.ratio.difference == Difference::NoVerdict { " no verdict" } else { "" };
    format!("{}{interval}{doubt}{}", ratio(found.ratio.ratio), marked(found, caveats))
}

/// What must be said with the ratios of a table, each once; its place gives it its mark.
fn caveats(topic: &Topic) -> Vec<&'static str> {
    let mut all = Vec::new();
    for caveat in
        topic.lanes.iter().flat_map(|it| [&it.to_process, &it.to_qemu]).flatten().filter_map(|it| it.caveat)
    {
        if !all.contains(&caveat) {
            all.push(caveat);
        }
    }
    all
}

fn stars(index: usize) -> String {
    "*".repeat(index + 1)
}

/// The mark of a ratio that must not stand without its caveat.
fn marked(comparison: &Comparison, caveats: &[&str]) -> String {
    let place = comparison.caveat.and_then(|it| caveats.iter().position(|other| *other == it));
    place.map_or(String::new(), |it| format!(" {}", stars(it)))
}

/// Columns padded to their widest cell; figures to the right, the first columns, which are names, to the left.
fn aligned(rows: &[Vec<String>], names: usize) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            it if it < names => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        format!("  {}", cells.collect::<Vec<_>>().join("  ")).trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// Contenders without figures, with the reason and what would fix it.
fn idle(document: &Document, out: &mut Vec<String>) {
    let rows = document.contenders.iter().filter(|it| it.status != Status::Measured);
    for (index, row) in rows.enumerate() {
        if index == 0 {
            out.push(String::new());
            out.push("not measured".to_owned());
        }
        let status = if row.status == Status::Skipped { "skipped" } else { "failed" };
        let reason = row.reason.as_deref().unwrap_or("no reason given");
        out.push(format!("  {} {status}: {reason}", row.name));
        if let Some(fix) = &row.fix {
            out.push(format!("    fix: {fix}"));
        }
    }
    for left_out in &document.run.left_out {
        out.push(format!("  left out: {left_out}"));
    }
}

/// One line on the audit, and every item that failed.
fn verdicts(document: &Document, out: &mut Vec<String>) {
    let items = if document.audit.is_empty() { audit::audit(document) } else { document.audit.clone() };
    let count = |verdict| items.iter().filter(|it| it.verdict == verdict).count();
    out.push(String::new());
    out.push(format!(
        "audit: {} passed, {} failed, {} by design, {} not checkable",
        count(Verdict::Passed),
        count(Verdict::Failed),
        count(Verdict::ByDesign),
        count(Verdict::NotCheckable)
    ));
    for item in items.iter().filter(|it| it.verdict == Verdict::Failed) {
        out.push(format!("  failed {}: {}: {}", item.item, item.title, item.evidence));
    }
    if let Some((share, _)) = audit::lab_share(document) {
        let process = document.series.iter().find(|it| it.contender == "process" && it.quantity == "ready");
        let median = process.and_then(|it| {
            crate::stats::median(
                &it.samples.iter().filter_map(|it| it.value).map(|it| it as f64).collect::<Vec<_>>(),
            )
        });
        let part =
            median.map_or(String::new(), |it| format!(" ({} of the process row)", percent(share / it)));
        out.push(format!("lab: adds {} to a hand-written loop{part}", crate::units::duration(share)));
    }
}
