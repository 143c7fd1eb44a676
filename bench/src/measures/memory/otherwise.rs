//! A contender whose boxes are launched in another way than usual, and waited for as long as somebody else says.

use std::fmt;
use std::time::Duration;

use anyhow::Result;

use crate::contenders::Contender;
use crate::contenders::altered::Change;
use crate::site::{Site, Start};
use crate::spawner::protocol::Launch;

/// See the file's head.
pub(super) struct Otherwise<'a> {
    pub(super) launch: &'a dyn Fn(&mut dyn Contender, &Site, &Start) -> Result<Launch>,
    pub(super) deadline: Duration,
}

impl fmt::Debug for Otherwise<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "launched otherwise, within {:?}", self.deadline)
    }
}

impl Change for Otherwise<'_> {
    fn launch(&mut self, contender: &mut dyn Contender, site: &Site, start: &Start) -> Result<Launch> {
        (self.launch)(contender, site, start)
    }

    fn deadline(&self, _: Duration) -> Duration {
        self.deadline
    }
}
