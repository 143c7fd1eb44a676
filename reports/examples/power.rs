//! How often the verdict of runs like these is wrong, and how small a difference it finds:
//! `cargo run -p tare-reports --example power -- RESULT...`; without arguments, of the committed run.
//!
//! `--trim RESULT OUT NAMES` writes what such an experiment needs of a run: the `ready` of these contenders.

use std::path::{Path, PathBuf};

use tare_reports::Document;
use tare_reports::document::Series;
use tare_reports::power::Noise;
use tare_reports::units::percent;

/// How often each experiment is made.
const REPETITIONS: u64 = 200;

/// Looked for, smallest first.
const DIFFERENCES: [f64; 13] =
    [0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.2, 0.4];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, from, to, names] = &arguments[..]
        && flag == "--trim"
    {
        let names: Vec<&str> = names.split(',').collect();
        return Ok(tare_reports::write(
            &trimmed(tare_reports::read(Path::new(from))?, &names),
            Path::new(to),
        )?);
    }
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let files: Vec<PathBuf> = match arguments.is_empty() {
        true => vec![fixtures.join("noise.json")],
        false => arguments.iter().map(PathBuf::from).collect(),
    };
    println!("{REPETITIONS} experiments each; a difference is found where nine of ten find it\n");
    println!("| contender | rounds | drawn in blocks of | false alarms | 10 % found | smallest found |");
    println!("|---|--:|--:|--:|--:|--:|");
    for file in files {
        let document = tare_reports::read(&file)?;
        for row in &document.contenders {
            let Some(noise) = Noise::of(&document, &row.name) else { continue };
            // As many as the run made, and what is left of them where time is short.
            let main = |it: &&Series| it.contender == row.name && it.parameters.aa.is_none();
            let visits = document
                .series
                .iter()
                .find(main)
                .map_or(0, |it| it.samples.iter().filter(|it| it.value.is_some()).count());
            for rounds in [visits, 100, 30] {
                table_row(&noise, &row.name, rounds);
            }
        }
    }
    Ok(())
}

fn table_row(noise: &Noise, name: &str, rounds: usize) {
    let share = |count: u64| percent(count as f64 / REPETITIONS as f64);
    let alarms = share(noise.found(rounds, 0.0, REPETITIONS));
    let found = share(noise.found(rounds, 0.1, REPETITIONS));
    let smallest = noise.smallest(&DIFFERENCES, rounds, REPETITIONS);
    let smallest = smallest.map_or_else(|| "none".to_owned(), percent);
    println!("| `{name}` | {rounds} | {} | {alarms} | {found} | {smallest} |", noise.block());
}

/// The run with these contenders alone, and of them the mark alone.
fn trimmed(mut document: Document, names: &[&str]) -> Document {
    document.contenders.retain(|it| names.contains(&it.name.as_str()));
    document.series.retain(|it| it.quantity == "ready" && names.contains(&it.contender.as_str()));
    document.run.readings.clear();
    document.audit.clear();
    document
}
