//! Our default profile as a bundle's configuration: what `spec` writes, and what the benchmark gives to
//! the runtimes that take bundles, so that all of them build the same box.
//!
//! Man page: config.md of the specification. Look at it: `tare-runtime spec; cat config.json`

use std::ffi::CStr;

use nix::errno::Errno;
use serde_json::{Value, json};

use super::VERSION;
use crate::confinement::{
    CAPABILITIES, Condition, DEVICE_RULES, Denial, DeviceRule, MASKED_PATHS, MOUNTS, READONLY_PATHS, RULES,
    Rule,
};
use crate::spec::{DEFAULT_PATH, DEFAULT_PIDS};
use crate::sys::MsFlags;

/// The configuration of a box with a shell in `rootfs` beside it. With `rootless`, for the caller's own id.
pub fn default_config(rootless: Option<(u32, u32)>) -> Value {
    let capabilities: Vec<&str> = CAPABILITIES.iter().map(|capability| capability.name).collect();
    let mut namespaces: Vec<Value> = ["pid", "network", "ipc", "uts", "mount", "cgroup"]
        .iter()
        .map(|kind| json!({"type": kind}))
        .collect();
    if rootless.is_some() {
        namespaces.push(json!({"type": "user"}));
    }
    let mut config = json!({
        "ociVersion": VERSION,
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": [format!("PATH={DEFAULT_PATH}"), "TERM=xterm"],
            "cwd": "/",
            "noNewPrivileges": true,
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            },
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "tare",
        "mounts": mounts(rootless.is_some()),
        "linux": {
            "namespaces": namespaces,
            "resources": {"devices": DEVICE_RULES.iter().map(device).collect::<Vec<_>>()},
            "maskedPaths": MASKED_PATHS.iter().map(|(path, _)| word(path)).collect::<Vec<_>>(),
            "readonlyPaths": READONLY_PATHS.iter().map(|path| word(path)).collect::<Vec<_>>(),
            "seccomp": seccomp(),
        },
    });
    match rootless {
        None => config["linux"]["resources"]["pids"] = json!({"limit": DEFAULT_PIDS}),
        Some((uid, gid)) => {
            let map = |id: u32| json!([{"containerID": 0, "hostID": id, "size": 1}]);
            config["linux"]["uidMappings"] = map(uid);
            config["linux"]["gidMappings"] = map(gid);
        }
    }
    config
}

fn word(text: &CStr) -> String {
    text.to_string_lossy().into_owned()
}

fn mounts(rootless: bool) -> Vec<Value> {
    let flags = [
        (MsFlags::MS_NOSUID, "nosuid"),
        (MsFlags::MS_NODEV, "nodev"),
        (MsFlags::MS_NOEXEC, "noexec"),
        (MsFlags::MS_RDONLY, "ro"),
        (MsFlags::MS_STRICTATIME, "strictatime"),
    ];
    let one = |mount: &crate::confinement::Mount| {
        let data = word(if rootless { mount.data_rootless } else { mount.data });
        let set =
            flags.iter().filter(|(flag, _)| mount.flags.contains(*flag)).map(|(_, name)| (*name).to_owned());
        let own = data.split(',').filter(|option| !option.is_empty()).map(str::to_owned);
        json!({
            "destination": word(mount.target), "type": word(mount.kind), "source": word(mount.source),
            "options": set.chain(own).collect::<Vec<_>>(),
        })
    };
    MOUNTS.iter().map(one).collect()
}

fn device(rule: &DeviceRule) -> Value {
    let mut value = json!({"allow": rule.allow, "access": rule.access_letters()});
    if rule.kind != 'a' {
        value["type"] = json!(rule.kind.to_string());
    }
    for (name, number) in [("major", rule.major), ("minor", rule.minor)] {
        if let Some(number) = number {
            value[name] = json!(number);
        }
    }
    value
}

/// Our refusals, except those that the format cannot say: "none of these values", and "any number that is
/// not known yet".
fn seccomp() -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": RULES.iter().flat_map(refusals).collect::<Vec<_>>(),
    })
}

fn refusals(rule: &Rule) -> Vec<Value> {
    let errno = match rule.denial {
        Denial::NotPermitted => Errno::EPERM as u32,
        Denial::Missing => Errno::ENOSYS as u32,
    };
    let entry = |args: Value| json!({"names": [rule.name], "action": "SCMP_ACT_ERRNO", "errnoRet": errno, "args": args});
    match rule.when {
        Condition::Always => vec![entry(json!([]))],
        Condition::AnyBit { argument, mask } => (0..32)
            .map(|bit| 1u32 << bit)
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
