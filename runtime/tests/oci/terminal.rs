//! A terminal of the box's own, under a real one of the caller's.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, poll};
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::tcgetattr;
use nix::unistd::Pid;
use serde_json::json;
use tare_runtime::{Directory, Error, Status};

use crate::NOTHING;
use crate::common::Lab;
use crate::common::bundle::{Bundle, tare};

/// A terminal as a person has it: we type and read at the outer end, the command has the inner one.
struct Person {
    outer: fs::File,
    inner: OwnedFd,
    seen: String,
}

impl Person {
    fn new() -> Self {
        let size = Winsize { ws_row: 33, ws_col: 77, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(&size, None).expect("openpty");
        Self { outer: master.into(), inner: slave, seen: String::new() }
    }

    fn spawn(&self, mut command: Command) -> Child {
        let end = || self.inner.try_clone().expect("dup");
        command.stdin(end()).stdout(end()).stderr(end());
        // setsid(1) makes it the controlling terminal.
        command.spawn().expect("spawn")
    }

    fn types(&mut self, text: &str) {
        self.outer.write_all(text.as_bytes()).expect("type");
    }

    /// Reads until `words` appeared.
    #[track_caller]
    fn sees(&mut self, words: &str) {
        let start = Instant::now();
        while !self.seen.contains(words) {
            assert!(start.elapsed() < Duration::from_secs(60), "{words:?} did not come: {:?}", self.seen);
            let ready =
                poll(&mut [PollFd::new(self.outer.as_fd(), PollFlags::POLLIN)], 100_u16).expect("poll");
            if ready > 0 {
                let mut buffer = [0; 1024];
                let length = self.outer.read(&mut buffer).unwrap_or(0);
                self.seen += &String::from_utf8_lossy(&buffer[..length]);
            }
        }
        let end = self.seen.find(words).expect("seen") + words.len();
        self.seen.drain(..end);
    }
}

/// In a session of its own, with the person's terminal as the controlling one.
fn in_session(command: &Command) -> Command {
    let mut setsid = Command::new("setsid");
    setsid.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
    setsid.arg0("setsid");
    setsid
}

fn is_running(command: &str) -> bool {
    let all = crate::common::entries(std::path::Path::new("/proc"));
    all.iter().any(|process| fs::read_to_string(process.join("cmdline")).is_ok_and(|found| found == command))
}

fn a_session(person: &mut Person, command: Command, ended: i32) {
    let before = tcgetattr(&person.inner).expect("tcgetattr");
    let child = person.spawn(in_session(&command));
    person.types("tty; busybox stty size\n");
    person.sees("/dev/pts/0\r\n");
    person.sees("33 77\r\n");
    assert_ne!(tcgetattr(&person.inner).expect("tcgetattr"), before, "keys are passed on as they are");
    // Ctrl-C is for the job in the box, not for us.
    let job = format!("busybox\u{0}sleep\u{0}10{ended}\u{0}");
    person.types(&format!("busybox sleep 10{ended}\n"));
    crate::common::bundle::eventually("the job", || is_running(&job));
    person.types("\u{3}");
    crate::common::bundle::eventually("the end of the job", || !is_running(&job));
    person.types("echo ended-$?\n");
    person.sees("ended-130");
    person.types("test -c /dev/console && echo con-$?; : < /dev/tty && echo tty-$?\n");
    person.sees("tty-0");
    person.types(&format!("exit {ended}\n"));
    assert_eq!(crate::common::wait(child), Some(ended));
    assert_eq!(tcgetattr(&person.inner).expect("tcgetattr"), before, "the caller's terminal is as it was");
}

#[test]
fn run_gives_a_terminal_without_a_bundle() {
    let Some(lab) = Lab::new() else { return };
    std::os::unix::fs::symlink("busybox", lab.image().join("bin/tty")).expect("symlink");
    let mut command = lab.command(&["run", "-t", "--cgroup-parent", &lab.parent, "--rootfs"]);
    command.arg(lab.image()).args(["tty", "--", "sh"]);
    a_session(&mut Person::new(), command, 5);
    assert_eq!(lab.leftovers(), NOTHING);
}

#[test]
fn run_gives_a_terminal_with_a_bundle_and_exec_another() {
    let Some(lab) = Lab::new() else { return };
    std::os::unix::fs::symlink("busybox", lab.image().join("bin/tty")).expect("symlink");
    let mut bundle = Bundle::new(&lab, "tb", "exec sh");
    bundle.config["process"]["terminal"] = json!(true);
    bundle.write();
    let mut command = lab.command(&["run", "--bundle"]);
    command.arg(&bundle.directory).arg("tb");
    a_session(&mut Person::new(), command, 6);
    let mut bundle = Bundle::new(&lab, "te", "sleep 1000");
    bundle.config["process"]["terminal"] = json!(false);
    bundle.up();
    let console = bundle.exec(&[], &["sh", "-c", "ls /dev; grep -c . /proc/self/mountinfo"]).ok();
    a_session(&mut Person::new(), lab.command(&["exec", "-t", "te", "sh"]), 7);
    assert_eq!(
        bundle.exec(&[], &["sh", "-c", "ls /dev; grep -c . /proc/self/mountinfo"]).ok(),
        console,
        "exec changes nothing in the box"
    );
    bundle.force();
    assert_eq!(lab.leftovers(), NOTHING);
}

#[test]
fn a_console_socket_receives_the_other_end() {
    let Some(lab) = Lab::new() else { return };
    let mut bundle = Bundle::new(&lab, "cs", "read line; echo got-$line; sleep 1000");
    bundle.config["process"]["terminal"] = json!(true);
    bundle.create().refused("needs --console-socket");
    let socket = lab.path().join("console.sock");
    let path = socket.to_str().expect("utf-8");
    let directory = bundle.directory.to_str().expect("utf-8").to_owned();
    let create = ["create", "--bundle", directory.as_str(), "--console-socket", path, "cs"];
    tare(&lab, &create).refused("console socket");
    let listener = UnixListener::bind(&socket).expect("bind");
    tare(&lab, &create).ok();
    let (connection, _) = listener.accept().expect("accept");
    let outer = tare_runtime::sys::terminal::receive(connection.as_fd()).expect("receive");
    tare(&lab, &["start", "cs"]).ok();
    let mut person = Person { outer: outer.into(), inner: connection.into(), seen: String::new() };
    person.types("word\n");
    person.sees("got-word");
    bundle.force();
    bundle.config["process"]["terminal"] = json!(false);
    bundle.write();
    tare(&lab, &create).refused("the box asks for no terminal");
    assert_eq!(lab.leftovers(), NOTHING);
}

#[test]
fn it_belongs_to_whom_it_is_for() {
    let Some(lab) = Lab::new() else { return };
    let mut bundle = Bundle::new(&lab, "own", "id -u; : < /dev/stdin && : > /dev/pts/0 && echo opened");
    bundle.config["process"]["terminal"] = json!(true);
    bundle.config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    bundle.write();
    let mut command = lab.command(&["run", "--bundle"]);
    command.arg(&bundle.directory).arg("own");
    let mut person = Person::new();
    let child = person.spawn(in_session(&command));
    person.sees("1000\r\n");
    person.sees("opened");
    assert_eq!(crate::common::wait(child), Some(0));
    bundle.config["process"]["terminal"] = json!(false);
    bundle.config["process"]["args"] = json!(["sleep", "1000"]);
    bundle.up();
    let exec = lab.command(&["exec", "-t", "own", "sh", "-c", ": < /dev/stdin && echo opened"]);
    let child = person.spawn(in_session(&exec));
    person.sees("opened");
    assert_eq!(crate::common::wait(child), Some(0));
    bundle.force();
}

/// Without a terminal of one's own it can be that of the caller, and what is pushed into that (TIOCSTI) is
/// executed by the caller's shell.
#[test]
fn without_one_the_callers_is_not_the_boxs_either() {
    let Some(lab) = Lab::new() else { return };
    let mut person = Person::new();
    let mut command = lab.command(&["run", "--cgroup-parent", &lab.parent, "--rootfs"]);
    command.arg(lab.image()).args([
        "no",
        "--",
        "sh",
        "-c",
        "(: < /dev/tty) 2>&1; busybox stat -c %n /proc/self/fd/0; busybox ps -o tty",
    ]);
    let child = person.spawn(in_session(&command));
    person.sees("/dev/tty: No such device or address");
    assert_eq!(crate::common::wait(child), Some(0));
}

/// The end of what is printed must not turn into a busy loop, nor into the end of the box.
#[test]
fn a_box_that_closes_its_terminal_lives_on_and_costs_nothing() {
    let Some(lab) = Lab::new() else { return };
    let mut person = Person::new();
    let mut command = lab.command(&["run", "-t", "--cgroup-parent", &lab.parent, "--rootfs"]);
    command.arg(lab.image()).args(["closed", "--", "sh", "-c", "echo up; exec sleep 2 <&- >&- 2>&-"]);
    let child = person.spawn(command);
    person.sees("up");
    std::thread::sleep(Duration::from_millis(500));
    let ticks = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("stat");
        let fields: Vec<u64> = stat[stat.rfind(')').expect(")") + 1..]
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|f| f.parse().expect("number"))
            .collect();
        fields[0] + fields[1]
    };
    let before = ticks();
    std::thread::sleep(Duration::from_millis(700));
    let spent = ticks() - before;
    assert!(spent <= 5, "{spent} hundredths of a second in 0.7 s of waiting");
    assert_eq!(crate::common::wait(child), Some(0));
}

/// `run -t ... | head -1`: more than a terminal holds would wait for a reader for ever, and we for the box.
#[test]
fn a_box_whose_terminal_nobody_reads_any_more_finds_it_hung_up() {
    let Some(lab) = Lab::new() else { return };
    let (reader, writer) = std::io::pipe().expect("pipe");
    let mut command = lab.command(&["run", "-t", "--cgroup-parent", &lab.parent, "--rootfs"]);
    command.arg(lab.image()).args(["unread", "--", "sh", "-c", "while echo more; do :; done; exit 7"]);
    let child = command.stdout(writer).spawn().expect("it starts");
    drop(command);
    let mut first = [0; 4];
    (&reader).read_exact(&mut first).expect("read");
    assert_eq!(&first, b"more");
    drop(reader);
    assert_eq!(crate::common::wait(child), Some(7));
    assert_eq!(lab.leftovers(), NOTHING);
}

/// The mode of a pipe is that of all who have it, and some make it one that nobody waits at.
#[test]
fn a_reader_that_takes_its_time_is_not_one_that_has_gone() {
    let Some(lab) = Lab::new() else { return };
    let (mut reader, writer) = std::io::pipe().expect("pipe");
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("fcntl");
    let mut command = lab.command(&["run", "-t", "--cgroup-parent", &lab.parent, "--rootfs"]);
    command.arg(lab.image()).args(["slow", "--", "sh", "-c", "busybox seq 1 40000 && exit 7"]);
    let child = command.stdout(writer).spawn().expect("it starts");
    drop(command);
    // A pipe and a terminal are full by then.
    std::thread::sleep(Duration::from_millis(500));
    let mut all = String::new();
    reader.read_to_string(&mut all).expect("read");
    assert_eq!(crate::common::wait(child), Some(7));
    assert!(
        all.lines().map(str::to_owned).eq((1..=40_000).map(|line| line.to_string())),
        "{} bytes",
        all.len()
    );
    assert_eq!(lab.leftovers(), NOTHING);
}

/// `echo COMMAND | run -t ... sh`: the end of what is typed is the end of what the box reads.
#[test]
fn a_box_with_a_terminal_sees_the_end_of_what_is_typed() {
    let Some(lab) = Lab::new() else { return };
    let mut command = lab.command(&["run", "-t", "--cgroup-parent", &lab.parent, "--rootfs"]);
    command.arg(lab.image()).args(["ends", "--", "cat"]);
    let (reader, mut writer) = std::io::pipe().expect("pipe");
    let child = command.stdin(reader).stdout(std::process::Stdio::null()).spawn().expect("it starts");
    drop(command);
    writer.write_all(b"a line, and one that is not ended").expect("write");
    drop(writer);
    assert_eq!(crate::common::wait(child), Some(0));
    assert_eq!(lab.leftovers(), NOTHING);
}

/// Neither direction may wait for the other, nor may a signal for either.
#[test]
fn more_than_a_terminal_holds_passes_through_it_both_ways() {
    let Some(lab) = Lab::new() else { return };
    let image = lab.image().display().to_string();
    let run = |command: &[&str]| {
        let words = ["run", "-t", "--cgroup-parent", &lab.parent, "--rootfs", &image, "much", "--"];
        lab.command(&[&words[..], command].concat())
    };
    let (typed, printed) = (lab.path().join("typed"), lab.path().join("printed"));
    let lines: String = (0..20_000).map(|number| format!("line {number}\n")).collect();
    fs::write(&typed, &lines).expect("write");
    let mut command = run(&["sh", "-c", "stty -echo -onlcr; echo begins; exec cat"]);
    std::os::unix::fs::symlink("busybox", lab.image().join("bin/stty")).expect("symlink");
    command.stdin(fs::File::open(&typed).expect("open")).stdout(fs::File::create(&printed).expect("create"));
    assert_eq!(crate::common::wait(command.spawn().expect("spawn")), Some(0));
    let text = fs::read_to_string(&printed).expect("read");
    // Before it says so it echoes what is typed.
    let (_, after) = text.split_once("begins\n").expect("begins");
    assert!(after.ends_with(&lines[lines.len() / 2..]), "{} bytes of {}", after.len(), lines.len());
    // Nobody reads what is typed, and nobody what is printed: a signal comes through all the same.
    let id = "much".parse().expect("id");
    let has_ended = || match lab.runtime().load(&id) {
        Ok(state) => state.status(&Directory::new(&lab.root(), &id)) == Status::Stopped,
        // Gone, or just being taken away.
        Err(Error::NotFound { .. } | Error::Running { .. }) => true,
        Err(error) => panic!("{error}"),
    };
    for script in ["echo on; sleep 1000", "echo on; while :; do echo much; done"] {
        let (mut reader, writer) = std::io::pipe().expect("pipe");
        let mut command = run(&["sh", "-c", &format!("trap 'exit 9' TERM; ({script}) & wait")]);
        command.stdin(fs::File::open(&typed).expect("open")).stdout(writer);
        let child = command.spawn().expect("spawn");
        drop(command);
        // What is typed is echoed, maybe before it runs.
        let (mut seen, mut byte) = (Vec::new(), [0]);
        while !seen.ends_with(b"on") {
            reader.read_exact(&mut byte).expect("it runs");
            seen.extend(byte);
        }
        std::thread::sleep(Duration::from_millis(300));
        kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).expect("kill");
        crate::common::bundle::eventually(script, has_ended);
        let read = std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
        assert_eq!(crate::common::wait(child), Some(9), "{script}");
        read.join().expect("join").expect("read");
    }
    assert_eq!(lab.leftovers(), NOTHING);
}
