//! `tare run`.

use anyhow::{Context, Result};

use super::clean::leftovers;
use super::{print_bytes, print_json};
use crate::cli::RunArgs;
use crate::clock;
use crate::run::{Options, Selection, run as run_suite};

/// Measures, prints the summary and the path of the page, and says whether a killed run has left anything.
///
/// # Errors
/// As [`crate::run::run`].
pub fn run(args: RunArgs) -> Result<i32> {
    let options = Options {
        selection: Selection { measures: args.measures, only: args.only, skip: args.skip },
        profile: args.profile,
        rounds: args.rounds,
        seed: args.seed.unwrap_or_else(clock::now_ns),
        allow_host: args.allow_host,
        parent_cgroup: args.parent_cgroup,
        out: args.out,
        spawner: std::env::current_exe().context("find this executable")?,
        progress: true,
    };
    let outcome = run_suite(&options)?;
    if args.json {
        print_json(&outcome.document)?;
    } else {
        let table = tare_reports::text::table(&outcome.document);
        let page = std::path::absolute(&outcome.page)?;
        print_bytes(format!("{table}\n{}\n", page.display()).as_bytes())?;
    }
    // Last, where it is read.
    if let Some(line) = leftovers() {
        eprintln!("tare: {line}");
    }
    Ok(outcome.exit_status())
}
