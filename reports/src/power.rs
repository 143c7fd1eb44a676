//! How often the verdict is wrong, and how small a difference it finds: experiments with a real run's noise.
//!
//! The A/A test of a run visited one contender twice in every round, so it holds pairs of figures between which
//! there is no difference. An experiment draws as many rounds from it as are asked for, may multiply one side
//! (the planted difference), and asks the page's own verdict, [`against`]. Of many experiments without a
//! planted difference the share that `differs` is the rate of false alarms; with one, the power.
//!
//! Rounds are drawn in blocks of neighbours (moving block bootstrap, Künsch 1989): a host that was slow for a
//! while is slow for a while here too. Drawn one by one, rounds would be independent of each other, which is
//! what the permutation test hopes for and a real host does not keep. A coin decides for each block which
//! visit counts as the first: which one it was had been drawn by lot, so neither side is the slower by nature,
//! while what neighbours have in common stays.

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::document::{Document, Parameters, Sample, Series};
use crate::stats::{self, Difference};
use crate::summary::against;

/// What is judged: the mark that the clock runs to.
const QUANTITY: &str = "ready";

/// So many blocks make an experiment as long as its source: few enough that one holds the waves of a host
/// (tens of rounds), enough that no two experiments are alike.
const BLOCKS: usize = 20;

/// A difference counts as found where nine of ten experiments find it.
const ENOUGH: f64 = 0.9;

/// The noise of one contender in one run.
#[derive(Debug, Clone)]
pub struct Noise {
    /// The run without its samples.
    frame: Document,
    /// The two series of the A/A test, without their samples.
    series: [Series; 2],
    /// Values of the rounds in which both visits succeeded, in order, ns.
    pairs: Vec<[u64; 2]>,
}

impl Noise {
    /// The noise that a run's A/A test of this contender saw. None where it made none, or one too short to draw
    /// blocks from.
    pub fn of(document: &Document, contender: &str) -> Option<Self> {
        let found = |aa: bool| {
            document.series.iter().find(|it| {
                let again = it.parameters.aa == Some(true);
                it.quantity == QUANTITY && it.contender == contender && again == aa
            })
        };
        let (second, first) = (found(true)?, found(false)?);
        let values = |series: &Series| -> std::collections::BTreeMap<u32, u64> {
            series.samples.iter().filter_map(|it| Some((it.round, it.value?))).collect()
        };
        let others = values(second);
        let pairs: Vec<[u64; 2]> = values(first)
            .into_iter()
            .filter_map(|(round, value)| Some([value, *others.get(&round)?]))
            .collect();
        if pairs.len() < 2 * BLOCKS {
            return None;
        }
        let bare = |series: &Series, aa: Option<bool>| Series {
            parameters: Parameters { aa, ..series.parameters.clone() },
            samples: Vec::new(),
            ..series.clone()
        };
        let frame = Document { series: Vec::new(), ..document.clone() };
        Some(Self { frame, series: [bare(first, None), bare(first, Some(true))], pairs })
    }

    /// Rounds that can be drawn from.
    pub fn rounds(&self) -> usize {
        self.pairs.len()
    }

    /// Rounds that are drawn together.
    pub fn block(&self) -> usize {
        self.pairs.len() / BLOCKS
    }

    /// One experiment as the document of a run: so many rounds, the second side slower by `planted` (0.1 is
    /// 10 %). Equal seeds, equal experiments.
    pub fn experiment(&self, rounds: usize, planted: f64, seed: u64) -> Document {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(stats::derive_seed(
            seed,
            &["power", &self.series[0].contender],
        ));
        let mut series = self.series.clone();
        let block = self.block();
        while series[0].samples.len() < rounds {
            let start = random.random_range(0..=self.pairs.len() - block);
            let second = usize::from(random.random::<bool>());
            let left = rounds - series[0].samples.len();
            for pair in &self.pairs[start..start + block.min(left)] {
                let round = series[0].samples.len() as u32;
                let slower = pair[second] as f64 * (1.0 + planted);
                series[0].samples.push(Sample::value(round, 0, pair[1 - second]));
                series[1].samples.push(Sample::value(round, 1, slower.round() as u64));
            }
        }
        let mut document = Document { series: series.into(), ..self.frame.clone() };
        document.run.seed = seed;
        document
    }

    /// What the page says of that experiment.
    pub fn verdict(&self, rounds: usize, planted: f64, seed: u64) -> Difference {
        let document = self.experiment(rounds, planted, seed);
        let compared = against(&document, &document.series[1], &self.series[0].contender);
        compared.map_or(Difference::NoVerdict, |it| it.ratio.difference)
    }

    /// In how many of so many experiments, with the seeds from 0 on, the two sides `differ`.
    pub fn found(&self, rounds: usize, planted: f64, repetitions: u64) -> u64 {
        let differs = |seed: &u64| self.verdict(rounds, planted, *seed) == Difference::Differs;
        (0..repetitions).filter(differs).count() as u64
    }

    /// The smallest of the differences, given in rising order, that is found in nine of ten experiments. None
    /// where even the largest is not.
    pub fn smallest(&self, differences: &[f64], rounds: usize, repetitions: u64) -> Option<f64> {
        let enough =
            |planted: &f64| self.found(rounds, *planted, repetitions) as f64 >= ENOUGH * repetitions as f64;
        // What is found stays found when it is larger: halving asks a few of them only.
        differences.get(differences.partition_point(|it| !enough(it))).copied()
    }
}
