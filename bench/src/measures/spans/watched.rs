//! A contender whose starts are watched.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use tare_reports::document::{Class, Failure};

use crate::contenders::{Contender, Description, Found, Missing, Resumption, Surroundings, Undo};
use crate::lab::Instance;
use crate::site::{Site, Start};
use crate::spans::machine::Listener;
use crate::spans::path::{self, Root};
use crate::spans::tracefs::Tracer;
use crate::spans::{Spans, files, marks, parse};
use crate::spawner::protocol::Launch;

/// The contender within, with all probes that fit it switched on just before the clock.
#[derive(Debug)]
pub(super) struct Watched<'a> {
    contender: &'a mut dyn Contender,
    tracer: Option<&'a Tracer>,
    root: Root,
    listener: Option<Listener>,
    /// What hindered a probe, in words.
    notes: Vec<String>,
}

impl<'a> Watched<'a> {
    pub(super) fn new(contender: &'a mut dyn Contender, tracer: Option<&'a Tracer>, spawner: u32) -> Self {
        Self { contender, tracer, root: Root { spawner, client: false }, listener: None, notes: Vec::new() }
    }

    fn is_machine(&self) -> bool {
        self.contender.description().class == Class::Vm
    }

    fn note(&mut self, what: &str, error: impl std::fmt::Display) {
        self.notes.push(format!("spans: {what}: {error}"));
    }

    /// Switches the probes on.
    fn begin(&mut self, site: &Site, start: &Start) {
        if self.contender.is_scripted() {
            return;
        }
        if self.is_machine() {
            match Listener::open(site, start) {
                Ok(listener) => self.listener = Some(listener),
                Err(e) => self.note("the pipes of the machine's probes", e),
            }
        } else if let Some(tracer) = self.tracer
            && let Err(e) = tracer.begin(true)
        {
            self.note("switch the tracepoints on", e);
        }
    }

    /// Switches them off and says what they saw of this start, and what hindered them.
    pub(super) fn seen(&mut self, site: &Site, instance: &Instance) -> (Spans, Vec<String>) {
        let moments = &instance.moments;
        let mut marks = moments.marks.clone();
        marks.extend(self.contender.marks(site, &instance.start));
        let spans = if self.contender.is_scripted() {
            moments.scripted.clone()
        } else if !instance.spans.is_empty() {
            // A box that was resumed: the lab itself saw all there is.
            instance.spans.clone()
        } else if self.is_machine() {
            self.listener.take().map(|it| it.spans(moments)).unwrap_or_default()
        } else {
            let traced = self.traced(moments.began, moments.ready);
            match traced {
                Some((spans, _)) if marks.is_empty() => spans,
                Some((_, seen)) => marks::spans(moments.began, moments.ready, &marks, seen.as_ref()),
                None => marks::spans(moments.began, moments.ready, &marks, None),
            }
        };
        (spans, std::mem::take(&mut self.notes))
    }

    fn traced(&mut self, began: u64, ready: u64) -> Option<(Spans, Option<path::Seen>)> {
        let text = self.tracer?.end().map_err(|e| self.note("read the tracepoints", e)).ok()?;
        let events = parse::events(&text).map_err(|e| self.note("the tracepoints", e)).ok()?;
        // For a person who looks into the rule, and for the fixture of its tests: the last start's recording.
        if let Some(file) = std::env::var_os("TARE_SPANS_TRACE") {
            let _ = std::fs::write(file, &text);
        }
        Some(path::spans(&events, self.root, began, ready))
    }

    /// What watching left in the site.
    fn files(&self, site: &Site, start: &Start) -> impl Iterator<Item = Undo> {
        files(site, start).into_iter().filter(|file| file.exists()).map(Undo::Remove)
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        // A start that failed leaves them on.
        if let Some(tracer) = self.tracer.filter(|_| !self.is_machine() && !self.contender.is_scripted()) {
            let _ = tracer.stop();
        }
    }
}

impl Contender for Watched<'_> {
    /// Before the clock.
    fn stock(&mut self, site: &Site, start: &Start) -> Result<Option<Launch>> {
        self.begin(site, start);
        self.contender.stock(site, start)
    }

    fn launch(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        let launch = self.contender.launch_watched(site, start);
        self.root.client = matches!(launch, Ok(Launch::Command { .. }));
        launch
    }

    fn teardown(&self, site: &Site, start: &Start) -> Vec<Undo> {
        self.contender.teardown(site, start).into_iter().chain(self.files(site, start)).collect()
    }

    fn rescue(&self, site: &Site, start: &Start) -> Vec<Undo> {
        self.contender.rescue(site, start).into_iter().chain(self.files(site, start)).collect()
    }

    fn leaves(&self, site: &Site, start: &Start) -> Vec<PathBuf> {
        self.contender.leaves(site, start).into_iter().chain(files(site, start)).collect()
    }

    // All else is the contender's own.

    fn description(&self) -> Description<'_> {
        self.contender.description()
    }

    fn is_scripted(&self) -> bool {
        self.contender.is_scripted()
    }

    fn probe(&mut self, surroundings: &Surroundings) -> Result<Found, Missing> {
        self.contender.probe(surroundings)
    }

    fn prepare(&mut self, site: &Site) -> Result<()> {
        self.contender.prepare(site)
    }

    fn command(&mut self, site: &Site) -> Vec<String> {
        self.contender.command(site)
    }

    fn resumption(&mut self) -> Option<Resumption> {
        self.contender.resumption()
    }

    fn pid_file(&self, site: &Site, start: &Start) -> Option<PathBuf> {
        self.contender.pid_file(site, start)
    }

    fn diagnose(&self, site: &Site, start: &Start) -> Option<(Failure, String)> {
        self.contender.diagnose(site, start)
    }

    fn deadline(&self) -> Duration {
        self.contender.deadline()
    }

    fn fifos(&self, site: &Site, start: &Start) -> Option<PathBuf> {
        self.contender.fifos(site, start)
    }

    fn wants_a_terminal(&self) -> bool {
        self.contender.wants_a_terminal()
    }

    fn is_served(&self) -> bool {
        self.contender.is_served()
    }

    fn served_process(&self, site: &Site, start: &Start) -> Result<u32> {
        self.contender.served_process(site, start)
    }

    fn helpers_cpu(&self, site: &Site) -> Option<Result<u64>> {
        self.contender.helpers_cpu(site)
    }

    fn served_in(&self, site: &Site) -> Option<Result<String>> {
        self.contender.served_in(site)
    }

    fn finish(&mut self, site: &Site) -> Result<()> {
        self.contender.finish(site)
    }
}
