//! What a virtual machine says of itself while it starts: bytes that reach the host, each with the host's time.
//!
//! Without it a machine would be one bar from its process to READY. Three probes more, in watched starts only:
//!
//! - the monitor (QMP), whose greeting says that the monitor works;
//! - the debug port 0x402, to which SeaBIOS writes what it does, and the payload a byte when it runs as /init and
//!   one when its channel is open;
//! - QEMU's own trace of the device by which firmware asks for what it shall boot (`fw_cfg`): some dozen lines for a
//!   start. The first request shows a firmware at work that writes nothing (qboot), the last one that is about
//!   the kernel is the border: what was asked for has been copied when the request is done, and then firmware
//!   jumps into the kernel.
//!
//! All lead into pipes that the lab made before the clock; a thread sleeps until something comes.
//!
//! Look at it: `qemu-system-x86_64 -nodefaults -display none -chardev stdio,id=d -device
//! isa-debugcon,iobase=0x402,chardev=d -trace fw_cfg_select`

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

/// The numbers of what firmware asks for when it loads a kernel: `FW_CFG_KERNEL_ADDR` to `FW_CFG_SETUP_DATA` of
/// QEMU's standard-headers/linux/qemu_fw_cfg.h, less those of them that are about the machine.
const KERNEL_ITEMS: [u16; 13] =
    [0x07, 0x08, 0x0a, 0x0b, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18];

/// Adds the probes to QEMU's command line, and tells the payload to use the port.
pub fn watch(argv: &mut Vec<String>, site: &Site, start: &Start) {
    // A guest that is not the payload would take the word for a part of its nonce.
    let payload = |word: &&mut String| word.contains(" machine=");
    let appended = argv.iter().position(|word| word == "-append").and_then(|at| argv.get_mut(at + 1));
    if let Some(kernel) = appended.filter(payload) {
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
        // Into a file of its own: a path here is taken as it is.
        "-D".to_owned(),
        file(site, start, "trace").to_string_lossy().into_owned(),
        "-trace".to_owned(),
        "fw_cfg_select".to_owned(),
    ];
    argv.extend(words);
}

/// Bytes that came, and when they had been read, ns.
type Heard = Vec<(u64, Vec<u8>)>;

/// Hears what a machine says.
#[derive(Debug)]
pub struct Listener {
    thread: JoinHandle<[Heard; 3]>,
    /// Closed to end it.
    until: io::PipeWriter,
}

impl Listener {
    /// Makes the pipes and listens.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn open(site: &Site, start: &Start) -> io::Result<Self> {
        let pipe = |kind| pipe(&file(site, start, kind));
        let pipes = [pipe("qmp")?, pipe("debug")?, pipe("trace")?];
        let (end, until) = io::pipe()?;
        Ok(Self { thread: std::thread::spawn(move || listen(pipes, &end)), until })
    }

    /// What was heard until now, as spans of this start.
    pub fn spans(self, moments: &Moments) -> Spans {
        drop(self.until);
        let [monitor, debug, trace] = self.thread.join().unwrap_or_default();
        spans(moments, &monitor, &debug, &trace)
    }
}

fn pipe(path: &Path) -> io::Result<File> {
    mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR)?;
    // Also for writing: so it can be opened before QEMU does it, and never ends.
    File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)
}

fn listen(mut pipes: [File; 3], end: &io::PipeReader) -> [Heard; 3] {
    let mut heard = [Heard::new(), Heard::new(), Heard::new()];
    loop {
        let mut fds: Vec<PollFd> =
            pipes.iter().map(|it| PollFd::new(it.as_fd(), PollFlags::POLLIN)).collect();
        fds.push(PollFd::new(end.as_fd(), PollFlags::POLLIN));
        let broken =
            matches!(poll(&mut fds, PollTimeout::NONE), Err(errno) if errno != nix::errno::Errno::EINTR);
        let ended = fds[3].any().unwrap_or(true);
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

/// When firmware asked for something that belongs to the kernel, the last time, ns.
fn handed_over(trace: &Heard) -> Option<u64> {
    let about_kernel = |line: &str| {
        let number = line.split_once(" key 0x").and_then(|it| u16::from_str_radix(it.1.get(..4)?, 16).ok());
        number.is_some_and(|it| KERNEL_ITEMS.contains(&it))
    };
    trace.iter().rfind(|it| String::from_utf8_lossy(&it.1).lines().any(about_kernel)).map(|it| it.0)
}

/// Each span ends where its mark was heard; the next begins there. Where a mark is missing, what lies between its
/// neighbours belongs to none.
fn spans(moments: &Moments, monitor: &Heard, debug: &Heard, trace: &Heard) -> Spans {
    let greeted = monitor.first().map(|it| it.0);
    let mut firmware = debug.iter().filter(|it| it.1.iter().any(u8::is_ascii)).map(|it| it.0);
    let (said, asked) = (firmware.next(), trace.first().map(|it| it.0));
    let first = said.into_iter().chain(asked).min();
    // A QEMU without traces: firmware that writes says last that it boots, and loading is the kernel's.
    let last = handed_over(trace).or_else(|| firmware.next_back().or(said));
    // What follows has begun, so what was before it is over, even where its own sign is heard later: the monitor is
    // another thread of QEMU's than the guest, and pipes are read one after the other.
    let mut marks = [
        greeted,
        first,
        last,
        mark(debug, INIT),
        mark(debug, MODULES),
        mark(debug, CHANNEL),
        Some(moments.line_began),
    ];
    let mut next = moments.ready;
    for mark in marks.iter_mut().rev().flatten() {
        *mark = (*mark).min(next).max(moments.began);
        next = *mark;
    }
    let [greeted, first, last, init, modules, channel, line] = marks;
    let parts = [
        ("vmm", Some(moments.began), greeted),
        ("machine", greeted, first),
        ("firmware", first, last),
        ("kernel", last, init),
        // A machine whose firmware is silent: the two are not told apart, and both are there.
        ("boot", first.or(greeted).filter(|_| last.is_none()), init),
        ("modules", init, modules),
        ("init", modules.or(init), channel),
        ("payload", channel, line),
        ("notice", line, Some(moments.ready)),
    ];
    let mut spans = Spans::new();
    for (name, from, to) in parts {
        if let (Some(from), Some(to)) = (from, to) {
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
        let found = spans(&moments(), &monitor, &debug, &Heard::new());
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
    fn signs_that_are_heard_out_of_order_make_no_time_out_of_nothing() {
        let (moments, [_, debug, trace]) = of_qboot(|at| at);
        let late = vec![(2_900, b"{".to_vec())];
        let found = spans(&moments, &late, &debug, &trace);
        assert_eq!((found["vmm"], found["machine"], found["firmware"]), (1_400, 0, 600));
        assert_eq!(found.values().sum::<u64>(), 8_500);
    }

    #[test]
    fn what_was_not_heard_is_not_there_and_goes_to_nobody_else() {
        let none = Heard::new();
        let silent = spans(&moments(), &none, &none, &none);
        assert_eq!(silent, [("notice".to_owned(), 500)].into());
        let monitor = vec![(2_000, b"{".to_vec())];
        let no_init =
            spans(&moments(), &monitor, &vec![(4_000, b"SeaBIOS".to_vec()), (8_700, vec![CHANNEL])], &none);
        assert_eq!(no_init.keys().collect::<Vec<_>>(), ["firmware", "machine", "notice", "payload", "vmm"]);
        let no_firmware =
            spans(&moments(), &monitor, &vec![(8_000, vec![INIT, MODULES]), (8_700, vec![CHANNEL])], &none);
        assert_eq!((no_firmware["boot"], no_firmware["modules"]), (6_000, 0));
        assert!(!no_firmware.contains_key("kernel"));
    }

    /// Of a machine with qboot: it writes nothing, and asks.
    fn of_qboot(later: impl Fn(u64) -> u64) -> (Moments, [Heard; 3]) {
        let line = |number: &str| format!("fw_cfg_select 0x5610113de9c0 key {number}, ret: 1\n").into_bytes();
        let trace = vec![
            (later(2_400), line("0x0000 'signature'")),
            (later(2_500), [line("0x0019 'file_dir'"), line("0x0008 'kernel_size'")].concat()),
            (later(3_000), line("0x0010 'kernel_entry'")),
            // A driver of the guest's kernel looks for the device too.
            (later(5_000), line("0x0001 'id'")),
        ];
        let debug = vec![(later(8_000), vec![INIT]), (later(8_700), vec![CHANNEL])];
        let moments = moments();
        let moments =
            Moments { line_began: later(moments.line_began), ready: later(moments.ready), ..moments };
        (moments, [vec![(later(2_000), b"{".to_vec())], debug, trace])
    }

    #[test]
    fn a_delay_anywhere_in_a_machine_is_in_the_span_of_that_moment_alone() {
        let all = |(moments, [monitor, debug, trace]): (Moments, [Heard; 3])| {
            spans(&moments, &monitor, &debug, &trace)
        };
        let whole = all(of_qboot(|at| at));
        let expected = [
            ("vmm", 1_000),
            ("machine", 400),
            ("firmware", 600),
            ("kernel", 5_000),
            ("init", 700),
            ("payload", 300),
            ("notice", 500),
        ];
        assert_eq!(whole, expected.map(|(name, ns)| (name.to_owned(), ns)).into());
        let moments = [1_500, 2_100, 2_450, 2_700, 3_500, 6_000, 8_300, 8_800, 9_200];
        let names =
            ["vmm", "machine", "firmware", "firmware", "kernel", "kernel", "init", "payload", "notice"];
        for (inside, name) in moments.into_iter().zip(names) {
            let delayed = all(of_qboot(|at| if at > inside { at + 5_000 } else { at }));
            for (part, ns) in &whole {
                let more = if part == name { 5_000 } else { 0 };
                assert_eq!(delayed[part], ns + more, "{name}: {part}");
            }
        }
    }
}
