//! The wall: what comes from a box goes to the host and to its neighbours, and nobody else's comes to a box.
//!
//! Before the kernel looks for a packet's way it goes through a list of rules, which say in what table to look. The first
//! is always that of the host's own addresses; so what is for the host has arrived before ours are asked. Ours refuse
//! what comes in by the bridge for others, and what others than the host have for the boxes. Without them a box would
//! reach whomever the host does, and whoever knows a way to the host every port of the box, as soon as the host passes
//! packets on: that is a setting of the whole host (net.ipv4.ip_forward), which is not ours to change, and which others
//! switch on when they like, Docker for one. A setting of the bridge alone is not enough: who switches on the whole host's
//! switches on that of each interface.
//!
//! One kind is let through: packets with a mark, which rules of nftables give to those of published ports (`nftables.rs`).
//! Where those are gone, because somebody has loaded his own in their place, nothing has a mark, and the wall has no door.
//!
//! Who clears the whole list takes the wall down; the next start of a box builds it again.
//!
//! Man page: ip-rule(8). Look at it: `ip rule`

use nix::errno::Errno;

use super::bridge::Bridge;
use super::netlink::{Netlink, Request, Rule};
use crate::error::{Error, Result};

/// The bit in the mark of what may pass.
pub(crate) const PASS: u32 = 0x1000;

/// Behind the table of the host's own addresses, which has the number 0, also where others have moved that a little; and
/// before the rules of those who lead packets elsewhere.
const FIRST: u32 = 1000;

fn rules(bridge: &Bridge) -> [Rule<'_>; 5] {
    let from = Some(bridge.name.as_str());
    let to = Some((bridge.subnet.first(), bridge.subnet.prefix()));
    let rule = |number, by, to, mark, pass| Rule { priority: FIRST + number, by, to, mark, pass };
    [
        // Made first: packets wait for nobody.
        rule(1, from, None, None, false),
        rule(4, None, to, None, false),
        rule(0, from, None, Some(PASS), true),
        // What the host itself sends.
        rule(2, Some("lo"), to, None, true),
        rule(3, None, to, Some(PASS), true),
    ]
}

/// Builds it, unless it stands.
///
/// # Errors
/// [`Error::Step`]; EOPNOTSUPP in a kernel without such rules (CONFIG_IP_MULTIPLE_TABLES).
pub(crate) fn build(netlink: &Netlink, bridge: &Bridge) -> Result<()> {
    each(netlink, bridge, Request::rule, Errno::EEXIST)
}

/// Takes it down, if it stands.
///
/// # Errors
/// [`Error::Step`].
pub(crate) fn remove(netlink: &Netlink, bridge: &Bridge) -> Result<()> {
    each(netlink, bridge, Request::no_rule, Errno::ENOENT)
}

fn each(netlink: &Netlink, bridge: &Bridge, request: fn(&Rule<'_>) -> Request, done: Errno) -> Result<()> {
    rules(bridge).iter().try_for_each(|rule| match netlink.ask(&request(rule)) {
        Ok(()) => Ok(()),
        Err(errno) if errno == done => Ok(()),
        Err(errno) => {
            Err(Error::at("bridge", format!("rule {} about {}", rule.priority, bridge.name), errno))
        }
    })
}
