//! `fake`: contenders that answer from a script. They exist to test the whole pipeline with exact numbers,
//! without root and without time passing; `TARE_FAKE` names the script.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use tare_reports::document::{Accel, Class};

use super::{Contender, Description, Fetches, Found, Missing, Parcel, Surroundings, Undo};
use crate::image::Image;
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
    /// For rungs of the ladder, in the same way; rungs that are not named answer with `visits`. Without any,
    /// it cannot climb.
    #[serde(default)]
    rungs: BTreeMap<String, Vec<Script>>,
    /// For boxes that are held at the same time: what the first, the second and so on answers, and the last of these
    /// all further ones. Without any, `visits` counts.
    #[serde(default)]
    boxes: Vec<Script>,
}

/// A contender that answers from a script.
#[derive(Debug)]
pub struct Fake {
    role: Role,
    /// How often each rung, and the whole box under the empty name, was asked for.
    asked: BTreeMap<String, usize>,
    /// Boxes that were started and not taken down yet.
    held: Cell<usize>,
}

impl Fake {
    fn answer(&mut self, rung: &str) -> Launch {
        if let Some(answer) = self.role.boxes.get(self.held.get()).or(self.role.boxes.last()) {
            if matches!(answer, Script::Took { .. }) {
                self.held.set(self.held.get() + 1);
            }
            return Launch::Scripted(answer.clone());
        }
        let script = self.role.rungs.get(rung).unwrap_or(&self.role.visits);
        let asked = self.asked.entry(rung.to_owned()).or_default();
        let answer = script[*asked % script.len()].clone();
        *asked += 1;
        Launch::Scripted(answer)
    }
}

/// The scripted contenders that `TARE_FAKE` names; none when it is not set.
///
/// # Errors
/// When the script cannot be read or is not one.
pub fn from_environment() -> Result<Vec<Box<dyn Contender>>> {
    let Some(path) = std::env::var_os("TARE_FAKE") else { return Ok(Vec::new()) };
    from_file(Path::new(&path))
}

/// The scripted contenders of a script.
///
/// # Errors
/// As [`from_environment`].
pub fn from_file(path: &Path) -> Result<Vec<Box<dyn Contender>>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("read the script {}", path.display()))?;
    let play: Play =
        serde_json::from_str(&text).with_context(|| format!("{} is not a script", path.display()))?;
    for role in &play.contenders {
        ensure!(!role.visits.is_empty(), "{}: the visits of {} are empty", path.display(), role.name);
        let silent = role.rungs.iter().find(|(_, script)| script.is_empty());
        if let Some((rung, _)) = silent {
            bail!("{}: the visits of {}'s rung {rung} are empty", path.display(), role.name);
        }
    }
    Ok(play
        .contenders
        .into_iter()
        .map(|role| Box::new(Fake { role, asked: BTreeMap::new(), held: Cell::new(0) }) as _)
        .collect())
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
        Ok(self.answer(""))
    }

    fn climbs(&self) -> bool {
        !self.role.rungs.is_empty()
    }

    fn launch_until(&mut self, _: &Site, _: &Start, rung: &str) -> Result<Launch> {
        Ok(self.answer(rung))
    }

    fn takes_images(&self) -> Result<(), &'static str> {
        Ok(())
    }

    fn keeps_images(&self) -> Result<&'static [&'static str], &'static str> {
        Ok(&[])
    }

    fn fetches(&self) -> Result<&dyn Fetches, &'static str> {
        Ok(self)
    }

    fn launch_image(&mut self, _: &Site, _: &Start, _: &Image) -> Result<Launch> {
        Ok(self.answer(""))
    }

    fn teardown(&self, _: &Site, _: &Start) -> Vec<Undo> {
        self.held.set(self.held.get().saturating_sub(1));
        Vec::new()
    }

    fn rescue(&self, _: &Site, _: &Start) -> Vec<Undo> {
        // A start that failed has made nothing.
        Vec::new()
    }

    fn command(&mut self, _: &Site) -> Vec<String> {
        vec!["fake".into(), self.role.name.clone()]
    }
}

/// What it would fetch, its script says; it is not asked for more.
impl Fetches for Fake {
    fn commands(&self, _: &Site, parcel: &Parcel, _: &str) -> Result<Vec<Vec<String>>> {
        bail!("{} fetches nothing: it was to fetch {}", self.role.name, parcel.tag)
    }

    fn inside_clock(&self) -> &'static [&'static str] {
        &[]
    }

    fn forget(&self, _: &Site, _: &[Parcel], _: &str) -> Vec<Undo> {
        Vec::new()
    }
}
