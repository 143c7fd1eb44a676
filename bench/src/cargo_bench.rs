//! What the targets of `cargo bench` share: criterion's flags, the runtime's binary, and one page for all of them.
//!
//! `cargo bench` passes one set of flags to every target, so a target that is not criterion must accept what
//! criterion accepts.

mod invocation;
mod lines;

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use tare_reports::document::Document;

use crate::clock;
use crate::run::{Options, Outcome, Profile, Selection, run};

pub use invocation::Invocation;

/// Criterion's flags. Those without an effect here are accepted and named when they are used.
#[derive(Debug, Parser)]
#[command(disable_version_flag = true)]
struct Flags {
    /// Measure only what has this in its name, as `startup/tare`
    filter: Option<String>,
    /// The filter is the whole name
    #[arg(long)]
    exact: bool,
    /// List what can be measured
    #[arg(long)]
    list: bool,
    /// Visit every contender this often
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    sample_size: Option<u32>,
    /// One visit each: does it run?
    #[arg(long)]
    test: bool,
    /// Ten visits each
    #[arg(long)]
    quick: bool,
    #[arg(long, hide = true)]
    bench: bool,
    #[arg(long, hide = true)]
    nocapture: bool,
    #[arg(long, hide = true)]
    show_output: bool,
    #[arg(long, short = 'n', hide = true)]
    noplot: bool,
    #[arg(long, short = 'v', hide = true)]
    verbose: bool,
    #[arg(long, hide = true)]
    quiet: bool,
    #[arg(long, hide = true)]
    discard_baseline: bool,
    #[arg(long, hide = true)]
    ignored: bool,
    #[arg(long, short = 'c', hide = true)]
    color: Option<String>,
    #[arg(long, short = 's', hide = true)]
    save_baseline: Option<String>,
    #[arg(long, short = 'b', hide = true)]
    baseline: Option<String>,
    #[arg(long, hide = true)]
    baseline_lenient: Option<String>,
    #[arg(long, hide = true)]
    load_baseline: Option<String>,
    #[arg(long, hide = true)]
    format: Option<String>,
    #[arg(long, hide = true)]
    output_format: Option<String>,
    #[arg(long, hide = true)]
    plotting_backend: Option<String>,
    #[arg(long, hide = true)]
    profile_time: Option<f64>,
    #[arg(long, hide = true)]
    warm_up_time: Option<f64>,
    #[arg(long, hide = true)]
    measurement_time: Option<f64>,
    #[arg(long, hide = true)]
    nresamples: Option<u64>,
    #[arg(long, hide = true)]
    noise_threshold: Option<f64>,
    #[arg(long, hide = true)]
    confidence_level: Option<f64>,
    #[arg(long, hide = true)]
    significance_level: Option<f64>,
}

impl Flags {
    /// Flags given that mean something to criterion and nothing here.
    fn without_effect(&self) -> Vec<&'static str> {
        let texts = [
            (self.save_baseline.is_some(), "--save-baseline"),
            (self.baseline.is_some(), "--baseline"),
            (self.baseline_lenient.is_some(), "--baseline-lenient"),
            (self.load_baseline.is_some(), "--load-baseline"),
            (self.profile_time.is_some(), "--profile-time"),
            (self.warm_up_time.is_some(), "--warm-up-time"),
            (self.measurement_time.is_some(), "--measurement-time"),
            (self.nresamples.is_some(), "--nresamples"),
            (self.noise_threshold.is_some(), "--noise-threshold"),
            (self.confidence_level.is_some(), "--confidence-level"),
            (self.significance_level.is_some(), "--significance-level"),
        ];
        texts.iter().filter(|(given, _)| *given).map(|(_, name)| *name).collect()
    }

    fn rounds(&self) -> Option<u32> {
        match self {
            Self { test: true, .. } => Some(1),
            Self { quick: true, .. } => Some(10),
            _ => self.sample_size,
        }
    }

    fn wants(&self, name: &str) -> bool {
        match &self.filter {
            None => true,
            Some(filter) if self.exact => name == filter,
            Some(filter) => name.contains(filter.as_str()),
        }
    }
}

/// The whole of a bench target that runs one measure; returns the exit status.
pub fn main(measure: &str) -> i32 {
    crate::spawner::become_if_asked();
    match target(measure, Flags::parse()) {
        Ok(status) => status,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "tare: {error:#}");
            1
        }
    }
}

fn target(measure: &str, flags: Flags) -> Result<i32> {
    // A filter may name anybody; without one it is the quick profile's.
    let profile = if flags.filter.is_none() { Profile::Quick } else { Profile::Standard };
    let (_, contenders) = Selection::default().resolve(profile)?;
    let names = contenders.iter().map(|c| c.name().to_owned());
    let names: Vec<String> = names.filter(|c| flags.wants(&format!("{measure}/{c}"))).collect();
    if flags.list {
        for name in names {
            println!("{measure}/{name}: benchmark");
        }
        return Ok(0);
    }
    if names.is_empty() {
        println!("\nrunning 0 benchmarks of {measure}: none matches the filter\n");
        return Ok(0);
    }
    for flag in flags.without_effect() {
        eprintln!("tare: {flag} has no effect on {measure}: every run is kept under target/tare");
    }
    build_runtime()?;
    let out = workspace().join("target/tare");
    let invocation = Invocation::ours();
    // One document has one seed.
    let earlier = invocation.as_ref().and_then(|it| it.runs(&out).0.first().map(|it| it.run.seed));
    let seed = earlier.unwrap_or_else(clock::now_ns);
    // A number of searches would fill the host so many times, however long that takes: it is one, in the profile's time.
    let rounds = flags.rounds().filter(|_| measure != tare_reports::density::MEASURE);
    if rounds != flags.rounds() {
        eprintln!("tare: {measure} is one search in the profile's time, whatever the number of visits");
    }
    let outcome = run(&Options {
        selection: Selection { measures: vec![measure.into()], only: names, ..Selection::default() },
        profile: Profile::Quick,
        rounds,
        seed,
        allow_host: false,
        parent_cgroup: None,
        out: out.clone(),
        spawner: std::env::current_exe().context("find this executable")?,
        progress: true,
    })?;
    let merged = match invocation {
        Some(invocation) => {
            invocation.note(&outcome.dir)?;
            invocation.merge(&out, |line| eprintln!("tare: {line}"))?
        }
        None => None,
    };
    print(measure, &outcome, merged.as_ref());
    Ok(outcome.exit_status())
}

/// Lines for other tools, then the table and the page: of all targets so far, where this is not the first.
fn print(measure: &str, outcome: &Outcome, merged: Option<&(Document, PathBuf)>) {
    println!();
    for line in lines::of(measure, &outcome.document) {
        println!("{line}");
    }
    let (document, page) =
        merged.map_or((&outcome.document, &outcome.page), |(document, page)| (document, page));
    println!("\n{}\n{}", tare_reports::text::table(document), page.display());
}

/// The workspace's directory.
fn workspace() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    package.parent().map(PathBuf::from).unwrap_or(package)
}

/// `cargo bench` does not build another package's binary, so this does, with the same profile.
fn build_runtime() -> Result<()> {
    let Some(cargo) = std::env::var_os("CARGO") else { return Ok(()) };
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package", "tare-runtime", "--bin", "tare-runtime"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let status = command.current_dir(workspace()).status().context("run cargo to build tare-runtime")?;
    ensure!(status.success(), "cargo could not build tare-runtime ({status}): see its message above");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn criterions_flags_are_accepted() {
        let line = "startup --bench --noplot --save-baseline a --sample-size 20 --color always tare";
        let flags = Flags::try_parse_from(line.split(' ')).unwrap();
        assert_eq!(flags.rounds(), Some(20));
        assert_eq!(flags.without_effect(), ["--save-baseline"]);
        assert!(flags.wants("startup/tare-lib") && !flags.wants("startup/runc"));
    }
}
