//! Limits of the whole host, and those of a user in a user namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::Uid;

use super::{Limit, number};
use crate::contenders::Needs;
use crate::host::{cgroups, process};
use crate::keeper;

/// Ids that the kernel gives to nobody once it has counted through (RESERVED_PIDS in kernel/pid.c).
const RESERVED_PIDS: u64 = 300;

/// Ids that memory cgroups can have (MEM_CGROUP_ID_MAX in include/linux/memcontrol.h).
const MEMORY_CGROUP_IDS: u64 = u16::MAX as u64;

/// What a contender's claim rests on.
const CLAIM: &str = "the contender's claim, kept by bench/tests/needs.rs";

/// `channel`: descriptors that a box's channel costs its holder.
pub(super) fn limits(needs: Needs, channel: u64) -> Vec<Limit> {
    let root = Uid::effective().is_root();
    [tasks(needs, root), descriptors(channel, root), mounts(needs), cgroup_ids(needs), namespaces(needs)]
        .into_iter()
        .chain([keys(needs, root), inotify(needs), ptys(needs)])
        .flatten()
        .collect()
}

/// One limit of things, as the contender claims to need them.
fn claimed(resource: &'static str, what: &str, per_box: u32, limit: Option<u64>, in_use: u64) -> Limit {
    Limit {
        resource,
        what: what.into(),
        bytes: false,
        per_box: per_box.into(),
        source: CLAIM.into(),
        limit,
        in_use,
        set_in: String::new(),
    }
}

fn set_in(limit: Limit, set_in: impl Into<String>) -> Limit {
    Limit { set_in: set_in.into(), ..limit }
}

/// Tasks of all users: ids (in the pid namespace of the boxes' ancestors), and the tasks themselves.
fn tasks(needs: Needs, root: bool) -> Vec<Limit> {
    let now = number_of_tasks(&fs::read_to_string("/proc/loadavg").unwrap_or_default());
    let host = |what: &str, file: &str, reserved: u64| {
        let limit = number(file)?.saturating_sub(reserved);
        Some(set_in(claimed("pids", what, needs.tasks, Some(limit), now), format!("{file} (proc(5))")))
    };
    let mut limits: Vec<Limit> = [
        host("process ids, but for 300 that the kernel keeps", "/proc/sys/kernel/pid_max", RESERVED_PIDS),
        host("tasks of the host", "/proc/sys/kernel/threads-max", 0),
    ]
    .into_iter()
    .flatten()
    .collect();
    // The kernel does not hold root to it (getrlimit(2), CAP_SYS_RESOURCE).
    if !root && let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NPROC) {
        let mine = Uid::effective().as_raw();
        let of_mine = |it: &&procfs::process::Process| it.uid().is_ok_and(|uid| uid == mine);
        let threads = |it: &procfs::process::Process| it.stat().map_or(0, |stat| stat.num_threads as u64);
        let now = process::all().iter().filter(of_mine).map(threads).sum();
        let limit = claimed("pids", "tasks of this user", needs.tasks, Some(soft), now);
        limits.push(set_in(limit, "RLIMIT_NPROC (getrlimit(2))"));
    }
    limits
}

/// The fourth word of /proc/loadavg: `running/all` tasks of the host (proc(5)).
fn number_of_tasks(loadavg: &str) -> u64 {
    let all = loadavg.split(' ').nth(3).and_then(|word| word.split('/').nth(1));
    all.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Descriptors of the keepers that hold the boxes' channels, and open files of the host. The lab has two sockets for
/// each keeper and its spawner, and none for a box.
fn descriptors(each: u64, root: bool) -> Vec<Limit> {
    let channel = |what: String, limit: u64, in_use: u64, set_in: &str| Limit {
        resource: "fds",
        what,
        bytes: false,
        per_box: each,
        source: "a keeper's ends of a box's channel (pipe(7)), and its process where a daemon is the parent"
            .into(),
        limit: Some(limit),
        in_use,
        set_in: set_in.into(),
    };
    let mut limits = Vec::new();
    if let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let mine = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
        let (keepers, boxes) = (soft.saturating_sub(mine) / 2, keeper::capacity(soft, each));
        let what = format!("descriptors of {keepers} keepers of {boxes} boxes: a process may have {soft}");
        let all = keepers.saturating_mul(each * u64::from(boxes));
        limits.push(channel(what, all, 0, "RLIMIT_NOFILE (getrlimit(2))"));
    }
    // The kernel does not hold root to it (CAP_SYS_ADMIN; Documentation/admin-guide/sysctl/fs.rst).
    if !root && let Some(most) = number("/proc/sys/fs/file-max") {
        let files = fs::read_to_string("/proc/sys/fs/file-nr").unwrap_or_default();
        let now = files.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0);
        let both = channel("open files of the host".into(), most, now, "/proc/sys/fs/file-max (proc(5))");
        // Whatever else its holder has of it, a box has an end of each of two pipes itself.
        let source =
            "both ends of a box's channel (pipe(7)), and its process where a daemon is the parent".into();
        limits.push(Limit { per_box: each + 2, source, ..both });
    }
    limits
}

/// Mounts, which are counted in each mount namespace: here the one that all boxes start from, of which each box's
/// own is a copy at first.
fn mounts(needs: Needs) -> Vec<Limit> {
    let file = "/proc/sys/fs/mount-max";
    let now = fs::read_to_string("/proc/self/mountinfo").map_or(0, |text| text.lines().count() as u64);
    let what = "mounts of the namespace that boxes start from (there is a limit for each)";
    let Some(most) = number(file) else { return Vec::new() };
    let limit = claimed("mounts", what, needs.mounts, Some(most), now);
    vec![set_in(limit, format!("{file} (Documentation/admin-guide/sysctl/fs.rst)"))]
}

/// Ids of memory cgroups; one is given back when the last page that was charged to its cgroup is.
fn cgroup_ids(needs: Needs) -> Vec<Limit> {
    let table = fs::read_to_string("/proc/cgroups").unwrap_or_default();
    let unified = || {
        let dir = cgroups::root_of("memory").filter(|dir| dir.join("cgroup.controllers").exists())?;
        cgroups_in(&fs::read_to_string(dir.join("cgroup.stat")).ok()?)
    };
    let Some(now) = cgroups_of(&table, "memory").or_else(unified) else { return Vec::new() };
    let what = "ids of memory cgroups";
    let limit = claimed("cgroup ids", what, needs.memory_cgroups, Some(MEMORY_CGROUP_IDS), now);
    vec![set_in(limit, "MEM_CGROUP_ID_MAX (include/linux/memcontrol.h)")]
}

/// The third column of /proc/cgroups: how many cgroups a controller has (cgroups(7)).
fn cgroups_of(table: &str, controller: &str) -> Option<u64> {
    let mut rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.find(|row| row.first() == Some(&controller))?.get(2)?.parse().ok()
}

/// Those below the root of version 2, with those that are gone and still have an id. Since Linux 6.15 /proc/cgroups may
/// list the controllers of version 1 alone.
fn cgroups_in(stat: &str) -> Option<u64> {
    let of = |word: &str| {
        let line = stat.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '))?;
        line.trim().parse::<u64>().ok()
    };
    Some(1 + of("nr_descendants")? + of("nr_dying_descendants").unwrap_or(0))
}

/// Namespaces of each kind that this user may have in this user namespace (namespaces(7)). Those that others have
/// are counted too where they can be seen: it is the side on which to err.
fn namespaces(needs: Needs) -> Vec<Limit> {
    let seen = seen_namespaces();
    let kinds: BTreeSet<&str> = needs.namespaces.iter().copied().collect();
    let of_kind = |kind: &str| {
        let file = format!("/proc/sys/user/max_{kind}_namespaces");
        let each = needs.namespaces.iter().filter(|it| **it == kind).count() as u32;
        let limit = claimed(
            if kind == "net" { "netns" } else { "namespaces" },
            &format!("{kind} namespaces of this user"),
            each,
            Some(number(&file)?),
            seen.get(kind).map_or(0, |ids| ids.len() as u64),
        );
        Some(set_in(limit, format!("{file} (namespaces(7))")))
    };
    kinds.into_iter().filter_map(of_kind).collect()
}

fn seen_namespaces() -> BTreeMap<String, BTreeSet<u64>> {
    let mut seen: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for namespaces in process::all().iter().filter_map(|it| it.namespaces().ok()) {
        for (kind, namespace) in namespaces.0 {
            seen.entry(kind.to_string_lossy().into_owned()).or_default().insert(namespace.identifier);
        }
    }
    seen
}

/// Keys of this user (keyrings(7)): root has a limit of its own.
fn keys(needs: Needs, root: bool) -> Vec<Limit> {
    let file = if root { "/proc/sys/kernel/keys/root_maxkeys" } else { "/proc/sys/kernel/keys/maxkeys" };
    let Some(most) = number(file) else { return Vec::new() };
    let users = fs::read_to_string("/proc/key-users").unwrap_or_default();
    let now = keys_of(&users, Uid::effective().as_raw()).unwrap_or(0);
    let limit = claimed("keys", "keys of this user", needs.keys, Some(most), now);
    vec![set_in(limit, format!("{file} (keyrings(7))"))]
}

/// `uid: usage nkeys/nikeys qnkeys/maxkeys qnbytes/maxbytes`: the fourth word counts towards the limit.
fn keys_of(users: &str, uid: u32) -> Option<u64> {
    let name = format!("{uid}:");
    let words = users.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = words.into_iter().find(|words| words.first() == Some(&name.as_str()))?;
    row.get(3)?.split('/').next()?.parse().ok()
}

/// Instances of inotify that this user may have: of the host, and in this user namespace.
fn inotify(needs: Needs) -> Vec<Limit> {
    let now = || {
        let links =
            process::all().into_iter().filter_map(|it| fs::read_dir(format!("/proc/{}/fd", it.pid())).ok());
        let targets = links.flatten().flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
        targets.filter(|it| it == Path::new("anon_inode:inotify")).count() as u64
    };
    let files = ["/proc/sys/fs/inotify/max_user_instances", "/proc/sys/user/max_inotify_instances"];
    let lowest = files.iter().filter_map(|file| Some((number(file)?, *file))).min();
    let Some((most, file)) = lowest else { return Vec::new() };
    let limit = claimed("inotify", "inotify instances of this user", needs.inotify, Some(most), now());
    let watches = number("/proc/sys/fs/inotify/max_user_watches").map(|most| {
        // A helper watches a file or two of its box's cgroup.
        let limit = claimed("inotify", "inotify watches of this user", 2 * needs.inotify, Some(most), 0);
        set_in(limit, "/proc/sys/fs/inotify/max_user_watches (inotify(7))")
    });
    std::iter::once(set_in(limit, format!("{file} (inotify(7))"))).chain(watches).collect()
}

/// Pseudo terminals of all instances of devpts together, less those kept for the one that the host mounted first
/// (Documentation/filesystems/devpts.rst): whether ours is that one cannot be seen.
fn ptys(needs: Needs) -> Vec<Limit> {
    let at = |name: &str| number(format!("/proc/sys/kernel/pty/{name}"));
    let Some(most) = at("max") else { return Vec::new() };
    let reserve = at("reserve").unwrap_or(0);
    let what = "pseudo terminals, but for those kept for the host's own devpts";
    let limit = claimed("ptys", what, needs.ptys, Some(most.saturating_sub(reserve)), at("nr").unwrap_or(0));
    vec![set_in(limit, "/proc/sys/kernel/pty/max (pty(7))")]
}

#[cfg(test)]
mod tests {
    use super::*;

    // Captured on Debian 12.
    const KEY_USERS: &str = "    0:     9 8/8 3/1000000 40/25000000\n 1000:     2 2/2 2/200 36/20000\n";
    const CGROUPS: &str =
        "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t3\t1\t1\nmemory\t4\t12\t1\n";

    #[test]
    fn the_kernels_tables_are_read() {
        assert_eq!(keys_of(KEY_USERS, 0), Some(3));
        assert_eq!(keys_of(KEY_USERS, 1000), Some(2));
        assert_eq!(keys_of(KEY_USERS, 100), None, "no name is a part of another");
        assert_eq!(cgroups_of(CGROUPS, "memory"), Some(12));
        assert_eq!(cgroups_of(CGROUPS, "mem"), None);
        assert_eq!(cgroups_in("nr_descendants 17\nnr_dying_descendants 3\n"), Some(21), "and the root");
        assert_eq!(cgroups_in(""), None);
        assert_eq!(number_of_tasks("0.11 0.20 0.18 1/163 4711\n"), 163);
        assert_eq!(number_of_tasks(""), 0);
    }

    #[test]
    fn this_host_limits_tasks_and_descriptors() {
        let limits = limits(Needs { tasks: 3, ..Needs::default() }, 2);
        let of = |resource| limits.iter().filter(move |it| it.resource == resource);
        assert!(of("pids").all(|it| it.per_box == 3 && it.in_use > 0), "{limits:?}");
        assert!(of("pids").count() >= 2 && of("fds").count() >= 1, "{limits:?}");
        // One that is watched besides costs its keeper half as much again.
        let most = |each| super::descriptors(each, true).first().and_then(Limit::largest).unwrap();
        let (two, three) = (most(2), most(3));
        assert!(three <= two && three >= two / 2, "{two} of two descriptors, {three} of three");
    }
}
