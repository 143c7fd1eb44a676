//! `digest`: what the payload says of the file system that it has for a root.

use crate::process::program;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, SFlag, makedev, mkdirat, mknod};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

/// What it answers to one line with this directory as root, in a mount namespace in which `script` ran. `None`, said
/// aloud, without root.
fn answer(root: &Path, script: &str, line: &str) -> Option<Vec<String>> {
    if !crate::common::root() {
        return None;
    }
    fs::copy(program(), root.join("payload")).expect("a copy");
    let script =
        format!("{script}\nexec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot \"$1\" /payload n1");
    let mut unshared = Command::new("unshare");
    unshared.args(["--mount", "--", "sh", "-e", "-c", &script, "sh"]).arg(root);
    let mut child = unshared.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("util-linux");
    child.stdin.take().expect("a pipe").write_all(format!("{line}\n").as_bytes()).expect("sent");
    let said = child.wait_with_output().expect("an end");
    assert!(said.status.success(), "{:?}", said.status);
    let text = String::from_utf8(said.stdout).expect("ASCII only");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert_eq!(lines.remove(0), "READY n1");
    Some(lines)
}

/// The paths of these lines.
fn paths<'a>(lines: &'a [String], kind: &str) -> Vec<&'a str> {
    lines.iter().filter(|line| line.starts_with(kind)).filter_map(|line| line.rsplit(' ').next()).collect()
}

#[test]
fn every_name_comes_once_and_in_its_order_however_many_there_are() {
    let root = tempfile::tempdir().expect("a directory");
    let many = root.path().join("many");
    fs::create_dir_all(many.join("m0500/inner")).expect("directories");
    for number in (0..700).filter(|it| *it != 500) {
        fs::write(many.join(format!("m{number:04}")), "").expect("a file");
    }
    // Byte order: `/many/m0500/inner` comes before `/many/m0500.x`, although a dot sorts before a slash.
    symlink("\\ to\n", many.join("m0500.x")).expect("a link");
    let Some(lines) = answer(root.path(), "", "digest") else { return };
    let found = paths(&lines, "entry ");
    let mut expected: Vec<String> = vec!["/".into(), "/many".into()];
    for number in 0..700 {
        expected.push(format!("/many/m{number:04}"));
        if number == 500 {
            expected.extend(["/many/m0500/inner".into(), "/many/m0500.x".into()]);
        }
    }
    expected.push("/payload".into());
    assert_eq!(found, expected);
    assert!(lines.iter().any(|line| line.ends_with(" 0 0 1 \\134\\040to\\012 /many/m0500.x")), "{lines:?}");
    let last = lines.last().expect("a line");
    assert!(last.starts_with("OK digest ") && last.ends_with(&format!(" {}", expected.len() + 3)), "{last}");
}

#[test]
fn each_kind_of_thing_has_its_line_and_names_of_one_file_are_told() {
    let root = tempfile::tempdir().expect("a directory");
    if !crate::common::root() {
        return;
    }
    let at = |name: &str| root.path().join(name);
    for (name, kind, device) in [
        ("char", SFlag::S_IFCHR, makedev(4, 640)),
        ("block", SFlag::S_IFBLK, makedev(7, 9)),
        ("fifo", SFlag::S_IFIFO, 0),
    ] {
        mknod(&at(name), kind, Mode::S_IRUSR, device).expect("a node");
    }
    drop(std::os::unix::net::UnixListener::bind(at("socket")).expect("a socket"));
    // Two pairs of the same bytes: by their numbers alone they could be linked crosswise.
    for (first, second) in [("a", "c"), ("b", "d")] {
        fs::write(at(first), "same").expect("a file");
        fs::hard_link(at(first), at(second)).expect("a link");
    }
    let Some(lines) = answer(root.path(), "", "digest") else { return };
    let line = |path: &str| {
        let end = format!(" {path}");
        let found = lines.iter().find(|line| line.starts_with("entry ") && line.ends_with(&end));
        found.and_then(|line| line.strip_suffix(&end)).unwrap_or_else(|| panic!("{path}: {lines:?}"))
    };
    assert_eq!(line("/char"), "entry c0400 0 0 1 4:640");
    assert_eq!(line("/block"), "entry b0400 0 0 1 7:9");
    assert_eq!(line("/fifo"), "entry p0400 0 0 1 -");
    assert!(line("/socket").starts_with("entry s0") && line("/socket").ends_with(" 0 0 1 -"));
    // The beginnings of SHA-256 of "/a" and "/b".
    for (path, first) in [("/a", "6a50dc85"), ("/c", "6a50dc85"), ("/b", "9812b0b9"), ("/d", "9812b0b9")] {
        assert!(line(path).contains(&format!(" 0 0 2#{first} ")), "{}", line(path));
    }
}

#[test]
fn what_is_mounted_or_named_is_beside_the_content() {
    let root = tempfile::tempdir().expect("a directory");
    for name in ["own/below", "tmpfs", "bound", "named/below"] {
        fs::create_dir_all(root.path().join(name)).expect("directories");
    }
    // The second one is of the same file system, and of another mount.
    let script = "mount -t tmpfs none \"$1/tmpfs\"; mount --bind \"$1/own\" \"$1/bound\"";
    let Some(lines) = answer(root.path(), script, "digest /named NAME") else { return };
    assert_eq!(paths(&lines, "beside "), ["/bound", "/named", "/tmpfs"]);
    assert_eq!(paths(&lines, "entry "), ["/", "/own", "/own/below", "/payload"]);
}

#[test]
fn a_path_that_is_too_long_is_an_error_and_no_digest() {
    let root = tempfile::tempdir().expect("a directory");
    let name = "x".repeat(250);
    // By descriptors: no call takes a path so long.
    let mut deeper: Vec<OwnedFd> = vec![fs::File::open(root.path()).expect("opened").into()];
    for _ in 0..17 {
        let above = deeper.last().expect("a directory");
        mkdirat(above, name.as_str(), Mode::S_IRWXU).expect("a directory");
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        deeper.push(openat(above, name.as_str(), flags, Mode::empty()).expect("opened"));
    }
    let lines = answer(root.path(), "", "digest");
    // Too deep also for what clears the directory afterwards.
    while let Some(above) = deeper.pop().and(deeper.last()) {
        unlinkat(above, name.as_str(), UnlinkatFlags::RemoveDir).expect("removed");
    }
    let Some(lines) = lines else { return };
    let last = lines.last().expect("a line");
    assert!(last.starts_with("ERR digest cannot go on below, for the path is too long, /xxx"), "{last:.80}");
    assert!(!lines.iter().any(|line| line.starts_with("OK ")));
}
