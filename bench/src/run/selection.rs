//! Who is compared and what is measured, by name.

use anyhow::Result;

use crate::contenders::{self, Contender};
use crate::measures::{self, Measure};

/// Whom the quick profile compares, unless names are given. qemu-microvm is skipped where its kernel was not
/// built.
const QUICK: [&str; 7] = ["process", "floor", "tare", "tare-lib", "runc", "qemu", "qemu-microvm"];

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
    /// Without `only`: those of the quick profile and not everybody. Scripted contenders are always wanted,
    /// for they exist only where somebody gave a script.
    pub quick: bool,
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
        contenders.retain(|c| self.wants(c.as_ref()));
        Ok((measures, contenders))
    }

    fn wants(&self, contender: &dyn Contender) -> bool {
        let name = contender.name();
        let asked = match self.only.is_empty() {
            true => !self.quick || QUICK.contains(&name) || contender.is_scripted(),
            false => self.only.iter().any(|n| n == name),
        };
        asked && !self.skip.iter().any(|n| n == name)
    }

    /// What was left out by name, with the flag that adds it.
    pub fn left_out(&self) -> Vec<String> {
        let Ok(all) = contenders::all() else { return Vec::new() };
        all.iter()
            .filter(|c| !self.wants(c.as_ref()))
            .map(|c| format!("contender {name}: tare run --only {name}", name = c.name()))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn names(selection: &Selection) -> Vec<String> {
        let (_, contenders) = selection.resolve().unwrap();
        contenders.iter().map(|c| c.name().to_owned()).collect()
    }

    #[test]
    fn the_quick_profile_compares_those_of_the_design_and_names_the_others() {
        let quick = Selection { quick: true, ..Selection::default() };
        let (found, everybody) = (names(&quick), names(&Selection::default()));
        for name in &found {
            assert!(QUICK.contains(&name.as_str()), "{name}");
        }
        for name in ["process", "floor", "tare", "tare-lib", "runc", "qemu"] {
            assert!(found.iter().any(|n| n == name), "{name} is missing");
        }
        assert!(found.len() < everybody.len());
        let left_out = quick.left_out();
        assert_eq!(left_out.len(), everybody.len() - found.len());
        assert!(left_out.contains(&"contender crun: tare run --only crun".to_owned()), "{left_out:?}");
    }

    #[test]
    fn names_count_more_than_the_profile() {
        let only = vec!["crun".to_owned(), "process".to_owned()];
        let asked = Selection { only, quick: true, ..Selection::default() };
        assert_eq!(names(&asked), ["process", "crun"]);
        let skip = Selection { skip: vec!["runc".into()], quick: true, ..Selection::default() };
        assert!(!names(&skip).contains(&"runc".to_owned()));
    }
}
