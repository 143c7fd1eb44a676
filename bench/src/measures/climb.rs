//! Host memory of one box, by a climb: what the host uses with many of them, less what it uses with one,
//! divided by how many more there are. The first box stays in the difference's base, so that what is paid
//! once and shared by all is not charged to the others.

use tare_reports::document::Failure;

use super::since::since;
use crate::contenders::Contender;
use crate::host::memory;
use crate::lab::{Failed, Lab};
use crate::site::Site;

/// Climbs with `boxes` more than the first one, and takes all of them down again. Bytes per box.
pub(super) fn climb(
    lab: &mut Lab,
    site: &Site,
    contender: &mut dyn Contender,
    boxes: u32,
) -> Result<u64, Failed> {
    let mut herd = Vec::new();
    lab.hold(contender, site, &mut herd, 1)?;
    if let Some(scripted) = herd.first().and_then(|first| first.scripted_memory()) {
        return Ok(scripted);
    }
    let one = host();
    lab.hold(contender, site, &mut herd, boxes)?;
    let many = host();
    lab.release(contender, site, herd)?;
    let (one, many) = (one?, many?);
    // What the workers have not freed yet would be missing from the next climb when they do. A part stays in
    // the slabs for good.
    memory::wait_until_below(one + many.saturating_sub(one) / 8);
    since("the host uses", many, one).map(|bytes| bytes / u64::from(boxes))
}

fn host() -> Result<u64, Failed> {
    memory::settled()
        .map(|it| it.bytes)
        .map_err(|error| Failed::new(Failure::NotMeasured, format!("{error:#}")))
}
