//! A contender whose boxes are of an image that it is given.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;

use super::altered::{Altered, Change};
use super::{Contender, Undo};
use crate::image::Image;
use crate::lab::Instance;
use crate::site::{Site, Start};
use crate::spawner::protocol::Launch;

/// The contender within, whose boxes have an image.
pub type Imaged<'a> = Altered<'a, Of<'a>>;

/// See the file's head.
#[derive(Debug)]
pub struct Of<'a> {
    image: &'a Image,
    /// What was made for each box beside what its contender always makes.
    made: BTreeMap<String, Vec<Undo>>,
}

impl<'a> Imaged<'a> {
    /// For boxes of an image that the contender has taken.
    pub fn of(contender: &'a mut dyn Contender, image: &'a Image) -> Self {
        Self { contender, change: Of { image, made: BTreeMap::new() } }
    }
}

impl<'a> Imaged<'a> {
    /// For boxes that were started so and run still.
    pub fn again(
        contender: &'a mut dyn Contender,
        image: &'a Image,
        site: &Site,
        boxes: &[Instance],
    ) -> Self {
        let made =
            boxes.iter().map(|it| (it.start.id.clone(), contender.undo_image(site, &it.start))).collect();
        Self { contender, change: Of { image, made } }
    }
}

impl Change for Of<'_> {
    fn launch(&mut self, contender: &mut dyn Contender, site: &Site, start: &Start) -> Result<Launch> {
        self.made.insert(start.id.clone(), contender.undo_image(site, start));
        contender.launch_image(site, start, self.image)
    }

    fn undo(&self, _: &Site, start: &Start) -> Vec<Undo> {
        self.made.get(&start.id).cloned().unwrap_or_default()
    }

    fn leaves(&self, site: &Site, start: &Start) -> Vec<PathBuf> {
        vec![site.instance(start)]
    }
}
