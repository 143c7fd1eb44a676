//! The bundle's config.json (OCI runtime specification 1.0): the common box in the words of a runtime that
//! takes bundles, from the same data that our own runtime uses.

use std::ffi::CStr;

use serde_json::{Value, json};
use tare_runtime::confinement::{
    CAPABILITIES, Condition, Cover, DEVICES, Denial, MASKED_PATHS, MOUNTS, READONLY_PATHS, RULES, Rule,
};

use crate::contenders::text;
use crate::contenders::{CPUS, HOSTNAME, MEMORY, PIDS};
use crate::site::{Site, Start};

/// The period in which a CPU quota is counted, microseconds; the kernel's default.
const PERIOD: i64 = 100_000;

/// The bundle of one instance.
pub(super) fn config(site: &Site, start: &Start) -> Value {
    let capabilities: Vec<&str> = CAPABILITIES.iter().map(|c| c.name).collect();
    let namespaces: Vec<Value> = ["pid", "network", "ipc", "uts", "mount", "cgroup"]
        .iter()
        .map(|kind| json!({"type": kind}))
        .collect();
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["/payload", start.nonce],
            "env": [],
            "cwd": "/",
            "noNewPrivileges": true,
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            },
        },
        "root": {"path": text(&site.instance(start).join("merged")), "readonly": false},
        "hostname": HOSTNAME,
        "mounts": mounts(),
        "linux": {
            "cgroupsPath": format!("{}/{}", site.cgroup_parent(), start.id),
            "namespaces": namespaces,
            "resources": {
                "devices": devices(),
                "memory": {"limit": MEMORY},
                "pids": {"limit": PIDS},
                "cpu": {"quota": i64::from(CPUS) * PERIOD, "period": PERIOD},
            },
            "maskedPaths": MASKED_PATHS.iter().map(|(path, _): &(&CStr, Cover)| word(path)).collect::<Vec<_>>(),
            "readonlyPaths": READONLY_PATHS.iter().map(|path| word(path)).collect::<Vec<_>>(),
            "seccomp": seccomp(),
        },
    })
}

fn word(text: &CStr) -> String {
    text.to_string_lossy().into_owned()
}

fn mounts() -> Vec<Value> {
    use tare_runtime::sys::MsFlags;
    let flags = [
        (MsFlags::MS_NOSUID, "nosuid"),
        (MsFlags::MS_NODEV, "nodev"),
        (MsFlags::MS_NOEXEC, "noexec"),
        (MsFlags::MS_RDONLY, "ro"),
        (MsFlags::MS_STRICTATIME, "strictatime"),
    ];
    MOUNTS
        .iter()
        .map(|m| {
            let data = word(m.data);
            let mut options: Vec<String> =
                flags.iter().filter(|(flag, _)| m.flags.contains(*flag)).map(|(_, name)| (*name).into()).collect();
            options.extend(data.split(',').filter(|option| !option.is_empty()).map(str::to_owned));
            json!({
                "destination": word(m.target), "type": word(m.kind), "source": word(m.source), "options": options,
            })
        })
        .collect()
}

/// Such a runtime makes the device nodes of its own accord; this allows their use and nothing else's.
fn devices() -> Vec<Value> {
    let mut rules = vec![json!({"allow": false, "access": "rwm"})];
    rules.extend(
        DEVICES
            .iter()
            .map(|d| json!({"allow": true, "type": "c", "major": d.major, "minor": d.minor, "access": "rw"})),
    );
    rules
}

/// Our refusals, except those that the format cannot say: "none of these values", and "any number that is not
/// known yet".
fn seccomp() -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": RULES.iter().flat_map(syscalls).collect::<Vec<_>>(),
    })
}

fn syscalls(rule: &Rule) -> Vec<Value> {
    let errno = match rule.denial {
        Denial::NotPermitted => nix::errno::Errno::EPERM as u32,
        Denial::Missing => nix::errno::Errno::ENOSYS as u32,
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
