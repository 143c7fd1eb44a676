//! `disk`: what an image takes on disk, what a second one takes that shares its layers, what one more box takes, and what
//! that is once it has written; and in rounds of their own how they come here (`transfer`).
//!
//! By the blocks of what lies in the directories that a contender keeps images and boxes in, each file once, before and
//! after. Every visit has images of its own, whose bytes nobody has seen before.

mod kept;
mod made;
mod transfer;

use tare_reports::document::{Failure, Parameters, Unit};

use super::since::since;
use super::{Measure, Pass, without_images};
use crate::contenders::{Contender, Imaged};
use crate::image::Image;
use crate::lab::{Failed, Instance, Lab};
use crate::record::Visit;
use crate::rounds::Plan;
use crate::run::Profile;
use crate::site::Site;

pub use kept::allocated;

/// What is weighed, in the order of a visit.
const QUANTITIES: [(&str, Unit); 4] =
    [("image", Unit::Bytes), ("second", Unit::Bytes), ("instance", Unit::Bytes), ("written", Unit::Bytes)];
/// The same with what the transfers bring.
const ALL: [(&str, Unit); 6] = [
    QUANTITIES[0],
    QUANTITIES[1],
    QUANTITIES[2],
    QUANTITIES[3],
    transfer::QUANTITIES[0],
    transfer::QUANTITIES[1],
];

/// Who has more, in words, where there is less.
const KEEPS: &str = "what is kept takes";
/// Boxes that are looked at together: an engine's own notes come in steps.
const BOXES: u32 = 4;
/// What each of them writes, KiB.
const WRITES: u32 = 1024;

/// See the file's head.
#[derive(Debug)]
pub struct Disk;

impl Measure for Disk {
    fn name(&self) -> &'static str {
        "disk"
    }

    fn about(&self) -> &'static str {
        "what an image takes on disk, another that shares its layers, and one more box; and what it takes to fetch \
         them: time, and bytes that travel"
    }

    fn quantities(&self) -> &'static [(&'static str, Unit)] {
        &ALL
    }

    fn in_profile(&self, profile: Profile) -> bool {
        profile != Profile::Quick
    }

    fn left_out(&self, contender: &dyn Contender) -> Vec<String> {
        let said =
            |of: &str, why: &str| format!("measure {} of {}{of}: {why}", self.name(), contender.name());
        let weighed = without_images(contender.keeps_images().map(drop), contender);
        match (weighed, transfer::without(contender)) {
            (Some(why), Some(_)) => vec![said("", why)],
            (weighed, fetched) => {
                let weighed = weighed.map(|why| said(", what it keeps", why));
                weighed.into_iter().chain(fetched.map(|why| said(", what it fetches", why))).collect()
            }
        }
    }

    fn passes(&self) -> Vec<&dyn Pass> {
        vec![self, &transfer::Transfer]
    }
}

impl Pass for Disk {
    fn settings(&self, contender: &dyn Contender) -> Vec<Parameters> {
        let of = |form: Option<&str>| Parameters {
            instances: Some(BOXES),
            form: form.map(str::to_owned),
            ..Parameters::default()
        };
        match contender.keeps_images() {
            taken if without_images(taken.map(drop), contender).is_some() => Vec::new(),
            Err(_) => Vec::new(),
            Ok([]) => vec![of(None)],
            Ok(forms) => forms.iter().map(|form| of(Some(*form))).collect(),
        }
    }

    /// Several boxes at once, and no time.
    fn single_starts(&self) -> bool {
        false
    }

    fn plan(&self, run: Plan) -> Plan {
        // Blocks do not wander; three looks tell whether they do.
        Plan { rounds: run.rounds.min(3), budget: run.budget.map(|it| it / 5) }
    }

    fn visit(&self, lab: &mut Lab, site: &Site, contender: &mut dyn Contender, visit: &mut Visit<'_>) {
        let outcomes = weigh(lab, site, contender, visit);
        for ((quantity, unit), outcome) in QUANTITIES.into_iter().zip(outcomes) {
            visit.outcome(quantity, unit, outcome);
        }
    }
}

/// What came of each quantity, as far as it came; the others have the reason of the first that failed.
fn weigh(
    lab: &mut Lab,
    site: &Site,
    contender: &mut dyn Contender,
    visit: &Visit<'_>,
) -> [Result<u64, Failed>; QUANTITIES.len()] {
    let mut found = Vec::new();
    let ended = each(lab, site, contender, visit, &mut found);
    let mut outcomes = found.into_iter().map(Ok);
    std::array::from_fn(|_| {
        let missing = || Err(Failed::new(Failure::NotMeasured, "the visit ended before"));
        outcomes.next().unwrap_or_else(|| ended.clone().map_or_else(Err, |()| missing()))
    })
}

fn each(
    lab: &mut Lab,
    site: &Site,
    contender: &mut dyn Contender,
    visit: &Visit<'_>,
    found: &mut Vec<u64>,
) -> Result<(), Failed> {
    let form = visit.parameters.form.as_deref();
    if contender.is_scripted() {
        found.extend(scripted(lab, site, contender)?);
        return Ok(());
    }
    let failed = |error: anyhow::Error| Failed::new(Failure::Start, format!("{error:#}"));
    let words = form.unwrap_or_default().split(' ').next().unwrap_or_default();
    let name = format!("disk-{}-{}{}", contender.name(), words, visit.round);
    let images = made::images(site, &name, form).map_err(failed)?;
    let weighed = of_images(lab, site, contender, &images, found);
    // The next visit has others, and the lab's own files of these would only fill the disk.
    let removed = images.iter().try_for_each(Image::remove);
    weighed.and(removed.map_err(|error| Failed::new(Failure::Leak, format!("{error:#}"))))
}

/// The figures of two images, one after another, and of boxes of the first.
fn of_images(
    lab: &mut Lab,
    site: &Site,
    contender: &mut dyn Contender,
    [first, second]: &[Image; 2],
    found: &mut Vec<u64>,
) -> Result<(), Failed> {
    let failed = |error: anyhow::Error| Failed::new(Failure::Start, format!("{error:#}"));
    let weigh = |contender: &dyn Contender| -> Result<u64, Failed> {
        let places =
            [first, second].into_iter().flat_map(|it| contender.keeps_in(site, it)).collect::<Vec<_>>();
        allocated(&places).map_err(|e| Failed::new(Failure::NotMeasured, format!("look what is kept: {e}")))
    };
    let mut before = weigh(contender)?;
    for image in [first, second] {
        contender.take_image(site, image).map_err(failed)?;
        let now = weigh(contender)?;
        found.push(since(KEEPS, now, before)?);
        before = now;
    }
    let mut herd = Vec::new();
    lab.hold(&mut Imaged::of(contender, first), site, &mut herd, BOXES)?;
    let each = |now: u64| Ok(since(KEEPS, now, before)? / u64::from(BOXES));
    let looked = weigh(contender).and_then(|idle| {
        found.push(each(idle)?);
        write(lab, site, contender, &mut herd)?;
        found.push(each(weigh(contender)?)?);
        Ok(())
    });
    // The same boxes are taken down by whoever started them.
    let mut imaged = Imaged::again(contender, first, site, &herd);
    match looked {
        Ok(()) => lab.release(&mut imaged, site, herd),
        Err(failed) => {
            lab.drop_herd(&mut imaged, site, herd);
            Err(failed)
        }
    }
}

/// Has every box write, to the disk.
fn write(lab: &mut Lab, site: &Site, contender: &dyn Contender, herd: &mut [Instance]) -> Result<(), Failed> {
    let line = format!("write {WRITES}");
    herd.iter_mut().try_for_each(|it| lab.alive(contender, site, it, Some(&line)))
}

/// The figures of a script, one for each quantity.
fn scripted(lab: &mut Lab, site: &Site, contender: &mut dyn Contender) -> Result<Vec<u64>, Failed> {
    let instance = lab.start(contender, site)?;
    let figures = instance.scripted_disk().to_vec();
    lab.stop(contender, site, instance).teardown_ns?;
    Ok(figures)
}
