//! When a run's figures are not to be trusted: the UNRELIABLE rules, as code.
//!
//! | rule | limit | from |
//! |---|---|---|
//! | steal | 1 % of wall time x CPUs | `run.readings` |
//! | foreign CPU | 3 % of one core | `run.readings` |
//! | A/A effect | 5 %, with an interval that excludes 0 | series with `aa` against their main series |
//! | drift over the run | 10 %, with an interval that excludes 0 | single starts, `ready`; each series, and all together |
//!
//! Cold starts are not judged: who drops the host's caches has made the noise himself.
//!
//! The drift's interval is ours to ask for: over twenty rounds, noise alone slopes by a tenth now and then.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::document::{Document, Mode, Series};
use crate::stats::{self, Ratio, Rounds};
use crate::units::percent;

/// Limit of steal, as a share of wall time x CPUs.
pub const STEAL: f64 = 0.01;
/// Limit of foreign CPU time, as a share of one core.
pub const FOREIGN: f64 = 0.03;
/// Limit of the A/A effect.
pub const AA: f64 = 0.05;
/// Limit of the drift over the run.
pub const DRIFT: f64 = 0.10;

/// Whether a rule was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The figure is within the limit.
    Kept,
    /// It is beyond.
    Broken,
    /// The run has no figure for it.
    NotJudged,
}

/// One rule with the figure found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rule {
    /// What is limited.
    pub name: &'static str,
    /// What the run showed, in words, with the limit.
    pub figure: String,
    /// The judgement.
    pub state: State,
}

/// The rules that this run broke, each with its figure; empty where the run can be relied upon.
pub fn check(document: &Document) -> Vec<String> {
    let broken = rules(document).into_iter().filter(|rule| rule.state == State::Broken);
    broken.map(|rule| format!("{}: {}", rule.name, rule.figure)).collect()
}

/// Every rule, also those that were kept or could not be judged.
pub fn rules(document: &Document) -> Vec<Rule> {
    let mut rules = vec![steal(document), foreign(document)];
    rules.extend(aa(document));
    rules.push(drift(document));
    rules
}

/// Sums wall time, steal and foreign CPU over the single-start rounds. None without a reading.
fn sums(document: &Document) -> Option<(f64, f64, f64)> {
    let readings = &document.run.readings;
    let wall: u64 = readings.iter().map(|it| it.wall_ns).sum();
    let steal: u64 = readings.iter().map(|it| it.steal_ns).sum();
    let foreign: u64 = readings.iter().map(|it| it.foreign_cpu_ns).sum();
    (wall > 0).then_some((wall as f64, steal as f64, foreign as f64))
}

fn steal(document: &Document) -> Rule {
    let name = "steal";
    let cpus = f64::from(document.host.cpus.max(1));
    let Some((wall, steal, _)) = sums(document) else { return unread(name) };
    let share = steal / (wall * cpus);
    judged(name, share > STEAL, format!("{} of the CPU time was taken away (limit 1 %)", percent(share)))
}

fn foreign(document: &Document) -> Rule {
    let name = "foreign CPU";
    let Some((wall, _, foreign)) = sums(document) else { return unread(name) };
    let share = foreign / wall;
    judged(name, share > FOREIGN, format!("other processes used {} of a core (limit 3 %)", percent(share)))
}

fn unread(name: &'static str) -> Rule {
    Rule { name, figure: "not read in this run".to_owned(), state: State::NotJudged }
}

fn judged(name: &'static str, broken: bool, figure: String) -> Rule {
    Rule { name, figure, state: if broken { State::Broken } else { State::Kept } }
}

/// The effect that each A/A test found: a contender's second visit of the round against its first.
pub fn aa_effects(document: &Document) -> Vec<(&Series, Ratio)> {
    let second = document.series.iter().filter(|it| it.parameters.aa == Some(true));
    second
        .filter_map(|second| {
            let mut parameters = second.parameters.clone();
            let first = document.series.iter().find(|it| {
                parameters.aa = it.parameters.aa;
                it.parameters.aa != Some(true)
                    && it.contender == second.contender
                    && (&it.measure, &it.quantity, it.mode)
                        == (&second.measure, &second.quantity, second.mode)
                    && it.parameters == parameters
            })?;
            let seed = stats::derive_seed(document.run.seed, &["aa", &second.contender, &second.quantity]);
            let ratio = stats::ratio(&stats::by_round(second), &stats::by_round(first), seed)?;
            Some((second, ratio))
        })
        .collect()
}

/// Judged on `ready` alone: the rule is about the clock, and CPU and teardown follow it.
fn aa(document: &Document) -> Vec<Rule> {
    let name = "A/A effect";
    let mut rules: Vec<Rule> = aa_effects(document)
        .into_iter()
        .filter(|(series, _)| series.quantity == "ready")
        .map(|(series, found)| {
            let effect = found.ratio - 1.0;
            let Some(interval) = found.interval else {
                let figure = format!("{}: too few rounds ({})", series.contender, found.pairs);
                return Rule { name, figure, state: State::NotJudged };
            };
            let broken = effect.abs() > AA && !interval.contains(1.0);
            let (low, high) = (percent(interval.low - 1.0), percent(interval.high - 1.0));
            let (who, effect) = (&series.contender, percent(effect));
            let figure = format!(
                "{who} differs from itself by {effect}, 95 % interval {low} to {high} \
                 (limit 5 % with an interval that excludes 0)"
            );
            judged(name, broken, figure)
        })
        .collect();
    if rules.is_empty() {
        rules.push(Rule {
            name,
            figure: "no start in this run has an A/A test".to_owned(),
            state: State::NotJudged,
        });
    }
    rules
}

/// The worst drift: of each single-start series by itself, and of the host, that is, of all together.
fn drift(document: &Document) -> Rule {
    let name = "drift";
    let single = document.series.iter().filter(|it| {
        it.quantity == "ready"
            && it.measure != crate::spans::MEASURE
            && it.mode != Mode::Cold
            && it.parameters.aa != Some(true)
            && it.parameters.concurrency.is_none_or(|it| it <= 1)
            && it.parameters.running.is_none_or(|it| it == 0)
    });
    let named = |it: &Series| (it.contender.clone(), stats::by_round(it));
    // The rungs of the ladder are many: one of them drifts by chance in every fourth run. Together they tell.
    let (rungs, single): (Vec<&Series>, Vec<&Series>) = single.partition(|it| it.parameters.rung.is_some());
    let [rungs, mut each] = [rungs, single].map(|it| it.into_iter().map(named).collect::<Vec<_>>());
    let host = ("the host (all contenders together)".to_owned(), together(&each));
    each.push(host);
    each.push(("the host (all rungs of the ladder together)".to_owned(), together(&rungs)));
    let worst = each.iter().filter_map(|(who, rounds)| Some((who, stats::drift(rounds)?))).max_by(
        |(_, a), (_, b)| {
            let by_certainty = a.is_certain().cmp(&b.is_certain());
            by_certainty.then(a.change.abs().total_cmp(&b.change.abs()))
        },
    );
    let Some((who, worst)) = worst else {
        let figure = "no series with enough rounds".to_owned();
        return Rule { name, figure, state: State::NotJudged };
    };
    let figure = format!(
        "{who} changed by {} over the run, 99 % interval {} to {} (limit 10 % with an interval that excludes 0)",
        percent(worst.change),
        percent(worst.interval.low),
        percent(worst.interval.high),
    );
    judged(name, worst.change.abs() > DRIFT && worst.is_certain(), figure)
}

/// How fast the host was in each round: the median over the contenders of value / the contender's median.
/// What all have in common stands out from their noise. Empty with fewer than three contenders.
fn together(each: &[(String, Rounds)]) -> Rounds {
    const FEWEST: usize = 3;
    let mut relative: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for (_, rounds) in each {
        let values: Vec<f64> = rounds.values().copied().collect();
        let Some(median) = stats::median(&values).filter(|it| *it > 0.0) else { continue };
        for (round, value) in rounds {
            relative.entry(*round).or_default().push(value / median);
        }
    }
    let enough = relative.into_iter().filter(|(_, it)| it.len() >= FEWEST);
    enough.filter_map(|(round, it)| Some((round, stats::median(&it)?))).collect()
}
