//! A note, in the site, of what a run makes inside an engine that is not its own, written before it is made:
//! `tare clean` takes it away by the engine's own client.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::call;

/// File in the site's directory; one line for each engine.
const FILE: &str = "engines.jsonl";

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
    /// Words after the client that remove our image.
    pub image: Vec<String>,
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
    result
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
        match call(&words(&self.image), &[]) {
            Err(error) if !format!("{error:#}").to_lowercase().contains("no such image") => Err(error),
            _ => Ok(()),
        }
    }
}
