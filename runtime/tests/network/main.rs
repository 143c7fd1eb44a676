//! Networks on the real kernel: who reaches whom, through what, and that nothing of it is left.

#[path = "../common/mod.rs"]
mod common;
mod killed;
mod kinds;
mod many;
mod outside;
mod proxy;
mod web;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use serde_json::Value;
use tare_runtime::network::netlink::{Netlink, Request};

use common::{Lab, entries, stderr, stdout};

/// Runs a test in a network namespace of its own, where it is the host: what it makes there nobody else sees, and goes
/// with it.
fn apart(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let alone = scope.spawn(|| {
            if nix::unistd::geteuid().is_root() {
                unshare(CloneFlags::CLONE_NEWNET).expect("unshare");
                Netlink::open().expect("netlink").ask(&Request::up_by_name("lo")).expect("lo up");
            }
            test();
        });
        alone.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// What a network leaves traces in, in the namespace of the calling thread.
#[derive(Debug, PartialEq, Eq)]
struct Census {
    links: BTreeSet<String>,
    rules: BTreeSet<String>,
    tables: String,
    mounts: String,
    files: Vec<PathBuf>,
    proxies: Vec<String>,
}

impl Census {
    fn take(lab: &Lab) -> Self {
        let links = Netlink::open().expect("netlink").links().expect("links");
        // Only ours: others test on this host at the same time.
        let own = |name: &String| !name.starts_with("tare-") || name.starts_with(&bridge(lab));
        let nft = Command::new("nft").args(["list", "tables"]).output();
        let tables =
            nft.map_or_else(|_| String::new(), |it| String::from_utf8_lossy(&it.stdout).into_owned());
        let rules = Command::new("/bin/busybox").args(["ip", "rule", "list"]).output().expect("busybox");
        // Some name the bridge, some its net; where nobody else is, all are ours.
        let whose = |path: &str| fs::read_link(path).expect("namespace");
        let alone = whose("/proc/thread-self/ns/net") != whose("/proc/self/ns/net");
        let rules = stdout(&rules);
        let rules = rules.lines().filter(|line| alone || line.contains(&bridge(lab)));
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo");
        let files = entries(&lab.root()).into_iter().filter(|path| !path.ends_with(".volumes")).collect();
        Self {
            links: links.into_iter().map(|link| link.name).filter(own).collect(),
            rules: rules.map(str::to_owned).collect(),
            tables: tables.lines().filter(|line| line.contains(&bridge(lab))).collect(),
            mounts: mounts.lines().filter(|line| line.contains(&lab.path().display().to_string())).collect(),
            files,
            // Of this laboratory, and not of one whose number only begins like its.
            proxies: processes(&format!("proxy {}", unique(lab, ""))),
        }
    }
}

/// Of this laboratory; without a state directory there was none yet.
fn bridge(lab: &Lab) -> String {
    use std::os::unix::fs::MetadataExt;
    fs::create_dir_all(lab.root()).expect("mkdir");
    fs::set_permissions(lab.root(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("chmod");
    let found = fs::metadata(lab.root()).expect("state directory");
    let name = format!("{}:{}", found.dev(), found.ino());
    let sum =
        Command::new("sh").args(["-c", "printf %s \"$1\" | sha256sum", "-", &name]).output().expect("sh");
    format!("tare-{}", &String::from_utf8_lossy(&sum.stdout)[..6])
}

/// Command lines that hold these words.
fn processes(words: &str) -> Vec<String> {
    let all = entries(Path::new("/proc")).into_iter().filter_map(|path| fs::read(path.join("cmdline")).ok());
    let lines = all.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(words)).collect()
}

/// A name that no other test's box has.
fn unique(lab: &Lab, name: &str) -> String {
    format!("{}-{name}", lab.parent.trim_start_matches('/'))
}

/// Starts a box in the background, which must succeed.
fn start(lab: &Lab, options: &[&str], id: &str, script: &str) {
    let mut run = lab.command(&["run", "-d", "--cgroup-parent", &lab.parent, "--rootfs"]);
    run.arg(lab.image()).args(options).args([id, "--", "sh", "-c", script]);
    let errors = lab.path().join(format!("{id}.errors"));
    let file = fs::File::create(&errors).expect("create");
    let status = run.stdout(Stdio::null()).stderr(file).status().expect("it starts");
    assert!(status.success(), "{options:?}: {}", fs::read_to_string(&errors).expect("errors"));
}

fn state(lab: &Lab, id: &str) -> Value {
    let shown = lab.command(&["state", id]).output().expect("state");
    serde_json::from_slice(&shown.stdout).unwrap_or_else(|error| panic!("{id}: {error}: {}", stderr(&shown)))
}

fn address(lab: &Lab, id: &str) -> Ipv4Addr {
    state(lab, id)["network"]["address"].as_str().expect("address").parse().expect("address")
}

fn port(lab: &Lab, id: &str) -> u16 {
    state(lab, id)["network"]["published"][0]["host"].as_u64().expect("port") as u16
}

fn delete(lab: &Lab, id: &str) {
    let deleted = lab.command(&["delete", "--force", id]).output().expect("delete");
    assert!(deleted.status.success() && deleted.stderr.is_empty(), "{deleted:?}");
}

/// A connection, as soon as somebody accepts it.
fn reach(to: impl Into<SocketAddrV4>) -> TcpStream {
    let (to, deadline) = (to.into(), Instant::now() + Duration::from_secs(20));
    loop {
        match TcpStream::connect_timeout(&to.into(), Duration::from_secs(5)) {
            Ok(stream) => {
                stream.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
                return stream;
            }
            Err(error) => assert!(Instant::now() < deadline, "{to}: {error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What a web server says, as soon as it says anything.
fn get(host: Ipv4Addr, port: u16, path: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let mut answer = String::new();
        let mut stream = reach(SocketAddrV4::new(host, port));
        let said =
            write!(stream, "GET {path} HTTP/1.0\r\n\r\n").and_then(|()| stream.read_to_string(&mut answer));
        // A proxy accepts before its box's server does.
        if said.is_ok() && !answer.is_empty() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{host}:{port}: nothing but {said:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The same from within a box with these options. Not wget's own -T, with which Debian's static busybox crashes; and
/// not as process 1, which no signal of its own namespace ends.
fn get_from_a_box(lab: &Lab, options: &[&str], seconds: u32, url: &str) -> Output {
    let script = format!("timeout {seconds} wget -qO- {url}; exit $?");
    lab.run_with(options, &unique(lab, "other"), &["sh", "-c", &script])
}
