//! The lab: starts one instance through the spawner, watches it, accounts for it and takes it down.
//!
//! One clock (`clock`), one order of events for everybody: t0, everything per instance, READY read by the
//! host; then the questions of a measure; then the stop request, the end of the box's process, the tool's own
//! removal, and the check that nothing is left. Waiting is always for an event, never a poll in intervals.

mod canary;
mod events;
mod herd;
mod instance;
mod listing;
mod multitude;
mod patience;
mod process;
mod reach;
mod resume;
mod stop;
mod tools;
mod volley;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tare_reports::document::Failure;

use crate::clock::{self, Deadline};
use crate::contenders::Contender;
use crate::interrupt::Interrupt;
use crate::site::{Site, Start};
use crate::spawner::client::Spawner;
use crate::spawner::protocol::{Event, Exit, Launch, Request, Script};

pub use canary::{Beat, Heard};
use instance::Scripted;
pub use instance::{Failed, Instance, Moments};
pub use multitude::{Grown, Multitude};
use patience::Patience;
use process::{helpers_cpu, open_channel};
pub use reach::Reached;
pub use stop::Stopped;
pub use volley::{Arrival, Schedule};

/// How long a payload that said READY may take to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// Starts, watches and stops boxes: one at a time, many on a schedule, or beside others that are held.
#[derive(Debug)]
pub struct Lab {
    /// What becomes a spawner or a keeper.
    executable: PathBuf,
    /// The cgroups in which what is started for a box is born.
    birthplaces: Vec<PathBuf>,
    spawner: Spawner,
    interrupt: Interrupt,
    /// Where boxes with a link connect to.
    listener: Option<TcpListener>,
    /// What boxes and tools write to standard error; read when something fails.
    errors: File,
    errors_from: u64,
    tag: u64,
    nonce: u64,
    exits: BTreeMap<u32, Exit>,
    answers: HashMap<u64, Event>,
    /// Processes of boxes that run beside those in hand, and are no trace of these.
    held: BTreeSet<u32>,
    /// Where a multitude is: only processes that began at or after this moment, in clock ticks after boot, may be of
    /// the box in hand.
    young_since: Option<u64>,
    /// The last box that was taken away by force, with its contender's name.
    rescued: Option<(String, Start)>,
    /// CPU time the spawner spent on the instance in hand, ns.
    spawner_cpu_ns: u64,
    patience: Patience,
    /// CPU time of the contender's helpers before the instance in hand, ns; none where it has none.
    helpers_cpu_ns: Option<Result<u64, Failed>>,
}

impl Lab {
    /// Starts the spawner from `executable`, and listens for interrupts. `seed` makes nonces differ between
    /// runs; `errors` collects what boxes write to standard error.
    ///
    /// # Errors
    /// When the spawner does not start.
    pub fn open(executable: &Path, errors: &Path, seed: u64) -> Result<Self> {
        Self::open_in(executable, errors, seed, &[])
    }

    /// The same, with all that is started for a box born in these cgroups (their directories).
    ///
    /// # Errors
    /// As [`Lab::open`], and when one of them lets nobody in.
    pub fn open_in(executable: &Path, errors: &Path, seed: u64, birthplaces: &[PathBuf]) -> Result<Self> {
        let errors = File::options()
            .create(true)
            .append(true)
            .read(true)
            .open(errors)
            .with_context(|| format!("open {}", errors.display()))?;
        Ok(Self {
            executable: executable.to_owned(),
            birthplaces: birthplaces.to_owned(),
            spawner: Spawner::start(executable, birthplaces)?,
            interrupt: Interrupt::listen()?,
            listener: None,
            errors,
            errors_from: 0,
            tag: 0,
            nonce: seed,
            exits: BTreeMap::new(),
            answers: HashMap::new(),
            held: BTreeSet::new(),
            young_since: None,
            rescued: None,
            spawner_cpu_ns: 0,
            patience: Patience::default(),
            helpers_cpu_ns: None,
        })
    }

    /// Has what is started for a box born in these cgroups (their directories) from now on.
    ///
    /// # Errors
    /// When one of them lets nobody in; it is then as before.
    pub fn born_in(&mut self, cgroups: Vec<PathBuf>) -> Result<(), Failed> {
        let tag = self.next_tag();
        self.request(Request::BornIn { tag, cgroups: cgroups.clone() }, &[])?;
        self.done(tag)?;
        self.birthplaces = cgroups;
        Ok(())
    }

    /// The signal that asked the run to end, if one has come.
    pub fn interrupted(&mut self) -> Option<nix::sys::signal::Signal> {
        self.interrupt.check()
    }

    /// The spawner's process id.
    pub fn spawner_pid(&self) -> u32 {
        self.spawner.pid()
    }

    /// Whether overlay mounts for other tools can be made.
    pub fn own_mounts(&self) -> bool {
        self.spawner.own_mounts()
    }

    /// Starts one instance and waits until the host has read READY.
    ///
    /// On failure everything of the instance is taken away before this returns.
    ///
    /// # Errors
    /// The failure that the sample records.
    pub fn start(&mut self, contender: &mut dyn Contender, site: &Site) -> Result<Instance, Failed> {
        self.begin();
        self.helpers_cpu_ns = helpers_cpu(contender, site);
        let start = self.next_start(contender.name());
        let result = self.start_timed(contender, site, &start);
        let result = self.in_time(contender, result);
        result.map_err(|failed| {
            let failed = self.explain(contender, site, &start, failed);
            self.rescue(contender, site, &start);
            failed
        })
    }

    /// The same, and asks for a sign of life (see [`alive`](Self::alive)): a box that says READY and then answers
    /// nothing has not started.
    ///
    /// # Errors
    /// As `start` and `alive`; nothing of the instance is left then.
    pub fn start_alive(
        &mut self,
        contender: &mut dyn Contender,
        site: &Site,
        line: Option<&str>,
    ) -> Result<Instance, Failed> {
        let mut instance = self.start(contender, site)?;
        match self.alive(contender, site, &mut instance, line) {
            Ok(()) => Ok(instance),
            Err(failed) => {
                self.abandon(contender, site, &instance);
                Err(failed)
            }
        }
    }

    fn begin(&mut self) {
        // One of those held may end at any time; whoever takes them down asks for it.
        self.exits.retain(|pid, _| self.held.contains(pid));
        self.answers.clear();
        self.spawner_cpu_ns = 0;
        self.errors_from = self.errors.metadata().map(|m| m.len()).unwrap_or(0);
    }

    fn next_start(&mut self, name: &str) -> Start {
        // splitmix64's increment: nonces of one run never repeat and look unlike each other.
        self.nonce = self.nonce.wrapping_add(0x9e37_79b9_7f4a_7c15);
        Start { id: format!("{name}-{}", self.next_tag()), nonce: format!("{:016x}", self.nonce) }
    }

    fn next_tag(&mut self) -> u64 {
        self.tag += 1;
        self.tag
    }

    fn start_timed(
        &mut self,
        contender: &mut dyn Contender,
        site: &Site,
        start: &Start,
    ) -> Result<Instance, Failed> {
        let prepared_ns = self.stock(contender, site, start)?;
        let tag = self.next_tag();
        let deadline = self.deadline(contender);
        let t0 = clock::now_ns();
        let launch =
            contender.launch(site, start).map_err(|e| Failed::new(Failure::Start, format!("{e:#}")))?;
        let mut instance = Instance {
            start: start.clone(),
            ready_ns: 0,
            prepared_ns,
            not_applied: Vec::new(),
            moments: Moments { began: t0, ..Moments::default() },
            spans: BTreeMap::new(),
            reached: None,
            channel: None,
            main: None,
            foreign: None,
            scripted: None,
            edits: Vec::new(),
            disk: Vec::new(),
            transfers: Vec::new(),
        };
        match launch {
            Launch::Scripted(Script::Took {
                ready,
                teardown,
                cpu,
                memory,
                answers,
                spans,
                edits,
                disk,
                transfers,
            }) => {
                instance.ready_ns = ready;
                (instance.edits, instance.disk, instance.transfers) = (edits, disk, transfers);
                instance.moments.scripted = spans;
                instance.scripted = Some(Scripted { teardown_ns: teardown, cpu_ns: cpu, memory, answers });
                return Ok(instance);
            }
            Launch::Scripted(Script::Failed { failure, detail }) => {
                return Err(Failed::new(failure, detail));
            }
            launch @ Launch::HandLoop { .. } => {
                self.request(Request::Start { tag, launch }, &[])?;
                let Event::Timed { ready_ns, teardown_ns, cpu_ns, .. } = self.answer(tag, deadline)? else {
                    return Err(Failed::new(Failure::Start, "the spawner gave another answer than a time"));
                };
                instance.ready_ns = ready_ns;
                instance.scripted = Some(Scripted { teardown_ns, cpu_ns, memory: None, answers: None });
                return Ok(instance);
            }
            launch => {
                let (mut channel, [input, output]) = open_channel(contender, site, start)
                    .map_err(|e| Failed::new(Failure::Start, format!("make the channel: {e}")))?;
                let fds = [input.as_raw_fd(), output.as_raw_fd(), self.errors.as_raw_fd()];
                self.request(Request::Start { tag, launch }, &fds)?;
                drop((input, output));
                let line = match contender.resumption() {
                    None => {
                        let named = &mut instance.moments.named;
                        self.ready(&mut channel, contender, (start, named), tag, deadline)?
                    }
                    Some(resumption) => {
                        let (line, spans) =
                            self.resume(&mut channel, resumption, (start, t0), tag, deadline)?;
                        instance.spans = spans;
                        line
                    }
                };
                instance.ready_ns = line.at_ns - t0;
                instance.moments.line_began = line.began_ns;
                instance.moments.ready = line.at_ns;
                instance.channel = Some(channel.of_an_open_box());
                if let Some(link) = contender.link() {
                    instance.reached = Some(self.reached(&mut instance, link, deadline)?);
                }
            }
        }
        // From here on outside the clock.
        let Event::Started { pid, cpu_ns, not_applied, marks, .. } = self.answer(tag, deadline)? else {
            return Err(Failed::new(Failure::Start, "the spawner gave another answer than a process"));
        };
        self.spawner_cpu_ns += cpu_ns;
        instance.not_applied = not_applied;
        instance.moments.marks = marks;
        self.find_process(&mut instance, contender, site, pid, deadline)?;
        Ok(instance)
    }

    /// Makes a box in stock, for a contender that has them. Returns how long that took, ns.
    fn stock(
        &mut self,
        contender: &mut dyn Contender,
        site: &Site,
        start: &Start,
    ) -> Result<Option<u64>, Failed> {
        let failed = |error: String| Failed::new(Failure::Start, error);
        let Some(launch) = contender.stock(site, start).map_err(|e| failed(format!("{e:#}")))? else {
            return Ok(None);
        };
        let deadline = self.deadline(contender);
        let (tag, before) = (self.next_tag(), clock::now_ns());
        // Its own descriptors come with its command.
        let null = File::options().read(true).write(true).open("/dev/null");
        let null = null.map_err(|e| failed(format!("open /dev/null: {e}")))?;
        let fds = [null.as_raw_fd(), null.as_raw_fd(), self.errors.as_raw_fd()];
        self.request(Request::Start { tag, launch }, &fds)?;
        match self.answer(tag, deadline)? {
            Event::Started { .. } => Ok(Some(clock::now_ns() - before)),
            _ => Err(failed("the spawner gave another answer than a process".into())),
        }
    }

    /// Asks a box that said READY for a sign of life: `ping` with a nonce of its own, or another line of the
    /// payload's commands, whose answer must be `PONG` or `OK`.
    ///
    /// # Errors
    /// `WrongAnswer`, `Timeout`, `Crash` or `GuestPanic`; the box is then to be [abandoned](Lab::abandon).
    pub fn alive(
        &mut self,
        contender: &dyn Contender,
        site: &Site,
        instance: &mut Instance,
        line: Option<&str>,
    ) -> Result<(), Failed> {
        if instance.scripted.is_some() {
            return Ok(());
        }
        let ping = format!("ping {}", instance.start.nonce.chars().rev().collect::<String>());
        let line = line.unwrap_or(&ping);
        let expected = match line.strip_prefix("ping ") {
            Some(nonce) => format!("PONG {nonce}"),
            None => format!("OK {line}"),
        };
        let start = instance.start.clone();
        let result = self.ask(instance, line, ANSWERS_WITHIN).and_then(|answer| {
            let wrong = || Failed::new(Failure::WrongAnswer, format!("{line} was answered by {answer:?}"));
            (answer == expected).then_some(()).ok_or_else(wrong)
        });
        result.map_err(|failed| {
            // A guest that panics ends its machine, and says why, a moment later.
            if let Some(main) = instance.main
                && failed.failure == Failure::Crash
            {
                let _ = self.exit_of(main, Deadline::after(ANSWERS_WITHIN));
            }
            self.explain(contender, site, &start, failed)
        })
    }

    /// Sends one line and returns the first line of the answer.
    fn ask(&mut self, instance: &mut Instance, line: &str, within: Duration) -> Result<String, Failed> {
        let mut channel = instance
            .channel
            .take()
            .ok_or_else(|| Failed::new(Failure::WrongAnswer, "a scripted box answers nothing"))?;
        let result = channel
            .send(line)
            .map_err(|e| Failed::new(Failure::Crash, format!("send {line:?}: {e}")))
            .and_then(|()| self.line(&mut channel, None, Deadline::after(within)))
            .map(|line| line.text);
        instance.channel = Some(channel);
        result
    }
}
