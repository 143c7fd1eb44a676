//! A network for boxes: a bridge in a network namespace of the lab's own, and for each box a link to it.
//!
//! Nothing of the host's is touched: no interface, no rule of a firewall, no setting. The namespace has no name; it
//! lives as long as the sockets in it do, which the lab and the spawner hold, and goes with them and all that is in
//! it, however they end. In it are a bridge with an address, a port of its own that keeps the bridge's carrier on,
//! and the socket on which the lab listens.
//!
//! A container gets what an engine gives it: a network namespace made before the box, in it one end of a veth pair
//! whose other end is a port of the bridge. A machine gets a tap interface that is a port of the bridge. Making these
//! is inside the clock of everybody alike (see [`wire`]).

pub(crate) mod wire;

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, unshare};
use serde::{Deserialize, Serialize};

use tare_runtime::network::netlink::{Netlink, Pair, Place, Request};

/// The net of bridge and boxes, set aside for measurements of networks (RFC 2544).
const NET: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
/// How many bits of an address name the net.
pub const PREFIX: u8 = 15;
/// So many addresses are left for boxes: without the net's own, the bridge's and the one for everybody.
const BOXES: u32 = (1 << (32 - PREFIX as u32)) - 3;
const BRIDGE: &str = "tare";
/// The port that is always there, and its other end.
const ANCHOR: [&str; 2] = ["anchor", "anchored"];

/// How a box is connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// By a veth pair, whose inner end is in a network namespace that is mounted here in the spawner's sight.
    Veth {
        /// A file made for it.
        namespace: PathBuf,
        /// The spawner's process id.
        spawner: u32,
    },
    /// By a tap interface, which the started process finds open as descriptor [`Link::TAP`].
    Tap,
}

/// How a contender's boxes get a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wiring {
    /// They join a network namespace that was made for them.
    Namespace,
    /// They are machines, with a network card on a tap interface.
    Tap,
    /// They get none here, for this reason.
    LeftOut(&'static str),
    /// They are no boxes: the question is not theirs.
    NotAsked,
}

/// The link of one box to the bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Name of the bridge's port.
    pub port: String,
    /// The box's address.
    pub address: Ipv4Addr,
    /// Where the lab listens.
    pub listener: SocketAddrV4,
    /// How it is connected.
    pub way: Way,
}

impl Link {
    /// The number of the descriptor that a tap interface is passed as.
    pub const TAP: i32 = 3;
    /// The box's own end of a veth pair.
    pub const INNER: &str = "eth0";

    /// The network namespace that the box is to be in.
    ///
    /// # Errors
    /// Where it is connected by another way.
    pub fn namespace(&self) -> Result<&PathBuf> {
        match &self.way {
            Way::Veth { namespace, .. } => Ok(namespace),
            Way::Tap => Err(no_namespace()),
        }
    }

    /// The same, for a process that does not see the spawner's mounts.
    ///
    /// # Errors
    /// As [`Link::namespace`].
    pub fn namespace_from_afar(&self) -> Result<String> {
        match &self.way {
            Way::Veth { namespace, spawner } => Ok(format!("/proc/{spawner}/root{}", namespace.display())),
            Way::Tap => Err(no_namespace()),
        }
    }

    /// The payload's argument: where it connects to after READY.
    pub fn connect(&self) -> String {
        format!("connect={}", self.listener)
    }
}

fn no_namespace() -> anyhow::Error {
    anyhow::anyhow!("a box on a tap interface has no network namespace on the host")
}

/// The bridge, from the lab's side.
#[derive(Debug)]
pub struct Bridge {
    netlink: Netlink,
    namespace: OwnedFd,
    listener: TcpListener,
    address: SocketAddrV4,
    made: Cell<u32>,
}

impl Bridge {
    /// Makes namespace, bridge and listener.
    ///
    /// # Errors
    /// Without root's rights, or where the kernel has no bridges or no veth.
    pub fn open() -> Result<Self> {
        // A thread of its own may leave the host's namespace for ever without taking anybody along.
        let made = std::thread::spawn(make).join();
        made.unwrap_or_else(|_| anyhow::bail!("the thread that makes the bridge panicked"))
    }

    /// The namespace, for whoever makes links.
    pub fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// Where boxes are waited for.
    pub fn listener(&self) -> &TcpListener {
        &self.listener
    }

    /// A link for the next box, with an address that the boxes before it did not have. `way` is told the name of
    /// its port.
    pub fn next(&self, way: impl FnOnce(&str) -> Way) -> Link {
        let number = self.made.get();
        self.made.set((number + 1) % BOXES);
        let port = format!("box{number}");
        let way = way(&port);
        Link { port, address: (u32::from(NET) + 2 + number).into(), listener: self.address, way }
    }

    /// Closes connections that nobody waits for any more: those of boxes that were given up.
    pub fn forget(&self) {
        while self.listener.accept().is_ok() {}
    }

    /// The ports that are there beside the bridge's own: links of boxes.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn ports(&self) -> std::io::Result<Vec<String>> {
        let own = [BRIDGE, ANCHOR[0], ANCHOR[1], "lo"];
        let names = self.netlink.links()?.into_iter().map(|link| link.name);
        Ok(names.filter(|name| !own.contains(&name.as_str())).collect())
    }
}

/// Whether this kernel shows a setting in a network namespace that is not the host's. Without root's rights: no.
pub(crate) fn every_namespace_shows(path: &'static str) -> bool {
    let look = move || unshare(CloneFlags::CLONE_NEWNET).is_ok() && Path::new(path).exists();
    std::thread::spawn(look).join().unwrap_or(false)
}

/// Link-layer addresses and packet lengths are left to the kernel.
fn pair<'a>(outer: &'a str, bridge: u32, inner: &'a str, place: Place<'a>) -> Pair<'a> {
    Pair { outer, bridge, inner, place, mac: None, mtu: None }
}

/// Runs in a thread that ends with it.
fn make() -> Result<Bridge> {
    unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace for the bridge")?;
    let namespace = wire::current_namespace().context("open the bridge's network namespace")?;
    let netlink = Netlink::open().context("open a netlink socket")?;
    netlink.ask(&Request::bridge(BRIDGE, [0x02, 0, 0, 0, 0, 1], None)).context("make a bridge")?;
    let bridge = if_nametoindex(BRIDGE).context("look for the bridge")?;
    let own = Ipv4Addr::from(u32::from(NET) + 1);
    netlink.ask(&Request::address(bridge, own, PREFIX)).context("give the bridge its address")?;
    let place = Place::File(namespace.as_fd());
    netlink
        .ask(&Request::veth(&pair(ANCHOR[0], bridge, ANCHOR[1], place)))
        .context("make the bridge's own port, a veth pair")?;
    netlink.ask(&Request::up_by_name(ANCHOR[1])).context("bring the bridge's own port up")?;
    let listener = TcpListener::bind((own, 0)).context("listen at the bridge's address")?;
    listener.set_nonblocking(true)?;
    let address = SocketAddrV4::new(own, listener.local_addr()?.port());
    Ok(Bridge { netlink, namespace, listener, address, made: Cell::new(0) })
}
