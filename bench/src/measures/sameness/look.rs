//! One look at one box: what it holds, and what it is.

use std::collections::BTreeMap;
use std::time::Duration;

use tare_reports::document::Failure;

use super::surroundings;
use crate::contenders::Contender;
use crate::image::{compare, sha256};
use crate::lab::{Failed, Instance, Lab};
use crate::site::Site;

/// How long a box may take to read all its files: under an emulator some seconds.
const READS_WITHIN: Duration = Duration::from_secs(60);

/// What is not content in any box, the same for all: where boxes have their own file systems mounted, what tools are
/// known to put beside an image, and variables that they add. Said to every payload, and shown.
pub const LEFT_OUT: [&str; 15] = [
    "/.dockerenv",
    "/channel",
    "/dev",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/mtab",
    "/etc/resolv.conf",
    "/lost+found",
    "/proc",
    "/run",
    "/sys",
    "HOME",
    "HOSTNAME",
    "TERM",
    "container",
];

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// SHA-256 of the content, as the payload computed it.
    pub digest: String,
    /// Lines of content.
    pub entries: u64,
    /// In what it differs from the image, each in words.
    pub differences: Vec<String>,
    /// What was there beside the content.
    pub beside: Vec<String>,
    /// The box itself.
    pub surroundings: BTreeMap<String, String>,
    /// What of the common box was not applied.
    pub not_applied: Vec<String>,
}

/// Starts a box, looks at it, and takes it down. `image` are the lines that follow from what the image holds
/// ([`Image::lines`](crate::image::Image::lines), without [`LEFT_OUT`]).
///
/// # Errors
/// The failure that the sample records; nothing of the box is left then.
pub fn look(
    lab: &mut Lab,
    site: &Site,
    contender: &mut dyn Contender,
    image: &[String],
) -> Result<Look, Failed> {
    let mut instance = lab.start_alive(contender, site, None)?;
    let looked = match instance.scripted_edits() {
        Some(edits) => Ok(scripted(image, edits)),
        None => ask(lab, site, contender, &mut instance, image),
    };
    match looked {
        Ok(looked) => {
            let not_applied = instance.not_applied.clone();
            match lab.stop(contender, site, instance).teardown_ns {
                Err(failed) if matches!(failed.failure, Failure::Leak | Failure::Crash) => Err(failed),
                _ => Ok(Look { not_applied, ..looked }),
            }
        }
        Err(failed) => {
            lab.abandon(contender, site, &instance);
            Err(failed)
        }
    }
}

fn ask(
    lab: &mut Lab,
    site: &Site,
    contender: &dyn Contender,
    instance: &mut Instance,
    image: &[String],
) -> Result<Look, Failed> {
    let request = format!("digest {}", LEFT_OUT.join(" "));
    let said = lab.listing(contender, site, instance, &request, READS_WITHIN)?;
    let box_lines = lab.listing(contender, site, instance, "self", READS_WITHIN)?;
    judge(image, &said, surroundings::read(&box_lines))
}

/// What a scripted box would have said: the image's own lines, edited.
fn scripted(image: &[String], edits: &[(String, String)]) -> Look {
    let mut text = image.join("\n");
    for (old, new) in edits {
        text = text.replace(old, new);
    }
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let last = format!("OK digest {} {}", sum(&lines), lines.len());
    let said: Vec<String> = lines.into_iter().chain([last]).collect();
    // Its own sum is right.
    judge(image, &said, BTreeMap::new()).unwrap_or_else(|failed| unreachable!("{}", failed.detail))
}

/// Tells content from what is beside it, and looks whether what came is what was summed up.
fn judge(image: &[String], said: &[String], surroundings: BTreeMap<String, String>) -> Result<Look, Failed> {
    let wrong = |what: String| Failed::new(Failure::WrongAnswer, what);
    let (last, lines) = said.split_last().ok_or_else(|| wrong("digest was answered by nothing".into()))?;
    let (beside, content): (Vec<String>, Vec<String>) =
        lines.iter().cloned().partition(|line| line.starts_with("beside "));
    let mut words = last.split(' ').skip(2);
    let (digest, count) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (own_digest, own_count) = (sum(&content), content.len().to_string());
    if (digest, count) != (&own_digest, &own_count) {
        return Err(wrong(format!(
            "{count} lines with the sum {digest} were said, {own_count} with {own_digest} came"
        )));
    }
    let beside = beside.iter().filter_map(|line| line.strip_prefix("beside ")).map(str::to_owned);
    Ok(Look {
        digest: own_digest,
        entries: content.len() as u64,
        differences: compare::differences(image, &content),
        beside: beside.collect(),
        surroundings,
        not_applied: Vec::new(),
    })
}

fn sum(lines: &[String]) -> String {
    sha256(lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect::<String>().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_were_lost_on_the_way_are_no_digest() {
        let lines = ["argv /payload", "cwd /", "entry d0755 0 0 - - /"].map(str::to_owned);
        let said = |lines: &[String]| {
            let last = format!("OK digest {} {}", sum(lines), lines.len());
            [lines.to_vec(), vec![last]].concat()
        };
        let looked = judge(&lines, &said(&lines), BTreeMap::new()).unwrap();
        assert_eq!((looked.differences.len(), looked.entries as usize), (0, lines.len()));
        let mut short = said(&lines);
        short.remove(1);
        assert_eq!(judge(&lines, &short, BTreeMap::new()).unwrap_err().failure, Failure::WrongAnswer);
        let beside = [vec!["beside /proc".to_owned()], said(&lines)].concat();
        assert_eq!(judge(&lines, &beside, BTreeMap::new()).unwrap().beside, ["/proc"]);
    }
}
