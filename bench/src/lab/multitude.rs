//! A multitude: thousands of boxes held at the same time, of which the lab itself holds no descriptor.
//!
//! The boxes stand in groups. Each group has a spawner of its own, so that no process ever has more than some
//! thousands of children: wait4(2) looks at each of them, every time. And each has a [keeper] for
//! their channels. So neither a start nor a stop costs the lab more because others are there, and what is
//! started beside a multitude comes from the lab's own spawner, which has no part in it.

mod leaving;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsRawFd;

use nix::sys::resource::{Resource, getrlimit};
use tare_reports::document::Failure;

use super::stop::STEP;
use super::{Failed, Instance, Lab};
use crate::clock::{self, Deadline};
use crate::contenders::Contender;
use crate::keeper;
use crate::keeper::client::Keeper;
use crate::site::{Site, Start};
use crate::spawner::client::Spawner;
use crate::spawner::protocol::Exit;

/// See the file's head.
#[derive(Debug, Default)]
pub struct Multitude {
    pub(super) groups: Vec<Group>,
    /// Boxes that answer from a script: they have neither spawner nor keeper.
    pub(super) scripted: Vec<Instance>,
}

/// Boxes with their spawner and their keeper.
#[derive(Debug)]
pub(super) struct Group {
    spawner: Spawner,
    pub(super) keeper: Keeper,
    /// Number of the first box among all.
    pub(super) first: u32,
    pub(super) boxes: Vec<Held>,
    /// Their processes.
    held: BTreeSet<u32>,
    /// Ends of processes below its spawner that nobody has asked for yet.
    exits: BTreeMap<u32, Exit>,
    capacity: u32,
}

/// A box of a multitude.
#[derive(Debug)]
pub(super) struct Held {
    start: Start,
    /// The process whose end is its end, where that is below the spawner.
    main: Option<u32>,
    /// Whether it has ended although nobody asked it to.
    lost: bool,
}

/// What came of making a multitude larger.
#[derive(Debug, Default)]
pub struct Grown {
    /// From just before the first call for a box until the host had read READY, ns, one for each start.
    pub starts: Vec<u64>,
    /// All of it by the wall, ns.
    pub wall_ns: u64,
    /// What of the common box was not applied, in words.
    pub not_applied: BTreeSet<String>,
    /// The start that failed: there is none after it.
    pub failed: Option<Failed>,
}

impl Multitude {
    /// How many boxes are held.
    pub fn len(&self) -> u32 {
        let scripted = self.scripted.len() as u32;
        self.groups.last().map_or(scripted, |it| it.first + it.boxes.len() as u32)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether one of them has ended by itself.
    pub fn lost(&self) -> bool {
        self.groups.iter().any(|group| group.boxes.iter().any(|it| it.lost))
    }

    /// Notes that all of them have ended, as they do with an engine that is started anew.
    pub fn give_up(&mut self) {
        self.groups.iter_mut().flat_map(|group| &mut group.boxes).for_each(|it| it.lost = true);
    }

    /// The host memory that a script gives to all of them, bytes; none for real boxes.
    pub fn scripted_memory(&self) -> Option<u64> {
        (!self.scripted.is_empty()).then(|| self.scripted.iter().filter_map(Instance::scripted_memory).sum())
    }
}

impl Lab {
    /// Starts boxes one after another until so many are held, each of which must give the sign of life `line` (see
    /// [`Lab::alive`]). `allowed` is asked before each start, and may forbid it.
    pub fn grow(
        &mut self,
        contender: &mut dyn Contender,
        site: &Site,
        multitude: &mut Multitude,
        (to, line): (u32, Option<&str>),
        allowed: &mut dyn FnMut() -> Result<(), Failed>,
    ) -> Grown {
        let began = clock::now_ns();
        let mut grown = Grown::default();
        while multitude.len() < to {
            let added = allowed().and_then(|()| self.add(contender, site, multitude, line, &mut grown));
            if let Err(failed) = added {
                grown.failed = Some(failed);
                break;
            }
        }
        grown.wall_ns = clock::now_ns() - began;
        if contender.is_scripted() {
            grown.wall_ns = grown.starts.iter().sum();
        }
        grown
    }

    fn add(
        &mut self,
        contender: &mut dyn Contender,
        site: &Site,
        multitude: &mut Multitude,
        line: Option<&str>,
        grown: &mut Grown,
    ) -> Result<(), Failed> {
        if contender.is_scripted() {
            let instance = self.start(contender, site)?;
            grown.starts.push(instance.ready_ns);
            multitude.scripted.push(instance);
            return Ok(());
        }
        let number = multitude.len();
        if multitude.groups.last().is_none_or(|it| it.boxes.len() as u32 >= it.capacity) {
            let group = self.open_group(contender, number)?;
            multitude.groups.push(group);
        }
        let Some(group) = multitude.groups.last_mut() else { return Ok(()) };
        let instance = self.among(group, |lab, group| {
            lab.young_since = Some(clock::ticks_after_boot());
            let mut instance = lab.start_alive(contender, site, line)?;
            let handed = lab.hand_over(group, number, &mut instance);
            if let Err(failed) = handed {
                lab.abandon(contender, site, &instance);
                return Err(failed);
            }
            lab.held.extend(instance.main);
            Ok(instance)
        })?;
        grown.starts.push(instance.ready_ns);
        grown.not_applied.extend(instance.not_applied);
        group.boxes.push(Held { start: instance.start, main: instance.main, lost: false });
        Ok(())
    }

    /// Notes that a box has ended by itself; says how, in words.
    pub(super) fn note_lost(&mut self, group: &mut Group, number: u32) -> String {
        let index = number.saturating_sub(group.first) as usize;
        let Some(it) = group.boxes.get_mut(index) else { return format!("box {} has ended", number + 1) };
        it.lost = true;
        let main = it.main;
        let how = self.among(group, |lab, _| match main {
            Some(pid) => lab.exit_of(pid, Deadline::after(STEP)),
            None => Err(Failed::new(Failure::Crash, "another daemon's child")),
        });
        match how {
            Ok(exit) => format!("box {} ended with {}", number + 1, exit.how),
            Err(_) => format!("box {} has ended", number + 1),
        }
    }

    fn open_group(&self, contender: &dyn Contender, first: u32) -> Result<Group, Failed> {
        let failed = |e: std::io::Error| Failed::new(Failure::Start, format!("the lab: {e}"));
        let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
        let each = keeper::descriptors(contender.is_served());
        Ok(Group {
            spawner: Spawner::start(&self.executable, &self.birthplaces).map_err(failed)?,
            keeper: Keeper::start(&self.executable).map_err(failed)?,
            first,
            boxes: Vec::new(),
            held: BTreeSet::new(),
            exits: BTreeMap::new(),
            capacity: keeper::capacity(descriptors, each),
        })
    }

    /// Does something where this group's spawner is the lab's, and its boxes are those that are held.
    fn among<T>(
        &mut self,
        group: &mut Group,
        act: impl FnOnce(&mut Self, &mut Group) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        std::mem::swap(&mut self.spawner, &mut group.spawner);
        std::mem::swap(&mut self.held, &mut group.held);
        std::mem::swap(&mut self.exits, &mut group.exits);
        let done = act(self, group);
        self.young_since = None;
        std::mem::swap(&mut self.spawner, &mut group.spawner);
        std::mem::swap(&mut self.held, &mut group.held);
        std::mem::swap(&mut self.exits, &mut group.exits);
        done
    }

    /// Gives the channel of a box to the group's keeper, and with it the last descriptors that the lab has of it.
    fn hand_over(&self, group: &mut Group, number: u32, instance: &mut Instance) -> Result<(), Failed> {
        let lost = || Failed::new(Failure::Start, "the box has no channel to be held");
        let channel = instance.channel.take().ok_or_else(lost)?;
        let [input, output] = channel.into_ends().ok_or_else(lost)?;
        let mut fds = vec![input.as_raw_fd(), output.as_raw_fd()];
        fds.extend(instance.foreign.as_ref().map(AsRawFd::as_raw_fd));
        let taken = group.keeper.take(number, &fds);
        instance.foreign = None;
        taken.map_err(|e| Failed::new(Failure::Start, format!("hand the channel over: {e}")))
    }
}
