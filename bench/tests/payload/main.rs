//! The payload as a process: what it says, byte by byte, how it ends, and what it weighs.

#[path = "../common/mod.rs"]
mod common;
mod process;
mod tree;
mod view;

use process::{DEADLINE, Payload, command, program};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;
use tare::payload::{PAYLOAD, sha256};

const SIGILL: i32 = 4;

#[test]
fn ready_is_its_first_act() {
    // Told by the kernel's own record: nothing but exec before the write.
    let traced =
        Command::new("strace").args(["-qq", "--"]).arg(program()).arg("n1").stdin(Stdio::null()).output();
    let Ok(output) = traced else {
        eprintln!("skipped: no strace on PATH; install it with ./scripts/setup");
        return;
    };
    assert_eq!(output.stdout, b"READY n1\n");
    let calls = String::from_utf8_lossy(&output.stderr);
    let mut calls = calls.lines();
    assert!(calls.next().is_some_and(|call| call.starts_with("execve(")));
    let first: Vec<_> = calls.next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(first.join(" "), r#"write(1, "READY n1\n", 9) = 9"#, "the first call of its own");
}

#[test]
fn the_answers_byte_by_byte() {
    let mut payload = Payload::ready();
    let nonce = "n".repeat(64);
    for (command, answer) in [
        ("ping abc", "PONG abc".to_owned()),
        (&format!("ping {nonce}"), format!("PONG {nonce}")),
        ("ping abc\r", "PONG abc".to_owned()),
        ("touch 8", "OK touch 8".to_owned()),
        ("touch 0", "OK touch 0".to_owned()),
        ("touch", "ERR touch an argument is missing".to_owned()),
        ("touch many", "ERR touch not a number of KiB".to_owned()),
        ("touch -1", "ERR touch not a number of KiB".to_owned()),
        ("touch 99999999999999999999999", "ERR touch not a number of KiB".to_owned()),
        ("burn 1", "OK burn 1".to_owned()),
        ("burn 0", "OK burn 0".to_owned()),
        ("burn", "ERR burn an argument is missing".to_owned()),
        ("burn hot", "ERR burn not a number of units".to_owned()),
        ("burn 99999999999", "ERR burn not a number of units".to_owned()),
        ("touch 1000000000000", "ERR touch the kernel refuses that much memory".to_owned()),
        ("ping", "ERR ping an argument is missing".to_owned()),
        (&format!("ping {nonce}n"), "ERR ping the nonce is not 1 to 64 visible ASCII characters".to_owned()),
        ("ping a b", "ERR ping the nonce is not 1 to 64 visible ASCII characters".to_owned()),
        ("self please", "ERR self takes no argument".to_owned()),
        ("exit 256", "ERR exit the code is not 0 to 255".to_owned()),
        ("exit now", "ERR exit the code is not 0 to 255".to_owned()),
        ("fly", "ERR fly unknown command".to_owned()),
        ("", "ERR - unknown command".to_owned()),
        (" ping abc", "ERR - unknown command".to_owned()),
        ("PING abc", "ERR PING unknown command".to_owned()),
    ] {
        assert_eq!(payload.ask(command), answer, "{command:?}");
    }
}

#[test]
fn it_says_its_nonce_over_the_network_once_and_after_ready() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address");
    let mut payload = Payload::start(&["n1", &format!("connect={address}")]);
    assert_eq!(payload.line(), "READY n1");
    let (mut connection, _) = listener.accept().expect("a connection");
    let mut said = String::new();
    connection.read_to_string(&mut said).expect("read to the end");
    assert_eq!(said, "n1\n");
    assert_eq!(payload.ask("ping n2"), "PONG n2");
    listener.set_nonblocking(true).expect("non-blocking");
    assert!(listener.accept().is_err(), "once");
    // Nobody listens there now.
    drop(listener);
    let mut payload = Payload::start(&["n1", &format!("connect={address}")]);
    assert_eq!((payload.line(), payload.line()), ("READY n1".into(), "ERR connect errno 111".into()));
    assert_eq!(payload.ask("ping n2"), "PONG n2");
}

#[test]
fn wrong_arguments_are_refused_before_ready() {
    let long = "x".repeat(65);
    let few = [
        &[][..],
        &[""],
        &[&long],
        &["a b"],
        &["n1", "what"],
        &["n1", "machine="],
        &["n1", "machine=../tty"],
        &["n1", "off=bochs"],
    ];
    let addresses = [
        "connect=",
        "connect=1.2.3.4",
        "connect=1.2.3:4",
        "connect=1.2.3.4.5:6",
        "connect=1.2.3.256:7",
        "connect=1.2.3.4:65536",
        "connect=a.b.c.d:1",
        "address=1.2.3.4",
        "address=1.2.3.4/0",
        "address=1.2.3.4/33",
        "address=1.2.3.4/24",
    ];
    let addresses = addresses.map(|it| vec!["n1", it]);
    for arguments in few.into_iter().chain(addresses.iter().map(Vec::as_slice)) {
        let mut payload = Payload::start(arguments);
        payload.close();
        assert_eq!(payload.wait().code(), Some(2), "{arguments:?}");
        assert!(payload.output.recv_timeout(DEADLINE).is_err(), "{arguments:?}: said nothing on its channel");
        let mut reason = String::new();
        payload.child.stderr.take().expect("a pipe").read_to_string(&mut reason).expect("read");
        assert!(reason.starts_with("payload: ") && reason.ends_with('\n'), "{reason:?}");
    }
}

#[test]
fn lines_come_in_any_pieces() {
    let mut payload = Payload::ready();
    for byte in b"ping slow\n" {
        payload.send(&[*byte]);
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(payload.line(), "PONG slow");
    payload.send(b"ping a\nping b\nping c\npi");
    assert_eq!([payload.line(), payload.line(), payload.line()], ["PONG a", "PONG b", "PONG c"]);
    payload.send(b"ng d\n");
    assert_eq!(payload.line(), "PONG d");
}

#[test]
fn a_line_that_is_too_long_costs_one_error() {
    let mut payload = Payload::ready();
    for (length, answer) in [
        (4096, "ERR - unknown command"),
        (4097, "ERR - the line is longer than 4096 bytes"),
        (4098, "ERR - the line is longer than 4096 bytes"),
        (4099, "ERR - the line is longer than 4096 bytes"),
        (8196, "ERR - the line is longer than 4096 bytes"),
        (50_000, "ERR - the line is longer than 4096 bytes"),
    ] {
        payload.send(&vec![b'x'; length]);
        payload.send(b"\nping on\n");
        assert_eq!((payload.line().as_str(), payload.line().as_str()), (answer, "PONG on"), "{length}");
    }
}

#[test]
fn garbage_is_answered_line_by_line() {
    let mut payload = Payload::ready();
    // A fixed sequence (xorshift) of every byte but the line's end.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..200 {
        let mut line = Vec::new();
        for _ in 0..(round * 13) % 700 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            line.push(match state as u8 {
                b'\n' => 0,
                byte => byte,
            });
        }
        line.push(b'\n');
        payload.send(&line);
        let answer = payload.line();
        assert!(answer.starts_with("ERR "), "{answer:?}");
        assert!(answer.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{answer:?}");
    }
    assert_eq!(payload.ask("ping alive"), "PONG alive");
}

#[test]
fn fifos_in_a_directory_are_its_channel_where_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut channel = tare::channel::Channel::fifos(dir.path()).unwrap();
    let place = format!("channel={}", dir.path().display());
    let mut child = process::command(&["n1", &place]).stdin(std::process::Stdio::null()).spawn().unwrap();
    assert!(matches!(channel.read().unwrap(), tare::channel::Read::Line(line) if line.text == "READY n1"));
    channel.send("ping x").unwrap();
    let mut channel = channel.of_an_open_box();
    assert!(matches!(channel.read().unwrap(), tare::channel::Read::Line(line) if line.text == "PONG x"));
    channel.close_input();
    assert!(child.wait().unwrap().success(), "the end of its input is its end");
    assert_eq!(channel.read().unwrap(), tare::channel::Read::End);
    for wrong in ["channel=relative", "channel=/nowhere"] {
        let output = process::command(&["n1", wrong]).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]), "{wrong}");
    }
}

#[test]
fn a_non_blocking_channel_is_waited_for() {
    // O_NONBLOCK belongs to the open file, so a parent that uses it hands it on.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    nix::fcntl::fcntl(&reader, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).expect("set");
    let mut command = command(&["n1"]);
    command.stdin(reader);
    let mut payload = Payload::spawn(command);
    assert_eq!(payload.line(), "READY n1");
    thread::sleep(Duration::from_millis(50));
    let mut writer = writer;
    writer.write_all(b"ping late\n").expect("sent");
    assert_eq!(payload.line(), "PONG late");
    drop(writer);
    assert_eq!(payload.wait().code(), Some(0));
}

#[test]
fn it_ends_as_it_is_told() {
    let mut payload = Payload::ready();
    assert_eq!(payload.ask("exit"), "OK exit 0");
    assert_eq!(payload.wait().code(), Some(0));

    let mut payload = Payload::ready();
    assert_eq!(payload.ask("exit 37"), "OK exit 37");
    assert_eq!(payload.wait().code(), Some(37));

    let mut payload = Payload::ready();
    payload.close();
    assert_eq!(payload.wait().code(), Some(0), "end of input");

    let mut payload = Payload::ready();
    payload.send(b"exit 9");
    payload.close();
    assert_eq!(payload.wait().code(), Some(0), "half a command is none");

    let mut payload = Payload::ready();
    payload.send(b"crash\n");
    assert_eq!(payload.wait().signal(), Some(SIGILL));
}

#[test]
fn it_ends_when_nobody_reads() {
    // The reading end is gone before the first word: SIGPIPE ends it, or EPIPE where that is ignored.
    let mut command = command(&["n1"]);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    command.stdout(writer);
    drop(reader);
    let mut child = command.spawn().expect("the payload starts");
    drop(command);
    let status = child.wait().expect("waited");
    assert!(!status.success(), "{status}");
}

#[test]
fn hang_ignores_everything() {
    let mut payload = Payload::ready();
    payload.send(b"hang\nping x\n");
    payload.close();
    assert!(payload.output.recv_timeout(Duration::from_millis(300)).is_err(), "no answer");
    assert!(payload.child.try_wait().expect("waited").is_none(), "still there");
}

#[test]
fn it_weighs_at_most_64_kib() {
    let mut payload = Payload::ready();
    assert_eq!(payload.ask("ping 1"), "PONG 1");
    let rss = payload.kib("Rss:");
    assert!((1..=64).contains(&rss), "{rss} KiB right after READY and a ping");
    // Nothing grows: no heap.
    for _ in 0..3 {
        payload.describe();
        assert_eq!(payload.ask("nothing"), "ERR nothing unknown command");
    }
    let rss = payload.kib("Rss:");
    assert!((1..=64).contains(&rss), "{rss} KiB after all of its code ran");
    let maps = fs::read_to_string(format!("/proc/{}/maps", payload.child.id())).expect("maps");
    assert!(!maps.contains("[heap]") && !maps.contains(".so"), "{maps}");
}

#[test]
fn touch_dirties_what_it_is_told() {
    let mut payload = Payload::ready();
    let before = payload.kib("Private_Dirty:");
    assert_eq!(payload.ask("touch 4096"), "OK touch 4096");
    let once = payload.kib("Private_Dirty:") - before;
    assert!((4096..4096 + 32).contains(&once), "{once} KiB for 4096");
    assert_eq!(payload.ask("touch 1000"), "OK touch 1000");
    let both = payload.kib("Private_Dirty:") - before;
    assert!((5096..5096 + 32).contains(&both), "{both} KiB for 5096: more, not instead");
}

#[test]
fn the_program_is_static_and_small() {
    assert_eq!(&PAYLOAD[..4], b"\x7fELF");
    assert_eq!(PAYLOAD[16], 2, "ET_EXEC: fixed addresses, nothing to relocate");
    let headers = usize::from(PAYLOAD[56]);
    // Program headers of 56 bytes from offset 64; type 2 is PT_DYNAMIC, 3 is PT_INTERP.
    let types: Vec<u8> = (0..headers).map(|index| PAYLOAD[64 + 56 * index]).collect();
    assert!(!types.contains(&2) && !types.contains(&3), "{types:?}");
    assert!(PAYLOAD.len() <= 32 * 1024, "{} bytes", PAYLOAD.len());
    let sum = Command::new("sha256sum").arg(program()).output().expect("sha256sum runs");
    assert_eq!(String::from_utf8_lossy(&sum.stdout).split(' ').next(), Some(sha256().as_str()));
}
