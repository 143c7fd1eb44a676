//! The `linux` object of a bundle: namespaces, cgroup, devices, covered paths, settings.
//!
//! Without this object a bundle would be a process with a root of its own: all that is Linux stands in it.
//!
//! Man page: config-linux.md of the specification. Look at it:
//! `tare-runtime spec; grep -A40 '"linux"' config.json`

use std::borrow::Cow;
use std::ffi::CStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::sched::CloneFlags;
use nix::sys::stat::SFlag;
use nix::unistd::{getegid, geteuid};
use oci_spec::runtime as oci;

use super::{Request, fault, refuse};
use crate::blueprint::{Cgroup, Mask, Namespaces, Node, c_string};
use crate::confinement::{self, DEVICE_RULES, DeviceRule};
use crate::error::Result;
use crate::spec::{DEFAULT_CGROUP_PARENT, Limits, MilliCpus};
use crate::sysctl::{Sysctl, namespace_of};

/// Namespaces made for the box and those of others. The box must have pid and mount namespaces of its
/// own: without the one its processes could not be ended together, without the other its mounts would be
/// the host's.
pub(super) fn namespaces(linux: &oci::Linux) -> Result<Namespaces> {
    let (mut fresh, mut joined) = (CloneFlags::empty(), Vec::new());
    let mut seen = CloneFlags::empty();
    for (index, namespace) in linux.namespaces().iter().flatten().enumerate() {
        let place = |field: &str| format!("linux.namespaces[{index}].{field}");
        let flag = flag(namespace.typ()).ok_or_else(|| fault(place("type"), "\"time\" is not supported"))?;
        if seen.contains(flag) {
            return Err(fault(place("type"), format!("\"{}\" is given twice", namespace.typ())));
        }
        seen |= flag;
        match namespace.path() {
            None => fresh |= flag,
            Some(path) if CAN_BE_JOINED.contains(flag) => joined.push((flag, path.clone())),
            Some(_) => {
                let why = format!("entering another's \"{}\" namespace is not supported", namespace.typ());
                return Err(fault(place("path"), why));
            }
        }
    }
    for (flag, name) in [(CloneFlags::CLONE_NEWPID, "pid"), (CloneFlags::CLONE_NEWNS, "mount")] {
        if !fresh.contains(flag) {
            return Err(fault("linux.namespaces", format!("a \"{name}\" namespace of its own is missing")));
        }
    }
    let id_maps = id_maps(linux, fresh)?;
    if !geteuid().is_root() && !fresh.contains(CloneFlags::CLONE_NEWUSER) {
        return Err(fault("linux.namespaces", "without root a \"user\" namespace is needed"));
    }
    Ok(Namespaces { fresh, joined, id_maps })
}

const CAN_BE_JOINED: CloneFlags =
    CloneFlags::CLONE_NEWNET.union(CloneFlags::CLONE_NEWIPC).union(CloneFlags::CLONE_NEWUTS);

fn flag(kind: oci::LinuxNamespaceType) -> Option<CloneFlags> {
    use oci::LinuxNamespaceType as N;
    match kind {
        N::Mount => Some(CloneFlags::CLONE_NEWNS),
        N::Cgroup => Some(CloneFlags::CLONE_NEWCGROUP),
        N::Uts => Some(CloneFlags::CLONE_NEWUTS),
        N::Ipc => Some(CloneFlags::CLONE_NEWIPC),
        N::User => Some(CloneFlags::CLONE_NEWUSER),
        N::Pid => Some(CloneFlags::CLONE_NEWPID),
        N::Network => Some(CloneFlags::CLONE_NEWNET),
        N::Time => None,
    }
}

/// The lines of the two maps. Without root only one's own id can be mapped, which needs nobody's help.
fn id_maps(linux: &oci::Linux, fresh: CloneFlags) -> Result<Option<[String; 2]>> {
    let given = [("linux.uidMappings", linux.uid_mappings()), ("linux.gidMappings", linux.gid_mappings())];
    let user = fresh.contains(CloneFlags::CLONE_NEWUSER);
    let own = [geteuid().as_raw(), getegid().as_raw()];
    let mut lines = [String::new(), String::new()];
    for (((place, mappings), line), own) in given.into_iter().zip(&mut lines).zip(own) {
        let mappings = mappings.as_deref().unwrap_or_default();
        match (user, mappings.is_empty()) {
            (false, false) => return Err(fault(place, "given without a \"user\" namespace")),
            (true, true) => return Err(fault(place, "missing for the \"user\" namespace")),
            _ => {}
        }
        let alone = matches!(mappings, [m] if m.host_id() == own && m.container_id() == 0 && m.size() == 1);
        if user && !geteuid().is_root() && !alone {
            let why = format!("without root only the caller's own id can be mapped: 0 to {own}, size 1");
            return Err(fault(place, why));
        }
        for map in mappings {
            *line += &format!("{} {} {}\n", map.container_id(), map.host_id(), map.size());
        }
    }
    Ok((user && geteuid().is_root()).then_some(lines))
}

/// Host and domain name, which take a UTS namespace of the box's own.
pub(super) fn names(spec: &oci::Spec, namespaces: &Namespaces) -> Result<(Option<String>, Option<String>)> {
    let own = namespaces.fresh.contains(CloneFlags::CLONE_NEWUTS);
    let check = |place: &str, name: &Option<String>| match name.as_deref() {
        None | Some("") => Ok(None),
        Some(_) if !own => Err(fault(place, "needs a \"uts\" namespace of the box's own")),
        Some(name) if name.len() > 64 => Err(fault(place, "is longer than 64 bytes")),
        Some(name) => Ok(Some(name.to_owned())),
    };
    Ok((check("hostname", spec.hostname())?, check("domainname", spec.domainname())?))
}

/// Where it is counted and what it may use.
pub(super) fn cgroup(linux: &oci::Linux, request: &Request) -> Result<Cgroup> {
    let unsupported = [
        (linux.net_devices().as_ref().is_some_and(|devices| !devices.is_empty()), "linux.netDevices"),
        (linux.intel_rdt().is_some(), "linux.intelRdt"),
        (linux.memory_policy().is_some(), "linux.memoryPolicy"),
        (linux.personality().is_some(), "linux.personality"),
        (linux.time_offsets().as_ref().is_some_and(|offsets| !offsets.is_empty()), "linux.timeOffsets"),
        (linux.mount_label().as_ref().is_some_and(|label| !label.is_empty()), "linux.mountLabel"),
    ];
    unsupported.into_iter().try_for_each(|(present, place)| refuse(present, place))?;
    let path = match linux.cgroups_path() {
        None => format!("{}/{}", request.cgroup_parent, request.id),
        Some(path) => cgroups_path(path)?,
    };
    let mut limits = Limits { memory: None, pids: None, cpus: None };
    let mut devices = DEVICE_RULES.to_vec();
    if let Some(resources) = linux.resources() {
        limits = self::limits(resources)?;
        devices = device_rules(resources.devices().as_deref().unwrap_or_default())?;
    }
    Ok(Cgroup { path, limits, missing: request.missing_limits, devices })
}

fn cgroups_path(path: &Path) -> Result<String> {
    let text = path.to_string_lossy();
    if text.contains(':') {
        return Err(fault("linux.cgroupsPath", format!("{text:?}: systemd's form is not supported")));
    }
    // A relative path lies below a place of our choosing.
    let absolute =
        if path.is_absolute() { text.into_owned() } else { format!("{DEFAULT_CGROUP_PARENT}/{text}") };
    crate::spec::check_cgroup_path(&absolute).map_err(|why| fault("linux.cgroupsPath", why))?;
    Ok(absolute)
}

fn limits(resources: &oci::LinuxResources) -> Result<Limits> {
    refuse(resources.block_io().is_some(), "linux.resources.blockIO")?;
    refuse(resources.network().is_some(), "linux.resources.network")?;
    refuse(resources.rdma().as_ref().is_some_and(|rdma| !rdma.is_empty()), "linux.resources.rdma")?;
    refuse(resources.unified().as_ref().is_some_and(|u| !u.is_empty()), "linux.resources.unified")?;
    let pages = resources.hugepage_limits();
    refuse(pages.as_ref().is_some_and(|p| !p.is_empty()), "linux.resources.hugepageLimits")?;
    let mut limits = Limits { memory: None, pids: None, cpus: None };
    if let Some(memory) = resources.memory() {
        let mut rest = *memory;
        rest.set_limit(None);
        refuse(rest != oci::LinuxMemory::default(), "linux.resources.memory (all but limit)")?;
        limits.memory = positive("linux.resources.memory.limit", memory.limit())?;
    }
    if let Some(pids) = resources.pids() {
        limits.pids = positive("linux.resources.pids.limit", Some(pids.limit()))?;
    }
    if let Some(cpu) = resources.cpu() {
        let mut rest = cpu.clone();
        rest.set_quota(None).set_period(None);
        refuse(rest != oci::LinuxCpu::default(), "linux.resources.cpu (all but quota and period)")?;
        let period = cpu.period().unwrap_or(100_000);
        if period == 0 {
            return Err(fault("linux.resources.cpu.period", "is 0"));
        }
        let quota = positive("linux.resources.cpu.quota", cpu.quota())?;
        let thousandths = |quota: u64| {
            u32::try_from(quota.saturating_mul(1000) / period).map(MilliCpus).map_err(|_| {
                fault("linux.resources.cpu.quota", format!("{quota} is more CPUs than there are"))
            })
        };
        limits.cpus = quota.map(thousandths).transpose()?;
        if limits.cpus.is_some_and(|cpus| cpus.0 < 10) {
            return Err(fault("linux.resources.cpu.quota", "the least share is a hundredth of a CPU"));
        }
    }
    Ok(limits)
}

/// -1 means no limit; 0 would let nothing start.
fn positive(place: &str, value: Option<i64>) -> Result<Option<u64>> {
    match value {
        None | Some(-1) => Ok(None),
        Some(value) => match u64::try_from(value) {
            Ok(value) if value > 0 => Ok(Some(value)),
            _ => Err(fault(place, format!("{value} is no limit (use -1 for none)"))),
        },
    }
}

/// Denials and permissions in the order in which they count, and in the end what every box may use.
fn device_rules(rules: &[oci::LinuxDeviceCgroup]) -> Result<Vec<DeviceRule>> {
    let mut all = Vec::with_capacity(rules.len() + DEVICE_RULES.len());
    // Deny-all comes first even where the bundle forgets it.
    all.push(DEVICE_RULES[0]);
    for (index, rule) in rules.iter().enumerate() {
        let place = format!("linux.resources.devices[{index}]");
        let number = |name: &str, number: Option<i64>| match number {
            None | Some(-1) => Ok(None),
            Some(n) => {
                u32::try_from(n).map(Some).map_err(|_| fault(format!("{place}.{name}"), format!("{n}")))
            }
        };
        let kind = match rule.typ().unwrap_or_default() {
            oci::LinuxDeviceType::A => 'a',
            oci::LinuxDeviceType::B => 'b',
            oci::LinuxDeviceType::C | oci::LinuxDeviceType::U => 'c',
            oci::LinuxDeviceType::P => return Err(fault(format!("{place}.type"), "a pipe is no device")),
        };
        let access = rule.access().clone().unwrap_or_else(|| "rwm".into());
        let bits = DeviceRule::access(&access)
            .ok_or_else(|| fault(format!("{place}.access"), format!("{access:?} is not of r, w and m")))?;
        let (major, minor) = (number("major", rule.major())?, number("minor", rule.minor())?);
        all.push(DeviceRule { allow: rule.allow(), kind, major, minor, access: bits });
    }
    all.extend(DEVICE_RULES.iter().filter(|rule| rule.allow));
    Ok(all)
}

/// The devices that every box has, and those of the bundle.
pub(super) fn devices(linux: &oci::Linux) -> Result<Vec<Node>> {
    let mut all: Vec<Node> = confinement::DEVICES.iter().map(Node::from).collect();
    for (index, device) in linux.devices().iter().flatten().enumerate() {
        let place = |field: &str| format!("linux.devices[{index}].{field}");
        let path = c_string(&place("path"), device.path().as_os_str().as_bytes())?;
        let below = device.path().strip_prefix("/dev").ok();
        if below.is_none_or(|name| name.components().count() != 1) {
            return Err(fault(place("path"), format!("{} is not /dev/NAME", device.path().display())));
        }
        let kind = match device.typ() {
            oci::LinuxDeviceType::C | oci::LinuxDeviceType::U => SFlag::S_IFCHR,
            oci::LinuxDeviceType::B => SFlag::S_IFBLK,
            oci::LinuxDeviceType::P => SFlag::S_IFIFO,
            oci::LinuxDeviceType::A => return Err(fault(place("type"), "\"a\" is no kind of node")),
        };
        let number = |name: &str, number: i64| {
            u32::try_from(number).map_err(|_| fault(place(name), format!("{number} is no device number")))
        };
        let node = Node {
            kind,
            major: number("major", device.major())?,
            minor: number("minor", device.minor())?,
            mode: device.file_mode().unwrap_or(0o666) & 0o777,
            owner: match (device.uid(), device.gid()) {
                (None, None) => None,
                (uid, gid) => Some((uid.unwrap_or(0), gid.unwrap_or(0))),
            },
            path: Cow::Owned(path),
        };
        all.retain(|other| other.path != node.path);
        all.push(node);
    }
    Ok(all)
}

/// Paths to be covered; what covers each is found out inside.
pub(super) fn masked(linux: &oci::Linux) -> Result<Vec<Mask>> {
    let paths = paths(linux.masked_paths().as_deref(), "linux.maskedPaths")?;
    Ok(paths.into_iter().map(|path| Mask { path, cover: None }).collect())
}

/// A list of absolute paths.
pub(super) fn paths(paths: Option<&[String]>, place: &str) -> Result<Vec<Cow<'static, CStr>>> {
    let one = |(index, path): (usize, &String)| {
        let place = format!("{place}[{index}]");
        if !path.starts_with('/') {
            return Err(fault(place, format!("{path:?} is not absolute")));
        }
        c_string(&place, path.as_str()).map(Cow::Owned)
    };
    paths.unwrap_or_default().iter().enumerate().map(one).collect()
}

/// Settings, each of which must belong to a namespace that the box has of its own.
pub(super) fn sysctls(linux: &oci::Linux, namespaces: &Namespaces) -> Result<Vec<Sysctl>> {
    let mut names: Vec<_> = linux.sysctl().iter().flatten().collect();
    names.sort();
    let one = |(name, value): (&String, &String)| {
        let place = format!("linux.sysctl.{name}");
        let odd = |part: &str| part.is_empty() || part == ".." || part.contains(['/', '\0']);
        if name.split('.').any(odd) {
            return Err(fault(place, "is not a setting's name"));
        }
        match namespace_of(name) {
            None => Err(fault(place, "belongs to no namespace: it would change the host")),
            Some(own) if !namespaces.fresh.contains(own) => {
                Err(fault(place, "belongs to a namespace that the box shares: it would change another's"))
            }
            Some(_) => Ok(Sysctl {
                path: c_string(&place, format!("sys/{}", name.replace('.', "/")))?,
                value: c_string(&place, value.as_str())?,
            }),
        }
    };
    names.into_iter().map(one).collect()
}
