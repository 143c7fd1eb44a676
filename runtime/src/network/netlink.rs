//! Network links, addresses, routes and rules, asked of the kernel over a socket (rtnetlink).
//!
//! An interface is no file: it is made, named, moved and raised by messages, a header and a list of attributes, that are
//! sent into a socket of a family of its own and answered there. The program `ip` does nothing else. Started for each
//! box it would weigh more than what it does; and the new process, between fork and exec, could not start it at all. So
//! a message is built first, as bytes, and sent later, maybe by somebody who may not allocate.
//!
//! Man pages: netlink(7), rtnetlink(7). Look at it: `strace -f -e trace=%network ip link`

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleHeader, RuleMessage};
use netlink_packet_route::{AddressFamily as Family, RouteNetlinkMessage as Message};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

/// Room for one datagram of the kernel's, which sends no larger ones unless it is asked with more room.
const DATAGRAM: usize = 32 * 1024;
/// The most that a message of ours has.
const LONGEST: usize = 512;
/// In a message about an address: behind the general header and four bytes of its own.
const INDEX_AT: std::ops::Range<usize> = 20..24;

/// One message to the kernel, as bytes.
#[derive(Debug)]
pub struct Request(Vec<u8>);

/// An interface, as the kernel tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// The longest packet that it sends at once, bytes.
    pub mtu: u32,
}

/// Where packets to some addresses leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The first of these addresses.
    pub destination: Ipv4Addr,
    /// How many of its bits name them all; 0 is everywhere.
    pub prefix: u8,
    /// The interface's number; 0 if it has none.
    pub interface: u32,
}

/// In which network namespace the inner end of a pair appears.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// That of a file such as /run/netns/NAME.
    File(BorrowedFd<'a>),
    /// That of the process with this number, as the sender counts processes.
    Process(u32),
}

/// What becomes of packets, looked up before any route is. The rule with the lowest number that fits counts.
#[derive(Clone, Copy, Debug)]
pub struct Rule<'a> {
    /// The rule's number.
    pub priority: u32,
    /// Those that come in by this interface, which need not be there; by `lo` come the host's own.
    pub by: Option<&'a str>,
    /// Those to addresses that begin with so many bits of this one.
    pub to: Option<(Ipv4Addr, u8)>,
    /// Those with this bit in their mark.
    pub mark: Option<u32>,
    /// Whether they take the way that the main table knows, or are refused.
    pub pass: bool,
}

/// The two ends of a virtual cable.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// The outer end's name.
    pub outer: &'a str,
    /// Number of the bridge that it is a port of.
    pub bridge: u32,
    /// The inner end's name.
    pub inner: &'a str,
    /// Where that is.
    pub place: Place<'a>,
    /// The inner end's address on its link layer; without one the kernel draws it by lot.
    pub mac: Option<[u8; 6]>,
    /// For both; without one the kernel's 1,500.
    pub mtu: Option<u32>,
}

impl Request {
    fn new(message: Message, flags: u16) -> Self {
        let mut header = NetlinkHeader::default();
        header.flags = flags | NLM_F_REQUEST;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        Self(bytes)
    }

    /// A bridge, up. The address of its link layer is fixed: a bridge without one takes on that of a port, and changes it
    /// as ports come and go.
    pub fn bridge(name: &str, mac: [u8; 6], mtu: Option<u32>) -> Self {
        let mut link = raised();
        link.attributes = vec![LinkAttribute::IfName(name.into()), LinkAttribute::Address(mac.to_vec())];
        link.attributes.extend(mtu.map(LinkAttribute::Mtu));
        link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]));
        Self::new(Message::NewLink(link), NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL)
    }

    /// A veth pair: the outer end a port of the bridge, up; the inner one still down: an end cannot be brought up before
    /// it knows its other one.
    pub fn veth(pair: &Pair<'_>) -> Self {
        let mut peer = LinkMessage::default();
        let place = match pair.place {
            Place::File(file) => LinkAttribute::NetNsFd(file.as_raw_fd()),
            Place::Process(number) => LinkAttribute::NetNsPid(number),
        };
        peer.attributes = vec![LinkAttribute::IfName(pair.inner.into()), place];
        peer.attributes.extend(pair.mac.map(|mac| LinkAttribute::Address(mac.to_vec())));
        peer.attributes.extend(pair.mtu.map(LinkAttribute::Mtu));
        let mut link = raised();
        link.attributes =
            vec![LinkAttribute::IfName(pair.outer.into()), LinkAttribute::Controller(pair.bridge)];
        link.attributes.extend(pair.mtu.map(LinkAttribute::Mtu));
        link.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]));
        Self::new(Message::NewLink(link), NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Makes an interface a port of the bridge, and brings it up.
    pub fn port(name: &str, bridge: u32) -> Self {
        let mut link = raised();
        link.attributes = vec![LinkAttribute::IfName(name.into()), LinkAttribute::Controller(bridge)];
        Self::new(Message::SetLink(link), NLM_F_ACK)
    }

    /// Brings an interface up, by its number.
    pub fn up(index: u32) -> Self {
        let mut link = raised();
        link.header.index = index;
        Self::new(Message::SetLink(link), NLM_F_ACK)
    }

    /// Brings an interface up, by its name.
    pub fn up_by_name(name: &str) -> Self {
        let mut link = raised();
        link.attributes = vec![LinkAttribute::IfName(name.into())];
        Self::new(Message::SetLink(link), NLM_F_ACK)
    }

    /// Gives the interface of that number its address. `prefix` is how many bits of it name the net.
    pub fn address(index: u32, address: Ipv4Addr, prefix: u8) -> Self {
        let mut message = AddressMessage::default();
        message.header.family = Family::Inet;
        message.header.prefix_len = prefix;
        message.header.index = index;
        message.attributes =
            vec![AddressAttribute::Local(address.into()), AddressAttribute::Address(address.into())];
        Self::new(Message::NewAddress(message), NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Packets to everywhere else go to this neighbour. The kernel finds the interface by its address.
    pub fn default_route(gateway: Ipv4Addr) -> Self {
        let mut message = RouteMessage::default();
        message.header = RouteHeader {
            address_family: Family::Inet,
            table: RouteHeader::RT_TABLE_MAIN,
            protocol: RouteProtocol::Static,
            scope: RouteScope::Universe,
            kind: RouteType::Unicast,
            ..RouteHeader::default()
        };
        message.attributes = vec![RouteAttribute::Gateway(RouteAddress::Inet(gateway))];
        Self::new(Message::NewRoute(message), NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL)
    }

    /// A rule about where packets may go.
    pub fn rule(rule: &Rule<'_>) -> Self {
        Self::new(Message::NewRule(rule.message()), NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Takes a rule away.
    pub fn no_rule(rule: &Rule<'_>) -> Self {
        Self::new(Message::DelRule(rule.message()), NLM_F_ACK)
    }

    /// Takes an interface away; of a veth pair the other end goes with it.
    pub fn delete(name: &str) -> Self {
        let mut link = LinkMessage::default();
        link.attributes = vec![LinkAttribute::IfName(name.into())];
        Self::new(Message::DelLink(link), NLM_F_ACK)
    }
}

impl Rule<'_> {
    fn message(&self) -> RuleMessage {
        let (action, table) = match self.pass {
            true => (RuleAction::ToTable, RouteHeader::RT_TABLE_MAIN),
            false => (RuleAction::Prohibit, RouteHeader::RT_TABLE_UNSPEC),
        };
        let dst_len = self.to.map_or(0, |(_, bits)| bits);
        let mut message = RuleMessage::default();
        message.header = RuleHeader { family: Family::Inet, table, action, dst_len, ..RuleHeader::default() };
        // Else systemd-networkd, when it starts, takes it for somebody's who has forgotten it, and removes it.
        let owner = RuleAttribute::Protocol(RouteProtocol::Kernel);
        message.attributes = vec![RuleAttribute::Priority(self.priority), owner];
        message.attributes.extend(self.by.map(|name| RuleAttribute::Iifname(name.into())));
        message.attributes.extend(self.to.map(|(address, _)| RuleAttribute::Destination(address.into())));
        let bits = self.mark.map(|bit| [RuleAttribute::FwMark(bit), RuleAttribute::FwMask(bit)]);
        message.attributes.extend(bits.into_iter().flatten());
        message
    }
}

/// A netlink socket. It speaks about the network namespace in which it was opened, and keeps it alive.
#[derive(Debug)]
pub struct Netlink(OwnedFd);

impl Netlink {
    /// Opens one in the caller's network namespace. Allocates nothing.
    ///
    /// # Errors
    /// EMFILE; EAFNOSUPPORT in a kernel without.
    pub fn open() -> Result<Self, Errno> {
        let kind =
            (AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute);
        socket(kind.0, kind.1, kind.2, kind.3).map(Self)
    }

    /// Sends a request and waits for what the kernel says to it. That is there when `send` returns: the kernel
    /// carries the request out in the call. Allocates nothing.
    ///
    /// # Errors
    /// The kernel's answer; EBADMSG if it is neither yes nor no.
    pub fn ask(&self, request: &Request) -> Result<(), Errno> {
        self.ask_bytes(&request.0)
    }

    /// The same with a request about an interface whose number was not known when it was built.
    ///
    /// # Errors
    /// As [`Netlink::ask`]; EMSGSIZE if it is longer than ours are.
    pub fn ask_about(&self, index: u32, request: &Request) -> Result<(), Errno> {
        let mut bytes = [0; LONGEST];
        let bytes = bytes.get_mut(..request.0.len()).ok_or(Errno::EMSGSIZE)?;
        bytes.copy_from_slice(&request.0);
        bytes.get_mut(INDEX_AT).ok_or(Errno::EMSGSIZE)?.copy_from_slice(&index.to_ne_bytes());
        self.ask_bytes(bytes)
    }

    fn ask_bytes(&self, request: &[u8]) -> Result<(), Errno> {
        const ERROR: u16 = 2;
        send(self.0.as_raw_fd(), request, MsgFlags::empty())?;
        let mut answer = [0; 1024];
        let length = recv(self.0.as_raw_fd(), &mut answer, MsgFlags::empty())?;
        // A header of 16 bytes, its kind in the fifth and sixth; then an error number below zero, or zero for yes.
        let [_, _, _, _, a, b, _, _, _, _, _, _, _, _, _, _, c, d, e, f, ..] = answer;
        match (u16::from_ne_bytes([a, b]), i32::from_ne_bytes([c, d, e, f])) {
            (ERROR, 0) if length >= 20 => Ok(()),
            (ERROR, error @ ..0) if length >= 20 => Err(Errno::from_raw(-error)),
            _ => Err(Errno::EBADMSG),
        }
    }

    /// All interfaces.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn links(&self) -> io::Result<Vec<Link>> {
        self.dump(Message::GetLink(LinkMessage::default()), |message| {
            let Message::NewLink(link) = message else { return None };
            let mut found = Link { index: link.header.index, name: String::new(), mtu: 0 };
            for attribute in link.attributes {
                match attribute {
                    LinkAttribute::IfName(name) => found.name = name,
                    LinkAttribute::Mtu(mtu) => found.mtu = mtu,
                    _ => {}
                }
            }
            Some(found)
        })
    }

    /// All routes of version 4, those to the host's own addresses too.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn routes(&self) -> io::Result<Vec<Route>> {
        let mut all = RouteMessage::default();
        all.header.address_family = Family::Inet;
        self.dump(Message::GetRoute(all), |message| {
            let Message::NewRoute(route) = message else { return None };
            let mut found = Route {
                destination: Ipv4Addr::UNSPECIFIED,
                prefix: route.header.destination_prefix_length,
                interface: 0,
            };
            for attribute in route.attributes {
                match attribute {
                    RouteAttribute::Destination(RouteAddress::Inet(address)) => found.destination = address,
                    RouteAttribute::Oif(index) => found.interface = index,
                    _ => {}
                }
            }
            Some(found)
        })
    }

    fn dump<T>(&self, what: Message, take: impl Fn(Message) -> Option<T>) -> io::Result<Vec<T>> {
        send(self.0.as_raw_fd(), &Request::new(what, NLM_F_DUMP).0, MsgFlags::empty())?;
        let mut found = Vec::new();
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let length = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            let mut rest = &buffer[..length];
            while !rest.is_empty() {
                let message = NetlinkMessage::<Message>::deserialize(rest)
                    .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
                // Each begins at a multiple of four bytes.
                let next = (message.header.length as usize).next_multiple_of(4).clamp(4, rest.len());
                rest = &rest[next..];
                match message.payload {
                    NetlinkPayload::Done(_) => return Ok(found),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    NetlinkPayload::InnerMessage(message) => found.extend(take(message)),
                    _ => {}
                }
            }
        }
    }
}

/// A message that asks for the flag that an interface is up.
fn raised() -> LinkMessage {
    let mut link = LinkMessage::default();
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    link
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interfaces_number_stands_where_it_is_put() {
        let (with, without) =
            (Request::address(7, Ipv4Addr::LOCALHOST, 8), Request::address(0, Ipv4Addr::LOCALHOST, 8));
        assert_ne!(with.0, without.0);
        let mut put = without.0;
        put[INDEX_AT].copy_from_slice(&7_u32.to_ne_bytes());
        assert_eq!(with.0, put);
        assert!(put.len() <= LONGEST);
    }

    #[test]
    fn everybody_may_read_links_and_routes() {
        let netlink = Netlink::open().expect("socket");
        let links = netlink.links().expect("links");
        assert!(links.iter().any(|link| link.name == "lo" && link.index == 1 && link.mtu > 0), "{links:?}");
        netlink.routes().expect("routes");
    }

    #[test]
    fn nobody_may_take_a_rule_for_a_forgotten_one() {
        let rule = Rule { priority: 1, by: Some("x"), to: None, mark: None, pass: false };
        assert!(rule.message().attributes.contains(&RuleAttribute::Protocol(RouteProtocol::Kernel)));
    }

    #[test]
    fn a_refusal_is_the_kernels_own_number() {
        let netlink = Netlink::open().expect("socket");
        let refused = netlink.ask(&Request::delete("no-such-link")).expect_err("refused");
        // Without root's rights it is not even looked for.
        assert!(matches!(refused, Errno::ENODEV | Errno::EPERM), "{refused}");
    }
}
