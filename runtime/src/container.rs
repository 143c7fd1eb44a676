//! The contents page: what a container is, as a list of steps.
//!
//! A container is an ordinary process that went through [`RECIPE`]. The first steps run in the caller
//! and make what can fail and what takes memory; then the process is forked into its new namespaces;
//! the other steps run in it, one after another, until the last turns it into the command. Read the
//! list from top to bottom; the head of each mechanism's file names its steps.
//!
//! Man pages: namespaces(7), cgroups(7), pivot_root(2), execve(2). Look at it:
//! `strace -f tare-runtime run -d --rootfs DIR box -- /bin/true`

use crate::blueprint::Blueprint;
use crate::child::{Child, Plan};
use crate::mounts::Stage;
use crate::report::Fault;
use crate::start::Start;
use crate::terminal::Console;
use crate::{
    capabilities, devices, exec, idmap, mounts, namespaces, network, rlimits, rootfs, sysctl, terminal,
};

/// One step of a start.
pub struct Step {
    /// Its name, which errors use.
    pub name: &'static str,
    /// What it is for.
    pub why: &'static str,
    pub(crate) act: Act,
}

/// In which process a step runs.
pub(crate) enum Act {
    /// In the caller, before the fork: may allocate, open, fail with any error.
    Before(fn(&mut Start<'_>) -> crate::Result<()>),
    /// In the new process: system calls on prepared data only. The second function finds the words for
    /// a fault, in the parent.
    Inside(fn(&mut Child<'_>) -> Result<(), Fault>, fn(&Plan, u16) -> String),
}

const fn before(name: &'static str, why: &'static str, act: fn(&mut Start<'_>) -> crate::Result<()>) -> Step {
    Step { name, why, act: Act::Before(act) }
}

const fn inside(
    name: &'static str,
    why: &'static str,
    act: fn(&mut Child<'_>) -> Result<(), Fault>,
    object: fn(&Plan, u16) -> String,
) -> Step {
    Step { name, why, act: Act::Inside(act, object) }
}

/// All steps, in the order in which they run. The fork is where `before` turns into `inside`.
pub const RECIPE: &[Step] = &[
    before("state", "claim the name, and write down what is going to be made", |s| s.make_state()),
    before("cgroup", "a set of processes that is counted and limited", |s| s.make_cgroup()),
    before("bridge", "an address among boxes, and a switch between them", |s| s.make_network()),
    before("publish", "a port of the host that leads into the box", |s| s.publish()),
    before("prepare", "build every string and open every file that the new process needs", |s| s.prepare()),
    // Here the process is forked into new pid, mount, network, IPC and UTS namespaces, and a user
    // namespace if we are not root. This is step "clone" in errors.
    inside(
        "enter-cgroup",
        "be counted from the start",
        |c| c.plan.entry.enter(),
        |p, _| format!("cgroup {}", p.blueprint.cgroup.path),
    ),
    inside(
        "oom-score",
        "who is killed first when the host runs out of memory",
        |c| exec::oom_score(&c.plan.exec),
        |_, _| "/proc/self/oom_score_adj".into(),
    ),
    inside(
        "join",
        "enter the namespaces of others that a bundle names",
        |c| namespaces::join(&c.plan.joined),
        |p, i| {
            p.blueprint
                .namespaces
                .joined
                .get(usize::from(i))
                .map_or_else(String::new, |j| j.1.display().to_string())
        },
    ),
    inside(
        "idmap",
        "in a user namespace: be root inside, and somebody else outside",
        |c| c.plan.idmap.as_ref().map_or(Ok(()), idmap::apply),
        |_, i| idmap::object(i),
    ),
    inside(
        "session",
        "no terminal of the caller's, no ignored signals, no umask",
        |_| namespaces::new_session(),
        |_, i| ["session", "signals"][usize::from(i.min(1))].into(),
    ),
    inside(
        "private",
        "mounts made from here on stay inside",
        |c| rootfs::make_private(c.plan.blueprint.root.propagation),
        |_, _| "/".into(),
    ),
    inside(
        "overlay",
        "one image for all, a writable layer for each",
        |c| c.plan.root.mount(),
        |p, _| p.root.object(),
    ),
    inside(
        "sources",
        "find what the caller lends the box, as the caller sees it",
        |c| mounts::open_sources(&c.plan.blueprint.mounts, &mut c.sources),
        |p, i| match p.blueprint.mounts.get(usize::from(i)).map(|mount| &mount.what) {
            Some(mounts::What::Bind { source, .. }) => name(source),
            _ => String::new(),
        },
    ),
    inside(
        "pivot",
        "make it the root",
        |c| c.pivot(),
        |p, i| {
            if i == 0 { name(p.root.mount_point()) } else { "/".into() }
        },
    ),
    inside(
        "proc",
        "see the processes of this pid namespace",
        |c| mounts::onto_image(&c.plan.blueprint.mounts, Stage::Proc),
        mounted,
    ),
    inside(
        "sys",
        "see devices and the network namespace, read-only",
        |c| mounts::sys(&c.plan.blueprint.mounts, c.old_root()?, c.plan.in_user_namespace()),
        mounted,
    ),
    inside(
        "dev",
        "six harmless devices, terminals, shared memory",
        |c| {
            let Blueprint { mounts, devices, .. } = &*c.plan.blueprint;
            devices::build(mounts, devices, c.old_root()?, c.plan.in_user_namespace())
        },
        |p, i| devices::object(&p.blueprint.mounts, &p.blueprint.devices, i),
    ),
    inside(
        "devices",
        "use no other device, wherever its node may come from",
        |c| c.plan.entry.lock_devices(),
        |p, _| p.entry.lock().into(),
    ),
    inside(
        "cgroup-namespace",
        "do not show where on the host this cgroup lies",
        |c| namespaces::enter_cgroup_namespace(c.plan.blueprint.namespaces.fresh),
        |_, _| "cgroup namespace".into(),
    ),
    inside("volumes", "what the caller lends the box", |c| c.volumes(), mounted),
    inside(
        "sysctl",
        "settings of the box's own namespaces",
        |c| sysctl::apply(&c.plan.blueprint.sysctls),
        |p, i| p.blueprint.sysctls.get(usize::from(i)).map_or_else(String::new, |s| name(&s.path)),
    ),
    inside(
        "mask",
        "hide what tells about the host",
        |c| c.mask(),
        |p, i| p.blueprint.masked.get(usize::from(i)).map_or_else(String::new, |m| name(&m.path)),
    ),
    inside(
        "read-only",
        "keep the kernel's settings as they are",
        |c| c.freeze(),
        |p, i| p.blueprint.read_only.get(usize::from(i)).map_or_else(|| "/".into(), |path| name(path)),
    ),
    inside(
        "terminal",
        "a pseudo-terminal of the box's own, whose other end goes to the caller",
        |c| terminal::open(c.plan.terminal.as_ref(), &c.plan.blueprint.process.user, Console::Shown),
        |_, i| terminal::object(i),
    ),
    inside("detach", "take the host's root away", |c| c.detach(), |_, _| "the host's root".into()),
    inside(
        "directories",
        "make what an image names and does not have",
        |c| c.directories(),
        |p, i| p.blueprint.directories.get(usize::from(i)).map_or_else(String::new, |path| name(path)),
    ),
    inside(
        "hostname",
        "a name of its own",
        |c| namespaces::set_names(c.plan.hostname.as_deref(), c.plan.domainname.as_deref()),
        |_, i| ["host name", "domain name"][usize::from(i.min(1))].into(),
    ),
    inside(
        "loopback",
        "be able to talk to itself",
        |c| network::loopback_up(c.plan.blueprint.namespaces.fresh),
        |_, _| name(network::LOOPBACK),
    ),
    inside("interface", "be able to talk to others", |c| c.connect(), |_, i| network::object(i)),
    inside(
        "command",
        "so that `create` says that there is none, and not first `start`",
        |c| if c.plan.wait.is_some() { exec::find(&c.plan.exec) } else { Ok(()) },
        |p, _| exec::object(&p.exec),
    ),
    inside(
        "wait-for-start",
        "`create` ends here; `start` goes on",
        |c| c.wait_for_start(),
        |_, _| "the start".into(),
    ),
    inside(
        "rlimits",
        "resource limits of the process itself",
        |c| rlimits::apply(&c.plan.blueprint.process.rlimits),
        |p, i| {
            let limit = p.blueprint.process.rlimits.get(usize::from(i));
            limit.map_or_else(String::new, |l| format!("{:?} {}/{}", l.resource, l.soft, l.hard))
        },
    ),
    inside(
        "seccomp-by-right",
        "without no-new-privileges: the filter already here, where we still have the right",
        |c| c.filter(false),
        |p, _| format!("filter of {} instructions", p.blueprint.filter.len()),
    ),
    inside(
        "bounding-set",
        "what exec can never give back",
        |c| capabilities::bound(c.plan.blueprint.process.capabilities),
        |_, _| "bounding set".into(),
    ),
    inside(
        "identity",
        "the user, the group, and exactly the further groups asked for",
        |c| capabilities::become_user(&c.plan.blueprint.process.user, c.plan.groups_denied()),
        |p, i| {
            let user = &p.blueprint.process.user;
            if i == 0 {
                format!("groups {:?}", user.groups)
            } else {
                format!("user {}:{}", user.uid, user.gid)
            }
        },
    ),
    inside(
        "working-directory",
        "start where asked, and inside",
        |c| rootfs::working_directory(&c.plan.cwd),
        |p, _| name(&p.cwd),
    ),
    inside(
        "stdio",
        "the caller's three descriptors at 0, 1 and 2",
        |c| exec::stdio(&c.plan.exec),
        |_, i| i.to_string(),
    ),
    inside(
        "capabilities",
        "root without the pieces that reach the host",
        |c| capabilities::drop_others(c.plan.blueprint.process.capabilities),
        |_, i| capabilities::object(i),
    ),
    inside(
        "no-new-privileges",
        "exec grants nothing",
        |c| exec::no_new_privileges(c.plan.blueprint.process.no_new_privileges),
        |_, _| "no_new_privs".into(),
    ),
    inside(
        "descriptors",
        "nothing of the host stays open",
        |c| c.close_others(),
        |_, _| "descriptors from 3".into(),
    ),
    inside(
        "seccomp",
        "refuse the system calls that no box needs",
        |c| c.filter(true),
        |p, _| format!("filter of {} instructions", p.blueprint.filter.len()),
    ),
    inside("exec", "become the command", |c| c.exec(), |p, _| exec::object(&p.exec)),
];

fn name(path: &std::ffi::CStr) -> String {
    path.to_string_lossy().into_owned()
}

/// The words for a fault of a step that mounts.
fn mounted(plan: &Plan, index: u16) -> String {
    plan.blueprint.mounts.get(usize::from(index)).map_or_else(String::new, |mount| name(&mount.target))
}
