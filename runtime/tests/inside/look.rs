//! How each item is looked at. Each answers in one line of plain words; nothing is changed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{major, minor};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, Uid, getpgrp, getpid, getppid, getsid, setresuid};

use crate::sys;

fn words(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |number| format!("{:?}", Errno::from_raw(number)))
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| words(&error))
}

pub(crate) fn status(field: &str) -> String {
    let status = read("/proc/self/status");
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.map_or("no such line".into(), |rest| rest.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Root becomes somebody else, and root again: what su and servers do.
pub(crate) fn change_user(_: &str) -> String {
    let [root, other] = [0, 1].map(Uid::from_raw);
    let changed = setresuid(other, other, root).and_then(|()| setresuid(root, root, root));
    changed.map_or_else(|errno| format!("{errno:?}"), |()| "there and back".into())
}

pub(crate) fn mask(path: &str) -> String {
    let Ok(metadata) = fs::metadata(path) else { return "absent".into() };
    if metadata.is_dir() {
        let new = File::create_new(Path::new(path).join("new"));
        return match (names(path).as_str(), new) {
            ("", Err(error)) if error.raw_os_error() == Some(libc::EROFS) => {
                "empty read-only directory".into()
            }
            // In a directory of /proc no file can be made, which is found out before the mount is asked.
            ("", Err(error)) if error.raw_os_error() == Some(libc::ENOENT) && write(path) == "read-only" => {
                "empty read-only directory".into()
            }
            ("", Err(error)) => format!("directory that says {}", words(&error)),
            ("", Ok(_)) => "directory that can be written to".into(),
            (names, _) => format!("directory with {} names", names.split(' ').count()),
        };
    }
    let mut byte = [0];
    match File::open(path).and_then(|mut file| file.read(&mut byte)) {
        Ok(0) if is_null(&metadata) => "null device".into(),
        Ok(count) => format!("file of at least {count} bytes"),
        Err(error) => words(&error),
    }
}

fn is_null(metadata: &fs::Metadata) -> bool {
    metadata.file_type().is_char_device() && (major(metadata.rdev()), minor(metadata.rdev())) == (1, 3)
}

/// Sets the mode that it has already: the kernel asks whether the mount may be written to before it asks
/// who you are, and if it may, nothing changes.
pub(crate) fn write(path: &str) -> String {
    let Ok(metadata) = fs::metadata(path) else { return "absent".into() };
    match fs::set_permissions(path, metadata.permissions()) {
        Err(error) if error.raw_os_error() == Some(libc::EROFS) => "read-only".into(),
        Err(error) => format!("no answer about the mount, but {}", words(&error)),
        Ok(()) => "writable".into(),
    }
}

pub(crate) fn write_file(path: &str) -> String {
    let written = OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(b"x"));
    written.map_or_else(|error| words(&error), |()| "written".into())
}

/// Fields of /proc/self/mountinfo: target, flags, propagation, kind.
fn mounts() -> Vec<(String, String, bool, String)> {
    let info = read("/proc/self/mountinfo");
    let parse = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let left: Vec<&str> = left.split(' ').collect();
        let kind = right.split(' ').next()?;
        let propagated = left.get(6..)?.iter().any(|field| !field.is_empty());
        Some((left.get(4)?.to_string(), left.get(5)?.to_string(), propagated, kind.to_owned()))
    };
    info.lines()
        .map(|line| parse(line).unwrap_or_else(|| (line.into(), String::new(), true, String::new())))
        .collect()
}

pub(crate) fn mount_flags(target: &str) -> String {
    let mounts = mounts();
    // The last one is on top.
    let Some((_, flags, _, kind)) = mounts.iter().rev().find(|mount| mount.0 == target) else {
        return "not mounted".into();
    };
    let kept: Vec<&str> =
        flags.split(',').filter(|flag| ["ro", "rw", "nosuid", "nodev", "noexec"].contains(flag)).collect();
    format!("{kind} {}", kept.join(","))
}

/// Mounts that are no part of the list, each target once.
pub(crate) fn other_mounts(_: &str) -> String {
    let file_systems = ["/", "/proc", "/sys", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"];
    let listed = crate::items::ITEMS
        .iter()
        .filter_map(|item| item.name.strip_prefix("masked:").or(item.name.strip_prefix("read-only:")));
    let known: Vec<&str> = file_systems.into_iter().chain(listed).collect();
    let mut others: Vec<String> = mounts()
        .into_iter()
        .map(|mount| mount.0)
        .filter(|target| !known.contains(&target.as_str()))
        .collect();
    others.sort();
    others.dedup();
    others.join(" ")
}

/// Mounts through which the host's later mounts would come in.
pub(crate) fn propagated_mounts(_: &str) -> String {
    let all: Vec<String> = mounts().into_iter().filter(|mount| mount.2).map(|mount| mount.0).collect();
    all.join(" ")
}

/// A directory's device and inode.
pub(crate) fn identity(path: &str) -> String {
    fs::metadata(path).map_or_else(|error| words(&error), |found| format!("{}:{}", found.dev(), found.ino()))
}

pub(crate) fn names(path: &str) -> String {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => return words(&error),
    };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names.join(" ")
}

pub(crate) fn dev(path: &str) -> String {
    let describe = |name: &str| {
        let path = Path::new(path).join(name);
        if let Ok(target) = fs::read_link(&path) {
            return format!("{name}->{}", target.display());
        }
        let Ok(found) = fs::symlink_metadata(&path) else { return format!("{name}:unreadable") };
        let kind = match found.file_type() {
            kind if kind.is_dir() => return format!("{name}:d:{:o}", found.mode() & 0o7777),
            kind if kind.is_char_device() => 'c',
            kind if kind.is_block_device() => 'b',
            _ => '?',
        };
        let (major, minor) = (major(found.rdev()), minor(found.rdev()));
        format!("{name}:{kind}{major}:{minor}:{:o}", found.mode() & 0o7777)
    };
    names(path).split(' ').map(describe).collect::<Vec<_>>().join(" ")
}

pub(crate) fn open_device(path: &str) -> String {
    File::open(path).map_or_else(|error| words(&error), |_| "open".into())
}

pub(crate) fn first_terminal(_: &str) -> String {
    let name = nix::pty::posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY)
        .and_then(|master| nix::pty::ptsname_r(&master));
    name.unwrap_or_else(|errno| format!("{errno:?}"))
}

pub(crate) fn namespace(kind: &str) -> String {
    let link = fs::read_link(format!("/proc/self/ns/{kind}"));
    link.map_or_else(|error| words(&error), |link| link.to_string_lossy().into_owned())
}

/// Where the box's cgroups seem to lie, each path once.
pub(crate) fn cgroup_paths(_: &str) -> String {
    let text = read("/proc/self/cgroup");
    let mut paths: Vec<&str> = text.lines().filter_map(|line| line.splitn(3, ':').nth(2)).collect();
    paths.sort_unstable();
    paths.dedup();
    paths.join(" ")
}

pub(crate) fn interfaces(_: &str) -> String {
    let text = read("/proc/self/net/dev");
    let names: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
    names.join(" ")
}

pub(crate) fn hostname(_: &str) -> String {
    nix::unistd::gethostname().map_or_else(|e| format!("{e:?}"), |name| name.to_string_lossy().into_owned())
}

pub(crate) fn pid(_: &str) -> String {
    getpid().to_string()
}

pub(crate) fn parent(_: &str) -> String {
    getppid().to_string()
}

pub(crate) fn processes(_: &str) -> String {
    let names = names("/proc");
    names.split(' ').filter(|name| name.parse::<u32>().is_ok()).collect::<Vec<_>>().join(" ")
}

pub(crate) fn session(_: &str) -> String {
    match getsid(None) {
        Ok(session) if session == getpgrp() => session.to_string(),
        other => format!("{other:?}, group {}", getpgrp()),
    }
}

/// How many tasks there are when the kernel refuses one more; stops at 300.
pub(crate) fn pids_limit(_: &str) -> String {
    let mut children: Vec<Pid> = Vec::new();
    let own = fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    let answer = loop {
        if children.len() >= 300 {
            break "none".into();
        }
        match sys::idle_child() {
            Ok(child) => children.push(child),
            Err(Errno::EAGAIN) => break (own + children.len()).to_string(),
            Err(errno) => break format!("{errno:?}"),
        }
    };
    for child in children {
        let _ = kill(child, Signal::SIGKILL).and_then(|()| waitpid(child, None));
    }
    answer
}

/// Asked of the kernel one by one: listing /proc/self/fd would open another.
pub(crate) fn descriptors(_: &str) -> String {
    (0..4096).filter(|fd| sys::is_open(*fd)).map(|fd| fd.to_string()).collect::<Vec<_>>().join(" ")
}

/// In the caller's order, separated by a bar.
pub(crate) fn environment(_: &str) -> String {
    read("/proc/self/environ").trim_end_matches('\0').replace('\0', "|")
}

pub(crate) fn working_directory(_: &str) -> String {
    std::env::current_dir().map_or_else(|error| words(&error), |path| path.display().to_string())
}
