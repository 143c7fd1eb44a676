//! The network: a connection to the host as proof that it works; and what a machine's `/init` does to have one.

use crate::output::Output;
use crate::{commands, sys};

/// An IPv4 address and a port, in the order of the network: the kernel's struct sockaddr_in.
pub(crate) type Address = [u8; 16];

const INTERFACE: &[u8] = b"eth0";
const LOOPBACK: &[u8] = b"lo";

/// `A.B.C.D` with what follows `separator`.
fn parse(text: &[u8], separator: u8) -> Option<([u8; 4], u64)> {
    let at = text.iter().position(|&byte| byte == separator)?;
    let mut address = [0; 4];
    let mut parts = text[..at].split(|&byte| byte == b'.');
    for byte in &mut address {
        *byte = commands::number(parts.next()?).and_then(|it| u8::try_from(it).ok())?;
    }
    match parts.next() {
        None => Some((address, commands::number(&text[at + 1..])?)),
        Some(_) => None,
    }
}

fn socket_address(address: [u8; 4], port: u16) -> Address {
    let ([a, b, c, d], [high, low]) = (address, port.to_be_bytes());
    // Family AF_INET, in the machine's own order.
    [2, 0, high, low, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// `A.B.C.D:PORT`.
pub(crate) fn peer(text: &[u8]) -> Option<Address> {
    let (address, port) = parse(text, b':')?;
    Some(socket_address(address, u16::try_from(port).ok()?))
}

/// `A.B.C.D/BITS`: an interface's own address, and the mask of its net.
pub(crate) fn own(text: &[u8]) -> Option<[Address; 2]> {
    let (address, bits @ 1..=32) = parse(text, b'/')? else { return None };
    let mask = u32::MAX << (32 - bits);
    Some([socket_address(address, 0), socket_address(mask.to_be_bytes(), 0)])
}

/// Connects to the host and says the nonce there, once. What went wrong is said on the channel.
pub(crate) fn report(peer: &Address, nonce: &[u8], output: &mut Output) {
    if let Err(errno) = say(peer, nonce) {
        output.raw(b"ERR connect errno ").number(errno.0 as u64).end().flush();
    }
}

fn say(peer: &Address, nonce: &[u8]) -> Result<(), sys::Errno> {
    let fd = sys::socket(sys::STREAM)?;
    let said = sys::connect(fd, peer).and_then(|()| {
        // In one piece: it is far shorter than a segment.
        let mut line = [0; crate::LONGEST_NONCE + 1];
        line[..nonce.len()].copy_from_slice(nonce);
        line[nonce.len()] = b'\n';
        sys::write(fd, &line[..=nonce.len()]).map(|_| ())
    });
    sys::close(fd);
    said
}

/// Gives a machine its network: the kernel's modules that its image brings, in their order, and the interface's
/// address.
pub(crate) fn bring_up([address, mask]: &[Address; 2], output: &mut Output) -> Result<(), sys::Errno> {
    output.raw(b"AT init").end().flush();
    if load_modules()? {
        output.raw(b"AT modules").end().flush();
    }
    let fd = sys::socket(sys::DATAGRAM)?;
    let done = sys::set_interface(fd, sys::ADDRESS, INTERFACE, address)
        .and_then(|()| sys::set_interface(fd, sys::NETMASK, INTERFACE, mask))
        .and_then(|()| up(fd, INTERFACE))
        .and_then(|()| up(fd, LOOPBACK));
    sys::close(fd);
    done
}

fn up(socket: i32, name: &[u8]) -> Result<(), sys::Errno> {
    // IFF_UP
    sys::set_interface(socket, sys::FLAGS, name, &[1, 0])
}

/// `/modules/0`, `/modules/1` and so on, ten at most, as long as there is one. Whether there was any.
pub(crate) fn load_modules() -> Result<bool, sys::Errno> {
    for digit in b'0'..=b'9' {
        let mut path = *b"/modules/0\0";
        path[9] = digit;
        let fd = match sys::open(&path, sys::O_RDONLY) {
            Ok(fd) => fd,
            Err(sys::ENOENT) => return Ok(digit > b'0'),
            Err(errno) => return Err(errno),
        };
        let loaded = sys::load_module(fd);
        sys::close(fd);
        loaded?;
    }
    Ok(true)
}
