//! Rounds: visits to every contender in shuffled order, within a budget of time.
//!
//! All of A and then all of B would measure the weather as well (METHOD, 19): each round visits everybody
//! once, in an order drawn from the run's seed and stored with the samples. A contender that takes seconds is
//! visited in every n-th round only, so that it cannot eat the budget of those that take milliseconds; what did
//! not fit is listed with the command that measures it.

mod schedule;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;
use tare_reports::document::Parameters;
use tare_reports::stats::MIN_FOR_INTERVAL;

use crate::contenders::Contender;
use crate::host::noise::Noise;
use crate::lab::Lab;
use crate::measures::{Order, Pass};
use crate::record::{Record, Unfit, Visit};
use crate::site::Site;

use schedule::{Schedule, even_above};

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

/// Runs the rounds; returns whether all of them were finished. What the time did not allow is noted in the record.
///
/// # Errors
/// When results cannot be saved.
pub fn run(mut rounds: Rounds<'_>, plan: Plan, seed: u64) -> Result<bool> {
    let mut order = Xoshiro256PlusPlus::seed_from_u64(seed);
    let plan = rounds.pass.plan(plan);
    let mirrored = rounds.pass.order() == Order::Mirrored;
    let entries = entries(rounds.contenders, rounds.pass);
    if entries.is_empty() {
        return Ok(true);
    }
    // The warm-up is paid from the same budget.
    let end = plan.budget.map(|budget| rounds.lab.elapsed() + budget);
    let mut schedule = Schedule::new(entries.len(), end);
    rounds.warm_up(&schedule);
    let began = rounds.lab.elapsed();
    let mut total = if mirrored { even_above(plan.rounds) } else { plan.rounds };
    let (mut made, mut planned) = (0, entries.len() as u64);
    let mut saved = Instant::now();
    let engines: Vec<String> =
        rounds.contenders.iter().filter_map(|it| it.served_in(rounds.site)?.ok()).collect();
    let mut before = Noise::read(std::process::id(), &engines);
    let mut visits: Vec<usize> = Vec::new();
    let mut round = 0;
    while round < total {
        if mirrored && round % 2 == 1 {
            visits.reverse();
            visits.retain(|&i| schedule.is_due(i, round));
        } else {
            visits = (0..entries.len()).filter(|&i| schedule.is_due(i, round)).collect();
            visits.shuffle(&mut order);
        }
        let before_round = made;
        for (position, &i) in visits.iter().enumerate() {
            if !schedule.fits(i, rounds.lab.elapsed()) {
                continue;
            }
            let to_come = if rounds.pass.shares_evenly() { visits.len() - position } else { 2 };
            let Some(shares) = schedule.shares(to_come as u32, rounds.pass.least(), rounds.lab.elapsed())
            else {
                continue;
            };
            let place = (round, position as u32, shares);
            let name = rounds.timed_visit(&mut schedule, i, &entries[i], place);
            made += 1;
            (rounds.progress)(made, planned, &name);
            if rounds.lab.interrupted().is_some() {
                rounds.lab.cut_at(None);
                rounds.record.save()?;
                return Ok(false);
            }
        }
        if made == before_round {
            // The time is over.
            break;
        }
        if rounds.pass.single_starts() {
            let now = Noise::read(std::process::id(), &engines);
            rounds.record.document.run.readings.push(now.since(&before, round));
            before = now;
        }
        if round == 0 {
            // The first round told what a visit costs: the rest of the budget is shared out now.
            let now = rounds.lab.elapsed();
            total = match mirrored {
                true => schedule.pairs(plan.rounds, began, now),
                false => schedule.share(plan.rounds, now),
            };
            planned = schedule.planned(total);
        }
        if saved.elapsed() >= SAVE_EVERY {
            rounds.record.save()?;
            saved = Instant::now();
        }
        round += 1;
    }
    rounds.lab.cut_at(None);
    if plan.budget.is_some() {
        rounds.note_unfit(&entries, &schedule, plan);
    }
    rounds.record.save()?;
    Ok(true)
}

impl Rounds<'_> {
    fn warm_up(&mut self, schedule: &Schedule) {
        for contender in self.contenders.iter_mut().filter(|it| !self.pass.settings(it.as_ref()).is_empty()) {
            self.lab.cut_at(schedule.cut_at(0, self.lab.elapsed(), 2));
            self.pass.warm_up(self.lab, self.site, contender.as_mut());
        }
    }

    /// A visit within its time, and what it took.
    fn timed_visit(
        &mut self,
        schedule: &mut Schedule,
        place: usize,
        entry: &Entry,
        (round, position, to_come): (u32, u32, u32),
    ) -> String {
        let began = self.lab.elapsed();
        self.lab.cut_at(schedule.cut_at(place, began, to_come));
        let name = self.visit(entry, round, position);
        schedule.visited(place, self.lab.elapsed() - began, self.lab.was_cut());
        name
    }

    fn visit(&mut self, entry: &Entry, round: u32, position: u32) -> String {
        let contender = self.contenders[entry.contender].as_mut();
        let (name, mode) = (contender.name().to_owned(), contender.description().mode);
        let mode = self.pass.mode().unwrap_or(mode);
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

    /// Notes whom the time allowed fewer visits than an interval needs: of the settings of a contender the one
    /// visited least.
    fn note_unfit(&mut self, entries: &[Entry], schedule: &Schedule, plan: Plan) {
        let enough = plan.rounds.min(MIN_FOR_INTERVAL as u32);
        let mut least: BTreeMap<usize, (u32, Duration)> = BTreeMap::new();
        for (place, entry) in entries.iter().enumerate().filter(|(_, it)| it.parameters.aa.is_none()) {
            let (visits, cost) = schedule.made(place);
            let known = least.entry(entry.contender).or_insert((visits, cost));
            *known = (known.0.min(visits), known.1.max(cost));
        }
        let unfit = least.into_iter().filter(|(_, (visits, _))| *visits < enough);
        let unfit = unfit.map(|(contender, (visits, longest))| Unfit {
            contender: self.contenders[contender].name().to_owned(),
            measure: self.measure.to_owned(),
            on_host: self.pass.on_host().is_some(),
            rounds: enough_of(self.pass),
            visits,
            longest,
        });
        self.record.note_unfit(unfit.collect());
    }
}

/// So many rounds of a run, in steps of twenty, give this pass, which may get a part of them, an interval.
fn enough_of(pass: &dyn Pass) -> u32 {
    let of = |rounds: u32| pass.plan(Plan { rounds, budget: None }).rounds;
    (1..=100).map(|it| it * 20).find(|it| of(*it) >= MIN_FOR_INTERVAL as u32).unwrap_or(2000)
}

/// One place for each setting of each contender, and a second one for the A/A test: with our runtime where it
/// is asked, else with the first one that is; of its settings the last.
fn entries(contenders: &[Box<dyn Contender>], pass: &dyn Pass) -> Vec<Entry> {
    let of = |contender: usize| {
        let settings = pass.settings(contenders[contender].as_ref()).into_iter();
        settings.map(move |parameters| Entry { contender, parameters })
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
        });
        entries.extend(again);
    }
    entries
}
