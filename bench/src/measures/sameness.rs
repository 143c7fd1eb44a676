//! `sameness`: whether one image is the same thing in every box. Each box is started from the same image and asked what
//! it sees: its content, which must be what the image holds, and its box, which is expected to differ.
//!
//! What the image holds is known from what it was made of (`crate::image`), and not from a box that would be believed.

mod look;
mod surroundings;

use std::cell::RefCell;
use std::collections::BTreeMap;

use anyhow::Result;
use tare_reports::document::{Failure, Looked, Parameters, Sameness as Seen, Unit};

use super::{Measure, Pass, without_images};
use crate::contenders::{Contender, Imaged};
use crate::image::{Image, entries, sha256};
use crate::lab::{Failed, Lab};
use crate::record::Visit;
use crate::rounds::Plan;
use crate::run::Profile;
use crate::site::Site;

pub use look::{LEFT_OUT, Look, look};

/// How many differences are kept of a box; the others are counted.
const NAMED: usize = 20;

/// See the file's head.
#[derive(Debug, Default)]
pub struct Sameness {
    /// Made before the first round; or why it cannot be.
    made: RefCell<Option<Result<Made, String>>>,
    /// Who could not take it, and why.
    refused: RefCell<BTreeMap<String, String>>,
}

/// The image, and the lines that follow from what it holds.
#[derive(Debug)]
struct Made {
    image: Image,
    lines: Vec<String>,
}

/// The image that every box is started from.
pub fn image(site: &Site) -> Image {
    let mut image = Image::new(site, "sameness", vec![entries::of_all_kinds()]);
    image.words =
        ["word=plain", "word=with blanks, \"quotes\" and $signs", "word="].map(str::to_owned).into();
    image.env.push("TARE_TEXT=größe = 大小".into());
    image.cwd = "/srv/work".into();
    image
}

impl Measure for Sameness {
    fn name(&self) -> &'static str {
        "sameness"
    }

    fn about(&self) -> &'static str {
        "whether one image is the same in every box, file by file, and in what the boxes differ"
    }

    fn quantities(&self) -> &'static [(&'static str, Unit)] {
        &[("content", Unit::Entries)]
    }

    fn in_profile(&self, profile: Profile) -> bool {
        profile != Profile::Quick
    }

    fn left_out(&self, contender: &dyn Contender) -> Vec<String> {
        let why = without_images(contender.takes_images(), contender);
        why.map(|why| format!("measure {} of {}: {why}", self.name(), contender.name())).into_iter().collect()
    }

    fn passes(&self) -> Vec<&dyn Pass> {
        vec![self]
    }
}

impl Pass for Sameness {
    fn settings(&self, contender: &dyn Contender) -> Vec<Parameters> {
        match without_images(contender.takes_images(), contender) {
            Some(_) => Vec::new(),
            None => vec![Parameters::default()],
        }
    }

    /// No time is measured.
    fn single_starts(&self) -> bool {
        false
    }

    fn plan(&self, run: Plan) -> Plan {
        // It is the same each time, or it is a finding.
        Plan { rounds: run.rounds.min(3), budget: run.budget.map(|it| it / 10) }
    }

    fn warm_up(&self, _: &mut Lab, site: &Site, contender: &mut dyn Contender) {
        let mut made = self.made.borrow_mut();
        let Ok(Made { image, .. }) = made.get_or_insert_with(|| make(site, contender)) else { return };
        if let Err(error) = contender.take_image(site, image) {
            self.refused.borrow_mut().insert(contender.name().to_owned(), format!("{error:#}"));
        }
    }

    fn visit(&self, lab: &mut Lab, site: &Site, contender: &mut dyn Contender, visit: &mut Visit<'_>) {
        let made = self.made.borrow();
        let Made { image, lines } = match made.as_ref() {
            Some(Ok(made)) => made,
            Some(Err(why)) => return refuse(visit, format!("the image was not made: {why}")),
            None => return refuse(visit, "the image was not made".into()),
        };
        if let Some(why) = self.refused.borrow().get(contender.name()) {
            return refuse(visit, format!("the image was not taken: {why}"));
        }
        let looked = look(lab, site, &mut Imaged::of(contender, image), lines);
        let outcome = looked.map(|looked| {
            visit.not_applied(&looked.not_applied);
            let found = looked.differences.len() as u64;
            note(visit, lines, looked);
            found
        });
        visit.outcome("content", Unit::Entries, outcome);
    }
}

/// The image, made; scripted boxes need no files of it.
fn make(site: &Site, contender: &dyn Contender) -> Result<Made, String> {
    let image = image(site);
    if !contender.is_scripted() {
        image.make().map_err(|error| format!("{error:#}"))?;
    }
    let lines = image.lines(&LEFT_OUT);
    Ok(Made { image, lines })
}

fn refuse(visit: &mut Visit<'_>, why: String) {
    visit.outcome("content", Unit::Entries, Err(Failed::new(Failure::Start, why)));
}

/// Keeps what was seen; of several visits the one in which most was different.
fn note(visit: &mut Visit<'_>, lines: &[String], look: Look) {
    let seen = visit.record.document.sameness.get_or_insert_with(|| Seen {
        image: sha256(format!("{}\n", lines.join("\n")).as_bytes()),
        entries: lines.len() as u64,
        left_out: LEFT_OUT.map(str::to_owned).into(),
        boxes: Vec::new(),
    });
    let found = look.differences.len() as u64;
    let looked = Looked {
        contender: visit.contender.to_owned(),
        digest: look.digest,
        entries: look.entries,
        differ: found,
        differences: look.differences.into_iter().take(NAMED).collect(),
        beside: look.beside,
        surroundings: look.surroundings,
    };
    match seen.boxes.iter_mut().find(|it| it.contender == visit.contender) {
        Some(known) if known.differ >= found => {}
        Some(known) => *known = looked,
        None => seen.boxes.push(looked),
    }
}
