//! Keeping what was seen: every sample goes to `samples.jsonl` the moment it exists, and into the document.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use tare_reports::document::{Binding, Document, Fetch, HostChange, Mode, Parameters, Sample, Series, Unit};

use crate::lab::Failed;

/// A run's directory: `result.json`, `samples.jsonl`, the page.
#[derive(Debug)]
pub struct Record {
    dir: PathBuf,
    samples: File,
    /// What will be written as `result.json`.
    pub document: Document,
    /// What the time did not allow.
    pub unfit: Vec<Unfit>,
    broken: Option<std::io::Error>,
}

/// A contender that a profile's time allowed too few visits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// Its name.
    pub contender: String,
    /// What was asked.
    pub measure: String,
    /// Whether that changes the host.
    pub on_host: bool,
    /// So many rounds of a run are enough of those that it gets.
    pub rounds: u32,
    /// Visits made.
    pub visits: u32,
    /// The longest of them.
    pub longest: Duration,
}

impl Unfit {
    /// What did not fit, in words.
    pub fn reason(&self) -> String {
        reason(&[self])
    }

    /// The command that measures it.
    pub fn fix(&self) -> String {
        fix(&[self])
    }
}

/// What did not fit of one measure, in words.
fn reason(unfit: &[&Unfit]) -> String {
    let Some(first) = unfit.first() else { return String::new() };
    let visits = || unfit.iter().map(|it| it.visits);
    let (least, most) = (visits().min().unwrap_or(0), visits().max().unwrap_or(0));
    let longest = unfit.iter().map(|it| it.longest).max().unwrap_or_default();
    let took =
        if most == 0 { String::new() } else { format!(", taking up to {:.1} s", longest.as_secs_f64()) };
    let count = if least == most { most.to_string() } else { format!("{least} to {most}") };
    let visits = if most == 1 { "visit" } else { "visits" };
    let each = if unfit.len() > 1 { " each" } else { "" };
    let flag = if first.on_host { " with --allow-host" } else { "" };
    format!("the profile's time allowed {count} {visits}{each} for {}{flag}{took}", first.measure)
}

/// The command that measures it.
fn fix(unfit: &[&Unfit]) -> String {
    let Some(first) = unfit.first() else { return String::new() };
    let rounds = unfit.iter().map(|it| it.rounds).max().unwrap_or(0);
    let names: Vec<&str> = unfit.iter().map(|it| &*it.contender).collect();
    let flag = if first.on_host { " --allow-host" } else { "" };
    format!("tare run {}{flag} --only {} --rounds {rounds}", first.measure, names.join(","))
}

/// A line of `samples.jsonl`: a sample with the names of its series.
#[derive(Serialize)]
struct Line<'a> {
    measure: &'a str,
    quantity: &'a str,
    mode: Mode,
    contender: &'a str,
    unit: Unit,
    parameters: &'a Parameters,
    #[serde(flatten)]
    sample: &'a Sample,
}

impl Record {
    /// Makes the run's directory below `out` and points `latest` to it.
    ///
    /// # Errors
    /// When it exists or cannot be made.
    pub fn create(out: &Path, document: Document) -> Result<Self> {
        let dir = out.join(&document.run.id);
        fs::create_dir_all(out).with_context(|| format!("make the directory {}", out.display()))?;
        fs::create_dir(&dir).with_context(|| format!("make the directory {}", dir.display()))?;
        let path = dir.join("samples.jsonl");
        let samples = File::create(&path).with_context(|| format!("make {}", path.display()))?;
        point_latest(out, &document.run.id)?;
        Ok(Self { dir, samples, document, unfit: Vec::new(), broken: None })
    }

    /// The run's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes `result.json` by a temporary name and a rename.
    ///
    /// # Errors
    /// When it, or an earlier line of `samples.jsonl`, could not be written.
    pub fn save(&mut self) -> Result<()> {
        if let Some(error) = self.broken.take() {
            return Err(error).with_context(|| format!("write {}", self.dir.join("samples.jsonl").display()));
        }
        tare_reports::write(&self.document, &self.dir.join("result.json"))?;
        Ok(())
    }

    /// Lists the contenders that the time allowed too few visits of one pass, in one line; of the passes of a measure
    /// one tells of a contender.
    pub fn note_unfit(&mut self, mut unfit: Vec<Unfit>) {
        let what = |it: &Unfit| (it.contender.clone(), it.measure.clone(), it.on_host);
        unfit.retain(|it| !self.unfit.iter().any(|known| what(known) == what(it)));
        let all: Vec<&Unfit> = unfit.iter().collect();
        let names: Vec<&str> = unfit.iter().map(|it| &*it.contender).collect();
        let who = match *names {
            [] => return,
            [name] => format!("contender {name}"),
            _ => format!("{} contenders", names.len()),
        };
        self.document.run.left_out.push(format!("{who}: {}: {}", reason(&all), fix(&all)));
        self.unfit.append(&mut unfit);
    }

    /// Notes that something of the host was changed: once for each setting and value, with how often.
    pub fn note_host_change(&mut self, change: HostChange) {
        let changes = &mut self.document.run.host_changes;
        let same = |it: &&mut HostChange| (&it.setting, &it.written) == (&change.setting, &change.written);
        match changes.iter_mut().find(same) {
            Some(known) => known.times += change.times,
            None => changes.push(change),
        }
    }

    fn push(&mut self, name: Name<'_>, unit: Unit, sample: Sample) {
        let found = self.document.series.iter().position(|it| name.is_of(it));
        let Name { measure, quantity, contender, mode, parameters } = name;
        let line = Line { measure, quantity, mode, contender, unit, parameters, sample: &sample };
        let written = serde_json::to_vec(&line).map_err(std::io::Error::from).and_then(|mut bytes| {
            bytes.push(b'\n');
            self.samples.write_all(&bytes)
        });
        if let Err(error) = written {
            // Told at the next save: a sample under way is not interrupted by a full disk.
            self.broken.get_or_insert(error);
        }
        let series = &mut self.document.series;
        let at = found.unwrap_or_else(|| {
            series.push(Series {
                measure: measure.into(),
                quantity: quantity.into(),
                mode,
                contender: contender.into(),
                unit,
                predicted: false,
                binding: None,
                parameters: parameters.clone(),
                samples: Vec::new(),
            });
            series.len() - 1
        });
        series[at].samples.push(sample);
    }
}

struct Name<'a> {
    measure: &'a str,
    quantity: &'a str,
    contender: &'a str,
    mode: Mode,
    parameters: &'a Parameters,
}

impl Name<'_> {
    fn is_of(&self, series: &Series) -> bool {
        series.measure == self.measure
            && series.quantity == self.quantity
            && series.contender == self.contender
            && series.mode == self.mode
            && series.parameters == *self.parameters
            // What is found does not go to what was predicted of it.
            && !series.predicted
    }
}

/// One visit to one contender: where its samples belong.
#[derive(Debug)]
pub struct Visit<'a> {
    /// Where they go.
    pub record: &'a mut Record,
    /// The measure that asks.
    pub measure: &'a str,
    /// The contender visited.
    pub contender: &'a str,
    /// What state boxes start from.
    pub mode: Mode,
    /// Number of the round.
    pub round: u32,
    /// Place within the round's order.
    pub position: u32,
    /// What is held constant.
    pub parameters: &'a Parameters,
}

impl Visit<'_> {
    /// The same visit where other things are held constant: for one that brings samples to several series.
    pub fn at<'b>(&'b mut self, parameters: &'b Parameters) -> Visit<'b> {
        let Self { measure, contender, mode, round, position, .. } = *self;
        Visit { record: self.record, measure, contender, mode, round, position, parameters }
    }

    /// Records what came of a quantity.
    pub fn outcome(&mut self, quantity: &str, unit: Unit, outcome: Result<u64, Failed>) {
        self.parted(quantity, unit, outcome.map(|value| (value, BTreeMap::new())));
    }

    /// Records for each of these quantities why it has no value.
    pub fn nothing(&mut self, quantities: &[(&str, Unit)], failed: &Failed) {
        for (quantity, unit) in quantities {
            self.outcome(quantity, *unit, Err(failed.clone()));
        }
    }

    /// As [`outcome`](Self::outcome), for a value with named parts, ns.
    pub fn parted(
        &mut self,
        quantity: &str,
        unit: Unit,
        outcome: Result<(u64, BTreeMap<String, u64>), Failed>,
    ) {
        let sample =
            outcome.map(|(value, spans)| Sample { spans, ..Sample::value(self.round, self.position, value) });
        self.push(quantity, unit, sample);
    }

    /// As [`outcome`](Self::outcome), for bytes with the lines of a ledger.
    pub fn accounted(&mut self, quantity: &str, outcome: Result<(u64, BTreeMap<String, i64>), Failed>) {
        let sample =
            outcome.map(|(value, parts)| Sample { parts, ..Sample::value(self.round, self.position, value) });
        self.push(quantity, Unit::Bytes, sample);
    }

    fn push(&mut self, quantity: &str, unit: Unit, sample: Result<Sample, Failed>) {
        let failed = |f: Failed| Sample::failure(self.round, self.position, f.failure, f.detail);
        let sample = sample.unwrap_or_else(failed);
        let Self { measure, contender, mode, parameters, .. } = *self;
        self.record.push(Name { measure, quantity, contender, mode, parameters }, unit, sample);
    }

    /// Says what ended the search whose result was [recorded](Self::outcome) last.
    pub fn bound_by(&mut self, quantity: &str, binding: Binding) {
        let Self { measure, contender, mode, parameters, .. } = *self;
        let name = Name { measure, quantity, contender, mode, parameters };
        if let Some(series) = self.record.document.series.iter_mut().find(|it| name.is_of(it)) {
            series.binding = Some(binding);
        }
    }

    /// Notes in the contender's row how it fetches images, the first time.
    pub fn fetched_by(&mut self, fetch: Fetch) {
        let row = self.record.document.contenders.iter_mut().find(|row| row.name == self.contender);
        if let Some(row) = row {
            row.fetch.get_or_insert(fetch);
        }
    }

    /// Notes in the contender's row what of the common box was not applied.
    pub fn not_applied(&mut self, notes: &[String]) {
        let row = self.record.document.contenders.iter_mut().find(|row| row.name == self.contender);
        let Some(row) = row else { return };
        for note in notes {
            if !row.not_expressed.contains(note) {
                row.not_expressed.push(note.clone());
            }
        }
    }
}

pub(crate) fn point_latest(out: &Path, run: &str) -> Result<()> {
    let (link, new) = (out.join("latest"), out.join(format!(".latest-{run}")));
    std::os::unix::fs::symlink(run, &new).with_context(|| format!("make {}", new.display()))?;
    fs::rename(&new, &link).with_context(|| format!("point {} to {run}", link.display()))
}
