//! The process of a bundle: command, identity, capabilities, resource limits.
//!
//! What is left out here is nothing, and not the default of
//! `confinement.rs`: a bundle without capabilities has none, one without `noNewPrivileges` lets set-user-id
//! programs work.
//!
//! Man page: config.md of the specification, "Process". Look at it:
//! `tare-runtime spec; grep -A60 '"process"' config.json`

use nix::sys::resource::Resource;
use oci_spec::runtime as oci;

use super::{fault, refuse};
use crate::blueprint::{Capabilities, Process, User};
use crate::confinement::UMASK;
use crate::error::Result;
use crate::rlimits::Rlimit;

/// The kernel's "no change", which is no user (CVE-2024-40635 came from such a number).
const NOBODY_AT_ALL: u32 = u32::MAX;

/// See the file's head.
///
/// # Errors
/// [`Error::Spec`](crate::Error::Spec) naming the place.
pub(crate) fn process(process: &oci::Process) -> Result<Process> {
    let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    refuse(given(process.apparmor_profile()), "process.apparmorProfile")?;
    refuse(given(process.selinux_label()), "process.selinuxLabel")?;
    refuse(given(process.command_line()), "process.commandLine")?;
    refuse(process.io_priority().is_some(), "process.ioPriority")?;
    refuse(process.scheduler().is_some(), "process.scheduler")?;
    refuse(process.exec_cpu_affinity().is_some(), "process.execCPUAffinity")?;
    let args = process.args().clone().unwrap_or_default();
    if args.first().is_none_or(String::is_empty) {
        return Err(fault("process.args", "no command given"));
    }
    if let Some(index) = args.iter().position(|arg| arg.contains('\0')) {
        return Err(fault(format!("process.args[{index}]"), "a zero byte cannot be passed to a program"));
    }
    let env = process.env().clone().unwrap_or_default();
    if let Some(index) = env.iter().position(|e| e.contains('\0') || e.find('=').is_none_or(|at| at == 0)) {
        return Err(fault(format!("process.env[{index}]"), format!("{:?} is not NAME=value", env[index])));
    }
    if !process.cwd().is_absolute() {
        return Err(fault("process.cwd", format!("{} is not absolute", process.cwd().display())));
    }
    Ok(Process {
        args,
        env,
        cwd: process.cwd().clone(),
        user: user(process.user())?,
        capabilities: capabilities(process.capabilities().as_ref())?,
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        rlimits: rlimits(process.rlimits().as_deref().unwrap_or_default())?,
        oom_score_adj: oom_score(process.oom_score_adj())?,
        terminal: process.terminal().unwrap_or(false),
    })
}

fn user(user: &oci::User) -> Result<User> {
    let groups = user.additional_gids().clone().unwrap_or_default();
    let ids = [("uid", user.uid()), ("gid", user.gid())];
    let all = ids.into_iter().chain(groups.iter().map(|group| ("additionalGids", *group)));
    for (field, id) in all {
        if id == NOBODY_AT_ALL {
            return Err(fault(
                format!("process.user.{field}"),
                format!("{id} is beyond the kernel's last id"),
            ));
        }
    }
    let umask = user.umask().unwrap_or(UMASK);
    if umask > 0o777 {
        return Err(fault("process.user.umask", format!("{umask:o} is beyond 777")));
    }
    Ok(User { uid: user.uid(), gid: user.gid(), groups, umask })
}

/// A set that is not named is empty.
fn capabilities(sets: Option<&oci::LinuxCapabilities>) -> Result<Capabilities> {
    let mask = |set: &Option<oci::Capabilities>| {
        set.iter().flatten().fold(0_u64, |mask, capability| mask | 1 << number(*capability))
    };
    let none = Capabilities { bounding: 0, effective: 0, permitted: 0, inheritable: 0, ambient: 0 };
    let Some(sets) = sets else { return Ok(none) };
    let sets = Capabilities {
        bounding: mask(sets.bounding()),
        effective: mask(sets.effective()),
        permitted: mask(sets.permitted()),
        inheritable: mask(sets.inheritable()),
        ambient: mask(sets.ambient()),
    };
    if sets.effective & !sets.permitted != 0 {
        return Err(fault("process.capabilities.effective", "holds a capability that is not permitted"));
    }
    if sets.ambient & !(sets.permitted & sets.inheritable) != 0 {
        let why = "holds a capability that is not both permitted and inheritable";
        return Err(fault("process.capabilities.ambient", why));
    }
    Ok(sets)
}

/// The kernel's number, from linux/capability.h; oci-spec lists them by name.
fn number(capability: oci::Capability) -> u32 {
    use oci::Capability as C;
    match capability {
        C::Chown => 0,
        C::DacOverride => 1,
        C::DacReadSearch => 2,
        C::Fowner => 3,
        C::Fsetid => 4,
        C::Kill => 5,
        C::Setgid => 6,
        C::Setuid => 7,
        C::Setpcap => 8,
        C::LinuxImmutable => 9,
        C::NetBindService => 10,
        C::NetBroadcast => 11,
        C::NetAdmin => 12,
        C::NetRaw => 13,
        C::IpcLock => 14,
        C::IpcOwner => 15,
        C::SysModule => 16,
        C::SysRawio => 17,
        C::SysChroot => 18,
        C::SysPtrace => 19,
        C::SysPacct => 20,
        C::SysAdmin => 21,
        C::SysBoot => 22,
        C::SysNice => 23,
        C::SysResource => 24,
        C::SysTime => 25,
        C::SysTtyConfig => 26,
        C::Mknod => 27,
        C::Lease => 28,
        C::AuditWrite => 29,
        C::AuditControl => 30,
        C::Setfcap => 31,
        C::MacOverride => 32,
        C::MacAdmin => 33,
        C::Syslog => 34,
        C::WakeAlarm => 35,
        C::BlockSuspend => 36,
        C::AuditRead => 37,
        C::Perfmon => 38,
        C::Bpf => 39,
        C::CheckpointRestore => 40,
    }
}

fn rlimits(limits: &[oci::PosixRlimit]) -> Result<Vec<Rlimit>> {
    let mut all: Vec<Rlimit> = Vec::with_capacity(limits.len());
    for (index, limit) in limits.iter().enumerate() {
        let place = format!("process.rlimits[{index}]");
        let resource = resource(limit.typ());
        if all.iter().any(|other| other.resource == resource) {
            return Err(fault(place, format!("{} is given twice", limit.typ())));
        }
        if limit.soft() > limit.hard() {
            return Err(fault(place, format!("soft {} is above hard {}", limit.soft(), limit.hard())));
        }
        all.push(Rlimit { resource, soft: limit.soft(), hard: limit.hard() });
    }
    Ok(all)
}

fn resource(kind: oci::PosixRlimitType) -> Resource {
    use oci::PosixRlimitType as R;
    match kind {
        R::RlimitCpu => Resource::RLIMIT_CPU,
        R::RlimitFsize => Resource::RLIMIT_FSIZE,
        R::RlimitData => Resource::RLIMIT_DATA,
        R::RlimitStack => Resource::RLIMIT_STACK,
        R::RlimitCore => Resource::RLIMIT_CORE,
        R::RlimitRss => Resource::RLIMIT_RSS,
        R::RlimitNproc => Resource::RLIMIT_NPROC,
        R::RlimitNofile => Resource::RLIMIT_NOFILE,
        R::RlimitMemlock => Resource::RLIMIT_MEMLOCK,
        R::RlimitAs => Resource::RLIMIT_AS,
        R::RlimitLocks => Resource::RLIMIT_LOCKS,
        R::RlimitSigpending => Resource::RLIMIT_SIGPENDING,
        R::RlimitMsgqueue => Resource::RLIMIT_MSGQUEUE,
        R::RlimitNice => Resource::RLIMIT_NICE,
        R::RlimitRtprio => Resource::RLIMIT_RTPRIO,
        R::RlimitRttime => Resource::RLIMIT_RTTIME,
    }
}

fn oom_score(score: Option<i32>) -> Result<Option<i32>> {
    match score {
        Some(score) if !(-1000..=1000).contains(&score) => {
            Err(fault("process.oomScoreAdj", format!("{score} is not within -1000 and 1000")))
        }
        other => Ok(other),
    }
}
