//! A Docker of a test's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::{on_path, skip};

/// A Docker of our own, with everything of its below one directory.
pub(crate) struct Docker {
    daemon: Child,
    socket: PathBuf,
}

impl Docker {
    /// `None`, said aloud, where there is none to start.
    pub(crate) fn start(place: &Path) -> Option<Self> {
        if !on_path("dockerd") || !on_path("docker") {
            skip("docker", "there is no dockerd and docker on PATH (scripts/setup --peers)");
            return None;
        }
        fs::create_dir_all(place).expect("mkdir");
        let at = |name: &str| place.join(name).display().to_string();
        let log = fs::File::create(place.join("log")).expect("log");
        // The host's own configuration is not ours.
        fs::write(place.join("none.json"), "{}").expect("write");
        let daemon = Command::new("dockerd")
            .args(["--data-root", &at("data"), "--exec-root", &at("exec"), "--pidfile", &at("pid")])
            .args(["--host", &format!("unix://{}", at("socket")), "--bridge", "none", "--iptables=false"])
            .args(["--storage-driver", "overlay2", "--config-file", &at("none.json")])
            .stdout(log.try_clone().expect("clone"))
            .stderr(log)
            .spawn()
            .expect("dockerd starts");
        let docker = Self { daemon, socket: place.join("socket") };
        let deadline = Instant::now() + Duration::from_secs(30);
        while !docker.run(&["version"]).status.success() {
            let log = || fs::read_to_string(place.join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "dockerd does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
        Some(docker)
    }

    /// Its client with these words.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("docker");
        command.arg("--host").arg(format!("unix://{}", self.socket.display())).args(arguments);
        command.env("DOCKER_BUILDKIT", "0").env("DOCKER_CONFIG", self.socket.with_extension("config"));
        command.stdin(Stdio::null()).output().expect("docker starts")
    }

    /// What its client prints, and it must succeed.
    pub(crate) fn must(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "docker {arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.daemon.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.daemon.wait();
    }
}
