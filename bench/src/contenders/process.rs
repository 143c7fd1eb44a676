//! `process`: posix_spawn of the payload, no box at all. The calibration row.

use anyhow::Result;
use tare_reports::document::{Accel, Class};

use super::{Contender, Description, Found, Missing, Surroundings, Undo, example, text};
use crate::image::Image;
use crate::site::{Site, Start};
use crate::spawner::protocol::{Assisted, Launch, Overlay, Root};

/// See the file's head.
#[derive(Debug)]
pub struct PlainProcess;

impl Contender for PlainProcess {
    fn description(&self) -> Description<'_> {
        Description {
            name: "process",
            class: Class::Process,
            about: "posix_spawn of the payload: no box, the calibration row",
            inside_clock: &["pipes", "request to the spawner", "posix_spawn", "READY"],
            ..Description::default()
        }
    }

    fn probe(&mut self, _: &Surroundings) -> Result<Found, Missing> {
        Ok(Found {
            version: "-".into(),
            accel: Accel::Native,
            not_expressed: vec!["it has no box: no namespaces, limits, or confinement".into()],
        })
    }

    fn launch(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        Ok(Launch::Command {
            argv: argv(site, start),
            env: Vec::new(),
            overlay: None,
            dies_with_parent: false,
        })
    }

    fn takes_images(&self) -> Result<(), &'static str> {
        Ok(())
    }

    /// A process whose root is the image, on an overlay of its own, and nothing else: what everybody else adds to
    /// that is the box.
    fn launch_image(&mut self, site: &Site, start: &Start, image: &Image) -> Result<Launch> {
        let dir = site.instance(start);
        std::fs::create_dir(&dir)?;
        Ok(Launch::Assisted(Assisted {
            argv: image.argv(&start.nonce, &[]),
            env: image.env.clone(),
            overlay: Overlay { lower: image.tree(), dir: dir.clone() },
            cgroups: Vec::new(),
            file: None,
            network: None,
            root: Some(Root { dir: dir.join("merged"), cwd: image.cwd.clone().into() }),
        }))
    }

    fn undo_image(&self, site: &Site, start: &Start) -> Vec<Undo> {
        let dir = site.instance(start);
        vec![Undo::Unmount(dir.join("merged")), Undo::Remove(dir)]
    }

    fn command(&mut self, site: &Site) -> Vec<String> {
        argv(site, &example())
    }
}

fn argv(site: &Site, start: &Start) -> Vec<String> {
    vec![text(&site.payload()), start.nonce.clone()]
}
