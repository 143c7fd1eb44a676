//! Cold starts: before each of them, outside the clock, the host's caches of files are dropped, for every contender
//! alike. A pass of its own, in a table of its own, and only with `--allow-host`.
//!
//! What is cold then: the box's program, its libraries unless others run with them, the image, a guest's kernel
//! and initramfs, firmware, the directories on the way there. What is not: processes that run already (the lab, an
//! engine's daemon) with the pages that they have mapped; so a call into our own library is as warm as the lab is.
//! Nor is it a start after power-on: a hypervisor or a disk may well remember.
//!
//! A box out of a pool or a saved state has no cold pass. Its point is that its files were read beforehand, and
//! these are modes of their own, which are never mixed.

use std::path::PathBuf;

use tare_reports::document::{Failure, Mode, Parameters};

use super::startup::{QUANTITIES, Starts};
use super::{OnHost, Pass};
use crate::contenders::Contender;
use crate::host::caches;
use crate::lab::{Failed, Lab};
use crate::program::on_path;
use crate::record::Visit;
use crate::rounds::Plan;
use crate::site::Site;

/// The same starts as the pass before, cold.
#[derive(Debug)]
pub(super) struct Cold(pub(super) Starts);

impl Pass for Cold {
    fn on_host(&self) -> Option<OnHost> {
        let adds = "mode cold: tare run startup --allow-host";
        Some(OnHost { adds, possible: caches::can_be_dropped })
    }

    fn mode(&self) -> Option<Mode> {
        Some(Mode::Cold)
    }

    fn settings(&self, contender: &dyn Contender) -> Vec<Parameters> {
        if contender.description().mode != Mode::Warm {
            return Vec::new();
        }
        self.0.settings(contender)
    }

    /// Not for the rules on the host's quiet, nor for the A/A test: everybody else on the host reads his files again
    /// after each drop, and that is our doing.
    fn single_starts(&self) -> bool {
        false
    }

    fn plan(&self, run: Plan) -> Plan {
        // A start from disk, with what the drop costs, takes ten times a warm one.
        Plan { rounds: run.rounds.div_ceil(10), budget: run.budget }
    }

    fn visit(&self, lab: &mut Lab, site: &Site, contender: &mut dyn Contender, visit: &mut Visit<'_>) {
        match chill(site, contender, visit) {
            Ok(()) => self.0.visit(lab, site, contender, visit),
            Err(error) => {
                visit.nothing(&QUANTITIES, &Failed::new(Failure::NotMeasured, format!("{error:#}")));
            }
        }
    }
}

/// Drops the caches, looks whether what the box is made from is gone from memory, and drops them once more: to
/// look at a file its directories and its inode are read from the disk.
fn chill(site: &Site, contender: &dyn Contender, visit: &mut Visit<'_>) -> anyhow::Result<()> {
    drop_once(visit)?;
    if !contender.is_scripted() {
        files(site, contender, visit).iter().try_for_each(|file| caches::is_cold(file))?;
    }
    drop_once(visit)
}

fn drop_once(visit: &mut Visit<'_>) -> anyhow::Result<()> {
    caches::drop_all()?;
    visit.record.note_host_change(caches::change(1));
    Ok(())
}

/// The payload, and every file that the contender's command line names: program, kernel, initramfs, firmware. Not
/// the lab's own program, which runs.
fn files(site: &Site, contender: &dyn Contender, visit: &Visit<'_>) -> Vec<PathBuf> {
    let row = visit.record.document.contenders.iter().find(|row| row.name == contender.name());
    let command = row.map(|row| row.command.as_slice()).unwrap_or_default();
    let program = command.first().filter(|word| !word.contains('/')).and_then(|word| on_path(word));
    let named = command.iter().flat_map(|word| word.split([',', '='])).filter(|word| word.starts_with('/'));
    let own = std::env::current_exe().ok();
    let mut files = vec![site.payload()];
    files.extend(program);
    files.extend(named.map(PathBuf::from));
    files.retain(|file| file.is_file() && Some(file) != own.as_ref());
    files.sort();
    files.dedup();
    files
}
