//! A payload that runs as a child of the test, with a deadline on everything it is asked.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};
use tare::payload::{PAYLOAD, sha256};

pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The payload in a file, named after its bytes: written once, before the first fork.
pub(crate) fn program() -> &'static PathBuf {
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

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A running payload; killed and reaped at the latest when dropped.
pub(crate) struct Payload {
    pub(crate) child: Child,
    input: Option<ChildStdin>,
    pub(crate) output: Receiver<Vec<u8>>,
    pending: Vec<u8>,
}

impl Payload {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::spawn(command(arguments))
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the payload starts");
        let output = pump(child.stdout.take().expect("a pipe"));
        Self { input: child.stdin.take(), child, output, pending: Vec::new() }
    }

    /// `payload NONCE` that has said READY.
    pub(crate) fn ready() -> Self {
        let mut payload = Self::start(&["n1"]);
        assert_eq!(payload.line(), "READY n1");
        payload
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.input.as_mut().expect("open").write_all(bytes).expect("sent");
    }

    pub(crate) fn line(&mut self) -> String {
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

    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.send(format!("{command}\n").as_bytes());
        self.line()
    }

    /// All lines of the answer to `self`, and that it ends as it should.
    pub(crate) fn describe(&mut self) -> Vec<String> {
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

    pub(crate) fn close(&mut self) {
        self.input = None;
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
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
    pub(crate) fn kib(&self, key: &str) -> u64 {
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
