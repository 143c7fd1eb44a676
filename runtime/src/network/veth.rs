//! The cable: two interfaces of which what goes into one comes out of the other, one outside and one inside.
//!
//! A network namespace has no door. A veth pair is a hole in its wall: the box's end becomes its `eth0`, the host's a
//! port of the bridge. Then the box's end needs an address, and a way for packets that are for none of its neighbours.
//! Without a cable the box talks to itself only.
//!
//! Engines make the namespace first, furnish it, and let the box join. Here the new process draws the cable itself, from
//! within, through a socket that speaks about the host's network because it was opened there. So the pair belongs to
//! nobody but the box's namespace and goes with it, however the box ends and whoever was killed meanwhile. The messages
//! are built before the fork, for the new process may not allocate; the interface's number alone is not known then.
//!
//! Step: `interface`.
//!
//! Man page: veth(4). Look at it: `tare-runtime run --network bridge --rootfs DIR box -- ip addr`

use std::ffi::CStr;
use std::net::Ipv4Addr;

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;

use super::bridge::{self, Bridge};
use super::netlink::{Netlink, Pair, Place, Request};
use crate::error::{Error, Result};
use crate::report::Fault;

/// What the box calls its end.
const INNER: &CStr = c"eth0";

/// The cable's outer end: the bridge's name, and which of the net's addresses is the box's.
pub(crate) fn outer(bridge: &Bridge, address: Ipv4Addr) -> String {
    format!("{}-{:x}", bridge.name, bridge.subnet.number(address))
}

/// All that the new process needs.
#[derive(Debug)]
pub(crate) struct Cable {
    host: Netlink,
    pair: Request,
    address: Request,
    up: Request,
    route: Request,
}

impl Cable {
    /// Builds the messages.
    ///
    /// # Errors
    /// [`Error::Step`].
    pub(crate) fn prepare(bridge: &Bridge, address: Ipv4Addr) -> Result<Self> {
        let host = Netlink::open().map_err(|errno| Error::at("interface", "netlink socket", errno))?;
        let pair = Pair {
            outer: &outer(bridge, address),
            bridge: bridge.index()?,
            inner: "eth0",
            // Whoever asks: the new process, which is the first of its pid namespace.
            place: Place::Process(1),
            mac: Some(bridge::mac(address)),
            mtu: bridge.mtu,
        };
        Ok(Self {
            host,
            pair: Request::veth(&pair),
            address: Request::address(0, address, bridge.subnet.prefix()),
            up: Request::up_by_name("eth0"),
            route: Request::default_route(bridge.gateway()),
        })
    }

    /// In the new process, in its own network namespace.
    pub(crate) fn connect(&self) -> std::result::Result<(), Fault> {
        self.host.ask(&self.pair).map_err(Fault::of(0))?;
        let own = Netlink::open().map_err(Fault::of(1))?;
        let index = if_nametoindex(INNER).map_err(Fault::of(1))?;
        own.ask_about(index, &self.address).map_err(Fault::of(2))?;
        own.ask(&self.up).map_err(Fault::of(3))?;
        own.ask(&self.route).map_err(Fault::of(4))
    }
}

/// The words for a fault.
pub(crate) fn object(index: u16) -> String {
    let words =
        ["veth pair to the bridge", "eth0", "address of eth0", "eth0, to bring it up", "default route"];
    words.get(usize::from(index)).map_or_else(String::new, ToString::to_string)
}

/// Takes a cable away. Its namespace does too, but later: the kernel clears namespaces when it has time, and the next
/// box may want the name now.
///
/// # Errors
/// [`Error::Step`].
pub(crate) fn remove(netlink: &Netlink, outer: &str) -> Result<()> {
    match netlink.ask(&Request::delete(outer)) {
        Ok(()) | Err(Errno::ENODEV) => Ok(()),
        Err(errno) => Err(Error::at("interface", outer, errno)),
    }
}
