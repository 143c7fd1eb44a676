//! The proxy: what goes through it comes out as it was, and it can do nothing else.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4};
use std::os::fd::AsFd;
use std::path::PathBuf;

use tare_runtime::network::{Network, OnBridge};

use crate::common::{Lab, entries};
use crate::{Census, apart, delete, get, port, reach, start, state, unique};

/// Bytes that no pattern hides a loss in.
fn noise(length: usize) -> Vec<u8> {
    let mut word = 0x9e37_79b9_7f4a_7c15_u64;
    let step = |_| {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        word.to_le_bytes()
    };
    (0..length / 8).flat_map(step).collect()
}

#[test]
fn thirty_megabytes_go_in_and_come_back_and_each_end_is_passed_on_alone() {
    apart(|| {
        let Some(lab) = Lab::new() else { return };
        let id = unique(&lab, "echo");
        // It answers only once the client has closed its half, so a proxy that closed both would lose all of it.
        let server = "nc -l -p 7 -e sh -c 'cat > /tmp/all; cat /tmp/all; echo end'";
        start(&lab, &["--network", "bridge", "-p", ":7"], &id, &format!("while :; do {server}; done"));
        let data = noise(30 << 20);
        let port = port(&lab, &id);
        // Until the box listens the proxy can only close what it was given.
        let mut back = Vec::new();
        while back.is_empty() {
            let mut stream = reach(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
            let sent = stream.write_all(&data).and_then(|()| stream.shutdown(Shutdown::Write));
            let answered = sent.and_then(|()| stream.read_to_end(&mut back));
            assert!(answered.is_ok() || back.is_empty(), "{answered:?} after {} bytes", back.len());
        }
        assert_eq!(back.len(), data.len() + 4);
        assert!(back.starts_with(&data) && back.ends_with(b"end\n"), "not what was sent");
        delete(&lab, &id);
    });
}

#[test]
fn it_has_no_right_no_user_no_file_and_no_way_to_any() {
    let Some(lab) = Lab::new() else { return };
    let id = unique(&lab, "bare");
    // A caller with an open file and a group, from which it must have neither.
    let inner = lab.command(&[]);
    let words: Vec<String> = inner.get_args().map(|it| it.to_string_lossy().into_owned()).collect();
    let mut caller = std::process::Command::new("sh");
    caller
        .args(["-c", "exec 9</etc/passwd; exec \"$@\"", "-"])
        .arg(inner.get_program())
        .args(words)
        .args(["run", "-d", "--network", "bridge", "-p", ":80", "--cgroup-parent", &lab.parent, "--rootfs"])
        .arg(lab.image())
        .args([&id, "--", "sleep", "1000"])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null());
    assert!(caller.status().expect("sh").success());
    let proxy = state(&lab, &id)["network"]["proxy"]["pid"].as_i64().expect("proxy");
    let path = PathBuf::from(format!("/proc/{proxy}"));
    let status = fs::read_to_string(path.join("status")).expect("status");
    let is = |name: &str, value: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        assert_eq!(line.split_whitespace().collect::<Vec<_>>().join(" "), value, "{name}\n{status}");
    };
    is("Uid:", "65534 65534 65534 65534");
    is("Gid:", "65534 65534 65534 65534");
    is("Groups:", "");
    for set in ["CapEff:", "CapPrm:", "CapInh:", "CapAmb:"] {
        is(set, "0000000000000000");
    }
    is("NoNewPrivs:", "1");
    is("Seccomp:", "2");
    let stat = fs::read_to_string(path.join("stat")).expect("stat");
    let session = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(3)).expect("session");
    assert_eq!(session, proxy.to_string(), "the caller's session");
    // All that it sees of the host's files is the list of its own.
    for name in ["root", "cwd"] {
        let seen = fs::read_link(path.join(name)).expect(name);
        assert_eq!(seen, path.join("fdinfo"), "{name}");
    }
    assert_eq!(fs::read(path.join("environ")).expect("environ"), b"");
    for fd in entries(&path.join("fd")) {
        let file = fs::read_link(&fd).expect("link").display().to_string();
        let known = file.starts_with("socket:") || file == "/dev/null" || file.contains("pidfd");
        assert!(known, "{} is {file}", fd.display());
    }
    delete(&lab, &id);
}

#[test]
fn where_few_files_may_be_open_clients_wait_and_none_is_turned_away() {
    apart(|| {
        let Some(lab) = Lab::new() else { return };
        let id = unique(&lab, "few");
        let rootfs = lab.image();
        let run =
            ["run", "-d", "--network", "bridge", "-p", ":80", "--cgroup-parent", &lab.parent, "--rootfs"];
        let run = lab.command(&run);
        let mut caller = std::process::Command::new("sh");
        caller.args(["-c", "ulimit -n 32; exec \"$@\"", "-"]).arg(run.get_program()).args(run.get_args());
        caller.arg(&rootfs).args([&id, "--", "httpd", "-f", "-p", "80", "-h", "/bin"]);
        let nothing = std::process::Stdio::null;
        let started = caller.stdin(nothing()).stdout(nothing()).stderr(nothing()).status().expect("sh");
        assert!(started.success(), "{started}");
        let (own, port) = (Ipv4Addr::LOCALHOST, port(&lab, &id));
        assert!(get(own, port, "/no-such").contains("404"));
        // More than there are descriptors for, at once.
        let clients: Vec<_> = (0..12).map(|_| reach(SocketAddrV4::new(own, port))).collect();
        for (number, mut client) in clients.into_iter().enumerate() {
            let mut answer = String::new();
            let asked = client.write_all(b"GET /no-such HTTP/1.0\r\n\r\n");
            let heard = asked.and_then(|()| client.read_to_string(&mut answer));
            assert!(answer.contains("404"), "client {number}: {heard:?}, {answer:?}");
        }
        delete(&lab, &id);
    });
}

/// A caller of the library has named a program that is none, and the box has run already.
#[test]
fn one_that_does_not_serve_is_told_of_and_nothing_is_left() {
    apart(|| {
        let Some(lab) = Lab::new() else { return };
        let before = Census::take(&lab);
        let id = unique(&lab, "deaf");
        let mut spec = lab.spec(&id, &["sleep", "1000"]);
        let publish = vec![":80".parse().expect("port")];
        spec.network = Network::Bridge(OnBridge { publish, ..OnBridge::default() });
        let null = fs::File::options().read(true).write(true).open("/dev/null").expect("/dev/null");
        let runtime = lab.runtime().with_program("/bin/false".into());
        let error = runtime.run(&spec, [null.as_fd(); 3]).expect_err("refused").to_string();
        assert!(error.starts_with(&format!("publish: the proxy of {id} ended at once: ")), "{error}");
        assert_eq!(Census::take(&lab), before);
    });
}
