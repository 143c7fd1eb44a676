//! A web server in a box, with a published port, a volume and an address, as somebody would run it.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;

use crate::common::{Lab, entries, stderr, stdout};
use crate::{Census, address, apart, delete, get, get_from_a_box, port, start, state, unique};

const SERVER: &str = "exec httpd -f -p 80 -h /www";

/// Whether any process is in this network namespace, or any mount keeps it.
fn is_used(namespace: &std::path::Path) -> bool {
    let mut processes = entries(std::path::Path::new("/proc")).into_iter();
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    processes.any(|path| fs::read_link(path.join("ns/net")).is_ok_and(|it| it == namespace))
        || mounts.contains(&namespace.display().to_string())
}

fn serves(lab: &Lab) {
    let web = unique(lab, "web");
    let before = Census::take(lab);
    let volume = lab.root().join(".volumes/site");
    fs::create_dir_all(&volume).expect("mkdir");
    fs::write(volume.join("index.html"), "kept outside\n").expect("write");
    start(lab, &["--network", "bridge", "-p", ":80", "-v", "site:/www:ro"], &web, SERVER);
    let shown = state(lab, &web);
    let network = &shown["network"];
    let (address, port) = (address(lab, &web), port(lab, &web));
    assert!(port > 0 && network["published"][0]["address"] == "127.0.0.1", "{network}");
    assert!(network["bridge"].as_str().is_some_and(|name| before.links.iter().all(|it| it != name)));
    let listed = stdout(&lab.command(&["list"]).output().expect("list"));
    assert!(listed.contains(&format!("{address} 127.0.0.1:{port}->80")), "{listed}");
    let listed = stdout(&lab.command(&["list", "--json"]).output().expect("list"));
    assert!(
        listed.contains(&format!("\"host\": {port}")) && listed.contains(&address.to_string()),
        "{listed}"
    );

    for (host, port) in [(Ipv4Addr::LOCALHOST, port), (address, 80)] {
        let answer = get(host, port, "/index.html");
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("kept outside\n"), "{answer}");
    }
    let url = format!("http://{address}/index.html");
    let from_a_box = get_from_a_box(lab, &["--network", "bridge"], 10, &url);
    assert_eq!(stdout(&from_a_box), "kept outside\n", "{from_a_box:?}");
    let without = get_from_a_box(lab, &[], 10, &url);
    assert!(!without.status.success(), "a box without a network reached one: {without:?}");

    // The other box has ended, and the bridge stays with this one.
    assert!(get(address, 80, "/index.html").ends_with("kept outside\n"));

    let namespace = fs::read_link(format!("/proc/{}/ns/net", shown["pid"])).expect("namespace");
    assert!(is_used(&namespace));
    delete(lab, &web);
    assert!(!is_used(&namespace));
    assert_eq!(Census::take(lab), before);
    assert!(volume.join("index.html").exists());
}

/// As a user would: on the host itself, at a port of the kernel's choice.
#[test]
fn on_the_host_itself_a_server_is_reached_and_leaves_nothing() {
    let Some(lab) = Lab::new() else { return };
    serves(&lab);
}

#[test]
fn where_nothing_else_is_a_server_is_reached_and_leaves_nothing() {
    apart(|| {
        let Some(lab) = Lab::new() else { return };
        serves(&lab);
    });
}

#[test]
fn a_published_port_of_all_addresses_is_reached_from_another_box() {
    apart(|| {
        let Some(lab) = Lab::new() else { return };
        let web = unique(&lab, "web");
        let server = format!("mkdir /www; echo hello > /www/index.html; {SERVER}");
        start(&lab, &["--network", "bridge", "-p", "0.0.0.0::80"], &web, &server);
        let gateway = state(&lab, &web)["network"]["gateway"].as_str().expect("gateway").to_owned();
        let port = port(&lab, &web);
        get(gateway.parse().expect("address"), port, "/");
        let url = format!("http://{gateway}:{port}/");
        let seen = get_from_a_box(&lab, &["--network", "bridge"], 10, &url);
        assert_eq!(stdout(&seen), "hello\n", "{seen:?}");
        delete(&lab, &web);
    });
}

#[test]
fn a_box_that_ends_by_itself_takes_its_proxy_along_and_delete_the_rest() {
    apart(|| {
        let Some(lab) = Lab::new() else { return };
        let web = unique(&lab, "web");
        let before = Census::take(&lab);
        start(&lab, &["--network", "bridge", "-p", ":80"], &web, "read line < /dev/null; sleep 0.2");
        let proxy = state(&lab, &web)["network"]["proxy"]["pid"].as_i64().expect("proxy") as i32;
        let ended = tare_runtime::sys::pidfd_open(proxy).expect("it runs");
        let mut ready =
            [nix::poll::PollFd::new(std::os::fd::AsFd::as_fd(&ended), nix::poll::PollFlags::POLLIN)];
        assert_eq!(nix::poll::poll(&mut ready, 20_000_u16), Ok(1), "the proxy outlives its box");
        let deleted = lab.command(&["delete", &web]).output().expect("delete");
        assert!(deleted.status.success(), "{deleted:?}");
        assert_eq!(Census::take(&lab), before);
    });
}

#[test]
fn in_the_foreground_the_network_goes_with_the_command() {
    apart(|| {
        let Some(lab) = Lab::new() else { return };
        let before = Census::take(&lab);
        let look = "ip addr show eth0; ip route; cat /sys/class/net/eth0/address";
        let seen = lab.run_with(
            &["--network", "bridge", "-p", ":80", "--subnet", "10.99.8.0/29"],
            &unique(&lab, "fore"),
            &["sh", "-c", look],
        );
        let text = stdout(&seen);
        for part in ["inet 10.99.8.2/29", "default via 10.99.8.1 dev eth0", "02:74:0a:63:08:02"] {
            assert!(text.contains(part), "{part}: {seen:?}");
        }
        assert_eq!(Census::take(&lab), before);
    });
}

#[test]
fn a_port_in_use_is_named_with_who_has_it_and_nothing_is_left() {
    let Some(lab) = Lab::new() else { return };
    let before = Census::take(&lab);
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen");
    let port = taken.local_addr().expect("address").port();
    let refused = lab.run_with(
        &["--network", "bridge", "-p", &format!("{port}:80")],
        &unique(&lab, "second"),
        &["true"],
    );
    let said = stderr(&refused);
    let expected = format!("publish: 127.0.0.1:{port} is in use by process {} (", std::process::id());
    assert!(!refused.status.success() && said.contains(&expected), "{said}");
    assert_eq!(Census::take(&lab), before);
}

#[test]
fn without_roots_rights_a_bridge_is_refused_with_the_reason() {
    let Some(lab) = Lab::new() else { return };
    let program = lab.path().join("tare-runtime");
    fs::copy(env!("CARGO_BIN_EXE_tare-runtime"), &program).expect("copy");
    let refused = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["--root", "/tmp/tare-nobody-has-none", "run", "--network", "bridge", "--rootfs"])
        .arg(lab.image())
        .args(["box", "--", "true"])
        .output()
        .expect("setpriv");
    let said = stderr(&refused);
    assert!(
        said.contains("network: a bridge is an interface of the host's, and only root may make one"),
        "{said}"
    );
    assert!(!std::path::Path::new("/tmp/tare-nobody-has-none").exists());
}
