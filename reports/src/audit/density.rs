//! Items that a run can be held to once it measures density.

use super::Finding;
use crate::density::{self, STATES, Search, canary_limit};
use crate::document::Document;
use crate::units::duration;

/// The measured searches with a figure, handed to a check; or why there are none.
fn measured(document: &Document, check: impl Fn(&[Search]) -> Finding) -> Finding {
    let all = density::searches(document);
    if all.is_empty() {
        return Finding::not_checkable("this run measured no density");
    }
    let found: Vec<Search> = all.into_iter().filter(|it| !it.predicted && it.boxes.is_some()).collect();
    if found.is_empty() {
        return Finding::not_checkable("density was predicted, or no search came to a figure");
    }
    check(&found)
}

fn name(it: &Search) -> String {
    format!("{} {}", it.contender, it.state)
}

/// 15: idle, touched and serving are three figures.
pub(super) fn density_in_three_states(document: &Document) -> Finding {
    measured(document, |found| {
        let mut names: Vec<&str> = found.iter().map(|it| it.contender.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let has = |contender: &str, state: &str| {
            document.series.iter().any(|it| {
                it.measure == density::MEASURE
                    && it.quantity == state
                    && it.contender == contender
                    && !it.predicted
            })
        };
        let lacks = |contender: &&str| -> Vec<String> {
            let absent = STATES.iter().filter(|state| !has(contender, state));
            absent.map(|state| format!("{contender} was not searched {state}")).collect()
        };
        let faults: Vec<String> = names.iter().flat_map(lacks).collect();
        Finding::of(&faults, format!("idle, touched and serving of {}", names.join(", ")))
    })
}

/// 16: the binding resource is named.
pub(super) fn binding_resource_is_named(document: &Document) -> Finding {
    measured(document, |found| {
        let mut faults = Vec::new();
        for it in found {
            match &it.binding {
                None => faults.push(format!("{} does not say what ended it", name(it))),
                Some(by) if by.resource == "unknown" => {
                    faults.push(format!(
                        "{} ended at {:.0} by something unknown",
                        name(it),
                        it.boxes.unwrap_or(0.0)
                    ));
                }
                Some(by) if by.evidence.is_empty() => {
                    faults.push(format!("{} names {} without evidence", name(it), by.resource));
                }
                Some(_) => {}
            }
        }
        let each =
            found.iter().filter_map(|it| Some(format!("{} {}", name(it), it.binding.as_ref()?.resource)));
        Finding::of(&faults, each.collect::<Vec<_>>().join(", "))
    })
}

/// 17: the limit is confirmed and N + step shown failing.
pub(super) fn limit_is_confirmed(document: &Document) -> Finding {
    measured(document, |found| {
        let faults: Vec<String> = found.iter().flat_map(unconfirmed).collect();
        let each = found.iter().filter_map(|it| {
            let (boxes, failed_at) = (it.boxes?, it.binding.as_ref()?.failed_at?);
            Some(format!("{} held {boxes:.0} and failed at {failed_at}", name(it)))
        });
        Finding::of(&faults, each.collect::<Vec<_>>().join(", "))
    })
}

/// What is wanting to a search's limit.
fn unconfirmed(search: &Search) -> Vec<String> {
    let (name, boxes) = (name(search), search.boxes.unwrap_or(0.0));
    let mut faults = Vec::new();
    match search.binding.as_ref().and_then(|it| it.failed_at) {
        None => faults.push(format!("{name}: no number above {boxes:.0} was seen failing")),
        Some(failed_at) if f64::from(failed_at) <= boxes => {
            faults.push(format!("{name}: {boxes:.0} held, yet {failed_at} is said to have failed"));
        }
        Some(_) => {}
    }
    let Some(rung) = search.rungs.iter().find(|it| f64::from(it.boxes) == boxes) else {
        faults.push(format!("{name}: nothing was looked at with {boxes:.0} boxes"));
        return faults;
    };
    let limit = canary_limit(search.accel) as f64;
    let (pings, failed) = rung.pings;
    match rung.p99 {
        None => faults.push(format!("{name}: {pings} pings at {boxes:.0} boxes, {failed} of them failed")),
        Some(p99) if p99 > limit => {
            faults.push(format!("{name}: the canary's p99 at {boxes:.0} boxes is {}", duration(p99)));
        }
        Some(_) => {}
    }
    faults
}
