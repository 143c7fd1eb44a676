//! Taking a box down, timed; and taking it away, whatever state it is in.

use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use tare_reports::document::Failure;

use super::{Failed, Instance, Lab, Scripted};
use crate::clock::{self, Deadline};
use crate::contenders::{Contender, Undo};
use crate::host::{cgroups, process};
use crate::site::{Site, Start};
use crate::spawner::protocol::{Event, Exit, How, Launch, Request};

/// How long a box may take to end after it was asked to.
pub(super) const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// How long one step of taking a box away may take.
pub(super) const STEP: Duration = Duration::from_secs(10);

/// What taking a box down cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// From the stop request until process, cgroups and mounts were gone, ns.
    pub teardown_ns: Result<u64, Failed>,
    /// CPU time of the box with its helpers, from start to end, ns.
    pub cpu_ns: Result<u64, Failed>,
}

impl Lab {
    /// Asks the box to exit, waits for its end, has the tool remove it, and checks that nothing is left.
    pub fn stop(&mut self, contender: &mut dyn Contender, site: &Site, mut instance: Instance) -> Stopped {
        if let Some(Scripted { teardown_ns, cpu_ns, .. }) = instance.scripted {
            self.pretend(contender, teardown_ns);
            contender.teardown(site, &instance.start);
            return Stopped { teardown_ns: Ok(teardown_ns), cpu_ns: Ok(cpu_ns) };
        }
        let start = instance.start.clone();
        let mut teardown_ns = self.stop_timed(contender, site, &mut instance);
        if let Err(failed) = teardown_ns {
            teardown_ns = Err(self.explain(contender, site, &start, failed));
            self.rescue(contender, site, &start);
        }
        let own = self.exits.values().filter(|exit| !self.held.contains(&exit.pid));
        let own = self.spawner_cpu_ns + own.map(|exit| exit.cpu_ns).sum::<u64>();
        let teardown_ns = teardown_ns.and_then(|ns| self.nothing_left(contender, site, &start).map(|()| ns));
        let cpu_ns = self.helpers_share(contender, site).map(|helpers| own + helpers);
        Stopped { teardown_ns, cpu_ns }
    }

    /// What the contender's helpers have spent since the instance in hand was begun, ns.
    fn helpers_share(&mut self, contender: &dyn Contender, site: &Site) -> Result<u64, Failed> {
        let Some(before) = self.helpers_cpu_ns.take() else { return Ok(0) };
        let now = super::helpers_cpu(contender, site).unwrap_or(Ok(0))?;
        Ok(now.saturating_sub(before?))
    }

    /// Takes away a box that is known to be broken.
    pub fn abandon(&mut self, contender: &mut dyn Contender, site: &Site, instance: &Instance) {
        self.rescue(contender, site, &instance.start);
    }

    fn stop_timed(
        &mut self,
        contender: &mut dyn Contender,
        site: &Site,
        instance: &mut Instance,
    ) -> Result<u64, Failed> {
        let asked = clock::now_ns();
        instance.ask_to_exit();
        let exit = self.ended(instance)?;
        let mut end = exit.at_ns;
        for undo in contender.teardown(site, &instance.start) {
            self.undo(undo)?;
            end = clock::now_ns();
        }
        Ok(end.saturating_sub(asked))
    }

    /// Waits for the end of a box that was asked to exit; it must end by itself and without a complaint.
    pub(super) fn ended(&mut self, instance: &mut Instance) -> Result<Exit, Failed> {
        if let Some(pidfd) = instance.foreign.take() {
            let at_ns = self.end_of_foreign(pidfd.as_fd(), Deadline::after(ENDS_WITHIN))?;
            return self.last_word(instance, at_ns);
        }
        let main =
            instance.main.ok_or_else(|| Failed::new(Failure::Start, "the box has no process to wait for"))?;
        let exit =
            self.exit_of(main, Deadline::after(ENDS_WITHIN)).map_err(|failed| match failed.failure {
                Failure::Timeout => Failed::new(
                    Failure::Timeout,
                    format!("did not end within {} s of the stop request", ENDS_WITHIN.as_secs()),
                ),
                _ => failed,
            })?;
        match exit.how {
            How::Code(0) => Ok(exit),
            how => Err(Failed::new(Failure::Crash, format!("ended with {how}"))),
        }
    }

    /// How a box that is another daemon's child has ended is not for us to ask: its last word must tell.
    fn last_word(&mut self, instance: &mut Instance, at_ns: u64) -> Result<Exit, Failed> {
        let said = match instance.channel.take() {
            Some(mut channel) => self.line(&mut channel, None, Deadline::after(STEP))?.text,
            None => String::new(),
        };
        if said != "OK exit 0" {
            return Err(Failed::new(
                Failure::Crash,
                format!("ended after {said:?}, not after \"OK exit 0\""),
            ));
        }
        Ok(Exit { pid: 0, how: How::Code(0), cpu_ns: 0, at_ns })
    }

    /// Takes away whatever is left of an instance, without looking at the time.
    pub(super) fn rescue(&mut self, contender: &mut dyn Contender, site: &Site, start: &Start) {
        self.kill_children();
        self.undo_each(contender.rescue(site, start));
        self.kill_children();
        self.rescued = Some((contender.name().to_owned(), start.clone()));
    }

    /// Takes away once more the last box that was taken away by force: what an engine has a helper end, which ends a moment
    /// later, and the cgroup that it was in.
    pub(super) fn rescue_again(&mut self, contender: &dyn Contender, site: &Site) {
        let last = self.rescued.take_if(|(name, _)| name == contender.name());
        if let Some((_, start)) = last {
            self.undo_each(contender.rescue(site, &start));
        }
    }

    /// Each step is tried: the one before may have had nothing to do.
    pub(super) fn undo_each(&mut self, steps: Vec<Undo>) {
        for undo in steps {
            let _ = self.undo(undo);
        }
    }

    pub(super) fn kill_children(&mut self) {
        let deadline = Deadline::after(STEP);
        while let Ok(pids) = self.children() {
            if pids.is_empty() || deadline.passed() {
                return;
            }
            for pid in pids {
                let _ = self.request(Request::Kill { pid, signal: Signal::SIGKILL as i32 }, &[]);
                let _ = self.exit_of(pid, deadline);
            }
        }
    }

    /// The processes below the spawner, without those of boxes that are held.
    pub(super) fn children(&mut self) -> Result<Vec<u32>, Failed> {
        let tag = self.next_tag();
        self.request(Request::Children { tag }, &[])?;
        match self.answer(tag, Deadline::after(STEP))? {
            Event::Children { mut pids, .. } => {
                pids.retain(|pid| !self.held.contains(pid));
                if let Some(since) = self.young_since {
                    pids.retain(|pid| process::start_time(*pid).is_some_and(|began| began >= since));
                }
                Ok(pids)
            }
            _ => Err(Failed::new(Failure::Leak, "the spawner did not list its children")),
        }
    }

    pub(super) fn undo(&mut self, undo: Undo) -> Result<(), Failed> {
        let leak = |detail: String| Failed::new(Failure::Leak, detail);
        match undo {
            Undo::Command(argv) => self.undo_by(argv, Vec::new()),
            Undo::CommandIn(argv, env) => self.undo_by(argv, env),
            Undo::Made(made) => {
                let tag = self.next_tag();
                self.request(Request::Delete { tag, made }, &[])?;
                self.done(tag)
            }
            Undo::Unmount(target) => {
                let tag = self.next_tag();
                self.request(Request::Unmount { tag, target }, &[])?;
                self.done(tag)
            }
            Undo::IdleCgroups(path) => {
                cgroups::remove_idle(&path);
                Ok(())
            }
            Undo::Remove(path) => remove(&path).map_err(|e| leak(format!("remove {}: {e}", path.display()))),
        }
    }

    /// Runs a tool's own command to its end.
    fn undo_by(&mut self, argv: Vec<String>, env: Vec<(String, String)>) -> Result<(), Failed> {
        let name = argv.join(" ");
        let tag = self.ask_to_run(argv, env)?;
        self.has_run(&name, tag, STEP)
    }

    /// Has the spawner start a tool's own command; the answer comes with this tag.
    pub(super) fn ask_to_run(
        &mut self,
        argv: Vec<String>,
        env: Vec<(String, String)>,
    ) -> Result<u64, Failed> {
        let null = std::fs::File::options().read(true).write(true).open("/dev/null");
        let null = null.map_err(|e| Failed::new(Failure::Leak, format!("open /dev/null: {e}")))?;
        let launch = Launch::Removal { argv, env };
        let tag = self.next_tag();
        self.request(
            Request::Start { tag, launch },
            &[null.as_raw_fd(), null.as_raw_fd(), self.errors.as_raw_fd()],
        )?;
        Ok(tag)
    }

    /// Waits for the end of a command that was asked for so.
    pub(super) fn has_run(&mut self, name: &str, tag: u64, within: Duration) -> Result<(), Failed> {
        let leak = |detail: String| Failed::new(Failure::Leak, detail);
        let deadline = Deadline::after(within);
        let Event::Started { pid, .. } = self.answer(tag, deadline).map_err(|it| it.of(name))? else {
            return Err(leak(format!("{name}: the spawner did not start it")));
        };
        match self.exit_of(pid, deadline).map_err(|it| it.of(name))?.how {
            How::Code(0) => Ok(()),
            how => Err(leak(format!("{name}: {how}"))),
        }
    }

    pub(super) fn done(&mut self, tag: u64) -> Result<(), Failed> {
        match self.answer(tag, Deadline::after(STEP)) {
            Ok(Event::Done { cpu_ns, .. }) => {
                self.spawner_cpu_ns += cpu_ns;
                Ok(())
            }
            Ok(_) => Err(Failed::new(Failure::Leak, "the spawner gave another answer than done")),
            Err(failed) => Err(Failed::new(Failure::Leak, failed.detail)),
        }
    }

    /// The sample's own census: processes below the spawner, the box's directory and its cgroups.
    pub(super) fn nothing_left(
        &mut self,
        contender: &mut dyn Contender,
        site: &Site,
        start: &Start,
    ) -> Result<(), Failed> {
        let mut left: Vec<String> = self.children()?.iter().map(|pid| format!("process {pid}")).collect();
        let paths = contender.leaves(site, start);
        left.extend(paths.iter().filter(|path| path.exists()).map(|path| path.display().to_string()));
        if left.is_empty() {
            return Ok(());
        }
        self.rescue(contender, site, start);
        Err(Failed::new(Failure::Leak, format!("left behind: {}", left.join(", "))))
    }
}

impl Instance {
    pub(super) fn ask_to_exit(&mut self) {
        if let Some(channel) = &mut self.channel {
            // A box that is gone already cannot be written to; its exit tells.
            let _ = channel.send("exit");
        }
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    let removed = match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(e) => Err(e),
    };
    match removed {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
