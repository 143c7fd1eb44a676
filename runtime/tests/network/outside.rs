//! Who comes from outside, over a wire to a host that is this test's own: by the kernel's rules where the host passes
//! packets on, else by the proxy, and nowhere else.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use tare_runtime::network::netlink::{Netlink, Pair, Place, Request};

use crate::common::bundle::eventually;
use crate::common::{Lab, skip, stdout};
use crate::{Census, address, apart, delete, get, get_from_a_box, port, start, state, unique};

const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const STRANGER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

type Act = Box<dyn FnOnce() + Send>;

/// Somebody at the other end of a wire, in a network namespace of his own.
struct Stranger {
    acts: Option<Sender<Act>>,
    done: Receiver<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Stranger {
    fn new() -> Self {
        let (acts, to_do) = channel::<Act>();
        let (done, is_done) = channel();
        let (tell, namespace) = channel();
        let thread = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("unshare");
            tell.send(fs::File::open("/proc/thread-self/ns/net").expect("namespace")).expect("send");
            for act in to_do {
                let acted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
                done.send(acted.is_ok()).expect("send");
            }
        });
        let namespace = namespace.recv().expect("namespace");
        let netlink = Netlink::open().expect("netlink");
        // The wire is a port of nothing: a bridge with one port, which is the host's way out.
        netlink.ask(&Request::bridge("wire", [2, 0, 0, 0, 0, 9], None)).expect("bridge");
        let bridge = nix::net::if_::if_nametoindex("wire").expect("index");
        netlink.ask(&Request::address(bridge, HOST, 24)).expect("address");
        let place = Place::File(namespace.as_fd());
        let pair = Pair { outer: "plug", bridge, inner: "wire0", place, mac: None, mtu: None };
        netlink.ask(&Request::veth(&pair)).expect("veth");
        let stranger = Self { acts: Some(acts), done: is_done, thread: Some(thread) };
        stranger.acts(|| {
            let netlink = Netlink::open().expect("netlink");
            let index = nix::net::if_::if_nametoindex("wire0").expect("index");
            netlink.ask(&Request::address(index, STRANGER, 24)).expect("address");
            netlink.ask(&Request::up(index)).expect("up");
            // He thinks that the host leads to everybody, the boxes too.
            netlink.ask(&Request::default_route(HOST)).expect("route");
        });
        stranger
    }

    /// Does something where he is.
    fn acts(&self, act: impl FnOnce() + Send + 'static) {
        self.acts.as_ref().expect("not gone").send(Box::new(act)).expect("send");
        assert!(self.done.recv().expect("done"), "the stranger failed, see above");
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.acts = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A setting of this test's own network namespace, never the host's.
fn set(path: &str, on: bool) {
    let own = fs::read_link("/proc/thread-self/ns/net").expect("own");
    assert_ne!(own, fs::read_link("/proc/self/ns/net").expect("host's"), "this is the host");
    fs::write(path, if on { "1" } else { "0" }).expect(path);
}

/// Whether the host passes packets on.
fn let_pass(on: bool) {
    set("/proc/sys/net/ipv4/ip_forward", on);
}

fn nft(rules: &str) {
    let status = Command::new("nft").arg(rules).status().expect("nft");
    assert!(status.success(), "{rules}");
}

/// Somebody's rules, by which nothing passes through.
fn let_none_pass() {
    nft(
        "add table ip foreign; add chain ip foreign through { type filter hook forward priority 0; policy drop; }",
    );
}

fn has_nft() -> bool {
    let there = Command::new("nft").arg("-v").stdout(Stdio::null()).status().is_ok_and(|it| it.success());
    if !there {
        skip("root", "there is no nft (apt-get install nftables)");
    }
    there
}

/// A server that says who asks.
fn serve_who(lab: &Lab, id: &str) {
    let script = lab.image().join("www/cgi-bin/who");
    fs::create_dir_all(script.parent().expect("parent")).expect("mkdir");
    fs::write(&script, "#!/bin/sh\necho\necho \"asked by ${REMOTE_ADDR#*ffff:}\"\n").expect("write");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("chmod");
    start(lab, &["--network", "bridge", "-p", "0.0.0.0::80"], id, "exec httpd -f -p 80 -h /www");
}

/// A stranger, what there was before the box, and the box of such a server, to which the host's rules lead him.
fn led_in_by_rules(lab: &Lab) -> (Stranger, Census, String) {
    let stranger = Stranger::new();
    let_pass(true);
    let (before, id) = (Census::take(lab), unique(lab, "who"));
    serve_who(lab, &id);
    assert_eq!(state(lab, &id)["network"]["outside"], "nftables");
    (stranger, before, id)
}

fn asked_by(stranger: &Stranger, port: u16, who: Ipv4Addr) {
    stranger.acts(move || {
        let answer = get(HOST, port, "/cgi-bin/who");
        assert!(answer.contains(&format!("asked by {who}")), "{answer}");
    });
}

#[test]
fn where_the_host_passes_packets_on_a_server_sees_who_asks_and_nothing_else_comes_through() {
    apart(|| {
        let (Some(lab), Some(other)) = (Lab::new(), Lab::new()) else { return };
        if !has_nft() {
            return;
        }
        let (stranger, before, id) = led_in_by_rules(&lab);
        let network = state(&lab, &id)["network"].clone();
        let (address, port) = (address(&lab, &id), port(&lab, &id));
        asked_by(&stranger, port, STRANGER);
        // The host itself comes by the proxy, and so does another box, which asks the bridge's address.
        let gateway: Ipv4Addr = network["gateway"].as_str().expect("gateway").parse().expect("address");
        for own in [Ipv4Addr::LOCALHOST, HOST] {
            let answer = get(own, port, "/cgi-bin/who");
            assert!(answer.contains(&format!("asked by {gateway}")), "{answer}");
        }
        let url = format!("http://{HOST}:{port}/cgi-bin/who");
        for whose in [&lab, &other] {
            let seen = get_from_a_box(whose, &["--network", "bridge"], 10, &url);
            assert!(stdout(&seen).contains(&format!("asked by {gateway}")), "{seen:?}");
        }
        // Not by the box's own address, though the stranger knows a way there.
        stranger.acts(move || {
            let to = SocketAddrV4::new(address, 80).into();
            let refused = TcpStream::connect_timeout(&to, Duration::from_secs(1));
            assert!(refused.is_err(), "the stranger reached the box past its published port");
        });
        reaches_nobody(&lab, &stranger, &id);
        assert!(Census::take(&lab).tables.contains(&id_table(&network)));
        is_reached_by_nobody(&lab, &stranger, &id);
        // By somebody in whose PATH there is no nft.
        let deleted = lab.command(&["delete", "--force", &id]).env("PATH", "/usr/bin:/bin").output();
        assert!(deleted.as_ref().is_ok_and(|it| it.status.success()), "{deleted:?}");
        assert_eq!(Census::take(&lab), before);
    });
}

#[test]
fn where_somebody_loads_rules_of_his_own_the_wall_has_no_door_any_more() {
    apart(|| {
        let Some(lab) = Lab::new() else { return };
        if !has_nft() {
            return;
        }
        let (stranger, before, id) = led_in_by_rules(&lab);
        // As firewalls do when they start.
        nft("flush ruleset");
        reaches_nobody(&lab, &stranger, &id);
        is_reached_by_nobody(&lab, &stranger, &id);
        delete(&lab, &id);
        assert_eq!(Census::take(&lab), before);
    });
}

/// One of the numbers in a table of /proc/net/snmp: two lines for each protocol, names and numbers.
fn counted(table: &str, protocol: &str, name: &str) -> u64 {
    let mut lines = table.lines().filter_map(|line| line.strip_prefix(protocol));
    let mut fields = || lines.next().expect("a line").split_whitespace().collect::<Vec<_>>();
    let (names, numbers) = (fields(), fields());
    let at = names.iter().position(|it| *it == name).expect("a name");
    numbers[at].parse().expect("a number")
}

/// Nothing of the box's comes as far as the stranger, not even what asks for a connection.
fn reaches_nobody(lab: &Lab, stranger: &Stranger, id: &str) {
    let (tell, told) = channel();
    let segments = || {
        let tell = tell.clone();
        stranger.acts(move || {
            let table = fs::read_to_string("/proc/thread-self/net/snmp").expect("snmp");
            tell.send(counted(&table, "Tcp:", "InSegs")).expect("send");
        });
        told.recv().expect("a number")
    };
    let before = segments();
    let script = format!("timeout 1 wget -qO- http://{STRANGER}:9/; exit $?");
    let seen = lab.command(&["exec", id, "--", "sh", "-c", &script]).output().expect("exec");
    assert!(!seen.status.success(), "{seen:?}");
    assert_eq!(segments(), before, "a box reached the stranger");
    // The host does: the wire is there.
    TcpStream::connect((STRANGER, 9)).expect_err("nobody listens there");
    assert!(segments() > before, "the host does not reach the stranger");
}

/// How many datagrams have come to the box for ports at which nobody listens.
fn came(lab: &Lab, id: &str) -> u64 {
    let seen = lab.command(&["exec", id, "--", "cat", "/proc/net/snmp"]).output().expect("exec");
    counted(&stdout(&seen), "Udp:", "NoPorts")
}

/// What the stranger sends to the box's own address does not come there; what the host sends does.
fn is_reached_by_nobody(lab: &Lab, stranger: &Stranger, id: &str) {
    let (before, to) = (came(lab, id), SocketAddrV4::new(address(lab, id), 9));
    let send = move |count: u32| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("socket");
        for _ in 0..count {
            socket.send_to(b"hello", to).expect("send");
        }
    };
    stranger.acts(move || send(20));
    send(1);
    eventually("what the host has sent", || came(lab, id) > before);
    assert_eq!(came(lab, id), before + 1, "the stranger reached a port that is not published");
}

#[test]
fn though_the_host_passes_packets_on_sooner_or_later_no_box_reaches_beyond_it_nor_is_reached() {
    apart(|| {
        let Some(lab) = Lab::new() else { return };
        let stranger = Stranger::new();
        for sooner in [true, false] {
            let_pass(sooner);
            let (before, id) = (Census::take(&lab), unique(&lab, "box"));
            start(&lab, &["--network", "bridge"], &id, "sleep 1000");
            // Which reaches every interface that is there by then.
            let_pass(true);
            reaches_nobody(&lab, &stranger, &id);
            is_reached_by_nobody(&lab, &stranger, &id);
            delete(&lab, &id);
            assert_eq!(Census::take(&lab), before);
        }
    });
}

fn id_table(network: &serde_json::Value) -> String {
    format!("table ip {}", network["interface"].as_str().expect("interface"))
}

#[test]
fn the_next_start_builds_the_wall_again_that_somebody_took_down() {
    apart(|| {
        let Some(lab) = Lab::new() else { return };
        let (none, id) = (Census::take(&lab).rules, unique(&lab, "box"));
        start(&lab, &["--network", "bridge"], &id, "sleep 1000");
        let whole = Census::take(&lab).rules;
        assert_eq!(whole.len(), none.len() + 5, "{whole:?}");
        for number in 1000..1005 {
            let priority = number.to_string();
            let ip = Command::new("/bin/busybox").args(["ip", "rule", "del", "priority", &priority]).status();
            assert!(ip.is_ok_and(|it| it.success()), "there is no rule {number}");
        }
        assert_eq!(Census::take(&lab).rules, none);
        assert!(lab.run_with(&["--network", "bridge"], &unique(&lab, "next"), &["true"]).status.success());
        assert_eq!(Census::take(&lab).rules, whole);
        delete(&lab, &id);
    });
}

#[test]
fn where_it_passes_none_on_or_somebody_drops_them_the_proxy_does_it_and_says_why() {
    apart(|| {
        let Some(lab) = Lab::new() else { return };
        if !has_nft() {
            return;
        }
        let stranger = Stranger::new();
        let before = Census::take(&lab);
        for (passes, why) in [
            (false, "proxy: the host passes no packets on (net.ipv4.ip_forward is 0)"),
            (true, "proxy: chain through of table ip foreign drops what passes through"),
        ] {
            let_pass(passes);
            if passes {
                let_none_pass();
            }
            let id = unique(&lab, "who");
            serve_who(&lab, &id);
            let network = state(&lab, &id)["network"].clone();
            assert_eq!(network["outside"], why);
            let gateway = network["gateway"].as_str().expect("gateway").parse().expect("address");
            asked_by(&stranger, port(&lab, &id), gateway);
            delete(&lab, &id);
            assert_eq!(Census::take(&lab), before);
        }
    });
}

#[test]
fn rules_that_stand_between_boxes_are_told_of() {
    apart(|| {
        let Some(lab) = Lab::new() else { return };
        if !has_nft() {
            return;
        }
        let setting = "/proc/sys/net/bridge/bridge-nf-call-iptables";
        if !fs::exists(setting).unwrap_or(false) {
            return skip("bridge-netfilter", "this kernel lets no rule judge what passes through a bridge");
        }
        let_none_pass();
        for judged in [true, false] {
            // Of this namespace alone, in kernels that have it there.
            set(setting, judged);
            let seen = lab.run_with(&["--network", "bridge"], &unique(&lab, "box"), &["true"]);
            let warned = String::from_utf8_lossy(&seen.stderr).contains(
                "boxes may not reach each other: chain through of table ip foreign drops what passes through",
            );
            assert!(seen.status.success() && warned == judged, "{judged}: {seen:?}");
        }
    });
}
