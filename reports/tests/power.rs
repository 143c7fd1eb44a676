//! How far the verdict `differs / no verdict` is to be trusted: experiments with the noise of a real run of the
//! standard profile, `fixtures/noise.json`, on a host that others used as well.
//! `cargo run -p tare-reports --example power` prints the whole table; its `--trim` made the file of the run's
//! result: the series `ready` of `tare` (with its A/A test) and of `qemu`, nothing else changed.

use std::path::Path;

use tare_reports::Document;
use tare_reports::document::{Parameters, Series};
use tare_reports::power::Noise;
use tare_reports::stats::Difference;
use tare_reports::summary::summarise;

/// Experiments of each kind.
const REPETITIONS: u64 = 200;

/// Most false alarms: 7 %.
const MOST_ALARMS: u64 = 14;

fn fixture() -> Document {
    tare_reports::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/noise.json")).unwrap()
}

/// Rounds of the standard profile; a contender that takes seconds is visited as often as time allows.
const STANDARD: usize = 1_000;

/// Visits that a run of the standard profile made to `qemu`.
fn standard() -> usize {
    let document = fixture();
    assert_eq!(document.run.profile, "standard");
    let series = document.series.iter().find(|it| it.contender == "qemu").unwrap();
    series.samples.iter().filter(|it| it.value.is_some()).count()
}

fn of(contender: &str) -> Noise {
    Noise::of(&fixture(), contender).expect("the run is long enough")
}

#[test]
fn tare_against_itself_is_rarely_called_different() {
    let (noise, rounds) = (of("tare"), STANDARD);
    let alarms = noise.found(rounds, 0.0, REPETITIONS);
    println!("tare: {alarms} false alarms in {REPETITIONS} experiments of {rounds} rounds");
    assert!(alarms <= MOST_ALARMS, "{alarms} of {REPETITIONS}");
    // A test that never says anything would pass: chance alone must be heard now and then.
    assert!(alarms > 0);
}

#[test]
fn a_planted_tenth_is_found_for_tare() {
    let (noise, rounds) = (of("tare"), STANDARD);
    let found = noise.found(rounds, 0.1, REPETITIONS);
    println!("tare: 10 % found in {found} of {REPETITIONS} experiments of {rounds} rounds");
    assert!(found >= REPETITIONS * 9 / 10, "{found} of {REPETITIONS}");
}

#[test]
fn qemu_against_itself_is_rarely_called_different_and_the_smallest_found_is_told() {
    let (noise, rounds) = (of("qemu"), standard());
    let alarms = noise.found(rounds, 0.0, REPETITIONS);
    println!("qemu: {alarms} false alarms in {REPETITIONS} experiments of {rounds} rounds");
    assert!(alarms <= MOST_ALARMS && alarms > 0, "{alarms} of {REPETITIONS}");
    let tried = [0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.1, 0.2, 0.4];
    let smallest = noise.smallest(&tried, rounds, REPETITIONS).expect("40 % is seen by anybody");
    println!("qemu: the smallest difference found in nine of ten is {:.2} %", smallest * 100.0);
    assert!(noise.found(rounds, smallest, REPETITIONS) >= REPETITIONS * 9 / 10);
    let below = tried[..tried.iter().position(|it| *it == smallest).unwrap()].last();
    assert!(below.is_none_or(|it| noise.found(rounds, *it, REPETITIONS) < REPETITIONS * 9 / 10));
}

#[test]
fn the_noise_keeps_its_waves_and_only_the_planted_part_is_new() {
    let noise = of("tare");
    // Neighbouring rounds are alike in the run, and as alike in what is drawn from it.
    let real = alike(&values(&fixture(), None));
    let drawn = alike(&values(&noise.experiment(noise.pairs(), 0.0, 1), None));
    assert!(real > 0.2, "this host was steady ({real}): the experiments would not show what drift does");
    assert!((real - drawn).abs() < 0.2, "real {real}, drawn {drawn}");
    let (plain, planted) = (noise.experiment(50, 0.0, 3), noise.experiment(50, 0.1, 3));
    assert_eq!(values(&plain, None), values(&planted, None), "equal seeds, equal draws");
    for (was, is) in values(&plain, Some(true)).iter().zip(values(&planted, Some(true))) {
        assert!((is - was * 1.1).abs() <= 0.5, "{was} became {is}");
    }
    assert_ne!(values(&plain, None), values(&noise.experiment(50, 0.0, 4), None));
}

#[test]
fn the_verdict_is_the_one_on_the_page() {
    let noise = of("tare");
    // Under another name the second side is compared with the first as any box is with the bare process.
    for (planted, seed) in [(0.0, 0), (0.1, 1), (0.02, 2)] {
        let mut document = noise.experiment(100, planted, seed);
        let box_row = document.contenders.iter().find(|it| it.name == "tare").unwrap().clone();
        document.contenders.push(tare_reports::document::Contender { name: "process".into(), ..box_row });
        document.series[0].contender = "process".into();
        document.series[1].parameters = Parameters { aa: None, ..document.series[1].parameters.clone() };
        let rows = summarise(&document);
        let compared = rows[1].to_process.as_ref().unwrap();
        assert_eq!(compared.ratio.pairs, 100);
        let verdict = noise.verdict(100, planted, seed);
        assert_eq!(compared.ratio.difference, verdict, "{planted}");
        assert!(planted < 0.1 || verdict == Difference::Differs);
    }
}

/// The values of the first or the second visits, ns.
fn values(document: &Document, aa: Option<bool>) -> Vec<f64> {
    let wanted = |it: &&Series| it.contender == "tare" && it.parameters.aa == aa;
    let series = document.series.iter().find(wanted).unwrap();
    series.samples.iter().filter_map(|it| it.value).map(|it| it as f64).collect()
}

/// Correlation of the logarithms of neighbours.
fn alike(values: &[f64]) -> f64 {
    let logs: Vec<f64> = values.iter().map(|it| it.ln()).collect();
    let mean = logs.iter().sum::<f64>() / logs.len() as f64;
    let off: Vec<f64> = logs.iter().map(|it| it - mean).collect();
    off.windows(2).map(|it| it[0] * it[1]).sum::<f64>() / off.iter().map(|it| it * it).sum::<f64>()
}
