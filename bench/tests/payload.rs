//! The payload as a process: what it says, byte by byte, how it ends, and what it weighs.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};
use tare::payload::{PAYLOAD, sha256};

const DEADLINE: Duration = Duration::from_secs(20);
const SIGILL: i32 = 4;

/// The payload in a file, named after its bytes: written once, before the first fork.
fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("payload-{}", &sha256()[..16]));
        let partial = path.with_extension(std::process::id().to_string());
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o700).open(&partial);
        file.as_mut().expect("a file").write_all(PAYLOAD).expect("written");
        drop(file);
        fs::set_permissions(&partial, Permissions::from_mode(0o755)).expect("executable");
        fs::rename(&partial, &path).expect("renamed");
        path
    })
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A running payload; killed and reaped at the latest when dropped.
struct Payload {
    child: Child,
    input: Option<ChildStdin>,
    output: Receiver<Vec<u8>>,
    pending: Vec<u8>,
}

impl Payload {
    fn start(arguments: &[&str]) -> Self {
        Self::spawn(command(arguments))
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the payload starts");
        let output = pump(child.stdout.take().expect("a pipe"));
        Self { input: child.stdin.take(), child, output, pending: Vec::new() }
    }

    /// `payload NONCE` that has said READY.
    fn ready() -> Self {
        let mut payload = Self::start(&["n1"]);
        assert_eq!(payload.line(), "READY n1");
        payload
    }

    fn send(&mut self, bytes: &[u8]) {
        self.input.as_mut().expect("open").write_all(bytes).expect("sent");
    }

    fn line(&mut self) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(end) = self.pending.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                return String::from_utf8(line[..end].to_vec()).expect("utf-8");
            }
            let left = deadline.saturating_duration_since(Instant::now());
            self.pending.extend(self.output.recv_timeout(left).expect("a line before the deadline"));
        }
    }

    fn ask(&mut self, command: &str) -> String {
        self.send(format!("{command}\n").as_bytes());
        self.line()
    }

    /// All lines of the answer to `self`, and that it ends as it should.
    fn describe(&mut self) -> Vec<String> {
        self.send(b"self\n");
        let mut lines = Vec::new();
        loop {
            match self.line() {
                line if line == "OK self" => return lines,
                line => {
                    assert!(line.starts_with("self "), "{line:?}");
                    lines.push(line["self ".len()..].to_owned());
                }
            }
        }
    }

    fn close(&mut self) {
        self.input = None;
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("waited") {
                return status;
            }
            thread::sleep(Duration::from_millis(2));
        }
        panic!("the payload still runs");
    }

    /// A line of /proc/PID/smaps_rollup, in KiB.
    fn kib(&self, key: &str) -> u64 {
        let text =
            fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id())).expect("smaps_rollup");
        let line = text.lines().find(|line| line.starts_with(key)).expect("the key");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads in a thread of its own, so that a deadline can be kept.
fn pump(mut from: ChildStdout) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut piece) {
            if sender.send(piece[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The value after `key ` in an answer to `self`.
fn value<'a>(lines: &'a [String], key: &str) -> &'a str {
    let found = lines.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {key} in {lines:#?}"))
}

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
fn wrong_arguments_are_refused_before_ready() {
    let long = "x".repeat(65);
    for arguments in
        [&[][..], &[""], &[&long], &["a b"], &["n1", "what"], &["n1", "machine="], &["n1", "machine=../tty"]]
    {
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
fn it_sees_its_box() {
    let mut command = command(&["n1"]);
    command.env_clear().env("LINES", "one\ntwo").current_dir("/");
    let mut payload = Payload::spawn(command);
    assert_eq!(payload.line(), "READY n1");
    let id = payload.child.id().to_string();
    let lines = payload.describe();
    assert_eq!(value(&lines, "pid"), id);
    assert_eq!(value(&lines, "ppid"), std::process::id().to_string());
    assert_eq!(value(&lines, "argc"), "2");
    assert_eq!(value(&lines, "cwd"), "/");
    assert_eq!(value(&lines, "env"), "LINES=one\\012two", "one line stays one line");
    let trimmed = |path: &str| fs::read_to_string(path).expect("read").trim().to_owned();
    assert_eq!(value(&lines, "kernel"), trimmed("/proc/sys/kernel/osrelease"));
    assert_eq!(value(&lines, "hostname"), trimmed("/proc/sys/kernel/hostname"));

    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("status");
    for key in
        ["Uid", "Gid", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "NSpid"]
    {
        let line =
            status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).expect("the key");
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(value(&lines, key), words.join(" "), "{key}");
    }
    for name in ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"] {
        let link = fs::read_link(format!("/proc/{id}/ns/{name}")).expect("a namespace");
        assert_eq!(value(&lines, &format!("ns/{name}")), link.to_string_lossy(), "{name}");
    }
    let mine = |key: &str| -> Vec<_> {
        lines.iter().filter_map(|line| line.strip_prefix(key)?.strip_prefix(' ')).collect()
    };
    let mounts = fs::read_to_string(format!("/proc/{id}/mountinfo")).expect("mountinfo");
    assert_eq!(mine("mount"), mounts.lines().collect::<Vec<_>>());
    assert_eq!(value(&lines, "mounts"), mounts.lines().count().to_string());
    let cgroups = fs::read_to_string(format!("/proc/{id}/cgroup")).expect("cgroup");
    assert_eq!(mine("cgroup"), cgroups.lines().collect::<Vec<_>>());
    let descriptors = fs::read_dir(format!("/proc/{id}/fd")).expect("descriptors").count();
    assert_eq!(mine("fd").len(), descriptors, "its own listing is not in it: {:?}", mine("fd"));
}

#[test]
fn it_reads_the_clocks_at_ready_and_now() {
    let before = monotonic();
    let mut payload = Payload::ready();
    thread::sleep(Duration::from_millis(20));
    let lines = payload.describe();
    let after = monotonic();
    let clock = |key: &str| value(&lines, key).parse::<u128>().expect("nanoseconds");
    let (ready, now) = (clock("clock/ready/monotonic"), clock("clock/now/monotonic"));
    assert!(before < ready && ready + 20_000_000 <= now && now < after, "{before} {ready} {now} {after}");
    let boottime = clock("clock/now/boottime") - clock("clock/ready/boottime");
    assert!(boottime >= 20_000_000 && boottime < after - before, "{boottime}");
}

fn monotonic() -> u128 {
    Duration::from(nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).expect("a clock")).as_nanos()
}

#[test]
fn it_reads_its_umask_and_keeps_it() {
    let mut command = Command::new("sh");
    command.args(["-c", "umask 0137; exec \"$0\" n1"]).arg(program());
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut payload = Payload::spawn(command);
    assert_eq!(payload.line(), "READY n1");
    for _ in 0..2 {
        assert_eq!(value(&payload.describe(), "umask"), "0137");
    }
}

#[test]
fn without_proc_it_says_so() {
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    // Linked and not copied: a copy could still be open for writing in another test's fork.
    fs::hard_link(program(), root.path().join("payload")).expect("linked");
    let mut command = Command::new("unshare");
    command.arg("--map-root-user").arg(format!("--root={}", root.path().display())).args(["/payload", "n1"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    if let Ok(output) = Command::new("unshare").args(["--map-root-user", "true"]).output()
        && output.status.success()
    {
        let mut payload = Payload::spawn(command);
        assert_eq!(payload.line(), "READY n1");
        let lines = payload.describe();
        assert_eq!(value(&lines, "proc"), "absent");
        assert_eq!(value(&lines, "uid"), "0");
        assert!(!lines.iter().any(|line| line.starts_with("Cap")), "{lines:#?}");
        assert_eq!(payload.ask("ping still"), "PONG still");
    } else {
        eprintln!("skipped: no user namespace to change the root in (unshare --map-root-user)");
    }
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
