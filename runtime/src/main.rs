//! `tare-runtime`: the command line over the library.
//!
//! Man page: runc(8), whose words are used. Look at it: `tare-runtime --help`

mod foreground;
mod options;

use std::io::Write;
use std::os::fd::AsFd;
use std::process::ExitCode;

use clap::Parser;
use options::{Command, Options, RunOptions};
use tare_runtime::{Container, Error, Runtime, Spec, State, Status, default_root};

/// The runtime's own failure, in one line.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("tare-runtime: {failure}");
            ExitCode::from(1)
        }
    }
}

fn run(options: Options) -> Result<u8, Failure> {
    let runtime = Runtime::new(options.root.unwrap_or_else(default_root));
    match options.command {
        Command::Run(run) => start(&runtime, *run),
        Command::Delete { id, force } => runtime.delete(&id, force).map(|()| 0).map_err(Into::into),
        Command::State { id } => {
            print(&format!("{}\n", serde_json::to_string_pretty(&shown(&runtime.load(&id)?))?))?;
            Ok(0)
        }
        Command::List { json } => {
            let states = runtime.list()?;
            print(&if json {
                format!("{}\n", serde_json::to_string_pretty(&states.iter().map(shown).collect::<Vec<_>>())?)
            } else {
                table(&states)
            })?;
            Ok(0)
        }
    }
}

fn start(runtime: &Runtime, options: RunOptions) -> Result<u8, Failure> {
    let (detach, pid_file) = (options.detach, options.pid_file.clone());
    let spec = options.into_spec()?;
    // Before the start, so that a signal that comes during it is not lost.
    let signals = if detach { None } else { Some(foreground::Signals::hold()?) };
    let (input, output, error) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let container = runtime.run(&spec, [input.as_fd(), output.as_fd(), error.as_fd()])?;
    if let Some(path) = pid_file
        && let Err(error) = std::fs::write(&path, container.pid.to_string())
    {
        end(runtime, &spec, &container)?;
        return Err(format!("pid file {}: {error}", path.display()).into());
    }
    let Some(signals) = signals else { return Ok(0) };
    let exit = signals.forward_until_exit(&container);
    end(runtime, &spec, &container)?;
    // Exit statuses have eight bits, signals are below 128.
    Ok(exit?.code() as u8)
}

/// Kills and reaps what is left, and deletes.
fn end(runtime: &Runtime, spec: &Spec, container: &Container) -> Result<(), Error> {
    runtime.delete(&spec.id, true)?;
    // Reaped already if it was waited for.
    let _ = container.wait();
    Ok(())
}

/// A state with its status, which is asked for, not stored.
fn shown(state: &State) -> serde_json::Value {
    let mut value = serde_json::json!(state);
    value["status"] = serde_json::json!(state.status());
    value
}

fn table(states: &[State]) -> String {
    let mut text = format!("{:<24} {:>8}  {:<9} COMMAND\n", "ID", "PID", "STATUS");
    for state in states {
        let status = match state.status() {
            Status::Creating => "creating",
            Status::Running => "running",
            Status::Stopped => "stopped",
        };
        let pid = state.process.map_or(0, |process| process.pid);
        text += &format!("{:<24} {pid:>8}  {status:<9} {}\n", state.id.as_str(), state.args.join(" "));
    }
    text
}

/// A closed pipe is the reader's decision, not an error.
fn print(text: &str) -> std::io::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
