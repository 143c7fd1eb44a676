//! A contender whose starts are watched.

use std::path::PathBuf;

use anyhow::Result;
use tare_reports::document::Class;

use crate::contenders::altered::{Altered, Change};
use crate::contenders::{Contender, Undo};
use crate::lab::Instance;
use crate::site::{Site, Start};
use crate::spans::machine::Listener;
use crate::spans::path::{self, Root};
use crate::spans::tracefs::Tracer;
use crate::spans::{Spans, files, marks, parse};
use crate::spawner::protocol::{Launch, Mark};

/// All probes that fit the contender, switched on just before the clock.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    scripted: bool,
    machine: bool,
    tracer: Option<&'a Tracer>,
    root: Root,
    listener: Option<Listener>,
    /// What hindered a probe, in words.
    notes: Vec<String>,
}

/// A contender under watch.
pub(super) type Watched<'a> = Altered<'a, Watch<'a>>;

impl<'a> Watched<'a> {
    pub(super) fn new(contender: &'a mut dyn Contender, tracer: Option<&'a Tracer>, spawner: u32) -> Self {
        let change = Watch {
            scripted: contender.is_scripted(),
            machine: contender.description().class == Class::Vm,
            tracer,
            root: Root { spawner, client: false },
            listener: None,
            notes: Vec::new(),
        };
        Self { contender, change }
    }

    /// Switches the probes off and says what they saw of this start, and what hindered them.
    pub(super) fn seen(&mut self, site: &Site, instance: &Instance) -> (Spans, Vec<String>) {
        let marks = self.contender.marks(site, &instance.start);
        self.change.seen(marks, instance)
    }
}

impl Watch<'_> {
    fn note(&mut self, what: &str, error: impl std::fmt::Display) {
        self.notes.push(format!("spans: {what}: {error}"));
    }

    /// Switches the probes on.
    fn begin(&mut self, site: &Site, start: &Start) {
        if self.scripted {
            return;
        }
        if self.machine {
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

    /// Switches them off; `told` is what the contender's runtime noted.
    fn seen(&mut self, told: Vec<Mark>, instance: &Instance) -> (Spans, Vec<String>) {
        let moments = &instance.moments;
        let mut marks = moments.marks.clone();
        marks.extend(told);
        let spans = if self.scripted {
            moments.scripted.clone()
        } else if !instance.spans.is_empty() {
            // A box that was resumed: the lab itself saw all there is.
            instance.spans.clone()
        } else if self.machine {
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
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        // A start that failed leaves them on.
        if let Some(tracer) = self.tracer.filter(|_| !self.machine && !self.scripted) {
            let _ = tracer.stop();
        }
    }
}

impl Change for Watch<'_> {
    fn before(&mut self, site: &Site, start: &Start) {
        self.begin(site, start);
    }

    fn launch(&mut self, contender: &mut dyn Contender, site: &Site, start: &Start) -> Result<Launch> {
        let launch = contender.launch_watched(site, start);
        self.root.client = matches!(launch, Ok(Launch::Command { .. }));
        launch
    }

    fn undo(&self, site: &Site, start: &Start) -> Vec<Undo> {
        files(site, start).into_iter().filter(|file| file.exists()).map(Undo::Remove).collect()
    }

    fn leaves(&self, site: &Site, start: &Start) -> Vec<PathBuf> {
        files(site, start).into()
    }
}
