//! The same box for a user without any rights and without any set-up.

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Output, Stdio};

use common::{Lab, skip, stderr, stdout};

const NOBODY: u32 = 65534;

struct Rootless {
    lab: Lab,
}

impl Rootless {
    fn new() -> Option<Self> {
        let lab = Lab::new()?;
        // The program must be where the user can read it, and the state where he can write.
        let program = lab.path().join("tare-runtime");
        fs::copy(env!("CARGO_BIN_EXE_tare-runtime"), &program).expect("copy");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("chmod");
        let home = lab.path().join("home");
        fs::create_dir(&home).expect("mkdir");
        chown(&home, Some(NOBODY), Some(NOBODY)).expect("chown");
        let rootless = Self { lab };
        let probe = rootless.as_nobody(&["unshare", "--user", "true"]);
        if !probe.status.success() {
            skip("userns", &format!("user namespaces are not allowed here: {}", stderr(&probe)));
            return None;
        }
        Some(rootless)
    }

    fn as_nobody(&self, command: &[&str]) -> Output {
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).args(command).stdin(Stdio::null());
        setpriv.current_dir("/").output().expect("setpriv")
    }

    fn runtime(&self, arguments: &[&str]) -> Output {
        let program = self.lab.path().join("tare-runtime").display().to_string();
        let root = self.lab.path().join("home/state").display().to_string();
        self.as_nobody(&[&[program.as_str(), "--root", root.as_str()][..], arguments].concat())
    }

    fn run(&self, options: &[&str], id: &str, script: &str) -> Output {
        let image = self.lab.image().display().to_string();
        let fixed = ["run", "--rootfs", image.as_str()];
        self.runtime(&[&fixed[..], options, &[id, "--", "sh", "-c", script]].concat())
    }

    fn left(&self) -> Vec<std::path::PathBuf> {
        common::entries(&self.lab.path().join("home/state"))
    }
}

#[test]
fn without_cgroups_every_limit_is_refused_by_name_or_recorded() {
    let Some(box_) = Rootless::new() else { return };
    let refused = box_.run(&["--memory", "64MiB"], "r", "true");
    assert_eq!(refused.status.code(), Some(1));
    for words in ["limits not applied", "memory: ", "pids: ", "--record-missing-limits"] {
        assert!(stderr(&refused).contains(words), "{words}: {refused:?}");
    }
    assert!(box_.left().is_empty());
    let recorded = box_.run(&["--record-missing-limits"], "r", "true");
    assert!(recorded.status.success() && recorded.stderr.is_empty(), "{recorded:?}");
    assert!(box_.left().is_empty());
}

#[test]
fn what_was_not_applied_stands_in_the_state() {
    let Some(box_) = Rootless::new() else { return };
    let image = box_.lab.image().display().to_string();
    let program = box_.lab.path().join("tare-runtime").display().to_string();
    let root = box_.lab.path().join("home/state").display().to_string();
    // Without pipes, which the detached container would hold open.
    let status = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", &program, "--root", &root, "run", "-d"])
        .args(["--record-missing-limits", "--memory", "1g", "--rootfs", &image, "d", "--", "sleep", "1000"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .current_dir("/")
        .status()
        .expect("setpriv");
    assert!(status.success());
    let state = stdout(&box_.runtime(&["state", "d"]));
    assert!(
        state.contains("\"memory: ") && state.contains("\"pids: ") && state.contains("running"),
        "{state}"
    );
    let deleted = box_.runtime(&["delete", "--force", "d"]);
    assert!(deleted.status.success(), "{deleted:?}");
    assert!(box_.left().is_empty());
}

#[test]
fn the_box_is_confined_like_roots_and_its_root_is_the_caller() {
    let Some(box_) = Rootless::new() else { return };
    let script = "cat /proc/self/status /proc/self/uid_map /proc/self/setgroups; ls /dev; echo x > /dev/null; \
                  head -c 1 /dev/urandom | wc -c; hostname; for n in user pid mnt net ipc uts cgroup; do readlink /proc/self/ns/$n; done";
    let output = box_.run(&["--record-missing-limits"], "r", script);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let text = stdout(&output);
    for line in [
        "CapEff:\t00000000a00425fb",
        "CapPrm:\t00000000a00425fb",
        "CapBnd:\t00000000a00425fb",
        "CapInh:\t0000000000000000",
        "CapAmb:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "deny",
        "tty",
        "r",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
    }
    let map: Vec<&str> =
        text.lines().find(|l| l.trim_start().starts_with("0 ")).expect("map").split_whitespace().collect();
    assert_eq!(map, ["0", "65534", "1"]);
    for kind in ["user", "pid", "mnt", "net", "ipc", "uts", "cgroup"] {
        let host = fs::read_link(format!("/proc/self/ns/{kind}")).expect("host").display().to_string();
        assert!(text.contains(&format!("{kind}:[")) && !text.contains(&host), "{kind}");
    }
}

#[test]
fn files_can_be_made_changed_and_removed_and_delete_takes_all_away() {
    let Some(box_) = Rootless::new() else { return };
    // Directories without permissions, and a file of the image deleted: what makes removal hard.
    let script =
        "mkdir -p /a/b && echo x > /a/b/c && chmod 0 /a/b /a && echo y > /new && ln /new /hard && rm /new";
    let output = box_.run(&["--record-missing-limits"], "w", script);
    assert!(output.status.success(), "{output:?}");
    assert!(box_.left().is_empty());
    assert!(!box_.lab.image().join("a").exists());
}
