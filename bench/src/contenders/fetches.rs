//! How images come to a host: what each contender's own way is put into a registry as, and the commands that fetch it.

mod docker;
mod qemu;
mod tare;

use std::path::PathBuf;

use anyhow::Result;

use super::Undo;
use crate::image::Image;
use crate::registry::Registry;
use crate::site::Site;

/// Something to be fetched: an image under a name.
#[derive(Debug)]
pub struct Parcel {
    /// What the registry calls all that is fetched in one visit.
    pub repository: String,
    /// Which of the visit's transfers it is: `first`, `second` or `update`.
    pub transfer: &'static str,
    /// What names it there: an update has the tag of what it updates.
    pub tag: &'static str,
    /// The image.
    pub image: Image,
    /// The images fetched before it, on which a disk may be based.
    pub before: Vec<Image>,
    /// In which of several ways it is fetched; none where there is one.
    pub way: Option<String>,
}

impl Parcel {
    /// As containers' tools name it, at the address of a registry.
    pub fn reference(&self, address: &str) -> String {
        format!("{address}/{}:{}", self.repository, self.tag)
    }
}

/// A contender that fetches images over a network.
pub trait Fetches {
    /// The ways in which it can, where there are several.
    fn ways(&self) -> &'static [&'static str] {
        &[]
    }

    /// The process in whose network namespace its fetches come out, where that is not the lab's.
    fn comes_out_at(&self) -> Option<u32> {
        None
    }

    /// Puts into the registry what it will fetch. Outside of every clock.
    ///
    /// # Errors
    /// When it cannot be made, or is not taken.
    fn publish(&self, _site: &Site, registry: &mut Registry, parcel: &Parcel) -> Result<()> {
        registry.put_image(&parcel.image, &parcel.repository, parcel.tag).map(drop)
    }

    /// The commands that fetch it from there, each once the one before has ended well. All of them are inside the clock.
    ///
    /// # Errors
    /// When what is published cannot be named.
    fn commands(&self, site: &Site, parcel: &Parcel, address: &str) -> Result<Vec<Vec<String>>>;

    /// What these do, in words and in order.
    fn inside_clock(&self) -> &'static [&'static str];

    /// Whether what came is what was published, where no box of it is asked.
    ///
    /// # Errors
    /// In words, what differs.
    fn arrived(&self, _site: &Site, _parcel: &Parcel) -> Result<()> {
        Ok(())
    }

    /// Whether a box is started of what came, and asked what it sees.
    fn starts_boxes_of_it(&self) -> bool {
        true
    }

    /// Takes all away that these brought.
    fn forget(&self, site: &Site, parcels: &[Parcel], address: &str) -> Vec<Undo>;

    /// What must not be there afterwards.
    fn leaves(&self, _site: &Site, _parcels: &[Parcel]) -> Vec<PathBuf> {
        Vec::new()
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
