//! Rounds: visits to every contender in shuffled order, within a budget of time.
//!
//! All of A and then all of B would measure the weather as well (METHOD, 19): each round visits everybody
//! once, in an order drawn from the run's seed and stored with the samples. A contender that takes seconds is
//! visited in every n-th round only, so that it cannot eat the budget of those that take milliseconds.

use std::time::{Duration, Instant};

use anyhow::Result;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;
use tare_reports::document::Parameters;

use crate::contenders::Contender;
use crate::host::noise::Noise;
use crate::lab::Lab;
use crate::measures::{Order, Pass};
use crate::record::{Record, Visit};
use crate::site::Site;

/// A visit above this length is slow: it is not made in every round.
const SLOW: Duration = Duration::from_millis(400);

/// How often the document is written, at most; `samples.jsonl` has every sample at once.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The most rounds.
    pub rounds: u32,
    /// Time to spend; `None` visits everybody in every round, however long it takes.
    pub budget: Option<Duration>,
}

/// One place in a round.
struct Entry {
    /// Which contender.
    contender: usize,
    /// What is held constant over its series; says too whether it is the second visit of the A/A test.
    parameters: Parameters,
    /// It is visited in every n-th round.
    every: u32,
}

/// Everything that a run of rounds works with.
pub struct Rounds<'a> {
    /// Starts and stops.
    pub lab: &'a mut Lab,
    /// Where instances live.
    pub site: &'a Site,
    /// Those that can run here.
    pub contenders: &'a mut [Box<dyn Contender>],
    /// Name of the measure.
    pub measure: &'a str,
    /// What is asked.
    pub pass: &'a dyn Pass,
    /// Where samples go.
    pub record: &'a mut Record,
    /// Told after each visit: visits made, visits planned, the contender's name.
    pub progress: &'a mut dyn FnMut(u64, u64, &str),
}

/// Runs the rounds; returns whether all of them were finished.
///
/// # Errors
/// When results cannot be saved.
pub fn run(mut rounds: Rounds<'_>, plan: Plan, seed: u64) -> Result<bool> {
    let mut order = Xoshiro256PlusPlus::seed_from_u64(seed);
    let plan = rounds.pass.plan(plan);
    let mirrored = rounds.pass.order() == Order::Mirrored;
    let mut entries = entries(rounds.contenders, rounds.pass);
    if entries.is_empty() {
        return Ok(true);
    }
    for contender in rounds.contenders.iter_mut().filter(|it| !rounds.pass.settings(it.as_ref()).is_empty()) {
        rounds.pass.warm_up(rounds.lab, rounds.site, contender.as_mut());
    }
    let began = Instant::now();
    let mut costs = vec![Duration::ZERO; entries.len()];
    let mut total = if mirrored { pairs(plan.rounds) } else { plan.rounds };
    let (mut made, mut planned) = (0, entries.len() as u64);
    let mut saved = Instant::now();
    let mut before = Noise::read(std::process::id());
    let mut visits: Vec<usize> = Vec::new();
    let mut round = 0;
    while round < total {
        if mirrored && round % 2 == 1 {
            visits.reverse();
        } else {
            visits = (0..entries.len()).filter(|&i| round.is_multiple_of(entries[i].every)).collect();
            visits.shuffle(&mut order);
        }
        for (position, &i) in visits.iter().enumerate() {
            let visit = Instant::now();
            let name = rounds.visit(&entries[i], round, position as u32);
            costs[i] = costs[i].max(visit.elapsed());
            made += 1;
            (rounds.progress)(made, planned, &name);
            if rounds.lab.interrupted().is_some() {
                rounds.record.save()?;
                return Ok(false);
            }
        }
        if rounds.pass.single_starts() {
            let now = Noise::read(std::process::id());
            rounds.record.document.run.readings.push(now.since(&before, round));
            before = now;
        }
        if round == 0 {
            // The first round told what a visit costs: the rest of the budget is shared out now.
            total = match mirrored {
                true => pairs(fitting(plan, began.elapsed())),
                false => share(&mut entries, &costs, plan, began.elapsed()),
            };
            planned = entries.iter().map(|e| u64::from(total.div_ceil(e.every))).sum();
        }
        if saved.elapsed() >= SAVE_EVERY {
            rounds.record.save()?;
            saved = Instant::now();
        }
        round += 1;
    }
    rounds.record.save()?;
    Ok(true)
}

impl Rounds<'_> {
    fn visit(&mut self, entry: &Entry, round: u32, position: u32) -> String {
        let contender = self.contenders[entry.contender].as_mut();
        let (name, mode) = (contender.name().to_owned(), contender.description().mode);
        let mut visit = Visit {
            record: self.record,
            measure: self.measure,
            contender: &name,
            mode,
            round,
            position,
            parameters: &entry.parameters,
        };
        self.pass.visit(self.lab, self.site, contender, &mut visit);
        match &entry.parameters.rung {
            Some(rung) => format!("{name}, rung {rung}"),
            None => name,
        }
    }
}

/// One place for each setting of each contender, and a second one for the A/A test: with our runtime where it
/// is asked, else with the first one that is; of its settings the last.
fn entries(contenders: &[Box<dyn Contender>], pass: &dyn Pass) -> Vec<Entry> {
    let of = |contender: usize| {
        let settings = pass.settings(contenders[contender].as_ref()).into_iter();
        settings.map(move |parameters| Entry { contender, parameters, every: 1 })
    };
    let mut entries: Vec<Entry> = (0..contenders.len()).flat_map(of).collect();
    if pass.single_starts() {
        let name = |entry: &Entry| contenders[entry.contender].name();
        let place = |wanted: &str| entries.iter().rev().find(|it| name(it) == wanted);
        let first = entries.iter().rfind(|it| it.contender == entries[0].contender);
        let twice = place("tare").or_else(|| place("process")).or(first);
        let again = twice.map(|it| Entry {
            parameters: Parameters { aa: Some(true), ..it.parameters.clone() },
            contender: it.contender,
            every: 1,
        });
        entries.extend(again);
    }
    entries
}

/// The next even number, at least two.
fn pairs(rounds: u32) -> u32 {
    rounds.max(1).next_multiple_of(2)
}

/// How many rounds the plan lets be made where one took so long.
fn fitting(plan: Plan, one: Duration) -> u32 {
    let Some(budget) = plan.budget else { return plan.rounds };
    // A pair that would go over the budget is not begun.
    let rounds = (budget.as_nanos() / one.as_nanos().max(1)) as u32;
    (rounds - rounds % 2).min(plan.rounds)
}

/// Shares the budget: half of it for the visits that take milliseconds, the other half, and what those leave
/// over, evenly among the slow ones. Returns the number of rounds.
fn share(entries: &mut [Entry], costs: &[Duration], plan: Plan, spent: Duration) -> u32 {
    let Some(budget) = plan.budget else { return plan.rounds };
    let left = budget.saturating_sub(spent);
    let slow: Vec<usize> = (0..entries.len()).filter(|&i| costs[i] > SLOW).collect();
    let quick: Duration = (0..entries.len()).filter(|i| !slow.contains(i)).map(|i| costs[i]).sum();
    let fits = |time: Duration, cost: Duration| (time.as_nanos() / cost.as_nanos().max(1)) as u32;
    // The first round is done already.
    let more = plan.rounds.saturating_sub(1);
    let rounds = match slow.is_empty() {
        true => fits(left, quick).min(more),
        // Without a quick one the slow ones decide.
        false if quick.is_zero() => fits(left, slow.iter().map(|&i| costs[i]).sum()).min(more),
        false => fits(left / 2, quick).min(more),
    };
    let for_slow = left.saturating_sub(quick * rounds);
    for &i in &slow {
        let visits = fits(for_slow / slow.len() as u32, costs[i]).max(1);
        entries[i].every = rounds.div_ceil(visits).max(1);
    }
    rounds + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(contender: usize) -> Entry {
        Entry { contender, parameters: Parameters::default(), every: 1 }
    }

    fn shared(costs_ms: &[u64], budget_s: u64, rounds: u32) -> (u32, Vec<u32>) {
        let mut entries: Vec<Entry> = (0..costs_ms.len()).map(entry).collect();
        let costs: Vec<Duration> = costs_ms.iter().map(|&ms| Duration::from_millis(ms)).collect();
        let plan = Plan { rounds, budget: Some(Duration::from_secs(budget_s)) };
        let spent = costs.iter().sum();
        let rounds = share(&mut entries, &costs, plan, spent);
        (rounds, entries.iter().map(|e| e.every).collect())
    }

    #[test]
    fn the_budget_is_kept_and_the_slow_one_is_not_starved() {
        let (rounds, every) = shared(&[10, 20, 70, 3000], 120, 10_000);
        let cost: u64 = (0..rounds)
            .map(|r| {
                [10, 20, 70, 3000]
                    .iter()
                    .zip(&every)
                    .filter(|(_, e)| r % **e == 0)
                    .map(|(c, _)| c)
                    .sum::<u64>()
            })
            .sum();
        assert!((90_000..=125_000).contains(&cost), "{cost} ms of 120 s, {rounds} rounds, every {every:?}");
        assert_eq!(every[..3], [1, 1, 1]);
        assert!(rounds / every[3] >= 18, "the slow one gets its half: {} visits", rounds / every[3]);
    }

    #[test]
    fn the_number_of_rounds_is_bounded() {
        assert_eq!(shared(&[1], 1000, 50), (50, vec![1]));
    }

    #[test]
    fn only_slow_ones_are_visited_in_every_round() {
        let (rounds, every) = shared(&[3000], 60, 1000);
        assert_eq!((rounds, every), (20, vec![1]));
    }

    #[test]
    fn without_a_budget_everybody_is_visited_in_every_round() {
        let mut entries = vec![entry(0)];
        let plan = Plan { rounds: 7, budget: None };
        assert_eq!(share(&mut entries, &[Duration::from_secs(60)], plan, Duration::ZERO), 7);
        assert_eq!(entries[0].every, 1);
    }

    #[test]
    fn mirrored_rounds_come_in_pairs_and_keep_the_budget() {
        assert_eq!([0, 1, 2, 3, 40].map(pairs), [2, 2, 2, 4, 40]);
        let plan = Plan { rounds: 100, budget: Some(Duration::from_secs(20)) };
        let made = |seconds| pairs(fitting(plan, Duration::from_secs(seconds)));
        assert_eq!([1, 2, 3, 6, 15, 60].map(made), [20, 10, 6, 2, 2, 2]);
        assert_eq!(fitting(Plan { rounds: 7, budget: None }, Duration::from_secs(60)), 7);
        assert_eq!(
            fitting(Plan { rounds: 4, ..plan }, Duration::from_millis(1)),
            4,
            "never more than planned"
        );
    }
}
