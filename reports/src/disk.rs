//! What images and boxes take on disk: the figures of each contender beside each other.

use crate::Lang;
use crate::document::{Class, Document, Series, Unit};
use crate::stats;

/// Name of the measure.
pub const MEASURE: &str = "disk";

/// A way of keeping an image, in this language.
pub(crate) fn form_name(form: &str, lang: Lang) -> &str {
    match form {
        "qcow2 on a backing file" => lang.pick(form, "基于后备文件的 qcow2"),
        "whole copy" => lang.pick(form, "完整副本"),
        other => other,
    }
}

/// What one contender keeps, in one of the ways in which it can.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// Who keeps it.
    pub contender: String,
    /// What kind of box it makes.
    pub class: Class,
    /// In which of several ways; none where there is one.
    pub form: Option<String>,
    /// Median of what an image takes, bytes.
    pub image: Option<f64>,
    /// Of what a second one takes that shares all layers but the last.
    pub second: Option<f64>,
    /// Of what one more box takes that has written nothing.
    pub instance: Option<f64>,
    /// Of what it takes after it has written.
    pub written: Option<f64>,
}

impl Kept {
    /// The unit of all its figures.
    pub const UNIT: Unit = Unit::Bytes;

    /// What a second image takes as a share of the first.
    pub fn share(&self) -> Option<f64> {
        Some(self.second? / self.image.filter(|it| *it > 0.0)?)
    }

    /// Name and form.
    pub fn label(&self, lang: Lang) -> String {
        let form = self.form.as_ref().map_or(String::new(), |it| format!(", {}", form_name(it, lang)));
        format!("{}{form}", self.contender)
    }
}

/// Of every contender that was weighed, in the document's order of contenders.
pub fn kept(document: &Document) -> Vec<Kept> {
    let own = |it: &&Series| it.measure == MEASURE && it.parameters.aa != Some(true);
    let mut all: Vec<Kept> = Vec::new();
    for row in &document.contenders {
        let own = |it: &&Series| own(it) && it.parameters.transfer.is_none() && it.contender == row.name;
        for series in document.series.iter().filter(own) {
            let form = &series.parameters.form;
            let at = all.iter().position(|it| it.contender == row.name && it.form == *form);
            let at = at.unwrap_or_else(|| {
                all.push(Kept {
                    contender: row.name.clone(),
                    class: row.class,
                    form: form.clone(),
                    image: None,
                    second: None,
                    instance: None,
                    written: None,
                });
                all.len() - 1
            });
            match series.quantity.as_str() {
                "image" => all[at].image = median(series),
                "second" => all[at].second = median(series),
                "instance" => all[at].instance = median(series),
                "written" => all[at].written = median(series),
                _ => {}
            }
        }
    }
    all
}

fn median(series: &Series) -> Option<f64> {
    let values: Vec<f64> = series.samples.iter().filter_map(|it| it.value).map(|it| it as f64).collect();
    stats::median(&values)
}
