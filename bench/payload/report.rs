//! `self`: what the payload sees of its own box. Lines `self KEY VALUE`, then `OK self`.

use crate::output::{Output, decimal};
use crate::{Start, machine, sys};

/// The lines of /proc/self/status that describe the box.
const STATUS: [&[u8]; 11] = [
    b"Uid",
    b"Gid",
    b"Groups",
    b"NSpid",
    b"CapInh",
    b"CapPrm",
    b"CapEff",
    b"CapBnd",
    b"CapAmb",
    b"NoNewPrivs",
    b"Seccomp",
];

/// Limits of the process and the kernel's numbers for them (getrlimit(2)).
const LIMITS: [(&[u8], usize); 4] = [(b"core", 4), (b"nproc", 6), (b"nofile", 7), (b"memlock", 8)];

const NAMESPACES: [&[u8]; 8] = [b"cgroup", b"ipc", b"mnt", b"net", b"pid", b"time", b"user", b"uts"];

pub(crate) fn answer(start: &Start, output: &mut Output) -> Result<(), &'static str> {
    if start.machine {
        machine::mount_once();
    }
    own(start, output);
    if let Err(errno) = status(output) {
        output.raw(b"self proc ");
        if errno == sys::ENOENT {
            output.raw(b"absent").end();
        } else {
            output.raw(b"unreadable, errno ").number(errno.0 as u64).end();
        }
    } else {
        namespaces(output);
        let _ = each_line(b"/proc/self/cgroup\0", |line| text(output, b"cgroup", line));
        mounts(output);
        descriptors(output);
    }
    output.raw(b"OK self").end();
    Ok(())
}

/// What needs no /proc.
fn own(start: &Start, output: &mut Output) {
    for (key, which) in
        [(&b"pid"[..], sys::GETPID), (b"ppid", sys::GETPPID), (b"uid", sys::GETUID), (b"gid", sys::GETGID)]
    {
        value(output, key, sys::number(which) as u64);
    }
    let names = sys::Names::read();
    text(output, b"hostname", names.field(sys::Names::HOST));
    text(output, b"kernel", names.field(sys::Names::RELEASE));
    let mut path = [0; 1024];
    let length = sys::working_directory(&mut path).unwrap_or(1);
    text(output, b"cwd", &path[..length - 1]);
    let mask = sys::umask();
    output.raw(b"self umask ").raw(&[9, 6, 3, 0].map(|shift| b'0' + ((mask >> shift) & 7) as u8)).end();
    value(output, b"memory", sys::memory());
    value(output, b"cpus", sys::cpus());
    for (name, which) in LIMITS {
        output.raw(b"self limit/").raw(name);
        for value in sys::limit(which) {
            output.raw(b" ");
            if value == u64::MAX {
                output.raw(b"unlimited")
            } else {
                output.number(value)
            };
        }
        output.end();
    }
    value(output, b"argc", start.arguments.count() as u64);
    for line in (0..).map_while(|index| start.arguments.environment(index)) {
        text(output, b"env", line);
    }
    value(output, b"clock/ready/monotonic", start.ready[0]);
    value(output, b"clock/ready/boottime", start.ready[1]);
    value(output, b"clock/now/monotonic", sys::clock(sys::CLOCK_MONOTONIC));
    value(output, b"clock/now/boottime", sys::clock(sys::CLOCK_BOOTTIME));
}

fn status(output: &mut Output) -> Result<(), sys::Errno> {
    each_line(b"/proc/self/status\0", |line| {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { return };
        if !STATUS.contains(&&line[..colon]) {
            return;
        }
        output.raw(b"self ").raw(&line[..colon]);
        for word in line[colon + 1..].split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()) {
            output.raw(b" ").escaped(word);
        }
        output.end();
    })
}

fn namespaces(output: &mut Output) {
    for name in NAMESPACES {
        let mut target = [0; 64];
        if let Ok(length) = read_link_below(b"/proc/self/ns/", name, &mut target) {
            output.raw(b"self ns/").raw(name).raw(b" ").escaped(&target[..length]).end();
        }
    }
}

fn mounts(output: &mut Output) {
    let mut count = 0;
    let read = each_line(b"/proc/self/mountinfo\0", |line| {
        count += 1;
        text(output, b"mount", line);
    });
    if read.is_ok() {
        value(output, b"mounts", count);
    }
}

/// Every open descriptor and where it leads, except the one that this listing needs.
fn descriptors(output: &mut Output) {
    let Ok(directory) = sys::open(b"/proc/self/fd\0", sys::O_RDONLY | sys::O_DIRECTORY | sys::O_CLOEXEC)
    else {
        return;
    };
    let mut own = [0; 20];
    let own = decimal(directory as u64, &mut own);
    let mut entries = [0; 1024];
    while let Ok(filled @ 1..) = sys::directory_entries(directory, &mut entries) {
        sys::each_name(&entries[..filled], |name| {
            if name == own || name.starts_with(b".") {
                return;
            }
            let mut target = [0; 256];
            let length = read_link_below(b"/proc/self/fd/", name, &mut target).unwrap_or(0);
            output.raw(b"self fd ").raw(name).raw(b" ").escaped(&target[..length]).end();
        });
    }
    sys::close(directory);
}

fn read_link_below(directory: &[u8], name: &[u8], target: &mut [u8]) -> Result<usize, sys::Errno> {
    let mut path = [0; 64];
    let length = directory.len() + name.len();
    if length >= path.len() {
        return Err(sys::ENOENT);
    }
    path[..directory.len()].copy_from_slice(directory);
    path[directory.len()..length].copy_from_slice(name);
    sys::read_link(&path[..=length], target)
}

/// Hands out each line of a file; a line longer than the buffer is cut.
fn each_line(path: &[u8], mut take: impl FnMut(&[u8])) -> Result<(), sys::Errno> {
    let fd = sys::open(path, sys::O_RDONLY | sys::O_CLOEXEC)?;
    let mut line = [0; 2048];
    let mut used = 0;
    let mut piece = [0; 1024];
    while let Ok(length @ 1..) = sys::read(fd, &mut piece) {
        for &byte in &piece[..length] {
            if byte == b'\n' {
                take(&line[..used]);
                used = 0;
            } else if used < line.len() {
                line[used] = byte;
                used += 1;
            }
        }
    }
    sys::close(fd);
    Ok(())
}

fn value(output: &mut Output, key: &[u8], value: u64) {
    output.raw(b"self ").raw(key).raw(b" ").number(value).end();
}

fn text(output: &mut Output, key: &[u8], value: &[u8]) {
    output.raw(b"self ").raw(key).raw(b" ").escaped(value).end();
}
