//! How a machine's disk travels: as a file, qcow2 and compressed, fetched by curl(1) and checked by sha256sum(1) against
//! what was published. Each image is a whole disk; or all but the first hold only the clusters in which they differ, and
//! name the first as their backing file.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::super::qemu::Qemu;
use super::super::{Undo, text};
use super::{Fetches, Parcel, owned};
use crate::image::{Image, disk};
use crate::program::on_path;
use crate::registry::{CURL, Registry};
use crate::site::Site;
use crate::vm::drive;

impl Fetches for Qemu {
    fn ways(&self) -> &'static [&'static str] {
        &[drive::BACKED, drive::WHOLE]
    }

    fn publish(&self, site: &Site, registry: &mut Registry, parcel: &Parcel) -> Result<()> {
        parcel.image.make_tree()?;
        disk::make(&parcel.image)?;
        let [there, here] = ["there", "here"].map(|side| place(site, parcel, side));
        for dir in [&there, &here] {
            fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
        }
        // Disks that name another as backing file find it beside them, before the journey and after.
        let file = there.join(file_name(&parcel.image));
        let base = parcel.before.first().filter(|_| parcel.way.as_deref() == Some(drive::BACKED));
        let base = base.map(|it| there.join(file_name(it)));
        disk::to_travel(&parcel.image.disk(), base.as_deref(), &file)?;
        let blob = registry.put_file(&parcel.repository, &file)?;
        let line = format!("{}  {}\n", blob.sha256, arrived(site, parcel).display());
        fs::write(sums(&parcel.image), line).context("write the checksum of a disk")
    }

    fn commands(&self, site: &Site, parcel: &Parcel, address: &str) -> Result<Vec<Vec<String>>> {
        let sums = sums(&parcel.image);
        let line = fs::read_to_string(&sums).with_context(|| format!("read {}", sums.display()))?;
        let sha256 = line.split_whitespace().next().context("a checksum without a digest")?;
        let url = format!("http://{address}/v2/{}/blobs/sha256:{sha256}", parcel.repository);
        let mut fetch = vec![program("curl")?];
        fetch.extend(owned(&CURL));
        fetch.extend(owned(&["--output", &text(&arrived(site, parcel)), &url]));
        Ok(vec![fetch, owned(&[&program("sha256sum")?, "--check", "--status", &text(&sums)])])
    }

    fn arrived(&self, site: &Site, parcel: &Parcel) -> Result<()> {
        disk::same(&arrived(site, parcel), &parcel.image.disk())
    }

    /// Its boxes start from the disk that is compared.
    fn starts_boxes_of_it(&self) -> bool {
        false
    }

    fn inside_clock(&self) -> &'static [&'static str] {
        &[
            "request to the spawner",
            "posix_spawn of curl",
            "one file over HTTP",
            "exit",
            "SHA-256 of the file",
            "exit",
        ]
    }

    fn forget(&self, site: &Site, parcels: &[Parcel], _: &str) -> Vec<Undo> {
        parcels.iter().take(1).map(|it| Undo::Remove(all(site, it))).collect()
    }

    fn leaves(&self, site: &Site, parcels: &[Parcel]) -> Vec<PathBuf> {
        parcels.iter().take(1).map(|it| all(site, it)).collect()
    }
}

/// The disks of one visit, on both sides of the line.
fn all(site: &Site, parcel: &Parcel) -> PathBuf {
    site.dir().join("disks").join(&parcel.repository)
}

fn place(site: &Site, parcel: &Parcel, side: &str) -> PathBuf {
    all(site, parcel).join(side)
}

/// As what it arrives: under the name that later ones call it by.
fn arrived(site: &Site, parcel: &Parcel) -> PathBuf {
    place(site, parcel, "here").join(file_name(&parcel.image))
}

fn file_name(image: &Image) -> String {
    format!("{}.qcow2", image.name)
}

fn sums(image: &Image) -> PathBuf {
    image.dir().join("SHA256SUMS")
}

fn program(name: &str) -> Result<String> {
    on_path(name).map(|it| text(&it)).with_context(|| format!("{name} is not on PATH"))
}
