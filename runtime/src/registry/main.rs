//! `tare-runtime-registry`: the part of `tare-runtime` that talks to registries. It is told what to do by that program,
//! see `transfer.rs`, and says what came of it as if it were that one.
//!
//! A registry is an HTTP server with three kinds of things: names and tags, which lead to manifests; manifests; and
//! blobs, which are named by their digest. To pull is to ask for a manifest and for the blobs that it names; to push is
//! to bring those blobs that the registry lacks, and the manifest last.
//!
//! Man page: the OCI distribution specification. Look at it: `tare-runtime pull --help`

mod credentials;
mod entrance;
#[path = "../log.rs"]
mod log;
mod manifest;
mod memory;
mod mount;
mod progress;
mod pull;
mod push;
mod refusal;
mod remote;
#[path = "../transfer.rs"]
mod transfer;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use tare_runtime::image::{Budget, Store};
use tokio::signal::unix::{SignalKind, signal};
use transfer::{Transfer, What};

/// Time for what was begun to remove itself.
const END: Duration = Duration::from_secs(10);

/// In one line.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How it ended.
enum Ended {
    /// With this on standard output.
    Done(String),
    /// By this signal.
    Interrupted(u8),
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let told = match (words.next(), words.next()) {
        (Some(word), None) => serde_json::from_str::<Transfer>(&word).ok(),
        _ => None,
    };
    let Some(transfer) = told else {
        tell(&format!("{}: a part of tare-runtime (see tare-runtime help pull)", transfer::PROGRAM));
        return ExitCode::from(2);
    };
    let log = transfer.log.clone();
    let subject = match &transfer.what {
        What::Pull { name, .. } => format!("pull {name}"),
        What::Push { local, remote } => format!("push {local} to {remote}"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.map_err(Failure::from).and_then(|runtime| {
        let ended = runtime.block_on(carry_out(transfer));
        // Whoever unpacks stops at the next entry; whoever waits for another import's lock is left there.
        runtime.shutdown_timeout(END);
        ended
    });
    match ended.and_then(finish) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            let line = format!("{subject}: {failure}");
            if let Some(log) = log {
                log.tell(&line);
            }
            tell(&format!("tare-runtime: {line}"));
            ExitCode::FAILURE
        }
    }
}

/// One line on standard error, for whoever is there to read it.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Until it is done, fails, or a signal comes. What was begun is then dropped, and removes itself.
async fn carry_out(transfer: Transfer) -> Result<Ended, Failure> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let store = Store::new(transfer.store.clone());
    let work = async {
        match &transfer.what {
            What::Pull { name, most } => {
                let budget = Budget { bytes: *most, ..Budget::default() };
                pull::pull(&store, name, budget, &transfer).await
            }
            What::Push { local, remote } => push::push(&store, local, remote, &transfer).await,
        }
    };
    let ended = tokio::select! {
        done = work => return done.map(Ended::Done),
        failure = memory::exceeded() => Err(failure),
        _ = interrupt.recv() => Ok(Ended::Interrupted(130)),
        _ = terminate.recv() => Ok(Ended::Interrupted(143)),
    };
    tare_runtime::image::stop();
    ended
}

/// A closed pipe is the reader's decision, not an error.
fn finish(ended: Ended) -> Result<u8, Failure> {
    let text = match ended {
        Ended::Interrupted(status) => return Ok(status),
        Ended::Done(text) => text,
    };
    let mut out = std::io::stdout();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(0),
    }
}
