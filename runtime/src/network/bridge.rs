//! The bridge: a switch in the kernel, to which the cables of the boxes lead.
//!
//! It is an interface of the host's, so it has an address there, which is the boxes' way to the host and the host's to
//! them; and what comes in at one of its ports for a neighbour goes out at that neighbour's. Without it each box would
//! take a net of its own, and would know nobody but the host.
//!
//! Each state directory has a bridge of its own, called after it, made with its first box and removed with its last.
//! What it is going to be stands in a file before it is made. Its net is one that the host has no way to yet; two that
//! choose at once look again afterwards, and then at least the later one sees the other.
//!
//! It leads nowhere else (`wall.rs`), and knows no version 6: there anybody on the wire may offer himself to the host as
//! the way to everywhere (CVE-2020-13401).
//!
//! Step: `bridge`.
//!
//! Man page: bridge(8), ip-link(8). Look at it: `ip -details addr show type bridge; bridge link`

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use serde::{Deserialize, Serialize};

use super::lease::Leases;
use super::netlink::{Netlink, Request, Route};
use super::subnet::{CHOICES, Subnet};
use super::{nftables, wall};
use crate::error::{Error, Result};
use crate::image::digest::Digest;

/// What is written down of the bridge before it is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bridge {
    /// The interface's name.
    pub(crate) name: String,
    /// Its net.
    pub(crate) subnet: Subnet,
    /// The longest packet, bytes.
    pub(crate) mtu: Option<u32>,
    /// What somebody else's rules do to boxes that share it, where that was seen when it was made.
    #[serde(default)]
    pub(crate) warning: Option<String>,
}

const FILE: &str = "bridge.json";

/// Begins the names of all bridges of ours.
pub(crate) const PREFIX: &str = "tare-";

/// What a route leads to that covers more than this is no place, but the way to everywhere.
const PLACE: u8 = 4;

/// The bridge's name: two state directories must not share one, and a directory may have two paths.
///
/// # Errors
/// [`Error::Step`].
pub(crate) fn name(root: &Path) -> Result<String> {
    use std::os::unix::fs::MetadataExt;
    let found = fs::metadata(root).map_err(|e| Error::io("bridge", root.display().to_string(), &e))?;
    let hash = Digest::of(format!("{}:{}", found.dev(), found.ino()).as_bytes());
    // Fifteen characters are the most; the cables' names add four.
    Ok(format!("{PREFIX}{}", &hash.hex()[..6]))
}

/// The address of an interface's link layer, from that above it: who has the same address later is not somebody else to
/// neighbours who remember. The second bit of the first byte says that nobody assigned it.
pub(crate) fn mac(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, b't', a, b, c, d]
}

/// The bridge as it is to be, made unless it is there.
///
/// # Errors
/// [`Error::Spec`] for a net that is in use, [`Error::Step`].
pub(crate) fn ensure(
    netlink: &Netlink,
    leases: &Leases,
    name: &str,
    wanted: Option<Subnet>,
) -> Result<Bridge> {
    let there = if_nametoindex(name).is_ok();
    let known = read(leases)?;
    if let Some(known) = known.clone() {
        let fault = |why| Err(Error::Spec { field: "subnet".into(), why });
        let leased = !leases.all()?.is_empty();
        match wanted.filter(|wanted| *wanted != known.subnet) {
            None if there => return known.make(netlink),
            // Somebody took it away, or the host was started anew and the state directory has outlived that. Boxes have
            // addresses in its net, so it is made again as it was.
            None if leased => {
                return match clash(netlink, known.subnet, name)? {
                    None => known.make(netlink),
                    Some(other) => fault(format!(
                        "boxes have addresses in {}, and by now the host has a route to {other} (delete them first)",
                        known.subnet
                    )),
                };
            }
            Some(wanted) if leased => {
                let known = known.subnet;
                return fault(format!(
                    "{wanted}: boxes have addresses in {known} already (delete them first)"
                ));
            }
            _ => {}
        }
    }
    if there || known.is_some() {
        // Half of one, that a killed start or deletion left.
        remove(netlink, leases, name)?;
    }
    choose(netlink, leases, name, wanted)
}

fn choose(netlink: &Netlink, leases: &Leases, name: &str, wanted: Option<Subnet>) -> Result<Bridge> {
    leases.make()?;
    // Where in the pool a state directory begins to look is by its name: two seldom begin at the same net.
    let start = u32::from_str_radix(name.rsplit('-').next().unwrap_or_default(), 16).unwrap_or(0);
    let pool = (0..CHOICES).map(|step| Subnet::choice(start.wrapping_add(step)));
    let candidates: Vec<Subnet> = wanted.map_or_else(|| pool.collect(), |wanted| vec![wanted]);
    let mut last = String::new();
    for subnet in candidates {
        if let Some(other) = clash(netlink, subnet, name)? {
            last = other;
            continue;
        }
        let warning = nftables::wall_between_boxes();
        let bridge = Bridge { name: name.to_owned(), subnet, mtu: mtu(netlink)?, warning };
        write(leases, &bridge)?;
        let bridge = bridge.make(netlink)?;
        match clash(netlink, subnet, name)? {
            None => return Ok(bridge),
            // Somebody chose it at the same time.
            Some(other) => last = other,
        }
        remove(netlink, leases, name)?;
        leases.make()?;
    }
    leases.remove_directory()?;
    let why = match wanted {
        Some(wanted) => format!("{wanted}: the host has a route to {last} already (choose another)"),
        None => format!(
            "the host has routes to all nets of 10.208.0.0/12, such as {last}: choose another with --subnet"
        ),
    };
    Err(Error::Spec { field: "subnet".into(), why })
}

impl Bridge {
    /// The first address is the bridge's own.
    pub(crate) fn gateway(&self) -> Ipv4Addr {
        self.subnet.gateway()
    }

    /// Its number.
    ///
    /// # Errors
    /// [`Error::Step`] if somebody took it away.
    pub(crate) fn index(&self) -> Result<u32> {
        if_nametoindex(self.name.as_str()).map_err(|errno| Error::at("bridge", self.name.as_str(), errno))
    }

    /// Makes what of it is not there: a start before us may have been killed at any point.
    fn make(self, netlink: &Netlink) -> Result<Self> {
        let fault = |what: String| move |errno| Error::at("bridge", what, errno);
        let present = |asked| match asked {
            Err(Errno::EEXIST) => Ok(()),
            other => other,
        };
        wall::build(netlink, &self)?;
        present(netlink.ask(&Request::bridge(&self.name, mac(self.gateway()), self.mtu)))
            .map_err(fault(self.name.clone()))?;
        self.forget_version_6()?;
        let index = self.index()?;
        present(netlink.ask(&Request::address(index, self.gateway(), self.subnet.prefix())))
            .map_err(fault(format!("{} on {}", self.subnet, self.name)))?;
        netlink.ask(&Request::up(index)).map_err(fault(self.name.clone()))?;
        Ok(self)
    }

    /// No address of version 6, and no ear for whoever announces routes. It has no port yet, by which anybody could.
    fn forget_version_6(&self) -> Result<()> {
        let path = format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", self.name);
        let fault = |error| Error::io("bridge", path.clone(), &error);
        // Written only where it has to be: in a container /proc/sys is mostly read-only.
        match fs::read_to_string(&path) {
            Ok(text) if text.trim() == "1" => Ok(()),
            Ok(_) => fs::write(&path, "1").map_err(fault),
            // A kernel without it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(fault(error)),
        }
    }
}

/// Takes the bridge away, and then what stands about it.
///
/// # Errors
/// [`Error::Step`].
pub(crate) fn remove(netlink: &Netlink, leases: &Leases, name: &str) -> Result<()> {
    match netlink.ask(&Request::delete(name)) {
        Ok(()) | Err(Errno::ENODEV) => {}
        Err(errno) => return Err(Error::at("bridge", name, errno)),
    }
    if let Some(known) = read(leases)? {
        wall::remove(netlink, &known)?;
    }
    leases.remove(FILE)
}

pub(crate) fn read(leases: &Leases) -> Result<Option<Bridge>> {
    let path = leases.file(FILE);
    match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // A torn file is a killed start's, which had made nothing yet.
        other => Ok(serde_json::from_slice(&other.map_err(leases.fault(&path))?).ok()),
    }
}

fn write(leases: &Leases, bridge: &Bridge) -> Result<()> {
    let path = leases.file(FILE);
    let text = serde_json::to_vec(bridge).map_err(|source| Error::State { path: path.clone(), source })?;
    fs::write(&path, text).map_err(leases.fault(&path))
}

/// Which route of the host's leads into the net, if it is not by our own bridge.
fn clash(netlink: &Netlink, subnet: Subnet, own: &str) -> Result<Option<String>> {
    let fault = |error: io::Error| Error::io("bridge", "the host's routes", &error);
    let own = if_nametoindex(own).unwrap_or(0);
    let other = |route: &Route| {
        route.prefix >= PLACE
            && (route.interface != own || own == 0)
            && subnet.overlaps(route.destination, route.prefix)
    };
    let Some(route) = netlink.routes().map_err(fault)?.into_iter().find(other) else { return Ok(None) };
    let links = netlink.links().map_err(fault)?;
    let by = links.into_iter().find(|link| link.index == route.interface);
    let by = by.map_or_else(String::new, |link| format!(" by {}", link.name));
    Ok(Some(format!("{}/{}{by}", route.destination, route.prefix)))
}

/// The longest packet of the interface by which the host reaches everybody else: what leaves a box is then never longer
/// than what the next wire takes. `None`: the host reaches nobody, and the kernel's own 1,500 is as good.
fn mtu(netlink: &Netlink) -> Result<Option<u32>> {
    let fault = |error: io::Error| Error::io("bridge", "the host's routes", &error);
    let Some(way) = netlink.routes().map_err(fault)?.into_iter().find(|route| route.prefix == 0) else {
        return Ok(None);
    };
    let links = netlink.links().map_err(fault)?;
    Ok(links.into_iter().find(|link| link.index == way.interface).map(|link| link.mtu))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_name_whichever_path_leads_to_it() {
        let (one, two) = (tempfile::tempdir().expect("tempdir"), tempfile::tempdir().expect("tempdir"));
        let own = name(one.path()).expect("name");
        assert_eq!(name(&one.path().join(".")).expect("name"), own);
        assert_ne!(name(two.path()).expect("name"), own);
        assert!(own.len() == 11 && own.starts_with("tare-"), "{own}");
    }
}
