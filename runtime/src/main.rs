//! `tare-runtime`: the command line over the library.
//!
//! Man page: runc(8), whose words are used. Look at it: `tare-runtime --help`

#![cfg_attr(not(test), no_main)]

mod commands;
mod foreground;
mod images;
mod log;
mod options;
mod seal;
mod transfer;
mod words;

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use foreground::Session;
use nix::sys::signal::Signal;
use nix::unistd::{getegid, geteuid};
use options::{Asked, Command, ExecOptions, Options, Outside, RunOptions};
use tare_runtime::cgroup::events::Events;
use tare_runtime::image::Store;
use tare_runtime::network::Network;
use tare_runtime::{
    Container, Directory, Error, Exit, Mark, Runtime, State, Status, Volumes, connect_console, default_root,
    network, now, oci, sys,
};
use words::Stop;

/// The runtime's own failure, in one line.
type Failure = Box<dyn std::error::Error>;

/// Where the C library begins. Rust's own beginning would first read /proc/self/maps to find the end of the
/// stack, so as to find better words should we ever run over it: 0.15 ms, a twentieth of a whole start. What
/// else it does, [`sys::begin`] does.
#[cfg(not(test))]
#[allow(unsafe_code)]
// SAFETY: no other function of this program is called main.
#[unsafe(no_mangle)]
extern "C" fn main() -> std::ffi::c_int {
    let begun = now();
    match sys::begin() {
        Ok(()) => carry_out(begun).into(),
        Err(errno) => wrong(&format!("standard input, output and error: {errno}"), 1).into(),
    }
}

/// Carries the line out; returns the status to end with.
#[cfg_attr(test, allow(dead_code))]
fn carry_out(begun: u64) -> u8 {
    let mut line = std::env::args_os().skip(1).peekable();
    // No command of anybody's: see `network/proxy.rs`.
    if line.next_if(|word| word == network::PROXY).is_some() {
        let words: Vec<String> = line.filter_map(|word| word.into_string().ok()).collect();
        let served = network::serve(&words);
        return served.map_or_else(|why| wrong(&format!("{}: {why}", network::PROXY), 2), |()| 0);
    }
    let options = match Options::parse(line) {
        Ok(options) => options,
        Err(Stop::Asked(text)) => {
            return print(&text).unwrap_or_else(|failure| wrong(&failure.to_string(), 1));
        }
        Err(Stop::Wrong(why)) => return wrong(&format!("{why} (see --help)"), 2),
    };
    let log = options.log.clone();
    run(options, begun).unwrap_or_else(|failure| {
        if let Some(log) = log {
            log.tell(&failure.to_string());
        }
        wrong(&failure.to_string(), 1)
    })
}

/// The one line that says why, and the status: 1 for what failed, 2 for a line that cannot be understood.
fn wrong(why: &str, status: u8) -> u8 {
    tell(why);
    status
}

/// One line on standard error. A reader that has gone, or a full disk behind it, is not told anything more: what is
/// being carried out has to come to its end all the same, for a box may be running by now.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "tare-runtime: {line}");
}

fn run(options: Options, begun: u64) -> Result<u8, Failure> {
    let store = images::store(options.root.as_deref());
    let volumes = images::volumes(options.root.as_deref());
    let runtime =
        Runtime::new(options.root.unwrap_or_else(default_root)).with_program("/proc/self/exe".into());
    match options.command {
        Command::Run(run) => start(&runtime, &store, &volumes, *run, begun),
        Command::Create { request, outside } => create(&runtime, &request, &outside),
        Command::Start { id } => runtime.start(&id).map(|()| 0).map_err(Into::into),
        Command::Exec(exec) => self::exec(&runtime, &exec),
        Command::Kill { id, signal } => {
            let signal = signal.map_or_else(|| images::stop_signal(&runtime.load(&id)?), Ok)?;
            runtime.kill(&id, signal).map(|()| 0).map_err(Into::into)
        }
        Command::Delete { id, force } => runtime.delete(&id, force).map(|()| 0).map_err(Into::into),
        Command::State { id } => {
            let state = runtime.load(&id)?;
            print(&format!("{}\n", serde_json::to_string_pretty(&shown(&runtime, &state))?))
        }
        Command::List { json, quiet } => {
            let states = runtime.list()?;
            let all = || states.iter().map(|state| shown(&runtime, state)).collect::<Vec<_>>();
            print(&match (quiet, json) {
                (true, _) => states.iter().map(|state| format!("{}\n", state.id)).collect(),
                (false, true) => format!("{}\n", serde_json::to_string_pretty(&all())?),
                (false, false) => table(&runtime, &states),
            })
        }
        Command::Spec { bundle, rootless } => spec(&bundle, rootless),
        Command::Import { path, chosen, name, budget } => {
            let image = store.import_chosen(&path, chosen.as_deref(), &name, budget)?;
            print(&format!("{} {}\n", image.name, image.digest))
        }
        Command::Transfer(it) => images::transfer(&store, it, options.log),
        Command::Images { json, quiet } => images::list(&store.images()?, json, quiet),
        Command::Volumes => {
            print(&volumes.list()?.iter().map(|name| format!("{name}\n")).collect::<String>())
        }
        Command::RemoveVolume { name } => {
            volumes.remove(&name, || runtime.list()).map(|()| 0).map_err(Into::into)
        }
        Command::Remove { name } => store.remove(&name).map(|()| 0).map_err(Into::into),
    }
}

fn start(
    runtime: &Runtime,
    store: &Store,
    volumes: &Volumes,
    options: RunOptions,
    begun: u64,
) -> Result<u8, Failure> {
    let RunOptions { detach, mut asked, image, marks, outside, id } = options;
    if matches!(asked, Asked::Bundle(_)) {
        seal::ensure()?;
    }
    let understood = now();
    let standing = match (&mut asked, image) {
        (Asked::Options(spec), Some(image)) => Some(images::complete(store, image, spec, runtime.root())?),
        _ => None,
    };
    let lent = match &mut asked {
        Asked::Options(spec) => Some(volumes.lend(spec)?),
        Asked::Bundle(_) => None,
    };
    let terminal = match &asked {
        Asked::Options(spec) => spec.terminal,
        Asked::Bundle(request) => oci::wants_terminal(request)?,
    };
    // Before the start, so that a signal that comes during it is not lost.
    let session = Session::open(detach, terminal)?;
    let console = console(&outside, &session)?;
    let container = match &asked {
        Asked::Options(spec) => match &console {
            Some(console) => runtime.run_with_terminal(spec, sys::STDIO, console.as_fd()),
            None => runtime.run(spec, sys::STDIO),
        },
        Asked::Bundle(request) => runtime.run_bundle(request, sys::STDIO, console.as_ref().map(AsFd::as_fd)),
    }?;
    // The container's directory says so from here on, and others need not wait until it ends.
    drop((standing, lent));
    if let Err(error) = write_pid(&outside, &container)
        .and_then(|()| write_marks(marks.as_deref(), [begun, understood], &container))
    {
        end(runtime, &container)?;
        return Err(error);
    }
    if let Asked::Options(spec) = &asked
        && let Network::Bridge(_) = spec.network
        && let Some(warning) = runtime.load(&id)?.network.and_then(|network| network.warning)
    {
        tell(&format!("container {id}: {warning}"));
    }
    let Some(session) = session else { return Ok(0) };
    let ended = session.stay(&container);
    let events = Events::of(&container.cgroups);
    end(runtime, &container)?;
    if events.any() {
        tell(&format!("container {id}: {events}"));
    }
    code(ended)
}

fn create(runtime: &Runtime, request: &oci::Request, outside: &Outside) -> Result<u8, Failure> {
    seal::ensure()?;
    let console = console(outside, &None)?;
    let container = runtime.create(request, sys::STDIO, console.as_ref().map(AsFd::as_fd))?;
    if let Err(error) = write_pid(outside, &container) {
        end(runtime, &container)?;
        return Err(error);
    }
    Ok(0)
}

fn exec(runtime: &Runtime, options: &ExecOptions) -> Result<u8, Failure> {
    seal::ensure()?;
    let spec = &options.spec;
    let session = Session::open(options.detach, spec.terminal)?;
    let console = console(&options.outside, &session)?;
    let process = runtime.exec(&options.id, spec, sys::STDIO, console.as_ref().map(AsFd::as_fd))?;
    if let Err(error) = write_pid(&options.outside, &process) {
        // Else it would go on, and nobody would know of it.
        let _ = sys::pidfd_signal(&process.pidfd, Signal::SIGKILL as i32);
        let _ = process.wait();
        return Err(error);
    }
    match session {
        None => Ok(0),
        Some(session) => code(session.stay(&process)),
    }
}

fn code(ended: Result<Exit, Error>) -> Result<u8, Failure> {
    // Exit statuses have eight bits, signals are below 128.
    Ok(ended?.code() as u8)
}

/// The socket for the terminal's other end: the one that was named, or our own.
fn console(outside: &Outside, session: &Option<Session>) -> Result<Option<OwnedFd>, Failure> {
    match (&outside.console_socket, session.as_ref().and_then(Session::console)) {
        (Some(_), Some(_)) => Err("--console-socket is for a box that is left alone: use --detach".into()),
        (Some(path), None) => Ok(Some(connect_console(path)?)),
        (None, Some(own)) => Ok(Some(own.try_clone_to_owned()?)),
        (None, None) => Ok(None),
    }
}

fn write_pid(outside: &Outside, container: &Container) -> Result<(), Failure> {
    let Some(path) = &outside.pid_file else { return Ok(()) };
    std::fs::write(path, container.pid.to_string())
        .map_err(|error| format!("pid file {}: {error}", path.display()).into())
}

/// Two marks of our own, then the recipe's.
fn write_marks(
    path: Option<&Path>,
    [begun, understood]: [u64; 2],
    container: &Container,
) -> Result<(), Failure> {
    let Some(path) = path else { return Ok(()) };
    let own = [Mark { step: "begin", ended: begun }, Mark { step: "options", ended: understood }];
    let marks: Vec<&Mark> = own.iter().chain(&container.marks).collect();
    let written = std::fs::write(path, serde_json::to_string(&marks)?);
    written.map_err(|error| format!("marks {}: {error}", path.display()).into())
}

/// Kills and reaps what is left, and deletes.
fn end(runtime: &Runtime, container: &Container) -> Result<(), Error> {
    runtime.remove(container)?;
    // Reaped already if it was waited for.
    let _ = container.wait();
    Ok(())
}

/// The state as the specification has it, and what we know beyond: the status is asked for, not stored.
fn shown(runtime: &Runtime, state: &State) -> serde_json::Value {
    let directory = Directory::new(runtime.root(), &state.id);
    let status = state.status(&directory);
    let mut value = serde_json::json!({
        "ociVersion": oci::VERSION,
        "id": state.id,
        "status": status,
        "bundle": state.bundle,
        "annotations": state.annotations,
        "args": state.args,
        "cgroups": state.cgroups,
        "notApplied": state.not_applied,
        "events": Events::of(&state.cgroups),
    });
    if let Some(network) = &state.network {
        value["network"] = serde_json::json!(network);
    }
    if let (Some(process), Status::Created | Status::Running) = (state.process, status) {
        value["pid"] = serde_json::json!(process.pid);
    }
    value
}

fn table(runtime: &Runtime, states: &[State]) -> String {
    // Most hosts have no box with an address, and then no column for it.
    let network = |state: &State| {
        let network = state.network.as_ref()?;
        let ports = network.published.iter().map(ToString::to_string);
        Some(network.address.iter().map(ToString::to_string).chain(ports).collect::<Vec<_>>().join(" "))
    };
    let width =
        states.iter().filter_map(network).map(|it| it.len().max("NETWORK".len()) + 2).max().unwrap_or(0);
    let head = if width == 0 { "" } else { "NETWORK" };
    let mut text = format!("{:<24} {:>8}  {:<9} {head:<width$}COMMAND\n", "ID", "PID", "STATUS");
    for state in states {
        let status = state.status(&Directory::new(runtime.root(), &state.id)).to_string();
        let pid = state.process.map_or(0, |process| process.pid);
        let (id, network, command) =
            (state.id.as_str(), network(state).unwrap_or_default(), in_one_line(&state.args.join(" ")));
        text += &format!("{id:<24} {pid:>8}  {status:<9} {network:<width$}{command}\n");
    }
    text
}

/// What would end a line, or tell the terminal something, is written as one would type it: words of a command may be an
/// image's, and that a stranger's.
fn in_one_line(text: &str) -> String {
    let plain = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(plain).collect()
}

fn spec(bundle: &Path, rootless: bool) -> Result<u8, Failure> {
    let path = bundle.join("config.json");
    let config = oci::default_config(rootless.then(|| (geteuid().as_raw(), getegid().as_raw())));
    let mut file = std::fs::File::create_new(&path)
        .map_err(|error| format!("{}: {error} (it is not overwritten)", path.display()))?;
    writeln!(file, "{}", serde_json::to_string_pretty(&config)?)?;
    Ok(0)
}

/// A closed pipe is the reader's decision, not an error.
fn print(text: &str) -> Result<u8, Failure> {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(0),
    }
}
