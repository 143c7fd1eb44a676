//! A contender that stops at a rung.

use anyhow::Result;

use crate::contenders::Contender;
use crate::contenders::altered::Change;
use crate::site::{Site, Start};
use crate::spawner::protocol::Launch;

/// Its boxes have no mechanism beyond this rung.
#[derive(Debug)]
pub(super) struct Until<'a>(pub(super) &'a str);

impl Change for Until<'_> {
    fn launch(&mut self, contender: &mut dyn Contender, site: &Site, start: &Start) -> Result<Launch> {
        contender.launch_until(site, start, self.0)
    }
}
