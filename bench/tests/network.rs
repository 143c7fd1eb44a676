//! Boxes with a network: reached over the bridge for real, or failed; and nothing of it stays.

mod common;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use tare::contenders::floor::Floor;
use tare::contenders::qemu::Qemu;
use tare::contenders::{
    Contender, Description, Found, Missing, Surroundings, Wiring, qemu_microvm, runc, tare as cli,
};
use tare::lab::{Lab, Reached};
use tare::measures::network::{Linked, link_for};
use tare::network::{Bridge, Link};
use tare::site::{Site, Start};
use tare::spawner::protocol::Launch;
use tare::vm::kvm::Kvm;
use tare_reports::document::{Accel, Failure, Status};

use common::{document, finish, row, samples, values};

/// A lab with a bridge.
struct Ground {
    lab: Lab,
    bridge: Bridge,
    site: Site,
    /// What the last box named on its way to READY.
    named: String,
    _dir: tempfile::TempDir,
}

fn ground() -> Ground {
    let binaries = common::binaries();
    let dir = tempfile::tempdir().unwrap();
    let site = Site::create(&format!("network-test-{}-{:x}", std::process::id(), fine())).unwrap();
    let mut lab = Lab::open(&binaries.join("tare"), &dir.path().join("stderr"), fine()).unwrap();
    let bridge = Bridge::open().unwrap();
    lab.use_bridge(&bridge).unwrap();
    Ground { lab, bridge, site, named: String::new(), _dir: dir }
}

/// A number that the tests of one process do not share.
fn fine() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn surroundings() -> Surroundings {
    Surroundings { root: true, kvm: Kvm::Absent("not asked by this test".into()) }
}

impl Ground {
    /// Whether the contender can run here; `word` is what it lacks otherwise.
    fn can(&self, contender: &mut dyn Contender, word: &str) -> bool {
        if let Err(missing) = contender.probe(&surroundings()) {
            common::skip(word, &missing.reason);
            return false;
        }
        contender.prepare(&self.site).unwrap();
        true
    }

    /// Starts a box, sees who connects, and stops it.
    fn start_and_stop(&mut self, contender: &mut dyn Contender) {
        let link = link_for(&self.bridge, &self.lab, &self.site, contender);
        let mut linked = Linked::new(contender, link.clone());
        let mut instance = self.lab.start(&mut linked, &self.site).unwrap();
        let Reached { ns, peer } = instance.reached.expect("reached");
        assert!(ns > instance.ready_ns, "READY comes first: {ns} and {}", instance.ready_ns);
        assert_eq!(peer.ip(), IpAddr::from(link.address), "the box itself, from its own address");
        assert_eq!(self.bridge.ports().unwrap(), [link.port], "by its own port of the bridge");
        let named: Vec<&str> = instance.moments.named.keys().map(String::as_str).collect();
        self.named = named.join(" ");
        self.lab.alive(&linked, &self.site, &mut instance, None).unwrap();
        self.lab.stop(&mut linked, &self.site, instance).teardown_ns.unwrap();
        self.nothing_is_left();
    }

    fn nothing_is_left(&self) {
        assert_eq!(self.bridge.ports().unwrap(), Vec::<String>::new());
        let mounts = std::fs::read_to_string(format!("/proc/{}/mountinfo", self.lab.spawner_pid())).unwrap();
        let boxes = self.site.boxes();
        assert!(!mounts.contains(boxes.to_str().unwrap()), "{mounts}");
        assert_eq!(std::fs::read_dir(boxes).unwrap().count(), 0);
    }
}

/// Names of the host's own interfaces.
fn interfaces() -> Vec<String> {
    let names = std::fs::read_dir("/sys/class/net").unwrap();
    let mut names: Vec<String> =
        names.map(|it| it.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn thirty_boxes_are_reached_from_their_own_addresses_and_leave_nothing() {
    if !common::root() {
        return;
    }
    let before = interfaces();
    let mut ground = ground();
    let mut floor = Floor::default();
    assert!(ground.can(&mut floor, "root"), "root has all that the floor needs");
    for _ in 0..30 {
        ground.start_and_stop(&mut floor);
        assert_eq!(interfaces(), before, "the host has what it had");
    }
    let mut tare = cli::Tare::default();
    assert!(ground.can(&mut tare, "root"), "root has all that our runtime needs");
    ground.start_and_stop(&mut tare);
    let mut runc = runc::Runc::default();
    if ground.can(&mut runc, "runc") {
        ground.start_and_stop(&mut runc);
    }
    ground.site.remove().unwrap();
}

#[test]
fn machines_are_reached_over_their_tap_interfaces() {
    if !common::root() {
        return;
    }
    let mut ground = ground();
    let (mut q35, mut microvm) = (Qemu::baseline(), qemu_microvm::new());
    if ground.can(&mut q35, "qemu") {
        ground.start_and_stop(&mut q35);
        assert_eq!(ground.named, "init modules", "its kernel has the drivers as modules");
    }
    if ground.can(&mut microvm, "small-kernel") {
        ground.start_and_stop(&mut microvm);
        assert_eq!(ground.named, "init", "its kernel has the drivers built in");
    }
    ground.site.remove().unwrap();
}

/// The bare payload in a box's network namespace, after something was done to it. A script that names `pid` leaves
/// it running, and its process id there.
#[derive(Debug)]
struct Broken(&'static str);

impl Broken {
    fn detaches(&self) -> bool {
        self.0.contains("$pid")
    }
}

fn pid_file(site: &Site) -> PathBuf {
    site.dir().join("payload.pid")
}

impl Contender for Broken {
    fn description(&self) -> Description<'_> {
        Description { name: "broken", ..Description::default() }
    }
    fn probe(&mut self, _: &Surroundings) -> Result<Found, Missing> {
        Ok(Found { version: "-".into(), accel: Accel::Native, not_expressed: Vec::new() })
    }
    fn launch(&mut self, _: &Site, _: &Start) -> Result<Launch> {
        anyhow::bail!("started with a network only")
    }
    fn wiring(&self) -> Wiring {
        Wiring::Namespace
    }
    fn launch_linked(&mut self, site: &Site, start: &Start, link: &Link) -> Result<Launch> {
        let namespace = format!("--net={}", link.namespace()?.display());
        let payload = site.payload().to_string_lossy().into_owned();
        let words =
            ["/usr/bin/nsenter", &namespace, "sh", "-c", self.0, &payload, &start.nonce, &link.connect()];
        let argv = words.map(str::to_owned).to_vec();
        let pid = pid_file(site).to_string_lossy().into_owned();
        let env = [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("pid", &pid)];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Ok(Launch::Command { argv, env, overlay: None, dies_with_parent: false })
    }
    fn command(&mut self, _: &Site) -> Vec<String> {
        Vec::new()
    }
    fn pid_file(&self, site: &Site, _: &Start) -> Option<PathBuf> {
        self.detaches().then(|| pid_file(site))
    }
    fn deadline(&self) -> Duration {
        Duration::from_secs(2)
    }
}

#[test]
fn a_box_that_is_not_reached_has_failed_and_is_taken_away() {
    if !common::root() {
        return;
    }
    if !Path::new("/usr/bin/nsenter").exists()
        || !["/sbin/ip", "/usr/sbin/ip"].iter().any(|it| Path::new(it).exists())
    {
        return common::skip("ip", "nsenter or ip is missing");
    }
    let mut ground = ground();
    let whole = Broken("exec $0 $1 $2");
    let down = Broken("ip link set eth0 down && exec $0 $1 $2");
    let silent = Broken("exec $0 $1");
    let foreign = Broken(
        "ip address add 198.18.200.1/15 dev eth0 && ip address del $(ip -o -4 address show dev eth0 | awk '{print $4; exit}') dev eth0; ip address add 198.18.200.1/15 dev eth0; exec $0 $1 $2",
    );
    let cases = [
        (whole, None),
        (down, Some((Failure::WrongAnswer, "ERR connect errno 101"))),
        (silent, Some((Failure::Timeout, "nothing over the network"))),
        (foreign, Some((Failure::WrongAnswer, "198.18.200.1:"))),
    ];
    for (mut broken, expected) in cases {
        let link = link_for(&ground.bridge, &ground.lab, &ground.site, &broken);
        let mut linked = Linked::new(&mut broken, link);
        match (ground.lab.start_alive(&mut linked, &ground.site, None), expected) {
            (Ok(instance), None) => {
                ground.lab.stop(&mut linked, &ground.site, instance).teardown_ns.unwrap();
            }
            (Err(failed), Some((failure, words))) => {
                assert_eq!(failed.failure, failure, "{failed:?}");
                assert!(failed.detail.contains(words), "{failed:?}");
            }
            (other, expected) => panic!("{other:?}, where {expected:?} was expected"),
        }
        ground.nothing_is_left();
    }
    ground.site.remove().unwrap();
}

#[test]
fn each_round_has_every_box_without_and_with_a_network() {
    if !common::root() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let args = ["network", "--only", "process,tare-lib,tare-pool,docker", "--rounds", "3"];
    let output = finish(&mut common::tare(out.path(), &args));
    let document = document(out.path());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(common::left_of(&document.run.id), Vec::<std::path::PathBuf>::new());
    let census = document.run.census.as_ref().unwrap();
    assert_eq!(census.after.links, census.before.links);
    for name in ["process", "tare-pool", "docker"] {
        assert_eq!(row(&document, name).status, Status::Skipped, "{name}");
        assert_eq!(samples(&document, name, "ready").len(), 0, "{name}");
    }
    let reasons = &document.run.left_out;
    for name in ["tare-pool", "docker"] {
        let line = format!("measure network of {name}: ");
        assert!(reasons.iter().any(|it| it.starts_with(&line)), "{name}: {reasons:?}");
    }
    let of = |quantity: &str, network: &str| {
        let wanted = |it: &&tare_reports::document::Series| {
            it.contender == "tare-lib"
                && it.quantity == quantity
                && it.parameters.network.as_deref() == Some(network)
                && it.parameters.aa.is_none()
        };
        document.series.iter().find(wanted).map_or(0, |it| it.samples.len())
    };
    assert_eq!((of("ready", "none"), of("ready", "bridge")), (3, 3));
    assert_eq!((of("reachable", "none"), of("reachable", "bridge")), (0, 3));
    assert_eq!(values(&document, "tare-lib", "reachable").len(), 3);
}

#[test]
fn a_client_that_stays_on_for_a_while_is_not_in_the_figures() {
    if !common::root() {
        return;
    }
    let mut ground = ground();
    // `&` takes standard input away, unless it is said where it comes from.
    let mut lingering = Broken("exec 3<&0; $0 $1 $2 <&3 3<&- & echo $! > $pid; exec 3<&-; sleep 0.6");
    let link = link_for(&ground.bridge, &ground.lab, &ground.site, &lingering);
    let mut linked = Linked::new(&mut lingering, link);
    let began = std::time::Instant::now();
    let instance = ground.lab.start_alive(&mut linked, &ground.site, None).unwrap();
    assert!(began.elapsed() > Duration::from_millis(600), "the lab did wait for the client");
    let after_ready = instance.reached.expect("reached").ns - instance.ready_ns;
    assert!(after_ready < 300_000_000, "but not inside the clock: {after_ready} ns");
    ground.lab.stop(&mut linked, &ground.site, instance).teardown_ns.unwrap();
    ground.nothing_is_left();
    ground.site.remove().unwrap();
}
