//! A contender whose boxes are connected to the bridge.

use std::path::PathBuf;

use anyhow::Result;

use crate::contenders::altered::{Altered, Change};
use crate::contenders::{Contender, Undo};
use crate::network::{Link, Way};
use crate::site::{Site, Start};
use crate::spawner::protocol::{Launch, Made};

/// Its next box gets this link.
#[derive(Debug)]
pub struct To(Link);

/// A contender whose next box gets a link.
pub type Linked<'a> = Altered<'a, To>;

impl<'a> Linked<'a> {
    /// For one start.
    pub fn new(contender: &'a mut dyn Contender, link: Link) -> Self {
        Self { contender, change: To(link) }
    }
}

impl Change for To {
    fn launch(&mut self, contender: &mut dyn Contender, site: &Site, start: &Start) -> Result<Launch> {
        let launch = Box::new(contender.launch_linked(site, start, &self.0)?);
        Ok(Launch::Linked { link: self.0.clone(), launch })
    }

    fn link(&self) -> Option<&Link> {
        Some(&self.0)
    }

    fn undo(&self, _: &Site, _: &Start) -> Vec<Undo> {
        vec![Undo::Made(Made::Link(self.0.clone()))]
    }

    fn leaves(&self, _: &Site, _: &Start) -> Vec<PathBuf> {
        match &self.0.way {
            Way::Veth { namespace, .. } => vec![namespace.clone()],
            _ => Vec::new(),
        }
    }
}
