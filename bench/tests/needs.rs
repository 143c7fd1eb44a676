//! What contenders say that one box takes, against what boxes that are held take: counted from outside, in /proc
//! and in the cgroup trees.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use common::{binaries, root, skip};
use procfs::process::Process;
use tare::contenders::{self, Contender, Needs, Surroundings};
use tare::host::{cgroups, process};
use tare::lab::Lab;
use tare::site::Site;
use tare::vm::kvm::Kvm;

/// What a number of boxes take together, in the words of [`Needs`].
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Taken {
    tasks: u32,
    namespaces: BTreeMap<String, u32>,
    memory_cgroups: u32,
    mounts: u32,
    keys: u32,
    inotify: u32,
    ptys: u32,
}

impl Taken {
    fn claimed(needs: Needs, boxes: u32) -> Self {
        let mut namespaces = BTreeMap::new();
        for kind in needs.namespaces {
            *namespaces.entry((*kind).to_owned()).or_default() += boxes;
        }
        Self {
            tasks: needs.tasks * boxes,
            namespaces,
            memory_cgroups: needs.memory_cgroups * boxes,
            mounts: needs.mounts * boxes,
            keys: needs.keys * boxes,
            inotify: needs.inotify * boxes,
            ptys: needs.ptys * boxes,
        }
    }

    /// What was taken since `before`; it was there before the first box.
    fn since(mut self, before: &Self) -> Self {
        for (kind, number) in &mut self.namespaces {
            *number -= before.namespaces.get(kind).copied().unwrap_or(0);
        }
        self.namespaces.retain(|_, number| *number > 0);
        self.tasks -= before.tasks;
        self.memory_cgroups -= before.memory_cgroups;
        self.mounts -= before.mounts;
        self.keys -= before.keys;
        self.inotify -= before.inotify;
        self.ptys = self.ptys.saturating_sub(before.ptys);
        self
    }
}

/// Everything below the spawner and everything in the run's cgroups.
fn processes(site: &Site, spawner: u32) -> BTreeSet<u32> {
    let members = cgroups::tree(site.cgroup_parent()).into_iter().flat_map(|dir| cgroups::members(&dir));
    members.map(|pid| pid as u32).chain(process::descendants(spawner)).collect()
}

fn lines(path: &str, mut wanted: impl FnMut(&str) -> bool) -> u32 {
    fs::read_to_string(path).unwrap_or_default().lines().filter(|line| wanted(line)).count() as u32
}

fn entries(dir: &str) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Counts what the run takes. `daemons` are its processes from before the first box: boxes may be mounted in their
/// mount namespaces as well as in the spawner's.
fn count(site: &Site, spawner: u32, daemons: &BTreeSet<u32>) -> Taken {
    let all = processes(site, spawner);
    let of =
        |pid: u32| Process::new(pid as i32).and_then(|it| it.namespaces()).map(|it| it.0).unwrap_or_default();
    let spawners = of(spawner);
    let mut namespaces: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    let mut names = BTreeSet::new();
    let mut taken = Taken::default();
    for pid in &all {
        taken.tasks += entries(&format!("/proc/{pid}/task")).len() as u32;
        for (kind, it) in of(*pid) {
            let ours = spawners.get(&kind).is_none_or(|theirs| theirs.identifier != it.identifier);
            let kind = kind.to_string_lossy().into_owned();
            if ours && !kind.ends_with("_for_children") {
                namespaces.entry(kind).or_default().insert(it.identifier);
            }
        }
        let files = entries(&format!("/proc/{pid}/fd"));
        let targets = files.iter().filter_map(|file| fs::read_link(file).ok());
        taken.inotify += targets.filter(|it| it == Path::new("anon_inode:inotify")).count() as u32;
        // A box's cgroup carries its name, and so does the keyring that is made for it.
        let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let last = cgroups.lines().filter_map(|line| Some(line.rsplit_once('/')?.1));
        names.extend(last.map(|name| name.trim_start_matches("libpod-").to_owned()));
    }
    taken.namespaces = namespaces.into_iter().map(|(kind, ids)| (kind, ids.len() as u32)).collect();
    names.retain(|name| !name.is_empty() && name != "daemon");
    taken.keys = lines("/proc/keys", |line| names.iter().any(|name| line.contains(name.as_str())));
    let memory = cgroups::root_of("memory").unwrap();
    let below = cgroups::tree(site.cgroup_parent());
    taken.memory_cgroups = below.iter().filter(|dir| dir.starts_with(&memory)).count() as u32;
    let site_dir = site.dir().display().to_string();
    let mut seen = BTreeSet::new();
    for pid in daemons.iter().chain([&spawner]) {
        if of(*pid).get(std::ffi::OsStr::new("mnt")).is_some_and(|it| seen.insert(it.identifier)) {
            taken.mounts += lines(&format!("/proc/{pid}/mountinfo"), |line| line.contains(&site_dir));
        }
    }
    taken.ptys = fs::read_to_string("/proc/sys/kernel/pty/nr").unwrap().trim().parse().unwrap();
    taken
}

/// Holds so many boxes of a contender; what they claim and what they take. `None`, said aloud, where it cannot run.
fn held(name: &str, boxes: u32) -> Option<(Taken, Taken)> {
    if !root() {
        return None;
    }
    binaries();
    let site = Site::create(&format!("needs-{}-{name}", std::process::id())).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut lab = Lab::open(env!("CARGO_BIN_EXE_tare").as_ref(), &dir.path().join("stderr"), 1).unwrap();
    let mut contenders = contenders::all().unwrap();
    let contender: &mut dyn Contender = contenders.iter_mut().find(|it| it.name() == name).unwrap().as_mut();
    let surroundings = Surroundings { root: true, kvm: Kvm::Unknown("not asked".into()) };
    if let Err(missing) = contender.probe(&surroundings) {
        site.remove().unwrap();
        skip(name, &missing.reason);
        return None;
    }
    contender.prepare(&site).unwrap();
    // The run's cgroup is there before its first box with some, with others after: one box shows it either way.
    let mut herd = Vec::new();
    lab.hold(contender, &site, &mut herd, 1).unwrap();
    let daemons: BTreeSet<u32> = processes(&site, lab.spawner_pid());
    let before = count(&site, lab.spawner_pid(), &daemons);
    lab.hold(contender, &site, &mut herd, boxes).unwrap();
    let after = count(&site, lab.spawner_pid(), &daemons);
    lab.release(contender, &site, herd).unwrap();
    contender.finish(&site).unwrap();
    site.remove().unwrap();
    Some((Taken::claimed(contender.needs(), boxes), after.since(&before)))
}

#[test]
fn twenty_boxes_take_what_their_contender_claims() {
    for name in ["process", "floor", "floor-confined", "tare", "tare-lib", "tare-pool", "runc", "crun"] {
        let Some((claimed, taken)) = held(name, 20) else { continue };
        assert_eq!(taken, claimed, "20 boxes of {name}");
    }
}

#[test]
fn what_a_tool_makes_besides_is_claimed_too() {
    for name in ["bwrap", "nspawn", "youki", "crun-wrapper"] {
        let Some((claimed, taken)) = held(name, 4) else { continue };
        assert_eq!(taken, claimed, "4 boxes of {name}");
    }
}

/// The number of threads of a helper written in Go, and of QEMU, varies: the claim is on the large side of it, and
/// all the rest is exact.
#[test]
fn helpers_have_no_more_threads_than_claimed() {
    for name in
        ["runsc", "docker", "podman", "containerd", "qemu", "qemu-microvm", "qemu-restore", "qemu-nano"]
    {
        let Some((claimed, taken)) = held(name, 4) else { continue };
        assert!(
            taken.tasks <= claimed.tasks && claimed.tasks <= 2 * taken.tasks,
            "4 boxes of {name}: {} tasks claimed, {} taken",
            claimed.tasks,
            taken.tasks
        );
        assert_eq!(taken, Taken { tasks: taken.tasks, ..claimed }, "4 boxes of {name}");
    }
}
