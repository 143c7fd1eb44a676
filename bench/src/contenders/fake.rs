//! `fake`: contenders that answer from a script. They exist to test the whole pipeline with exact numbers,
//! without root and without time passing; `TARE_FAKE` names the script.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tare_reports::document::{Accel, Class};

use super::{Contender, Description, Found, Missing, Surroundings};
use crate::site::{Site, Start};
use crate::spawner::protocol::{Launch, Script};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Play {
    contenders: Vec<Role>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Role {
    name: String,
    #[serde(default)]
    skipped: Option<String>,
    /// One per visit; after the last one the script begins again.
    visits: Vec<Script>,
}

/// A contender that answers from a script.
#[derive(Debug)]
pub struct Fake {
    role: Role,
    next: usize,
}

/// The scripted contenders that `TARE_FAKE` names; none when it is not set.
///
/// # Errors
/// When the script cannot be read or is not one.
pub fn from_environment() -> Result<Vec<Box<dyn Contender>>> {
    let Some(path) = std::env::var_os("TARE_FAKE") else { return Ok(Vec::new()) };
    from_file(Path::new(&path))
}

fn from_file(path: &Path) -> Result<Vec<Box<dyn Contender>>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("read the script {}", path.display()))?;
    let play: Play =
        serde_json::from_str(&text).with_context(|| format!("{} is not a script", path.display()))?;
    for role in &play.contenders {
        ensure!(!role.visits.is_empty(), "{}: the visits of {} are empty", path.display(), role.name);
    }
    Ok(play.contenders.into_iter().map(|role| Box::new(Fake { role, next: 0 }) as _).collect())
}

impl Contender for Fake {
    fn description(&self) -> Description<'_> {
        Description {
            name: &self.role.name,
            class: Class::Process,
            about: "answers from a script; for tests",
            inside_clock: &["nothing: the figures come from a script"],
            channel: "none",
            ..Description::default()
        }
    }

    fn is_scripted(&self) -> bool {
        true
    }

    fn probe(&mut self, _: &Surroundings) -> Result<Found, Missing> {
        match &self.role.skipped {
            Some(reason) => Err(Missing { reason: reason.clone(), fix: None }),
            None => Ok(Found { version: "scripted".into(), accel: Accel::Native, not_expressed: Vec::new() }),
        }
    }

    fn launch(&mut self, _: &Site, _: &Start) -> Result<Launch> {
        let script = self.role.visits[self.next % self.role.visits.len()].clone();
        self.next += 1;
        Ok(Launch::Scripted(script))
    }

    fn command(&mut self, _: &Site) -> Vec<String> {
        vec!["fake".into(), self.role.name.clone()]
    }
}
