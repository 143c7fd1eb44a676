//! A volley: starts that leave on a schedule, whatever the answers do (open loop).
//!
//! Latency counts from the moment at which a start was *meant* to leave. Who waits for one answer before the
//! next start, or counts from when he came to it, leaves out exactly the waiting that a user would see
//! (coordinated omission, METHOD 18).

mod flight;

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use tare_reports::document::Failure;

use super::resume::Resuming;
use super::{Failed, Instance, Lab, Moments, open_channel};
use crate::channel::Channel;
use crate::clock::{self, Deadline};
use crate::contenders::Contender;
use crate::site::{Site, Start};
use crate::spawner::protocol::{Event, Launch, Request, Script};

use flight::{End, Flight};

/// When the starts of a volley are meant to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// How many.
    pub count: u32,
    /// Between one and the next; zero where all are meant to leave at once.
    pub interval: Duration,
}

impl Schedule {
    /// When start `k` is meant to leave, ns after the first.
    fn intended_ns(&self, k: usize) -> u64 {
        self.interval.as_nanos() as u64 * k as u64
    }
}

/// What came of one start of a volley.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// From when it was meant to leave until the host had read READY, ns.
    pub ready_ns: Result<u64, Failed>,
    /// How much later than meant the lab came to it, ns: the lab's own share, which `ready_ns` holds too.
    pub late_ns: Result<u64, Failed>,
    /// Named parts of `ready_ns` that this kind of start always has, ns.
    pub spans: BTreeMap<String, u64>,
    /// What of the common box was not applied, in words.
    pub not_applied: Vec<String>,
}

/// Which descriptors have something to say.
struct Heard {
    writable: bool,
    spawner: bool,
    flights: Vec<(usize, End)>,
}

impl Lab {
    /// Starts so many boxes on schedule, waits for all of them, asks each for a sign of life, and takes all
    /// down again. One arrival per start, in the order of departure. A box that leaves something behind has
    /// failed, as has one that does not end when asked to.
    pub fn volley(&mut self, contender: &mut dyn Contender, site: &Site, schedule: Schedule) -> Vec<Arrival> {
        self.begin();
        let starts: Vec<Start> = (0..schedule.count).map(|_| self.next_start(contender.name())).collect();
        if contender.is_scripted() {
            let (arrivals, over) = rehearse(contender, site, schedule, &starts);
            return whole(arrivals, self.pretend_volley(over).err());
        }
        let mut flights = Vec::new();
        for start in starts {
            // A box in stock is made before the clock.
            let stocked = self.stock(contender, site, &start);
            flights.push(Flight {
                tag: self.next_tag(),
                intended_ns: 0,
                left_ns: 0,
                deadline: Deadline::after(Duration::ZERO),
                channel: None,
                resuming: None,
                outcome: stocked.err().map(Err),
                not_applied: Vec::new(),
                start,
            });
        }
        if let Err(failed) = self.fly(contender, site, schedule, &mut flights) {
            // The run was interrupted, or the spawner is gone: nobody will hear of the others.
            let others = flights.iter_mut().filter(|it| it.outcome.is_none());
            others.for_each(|it| it.outcome = Some(Err(failed.clone())));
        }
        let arrivals = self.land(contender, site, flights);
        let mut failed = arrivals.iter().filter_map(|it| it.ready_ns.as_ref().err());
        let broken_off = |it: &&Failed| matches!(it.failure, Failure::NotMeasured | Failure::Interrupted);
        let broken = failed.find(broken_off).cloned();
        whole(arrivals, broken)
    }

    /// Lets the starts leave when their time has come, and listens to all that are under way.
    fn fly(
        &mut self,
        contender: &mut dyn Contender,
        site: &Site,
        schedule: Schedule,
        flights: &mut [Flight],
    ) -> Result<(), Failed> {
        // One that shares the CPUs with many others takes as much longer.
        let cpus = std::thread::available_parallelism().map_or(1, |it| it.get() as u32);
        let patience = self.patience_for(contender, schedule.count / cpus);
        let noisy = contender.description().noisy_channel;
        let begin = clock::now_ns();
        for (k, flight) in flights.iter_mut().enumerate() {
            flight.intended_ns = begin + schedule.intended_ns(k);
            flight.deadline = Deadline::after(Duration::from_nanos(schedule.intended_ns(k)) + patience);
        }
        let mut next = 0;
        while next < flights.len() || flights.iter().any(|it| it.outcome.is_none()) {
            let until = flights.get(next).map(|it| it.intended_ns.saturating_sub(clock::now_ns()));
            let heard = self.listen(&flights[..next], until)?;
            // Answers first: theirs is the time that is measured.
            for (index, end) in heard.flights {
                match end {
                    End::Channel => flights[index].hear(noisy),
                    End::Monitor => flights[index].hear_monitor(),
                }
            }
            if heard.spawner {
                self.take_event()?;
                for flight in flights[..next].iter_mut().filter(|it| it.waits_for_its_client()) {
                    flight.outcome = self.client_failed(flight.tag).map(Err);
                }
            }
            if heard.writable
                && let Some(flight) = flights.get_mut(next)
            {
                next += 1;
                if flight.outcome.is_none() {
                    flight.left_ns = clock::now_ns();
                    let left = self.depart(contender, site, flight);
                    flight.outcome = left.err().map(Err);
                }
            }
            for flight in flights[..next].iter_mut().filter(|it| it.outcome.is_none()) {
                if flight.deadline.passed() {
                    flight.outcome = Some(Err(self.too_late()));
                }
            }
        }
        Ok(())
    }

    fn depart(
        &mut self,
        contender: &mut dyn Contender,
        site: &Site,
        flight: &mut Flight,
    ) -> Result<(), Failed> {
        let failed = |error: String| Failed::new(Failure::Start, error);
        let launch = contender.launch(site, &flight.start).map_err(|e| failed(format!("{e:#}")))?;
        let channel = open_channel(contender, site, &flight.start);
        let (channel, [input, output]) = channel.map_err(|e| failed(format!("make the channel: {e}")))?;
        let fds = [input.as_raw_fd(), output.as_raw_fd(), self.errors.as_raw_fd()];
        self.request(Request::Start { tag: flight.tag, launch }, &fds)?;
        flight.channel = Some(channel);
        flight.resuming = contender.resumption().map(Resuming::new);
        Ok(())
    }

    /// Waits until something is heard or, where `until` says so, until the next start may leave. That one
    /// leaves only when the spawner takes it without blocking: else both could wait for each other.
    fn listen(&mut self, flights: &[Flight], until: Option<u64>) -> Result<Heard, Failed> {
        let due = until == Some(0);
        let wanted = if due { PollFlags::POLLIN | PollFlags::POLLOUT } else { PollFlags::POLLIN };
        let mut fds = vec![
            PollFd::new(self.spawner.socket(), wanted),
            PollFd::new(self.interrupt.readable(), PollFlags::POLLIN),
        ];
        let waiting: Vec<(usize, End, BorrowedFd<'_>)> = (0..)
            .zip(flights)
            .filter(|(_, it)| it.outcome.is_none())
            .flat_map(|(index, it)| it.ends().map(move |(end, fd)| (index, end, fd)))
            .collect();
        fds.extend(waiting.iter().map(|(_, _, fd)| PollFd::new(*fd, PollFlags::POLLIN)));
        let patience = flights.iter().filter(|it| it.outcome.is_none()).map(|it| it.deadline.left()).min();
        let departure = until.filter(|_| !due).map(Duration::from_nanos);
        let timeout = [patience, departure].into_iter().flatten().min().map(TimeSpec::from);
        match ppoll(&mut fds, timeout, None) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(Failed::new(Failure::Timeout, format!("poll: {errno}"))),
        }
        let events = |i: usize| fds.get(i).and_then(PollFd::revents).unwrap_or(PollFlags::empty());
        let flights = (2..).zip(&waiting).filter(|(i, _)| !events(*i).is_empty()).map(|(_, it)| (it.0, it.1));
        let heard = Heard {
            writable: events(0).contains(PollFlags::POLLOUT),
            // An end of the connection is heard by reading it.
            spawner: !events(0).difference(PollFlags::POLLOUT).is_empty(),
            flights: flights.collect(),
        };
        let interrupted = !events(1).is_empty();
        drop(fds);
        self.heed(interrupted)?;
        Ok(heard)
    }

    /// Outside the clock: asks each box for a sign of life and takes all of them down.
    fn land(&mut self, contender: &mut dyn Contender, site: &Site, flights: Vec<Flight>) -> Vec<Arrival> {
        let mut landed: Vec<(Flight, Result<Instance, Failed>)> = Vec::new();
        for mut flight in flights {
            let instance = self
                .board(contender, site, &mut flight)
                .and_then(|mut instance| self.alive(contender, site, &mut instance, None).map(|()| instance));
            landed.push((flight, instance));
        }
        for (_, instance) in &mut landed {
            instance.as_mut().map(Instance::ask_to_exit).unwrap_or_default();
        }
        for (flight, instance) in &mut landed {
            let Ok(box_) = instance else { continue };
            let mut gone = self.ended(box_).map(|_| ());
            for undo in contender.teardown(site, &flight.start) {
                gone = gone.and_then(|()| self.undo(undo));
            }
            if let Err(failed) = gone {
                *instance = Err(failed);
            }
        }
        // Only now: taking one away by force ends every process that is left.
        for (flight, instance) in &mut landed {
            if let Err(failed) = instance {
                *failed = self.explain(contender, site, &flight.start, failed.clone());
                self.rescue(contender, site, &flight.start);
            }
        }
        let mut arrivals = Vec::new();
        for (flight, instance) in landed {
            let clean = self.nothing_left(contender, site, &flight.start);
            let ended = instance.and_then(|it| clean.map(|()| it));
            let spans = ended.as_ref().map(|it| it.spans.clone()).unwrap_or_default();
            let ready_ns = ended.map(|it| it.ready_ns);
            let late_ns = ready_ns.clone().map(|_| flight.left_ns.saturating_sub(flight.intended_ns));
            arrivals.push(Arrival { ready_ns, late_ns, spans, not_applied: flight.not_applied });
        }
        arrivals
    }

    /// Makes an instance of a start that said READY, and finds the cause where one did not.
    fn board(
        &mut self,
        contender: &dyn Contender,
        site: &Site,
        flight: &mut Flight,
    ) -> Result<Instance, Failed> {
        let deadline = Deadline::after(contender.deadline());
        let lost = || Failed::new(Failure::NotMeasured, "it never left");
        let at_ns = match flight.outcome.take().unwrap_or_else(|| Err(lost())) {
            Ok(at_ns) => at_ns,
            // The channel closes early both when the box died and when it never was.
            Err(failed) if failed.failure == Failure::Crash => {
                return Err(match self.answer(flight.tag, deadline) {
                    Ok(Event::Started { pid, .. }) => self.died_early(pid, deadline),
                    Ok(_) => failed,
                    Err(refused) => refused,
                });
            }
            Err(failed) => return Err(failed),
        };
        let Event::Started { pid, not_applied, .. } = self.answer(flight.tag, deadline)? else {
            return Err(Failed::new(Failure::Start, "the spawner gave another answer than a process"));
        };
        flight.not_applied.clone_from(&not_applied);
        let mut instance = Instance {
            start: flight.start.clone(),
            ready_ns: at_ns.saturating_sub(flight.intended_ns),
            prepared_ns: None,
            not_applied,
            moments: Moments::default(),
            spans: flight.resuming.take().map(|it| it.spans(flight.intended_ns, at_ns)).unwrap_or_default(),
            reached: None,
            channel: flight.channel.take().map(Channel::of_an_open_box),
            main: None,
            foreign: None,
            scripted: None,
            edits: Vec::new(),
            disk: Vec::new(),
            transfers: Vec::new(),
        };
        self.find_process(&mut instance, contender, site, pid, deadline)?;
        Ok(instance)
    }
}

/// A volley that was broken off has no figures at all: those that came early, alone, would make it look fast.
fn whole(mut arrivals: Vec<Arrival>, broken: Option<Failed>) -> Vec<Arrival> {
    if let Some(broken) = broken {
        for arrival in arrivals.iter_mut().filter(|it| it.ready_ns.is_ok()) {
            (arrival.ready_ns, arrival.late_ns) = (Err(broken.clone()), Err(broken.clone()));
        }
    }
    arrivals
}

/// The volley of a scripted contender, in time that does not pass: one server, who serves in the order of
/// arrival and takes for each as long as its script says. And when the last
/// was ready, ns after the first was meant to leave.
fn rehearse(
    contender: &mut dyn Contender,
    site: &Site,
    schedule: Schedule,
    starts: &[Start],
) -> (Vec<Arrival>, u64) {
    let mut free_at = 0;
    let each = starts.iter().enumerate().map(|(k, start)| {
        let intended = schedule.intended_ns(k);
        let ready_ns = match contender.launch(site, start) {
            Ok(Launch::Scripted(Script::Took { ready, .. })) => {
                free_at = free_at.max(intended) + ready;
                Ok(free_at - intended)
            }
            Ok(Launch::Scripted(Script::Failed { failure, detail })) => Err(Failed::new(failure, detail)),
            Ok(_) => Err(Failed::new(Failure::Start, "a scripted contender started something")),
            Err(e) => Err(Failed::new(Failure::Start, format!("{e:#}"))),
        };
        let late_ns = ready_ns.clone().map(|_| 0);
        Arrival { late_ns, ready_ns, spans: BTreeMap::new(), not_applied: Vec::new() }
    });
    (each.collect(), free_at)
}
