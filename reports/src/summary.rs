//! One row per series: what a table prints. Everything is computed from the samples, nothing trimmed.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::Lang;
use crate::curves::Along;
use crate::disk::form_name;
use crate::document::{Accel, Class, Document, Failure, Mode, Parameters, Series, Unit};
use crate::stats::{self, Interval, Ratio};
use crate::transfer::short_name;

/// Name of the row that everything is compared with first: no box at all.
pub const PROCESS: &str = "process";

/// Name of the baseline among virtual machines.
pub const QEMU: &str = "qemu";

/// What the samples of one series say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Index of the series in the document.
    pub series: usize,
    /// Name of the measure.
    pub measure: String,
    /// Which of its quantities.
    pub quantity: String,
    /// How the instances came to be.
    pub mode: Mode,
    /// Name of the contender.
    pub contender: String,
    /// What was held constant.
    pub parameters: Parameters,
    /// Unit of the values.
    pub unit: Unit,
    /// What kind of box the contender makes.
    pub class: Class,
    /// What executes the payload's instructions.
    pub accel: Accel,
    /// Samples with a value.
    pub n: usize,
    /// Samples without one, by reason.
    pub failures: BTreeMap<Failure, usize>,
    /// Share of the starts that succeeded. Samples that say nothing about the contender, because the
    /// user interrupted or the quantity could not be observed, are left out; None where no other is left.
    pub success_rate: Option<f64>,
    /// The middle value.
    pub median: Option<f64>,
    /// Its 95 % bootstrap interval; None with too few samples.
    pub interval: Option<Interval>,
    /// 90 % quantile; None below 100 samples.
    pub p90: Option<f64>,
    /// 99 % quantile; None below 1,000 samples.
    pub p99: Option<f64>,
    /// Smallest value.
    pub min: Option<u64>,
    /// Largest value.
    pub max: Option<u64>,
    /// Against the bare process.
    pub to_process: Option<Comparison>,
    /// Against the baseline virtual machine.
    pub to_qemu: Option<Comparison>,
}

impl Summary {
    /// Whether this is the second visit of the A/A test.
    pub fn is_aa(&self) -> bool {
        self.parameters.aa == Some(true)
    }

    /// What tells it apart in its table: the rung on the ladder, else the contender's name, with its level on
    /// a curve, and with form and transfer; marked where it is the second visit of the A/A test.
    pub fn label(&self, lang: Lang) -> String {
        let mut name = self.parameters.rung.clone().unwrap_or_else(|| self.contender.clone());
        if let Some(along) = Along::of(&self.measure, &self.quantity) {
            name.push_str(&format!(" × {}", along.level(&self.parameters)));
        }
        if let Some(form) = &self.parameters.form {
            name.push_str(&format!(", {}", form_name(form, lang)));
        }
        if let Some(transfer) = &self.parameters.transfer {
            name.push_str(&format!(", {}", short_name(transfer, lang)));
        }
        if self.is_aa() { format!("{name} (A/A)") } else { name }
    }

    /// Number of samples that failed, for whatever reason.
    pub fn failed(&self) -> usize {
        self.failures.values().sum()
    }
}

/// A ratio of one series to another, paired within rounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Name of the contender compared with.
    pub base: String,
    /// The ratio, its interval and the verdict.
    #[serde(flatten)]
    pub ratio: Ratio,
    /// What must be said with it where the two are of different accel classes; never drop it.
    pub caveat: Option<&'static str>,
}

impl Comparison {
    /// The caveat in this language.
    pub fn caveat_in(&self, lang: Lang) -> Option<&'static str> {
        let said = self.caveat?;
        Some(lang.pick(said, CAVEATS.iter().find(|it| it.0 == said).map_or(said, |it| it.1)))
    }
}

/// What [`caveat`] says, in both languages.
const CAVEATS: [(&str, &str); 3] = [
    ("tcg: an upper bound", "tcg：只是上界"),
    ("tcg: an upper bound of the base", "tcg：基准只是上界"),
    ("kvm-nested: slower than kvm on bare metal", "kvm-nested：比裸机上的 kvm 慢"),
];

/// One summary per series, in the document's order.
pub fn summarise(document: &Document) -> Vec<Summary> {
    document.series.iter().enumerate().map(|(index, series)| summary(document, index, series)).collect()
}

fn summary(document: &Document, index: usize, series: &Series) -> Summary {
    let values: Vec<f64> = series.samples.iter().filter_map(|it| it.value).map(|it| it as f64).collect();
    let groups: Vec<Vec<f64>> = stats::values_by_round(series).into_values().collect();
    let mut failures = BTreeMap::new();
    for failure in series.samples.iter().filter_map(|it| it.failure) {
        *failures.entry(failure).or_insert(0) += 1;
    }
    let silent: usize =
        [Failure::Interrupted, Failure::NotMeasured].iter().filter_map(|it| failures.get(it)).sum();
    let tried = series.samples.len() - silent;
    let (class, accel) = kind(document, &series.contender);
    let raw = || series.samples.iter().filter_map(|it| it.value);
    Summary {
        series: index,
        measure: series.measure.clone(),
        quantity: series.quantity.clone(),
        mode: series.mode,
        contender: series.contender.clone(),
        parameters: series.parameters.clone(),
        unit: series.unit,
        class,
        accel,
        n: values.len(),
        success_rate: (tried > 0).then(|| values.len() as f64 / tried as f64),
        failures,
        median: stats::median(&values),
        interval: stats::median_interval_of_groups(&groups, seed(document, series, "median")),
        p90: stats::p90(&values),
        p99: stats::p99(&values),
        min: raw().min(),
        max: raw().max(),
        to_process: against(document, series, PROCESS),
        to_qemu: against(document, series, QEMU),
    }
}

/// Class and accel of a contender. A series without a listed contender is refused by [`crate::check`].
fn kind(document: &Document, name: &str) -> (Class, Accel) {
    let found = document.contenders.iter().find(|it| it.name == name);
    found.map_or((Class::Process, Accel::Native), |it| (it.class, it.accel))
}

/// The series compared with the same measurement of the contender `base`: same measure, quantity, mode and
/// parameters; a tap interface and a veth pair on the bridge are the same. None for the base itself (its second visit of an A/A test is compared), and where there is no
/// such series or no common round.
pub fn against(document: &Document, series: &Series, base: &str) -> Option<Comparison> {
    let main = |it: &Parameters| Parameters { aa: None, ..it.clone() }.any_way();
    let other = document.series.iter().find(|it| {
        it.contender == base
            && (it.contender != series.contender || series.parameters.aa == Some(true))
            && it.parameters.aa != Some(true)
            && (&it.measure, &it.quantity, it.mode) == (&series.measure, &series.quantity, series.mode)
            && main(&it.parameters) == main(&series.parameters)
    })?;
    let (rounds, base_rounds) = (stats::by_round(series), stats::by_round(other));
    Some(Comparison {
        base: base.to_owned(),
        ratio: stats::ratio(&rounds, &base_rounds, seed(document, series, base))?,
        caveat: caveat(kind(document, &series.contender).1, kind(document, base).1),
    })
}

/// What must be said where figures of two accel classes are put in relation.
pub fn caveat(accel: Accel, base: Accel) -> Option<&'static str> {
    match (accel, base) {
        (a, b) if a == b => None,
        (Accel::Tcg, _) => Some(CAVEATS[0].0),
        (_, Accel::Tcg) => Some(CAVEATS[1].0),
        (Accel::KvmNested, _) | (_, Accel::KvmNested) => Some(CAVEATS[2].0),
        _ => None,
    }
}

fn seed(document: &Document, series: &Series, role: &str) -> u64 {
    let aa = if series.parameters.aa == Some(true) { "aa" } else { "" };
    let mut uses = vec![&*series.measure, &series.quantity, &series.contender, aa, role];
    uses.extend(series.parameters.rung.as_deref());
    stats::derive_seed(document.run.seed, &uses)
}
