//! What a virtual machine says of itself while it starts: bytes that reach the host, each with the host's time.
//!
//! Without it a machine would be one bar from its process to READY. Two devices more, in watched starts only: the
//! monitor (QMP), whose greeting says that the monitor works, and the debug port 0x402, to which SeaBIOS writes
//! what it does, and the payload a byte when it runs as /init and one when its channel is open. Both lead into
//! pipes that the lab made before the clock; a thread sleeps until something comes.
//!
//! Look at it: `qemu-system-x86_64 -nodefaults -display none -chardev stdio,id=d -device
//! isa-debugcon,iobase=0x402,chardev=d`

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread::JoinHandle;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::{Spans, add, file};
use crate::clock;
use crate::lab::Moments;
use crate::site::{Site, Start};

/// As in `payload/machine.rs`: /init runs.
const INIT: u8 = 0xe0;
/// /init has loaded its modules, where it has any.
const MODULES: u8 = 0xe1;
/// The channel is open, READY follows.
const CHANNEL: u8 = 0xe2;

/// Adds both devices to QEMU's command line, and tells the payload to use the port.
pub fn watch(argv: &mut Vec<String>, site: &Site, start: &Start) {
    let appended = argv.iter().position(|word| word == "-append").and_then(|at| argv.get_mut(at + 1));
    if let Some(kernel) = appended {
        kernel.push_str(" probe");
    }
    let pipe = |kind: &str| {
        let path = file(site, start, kind).to_string_lossy().replace(',', ",,");
        format!("file,id=tare-{kind},path={path}")
    };
    let words = [
        "-chardev".to_owned(),
        pipe("qmp"),
        "-mon".to_owned(),
        "chardev=tare-qmp,mode=control".to_owned(),
        "-chardev".to_owned(),
        pipe("debug"),
        "-device".to_owned(),
        "isa-debugcon,iobase=0x402,chardev=tare-debug".to_owned(),
    ];
    argv.extend(words);
}

/// Bytes that came, and when they had been read, ns.
type Heard = Vec<(u64, Vec<u8>)>;

/// Hears what a machine says.
#[derive(Debug)]
pub struct Listener {
    thread: JoinHandle<[Heard; 2]>,
    /// Closed to end it.
    until: io::PipeWriter,
}

impl Listener {
    /// Makes both pipes and listens.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn open(site: &Site, start: &Start) -> io::Result<Self> {
        let pipes = [pipe(&file(site, start, "qmp"))?, pipe(&file(site, start, "debug"))?];
        let (end, until) = io::pipe()?;
        Ok(Self { thread: std::thread::spawn(move || listen(pipes, &end)), until })
    }

    /// What was heard until now, as spans of this start.
    pub fn spans(self, moments: &Moments) -> Spans {
        drop(self.until);
        let [monitor, debug] = self.thread.join().unwrap_or_default();
        spans(moments, &monitor, &debug)
    }
}

fn pipe(path: &Path) -> io::Result<File> {
    mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR)?;
    // Also for writing: so it can be opened before QEMU does it, and never ends.
    File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)
}

fn listen(mut pipes: [File; 2], end: &io::PipeReader) -> [Heard; 2] {
    let mut heard = [Heard::new(), Heard::new()];
    loop {
        let mut fds: Vec<PollFd> =
            pipes.iter().map(|it| PollFd::new(it.as_fd(), PollFlags::POLLIN)).collect();
        fds.push(PollFd::new(end.as_fd(), PollFlags::POLLIN));
        let broken =
            matches!(poll(&mut fds, PollTimeout::NONE), Err(errno) if errno != nix::errno::Errno::EINTR);
        let ended = fds[2].any().unwrap_or(true);
        for (pipe, heard) in pipes.iter_mut().zip(&mut heard) {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut bytes) {
                heard.push((clock::now_ns(), bytes[..count].to_vec()));
            }
        }
        if ended || broken {
            return heard;
        }
    }
}

/// When this byte came, ns.
fn mark(debug: &Heard, byte: u8) -> Option<u64> {
    debug.iter().find(|it| it.1.contains(&byte)).map(|it| it.0)
}

/// Each span ends where its mark was heard; the next begins there. Where a mark is missing, what lies between its
/// neighbours belongs to none.
fn spans(moments: &Moments, monitor: &Heard, debug: &Heard) -> Spans {
    let greeted = monitor.first().map(|it| it.0);
    let mut firmware = debug.iter().filter(|it| it.1.iter().any(u8::is_ascii)).map(|it| it.0);
    let first = firmware.next();
    let last = firmware.next_back().or(first);
    let (init, modules) = (mark(debug, INIT), mark(debug, MODULES));
    let channel = mark(debug, CHANNEL);
    let parts = [
        ("vmm", Some(moments.began), greeted),
        ("machine", greeted, first),
        ("firmware", first, last),
        ("kernel", last, init),
        // A machine whose firmware is silent: the two are not told apart, and both are there.
        ("boot", greeted.filter(|_| first.is_none()), init),
        ("modules", init, modules),
        ("init", modules.or(init), channel),
        ("payload", channel, Some(moments.line_began)),
        ("notice", Some(moments.line_began), Some(moments.ready)),
    ];
    let mut spans = Spans::new();
    for (name, from, to) in parts {
        if let (Some(from), Some(to)) = (from, to) {
            let (from, to) =
                (from.clamp(moments.began, moments.ready), to.clamp(moments.began, moments.ready));
            add(&mut spans, name, to.saturating_sub(from));
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments() -> Moments {
        Moments { began: 1_000, line_began: 9_000, ready: 9_500, ..Moments::default() }
    }

    #[test]
    fn each_mark_ends_a_span() {
        let monitor = vec![(2_000, b"{\"QMP\"".to_vec()), (2_100, b"}".to_vec())];
        let debug = vec![
            (2_500, b"SeaBIOS".to_vec()),
            (4_000, b"Booting\n".to_vec()),
            (8_000, vec![INIT]),
            (8_700, vec![CHANNEL]),
        ];
        let found = spans(&moments(), &monitor, &debug);
        let expected = [
            ("vmm", 1_000),
            ("machine", 500),
            ("firmware", 1_500),
            ("kernel", 4_000),
            ("init", 700),
            ("payload", 300),
            ("notice", 500),
        ];
        assert_eq!(found, expected.map(|(name, ns)| (name.to_owned(), ns)).into());
        assert_eq!(found.values().sum::<u64>(), 8_500, "nothing is left over, and nothing counted twice");
    }

    #[test]
    fn what_was_not_heard_is_not_there_and_goes_to_nobody_else() {
        let silent = spans(&moments(), &Heard::new(), &Heard::new());
        assert_eq!(silent, [("notice".to_owned(), 500)].into());
        let monitor = vec![(2_000, b"{".to_vec())];
        let no_init =
            spans(&moments(), &monitor, &vec![(4_000, b"SeaBIOS".to_vec()), (8_700, vec![CHANNEL])]);
        assert_eq!(no_init.keys().collect::<Vec<_>>(), ["firmware", "machine", "notice", "payload", "vmm"]);
        let no_firmware =
            spans(&moments(), &monitor, &vec![(8_000, vec![INIT, MODULES]), (8_700, vec![CHANNEL])]);
        assert_eq!((no_firmware["boot"], no_firmware["modules"]), (6_000, 0));
        assert!(!no_firmware.contains_key("kernel"));
    }
}
