//! `nspawn`: systemd-nspawn, one program in a box as systemd makes it, without its daemons.
//!
//! Neither machined nor systemd is asked (`--register=no --keep-unit`), so that it runs where they do not; the
//! limits that they would set are set by the lab. The machine's name is one for the whole host: the run's name
//! is part of it.

use std::path::{Path, PathBuf};

use anyhow::Result;
use tare_reports::document::Class;
use tare_runtime::confinement::CAPABILITIES;

use super::assisted::{Tool, merged};
use super::oci::{NO_OVERLAY, with_the_labs_overlay};
use super::{
    Contender, Description, Found, HOSTNAME, Missing, Needs, Surroundings, Undo, Wiring, example, text,
};
use crate::network::Link;
use crate::site::{Site, Start};
use crate::spawner::protocol::Launch;

/// Where it keeps a directory per machine, through which mounts could be passed into it.
const PROPAGATE: &str = "/run/systemd/nspawn/propagate";

/// It would lock the root, that nobody else has, by a file of the host, which stays when it is killed.
const NO_LOCK: &str = "SYSTEMD_NSPAWN_LOCK=0";

/// The capabilities that it leaves a box by default (systemd-nspawn(1), --capability=), and CAP_NET_ADMIN that
/// it adds with a network of its own; what is no word of our profile is dropped.
const ITS_CAPABILITIES: [&str; 27] = [
    "CAP_AUDIT_CONTROL",
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_IPC_OWNER",
    "CAP_KILL",
    "CAP_LEASE",
    "CAP_LINUX_IMMUTABLE",
    "CAP_MKNOD",
    "CAP_NET_ADMIN",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_CHROOT",
    "CAP_SYS_NICE",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TTY_CONFIG",
];

const NOT_EXPRESSED: &[&str] = &[
    NO_OVERLAY,
    "cgroups and limits: without systemd it sets none: the lab makes them inside the clock and starts it, and \
     so the process with which it waits, in them; it adds a cgroup of its own where systemd has its tree",
    "seccomp: its own filters, whose list can only be added to or taken from; not tare's",
    "capabilities: tare's are inheritable too",
    "masked paths: it covers its own choice of paths in /proc and /sys, not tare's",
    "mounts: /run, /tmp and cgroup trees of its own are mounted too, directories of a whole system made, and \
     mounts flagged otherwise",
    "devices: bound from the host, for the devices cgroup lets none be made; it adds /dev/net/tun",
    "environment: it adds HOME, USER, container, NOTIFY_SOCKET and others",
];

/// See the file's head.
#[derive(Debug)]
pub struct Nspawn {
    tool: Tool,
}

impl Default for Nspawn {
    fn default() -> Self {
        Self { tool: Tool::new("systemd-nspawn", &[NO_LOCK]) }
    }
}

impl Nspawn {
    fn argv(&self, site: &Site, start: &Start, link: Option<&Link>) -> Result<Vec<String>> {
        let network = match link {
            None => "--private-network".into(),
            Some(link) => format!("--network-namespace-path={}", text(link.namespace()?)),
        };
        let dropped: Vec<&str> = ITS_CAPABILITIES
            .into_iter()
            .filter(|name| !CAPABILITIES.iter().any(|ours| ours.name == *name))
            .collect();
        let options = vec![
            "--quiet".into(),
            "--settings=no".into(),
            "--register=no".into(),
            "--keep-unit".into(),
            format!("--directory={}", text(&merged(site, start))),
            format!("--machine={}", machine(site, start)),
            format!("--hostname={HOSTNAME}"),
            network,
            "--console=pipe".into(),
            "--resolv-conf=off".into(),
            "--timezone=off".into(),
            "--link-journal=no".into(),
            "--no-new-privileges=yes".into(),
            format!("--drop-capability={}", dropped.join(",")),
            "--".into(),
        ];
        let mut argv = self.tool.argv(options, start);
        argv.extend(link.map(Link::connect));
        Ok(argv)
    }
}

/// The name of the machine; on the host there is one of each.
fn machine(site: &Site, start: &Start) -> String {
    let run = site.dir().file_name().map(|name| name.to_string_lossy().into_owned());
    format!("{}-{}", run.unwrap_or_default(), start.id)
}

fn propagate(site: &Site, start: &Start) -> PathBuf {
    Path::new(PROPAGATE).join(machine(site, start))
}

/// What a run that was killed has left outside its site: directories of its machines.
pub(crate) fn elsewhere(run: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(PROPAGATE).into_iter().flatten().flatten();
    let ours = format!("{run}-");
    entries.filter(|it| it.file_name().to_string_lossy().starts_with(&ours)).map(|it| it.path()).collect()
}

impl Contender for Nspawn {
    fn description(&self) -> Description<'_> {
        Description {
            name: "nspawn",
            class: Class::Container,
            about: "systemd-nspawn without systemd's daemons, given tare's box as far as it can say it",
            inside_clock: &[
                "instance directory",
                "pipes",
                "request to the spawner",
                "overlay mounted by the lab",
                "cgroups and limits made by the lab",
                "clone3 and exec of systemd-nspawn in them, with SYSTEMD_NSPAWN_LOCK=0 in its environment",
                "systemd-nspawn",
                "READY",
            ],
            ..Description::default()
        }
    }

    fn probe(&mut self, surroundings: &Surroundings) -> Result<Found, Missing> {
        let fix = "./scripts/setup --peers (or apt-get install systemd-container)";
        let found = self.tool.probe(("TARE_NSPAWN", "systemd-nspawn", fix), surroundings, NOT_EXPRESSED)?;
        self.tool.makes_named_cgroups();
        Ok(found)
    }

    fn prepare(&mut self, site: &Site) -> Result<()> {
        self.tool.prepare(site)
    }

    fn launch(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        self.tool.launch(site, start, self.argv(site, start, None)?, None)
    }

    fn wiring(&self) -> Wiring {
        Wiring::Namespace
    }

    fn launch_linked(&mut self, site: &Site, start: &Start, link: &Link) -> Result<Launch> {
        self.tool.launch(site, start, self.argv(site, start, Some(link))?, None)
    }

    fn command(&mut self, site: &Site) -> Vec<String> {
        self.argv(site, &example(), None).unwrap_or_default()
    }

    fn needs(&self) -> Needs {
        Needs { tasks: 2, ..with_the_labs_overlay(Class::Container) }
    }

    fn teardown(&self, site: &Site, start: &Start) -> Vec<Undo> {
        self.tool.undo(site, start)
    }

    fn rescue(&self, site: &Site, start: &Start) -> Vec<Undo> {
        let mut undo = self.tool.undo(site, start);
        // It removes this itself unless it was killed.
        undo.push(Undo::Remove(propagate(site, start)));
        undo
    }

    fn leaves(&self, site: &Site, start: &Start) -> Vec<PathBuf> {
        let mut paths = self.tool.leaves(site, start);
        paths.push(propagate(site, start));
        paths
    }
}
