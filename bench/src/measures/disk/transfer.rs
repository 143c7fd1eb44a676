//! How an image comes to this host: the first one whole, then another that shares its layers, then the first once more
//! after one of its layers has changed. Of each how long it takes, and how many bytes travel.
//!
//! From a registry of the lab's own (`crate::registry`), started anew for each visit, over a line that counts. What a
//! contender fetches, and by which commands, is its own (`Fetches`). Afterwards a box of it is asked what it sees.

use std::time::Duration;

use nix::unistd::syncfs;
use tare_reports::document::{Failure, Fetch, Parameters, Unit};
use tare_reports::transfer::STEPS;

use super::made;
use crate::contenders::{Contender, Fetches, Imaged, Parcel};
use crate::lab::{Failed, Lab};
use crate::measures::sameness::{LEFT_OUT, look};
use crate::measures::{Pass, without_images};
use crate::record::Visit;
use crate::registry::{Line, Registry};
use crate::rounds::Plan;
use crate::site::Site;

/// What each transfer brings.
pub(super) const QUANTITIES: [(&str, Unit); 2] = [("pull", Unit::Ns), ("wire", Unit::Bytes)];

/// How long one transfer may take.
const WITHIN: Duration = Duration::from_secs(60);

/// See the file's head.
#[derive(Debug)]
pub(super) struct Transfer;

/// Why this contender fetches nothing here.
pub(super) fn without(contender: &dyn Contender) -> Option<&'static str> {
    without_images(contender.fetches().map(drop), contender)
}

impl Pass for Transfer {
    fn settings(&self, contender: &dyn Contender) -> Vec<Parameters> {
        let of = |form: Option<&str>| Parameters { form: form.map(str::to_owned), ..Parameters::default() };
        match contender.fetches() {
            Ok(it) if without(contender).is_none() => match it.ways() {
                [] => vec![of(None)],
                ways => ways.iter().map(|way| of(Some(*way))).collect(),
            },
            _ => Vec::new(),
        }
    }

    fn plan(&self, run: Plan) -> Plan {
        // Each visit makes images, packs and publishes them: some seconds around half a second that is timed.
        Plan { rounds: run.rounds.min(12), budget: run.budget.map(|it| it / 5) }
    }

    fn visit(&self, lab: &mut Lab, site: &Site, contender: &mut dyn Contender, visit: &mut Visit<'_>) {
        let mut found = Vec::new();
        let ended = match contender.is_scripted() {
            true => scripted(lab, site, contender, &mut found),
            false => each(lab, site, contender, visit, &mut found),
        };
        let missing = || Failed::new(Failure::NotMeasured, "the visit ended before");
        for (number, step) in STEPS.into_iter().enumerate() {
            // Each that came to an end has its figures; the others the reason of the first that did not.
            let outcome =
                found.get(number).copied().ok_or_else(|| ended.clone().err().unwrap_or_else(missing));
            let parameters = Parameters { transfer: Some(step.into()), ..visit.parameters.clone() };
            let mut visit = visit.at(&parameters);
            for (place, (quantity, unit)) in QUANTITIES.into_iter().enumerate() {
                visit.outcome(quantity, unit, outcome.clone().map(|it| it[place]));
            }
        }
    }
}

/// What a script says of its transfers.
fn scripted(
    lab: &mut Lab,
    site: &Site,
    contender: &mut dyn Contender,
    found: &mut Vec<[u64; 2]>,
) -> Result<(), Failed> {
    let instance = lab.start(contender, site)?;
    found.extend(instance.scripted_transfers().iter().take(STEPS.len()));
    lab.stop(contender, site, instance).teardown_ns.map(drop)
}

/// All of one visit. Nothing of it is left whatever happens; what cannot be taken away fails it.
fn each(
    lab: &mut Lab,
    site: &Site,
    contender: &mut dyn Contender,
    visit: &mut Visit<'_>,
    found: &mut Vec<[u64; 2]>,
) -> Result<(), Failed> {
    let way = visit.parameters.form.clone();
    let words = way.as_deref().unwrap_or_default().split(' ').next().unwrap_or_default();
    let again = if visit.parameters.aa == Some(true) { "again" } else { "once" };
    let repository = format!("pull-{}-{words}{}-{again}", contender.name(), visit.round);
    let images = made::sharing(site, &repository, STEPS);
    let mut parcels: Vec<Parcel> = Vec::new();
    for (transfer, mut image) in STEPS.into_iter().zip(images) {
        image.tag = String::new();
        let before = parcels.iter().map(|it| it.image.clone()).collect();
        let tag = if transfer == "update" { "first" } else { transfer };
        let (repository, way) = (repository.clone(), way.clone());
        parcels.push(Parcel { repository, transfer, tag, image, before, way });
    }
    let inside = fetcher(contender)?.comes_out_at();
    let mut registry = Registry::start(site).map_err(failed)?;
    let line = Line::open(&registry.socket(), inside).map_err(failed)?;
    let address = line.address();
    for parcel in &mut parcels {
        parcel.image.tag = parcel.reference(&address);
    }
    let mut fetched = 0;
    let mut came = Ok(());
    for parcel in &parcels {
        came = fetch(lab, site, contender, parcel, (&mut registry, &line), visit).map(|it| found.push(it));
        fetched += 1;
        if came.is_err() {
            break;
        }
    }
    let gone = forget(lab, site, contender, &parcels[..fetched], &address, came.is_ok());
    // What was left behind may have been what made it fast.
    came.and(gone.inspect_err(|_| found.clear()))
}

fn failed(error: anyhow::Error) -> Failed {
    Failed::new(Failure::Start, format!("{error:#}"))
}

fn fetcher(contender: &dyn Contender) -> Result<&dyn Fetches, Failed> {
    contender.fetches().map_err(|why| Failed::new(Failure::NotMeasured, why))
}

/// One transfer: published, fetched inside the clock, looked at.
fn fetch(
    lab: &mut Lab,
    site: &Site,
    contender: &mut dyn Contender,
    parcel: &Parcel,
    (registry, line): (&mut Registry, &Line),
    visit: &mut Visit<'_>,
) -> Result<[u64; 2], Failed> {
    let fetcher = fetcher(contender)?;
    fetcher.publish(site, registry, parcel).map_err(failed)?;
    let commands = fetcher.commands(site, parcel, &line.address()).map_err(failed)?;
    let inside_clock = fetcher.inside_clock().iter().map(|it| (*it).to_owned()).collect();
    visit.fetched_by(Fetch { commands: commands.clone(), inside_clock });
    // What making and publishing wrote is not to be on its way to the disk meanwhile.
    let synced = std::fs::File::open(site.dir()).and_then(|dir| Ok(syncfs(dir)?));
    synced.map_err(|e| Failed::new(Failure::Start, format!("sync {}: {e}", site.dir().display())))?;
    let before = line.carried();
    let took = lab.run_tools(commands, WITHIN)?;
    let carried = line.carried() - before;
    let differs =
        |what: String| Failed::new(Failure::WrongAnswer, format!("after {}: {what}", parcel.transfer));
    fetcher.arrived(site, parcel).map_err(|e| differs(format!("{e:#}")))?;
    if fetcher.starts_boxes_of_it() {
        let lines = parcel.image.lines(&LEFT_OUT);
        let seen = look(lab, site, &mut Imaged::of(contender, &parcel.image), &lines)?;
        if let Some(first) = seen.differences.first() {
            return Err(differs(format!("a box sees something else than was published: {first}")));
        }
    }
    Ok([took, carried])
}

/// Takes away what the transfers brought, and what the images were made in. Where one failed, there may be nothing.
fn forget(
    lab: &mut Lab,
    site: &Site,
    contender: &mut dyn Contender,
    parcels: &[Parcel],
    address: &str,
    all_came: bool,
) -> Result<(), Failed> {
    let fetcher = fetcher(contender)?;
    let mut gone = Ok(());
    let images = parcels.iter().map(|it| crate::contenders::Undo::Remove(it.image.dir().to_owned()));
    for undo in fetcher.forget(site, parcels, address).into_iter().chain(images) {
        let done = lab.clear_away(undo);
        if all_came {
            gone = gone.and(done);
        }
    }
    let left = fetcher.leaves(site, parcels).into_iter().find(|it| it.exists());
    match left {
        Some(it) => Err(Failed::new(Failure::Leak, format!("left behind: {}", it.display()))),
        None => gone,
    }
}
