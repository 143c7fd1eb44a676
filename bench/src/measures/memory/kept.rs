//! What boxes keep of a limit of memory above them (`--parent-cgroup`), and how many of them a climb below it may hold.
//!
//! A cgroup that is full first has taken back from it whatever can be: page cache, and the slabs of files that nobody
//! has open; only then is something refused. So what the limit has to have room for is not what its boxes are charged
//! but what of it is *kept*. Of `tare` that was 249 KiB of 294 KiB a box here, and a limit of 64 MiB held as many of
//! them as the smaller figure says.
//!
//! It is looked at in a climb of its own: what is taken back from boxes is missing from the host's figures too. The
//! climb goes to little more than a quarter of what the limit has room for, which is as far as a figure is followed from
//! where it was seen (`capacity::REACH`), and leaves the rest.

use tare_reports::capacity::REACH;
use tare_reports::document::Class;

use super::reading::{not_measured, standing};
use super::{TOUCHED_KIB, held};
use crate::contenders::Contender;
use crate::host::limits::{self, Limit, MemoryNeed};
use crate::host::{charges, memory};
use crate::lab::{Failed, Instance, Lab};
use crate::measures::since::since;
use crate::site::Site;

/// So many boxes tell roughly what one keeps, before the first climb.
const FIRST: u32 = 16;

/// Who has what is kept, in words.
const KEEPS: &str = "the run's cgroups keep";

/// What one box was seen to take, bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Each {
    kept: u64,
    host: u64,
}

/// The limit of memory of the cgroup that the run was given to live below, where that has one, and what is in use of it
/// once what boxes before have left, and can be taken back, was.
pub(crate) fn limit(site: &Site) -> Option<Limit> {
    if site.birthplaces().is_empty() {
        return None;
    }
    // Where that cannot be done the limit leaves less, and whoever asks for what is kept is told why.
    let _ = charges::directory(site.cgroup_parent()).and_then(|dir| charges::take_back(&dir));
    limits::memory_below(site.cgroup_parent())
}

/// What the boxes of the run keep now: all that is charged to its cgroups once what can be taken back was.
fn kept(site: &Site) -> Result<u64, Failed> {
    let dir = charges::directory(site.cgroup_parent()).map_err(|error| not_measured(&error))?;
    charges::take_back(&dir).and_then(|()| charges::charged(&dir)).map_err(|error| not_measured(&error))
}

/// What was in use before the first box: what the boxes that follow take is told by it.
pub(super) struct Before {
    kept: u64,
    host: u64,
}

impl Before {
    /// # Errors
    /// When nothing can be taken back here.
    fn look(site: &Site) -> Result<Before, Failed> {
        Ok(Before { kept: kept(site)?, host: host()? })
    }

    /// What each of so many boxes takes, which stand now.
    ///
    /// # Errors
    /// When nothing can be taken back here, or less is in use with them than without.
    pub(super) fn each(&self, site: &Site, boxes: usize) -> Result<Each, Failed> {
        let each = |more: u64| more / boxes.max(1) as u64;
        // The host first: it would not miss what is taken back.
        let host = each(since("the host uses", host()?, self.host)?);
        Ok(Each { kept: each(since(KEEPS, kept(site)?, self.kept)?), host })
    }
}

fn host() -> Result<u64, Failed> {
    memory::settled().map(|it| it.bytes).map_err(|error| not_measured(&error))
}

/// Looks at the first few boxes, which stay in `herd`.
///
/// # Errors
/// When one does not start, and those of [`Before`].
pub(super) fn first(
    lab: &mut Lab,
    site: &Site,
    contender: &mut dyn Contender,
    herd: &mut Vec<Instance>,
) -> Result<(Before, Each), Failed> {
    let boxes = if contender.description().class == Class::Vm { 1 } else { FIRST };
    let before = Before::look(site)?;
    held::more(lab, site, contender, herd, boxes, false)?;
    let each = before.each(site, herd.len())?;
    Ok((before, each))
}

/// How many boxes a climb below the limit ends with, of at most so many: of idle ones a little more than a quarter of
/// what it has room for, and of what the host has. `each` is what they were seen to take, where they were.
///
/// # Errors
/// When not even `fewest` leave the limit a quarter of its room; in words.
pub(super) fn boxes(
    contender: &dyn Contender,
    limit: &Limit,
    each: Option<Each>,
    (touched, fewest, most): (bool, u32, u32),
) -> Result<u32, String> {
    let left = limit.left().unwrap_or(u64::MAX);
    let assumed = MemoryNeed::assumed(contender.description().class).bytes;
    let each = each.unwrap_or(Each { kept: assumed, host: assumed });
    let (more, part) = if touched { (TOUCHED_KIB << 10, 2) } else { (0, REACH as u64) };
    let one = (each.kept + more).max(1);
    if u64::from(fewest) * one > left / 4 * 3 {
        return Err(format!(
            "{fewest} boxes of {} take up to {} MiB, and {} leaves {} MiB: a higher limit adds them",
            contender.name(),
            (u64::from(fewest) * one) >> 20,
            limit.set_in,
            left >> 20
        ));
    }
    let host = memory::total().unwrap_or(0).saturating_sub(memory::used().unwrap_or(0));
    let fit = (left / one).min(host / (each.host + more).max(1)) / part;
    // The first few boxes tell it roughly, and from a climb that is too short for the answer there would be none.
    let fit = if touched { fit } else { fit + fit / 8 };
    let fit = u32::try_from(fit).unwrap_or(u32::MAX).clamp(fewest, most.max(fewest));
    Ok(fit.checked_next_multiple_of(fewest).unwrap_or(fit))
}

/// What so many boxes keep, for each of these numbers; of those after one that failed it is the same reason.
pub(super) fn climb(
    lab: &mut Lab,
    site: &Site,
    contender: &mut dyn Contender,
    rungs: &[u32],
) -> Vec<(u32, Result<u64, Failed>)> {
    let mut herd = Vec::new();
    let before = kept(site);
    let mut reached = before.clone().map(|_| ());
    let mut looks: Vec<(u32, Result<u64, Failed>)> = Vec::new();
    for &boxes in rungs {
        let look = reached.and_then(|()| {
            held::more(lab, site, contender, &mut herd, boxes, false)?;
            let now = kept(site)?;
            standing(lab, site, contender, &herd)?;
            since(KEEPS, now, before.clone()?)
        });
        reached = look.as_ref().map(|_| ()).map_err(Clone::clone);
        looks.push((boxes, look));
    }
    let released = match reached {
        Ok(()) => lab.release(contender, site, herd),
        Err(_) => {
            lab.drop_herd(contender, site, herd);
            Ok(())
        }
    };
    match released {
        Ok(()) => looks,
        // Boxes that leave something behind were not those that are meant.
        Err(failed) => looks.into_iter().map(|(boxes, _)| (boxes, Err(failed.clone()))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contenders::process::PlainProcess;

    fn limit(mib: u64, in_use: u64) -> Limit {
        let (what, source, set_in) = (String::new(), String::new(), "/x/memory.max".to_owned());
        let (limit, in_use) = (Some(mib << 20), in_use << 20);
        Limit { resource: "memory", what, bytes: true, per_box: 0, source, limit, in_use, set_in }
    }

    fn of(limit: &Limit, kept: u64, touched: bool) -> Result<u32, String> {
        boxes(&PlainProcess, limit, Some(Each { kept, host: 1 }), (touched, 4, 1 << 20))
    }

    #[test]
    fn a_climb_ends_with_little_more_than_a_quarter_of_what_the_limit_leaves() {
        assert_eq!(of(&limit(1024, 0), 256 << 10, false), Ok(1152));
        assert_eq!(of(&limit(1024, 512), 256 << 10, false), Ok(576), "what is in use is not left");
        assert_eq!(of(&limit(1024, 0), 100 << 20, false), Ok(4), "four looks there must be");
        assert_eq!(of(&limit(1024, 0), 0, true), Ok(8), "half of it where each box says how much it takes");
    }

    #[test]
    fn what_would_eat_the_limit_is_not_begun() {
        let error = of(&limit(64, 0), 16 << 20, false).unwrap_err();
        assert!(
            error.contains("4 boxes of process take up to 64 MiB, and /x/memory.max leaves 64"),
            "{error}"
        );
        assert!(of(&limit(200, 0), 0, true).is_err(), "four that touch 64 MiB each");
    }
}
