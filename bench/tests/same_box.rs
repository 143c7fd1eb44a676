//! `floor-confined` is the floor of `tare` only as long as both make the very same box: so one of each is looked
//! at from the host.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use ::tare_runtime::{DEFAULT_PATH, confinement::NOTHING};
use nix::sched::{CloneFlags, setns};
use tare::contenders::{
    Contender, Surroundings, bwrap, crun, floor, nspawn, runc, runsc, tare as tare_runtime, tare_lib, youki,
};
use tare::host::cgroups;
use tare::lab::{Instance, Lab};
use tare::site::Site;
use tare::vm::kvm::Kvm;

/// What can be seen of a box, by name.
type View = BTreeMap<String, String>;

/// Files with limits, of both versions of cgroups.
const LIMITS: [&str; 10] = [
    "devices.list",
    "memory.memsw.limit_in_bytes",
    "memory.swap.max",
    "memory.limit_in_bytes",
    "memory.max",
    "pids.max",
    "cpu.cfs_quota_us",
    "cpu.cfs_period_us",
    "cpu.max",
    "cpu.shares",
];

/// What of their boxes is not as ours; their `not_expressed` says why.
const RUNCS: &[&str] = &["SigIgn", "cgroups", "environ", "limit devices devices.list", "mounts"];
const CRUNS: &[&str] = &["/dev", "SigIgn", "cgroups", "environ", "limit devices devices.list", "mounts"];
const YOUKIS: &[&str] = &["SigBlk", "SigIgn", "cgroups", "limit devices devices.list", "loopback", "mounts"];
const BWRAPS: &[&str] = &["/", "/dev", "CapAmb", "CapBnd", "CapInh", "environ", "loopback", "mounts"];
const NSPAWNS: &[&str] = &["/", "/dev", "CapInh", "Seccomp_filters", "cgroups", "environ", "mounts"];

/// Lines of /proc/PID/status that describe the box and not the moment.
const STATUS: [&str; 17] = [
    "Name",
    "Umask",
    "Uid",
    "Gid",
    "Groups",
    "NSpid",
    "NSpgid",
    "NSsid",
    "SigBlk",
    "SigIgn",
    "SigCgt",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
];

#[test]
fn the_confined_floor_is_the_box_that_tare_makes() {
    if !common::root() {
        return;
    }
    common::binaries();
    let mut floor = floor::FloorConfined::default();
    let mut tare = tare_runtime::Tare::default();
    let (Some(floor), Some(tare), Some(lib)) =
        (seen(&mut floor), seen(&mut tare), seen(&mut tare_lib::TareLib))
    else {
        return;
    };
    assert!(tare["CapEff"].ends_with("00000000a00425fb") && tare["Seccomp"] == "2", "not confined: {tare:?}");
    assert!(tare["mounts"].lines().count() > 10 && tare["/dev"].contains("null"), "not looked at: {tare:?}");
    assert!(tare.keys().any(|key| key.contains("pids.max")), "no limits: {tare:?}");
    if let Some(devices) = cgroups::root_of("devices").filter(|dir| dir.join("devices.list").exists()) {
        let tree = devices.file_name().unwrap().to_string_lossy().into_owned();
        let list = &tare[&format!("limit {tree} devices.list")];
        assert!(list.starts_with("c 1:3 rw\n") && list.lines().count() == 9, "no devices cgroup: {list}");
    }
    assert_eq!(tare["environ"], format!("{}\0", format_args!("PATH={DEFAULT_PATH}")));
    for (who, other) in [("the floor", floor), ("tare-lib", lib)] {
        for (what, of_tare) in &tare {
            assert_eq!(other.get(what), Some(of_tare), "{what}, of {who} and of tare");
        }
        assert_eq!(other.len(), tare.len());
    }
}

/// What the others can be told about the box, they are told; the rest stands in their rows.
#[test]
fn the_boxes_of_others_are_the_same_but_for_what_their_rows_say() {
    if !common::root() {
        return;
    }
    common::binaries();
    let Some(tare) = seen(&mut tare_runtime::Tare::default()) else { return };
    let bundled: [(&mut dyn Contender, _, _); 3] = [
        (&mut runc::Runc::default(), RUNCS, "HOME=/\0"),
        (&mut crun::Crun::default(), CRUNS, "HOME=/\0"),
        (&mut youki::Youki::default(), YOUKIS, ""),
    ];
    for (contender, foreign, environ) in bundled {
        let Some(other) = differs(contender, &tare, foreign) else { continue };
        // Not as ours, but no more than that.
        assert_eq!(other["environ"], format!("{}{environ}", tare["environ"]));
        assert_eq!(targets(&other["mounts"]), targets(&tare["mounts"]), "{}", contender.name());
    }
    if let Some(bwrap) = differs(&mut bwrap::Bwrap::default(), &tare, BWRAPS) {
        assert_eq!(bwrap["CapEff"], tare["CapEff"]);
        let theirs = targets(&bwrap["mounts"]);
        for target in targets(&tare["mounts"]).difference(&theirs) {
            assert!(target.contains(" on /sys"), "{target} is not among {theirs:?}");
        }
    }
    differs(&mut nspawn::Nspawn::default(), &tare, NSPAWNS);
}

/// gVisor's box cannot be looked into from the host, but at its limits.
#[test]
fn the_limits_of_gvisor_are_those_of_tare() {
    if !common::root() {
        return;
    }
    common::binaries();
    let (Some(tare), Some(runsc)) = (
        seen(&mut tare_runtime::Tare::default()),
        seen_by(&mut runsc::Runsc::default(), |site, instance| {
            let places = site.cgroups_of(&instance.start);
            assert!(places.iter().any(|dir| !cgroups::members(dir).is_empty()), "nobody is in {places:?}");
            limits(&places).into_iter().collect()
        }),
    ) else {
        return;
    };
    let ours = tare.iter().filter(|(what, _)| what.starts_with("limit "));
    let compared: Vec<_> = ours
        .filter(|(what, _)| !what.contains("devices"))
        .map(|(what, limit)| (what, limit, runsc.get(what)))
        .collect();
    assert!(compared.len() > 3, "{compared:?}");
    for (what, tares, runscs) in compared {
        assert_eq!(Some(tares), runscs, "{what}");
    }
}

/// A box that may differ from tare's in `foreign`, each explained in its row. `None` where there is none.
fn differs(contender: &mut dyn Contender, tare: &View, foreign: &[&str]) -> Option<View> {
    let other = seen(contender)?;
    let name = contender.name().to_owned();
    let told: Vec<_> = tare
        .iter()
        .map(|(what, of_tare)| (what.as_str(), of_tare, other.get(what)))
        .filter(|(_, of_tare, of_other)| Some(*of_tare) != *of_other)
        .collect();
    let differ: Vec<&str> = told.iter().map(|(what, ..)| *what).collect();
    assert_eq!(differ, foreign, "{name}: {told:#?}");
    assert!(tare.len() - differ.len() > 30, "only {} things were compared", tare.len());
    let row = contender.probe(&surroundings()).unwrap().not_expressed;
    for what in differ {
        let words = topics(what);
        let said = row.iter().any(|line| words.iter().any(|word| line.starts_with(word)));
        assert!(said, "{name}: nothing of {what} ({words:?}) in {row:#?}");
    }
    Some(other)
}

/// With what words the line starts that explains a difference.
fn topics(what: &str) -> &'static [&'static str] {
    match what {
        "SigBlk" | "SigIgn" => &["signals:"],
        "cgroups" => &["cgroups"],
        "environ" => &["environment:"],
        // Without a sysfs it cannot be seen.
        "loopback" => &["network:", "mounts: it mounts no sysfs"],
        "/dev" | "limit devices devices.list" => &["devices:"],
        "/" | "mounts" => &["mounts:", "masked paths:"],
        "Seccomp_filters" => &["seccomp:"],
        _ if what.starts_with("Cap") => &["capabilities:"],
        _ => &[],
    }
}

/// What is mounted and where, without flags and order. Others cover directories by the root of an empty file system,
/// tare by a directory that is always empty.
fn targets(mounts: &str) -> BTreeSet<String> {
    let nothing = format!("{} on", NOTHING.to_str().unwrap().trim_start_matches("/proc"));
    let target =
        |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" on ").replace(&nothing, "/ on");
    mounts.lines().map(target).collect()
}

#[test]
fn the_plain_floor_is_seen_to_be_another_box() {
    let mut floor = floor::Floor::default();
    let Some(floor) = common::root().then(|| seen(&mut floor)).flatten() else { return };
    assert_eq!(floor["Seccomp"], "0");
    assert_eq!(floor["mounts"].lines().count(), 2, "the overlay and /proc: {}", floor["mounts"]);
}

/// Starts one, looks at it and takes it down.
fn seen(contender: &mut dyn Contender) -> Option<View> {
    seen_by(contender, look)
}

fn surroundings() -> Surroundings {
    Surroundings { root: true, kvm: Kvm::Unknown("not asked for".into()) }
}

fn seen_by(contender: &mut dyn Contender, look: impl Fn(&Site, &Instance) -> View) -> Option<View> {
    if let Err(missing) = contender.probe(&surroundings()) {
        let tools = ["runc", "crun", "youki", "runsc", "bwrap", "nspawn"];
        let word = tools.into_iter().find(|name| *name == contender.name());
        common::skip(word.unwrap_or("root"), &missing.reason);
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    // Tests look at boxes of the same contender at the same time.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let run = format!("same-box-{}-{number}-{}", contender.name(), std::process::id());
    let site = Site::create_in(&dir.path().join("sites"), &run).unwrap();
    let mut lab = Lab::open(env!("CARGO_BIN_EXE_tare").as_ref(), &dir.path().join("stderr"), 1).unwrap();
    contender.prepare(&site).unwrap();
    let instance = lab.start(contender, &site).unwrap_or_else(|failed| panic!("{failed:?}"));
    // Nothing may stay, whatever is found.
    let view = catch_unwind(AssertUnwindSafe(|| look(&site, &instance)));
    let stopped = lab.stop(contender, &site, instance);
    assert!(stopped.teardown_ns.is_ok(), "{stopped:?}");
    site.remove().unwrap();
    Some(view.unwrap_or_else(|panic| resume_unwind(panic)))
}

fn look(site: &Site, instance: &Instance) -> View {
    let places = site.cgroups_of(&instance.start);
    let members = places.iter().flat_map(|dir| cgroups::members(dir));
    // Some tools wait beside the payload.
    let proc = members
        .map(|pid| Path::new("/proc").join(pid.to_string()))
        .find(|proc| fs::read_to_string(proc.join("comm")).is_ok_and(|name| name == "payload\n"))
        .expect("the payload in a cgroup of the box");
    let read = |name: &str| fs::read_to_string(proc.join(name)).unwrap();
    let link = |name: &str| fs::read_link(proc.join(name)).unwrap().display().to_string();
    let mut view = View::new();
    let mut add = |name: &str, value: String| {
        let value = value.replace(&instance.start.id, "ID").replace(&instance.start.nonce, "NONCE");
        assert!(view.insert(name.to_owned(), value).is_none(), "{name} twice");
    };
    for line in read("status").lines() {
        let Some((name, value)) = line.split_once(":\t") else { continue };
        // Of ids in nested namespaces the innermost is the box's own.
        let value = if name.starts_with("NS") { value.rsplit('\t').next().unwrap() } else { value };
        if STATUS.contains(&name) || name.starts_with("Seccomp") {
            add(name, value.trim().to_owned());
        }
    }
    add("mounts", read("mountinfo").lines().map(|line| mount(line) + "\n").collect());
    add("cgroups", read("cgroup").replace(site.cgroup_parent(), "/PARENT"));
    for name in ["cmdline", "environ", "limits", "oom_score_adj", "timerslack_ns"] {
        add(name, read(name));
    }
    for name in ["cwd", "root"] {
        add(name, link(name));
    }
    let names = |dir: &str| {
        let mut names: Vec<_> =
            fs::read_dir(proc.join(dir)).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names.into_iter().map(|name| name.into_string().unwrap()).collect::<Vec<_>>()
    };
    add("descriptors", names("fd").join(" "));
    for name in names("ns") {
        let host = fs::read_link(Path::new("/proc/self/ns").join(&name)).unwrap().display().to_string();
        add(
            &format!("namespace {name}"),
            if link(&format!("ns/{name}")) == host { "the host's" } else { "own" }.into(),
        );
    }
    for dir in ["/", "/dev", "/dev/shm", "/dev/mqueue"] {
        let inside = proc.join("root").join(dir.trim_start_matches('/'));
        if inside.is_dir() {
            add(dir, listing(&inside));
        }
    }
    add("loopback", fs::read_to_string(proc.join("root/sys/class/net/lo/flags")).unwrap_or_default());
    add("host name", host_name(&proc));
    for (what, limit) in limits(&places) {
        add(&what, limit);
    }
    view
}

/// The limits set in these cgroup directories.
fn limits(places: &[PathBuf]) -> Vec<(String, String)> {
    let files = places.iter().flat_map(|dir| LIMITS.map(|file| (dir, file)));
    let limit = |(dir, file): (&PathBuf, &str)| {
        let limit = fs::read_to_string(dir.join(file)).ok()?;
        let tree = dir.components().nth(4).unwrap().as_os_str().to_string_lossy().into_owned();
        Some((format!("limit {tree} {file}"), limit))
    };
    files.filter_map(limit).collect()
}

/// A line of mountinfo without the numbers of this very mount, and without the overlay's directories.
fn mount(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').skip(3).collect();
    let layer =
        |option: &&str| !["lowerdir=", "upperdir=", "workdir="].iter().any(|name| option.starts_with(name));
    words
        .iter()
        .map(|word| word.split(',').filter(layer).collect::<Vec<_>>().join(","))
        .collect::<Vec<_>>()
        .join(" ")
}

/// What lies in a directory: kind, mode, owner, device number, target of a link.
fn listing(dir: &Path) -> String {
    let mut lines: Vec<String> = vec![format!("{:o}", dir.metadata().unwrap().mode())];
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = path.symlink_metadata().unwrap();
        let device = if meta.file_type().is_char_device() { meta.rdev() } else { 0 };
        let target = fs::read_link(&path).unwrap_or_default();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        lines.push(format!(
            "{name} {:o} {}:{} {device:x} {}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            target.display()
        ));
    }
    lines[1..].sort();
    lines.join("\n")
}

/// Asked in the box's UTS namespace, by a thread that goes there and does not come back.
fn host_name(proc: &Path) -> String {
    let uts = File::open(proc.join("ns/uts")).unwrap();
    let there = std::thread::spawn(move || {
        setns(uts, CloneFlags::CLONE_NEWUTS).unwrap();
        nix::unistd::gethostname().unwrap().into_string().unwrap()
    });
    there.join().unwrap()
}
