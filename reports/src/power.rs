//! How often the verdict is wrong, and how small a difference it finds: experiments with a real run's noise.
//!
//! The A/A test of a run visited one contender twice in every round, so it holds pairs of figures between which
//! there is no difference. Of the other contenders two visits in a row make such a pair: they lie further apart
//! than those of one round, so their noise is rather too large than too small. An experiment draws as many rounds from it as are asked for, may multiply one side
//! (the planted difference), and asks the page's own verdict, [`against`]. Of many experiments without a
//! planted difference the share that `differs` is the rate of false alarms; with one, the power.
//!
//! Rounds are drawn in blocks of neighbours (moving block bootstrap, Künsch 1989): a host that was slow for a
//! while is slow for a while here too. Drawn one by one, rounds would be independent of each other, which is
//! what the permutation test hopes for and a real host does not keep. A coin decides for each block which
//! visit counts as the first: which one it was had been drawn by lot, so neither side is the slower by nature,
//! while what neighbours have in common stays. Two visits in a row were not shuffled as those of a round are, so
//! there the coin is thrown for each pair.

use std::collections::BTreeMap;

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
    /// Values of two visits between which there is no difference, in the order of their rounds, ns.
    pairs: Vec<[u64; 2]>,
    /// Whether the order within a pair was drawn by lot in the run already.
    shuffled: bool,
}

impl Noise {
    /// The noise that a run saw of this contender: in its A/A test where it made one, else between neighbouring
    /// visits. None where there are too few to draw blocks from.
    pub fn of(document: &Document, contender: &str) -> Option<Self> {
        let found = |aa: bool| {
            document.series.iter().find(|it| {
                let again = it.parameters.aa == Some(true);
                it.quantity == QUANTITY && it.contender == contender && again == aa
            })
        };
        let first = found(false)?;
        let values = by_round(first);
        let again = found(true).map(by_round);
        let shuffled = again.is_some();
        let pairs: Vec<[u64; 2]> = match again {
            Some(again) => {
                let both = |(round, value): (&u32, &u64)| Some([*value, *again.get(round)?]);
                values.iter().filter_map(both).collect()
            }
            None => {
                let values: Vec<u64> = values.into_values().collect();
                values.as_chunks().0.to_vec()
            }
        };
        if pairs.len() < 2 * BLOCKS {
            return None;
        }
        let bare = |aa: Option<bool>| Series {
            parameters: Parameters { aa, ..first.parameters.clone() },
            samples: Vec::new(),
            ..first.clone()
        };
        let frame = Document { series: Vec::new(), ..document.clone() };
        Some(Self { frame, series: [bare(None), bare(Some(true))], pairs, shuffled })
    }

    /// Pairs that can be drawn from.
    pub fn pairs(&self) -> usize {
        self.pairs.len()
    }

    /// Pairs that are drawn together.
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
            let mut second = usize::from(random.random::<bool>());
            let left = rounds - series[0].samples.len();
            for pair in &self.pairs[start..start + block.min(left)] {
                if !self.shuffled {
                    second = usize::from(random.random::<bool>());
                }
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

fn by_round(series: &Series) -> BTreeMap<u32, u64> {
    series.samples.iter().filter_map(|it| Some((it.round, it.value?))).collect()
}
