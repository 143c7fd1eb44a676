//! The wall: what comes from a box goes to the host and to its neighbours, and nowhere else.
//!
//! Before the kernel looks for a packet's way it goes through a list of rules, which say in what table to look. The first
//! is always that of the host's own addresses; so what is for the host has arrived before ours are asked. Ours refuse
//! all the rest that comes in by the bridge. Without them a box would reach whomever the host does, as soon as the host
//! passes packets on: that is a setting of the whole host (net.ipv4.ip_forward), which is not ours to change, and which
//! others switch on when they like, Docker for one. A setting of the bridge alone is not enough: who switches on the
//! whole host's switches on that of each interface.
//!
//! One kind is let through: packets with a mark, which rules of nftables give to answers (`nftables.rs`). Where those are
//! gone, because somebody has loaded his own in their place, nothing has a mark, and nothing goes out.
//!
//! Man page: ip-rule(8). Look at it: `ip rule`

use nix::errno::Errno;

use super::netlink::{Netlink, Request, Rule};
use crate::error::{Error, Result};

/// The bit that answers have in their mark.
pub(crate) const ANSWER: u32 = 0x1000;

/// Behind the table of the host's own addresses, which has the number 0, also where others have moved that a little; and
/// before the rules of those who lead packets elsewhere.
const FIRST: u32 = 1000;

fn rules(bridge: &str) -> [Rule<'_>; 2] {
    [
        // Made first: packets wait for nobody.
        Rule { priority: FIRST + 1, interface: bridge, mark: None },
        Rule { priority: FIRST, interface: bridge, mark: Some(ANSWER) },
    ]
}

/// Builds it, unless it stands.
///
/// # Errors
/// [`Error::Step`]; EOPNOTSUPP in a kernel without such rules (CONFIG_IP_MULTIPLE_TABLES).
pub(crate) fn build(netlink: &Netlink, bridge: &str) -> Result<()> {
    each(netlink, bridge, Request::rule, Errno::EEXIST)
}

/// Takes it down, if it stands.
///
/// # Errors
/// [`Error::Step`].
pub(crate) fn remove(netlink: &Netlink, bridge: &str) -> Result<()> {
    each(netlink, bridge, Request::no_rule, Errno::ENOENT)
}

fn each(netlink: &Netlink, bridge: &str, request: fn(&Rule<'_>) -> Request, done: Errno) -> Result<()> {
    rules(bridge).iter().try_for_each(|rule| match netlink.ask(&request(rule)) {
        Ok(()) => Ok(()),
        Err(errno) if errno == done => Ok(()),
        Err(errno) => Err(Error::at("bridge", format!("rule {} about {bridge}", rule.priority), errno)),
    })
}
