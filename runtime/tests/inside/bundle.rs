//! The same checker in a bundle: in runc with and without our profile, and in our own runtime.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::common::{Lab, entries, skip};

/// A bundle whose config.json is what `runc spec` writes, but for what the checker needs to run at all:
/// its command, no terminal, the laboratory's image and cgroup.
pub(crate) struct Bundle {
    directory: PathBuf,
    cgroup: String,
    config: Value,
}

impl Bundle {
    pub(crate) fn new(lab: &Lab, command: &[String]) -> Option<Self> {
        if Command::new("runc").arg("--version").output().is_err() {
            skip("runc", "there is no runc (apt-get install runc)");
            return None;
        }
        let directory = lab.path().join("bundle");
        fs::create_dir(&directory).expect("mkdir");
        let written = Command::new("runc").args(["spec", "--bundle"]).arg(&directory).status();
        assert!(written.expect("runc spec").success());
        let text = fs::read_to_string(directory.join("config.json")).expect("config.json");
        let mut config: Value = serde_json::from_str(&text).expect("JSON");
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(command);
        config["root"]["path"] = json!(lab.image());
        let cgroup = lab.parent.clone();
        config["linux"]["cgroupsPath"] = json!(format!("{cgroup}/checked"));
        Some(Self { directory, cgroup, config })
    }

    /// A bundle with nothing but the checker's needs, to be confined and run by our own runtime.
    pub(crate) fn empty(lab: &Lab, command: &[String]) -> Self {
        let directory = lab.path().join("bundle");
        fs::create_dir(&directory).expect("mkdir");
        let cgroup = lab.parent.clone();
        let config = json!({
            "process": {"args": command},
            "root": {"path": lab.image()},
            "linux": {"cgroupsPath": format!("{cgroup}/checked")},
        });
        Self { directory, cgroup, config }
    }

    /// Our own profile, as `tare-runtime spec` prints it, around the same command, image and cgroup.
    pub(crate) fn confine(&mut self, hostname: &str, env: &[&str], pids: u64) {
        let mut config = tare_runtime::oci::default_config(None);
        config["process"]["args"] = self.config["process"]["args"].take();
        config["process"]["env"] = json!(env);
        config["root"] = json!({"path": self.config["root"]["path"], "readonly": false});
        config["hostname"] = json!(hostname);
        config["linux"]["cgroupsPath"] = self.config["linux"]["cgroupsPath"].take();
        config["linux"]["resources"]["pids"] = json!({"limit": pids});
        self.config = config;
    }

    fn write(&self) {
        let text = serde_json::to_vec(&self.config).expect("JSON");
        fs::write(self.directory.join("config.json"), text).expect("config.json");
    }

    /// In our own runtime.
    pub(crate) fn run_in_ours(&self, lab: &Lab) -> Output {
        self.write();
        let mut run = lab.command(&["run", "--bundle"]);
        run.arg(&self.directory).arg("checked").output().expect("tare-runtime starts")
    }

    /// In runc.
    pub(crate) fn run(&self) -> Output {
        self.write();
        let mut runc = self.runc();
        runc.args(["run", "--bundle"]).arg(&self.directory).arg("checked");
        runc.stdin(Stdio::null()).output().expect("runc")
    }

    fn runc(&self) -> Command {
        let mut runc = Command::new("runc");
        runc.arg("--root").arg(self.directory.join("state"));
        runc
    }
}

impl Drop for Bundle {
    /// runc makes the cgroup's parents in all trees, ours in those that it needs, and removes none.
    fn drop(&mut self) {
        let _ = self.runc().args(["delete", "--force", "checked"]).output();
        for tree in entries(Path::new("/sys/fs/cgroup")) {
            let _ = fs::remove_dir(tree.join(self.cgroup.trim_start_matches('/')));
        }
    }
}
