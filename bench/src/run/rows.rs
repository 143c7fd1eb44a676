//! The rows of the contenders: who can run here, what they are, and how they came out.

use tare_reports::document::{Accel, Contender as Row, Document, Failure, Status};

use super::selection;
use crate::contenders::{Contender, Found, Missing, Surroundings};
use crate::measures::Measure;
use crate::payload;
use crate::record::Unfit;
use crate::site::Site;

/// What one is, and whether it can run here.
pub(super) fn row(contender: &mut dyn Contender, surroundings: &Surroundings) -> (Row, bool) {
    let probed = contender.probe(surroundings);
    let able = probed.is_ok();
    let (found, missing) = match probed {
        Ok(found) => (found, None),
        Err(missing) => {
            let none = Found { version: "unknown".into(), accel: Accel::Native, not_expressed: Vec::new() };
            (none, Some(missing))
        }
    };
    let (reason, fix) = match missing {
        Some(Missing { reason, fix }) => (Some(reason), fix),
        None => (None, None),
    };
    let described = contender.description();
    let row = Row {
        name: described.name.into(),
        class: described.class,
        accel: found.accel,
        version: found.version,
        command: Vec::new(),
        channel: described.channel.into(),
        status: if able { Status::Measured } else { Status::Skipped },
        reason,
        fix,
        about: described.about.into(),
        inside_clock: described.inside_clock.iter().map(|s| (*s).to_owned()).collect(),
        not_expressed: found.not_expressed,
        payload_sha256: able.then(payload::sha256),
        fetch: None,
    };
    (row, able)
}

/// One row for each, prepared where it can run and has an answer to what is measured.
pub(super) fn rows(
    contenders: &mut [Box<dyn Contender>],
    measures: &[Box<dyn Measure>],
    surroundings: &Surroundings,
    site: &Site,
) -> Vec<Row> {
    contenders
        .iter_mut()
        .map(|contender| {
            let (mut row, able) = row(contender.as_mut(), surroundings);
            if !selection::is_asked(measures, contender.as_ref()) {
                let names: Vec<&str> = measures.iter().map(|it| it.name()).collect();
                row.status = Status::Skipped;
                row.reason = Some(format!("has no answer to {}", names.join(" and ")));
            } else if able {
                match contender.prepare(site) {
                    Ok(()) => {
                        row.command = contender.command(site);
                        row.inside_clock.extend(born_elsewhere(site));
                    }
                    Err(error) => {
                        row.status = Status::Failed;
                        row.reason = Some(format!("preparation: {error:#}"));
                    }
                }
            }
            row
        })
        .collect()
}

/// What a run below a cgroup of somebody's has inside its clock besides.
fn born_elsewhere(site: &Site) -> Option<String> {
    (!site.birthplaces().is_empty()).then(|| {
        format!("entry of what is started for a box into the cgroups below {}", site.cgroup_parent())
    })
}

/// A contender of which no sample succeeded has failed, with the first failure as the reason; or was skipped,
/// where there was no time for it.
pub(super) fn settle_statuses(document: &mut Document, unfit: &[Unfit]) {
    for row in &mut document.contenders {
        if row.status != Status::Measured {
            continue;
        }
        let mut samples =
            document.series.iter().filter(|s| s.contender == row.name).flat_map(|s| &s.samples).peekable();
        let unfit = unfit.iter().find(|it| it.contender == row.name);
        if let Some(unfit) = unfit
            && samples.clone().all(|s| s.failure == Some(Failure::NotMeasured))
        {
            row.status = Status::Skipped;
            row.reason = Some(unfit.reason());
            row.fix = Some(unfit.fix());
        } else if samples.peek().is_none() {
            row.status = Status::Failed;
            row.reason = Some("the run ended before its first visit".into());
        } else if let Some(first) = samples.clone().find(|s| s.failure.is_some())
            && samples.all(|s| s.value.is_none())
        {
            row.status = Status::Failed;
            row.reason =
                Some(format!("no sample succeeded; the first: {}", first.detail.as_deref().unwrap_or("?")));
        }
    }
}
