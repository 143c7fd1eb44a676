//! How images come to a host: time and bytes of each transfer, of each contender in each of its ways.

use crate::Lang;
use crate::disk::{MEASURE, form_name};
use crate::document::{Class, Document, Series, Unit};
use crate::stats::{self, Interval, Ratio};

/// The transfers of one visit, in their order; also the values of the parameter `transfer`.
pub const STEPS: [&str; 3] = ["first", "second", "update"];

/// A transfer in one word, in this language.
pub(crate) fn short_name(step: &str, lang: Lang) -> &str {
    match step {
        "first" => lang.pick(step, "首个"),
        "second" => lang.pick(step, "第二个"),
        "update" => lang.pick(step, "更新"),
        other => other,
    }
}

/// What one contender fetched, in one of the ways in which it can.
#[derive(Debug, Clone, PartialEq)]
pub struct Fetched {
    /// Who fetched.
    pub contender: String,
    /// What kind of box it makes.
    pub class: Class,
    /// In which of several ways; none where there is one.
    pub form: Option<String>,
    /// Each transfer, in the order of [`STEPS`].
    pub steps: [Step; 3],
}

/// One transfer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Step {
    /// How long it took, ns.
    pub time: Figure,
    /// What travelled, bytes.
    pub wire: Figure,
}

/// What the samples of one quantity say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figure {
    /// Samples with a value.
    pub n: usize,
    /// Samples without one.
    pub failed: usize,
    /// The middle value.
    pub median: Option<f64>,
    /// Its 95 % interval; None with too few samples.
    pub interval: Option<Interval>,
    /// What it is of the first transfer's, paired within rounds; None for the first itself.
    pub of_first: Option<Ratio>,
}

impl Fetched {
    /// The unit of each transfer's time.
    pub const TIME: Unit = Unit::Ns;
    /// The unit of what travels.
    pub const WIRE: Unit = Unit::Bytes;

    /// Name and form.
    pub fn label(&self, lang: Lang) -> String {
        let form = self.form.as_ref().map_or(String::new(), |it| format!(", {}", form_name(it, lang)));
        format!("{}{form}", self.contender)
    }
}

/// Of every contender that fetched, in the document's order of contenders.
pub fn fetched(document: &Document) -> Vec<Fetched> {
    let own = |it: &&Series| {
        it.measure == MEASURE && it.parameters.aa != Some(true) && it.parameters.transfer.is_some()
    };
    let mut all: Vec<Fetched> = Vec::new();
    for row in &document.contenders {
        for series in document.series.iter().filter(own).filter(|it| it.contender == row.name) {
            let form = &series.parameters.form;
            if !all.iter().any(|it| it.contender == row.name && it.form == *form) {
                let steps = STEPS.map(|step| Step {
                    time: figure(document, series, "pull", step),
                    wire: figure(document, series, "wire", step),
                });
                all.push(Fetched {
                    contender: row.name.clone(),
                    class: row.class,
                    form: form.clone(),
                    steps,
                });
            }
        }
    }
    all
}

/// A quantity of one transfer of whoever made this series, in the same way.
fn figure(document: &Document, like: &Series, quantity: &str, step: &str) -> Figure {
    let of = |step: &str| {
        document.series.iter().find(|it| {
            (&it.measure, it.quantity.as_str(), &it.contender) == (&like.measure, quantity, &like.contender)
                && it.parameters.form == like.parameters.form
                && it.parameters.aa == like.parameters.aa
                && it.parameters.transfer.as_deref() == Some(step)
        })
    };
    let Some(series) = of(step) else { return Figure::default() };
    let seed = |role| {
        let form = like.parameters.form.as_deref().unwrap_or("");
        stats::derive_seed(document.run.seed, &[MEASURE, quantity, &like.contender, form, step, role])
    };
    let values: Vec<f64> = series.samples.iter().filter_map(|it| it.value).map(|it| it as f64).collect();
    let first = of(STEPS[0]).filter(|_| step != STEPS[0]);
    Figure {
        n: values.len(),
        failed: series.samples.len() - values.len(),
        median: stats::median(&values),
        interval: stats::median_interval(&values, seed("median")),
        of_first: first
            .and_then(|first| stats::ratio(&stats::by_round(series), &stats::by_round(first), seed("ratio"))),
    }
}
