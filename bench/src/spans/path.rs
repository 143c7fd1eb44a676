//! The rule by which time is given to spans, from the events of all processes and threads of a start.
//!
//! A start is a chain of processes: the spawner made the client, that made others, the last one became the
//! payload. At each instant the *newest process of that chain that has something to do* leads, and the instant
//! goes to what it does:
//!
//! - A thread has something to do unless it sleeps in a call in which one waits for somebody else (`calls`). One
//!   that waits for a CPU, or sleeps inside mount(2), is at work.
//! - Of a process with several threads, the call that serves a mechanism and was entered last counts; if there
//!   is none, but a thread has something to do, it is the runtime's own work (`runtime`): its code, its reading
//!   and writing of files, the start of its language.
//! - Where a process of the chain waits, a helper that it made leads in its place (newest first).
//! - Until the client's program has been executed, all is `spawn`, but the overlay that the lab mounts for it.
//! - From the payload's execve(2) on there are three parts: `exec` until the call is done, `payload` until it
//!   writes READY, `notice` until the lab has read that.
//!
//! Where nobody has anything to do (a timer runs, a worker of the kernel's is waited for), or a process outside
//! of the tree works for it (a daemon), the time belongs to no span.
//!
//! What the kernel does not tell: which file a write goes to. Making and entering cgroups is `cgroup`, writing
//! limits into their files is `runtime`, as are id maps; and an overlay that a runtime mounts by itself is one of
//! its `mounts`.

use std::collections::BTreeMap;

use super::calls::{CLONE_THREAD, executes, span_of, waits};
use super::parse::{Event, What};
use super::{Spans, add};

/// The name that the payload's program has in every box.
const PAYLOAD: &str = "/payload";

/// What was seen of the payload's own beginning, ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// execve(2) had replaced the program.
    pub executed: u64,
    /// It went into write(2) with READY.
    pub wrote: u64,
}

/// Who started what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root {
    /// Process id of the spawner.
    pub spawner: u32,
    /// Whether it executed a program, the client; else it made the box by its own calls.
    pub client: bool,
}

/// The spans of a start between these moments. And what was seen of the payload: nothing
/// for one that does not run on this kernel.
pub fn spans(events: &[Event], root: Root, began: u64, ready: u64) -> (Spans, Option<Seen>) {
    let story = Story::read(events, root, ready);
    let mut spans = Spans::new();
    let until = story.payload.map_or(ready, |it| it.entered).clamp(began, ready);
    let mut scene = Scene { story: &story, tasks: BTreeMap::new(), client_runs: false };
    let mut before = began;
    let mut begun = false;
    for (index, event) in events.iter().enumerate() {
        if !begun && event.at_ns >= began {
            // Until the spawner is woken the lab itself works for this start, and for nothing else.
            scene.tasks.insert(root.spawner, Task::default());
            begun = true;
        }
        let now = event.at_ns.clamp(before, until);
        if now > before {
            if let Some(name) = scene.leads() {
                add(&mut spans, name, now - before);
            }
            before = now;
        }
        scene.apply(index, event);
    }
    if let (Some(name), true) = (scene.leads().filter(|_| story.payload.is_none()), until > before) {
        add(&mut spans, name, until - before);
    }
    let seen = story.payload.map(|it| it.seen);
    if let Some(seen) = seen {
        let mut before = until;
        for (name, ended) in [("exec", seen.executed), ("payload", seen.wrote), ("notice", ready)] {
            let ended = ended.clamp(before, ready);
            add(&mut spans, name, ended - before);
            before = ended;
        }
    }
    (spans, seen)
}

/// The payload's beginning.
#[derive(Debug, Clone, Copy)]
struct Payload {
    task: u32,
    /// It went into execve(2).
    entered: u64,
    seen: Seen,
}

/// What only the whole recording tells.
struct Story {
    root: Root,
    /// The process of each thread.
    process: BTreeMap<u32, u32>,
    /// The spans of calls, by the index of the event that entered them.
    calls: BTreeMap<usize, Option<&'static str>>,
    payload: Option<Payload>,
    /// Processes in the order in which they are asked whether they lead.
    order: Vec<u32>,
    /// The client, where there is one.
    client: Option<u32>,
}

impl Story {
    fn read(events: &[Event], root: Root, ready: u64) -> Self {
        let spawner = root.spawner;
        let mut process = BTreeMap::from([(spawner, spawner)]);
        // Processes in the order in which they were made, each with its maker.
        let mut made: Vec<(u32, u32)> = Vec::new();
        let mut calls = BTreeMap::new();
        let mut open: BTreeMap<u32, usize> = BTreeMap::new();
        let mut payload: Option<Payload> = None;
        for (index, Event { at_ns, task, what }) in
            events.iter().enumerate().take_while(|it| it.1.at_ns <= ready)
        {
            match what {
                What::Enter(number, arguments) => {
                    open.insert(*task, index);
                    calls.insert(index, span_of(*number, arguments));
                    if let Some(payload) = payload.as_mut().filter(|it| it.task == *task)
                        && payload.seen.wrote == ready
                        && (*number, arguments[0]) == (1, 1)
                    {
                        payload.seen.wrote = *at_ns;
                    }
                }
                What::Exit(_) => {
                    open.remove(task);
                    if let Some(payload) = payload.as_mut().filter(|it| it.task == *task)
                        && payload.seen.executed == ready
                    {
                        payload.seen.executed = *at_ns;
                    }
                }
                What::New(child, flags) => {
                    let maker = *process.entry(*task).or_insert(*task);
                    let thread = flags & CLONE_THREAD != 0;
                    process.insert(*child, if thread { maker } else { *child });
                    if thread {
                        open.get(task).and_then(|call| calls.insert(*call, None));
                    } else {
                        made.push((*child, maker));
                    }
                }
                What::Exec(program, old) => {
                    let entered = open.remove(old);
                    entered.and_then(|call| open.insert(*task, call));
                    if program.ends_with(PAYLOAD) {
                        let entered = entered.map_or(*at_ns, |call| events[call].at_ns);
                        let seen = Seen { executed: ready, wrote: ready };
                        payload = Some(Payload { task: *task, entered, seen });
                    }
                }
                What::Cgroup => {
                    open.get(task).and_then(|call| calls.insert(*call, Some("cgroup")));
                }
                What::End | What::Woken(_) | What::Off(..) => {}
            }
        }
        let maker = |child: u32| made.iter().rev().find(|it| it.0 == child).map(|it| it.1);
        let last = payload.and_then(|it| process.get(&it.task).copied());
        let chain: Vec<u32> = std::iter::successors(last, |it| maker(*it)).collect();
        let mut order = Vec::new();
        for &link in &chain {
            order.push(link);
            if link != spawner && Some(link) != last {
                helpers(link, &made, &chain, &mut order);
            }
        }
        if chain.last() != Some(&spawner) {
            // Nobody became the payload on this kernel: the newest of all.
            order = made.iter().rev().map(|it| it.0).chain([spawner]).collect();
        }
        let client = order.iter().rev().copied().find(|it| root.client && maker(*it) == Some(spawner));
        Self { root, process, calls, payload, order, client }
    }
}

/// The processes below a link of the chain that are not on it, the newest first.
fn helpers(link: u32, made: &[(u32, u32)], chain: &[u32], order: &mut Vec<u32>) {
    for (child, _) in made.iter().rev().filter(|it| it.1 == link && !chain.contains(&it.0)) {
        helpers(*child, made, chain, order);
        order.push(*child);
    }
}

/// What a thread does.
#[derive(Debug, Clone, Copy, Default)]
struct Task {
    /// The call that it is in: index of the event, number.
    call: Option<(usize, u32)>,
    asleep: bool,
    /// It was made, and has not come back from that.
    new: bool,
}

/// All threads at one moment.
struct Scene<'a> {
    story: &'a Story,
    tasks: BTreeMap<u32, Task>,
    client_runs: bool,
}

impl Scene<'_> {
    /// The span of this moment.
    fn leads(&self) -> Option<&'static str> {
        self.story.order.iter().find_map(|process| self.does(*process))
    }

    /// What a process does; none if it is not there, or waits.
    fn does(&self, process: u32) -> Option<&'static str> {
        let threads = || {
            let own = |it: &(&u32, &Task)| self.story.process.get(it.0) == Some(&process);
            self.tasks.iter().filter(own).map(|it| it.1)
        };
        let busy = |it: &&Task| !(it.asleep && it.call.is_some_and(|call| waits(call.1)));
        let served = |it: &Task| {
            let (index, _) = it.call?;
            Some((index, (*self.story.calls.get(&index)?)?))
        };
        let call = threads().filter(busy).filter_map(served).max().map(|it| it.1);
        let at_work = threads().any(|it| busy(&it));
        let new = threads().any(|it| it.new);
        if !at_work {
            return None;
        }
        if process == self.story.root.spawner {
            return match call {
                Some("mounts") => Some("overlay"),
                // What it does after the client is on its way is not for this start.
                _ if self.client_runs => None,
                Some(name) if !self.story.root.client => Some(name),
                _ => Some("spawn"),
            };
        }
        if Some(process) == self.story.client && !self.client_runs {
            return Some("spawn");
        }
        Some(call.unwrap_or(if new { "clone" } else { "runtime" }))
    }

    fn apply(&mut self, index: usize, Event { task, what, .. }: &Event) {
        let executes = |it: &Task| it.call.is_some_and(|call| executes(call.1));
        match what {
            What::Enter(number, _) => {
                self.tasks.insert(*task, Task { call: Some((index, *number)), ..Task::default() });
            }
            What::Exit(result) => {
                let before = self.tasks.insert(*task, Task::default());
                if *result == 0 && Some(*task) == self.story.client && before.is_some_and(|it| executes(&it))
                {
                    self.client_runs = true;
                }
            }
            What::New(child, flags) => {
                let new = flags & CLONE_THREAD == 0;
                self.tasks.insert(*child, Task { new, ..Task::default() });
            }
            What::Exec(_, old) => {
                // The other threads are gone, and the one that called goes by the process's id.
                let called = self.tasks.remove(old).unwrap_or_default();
                let process = self.story.process.get(task).copied();
                self.tasks.retain(|it, _| self.story.process.get(it).copied() != process);
                self.tasks.insert(*task, called);
            }
            What::End => {
                self.tasks.remove(task);
            }
            What::Woken(woken) => {
                self.tasks.entry(*woken).and_modify(|it| it.asleep = false);
            }
            What::Off(left, asleep) => {
                self.tasks.entry(*left).and_modify(|it| it.asleep = *asleep);
            }
            What::Cgroup => {}
        }
    }
}

#[cfg(test)]
mod tests;
