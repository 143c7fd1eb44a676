//! Connecting a box to the bridge, and taking the connection away. Runs in the spawner, inside the clock.
//!
//! The kernel makes a thing of the network in the namespace of whoever asks, so the spawner goes there for a few
//! calls and comes back. It has one thread: nobody is taken along.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, setns, unshare};

use tare_runtime::network::netlink::{Netlink, Place as In, Request};

use super::{BRIDGE, Link, PREFIX, Way, pair};

/// Number of the loopback interface: the first of every namespace.
const LOOPBACK: u32 = 1;

/// The bridge, from the spawner's side.
#[derive(Debug)]
struct Place {
    /// The namespace that the spawner is in.
    own: OwnedFd,
    /// The bridge's.
    namespace: OwnedFd,
    netlink: Netlink,
    bridge: u32,
}

static PLACE: Mutex<Option<Place>> = Mutex::new(None);

/// Takes note of the bridge's namespace.
pub(crate) fn use_bridge(namespace: OwnedFd) -> Result<(), String> {
    let own = current_namespace().map_err(said("open the spawner's network namespace"))?;
    let (netlink, bridge) = inside(&own, &namespace, || Ok((Netlink::open()?, if_nametoindex(BRIDGE)?)))
        .map_err(said("enter the bridge's network namespace"))?;
    *PLACE.lock().unwrap_or_else(PoisonError::into_inner) = Some(Place { own, namespace, netlink, bridge });
    Ok(())
}

/// Connects a box that is about to be started. Returns the tap interface, where it gets one.
pub(crate) fn connect(link: &Link) -> Result<Option<OwnedFd>, String> {
    with_place(|place| match &link.way {
        Way::Veth { namespace, .. } => place.connect_veth(link, namespace).map(|()| None),
        Way::Tap => place.connect_tap(link).map(Some),
    })
}

/// Takes the connection away. What is gone already, with the process that held it, need not be.
pub(crate) fn disconnect(link: &Link) -> Result<(), String> {
    with_place(|place| {
        match place.netlink.ask(&Request::delete(&link.port)) {
            Ok(()) | Err(Errno::ENODEV) => {}
            Err(e) => return Err(format!("take the interface {} away: {e}", link.port)),
        }
        let Way::Veth { namespace, .. } = &link.way else { return Ok(()) };
        match umount2(namespace, MntFlags::MNT_DETACH) {
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
            Err(e) => return Err(format!("unmount {}: {e}", namespace.display())),
        }
        match std::fs::remove_file(namespace) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(format!("remove {}: {e}", namespace.display()))
            }
            _ => Ok(()),
        }
    })
}

fn with_place<T>(act: impl FnOnce(&Place) -> Result<T, String>) -> Result<T, String> {
    let place = PLACE.lock().unwrap_or_else(PoisonError::into_inner);
    act(place.as_ref().ok_or("the spawner knows of no bridge")?)
}

impl Place {
    fn connect_veth(&self, link: &Link, file: &Path) -> Result<(), String> {
        File::create_new(file).map_err(|e| format!("make the file {}: {e}", file.display()))?;
        unshare(CloneFlags::CLONE_NEWNET).map_err(|e| format!("make a network namespace: {e}"))?;
        let made = self.furnish(link, file);
        return_to(&self.own);
        made.map_err(|e| format!("connect {} by a veth pair: {e}", link.port))
    }

    /// In the box's own namespace, which was just made.
    fn furnish(&self, link: &Link, file: &Path) -> Result<(), String> {
        let namespace = current_namespace().map_err(said("open its network namespace"))?;
        // As `ip netns` does it: a mount keeps the namespace until a process is in it.
        let none = None::<&str>;
        mount(Some("/proc/thread-self/ns/net"), file, none, MsFlags::MS_BIND, none)
            .map_err(|e| format!("mount its network namespace at {}: {e}", file.display()))?;
        self.netlink
            .ask(&Request::veth(&pair(&link.port, self.bridge, Link::INNER, In::File(namespace.as_fd()))))
            .map_err(|e| format!("make the pair: {e}"))?;
        let netlink = Netlink::open().map_err(|e| format!("open a netlink socket: {e}"))?;
        let inner = if_nametoindex(Link::INNER).map_err(|e| format!("look for its end: {e}"))?;
        let asked = |request: Request, what: &str| netlink.ask(&request).map_err(|e| format!("{what}: {e}"));
        asked(Request::address(inner, link.address, PREFIX), "give its end an address")?;
        asked(Request::up(inner), "bring its end up")?;
        asked(Request::up(LOOPBACK), "bring its loopback up")
    }

    fn connect_tap(&self, link: &Link) -> Result<OwnedFd, String> {
        let tap = inside(&self.own, &self.namespace, || crate::sys::tap(&link.port))
            .map_err(|e| format!("make the tap interface {} (/dev/net/tun): {e}", link.port))?;
        self.netlink
            .ask(&Request::port(&link.port, self.bridge))
            .map_err(|e| format!("make {} a port of the bridge: {e}", link.port))?;
        Ok(tap)
    }
}

/// Does something in another namespace.
fn inside<T>(own: &OwnedFd, other: &OwnedFd, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    setns(other, CloneFlags::CLONE_NEWNET)?;
    let result = act();
    return_to(own);
    result
}

fn return_to(own: &OwnedFd) {
    if let Err(e) = setns(own, CloneFlags::CLONE_NEWNET) {
        // Every box to come would be started in the wrong network.
        eprintln!("tare: spawner: cannot come back to its own network namespace: {e}");
        std::process::exit(1);
    }
}

/// The network namespace of the calling thread.
pub(super) fn current_namespace() -> io::Result<OwnedFd> {
    Ok(File::open("/proc/thread-self/ns/net")?.into())
}

fn said(what: &'static str) -> impl Fn(io::Error) -> String {
    move |e| format!("{what}: {e}")
}
