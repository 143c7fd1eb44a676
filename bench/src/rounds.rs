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
use crate::measures::Measure;
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
    /// Whether it is the second visit of the A/A test.
    again: bool,
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
    /// What is asked.
    pub measure: &'a dyn Measure,
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
    let began = Instant::now();
    let mut order = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut entries = entries(rounds.contenders);
    let mut costs = vec![Duration::ZERO; entries.len()];
    let mut total = plan.rounds;
    let (mut made, mut planned) = (0, entries.len() as u64);
    let mut saved = Instant::now();
    let mut before = Noise::read(std::process::id());
    let mut round = 0;
    while round < total {
        let mut visits: Vec<usize> =
            (0..entries.len()).filter(|&i| round.is_multiple_of(entries[i].every)).collect();
        visits.shuffle(&mut order);
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
        let now = Noise::read(std::process::id());
        rounds.record.document.run.readings.push(now.since(&before, round));
        before = now;
        if round == 0 {
            // The first round told what a visit costs: the rest of the budget is shared out now.
            total = share(&mut entries, &costs, plan, began.elapsed());
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
        let parameters = Parameters {
            concurrency: Some(1),
            running: Some(0),
            network: Some("none".into()),
            aa: entry.again.then_some(true),
            ..Parameters::default()
        };
        let mut visit = Visit {
            record: self.record,
            measure: self.measure.name(),
            contender: &name,
            mode,
            round,
            position,
            parameters: &parameters,
        };
        self.measure.visit(self.lab, self.site, contender, &mut visit);
        name
    }
}

/// One place per contender, and a second one for the A/A test: with our runtime where it runs, else with the
/// first one that does.
fn entries(contenders: &[Box<dyn Contender>]) -> Vec<Entry> {
    let mut entries: Vec<Entry> =
        (0..contenders.len()).map(|contender| Entry { contender, again: false, every: 1 }).collect();
    let place = |name| contenders.iter().position(|c| c.name() == name);
    let first = (!contenders.is_empty()).then_some(0);
    let twice = place("tare").or_else(|| place("process")).or(first);
    entries.extend(twice.map(|contender| Entry { contender, again: true, every: 1 }));
    entries
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

    fn shared(costs_ms: &[u64], budget_s: u64, rounds: u32) -> (u32, Vec<u32>) {
        let mut entries: Vec<Entry> =
            (0..costs_ms.len()).map(|contender| Entry { contender, again: false, every: 1 }).collect();
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
        let mut entries = vec![Entry { contender: 0, again: false, every: 1 }];
        let plan = Plan { rounds: 7, budget: None };
        assert_eq!(share(&mut entries, &[Duration::from_secs(60)], plan, Duration::ZERO), 7);
        assert_eq!(entries[0].every, 1);
    }
}
