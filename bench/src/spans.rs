//! Spans: where the time of one start goes.
//!
//! Three kinds of probe tell, each what it saw and nothing else:
//!
//! | probe | of whom | file |
//! |---|---|---|
//! | marks: the end of each step of the recipe | our runtime | `marks` |
//! | tracepoints: what each process and thread does, and whether it sleeps | everybody on the host's kernel | `tracefs`, `parse`, `path` |
//! | a machine's monitor, its debug port, what its firmware asks for | virtual machines | `machine` |
//!
//! Spans of a start never overlap: each instant between the first call and READY belongs to one span or to
//! none. What none of the probes saw stays over (`unattributed`, the value less the sum of its spans); a span
//! that could not be observed is absent and not zero.

pub mod calls;
pub mod machine;
pub mod marks;
pub mod parse;
pub mod path;
mod sys;
pub mod tracefs;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::site::{Site, Start};

/// The spans of one start: name and length, ns.
pub type Spans = BTreeMap<String, u64>;

/// What is left of a watched start in the site: marks, and the pipes of a machine's probes.
const FILES: [&str; 4] = ["marks", "qmp", "debug", "trace"];

/// The file in which a probe of this kind tells of this start.
pub fn file(site: &Site, start: &Start, kind: &str) -> PathBuf {
    site.boxes().join(format!("{}.{kind}", start.id))
}

/// All such files of a start.
pub fn files(site: &Site, start: &Start) -> [PathBuf; FILES.len()] {
    FILES.map(|kind| file(site, start, kind))
}

/// Adds to a span, and makes it where there is none yet.
fn add(spans: &mut Spans, name: &str, ns: u64) {
    *spans.entry(name.to_owned()).or_default() += ns;
}
