//! The other kinds of network: nobody, and the host's own.

use tare_runtime::network::netlink::{Netlink, Request};

use crate::common::{Lab, skip, stderr, stdout};
use crate::{apart, bridge, delete, start, unique};

#[test]
fn with_none_there_is_loopback_and_with_host_all_that_the_host_has() {
    apart(|| {
        let Some(lab) = Lab::new() else { return };
        let netlink = Netlink::open().expect("netlink");
        netlink.ask(&Request::bridge("marker0", [2, 0, 0, 0, 0, 9], None)).expect("bridge");
        let look = "ip -o link | wc -l; cat /sys/class/net/marker0/mtu; echo 1400 > /sys/class/net/lo/mtu";
        let run = |kind: &str| lab.run_with(&["--network", kind], "look", &["sh", "-c", look]);
        let (none, host) = (run("none"), run("host"));
        assert!(stdout(&none).starts_with("1\n") && stderr(&none).contains("marker0"), "{none:?}");
        let seen = stdout(&host);
        assert!(seen.ends_with("\n1500\n") && !seen.starts_with("1\n"), "{host:?}");
        for output in [none, host] {
            assert!(stderr(&output).contains("Read-only file system"), "/sys is writable: {output:?}");
        }
    });
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_made() {
    let Some(lab) = Lab::new() else { return };
    for (options, words) in [
        (&["-p", "80:80"][..], "--publish has a meaning only with --network bridge"),
        (&["--network", "bridge", "-p", "53:53/udp"][..], "no UDP"),
        (&["--network", "bridge", "--until", "mount"][..], "leave out --until"),
        (&["--network", "bridge", "-p", "80:80", "-p", "80:81"][..], "127.0.0.1:80 is to lead to port 81"),
        (&["--network", "bridge", "-p", "192.0.2.77:0:80"][..], "192.0.2.77 is no address of this host"),
    ] {
        let refused = lab.run_with(options, "box", &["true"]);
        assert!(!refused.status.success() && stderr(&refused).contains(words), "{options:?}: {refused:?}");
        assert!(lab.leftovers().is_empty(), "{options:?}: {:?}", lab.leftovers());
    }
}

#[test]
fn the_proxy_is_nothing_for_who_calls_it_by_hand() {
    let Some(lab) = Lab::new() else { return };
    let program = lab.command(&[]).get_program().to_owned();
    for words in [&["proxy"][..], &["proxy", "box", "10.0.0.2:80"], &["proxy", "box", "x"]] {
        let output = std::process::Command::new(&program)
            .args(words)
            .stdin(std::process::Stdio::null())
            .output()
            .expect("it starts");
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(stderr(&output).contains("is started by `run --publish`, not by hand"), "{output:?}");
    }
}

/// A box may send what it likes on its wire, and who announces himself there as a router becomes the host's way to all of
/// version 6.
#[test]
fn the_host_has_no_ear_for_routers_on_the_bridge() {
    apart(|| {
        let Some(lab) = Lab::new() else { return };
        let id = unique(&lab, "box");
        start(&lab, &["--network", "bridge"], &id, "sleep 1000");
        let own = format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", bridge(&lab));
        match std::fs::read_to_string(&own) {
            Ok(text) => assert_eq!(text, "1\n"),
            Err(error) => return skip("ipv6", &format!("{own}: {error}")),
        }
        let known = std::fs::read_to_string("/proc/thread-self/net/if_inet6").expect("if_inet6");
        assert!(!known.lines().any(|line| line.ends_with(&bridge(&lab))), "{known}");
        delete(&lab, &id);
    });
}
