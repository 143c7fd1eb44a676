//! Who is compared and what is measured, by name.

use anyhow::Result;

use crate::contenders::{self, Contender};
use crate::measures::{self, Measure};

/// A name that nothing has: a usage error.
#[derive(Debug, thiserror::Error)]
#[error("no {kind} is called {name:?}; there are: {known}")]
pub struct UnknownName {
    kind: &'static str,
    name: String,
    known: String,
}

/// Names as the command line gives them; empty lists mean everybody.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// These measures.
    pub measures: Vec<String>,
    /// Only these contenders.
    pub only: Vec<String>,
    /// Not these contenders.
    pub skip: Vec<String>,
}

/// What a selection stands for.
pub(super) type Resolved = (Vec<Box<dyn Measure>>, Vec<Box<dyn Contender>>);

impl Selection {
    /// Looks the names up.
    ///
    /// # Errors
    /// [`UnknownName`], or a broken script of scripted contenders.
    pub fn resolve(&self) -> Result<Resolved> {
        let (mut measures, mut contenders) = (measures::all()?, contenders::all()?);
        let names: Vec<String> = contenders.iter().map(|c| c.name().to_owned()).collect();
        check("contender", self.only.iter().chain(&self.skip), &names)?;
        let known: Vec<String> = measures.iter().map(|m| m.name().to_owned()).collect();
        check("measure", self.measures.iter(), &known)?;
        measures.retain(|m| self.measures.is_empty() || self.measures.iter().any(|name| name == m.name()));
        contenders.retain(|c| self.wants(c.name()));
        Ok((measures, contenders))
    }

    fn wants(&self, name: &str) -> bool {
        (self.only.is_empty() || self.only.iter().any(|n| n == name)) && !self.skip.iter().any(|n| n == name)
    }

    /// What was left out by name, with the flag that adds it.
    pub fn left_out(&self) -> Vec<String> {
        let Ok(all) = contenders::all() else { return Vec::new() };
        all.iter()
            .map(|c| c.name())
            .filter(|name| !self.wants(name))
            .map(|name| format!("contender {name}: tare run --only {name}"))
            .collect()
    }
}

fn check<'a>(
    kind: &'static str,
    asked: impl Iterator<Item = &'a String>,
    known: &[String],
) -> Result<(), UnknownName> {
    for name in asked {
        if !known.contains(name) {
            return Err(UnknownName { kind, name: name.clone(), known: known.join(", ") });
        }
    }
    Ok(())
}
