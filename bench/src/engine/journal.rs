//! A note, in the site, of what a run makes outside of the site and its cgroups, written before it is made: boxes
//! and images inside an engine that is not its own, and the traces that some tools leave on the host. `tare clean`
//! takes both away.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::call;

/// File in the site's directory; one line for each engine.
const FILE: &str = "engines.jsonl";
/// File in the site's directory; one path in each line.
const TRACES: &str = "traces";

/// What a run makes in one engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The client and the words that tell it which engine.
    pub client: Vec<String>,
    /// Words after the client that list our boxes.
    pub list: Vec<String>,
    /// Only names with this beginning are ours.
    pub prefix: String,
    /// Words after the client, before a box's name, that remove a box; each in turn.
    pub remove: Vec<Vec<String>>,
    /// Words after the client that remove our image, and whatever else was made; each in turn.
    pub rest: Vec<Vec<String>>,
}

/// Notes what is going to be made.
///
/// # Errors
/// When the note cannot be written: then nothing must be made.
pub fn note(site: &Path, entry: &Entry) -> Result<()> {
    use std::io::Write;
    let path = site.join(FILE);
    let mut file = fs::File::options().create(true).append(true).open(&path)?;
    writeln!(file, "{}", serde_json::to_string(entry)?)
        .and_then(|()| file.sync_all())
        .with_context(|| format!("write {}", path.display()))
}

/// Takes away everything that was noted; each entry is tried.
///
/// # Errors
/// The first thing that could not be removed.
pub fn clear(site: &Path) -> Result<()> {
    let text = fs::read_to_string(site.join(FILE)).unwrap_or_default();
    let mut result = Ok(());
    // A line that a killed run did not finish noted nothing that was made.
    for entry in text.lines().filter_map(|line| serde_json::from_str::<Entry>(line).ok()) {
        result = result.and(entry.clear());
    }
    result.and(clear_traces(site))
}

/// Notes which of these files and directories, that a tool is known to make, are not there yet. Inner ones first.
///
/// # Errors
/// When the note cannot be written.
pub fn note_traces(site: &Path, traces: &[&str]) -> Result<()> {
    use std::io::Write;
    let path = site.join(TRACES);
    let mut file = fs::File::options().create(true).append(true).open(&path)?;
    for trace in traces.iter().filter(|trace| !Path::new(trace).exists()) {
        writeln!(file, "{trace}").with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// Removes the traces that were noted; a directory only when it is empty, for somebody else may use it by now.
///
/// # Errors
/// When a file cannot be removed.
pub fn clear_traces(site: &Path) -> Result<()> {
    let text = fs::read_to_string(site.join(TRACES)).unwrap_or_default();
    for path in text.lines().map(PathBuf::from) {
        match path.symlink_metadata() {
            Ok(meta) if meta.is_dir() => drop(fs::remove_dir(&path)),
            Ok(_) => fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?,
            Err(_) => {}
        }
    }
    Ok(())
}

impl Entry {
    /// Takes away the boxes and the image of one engine.
    ///
    /// # Errors
    /// When the engine does not answer, or refuses.
    pub fn clear(&self) -> Result<()> {
        let words = |rest: &[String]| [&self.client[..], rest].concat();
        let boxes = call(&words(&self.list), &[]).context("list our boxes")?;
        for name in boxes.lines().map(str::trim).filter(|name| name.starts_with(&self.prefix)) {
            for remove in &self.remove {
                // A box that has ended has no task to kill: the last step must succeed, and tells.
                let result = call(&[&words(remove)[..], &[name.to_owned()]].concat(), &[]);
                if Some(remove) == self.remove.last() {
                    result?;
                }
            }
        }
        for rest in &self.rest {
            if let Err(error) = call(&words(rest), &[]) {
                let said = format!("{error:#}").to_lowercase();
                // A run that was killed early had made none.
                if !said.contains("no such image") && !said.contains("not found") {
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}
