//! The net of a bridge: which addresses are its own, and how it keeps out of the way of others.
//!
//! An address such as 10.208.4.2/22 says two things: who one is, and, with its first 22 bits, who one's neighbours are.
//! To neighbours a packet goes directly, to all others through a gateway. A bridge in the net that the host's own wire
//! has would make neighbours of the host's strangers: what was reached before would not be any more. So a net is
//! compared with all routes before it is taken.
//!
//! Man page: ip(7), ip-route(8). Look at it: `ip route show table all`

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The nets that a bridge is given where nobody says another: those of 22 bits in 10.208.0.0/12.
const POOL: u32 = u32::from_be_bytes([10, 208, 0, 0]);
const POOL_BITS: u32 = 10;
/// A bridge has at most 1,023 ports, so a larger net would have addresses for boxes that cannot be connected.
const PREFIX: u8 = 22;
/// As many nets as there are in the pool.
pub(crate) const CHOICES: u32 = 1 << POOL_BITS;
/// The most boxes on a bridge: as many as it has ports.
const MOST: u32 = 1023;

/// A net of version 4: an address whose last bits are zero, and how many bits name the net.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    first: Ipv4Addr,
    prefix: u8,
}

impl Subnet {
    /// One of the pool.
    pub(crate) fn choice(number: u32) -> Self {
        let first = POOL | (number % CHOICES) << (32 - u32::from(PREFIX));
        Self { first: first.into(), prefix: PREFIX }
    }

    /// The address that stands for the net.
    pub(crate) fn first(self) -> Ipv4Addr {
        self.first
    }

    /// How many bits name the net.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The bridge's own address, the first after the net's.
    pub fn gateway(self) -> Ipv4Addr {
        (u32::from(self.first) + 1).into()
    }

    /// The addresses that boxes may have, in order.
    pub(crate) fn boxes(self) -> impl Iterator<Item = Ipv4Addr> {
        let first = u32::from(self.first);
        // Without the last, which means everybody.
        let last = first + ((1 << (32 - u32::from(self.prefix))) - 2);
        (first + 2..=last.min(first + 1 + MOST)).map(Ipv4Addr::from)
    }

    /// Which of its addresses this is.
    pub(crate) fn number(self, address: Ipv4Addr) -> u32 {
        u32::from(address) - u32::from(self.first)
    }

    /// Whether some address is in this net and in the other.
    pub(crate) fn overlaps(self, destination: Ipv4Addr, prefix: u8) -> bool {
        let bits = u32::from(self.prefix.min(prefix));
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        u32::from(self.first) & mask == u32::from(destination) & mask
    }
}

impl FromStr for Subnet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = |why: &str| Err(format!("{text:?} {why} (such as 172.30.0.0/22)"));
        let Some((address, bits)) = text.split_once('/') else { return fault("is no address, / and bits") };
        let (Ok(first), Ok(prefix)) = (address.parse::<Ipv4Addr>(), bits.parse::<u8>()) else {
            return fault("is no address of version 4, / and bits");
        };
        if !(16..=29).contains(&prefix) {
            return fault("has not 16 to 29 bits");
        }
        if u32::from(first) << prefix != 0 {
            return fault("has other bits than zero behind those of the net");
        }
        if matches!(first.octets()[0], 0 | 127 | 224..) {
            return fault("is no net in which a box can have an address");
        }
        Ok(Self { first, prefix })
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl TryFrom<String> for Subnet {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Subnet {
        text.parse().unwrap_or_else(|why| panic!("{why}"))
    }

    #[test]
    fn a_net_has_a_gateway_and_boxes_and_no_more_than_a_bridge_has_ports() {
        let small = net("192.168.7.8/29");
        assert_eq!(small.gateway(), Ipv4Addr::new(192, 168, 7, 9));
        let boxes: Vec<_> = small.boxes().collect();
        assert_eq!(
            (boxes.len(), boxes[0], boxes[4]),
            (5, [192, 168, 7, 10].into(), [192, 168, 7, 14].into())
        );
        assert_eq!(small.number(boxes[0]), 2);
        assert_eq!(net("10.0.0.0/22").boxes().count(), 1021);
        assert_eq!(net("10.0.0.0/16").boxes().count(), 1023);
        assert_eq!(net("10.0.0.0/16").boxes().last().map(|last| last.octets()), Some([10, 0, 4, 0]));
    }

    #[test]
    fn what_is_no_net_for_boxes_is_refused() {
        for bad in
            ["", "10.0.0.0", "10.0.0.0/8", "10.0.0.0/30", "10.0.0.1/24", "::/64", "127.0.0.0/24", "x/24"]
        {
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
        assert!("224.0.0.0/24".parse::<Subnet>().is_err() && "0.0.0.0/24".parse::<Subnet>().is_err());
    }

    #[test]
    fn nets_overlap_where_one_holds_the_other() {
        let ours = net("10.208.4.0/22");
        for (other, prefix, overlap) in [
            ([10, 208, 4, 0], 22, true),
            ([10, 208, 5, 7], 32, true),
            ([10, 0, 0, 0], 8, true),
            ([0, 0, 0, 0], 0, true),
            ([10, 208, 8, 0], 22, false),
            ([10, 208, 3, 255], 32, false),
        ] {
            assert_eq!(ours.overlaps(other.into(), prefix), overlap, "{other:?}/{prefix}");
        }
    }

    #[test]
    fn the_pool_has_as_many_different_nets_as_it_says() {
        let all: std::collections::BTreeSet<String> =
            (0..CHOICES).map(|number| Subnet::choice(number).to_string()).collect();
        assert_eq!(all.len(), 1024);
        assert!(all.contains("10.208.0.0/22") && all.contains("10.223.252.0/22"));
        assert!(all.iter().all(|text| text.parse::<Subnet>().is_ok()));
    }
}
