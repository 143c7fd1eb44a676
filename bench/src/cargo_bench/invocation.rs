//! The targets of one `cargo bench` as one document and one page.
//!
//! Each target is a process and a run of its own, and every run is kept. Targets of one invocation have the same
//! parent: the same `cargo`, by its process id, its start time and the boot, for ids are given out again. Each run
//! keeps that beside its result; the one that ends finds the others by it, and draws them all anew as one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};
use tare_reports::document::Document;

use crate::host::process;
use crate::record::point_latest;
use crate::run::write_page;

/// The name of the note in a run's directory.
const NOTE: &str = "cargo-bench.json";

/// One process that ran one `cargo bench`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invocation {
    /// Process id of cargo.
    pub cargo: u32,
    /// Its start time in clock ticks after boot (proc(5), /proc/PID/stat).
    pub started: u64,
    /// Which boot of the host (random(4), boot_id).
    pub boot: String,
}

impl Invocation {
    /// The one that this process is a target of; none where it was not started by cargo.
    pub fn ours() -> Option<Self> {
        // Cargo tells its children where it is; whoever starts a target by hand does not.
        std::env::var_os("CARGO")?;
        Self::of(nix::unistd::getppid().as_raw() as u32)
    }

    /// The one whose cargo is this process; none where there is no such process.
    pub fn of(cargo: u32) -> Option<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
        Some(Self { cargo, started: process::start_time(cargo)?, boot })
    }

    /// Notes that the run in this directory belongs to it.
    ///
    /// # Errors
    /// When the note cannot be written.
    pub fn note(&self, dir: &Path) -> Result<()> {
        let path = dir.join(NOTE);
        fs::write(&path, serde_json::to_vec(self)?).with_context(|| format!("write {}", path.display()))
    }

    /// Its finished runs below `out`, the earliest first, and why others of them are not among these.
    pub fn runs(&self, out: &Path) -> (Vec<Document>, Vec<String>) {
        let (mut runs, mut unread) = (Vec::new(), Vec::new());
        for dir in fs::read_dir(out).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let note = fs::read(dir.join(NOTE)).ok().and_then(|it| serde_json::from_slice::<Self>(&it).ok());
            // `latest` is another name of one of them.
            if note.as_ref() != Some(self) || dir.is_symlink() {
                continue;
            }
            match tare_reports::read(&dir.join("result.json")) {
                Ok(document) => runs.push(document),
                Err(error) => {
                    unread.push(format!("an earlier target of this cargo bench is not merged: {error}"))
                }
            }
        }
        runs.sort_by(|a, b| (&a.run.started, &a.run.id).cmp(&(&b.run.started, &b.run.id)));
        (runs, unread)
    }

    /// Merges its runs below `out`, where there are several, into a document with a page of its own, to which
    /// `latest` points then. Returns the page; what is in the way of an earlier run is told to `tell`.
    ///
    /// # Errors
    /// When the document cannot be written. Every run stays as it is.
    pub fn merge(&self, out: &Path, mut tell: impl FnMut(&str)) -> Result<Option<(Document, PathBuf)>> {
        let (runs, unread) = self.runs(out);
        unread.iter().for_each(|line| tell(line));
        let [first, _, ..] = &*runs else { return Ok(None) };
        let id = format!("{}-merged", first.run.id);
        let merged =
            tare_reports::merge::merge(&runs, &id).map_err(|why| anyhow!("merge the targets: {why}"))?;
        let dir = out.join(&id);
        fs::create_dir_all(&dir).with_context(|| format!("make the directory {}", dir.display()))?;
        tare_reports::write(&merged, &dir.join("result.json"))?;
        let page = write_page(&merged, &dir, tare_reports::Lang::En)?;
        point_latest(out, &id)?;
        Ok(Some((merged, page)))
    }
}
