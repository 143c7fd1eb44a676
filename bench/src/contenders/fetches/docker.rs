//! `docker pull`: the client asks, and dockerd verifies, unpacks and stores. A registry at 127.0.0.1 needs no TLS; dockerd
//! tries it first.

use anyhow::Result;

use super::super::Undo;
use super::super::docker::Docker;
use super::{Fetches, Parcel};
use crate::site::Site;

impl Fetches for Docker {
    fn comes_out_at(&self) -> Option<u32> {
        self.daemon_pid()
    }

    fn commands(&self, site: &Site, parcel: &Parcel, address: &str) -> Result<Vec<Vec<String>>> {
        Ok(vec![self.words(site, &["pull", "--quiet", &parcel.reference(address)])])
    }

    fn inside_clock(&self) -> &'static [&'static str] {
        &[
            "request to the spawner",
            "posix_spawn of the client",
            "request to dockerd, which runs already",
            "TLS tried, then HTTP: manifest, configuration and layers, by digest what is there already",
            "digests verified",
            "layers unpacked",
            "exit of the client",
        ]
    }

    fn forget(&self, site: &Site, parcels: &[Parcel], address: &str) -> Vec<Undo> {
        let names: std::collections::BTreeSet<String> =
            parcels.iter().map(|it| it.reference(address)).collect();
        let remove = |name: &String| Undo::Command(self.words(site, &["rmi", "--force", name]));
        // What an update took the name from has none any more. The engine is the lab's own.
        let nameless = Undo::Command(self.words(site, &["image", "prune", "--force"]));
        names.iter().map(remove).chain([nameless]).collect()
    }
}
