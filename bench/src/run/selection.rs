//! Who is compared and what is measured, by name.

use anyhow::{Result, bail};

use super::Profile;
use crate::contenders::{self, Contender};
use crate::measures::{self, Measure};

/// Whom the quick profile compares, unless names are given: those of the design, and the hand-written loop
/// that shows the lab's own share. qemu-microvm is skipped where its kernel was not built.
const QUICK: [&str; 8] =
    ["hand-loop", "process", "floor", "tare", "tare-lib", "runc", "qemu", "qemu-microvm"];

/// Whom only the full profile compares, unless it is named: one start takes tens of seconds.
const FULL: [&str; 1] = ["qemu-distro"];

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
    /// Looks the names up. Without names the profile decides on the measures, and contenders that none of the
    /// measures has a question for are left away.
    ///
    /// # Errors
    /// [`UnknownName`], nobody left, or a broken script of scripted contenders.
    pub fn resolve(&self, profile: Profile) -> Result<Resolved> {
        let (mut measures, mut contenders) = (measures::all()?, contenders::all()?);
        let names: Vec<String> = contenders.iter().map(|c| c.name().to_owned()).collect();
        check("contender", self.only.iter().chain(&self.skip), &names)?;
        let known: Vec<String> = measures.iter().map(|m| m.name().to_owned()).collect();
        check("measure", self.measures.iter(), &known)?;
        measures.retain(|m| self.asks(m.as_ref(), profile));
        let asked: Vec<String> = contenders
            .iter()
            .filter(|c| is_asked(&measures, c.as_ref()))
            .map(|c| c.name().to_owned())
            .collect();
        contenders.retain(|c| {
            let named = self.only.iter().any(|name| name == c.name());
            self.wants(c.as_ref(), profile) && (named || is_asked(&measures, c.as_ref()))
        });
        // Who is named and cannot answer is listed as left out, beside others who can; alone he would be a run of nothing.
        if !contenders.iter().any(|c| asked.iter().any(|name| name == c.name())) {
            let names: Vec<&str> = measures.iter().map(|m| m.name()).collect();
            bail!(
                "nobody is left to be measured: to {} answer {}, and --only or --skip leaves none of them",
                names.join(", "),
                asked.join(", ")
            );
        }
        Ok((measures, contenders))
    }

    fn asks(&self, measure: &dyn Measure, profile: Profile) -> bool {
        match self.measures.is_empty() {
            true => measure.in_profile(profile),
            false => self.measures.iter().any(|name| name == measure.name()),
        }
    }

    /// Scripted contenders are always wanted, for they exist only where somebody gave a script.
    fn wants(&self, contender: &dyn Contender, profile: Profile) -> bool {
        let name = contender.name();
        let asked = match self.only.is_empty() {
            true => contender.is_scripted() || in_profile(name, profile),
            false => self.only.iter().any(|n| n == name),
        };
        asked && !self.skip.iter().any(|n| n == name)
    }

    /// What was left out, by name or by the profile, with the command that adds it.
    pub fn left_out(&self, profile: Profile) -> Vec<String> {
        let (Ok(measures), Ok(contenders)) = (measures::all(), contenders::all()) else { return Vec::new() };
        let (asked, others): (Vec<_>, Vec<_>) =
            measures.into_iter().partition(|m| self.asks(m.as_ref(), profile));
        let named: String = self.measures.iter().map(|name| format!("{name} ")).collect();
        let mut left: Vec<String> = contenders
            .iter()
            .filter(|c| !self.wants(c.as_ref(), profile) && is_asked(&asked, c.as_ref()))
            .map(|c| format!("contender {name}: tare run {named}--only {name}", name = c.name()))
            .collect();
        // Who names measures has left out nothing that needs saying.
        if self.measures.is_empty() {
            left.extend(others.iter().map(|m| format!("measure {name}: tare run {name}", name = m.name())));
        }
        left
    }
}

fn in_profile(contender: &str, profile: Profile) -> bool {
    match profile {
        Profile::Quick => QUICK.contains(&contender),
        Profile::Standard => !FULL.contains(&contender),
        Profile::Full => true,
    }
}

/// Whether a measure has a question for this contender.
pub(super) fn is_asked(measures: &[Box<dyn Measure>], contender: &dyn Contender) -> bool {
    let mut passes = measures.iter().flat_map(|m| m.passes());
    passes.any(|pass| !pass.settings(contender).is_empty())
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

    fn names(selection: &Selection, profile: Profile) -> Vec<String> {
        let (_, contenders) = selection.resolve(profile).unwrap();
        contenders.iter().map(|c| c.name().to_owned()).collect()
    }

    #[test]
    fn the_quick_profile_compares_those_of_the_design_and_names_the_others() {
        let all = Selection::default();
        let (found, everybody) = (names(&all, Profile::Quick), names(&all, Profile::Standard));
        for name in &found {
            assert!(QUICK.contains(&name.as_str()), "{name}");
        }
        for name in ["hand-loop", "process", "floor", "tare", "tare-lib", "runc", "qemu"] {
            assert!(found.iter().any(|n| n == name), "{name} is missing");
        }
        assert!(found.len() < everybody.len());
        let left_out = all.left_out(Profile::Quick);
        assert!(left_out.contains(&"contender crun: tare run --only crun".to_owned()), "{left_out:?}");
        assert!(left_out.contains(&"measure ladder: tare run ladder".to_owned()), "{left_out:?}");
        assert_eq!(
            all.left_out(Profile::Standard),
            ["contender qemu-distro: tare run --only qemu-distro", "measure density: tare run density"]
        );
        assert_eq!(all.left_out(Profile::Full), ["measure density: tare run density"]);
    }

    #[test]
    fn names_count_more_than_the_profile() {
        let only = vec!["crun".to_owned(), "process".to_owned()];
        let asked = Selection { only, ..Selection::default() };
        assert_eq!(names(&asked, Profile::Quick), ["process", "crun"]);
        let skip = Selection { skip: vec!["runc".into()], ..Selection::default() };
        assert!(!names(&skip, Profile::Quick).contains(&"runc".to_owned()));
    }

    #[test]
    fn the_command_that_adds_somebody_asks_him_the_same() {
        let of = |words: &[&str]| -> Vec<String> { words.iter().map(ToString::to_string).collect() };
        let disk = Selection { measures: of(&["sameness", "disk"]), only: of(&["tare"]), skip: Vec::new() };
        let left = disk.left_out(Profile::Quick);
        assert!(left.contains(&"contender qemu: tare run sameness disk --only qemu".into()), "{left:?}");
        assert!(!left.iter().any(|it| it.contains("hand-loop")), "it has no image: {left:?}");
        let nobody = Selection { only: of(&["tare"]), skip: of(&["tare"]), ..Selection::default() };
        let error = nobody.resolve(Profile::Quick).map(drop).expect_err("nobody").to_string();
        assert!(error.contains("nobody is left to be measured: to startup, memory answer"), "{error}");
        let of_none = Selection { measures: of(&["disk"]), only: of(&["process", "runc"]), skip: Vec::new() };
        let error = of_none.resolve(Profile::Quick).map(drop).expect_err("neither has an image").to_string();
        assert!(
            error.contains("to disk answer ") && error.contains("tare") && error.contains("docker"),
            "{error}"
        );
        let of_one = Selection { only: of(&["process", "tare"]), ..of_none };
        assert_eq!(names(&of_one, Profile::Quick), ["process", "tare"], "the one is listed as left out");
    }
}
