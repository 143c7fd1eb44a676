//! How boxes of a multitude leave: all that are to go are asked at once, their ends are waited for, their tool removes
//! them side by side, and nothing of them may be left.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use tare_reports::document::Failure;

use super::super::stop::{ENDS_WITHIN, STEP};
use super::super::{Failed, Lab};
use super::{Group, Held, Multitude};
use crate::clock::Deadline;
use crate::contenders::{Contender, Undo};
use crate::keeper::protocol::{Order, Word};
use crate::site::Site;
use crate::spawner::protocol::{How, Request};

/// What each further box that ends at the same time may add to the time that is waited for their ends.
const EACH_MORE: Duration = Duration::from_millis(20);

/// The same of boxes that are another daemon's children (64 ms under docker, seen with eight), and of the answers of that
/// daemon while they end.
const EACH_SERVED: Duration = Duration::from_millis(200);

/// Boxes whose removal is under way at the same time.
const SIDE_BY_SIDE: usize = 4;

impl Lab {
    /// Takes boxes away until so many are left, those that came last first: all of them are asked to exit at once,
    /// then removed by their tool, and nothing of them may be left.
    ///
    /// # Errors
    /// The first of these that failed; what was to go is then taken away by force.
    pub fn shrink(
        &mut self,
        contender: &mut dyn Contender,
        site: &Site,
        multitude: &mut Multitude,
        to: u32,
    ) -> Result<Duration, Failed> {
        let began = Instant::now();
        let mut took = Duration::ZERO;
        while multitude.scripted.len() > to as usize {
            let Some(instance) = multitude.scripted.pop() else { break };
            took += Duration::from_nanos(self.stop(contender, site, instance).teardown_ns?);
        }
        let mut result = Ok(());
        for group in multitude.groups.iter().filter(|it| it.first + it.boxes.len() as u32 > to) {
            // One that is gone is told below.
            let _ = group.keeper.send(&Order::Leave { from: to }, &[]);
        }
        while let Some(group) = multitude.groups.last_mut()
            && group.first + group.boxes.len() as u32 > to
        {
            let leaving = group.boxes.split_off(to.saturating_sub(group.first) as usize);
            let gone = self.among(group, |lab, group| {
                let gone = lab.see_off(contender, site, group, &leaving, to);
                if gone.is_err() {
                    lab.take_away(contender, site, &leaving);
                }
                let _ = group.keeper.send(&Order::Forget { from: to }, &[]);
                gone
            });
            result = result.and(gone);
            if group.boxes.is_empty() {
                multitude.groups.pop();
            }
        }
        result.map(|()| if contender.is_scripted() { took } else { began.elapsed() })
    }

    /// Waits for the ends of boxes that were asked to exit, has them removed, and looks for what is left.
    fn see_off(
        &mut self,
        contender: &mut dyn Contender,
        site: &Site,
        group: &mut Group,
        leaving: &[Held],
        from: u32,
    ) -> Result<(), Failed> {
        let patience = ENDS_WITHIN + EACH_MORE * leaving.len() as u32;
        let deadline = Deadline::after(patience);
        if contender.is_served() {
            let count = leaving.iter().filter(|it| !it.lost).count();
            self.served_ends(group, count, from)?;
        }
        for (pid, lost) in leaving.iter().filter_map(|it| Some((it.main?, it.lost))) {
            self.held.remove(&pid);
            let exit = self.exit_of(pid, deadline).map_err(|failed| match failed.failure {
                Failure::Timeout => Failed::new(
                    Failure::Timeout,
                    format!("did not end within {} s of the stop request", patience.as_secs()),
                ),
                _ => failed,
            })?;
            self.exits.remove(&pid);
            if exit.how != How::Code(0) && !lost {
                return Err(Failed::new(Failure::Crash, format!("ended with {}", exit.how)));
            }
        }
        for it in leaving.iter().filter(|it| it.lost) {
            self.undo_each(contender.rescue(site, &it.start));
        }
        self.rescue_again(contender, site);
        // An engine's daemon first deals with the ends of all of them, and answers nobody meanwhile.
        let each = if contender.is_served() { EACH_SERVED } else { EACH_MORE };
        let within = STEP + each * leaving.len() as u32;
        let whole: Vec<&Held> = leaving.iter().filter(|it| !it.lost).collect();
        for some in whole.chunks(SIDE_BY_SIDE) {
            let removals = some.iter().map(|it| contender.teardown(site, &it.start)).collect();
            self.remove_side_by_side(removals, within)?;
        }
        self.nothing_of(contender, site, group, leaving)
    }

    /// The ends of boxes that are another daemon's children: their keeper watches them. How long hundreds of them take
    /// is that daemon's affair (64 ms each under docker); they are waited for as long as one after another ends.
    fn served_ends(&mut self, group: &mut Group, count: usize, from: u32) -> Result<(), Failed> {
        let gone = |e| Failed::new(Failure::Start, format!("the keeper is gone: {e}"));
        let mut ended = BTreeMap::new();
        let mut deadline = Deadline::after(ENDS_WITHIN);
        while ended.len() < count {
            while let Some(word) = group.keeper.heard().map_err(gone)? {
                if let Word::Ended(number, said) = word
                    && number >= from
                {
                    ended.insert(number, said);
                    deadline = Deadline::after(ENDS_WITHIN);
                }
            }
            if ended.len() < count {
                let woken = self.wait_for(&[group.keeper.socket().as_fd()], deadline).map_err(|failed| {
                    let (gone, within) = (ended.len(), ENDS_WITHIN.as_secs());
                    let why = format!("{gone} of {count} boxes ended, and no further one within {within} s");
                    if failed.failure == Failure::Timeout {
                        Failed::new(Failure::Timeout, why)
                    } else {
                        failed
                    }
                })?;
                if woken.spawner {
                    self.take_event()?;
                }
            }
        }
        // How another daemon's child has ended is not for us to ask: its last word must tell.
        match ended.values().find(|said| *said != "OK exit 0") {
            None => Ok(()),
            Some(said) => {
                Err(Failed::new(Failure::Crash, format!("ended after {said:?}, not after \"OK exit 0\"")))
            }
        }
    }

    /// Carries out the steps of several removals: one step of each at the same time, the steps of one in order.
    fn remove_side_by_side(&mut self, mut removals: Vec<Vec<Undo>>, within: Duration) -> Result<(), Failed> {
        removals.iter_mut().for_each(|steps| steps.reverse());
        while removals.iter().any(|steps| !steps.is_empty()) {
            let mut commands = Vec::new();
            let mut made = Vec::new();
            for step in removals.iter_mut().filter_map(Vec::pop) {
                match step {
                    Undo::Command(argv) => {
                        commands.push((argv.join(" "), self.ask_to_run(argv, Vec::new())?))
                    }
                    Undo::CommandIn(argv, env) => {
                        commands.push((argv.join(" "), self.ask_to_run(argv, env)?))
                    }
                    Undo::Made(it) => {
                        let tag = self.next_tag();
                        self.request(Request::Delete { tag, made: it }, &[])?;
                        made.push(tag);
                    }
                    other => self.undo(other)?,
                }
            }
            for tag in made {
                self.done(tag)?;
            }
            for (name, tag) in commands {
                self.has_run(&name, tag, within)?;
            }
        }
        Ok(())
    }

    /// The census of boxes that were taken away: processes that nobody holds, and paths of theirs.
    fn nothing_of(
        &mut self,
        contender: &mut dyn Contender,
        site: &Site,
        group: &Group,
        leaving: &[Held],
    ) -> Result<(), Failed> {
        let paths = leaving.iter().flat_map(|it| contender.leaves(site, &it.start));
        let mut left: Vec<String> =
            paths.filter(|path| path.exists()).map(|path| path.display().to_string()).collect();
        if group.boxes.is_empty() {
            // Where others stay, helpers of theirs are below the same spawner.
            left.extend(self.children()?.iter().map(|pid| format!("process {pid}")));
        }
        if left.is_empty() {
            return Ok(());
        }
        left.truncate(10);
        Err(Failed::new(Failure::Leak, format!("left behind: {}", left.join(", "))))
    }

    /// Takes boxes away by force.
    fn take_away(&mut self, contender: &mut dyn Contender, site: &Site, leaving: &[Held]) {
        for pid in leaving.iter().filter_map(|it| it.main) {
            self.held.remove(&pid);
            let signal = nix::sys::signal::Signal::SIGKILL as i32;
            let _ = self.request(Request::Kill { pid, signal }, &[]);
            let _ = self.exit_of(pid, Deadline::after(STEP));
            self.exits.remove(&pid);
        }
        for it in leaving {
            self.undo_each(contender.rescue(site, &it.start));
        }
    }
}
