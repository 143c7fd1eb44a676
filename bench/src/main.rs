//! The binary `tare`.

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use tare::cli::{Cli, Command};
use tare::commands;

fn main() -> ExitCode {
    tare::spawner::become_if_asked();
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Doctor(args) => commands::doctor::doctor(&args),
        Command::List { json } => commands::list::list(json),
        Command::Run(args) => commands::run::run(args),
        Command::Report { results, out, lang } => commands::report::report(&results, out, lang),
        Command::Clean { dry_run } => commands::clean::clean(dry_run),
        Command::Completions { shell } => {
            let mut out = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tare", &mut out);
            commands::print_bytes(&out)
        }
        Command::Man => man(),
    };
    match result {
        Ok(status) => ExitCode::from(status as u8),
        Err(error) => {
            let usage = error.is::<tare::run::UnknownName>();
            // A reader that has gone (a closed pipe) is not told anything more.
            let _ = writeln!(std::io::stderr(), "tare: {error:#}");
            ExitCode::from(if usage { 2 } else { 1 })
        }
    }
}

fn man() -> anyhow::Result<i32> {
    let mut out = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut out)?;
    commands::print_bytes(&out)
}
