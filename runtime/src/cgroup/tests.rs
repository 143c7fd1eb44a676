//! Path logic and file formats, on a directory that only looks like a cgroup file system.

use std::fs;
use std::path::Path;

use super::*;
use crate::spec::{Limits, MilliCpus};

fn limits() -> Limits {
    Limits { memory: Some(1 << 28), pids: Some(64), cpus: Some(MilliCpus(1500)) }
}

fn asked(limits: Limits, missing: MissingLimits) -> blueprint::Cgroup {
    blueprint::Cgroup { path: "/tare/run1/box".into(), limits, missing, devices: Vec::new() }
}

fn fake_v1(root: &Path, controllers: &[&str]) {
    for controller in controllers {
        fs::create_dir_all(root.join(controller)).expect("mkdir");
        fs::write(root.join(controller).join("tasks"), "").expect("write");
    }
}

fn fake_v2(mount: &Path, controllers: &str) {
    fs::create_dir_all(mount).expect("mkdir");
    fs::write(mount.join("cgroup.controllers"), controllers).expect("write");
    fs::write(mount.join("cgroup.subtree_control"), "").expect("write");
}

fn directories(layout: &Layout, limits: &Limits) -> Vec<(Version, PathBuf)> {
    layout.places("/tare/run1/box", limits).into_iter().map(|p| (p.version, p.directory)).collect()
}

#[test]
fn version_1_has_a_directory_per_controller_and_cpu_only_where_it_is_limited() {
    let root = tempfile::tempdir().expect("tempdir");
    fake_v1(root.path(), &["memory", "pids", "cpu", "blkio"]);
    let layout = Layout::detect(root.path());
    let at = |name: &str| (Version::V1, root.path().join(name).join("tare/run1/box"));
    assert_eq!(directories(&layout, &limits()), [at("memory"), at("pids"), at("cpu")]);
    assert_eq!(directories(&layout, &Limits::default()), [at("memory"), at("pids")]);
}

#[test]
fn version_2_has_one_directory_for_all_controllers() {
    let root = tempfile::tempdir().expect("tempdir");
    fake_v2(root.path(), "cpuset cpu io memory pids\n");
    let places = Layout::detect(root.path()).places("/tare/run1/box", &limits());
    assert_eq!(places.len(), 1);
    assert_eq!(places[0].directory, root.path().join("tare/run1/box"));
    // Devices are no controller there.
    assert_eq!(places[0].controllers, CONTROLLERS[..3]);
}

#[test]
fn on_a_hybrid_host_each_controller_is_found_where_it_is() {
    let root = tempfile::tempdir().expect("tempdir");
    fake_v1(root.path(), &["memory"]);
    fake_v2(&root.path().join("unified"), "pids");
    let layout = Layout::detect(root.path());
    let expected = [
        (Version::V1, root.path().join("memory/tare/run1/box")),
        (Version::V2, root.path().join("unified/tare/run1/box")),
    ];
    assert_eq!(directories(&layout, &limits()), expected);
    assert_eq!(layout.of(Controller::Cpu), None);
}

#[test]
fn an_empty_unified_tree_is_not_used() {
    let root = tempfile::tempdir().expect("tempdir");
    fake_v1(root.path(), &["memory", "pids", "cpu"]);
    fake_v2(&root.path().join("unified"), "\n");
    assert!(directories(&Layout::detect(root.path()), &limits()).iter().all(|(v, _)| *v == Version::V1));
}

#[test]
fn limits_become_the_kernels_words() {
    let pair = |(file, value): &(&'static str, String)| format!("{file}={value}");
    let v1: Vec<String> = v1::values(&CONTROLLERS, &limits()).iter().map(pair).collect();
    assert_eq!(v1, ["memory.limit_in_bytes=268435456", "pids.max=64", "cpu.cfs_quota_us=150000"]);
    let v2: Vec<String> = v2::values(&CONTROLLERS, &limits()).iter().map(pair).collect();
    assert_eq!(v2, ["memory.max=268435456", "pids.max=64", "cpu.max=150000 100000"]);
}

#[test]
fn version_2_controllers_are_passed_on_from_the_root_to_the_parent() {
    let root = tempfile::tempdir().expect("tempdir");
    for directory in [root.path().into(), root.path().join("tare"), root.path().join("tare/run1")] {
        fake_v2(&directory, "memory pids cpu");
    }
    let place = Layout::detect(root.path()).places("/tare/run1/box", &limits()).remove(0);
    assert!(v2::pass_on(&place).is_empty());
    for directory in ["", "tare", "tare/run1"] {
        let file = root.path().join(directory).join("cgroup.subtree_control");
        assert_eq!(fs::read_to_string(file).expect("read"), "+memory +pids +cpu", "{directory}");
    }
}

#[test]
fn version_2_directories_that_pass_on_already_or_hold_processes_are_left_as_they_are() {
    let root = tempfile::tempdir().expect("tempdir");
    let control = |directory: &str| root.path().join(directory).join("cgroup.subtree_control");
    for directory in [root.path().into(), root.path().join("tare"), root.path().join("tare/run1")] {
        fake_v2(&directory, "memory pids cpu");
    }
    fs::write(control(""), "cpuset cpu memory pids\n").expect("write");
    fs::write(control("tare"), "memory").expect("write");
    fs::write(root.path().join("tare/run1/cgroup.type"), "domain\n").expect("write");
    fs::write(root.path().join("tare/run1/cgroup.procs"), "42\n").expect("write");
    let place = Layout::detect(root.path()).places("/tare/run1/box", &limits()).remove(0);
    let refused = v2::pass_on(&place);
    let read = |directory: &str| fs::read_to_string(control(directory)).expect("read");
    assert_eq!(read(""), "cpuset cpu memory pids\n");
    // Only what is missing, and the kernel keeps what is there.
    assert!(read("tare").starts_with("+pids +cpu"), "{}", read("tare"));
    assert_eq!(read("tare/run1"), "");
    assert_eq!(refused.iter().map(|(c, _)| *c).collect::<Vec<_>>(), CONTROLLERS[..3]);
    assert!(refused.iter().all(|(_, refusal)| refusal.is_unavailable()));
}

#[test]
fn without_controllers_every_limit_is_named_or_recorded() {
    let root = tempfile::tempdir().expect("tempdir");
    let layout = Layout::detect(root.path());
    let refuse = asked(limits(), MissingLimits::Refuse);
    let error =
        Group::default().create(&[], &refuse, &layout, CloneFlags::empty()).expect_err("refused").to_string();
    for name in ["memory", "pids", "cpu"] {
        assert!(error.contains(&format!("{name}: this host has no such")), "{error}");
    }
    let mut group = Group::default();
    group
        .create(&[], &asked(limits(), MissingLimits::Record), &layout, CloneFlags::empty())
        .expect("recorded");
    assert_eq!(group.not_applied.len(), 3);
}

#[test]
fn a_limit_file_that_is_missing_is_recorded_and_undo_leaves_nothing() {
    let root = tempfile::tempdir().expect("tempdir");
    fake_v1(root.path(), &["memory"]);
    let layout = Layout::detect(root.path());
    let asked = asked(Limits { memory: Some(1), pids: None, cpus: None }, MissingLimits::Record);
    let mut group = Group::default();
    group
        .create(&layout.places(&asked.path, &asked.limits), &asked, &layout, CloneFlags::empty())
        .expect("recorded");
    assert!(group.not_applied[0].starts_with("memory: "), "{:?}", group.not_applied);
    group.undo();
    assert!(!root.path().join("memory/tare").exists());
}

#[test]
fn a_kernel_that_does_not_count_swap_is_no_error() {
    let root = tempfile::tempdir().expect("tempdir");
    fake_v1(root.path(), &["memory"]);
    let asked = asked(Limits { memory: Some(1 << 20), pids: None, cpus: None }, MissingLimits::Refuse);
    let place = Layout::detect(root.path()).places(&asked.path, &asked.limits).remove(0);
    fs::create_dir_all(&place.directory).expect("mkdir");
    let file = |name: &str| place.directory.join(name);
    fs::write(file("memory.limit_in_bytes"), "").expect("write");
    v1::limit(&place, &asked).expect("without the file");
    assert!(!file("memory.memsw.limit_in_bytes").exists());
    fs::write(file("memory.memsw.limit_in_bytes"), "").expect("write");
    v1::limit(&place, &asked).expect("with the file");
    assert_eq!(fs::read_to_string(file("memory.memsw.limit_in_bytes")).expect("read"), "1048576");
}

/// What `create` says of devices on a host whose tree of version 2 takes no programs (it is none).
fn devices_refused(missing: MissingLimits, fresh: CloneFlags) -> Result<Vec<String>> {
    let root = tempfile::tempdir().expect("tempdir");
    fake_v2(root.path(), "memory pids cpu");
    let layout = Layout::detect(root.path());
    let none = Limits { memory: None, pids: None, cpus: None };
    let asked =
        blueprint::Cgroup { devices: crate::confinement::DEVICE_RULES.to_vec(), ..asked(none, missing) };
    let mut group = Group::default();
    let created = group.create(&layout.places(&asked.path, &asked.limits), &asked, &layout, fresh);
    created.map(|()| group.not_applied)
}

#[test]
fn a_program_that_cannot_be_attached_is_an_error_or_recorded() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: without root no program is asked for");
        return;
    }
    let noted = devices_refused(MissingLimits::Record, CloneFlags::empty()).expect("recorded");
    assert!(
        noted.len() == 1 && noted[0].starts_with("devices: ") && noted[0].contains("BPF_PROG"),
        "{noted:?}"
    );
    let error = devices_refused(MissingLimits::Refuse, CloneFlags::CLONE_NEWUSER).expect_err("refused");
    assert!(error.to_string().starts_with("limits not applied: devices: "), "{error}");
}

#[test]
fn without_any_cgroup_devices_are_named_too() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: without root no program is asked for");
        return;
    }
    let root = tempfile::tempdir().expect("tempdir");
    let devices = crate::confinement::DEVICE_RULES.to_vec();
    let asked = blueprint::Cgroup { devices, ..asked(limits(), MissingLimits::Record) };
    let mut group = Group::default();
    group.create(&[], &asked, &Layout::detect(root.path()), CloneFlags::empty()).expect("recorded");
    assert!(group.not_applied[3].starts_with("devices: this host has no such"), "{:?}", group.not_applied);
}
