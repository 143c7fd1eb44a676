//! Many boxes at once, and two state directories side by side: nobody gets what is another's.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::process::Stdio;

use tare_runtime::network::netlink::{Netlink, Request};

use crate::common::{Lab, stderr, stdout};
use crate::{Census, address, apart, bridge, delete, get, start, state, unique};

#[test]
fn twenty_that_start_at_once_have_twenty_addresses_and_end_at_once() {
    apart(|| {
        let Some(lab) = Lab::new() else { return };
        let before = Census::take(&lab);
        let ids: Vec<String> = (0..20).map(|number| unique(&lab, &number.to_string())).collect();
        let all = |arguments: &dyn Fn(&str) -> Vec<String>| {
            let running: Vec<_> = ids
                .iter()
                .map(|id| {
                    let mut command = lab.command(&[]);
                    command.args(arguments(id)).stdout(Stdio::null()).stderr(Stdio::null());
                    command.spawn().expect("it starts")
                })
                .collect();
            for mut child in running {
                assert!(child.wait().expect("wait").success());
            }
        };
        let image = lab.image().display().to_string();
        let words = |text: &str| text.split(' ').map(str::to_owned).collect();
        all(&|id| {
            words(&format!(
                "run -d --network bridge --cgroup-parent {} --rootfs {image} {id} -- sleep 1000",
                lab.parent
            ))
        });
        let addresses: BTreeSet<Ipv4Addr> = ids.iter().map(|id| address(&lab, id)).collect();
        assert_eq!(addresses.len(), 20);
        let links = Census::take(&lab).links;
        assert_eq!(links.len(), before.links.len() + 21, "a bridge and twenty cables: {links:?}");
        all(&|id| words(&format!("delete --force {id}")));
        assert_eq!(Census::take(&lab), before);
    });
}

#[test]
fn two_state_directories_have_two_bridges_and_neither_removes_the_others() {
    apart(|| {
        let (Some(one), Some(two)) = (Lab::new(), Lab::new()) else { return };
        let server = "mkdir /www; exec httpd -f -p 80 -h /www";
        let (first, second) = (unique(&one, "a"), unique(&two, "b"));
        start(&one, &["--network", "bridge"], &first, server);
        start(&two, &["--network", "bridge"], &second, server);
        let network = |lab, id| state(lab, id)["network"].clone();
        let (a, b) = (network(&one, &first), network(&two, &second));
        assert!(a["bridge"] != b["bridge"] && a["subnet"] != b["subnet"], "{a} {b}");
        delete(&one, &first);
        assert!(get(address(&two, &second), 80, "/").contains("404"));
        delete(&two, &second);
        let left = Netlink::open().expect("netlink").links().expect("links");
        assert!(left.iter().all(|link| !link.name.starts_with("tare-")), "{left:?}");
    });
}

/// A bridge of somebody else's with this address.
fn somebody_elses(address: [u8; 4], prefix: u8) {
    let netlink = Netlink::open().expect("netlink");
    netlink.ask(&Request::bridge("foreign", [2, 0, 0, 0, 0, 9], None)).expect("bridge");
    let index = nix::net::if_::if_nametoindex("foreign").expect("index");
    netlink.ask(&Request::address(index, address.into(), prefix)).expect("address");
}

#[test]
fn a_net_that_the_host_reaches_otherwise_is_refused_and_avoided() {
    apart(|| {
        let Some(lab) = Lab::new() else { return };
        let before = Census::take(&lab);
        somebody_elses([10, 9, 8, 1], 24);
        let run = |options: &[&str]| {
            let options = [&["--network", "bridge"][..], options].concat();
            lab.run_with(&options, &unique(&lab, "box"), &["ip", "addr", "show", "eth0"])
        };
        let refused = run(&["--subnet", "10.9.0.0/16"]);
        let said = stderr(&refused);
        assert!(
            said.contains("subnet: 10.9.0.0/16: the host has a route to 10.9.8.") && said.contains(" by "),
            "{said}"
        );
        assert!(stdout(&run(&["--subnet", "10.9.9.0/24"])).contains("10.9.9.2/24"));
        // All of ours are taken but one.
        let netlink = Netlink::open().expect("netlink");
        let index = nix::net::if_::if_nametoindex("foreign").expect("index");
        for net in 0..16_u32 {
            for (low, prefix) in [(0_u32, 17_u8), (128, 18), (192, 19), (224, 20), (240, 21), (248, 22)] {
                let address = Ipv4Addr::from(0x0ad0_0001 | net << 16 | low << 8);
                netlink.ask(&Request::address(index, address, prefix)).expect("address");
            }
        }
        netlink.ask(&Request::up(index)).expect("up");
        let free: Vec<Ipv4Addr> = (0..16).map(|net| [10, 208 + net, 252, 2].into()).collect();
        let seen = stdout(&run(&[]));
        assert!(free.iter().any(|address| seen.contains(&format!("{address}/22"))), "{seen}");
        netlink.ask(&Request::address(index, [10, 208, 0, 2].into(), 12)).expect("address");
        let said = stderr(&run(&[]));
        assert!(said.contains("the host has routes to all nets of 10.208.0.0/12"), "{said}");
        netlink.ask(&Request::delete("foreign")).expect("delete");
        assert_eq!(Census::take(&lab), before);
    });
}

#[test]
fn another_net_than_the_boxes_have_is_refused() {
    apart(|| {
        let Some(lab) = Lab::new() else { return };
        let (first, second) = (unique(&lab, "a"), unique(&lab, "b"));
        start(&lab, &["--network", "bridge", "--subnet", "10.97.0.0/24"], &first, "sleep 1000");
        let refused = lab.run_with(&["--network", "bridge", "--subnet", "10.98.0.0/24"], &second, &["true"]);
        let said = stderr(&refused);
        assert!(said.contains("10.98.0.0/24: boxes have addresses in 10.97.0.0/24 already"), "{said}");
        let same = lab.run_with(&["--network", "bridge", "--subnet", "10.97.0.0/24"], &second, &["true"]);
        assert!(same.status.success(), "{same:?}");
        delete(&lab, &first);
    });
}

/// As after the host's start, where the state directory is on a disk: its files are there, and nothing of the kernel's.
#[test]
fn a_bridge_that_somebody_took_away_is_made_again_for_the_boxes_that_have_addresses() {
    apart(|| {
        let Some(lab) = Lab::new() else { return };
        let before = Census::take(&lab);
        let (first, second) = (unique(&lab, "a"), unique(&lab, "b"));
        start(&lab, &["--network", "bridge", "--subnet", "10.97.0.0/24"], &first, "sleep 1000");
        let netlink = Netlink::open().expect("netlink");
        netlink.ask(&Request::delete(&bridge(&lab))).expect("delete");
        start(&lab, &["--network", "bridge"], &second, "sleep 1000");
        assert_eq!(address(&lab, &second), Ipv4Addr::new(10, 97, 0, 3));
        netlink.ask(&Request::delete(&bridge(&lab))).expect("delete");
        somebody_elses([10, 97, 0, 9], 24);
        let refused = lab.run_with(&["--network", "bridge"], &unique(&lab, "c"), &["true"]);
        let said = stderr(&refused);
        assert!(
            said.contains("boxes have addresses in 10.97.0.0/24, and by now the host has a route"),
            "{said}"
        );
        netlink.ask(&Request::delete("foreign")).expect("delete");
        for id in [&first, &second] {
            delete(&lab, id);
        }
        assert_eq!(Census::take(&lab), before);
    });
}
