//! What the tests on the real kernel share: an image made of busybox, a private state directory and a
//! private cgroup parent, and the check that nothing is left.
#![allow(dead_code)] // each test program uses its own part

pub(crate) mod bundle;
pub(crate) mod docker;

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tare_runtime::{Id, Runtime, Spec};

const APPLETS: [&str; 31] = [
    "sh", "cat", "ls", "sleep", "true", "false", "id", "mount", "umount", "hostname", "grep", "echo", "ps",
    "kill", "dd", "readlink", "stat", "wc", "head", "unshare", "ifconfig", "touch", "chmod", "mkdir",
    "mknod", "httpd", "ip", "nc", "timeout", "wget", "rm",
];

/// Says aloud why a test did not run; panics where `TARE_REQUIRE` names what is missing.
pub(crate) fn skip(word: &str, reason: &str) {
    let required = std::env::var("TARE_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|w| w == word), "{word} is required, but {reason}");
    eprintln!("skipped: {reason}");
}

/// Whether we are root; says so if not.
pub(crate) fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        skip("root", "the real kernel needs root here");
    }
    root
}

/// A laboratory for one test, or `None` (said aloud) if this host cannot have one.
pub(crate) struct Lab {
    directory: tempfile::TempDir,
    pub(crate) parent: String,
}

impl Lab {
    pub(crate) fn new() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            skip("root", "the real kernel needs root here");
            return None;
        }
        if !Path::new("/bin/busybox").exists() {
            skip("root", "no /bin/busybox (apt-get install busybox-static)");
            return None;
        }
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let parent = format!("/tare-test-{}-{number}", std::process::id());
        let lab = Self { directory: tempfile::tempdir().expect("tempdir"), parent };
        // The unprivileged user of the rootless tests must get through.
        fs::set_permissions(lab.directory.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        make_image(&lab.image());
        Some(lab)
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.path().join("image")
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.path().join("state")
    }

    pub(crate) fn runtime(&self) -> Runtime {
        Runtime::new(self.root())
    }

    pub(crate) fn spec(&self, id: &str, command: &[&str]) -> Spec {
        let args = command.iter().map(ToString::to_string).collect();
        let mut spec = Spec::new(Id::new(id).expect("id"), self.image(), args);
        spec.cgroup_parent = self.parent.clone();
        spec
    }

    /// `tare-runtime` with this laboratory's directories and further arguments.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tare-runtime"));
        command.arg("--root").arg(self.root()).args(arguments).stdin(Stdio::null());
        command
    }

    /// `tare-runtime run` with options before the id.
    pub(crate) fn run_with(&self, options: &[&str], id: &str, command: &[&str]) -> Output {
        let mut run = self.command(&["run", "--cgroup-parent", &self.parent, "--rootfs"]);
        run.arg(self.image()).args(options).arg(id).arg("--").args(command);
        run.output().expect("tare-runtime starts")
    }

    /// What a shell script inside prints, which must succeed.
    pub(crate) fn inside(&self, script: &str) -> String {
        let output = self.run_with(&[], "inside", &["sh", "-c", script]);
        assert!(output.status.success(), "{script}: {output:?}");
        String::from_utf8(output.stdout).expect("utf-8")
    }

    /// Directories of the state and of all cgroup trees that are left of this laboratory.
    pub(crate) fn leftovers(&self) -> Vec<PathBuf> {
        let mut left: Vec<PathBuf> = entries(&self.root());
        for tree in entries(Path::new("/sys/fs/cgroup")) {
            let parent = tree.join(self.parent.trim_start_matches('/'));
            left.extend(entries(&parent).into_iter().filter(|path| path.is_dir()));
        }
        left
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for state in self.runtime().list().unwrap_or_default() {
            let _ = self.runtime().delete(&state.id, true);
        }
        tare_runtime::remove_parent(&self.parent);
        // What the runtime should have removed and did not has failed the test by now (see `leftovers`); where that is a
        // planted fault's work, nothing of it stays on the host all the same.
        for tree in entries(Path::new("/sys/fs/cgroup")) {
            remove_cgroups(&tree.join(self.parent.trim_start_matches('/')));
        }
    }
}

/// Removes a cgroup after those below it. Files in it are the kernel's. A process that still is in it keeps it, so it is
/// ended: that of a box which a failed test did not get deleted.
fn remove_cgroups(cgroup: &Path) {
    for below in entries(cgroup).iter().filter(|path| path.is_dir()) {
        remove_cgroups(below);
    }
    for _ in 0..100 {
        if fs::remove_dir(cgroup).is_ok() || !cgroup.exists() {
            return;
        }
        let members = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
        // One of a pid namespace above ours is told as 0, which to kill(2) means ourselves.
        for pid in members.lines().filter_map(|line| line.parse().ok()).filter(|&pid: &i32| pid > 1) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether there is such a program.
pub(crate) fn on_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(name).exists())
}

/// Whether strace is here; says so if not.
#[allow(dead_code)] // Not every test that includes this file.
pub(crate) fn has_strace() -> bool {
    let there = Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok();
    if !there {
        skip("root", "there is no strace (apt-get install strace)");
    }
    there
}

/// The exit status, or a panic after a minute: a test that hangs tells nobody what is wrong.
pub(crate) fn wait(mut child: Child) -> Option<i32> {
    let pidfd = tare_runtime::sys::pidfd_open(child.id() as i32).expect("pidfd");
    let ended = poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], 60_000_u16).expect("poll");
    if ended == 0 {
        let _ = child.kill();
        panic!("still running after a minute");
    }
    child.wait().expect("wait").code()
}

pub(crate) fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).map(|all| all.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

fn make_image(image: &Path) {
    for directory in ["bin", "proc", "sys", "dev", "tmp", "etc"] {
        fs::create_dir_all(image.join(directory)).expect("mkdir");
    }
    fs::copy("/bin/busybox", image.join("bin/busybox")).expect("copy");
    for applet in APPLETS {
        symlink("busybox", image.join("bin").join(applet)).expect("symlink");
    }
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
