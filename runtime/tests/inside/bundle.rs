//! The same checker in runc, with and without our profile.

use std::ffi::CStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::mount::MsFlags;
use serde_json::{Value, json};
use tare_runtime::confinement::{
    CAPABILITIES, Condition, DEVICES, Denial, MASKED_PATHS, MOUNTS, READONLY_PATHS, RULES, Rule,
};

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

    /// Everything of our default confinement that the format can say.
    pub(crate) fn confine(&mut self, hostname: &str, env: &[&str], pids: u64) {
        let capabilities: Vec<&str> = CAPABILITIES.iter().map(|c| c.name).collect();
        self.config["hostname"] = json!(hostname);
        self.config["root"]["readonly"] = json!(false);
        let process = &mut self.config["process"];
        process["env"] = json!(env);
        process["capabilities"] =
            json!({"bounding": capabilities, "effective": capabilities, "permitted": capabilities});
        self.config["mounts"] = json!(mounts());
        let linux = &mut self.config["linux"];
        linux["namespaces"] = ["pid", "network", "ipc", "uts", "mount", "cgroup"]
            .iter()
            .map(|kind| json!({"type": kind}))
            .collect();
        linux["resources"] = json!({"devices": devices(), "pids": {"limit": pids}});
        linux["maskedPaths"] = MASKED_PATHS.iter().map(|(path, _)| word(path)).collect();
        linux["readonlyPaths"] = READONLY_PATHS.iter().map(|path| word(path)).collect();
        linux["seccomp"] = seccomp();
    }

    pub(crate) fn run(&self) -> Output {
        let text = serde_json::to_vec(&self.config).expect("JSON");
        fs::write(self.directory.join("config.json"), text).expect("config.json");
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

fn word(text: &CStr) -> String {
    text.to_string_lossy().into_owned()
}

fn mounts() -> Vec<Value> {
    let names = [
        (MsFlags::MS_NOSUID, "nosuid"),
        (MsFlags::MS_NODEV, "nodev"),
        (MsFlags::MS_NOEXEC, "noexec"),
        (MsFlags::MS_RDONLY, "ro"),
    ];
    let mount = |m: &tare_runtime::confinement::Mount| {
        let data = word(m.data);
        let flags = names.iter().filter(|(flag, _)| m.flags.contains(*flag)).map(|(_, name)| *name);
        let options: Vec<&str> = flags.chain(data.split(',').filter(|option| !option.is_empty())).collect();
        json!({"destination": word(m.target), "type": word(m.kind), "source": word(m.source), "options": options})
    };
    MOUNTS.iter().map(mount).collect()
}

fn devices() -> Vec<Value> {
    let allow =
        |major, minor| json!({"allow": true, "type": "c", "major": major, "minor": minor, "access": "rw"});
    let deny = json!({"allow": false, "access": "rwm"});
    std::iter::once(deny).chain(DEVICES.iter().map(|device| allow(device.major, device.minor))).collect()
}

/// Our refusals, but for the two that the format cannot say: "none of these values" and "numbers that
/// nobody has looked at".
fn seccomp() -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": RULES.iter().flat_map(syscalls).collect::<Vec<_>>(),
    })
}

fn syscalls(rule: &Rule) -> Vec<Value> {
    let errno = match rule.denial {
        Denial::NotPermitted => libc::EPERM,
        Denial::Missing => libc::ENOSYS,
    };
    let entry = |args: Value| json!({"names": [rule.name], "action": "SCMP_ACT_ERRNO", "errnoRet": errno, "args": args});
    match rule.when {
        Condition::Always => vec![entry(json!([]))],
        Condition::AnyBit { argument, mask } => (0..32)
            .map(|bit| 1_u32 << bit)
            .filter(|bit| mask & bit != 0)
            .map(|bit| {
                entry(json!([{"index": argument, "value": bit, "valueTwo": bit, "op": "SCMP_CMP_MASKED_EQ"}]))
            })
            .collect(),
        Condition::OneOf { argument, values } => values
            .iter()
            .map(|value| entry(json!([{"index": argument, "value": value, "op": "SCMP_CMP_EQ"}])))
            .collect(),
        Condition::NoneOf { .. } => Vec::new(),
    }
}
