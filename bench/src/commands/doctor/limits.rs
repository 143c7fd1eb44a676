//! `tare doctor --instances N`: need against limit.

use std::fmt::Write;

use anyhow::Result;
use serde::Serialize;
use tare_reports::document::Unit;
use tare_reports::units;

use crate::cli::DoctorArgs;
use crate::contenders::{Contender, Needs};
use crate::host::limits::{self, Asked, Limit, MemoryNeed};
use crate::run::{Selection, able};
use crate::site::ParentCgroup;

/// Whose table is printed where nobody is named.
const OURS: &str = "tare";

/// What so many boxes of one contender need against what there is.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    contender: String,
    instances: u32,
    /// Whether every limit allows so many.
    allowed: bool,
    /// The largest number that every limit allows.
    largest: Option<u64>,
    /// What the limit that is reached first counts.
    binding: Option<&'static str>,
    needs: Needs,
    memory: MemoryNeed,
    limits: Vec<Limit>,
}

/// Asks every limit for every contender that can run here.
///
/// # Errors
/// For a contender's name that nothing has.
pub(super) fn look(args: &DoctorArgs) -> Result<Vec<Answer>> {
    let Some(instances) = args.instances else { return Ok(Vec::new()) };
    if let Some(parent) = &args.parent_cgroup {
        parent.directories()?;
    }
    let parent = args.parent_cgroup.as_ref().map(ParentCgroup::path);
    let earlier = newest(&args.out)?;
    let contenders = able(&Selection { only: args.only.clone(), ..Selection::default() })?;
    let boxes = contenders.iter().filter(|it| it.can_be_held() && !it.is_scripted());
    let answer = |it: &dyn Contender| {
        let class = it.description().class;
        let memory = MemoryNeed::of(earlier.as_ref(), it.name(), class);
        let needs = it.needs();
        let limits = limits::of(&Asked::of(it, &memory, parent));
        let binding = limits::binding(&limits);
        let largest = binding.and_then(Limit::largest);
        Answer {
            contender: it.name().to_owned(),
            instances,
            allowed: largest.is_none_or(|it| it >= instances.into()),
            largest,
            binding: binding.map(|it| it.resource),
            needs,
            memory,
            limits,
        }
    };
    Ok(boxes.map(|it| answer(it.as_ref())).collect())
}

/// The newest run, where there is one. One that is there and cannot be read is said, not passed over.
fn newest(runs: &std::path::Path) -> Result<Option<tare_reports::document::Document>> {
    match tare_reports::read(&runs.join("latest/result.json")) {
        Ok(document) => Ok(Some(document)),
        Err(tare_reports::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The tables of those named, or of our own, and a line for each other.
pub(super) fn text(answers: &[Answer], named: &[String]) -> Result<String> {
    let mut out = String::new();
    for answer in answers {
        let Answer { contender, instances, .. } = answer;
        let name = if named.is_empty() { contender == OURS } else { named.contains(contender) };
        writeln!(out, "what {instances} boxes of {contender} need: {}", verdict(answer))?;
        if name {
            table(&mut out, answer)?;
        }
    }
    Ok(out)
}

fn verdict(answer: &Answer) -> String {
    let Some((limit, largest)) = limits::binding(&answer.limits).and_then(|it| Some((it, it.largest()?)))
    else {
        return "nothing that is limited here".into();
    };
    let first = format!("{} [{}]", limit.what, limit.set_in);
    if answer.allowed {
        format!("allowed; {first} would be reached first, at {largest}")
    } else {
        format!("NOT allowed; no more than {largest} by {first}")
    }
}

fn table(out: &mut String, answer: &Answer) -> Result<()> {
    row(out, ["", "a box", "in use", "limit", "largest N"].map(String::from), "")?;
    for limit in &answer.limits {
        let shown = |value: u64| match limit.bytes {
            true => units::value(value as f64, Unit::Bytes),
            false => value.to_string(),
        };
        let most = limit.limit.map_or_else(|| "none".into(), shown);
        let largest = limit.largest().map_or_else(|| "-".into(), |it| it.to_string());
        let figures = [limit.resource.into(), shown(limit.per_box), shown(limit.in_use), most, largest];
        row(out, figures, &format!("{} [{}]", limit.what, limit.set_in))?;
    }
    writeln!(out, "  memory of a box: {}", answer.memory.source)?;
    Ok(writeln!(out, "  all else of a box: the contender's claim, kept by bench/tests/needs.rs")?)
}

fn row(out: &mut String, [resource, need, in_use, limit, largest]: [String; 5], what: &str) -> Result<()> {
    let line = format!("  {resource:<11} {need:>10} {in_use:>10} {limit:>11} {largest:>10}  {what}");
    Ok(writeln!(out, "{}", line.trim_end())?)
}
