//! Whom a box can talk to: nobody, the host's neighbours, or the other boxes and the host.
//!
//! A new network namespace has one interface, `lo`, and it is down. Without the first step here a server in the box
//! could not even talk to itself: connecting to 127.0.0.1 fails with "network is unreachable". That is all a box has by
//! default; who wants more says which:
//!
//! - *none*: nothing leads out of the box, or in.
//! - *a namespace* of somebody's: what is in it is its owner's work.
//! - *bridge*: a cable (`veth.rs`) to a switch of ours (`bridge.rs`), an address (`lease.rs`, `subnet.rs`), and ports of
//!   the host that lead to it (`publish.rs`, `proxy.rs`, `nftables.rs`). It reaches the host and the other boxes on the
//!   bridge, nobody else (`wall.rs`).
//! - *host*: no namespace of its own. The box then sees and uses all of the host's interfaces and ports; with its
//!   CAP_NET_RAW it may listen to what passes there; and whoever listens at an abstract socket, which has no file and no
//!   mode, is reached by it (CVE-2020-15257). Its /sys is the host's, read-only.
//!
//! Boxes on one bridge are neighbours on one wire, each with CAP_NET_RAW: one that is not trusted may pretend to be
//! another, as with Docker. Who does not want that gives it a state directory (`--root`) of its own.
//!
//! All of it is version 4. Names are nobody's work here: /etc/resolv.conf and /etc/hosts are the image's, or a volume's.
//!
//! Step: `loopback`.
//!
//! Man pages: network_namespaces(7), netdevice(7). Look at it: `ip addr` inside

mod bridge;
mod lease;
pub mod netlink;
mod nftables;
mod proxy;
mod publish;
mod subnet;
mod veth;
mod wall;

use std::ffi::CStr;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use nix::sched::CloneFlags;
use serde::{Deserialize, Serialize};

pub use publish::{Publish, Published};
pub use subnet::Subnet;
pub(crate) use veth::{Cable, object};

use crate::error::{Error, Result};
use crate::report::Fault;
use crate::spec::Id;
use crate::state::Process;
use crate::sys;
use lease::Leases;
use netlink::Netlink;

/// The loopback interface's name.
pub(crate) const LOOPBACK: &CStr = c"lo";

/// Brings it up; the kernel then gives it 127.0.0.1 and ::1 by itself.
pub(crate) fn loopback_up(fresh: CloneFlags) -> std::result::Result<(), Fault> {
    // In somebody else's network namespace it is theirs to decide.
    if !fresh.contains(CloneFlags::CLONE_NEWNET) {
        return Ok(());
    }
    sys::interface_up(LOOPBACK).map_err(Fault::of(0))
}

/// Whom a box can talk to; see the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Network {
    /// Itself.
    #[default]
    None,
    /// Whom the caller can: it shares the caller's network namespace.
    Host,
    /// Whom somebody's network namespace lets it, as the path of a file such as `/run/netns/NAME`. What is in the
    /// namespace is its owner's work, the loopback interface too.
    Namespace(PathBuf),
    /// The host, and the other boxes of this state directory.
    Bridge(OnBridge),
}

/// A place on the bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OnBridge {
    /// The bridge's net, if it is not to choose one.
    pub subnet: Option<Subnet>,
    /// Ports of the host that are to lead to the box.
    pub publish: Vec<Publish>,
}

impl Network {
    /// Refuses what cannot be had, before anything is made.
    ///
    /// # Errors
    /// [`Error::Spec`].
    pub(crate) fn check(&self, until: Option<&str>) -> Result<()> {
        let fault = |why: &str| Err(Error::Spec { field: "network".into(), why: why.to_owned() });
        match self {
            Self::Bridge(_) if !nix::unistd::geteuid().is_root() => fault(
                "a bridge is an interface of the host's, and only root may make one (CAP_NET_ADMIN); \
                 use none, or host for servers of your own",
            ),
            Self::Bridge(_) if until.is_some() => {
                fault("a box on a lower rung of the ladder has no place on a bridge (leave out --until)")
            }
            Self::Bridge(bridge) => {
                publish::check(&bridge.publish).map_err(|why| Error::Spec { field: "publish".into(), why })
            }
            _ => Ok(()),
        }
    }
}

/// The place of a box on a bridge, as it is remembered and told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// The bridge's name.
    pub bridge: String,
    /// Its net; absent while the box is being started.
    #[serde(default)]
    pub subnet: Option<Subnet>,
    /// The bridge's own address, by which the box reaches the host.
    #[serde(default)]
    pub gateway: Option<Ipv4Addr>,
    /// The box's address.
    #[serde(default)]
    pub address: Option<Ipv4Addr>,
    /// The outer end of its cable.
    #[serde(default)]
    pub interface: Option<String>,
    /// Ports of the host that lead to it.
    #[serde(default)]
    pub published: Vec<Published>,
    /// The process that passes on what comes in there.
    #[serde(default)]
    pub proxy: Option<Process>,
    /// How connections of others than the host come in, where a port is for them: "nftables", or "proxy" and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<String>,
    /// What somebody else's rules may do to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

impl Connection {
    /// What is known before anything is made.
    ///
    /// # Errors
    /// [`Error::Step`].
    pub(crate) fn planned(root: &Path) -> Result<Self> {
        Ok(Self {
            bridge: bridge::name(root)?,
            subnet: None,
            gateway: None,
            address: None,
            interface: None,
            published: Vec::new(),
            proxy: None,
            outside: None,
            warning: None,
        })
    }

    /// Gets the box an address on the bridge, which is made if it is the first.
    ///
    /// # Errors
    /// [`Error::Spec`], [`Error::Step`]; what was made then, [`Connection::release`] takes away.
    pub(crate) fn connect(&mut self, root: &Path, id: &Id, wanted: &OnBridge) -> Result<Cable> {
        let leases = Leases::lock(root)?;
        let netlink = open()?;
        for (address, _) in leases.all()?.into_iter().filter(|(_, holder)| holder.is_none()) {
            self.take_back(&netlink, &leases, address)?;
        }
        let bridge = bridge::ensure(&netlink, &leases, &self.bridge, wanted.subnet)?;
        let address = leases.take(bridge.subnet, id)?;
        self.subnet = Some(bridge.subnet);
        self.gateway = Some(bridge.gateway());
        self.address = Some(address);
        self.interface = Some(veth::outer(&bridge, address));
        self.warning.clone_from(&bridge.warning);
        Cable::prepare(&bridge, address)
    }

    /// Listens at the ports that are to lead to the box, and lets the kernel lead there where it can.
    ///
    /// # Errors
    /// [`Error::Spec`] for one that is in use, [`Error::Step`].
    pub(crate) fn publish(&mut self, root: &Path, wanted: &OnBridge) -> Result<Vec<TcpListener>> {
        let (published, listeners) = publish::listen(&wanted.publish)?.into_iter().unzip();
        self.published = published;
        if self.published.iter().any(|port| !port.address.is_loopback()) {
            self.outside = Some(
                match nftables::obstacle().map_or_else(|| self.redirect(root), |why| Ok(Some(why)))? {
                    Some(why) => format!("proxy: {why}"),
                    None => "nftables".into(),
                },
            );
        }
        Ok(listeners)
    }

    /// Why not, if not.
    fn redirect(&self, root: &Path) -> Result<Option<String>> {
        let leases = Leases::lock(root)?;
        let (Some(bridge), Some(address)) = (bridge::read(&leases)?, self.address) else { return Ok(None) };
        let table = veth::outer(&bridge, address);
        let Some(rules) = nftables::rules(&table, &bridge, address, &self.published) else { return Ok(None) };
        leases.note_rules(address)?;
        if let Err(why) = nftables::load(&rules) {
            leases.forget_rules(address)?;
            return Ok(Some(why));
        }
        Ok(None)
    }

    /// Starts whoever passes on what comes in there, once there is a box to pass it on to.
    ///
    /// # Errors
    /// [`Error::Step`].
    pub(crate) fn pass_on(
        &mut self,
        program: &Path,
        id: &Id,
        listeners: Vec<TcpListener>,
        pidfd: BorrowedFd<'_>,
    ) -> Result<()> {
        let (Some(address), false) = (self.address, listeners.is_empty()) else { return Ok(()) };
        let targets = self.published.iter().map(|it| SocketAddrV4::new(address, it.inside));
        self.proxy = Some(proxy::start(program, id, targets.zip(listeners).collect(), pidfd)?);
        Ok(())
    }

    /// Takes all of it away, and the bridge with its last box. Can be repeated, whatever is there still.
    ///
    /// # Errors
    /// [`Error::Step`], [`Error::Stuck`].
    pub(crate) fn release(&self, root: &Path, id: &Id) -> Result<()> {
        self.proxy.map_or(Ok(()), proxy::stop)?;
        let leases = Leases::lock(root)?;
        let netlink = open()?;
        let mut others = 0;
        for (address, holder) in leases.all()? {
            match holder {
                Some(holder) if holder != *id => others += 1,
                _ => self.take_back(&netlink, &leases, address)?,
            }
        }
        if others == 0 {
            bridge::remove(&netlink, &leases, &self.bridge)?;
            leases.remove_directory()?;
        }
        Ok(())
    }

    /// The rules, the cable, then the lease: as long as that is there somebody will look for them.
    fn take_back(&self, netlink: &Netlink, leases: &Leases, address: Ipv4Addr) -> Result<()> {
        // Without a bridge there never was a cable, and none by an address of another net.
        if let Some(bridge) = bridge::read(leases)?.filter(|bridge| bridge.subnet.overlaps(address, 32)) {
            let outer = veth::outer(&bridge, address);
            if leases.is_ruled(address)? {
                let fault = |why| Error::Spec {
                    field: "network".into(),
                    why: format!(
                        "{why}, and the rules of {outer} are to be taken away (delete it again once that is mended)"
                    ),
                };
                nftables::remove(&outer).map_err(fault)?;
            }
            veth::remove(netlink, &outer)?;
        }
        // Also where a power failure has left nothing of what the bridge was: the kernel has forgotten all rules then.
        leases.forget_rules(address)?;
        leases.give_back(address)
    }
}

fn open() -> Result<Netlink> {
    Netlink::open().map_err(|errno| Error::at("bridge", "netlink socket", errno))
}

/// What a program that is told to be the proxy of a box's ports does: see [`Runtime::with_program`].
/// `words` are those behind [`PROXY`].
///
/// [`Runtime::with_program`]: crate::Runtime::with_program
///
/// # Errors
/// In words, for who called it by hand.
pub fn serve(words: &[String]) -> std::result::Result<(), String> {
    proxy::serve(words)
}

/// The first word with which a program is told to be the proxy of a box's ports.
pub const PROXY: &str = proxy::WORD;
