//! Published ports: a port of the host that leads into a box.
//!
//! A box's own address means something on its host only, and another one after every start. So a server's clients are
//! given an address and a port of the host's. We listen there before the box is made, so that a port that is in use is
//! an error of the start and not a server that nobody reaches, and so that nobody else gets it meanwhile. The kernel
//! chooses where no number was said. Who passes on what comes in there stands in `proxy.rs`.
//!
//! Where nobody says an address it is 127.0.0.1: only this host reaches the port. Docker's default is all of the host's
//! addresses, past what many people's firewalls say; here that takes the words 0.0.0.0.
//!
//! Step: `publish`.
//!
//! Man page: bind(2), ip(7). Look at it: `tare-runtime list --json; ss -tlnp`

use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::str::FromStr;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A port that is to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// Which of the host's addresses; 0.0.0.0 is all of them.
    pub address: Ipv4Addr,
    /// The host's port; 0: the kernel chooses one.
    pub host: u16,
    /// The box's port.
    pub inside: u16,
}

impl FromStr for Publish {
    type Err = String;

    /// Understands `[[ADDRESS:][HOSTPORT]:]BOXPORT[/tcp]`.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        const FORM: &str = "expected [ADDRESS:][HOSTPORT]:BOXPORT, such as 8080:80";
        let ports = match text.split_once('/') {
            None | Some((_, "tcp")) => text.trim_end_matches("/tcp"),
            Some((_, "udp")) => return Err("only TCP is published, no UDP".into()),
            Some((_, other)) => return Err(format!("only TCP is published, no {other:?}")),
        };
        if ports.contains('[') {
            return Err("only addresses of version 4 are published".into());
        }
        let port = |text: &str| text.parse::<u16>().map_err(|_| format!("{text:?} is no port ({FORM})"));
        let mut parts = ports.rsplitn(3, ':');
        let inside = port(parts.next().unwrap_or_default())?;
        let host = parts.next().filter(|text| !text.is_empty()).map_or(Ok(0), port)?;
        let address = parts.next().map_or(Ok(Ipv4Addr::LOCALHOST), |text| {
            text.parse().map_err(|_| format!("{text:?} is no address of version 4 ({FORM})"))
        })?;
        if inside == 0 {
            return Err("0 is no port of the box's".into());
        }
        Ok(Self { address, host, inside })
    }
}

/// A port that is published, as `state` tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Which of the host's addresses; 0.0.0.0 is all of them.
    pub address: Ipv4Addr,
    /// The host's port.
    pub host: u16,
    /// The box's port.
    pub inside: u16,
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}->{}", self.address, self.host, self.inside)
    }
}

/// Refuses two at one port of the host: the second would find it in use, by nobody but us.
///
/// # Errors
/// Which, in words.
pub(super) fn check(wanted: &[Publish]) -> std::result::Result<(), String> {
    let any = Ipv4Addr::UNSPECIFIED;
    for (index, one) in wanted.iter().enumerate().filter(|(_, one)| one.host != 0) {
        let meets = |other: &&Publish| {
            other.host == one.host
                && (other.address == one.address || any == other.address || any == one.address)
        };
        if let Some(other) = wanted[..index].iter().find(meets) {
            let Publish { address, host, inside } = one;
            return Err(format!(
                "{address}:{host} is to lead to port {inside}, and {}:{host} to port {} (leave one out)",
                other.address, other.inside
            ));
        }
    }
    Ok(())
}

/// Listens at each of the host's ports.
///
/// # Errors
/// [`Error::Spec`] for one that is in use or not the host's.
pub(crate) fn listen(wanted: &[Publish]) -> Result<Vec<(Published, TcpListener)>> {
    wanted.iter().map(one).collect()
}

fn one(wanted: &Publish) -> Result<(Published, TcpListener)> {
    let Publish { address, host, inside } = *wanted;
    let fault = |error: std::io::Error| {
        let why = match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EADDRINUSE) => {
                let who = holder(address, host).map_or_else(|| "somebody".into(), |who| who.to_string());
                format!("{address}:{host} is in use by {who} (choose another port, or 0 for any)")
            }
            Some(Errno::EADDRNOTAVAIL) => format!("{address} is no address of this host"),
            Some(errno) => format!("{address}:{host}: {}", crate::error::describe(errno)),
            None => format!("{address}:{host}: {error}"),
        };
        Error::Spec { field: "publish".into(), why }
    };
    let listener = TcpListener::bind((address, host)).map_err(fault)?;
    let host = listener.local_addr().map_err(fault)?.port();
    Ok((Published { address, host, inside }, listener))
}

/// A process that listens somewhere.
#[derive(Debug)]
struct Holder {
    pid: u32,
    command: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.pid, self.command)
    }
}

/// Who listens where we would, as far as we may see. The kernel tells which socket does, in one table, and which process
/// has it open, in another.
fn holder(address: Ipv4Addr, port: u16) -> Option<Holder> {
    let sockets: Vec<String> = ["/proc/self/net/tcp", "/proc/self/net/tcp6"]
        .into_iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening(&table, address, port))
        .collect();
    let holds = |process: &Path| {
        let open = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        open.filter_map(|fd| fs::read_link(fd.path()).ok())
            .any(|file| sockets.iter().any(|inode| file.as_os_str() == format!("socket:[{inode}]").as_str()))
    };
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        // Not /proc/self, which is us by another name.
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let command =
            holds(&entry.path()).then(|| fs::read_to_string(entry.path().join("cmdline")).ok())??;
        let command: Vec<&str> = command.split('\0').filter(|word| !word.is_empty()).take(4).collect();
        Some(Holder { pid, command: command.join(" ") })
    })
}

/// The sockets that listen at this address and port or at more than that, by inode, in a table of /proc/net. State 0A is
/// to listen; an address is words of this host's byte order, the last of which is that of version 4.
fn listening(table: &str, address: Ipv4Addr, port: u16) -> Vec<String> {
    let one = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (at, number) = fields.get(1)?.rsplit_once(':')?;
        let at =
            Ipv4Addr::from(u32::from_str_radix(at.get(at.len().checked_sub(8)?..)?, 16).ok()?.to_ne_bytes());
        let meets = at == address || at.is_unspecified() || address.is_unspecified();
        let listens = *fields.get(3)? == "0A" && u16::from_str_radix(number, 16).ok()? == port;
        (listens && meets).then(|| fields.get(9).map(ToString::to_string))?
    };
    table.lines().skip(1).filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_said_as_to_docker_and_mean_this_host_only() {
        let parse = |text: &str| text.parse::<Publish>().unwrap_or_else(|why| panic!("{text}: {why}"));
        let [any, own] = [Ipv4Addr::UNSPECIFIED, Ipv4Addr::LOCALHOST];
        for (text, address, host, inside) in [
            ("8080:80", own, 8080, 80),
            ("0.0.0.0:8080:80/tcp", any, 8080, 80),
            ("0:80", own, 0, 80),
            (":80", own, 0, 80),
            ("80", own, 0, 80),
            ("10.1.2.3::80", [10, 1, 2, 3].into(), 0, 80),
        ] {
            assert_eq!(parse(text), Publish { address, host, inside }, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_published_is_refused_in_words() {
        for (text, words) in [
            ("53:53/udp", "only TCP is published, no UDP"),
            ("53:53/sctp", "only TCP is published, no \"sctp\""),
            ("[::1]:80:80", "only addresses of version 4"),
            ("80:0", "0 is no port"),
            ("x:80", "\"x\" is no port"),
            ("65536:80", "is no port"),
            ("8000-8010:80", "is no port"),
            ("localhost:80:80", "is no address of version 4"),
            ("1:2:3:4", "is no address of version 4"),
            ("", "is no port"),
        ] {
            let why = text.parse::<Publish>().expect_err(text);
            assert!(why.contains(words), "{text}: {why}");
        }
    }

    #[test]
    fn a_port_of_the_host_leads_to_one_place() {
        let of = |texts: &[&str]| {
            let all: Vec<Publish> = texts.iter().map(|text| text.parse().expect("publish")).collect();
            check(&all)
        };
        for fine in [&["80:80", "81:80"][..], &[":80", ":80"], &["127.0.0.1:80:80", "127.0.0.2:80:80"]] {
            assert_eq!(of(fine), Ok(()), "{fine:?}");
        }
        for (both, why) in [
            (["80:80", "80:81"], "127.0.0.1:80 is to lead to port 81, and 127.0.0.1:80 to port 80"),
            (["80:80", "0.0.0.0:80:80"], "0.0.0.0:80 is to lead to port 80, and 127.0.0.1:80"),
            (["0.0.0.0:80:80", "127.0.0.2:80:80"], "127.0.0.2:80"),
        ] {
            let refused = of(&both).expect_err("twice");
            assert!(refused.contains(why), "{both:?}: {refused}");
        }
    }

    #[test]
    fn a_port_in_use_names_who_has_it() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen");
        let host = taken.local_addr().expect("address").port();
        let wanted = Publish { address: Ipv4Addr::LOCALHOST, host, inside: 80 };
        let error = listen(&[wanted]).expect_err("in use").to_string();
        let us = format!("127.0.0.1:{host} is in use by process {}", std::process::id());
        assert!(error.contains(&us), "{error}");
        // And not one who has the same port of another address.
        let [own, other] = [Ipv4Addr::LOCALHOST, [127, 0, 0, 2].into()];
        let table = |at: &str| format!("head\n 0: {at}:0050 00000000:0000 0A 0:0 00:0 0 0 0 4711 1\n");
        for (line, at, meets) in [
            ("0100007F", own, true),
            ("0100007F", other, false),
            ("0100007F", Ipv4Addr::UNSPECIFIED, true),
            ("00000000", other, true),
            ("00000000000000000000000000000000", own, true),
            ("0000000000000000FFFF00000200007F", other, true),
            ("0000000000000000FFFF00000200007F", own, false),
            ("00000000000000000000000001000000", own, false),
        ] {
            assert_eq!(listening(&table(line), at, 80) == ["4711"], meets, "{line} {at}");
        }
        assert_eq!(listening(&table("0100007F"), own, 81), [""; 0]);
        let foreign = Publish { address: [192, 0, 2, 77].into(), host: 0, inside: 80 };
        let error = listen(&[foreign]).expect_err("foreign").to_string();
        assert!(error.contains("192.0.2.77 is no address of this host"), "{error}");
    }
}
