//! `tare-runtime pull`: it verifies, unpacks and stores.

use anyhow::Result;

use super::super::Undo;
use super::super::tare::Tare;
use super::{Fetches, Parcel};
use crate::site::Site;

impl Fetches for Tare {
    fn commands(&self, site: &Site, parcel: &Parcel, address: &str) -> Result<Vec<Vec<String>>> {
        Ok(vec![self.argv(site, &["pull", &parcel.reference(address)])])
    }

    fn inside_clock(&self) -> &'static [&'static str] {
        &[
            "request to the spawner",
            "posix_spawn of tare-runtime",
            "manifest, configuration and layers over HTTP, by digest what is there already",
            "digests and sizes verified",
            "layers unpacked, and kept as they came; the store's file system synced",
            "exit",
        ]
    }

    fn forget(&self, site: &Site, parcels: &[Parcel], address: &str) -> Vec<Undo> {
        let mut names: Vec<String> = parcels.iter().map(|it| it.reference(address)).collect();
        // An update has the name of what it updates.
        names.sort();
        names.dedup();
        names.into_iter().map(|name| Undo::Command(self.argv(site, &["rm", &name]))).collect()
    }
}
