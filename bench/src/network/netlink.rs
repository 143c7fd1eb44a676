//! Network links and addresses, asked of the kernel over a netlink socket (rtnetlink(7)).
//!
//! The program `ip` does the same. Started for each box it would weigh more than what it does.

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
use netlink_packet_route::{AddressFamily as Family, RouteNetlinkMessage as Message};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

/// Room for one datagram of the kernel's, which sends no larger ones unless it is asked with more room.
const DATAGRAM: usize = 32 * 1024;

/// A netlink socket. It speaks about the network namespace in which it was opened, and keeps it alive.
#[derive(Debug)]
pub(super) struct Netlink(OwnedFd);

impl Netlink {
    /// Opens one in the caller's network namespace.
    pub(super) fn open() -> io::Result<Self> {
        let kind =
            (AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute);
        Ok(Self(socket(kind.0, kind.1, kind.2, kind.3)?))
    }

    /// Makes a bridge with this address on its own interface, up. The address of its link layer is fixed: a bridge
    /// without one takes on that of a port, and changes it as ports come and go.
    pub(super) fn make_bridge(&self, name: &str) -> io::Result<()> {
        let mut link = LinkMessage::default();
        raise(&mut link);
        link.attributes = vec![
            LinkAttribute::IfName(name.into()),
            LinkAttribute::Address(vec![0x02, 0, 0, 0, 0, 1]),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
        ];
        self.make(link)
    }

    /// Makes a veth pair: `outer` a port of the bridge, up, and `inner` in the namespace given, still down: an end
    /// cannot be brought up before it knows its other one.
    pub(super) fn make_veth(
        &self,
        (outer, bridge): (&str, u32),
        (inner, namespace): (&str, BorrowedFd),
    ) -> io::Result<()> {
        let mut peer = LinkMessage::default();
        peer.attributes =
            vec![LinkAttribute::IfName(inner.into()), LinkAttribute::NetNsFd(namespace.as_raw_fd())];
        let mut link = LinkMessage::default();
        raise(&mut link);
        link.attributes = vec![
            LinkAttribute::IfName(outer.into()),
            LinkAttribute::Controller(bridge),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
            ]),
        ];
        self.make(link)
    }

    /// Makes an interface a port of the bridge, and brings it up.
    pub(super) fn add_port(&self, name: &str, bridge: u32) -> io::Result<()> {
        let mut link = LinkMessage::default();
        raise(&mut link);
        link.attributes = vec![LinkAttribute::IfName(name.into()), LinkAttribute::Controller(bridge)];
        self.ask(Message::SetLink(link), 0)
    }

    /// Brings an interface up.
    pub(super) fn bring_up(&self, index: u32) -> io::Result<()> {
        let mut link = LinkMessage::default();
        raise(&mut link);
        link.header.index = index;
        self.ask(Message::SetLink(link), 0)
    }

    /// Gives an interface its address.
    pub(super) fn add_address(&self, index: u32, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = Family::Inet;
        message.header.prefix_len = prefix;
        message.header.index = index;
        message.attributes =
            vec![AddressAttribute::Local(address.into()), AddressAttribute::Address(address.into())];
        self.ask(Message::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Takes an interface away; of a veth pair the other end goes with it.
    pub(super) fn delete(&self, name: &str) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.attributes = vec![LinkAttribute::IfName(name.into())];
        self.ask(Message::DelLink(link), 0)
    }

    /// The names of all interfaces.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        self.send(Message::GetLink(LinkMessage::default()), NLM_F_DUMP)?;
        let mut names = Vec::new();
        let mut buffer = vec![0; DATAGRAM];
        loop {
            for answer in self.receive(&mut buffer)? {
                match answer.payload {
                    NetlinkPayload::Done(_) => return Ok(names),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    NetlinkPayload::InnerMessage(Message::NewLink(link)) => {
                        names.extend(link.attributes.into_iter().filter_map(|it| match it {
                            LinkAttribute::IfName(name) => Some(name),
                            _ => None,
                        }));
                    }
                    _ => {}
                }
            }
        }
    }

    fn make(&self, link: LinkMessage) -> io::Result<()> {
        self.ask(Message::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Sends a request and waits for what the kernel says to it. That is there when `send` returns: the kernel
    /// carries the request out in the call.
    fn ask(&self, message: Message, flags: u16) -> io::Result<()> {
        self.send(message, flags | NLM_F_ACK)?;
        let mut buffer = [0; 1024];
        match self.receive(&mut buffer)?.into_iter().next().map(|it| it.payload) {
            Some(NetlinkPayload::Error(error)) if error.code.is_none() => Ok(()),
            Some(NetlinkPayload::Error(error)) => Err(error.to_io()),
            other => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the kernel answered neither yes nor no, but {other:?}"),
            )),
        }
    }

    fn send(&self, message: Message, flags: u16) -> io::Result<()> {
        let mut header = NetlinkHeader::default();
        header.flags = flags | NLM_F_REQUEST;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        send(self.0.as_raw_fd(), &bytes, MsgFlags::empty())?;
        Ok(())
    }

    /// The messages of one datagram.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<Vec<NetlinkMessage<Message>>> {
        let length = recv(self.0.as_raw_fd(), buffer, MsgFlags::empty())?;
        let mut rest = &buffer[..length];
        let mut messages = Vec::new();
        while !rest.is_empty() {
            let message = NetlinkMessage::<Message>::deserialize(rest)
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
            // Each begins at a multiple of four bytes.
            let next = (message.header.length as usize).next_multiple_of(4).clamp(4, rest.len());
            messages.push(message);
            rest = &rest[next..];
        }
        Ok(messages)
    }
}

/// Asks for the flag that an interface is up.
fn raise(link: &mut LinkMessage) {
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
}
