//! What a run that did not search predicts instead: how many idle boxes would fit, from what memory was measured to
//! cost and from the kernel's limits. It stays a prediction wherever it is shown: no mark of it is a measured one's.

use std::collections::BTreeMap;

use tare_reports::capacity::{self, Answer, Fitted, Machine, Model};
use tare_reports::density::MEASURE;
use tare_reports::document::{Binding, Document, Failure, Parameters, Sample, Series, Unit};
use tare_reports::memory::{Method, costs};

use crate::contenders::Contender;
use crate::host::limits::{self, Asked, MemoryNeed};
use crate::host::memory;
use crate::measures;
use crate::site::Site;

/// The quantity that is predicted, and the state of the boxes.
const IDLE: &str = "idle";

/// Adds a predicted series for each contender whose memory was measured and for which no search was made. `parent`
/// is the cgroup below which the boxes would live, beside the run's `site`; the host is looked at as it is now, without
/// boxes.
pub(super) fn add(
    document: &mut Document,
    contenders: &[Box<dyn Contender>],
    (site, parent): (&Site, Option<&str>),
) {
    let searched = |it: &Fitted| {
        document.series.iter().any(|series| series.measure == MEASURE && series.contender == it.contender)
    };
    let fitted: Vec<Fitted> = capacity::models(document).into_iter().filter(|it| !searched(it)).collect();
    let (costs, limit) = (costs(document), measures::memory::limit(site));
    for it in fitted {
        let Some(contender) = contenders.iter().find(|known| known.name() == it.contender) else { continue };
        let each = costs.iter().find(|cost| cost.contender == it.contender && cost.state == IDLE);
        let each = each.and_then(|cost| cost.by(Method::Host)).map(|slope| slope.each);
        let kept = limit.clone().map(|limit| {
            let model = capacity::kept(document, &it.contender, it.mode);
            model.map_err(|why| format!("of {}: {why}", limit.set_in)).map(|model| (model, limit))
        });
        let predicted = kept.transpose().and_then(|kept| {
            let model = it.model.as_ref().map_err(Clone::clone)?;
            answer(contender.as_ref(), model, kept.as_ref(), (each, parent))
        });
        let (sample, binding) = match predicted {
            Ok((most, answer)) => told(most, answer),
            Err(why) => (not_predicted(why), None),
        };
        document.series.push(Series {
            measure: MEASURE.into(),
            quantity: IDLE.into(),
            mode: it.mode,
            contender: it.contender,
            unit: Unit::Instances,
            predicted: true,
            parameters: Parameters {
                state: Some(IDLE.into()),
                network: Some("none".into()),
                ..Parameters::default()
            },
            samples: vec![sample],
            binding,
        });
    }
}

/// How many fit into this host and its limits and, below a limit of memory, into that by what they keep of it; and up
/// to how many boxes this rests on.
fn answer(
    contender: &dyn Contender,
    model: &Model,
    kept: Option<&(Model, limits::Limit)>,
    (each, parent): (Option<f64>, Option<&str>),
) -> Result<(u32, Answer), String> {
    let host = model.boxes(&machine(contender, each, parent)?);
    let Some((kept, limit)) = kept else { return Ok((model.most(), host)) };
    let cgroup = Machine {
        memory: limit.limit.unwrap_or(u64::MAX) as f64,
        used: limit.in_use as f64,
        reserve: 0.0,
        limits: Vec::new(),
    };
    Ok((kept.most(), host.and(kept.boxes(&cgroup))))
}

/// This host, with every limit but those of memory, which the models themselves follow.
fn machine(contender: &dyn Contender, each: Option<f64>, parent: Option<&str>) -> Result<Machine, String> {
    let total = memory::total().map_err(|e| format!("{e:#}"))?;
    let used = memory::used().map_err(|e| format!("{e:#}"))?;
    let class = contender.description().class;
    // Of the limit of a cgroup that nobody gave the run only what the host's slope says is known: more than it counts,
    // so the safe side.
    let need = match each.filter(|it| *it > 0.0) {
        Some(bytes) => MemoryNeed { bytes: bytes.ceil() as u64, source: "measured in this run".into() },
        None => MemoryNeed::assumed(class),
    };
    let asked = Asked::of(contender, &need, parent);
    let modelled =
        |it: &limits::Limit| it.is_of_the_hosts_memory() || (parent.is_some() && it.is_of_a_cgroups_memory());
    let others = limits::of(&asked).into_iter().filter(|it| !modelled(it));
    let limits = others.filter_map(|it| {
        let left = it.left()?;
        Some(capacity::Limit { name: it.resource.into(), limit: left as f64, per_box: it.per_box as f64 })
    });
    let limits = limits.collect();
    Ok(Machine { memory: total as f64, used: used as f64, reserve: capacity::RESERVE, limits })
}

fn told(most: u32, answer: Answer) -> (Sample, Option<Binding>) {
    let bound = |resource: String, what: &str| {
        let evidence = format!("predicted from up to {most} boxes held and the limits of this host: {what}");
        Some(Binding { resource, failed_at: None, evidence })
    };
    let range =
        |low: u32, high: u32| BTreeMap::from([("low".into(), low.into()), ("high".into(), high.into())]);
    match answer {
        Answer::Point { boxes, low, high, binding } => {
            let sample = Sample { parts: range(low, high), ..Sample::value(0, 0, boxes.into()) };
            (sample, bound(binding, &format!("{low} to {high} boxes")))
        }
        Answer::Band { low, high, binding } => {
            let why = format!(
                "refused: the answer lies beyond {:.0} times the {most} boxes that were held at most, between {low} and \
                 {high}; `tare run density` looks for it",
                capacity::REACH
            );
            let sample = Sample { parts: range(low, high), ..not_predicted(why.clone()) };
            (sample, bound(binding, "no figure, a band"))
        }
        Answer::Refused { why } => (not_predicted(why), None),
    }
}

fn not_predicted(why: String) -> Sample {
    Sample::failure(0, 0, Failure::NotMeasured, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tare_reports::stats::Point;

    /// A megabyte a box, seen with up to so many.
    fn model(most: u32) -> Model {
        let points: Vec<Point> = (0..6_u32)
            .flat_map(|climb| (1..=4_u32).map(move |part| (climb, part)))
            .map(|(climb, part)| {
                let boxes = f64::from(most * part / 4);
                let noise = f64::from((climb * 7 + part * 3) % 5) * 1000.0;
                Point { climb: (climb, 0), boxes, value: boxes * f64::from(1 << 20) + noise }
            })
            .collect();
        Model::of(&points).unwrap()
    }

    fn machine(mib: u32, limits: Vec<capacity::Limit>) -> Machine {
        Machine { memory: f64::from(mib) * f64::from(1 << 20), used: 0.0, reserve: 0.0, limits }
    }

    #[test]
    fn within_its_reach_it_is_a_figure_with_an_interval_and_what_ends_it() {
        let model = model(100);
        let (sample, binding) = told(model.most(), model.boxes(&machine(300, Vec::new())));
        let boxes = sample.value.unwrap();
        assert!((298..=302).contains(&boxes), "{sample:?}");
        assert!(sample.parts["low"] <= boxes as i64 && boxes as i64 <= sample.parts["high"], "{sample:?}");
        assert_eq!(binding.unwrap().resource, "memory");
        let pids = capacity::Limit { name: "pids".into(), limit: 120.0, per_box: 3.0 };
        let (sample, binding) = told(model.most(), model.boxes(&machine(300, vec![pids])));
        assert_eq!((sample.value, binding.unwrap().resource.as_str()), (Some(40), "pids"));
    }

    #[test]
    fn beyond_four_times_the_most_that_was_held_it_is_refused_and_a_band() {
        let model = model(100);
        let (sample, binding) = told(model.most(), model.boxes(&machine(10_000, Vec::new())));
        assert_eq!((sample.value, sample.failure), (None, Some(Failure::NotMeasured)));
        assert!(sample.detail.as_ref().unwrap().contains("beyond 4 times the 100 boxes"), "{sample:?}");
        assert!(sample.parts["low"] <= 400 && sample.parts["high"] > 400, "{sample:?}");
        assert!(binding.is_some());
    }
}
