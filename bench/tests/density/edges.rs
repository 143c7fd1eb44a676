//! Edges of the real kernel, each induced for one search: it stops cleanly there and names what ran out.

use std::process::Command;
use std::time::Duration;

use tare::contenders::floor::Floor;
use tare::contenders::process::PlainProcess;
use tare::contenders::tare::Tare;
use tare::contenders::{Contender, Description, Found, Missing, Surroundings};
use tare::host::cgroups;
use tare::site::{Site, Start};
use tare::spawner::protocol::Launch;
use tare_reports::document::{Accel, Document};

use crate::common::{self, finish, root};
use crate::{found, one_at_a_time, rung, search};

/// Runs another test of this file alone, by this command in front; it has to pass.
fn alone(name: &str, by: &[&str]) {
    let _turn = one_at_a_time();
    let test = std::env::current_exe().unwrap();
    let mut command = Command::new(by[0]);
    command.args(&by[1..]).arg(test).args(["--ignored", "--exact", "--nocapture", name]);
    let output = finish(&mut command);
    let said = [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned()).concat();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn real_boxes_are_held_and_what_ends_it_is_the_descriptors() {
    if !root() {
        return;
    }
    common::binaries();
    alone("edges::edge_descriptors", &["sh", "-c", "ulimit -n 64 && exec \"$@\"", "sh"]);
}

#[test]
#[ignore = "run by the test above, with few descriptors"]
fn edge_descriptors() {
    for mut contender in [Box::<Tare>::default() as Box<dyn Contender>, Box::new(PlainProcess)] {
        let name = contender.name().to_owned();
        let site = Site::create(&format!("density-fds-{name}-{}", std::process::id())).unwrap();
        let (document, _dir) = search(contender.as_mut(), &site, Duration::from_millis(600));
        site.remove().unwrap();
        let found = found(&document, &name, "idle");
        let binding = found.binding.as_ref().unwrap_or_else(|| panic!("{found:?}"));
        assert_eq!(binding.resource, "fds", "{}", binding.evidence);
        // More than one keeper can hold with so few.
        let value = found.samples[0].value.unwrap();
        assert!(value > 100, "{value}");
        assert_eq!(binding.failed_at, Some(value as u32 + 1));
        let canary = rung(&document, "idle", "canary", value as u32).unwrap();
        assert!(canary.samples.iter().all(|it| it.value.is_some()), "all answered");
        assert_eq!(rung(&document, "idle", "clear", value as u32).unwrap().samples.len(), 1);
    }
}

/// A cgroup with one limit in it; removed at the end.
pub(crate) struct Parent(pub(crate) String);

impl Parent {
    /// `files` are the names of the limit on cgroup v1 and v2.
    pub(crate) fn with(controller: &str, files: [&str; 2], limit: &str) -> Option<Self> {
        let Some(root) = cgroups::root_of(controller) else {
            common::skip("root", &format!("this host has no {controller} controller"));
            return None;
        };
        let path = format!("/tare-edge-{controller}-{}", std::process::id());
        let dir = root.join(path.trim_start_matches('/'));
        let unified = root.join("cgroup.controllers").exists();
        std::fs::create_dir(&dir).unwrap();
        if unified {
            std::fs::write(root.join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
            std::fs::write(dir.join("cgroup.subtree_control"), "+pids +memory +cpu").unwrap();
        }
        std::fs::write(dir.join(files[usize::from(unified)]), limit).unwrap();
        Some(Self(path))
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        cgroups::remove_tree(&self.0).unwrap();
    }
}

/// The search of real `tare` boxes whose cgroups lie below this one. Nothing of it may stay.
fn search_below(parent: &Parent) -> Document {
    common::binaries();
    let run = format!("density-{}", parent.0.trim_start_matches('/'));
    let site = Site::create_below(&parent.0.parse().unwrap(), &run).unwrap();
    let mut contender = Tare::default();
    let (document, _dir) = search(&mut contender, &site, Duration::from_millis(600));
    site.remove().unwrap();
    document
}

#[test]
fn a_pids_cgroup_of_forty_ends_it_and_is_named() {
    if !root() {
        return;
    }
    let _turn = one_at_a_time();
    let Some(parent) = Parent::with("pids", ["pids.max", "pids.max"], "40") else { return };
    let document = search_below(&parent);
    let found = found(&document, "tare", "idle");
    let binding = found.binding.as_ref().unwrap_or_else(|| panic!("{found:?}"));
    assert_eq!(binding.resource, "pids", "{}", binding.evidence);
    // What is missing to forty are the spawners, and the runtime that makes the next box.
    let value = found.samples[0].value.unwrap();
    assert!((30..=40).contains(&value), "{found:?}");
    assert_eq!(binding.failed_at, Some(value as u32 + 1));
    assert!(binding.evidence.contains("pids.max is 40"), "{}", binding.evidence);
}

#[test]
fn a_parent_memory_cgroup_of_64_mib_ends_it_and_is_named() {
    if !root() {
        return;
    }
    let limit = (64 << 20).to_string();
    let files = ["memory.limit_in_bytes", "memory.max"];
    let _turn = one_at_a_time();
    let Some(parent) = Parent::with("memory", files, &limit) else { return };
    let document = search_below(&parent);
    let found = found(&document, "tare", "idle");
    let binding = found.binding.as_ref().unwrap_or_else(|| panic!("{found:?}"));
    assert_eq!(binding.resource, "memory", "{}", binding.evidence);
    assert!(binding.evidence.contains(&parent.0), "{}", binding.evidence);
    assert!(found.samples[0].value.is_some_and(|it| (20..1000).contains(&it)), "{found:?}");
}

/// In a user namespace of its own, in which this limit holds and no other's is touched.
fn in_a_namespace_with(limit: &str, test: &str) {
    common::binaries();
    let set = format!("echo {limit} && exec \"$@\"");
    alone(test, &["unshare", "--user", "--map-root-user", "sh", "-c", &set, "sh"]);
}

#[test]
fn three_network_namespaces_end_it_and_are_named() {
    if root() {
        in_a_namespace_with("3 > /proc/sys/user/max_net_namespaces", "edges::edge_network_namespaces");
    }
}

#[test]
#[ignore = "run by the test above, in a user namespace"]
fn edge_network_namespaces() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::create_in(dir.path(), &format!("density-netns-{}", std::process::id())).unwrap();
    let (document, _dir) = search(&mut Floor::default(), &site, Duration::from_millis(600));
    site.remove().unwrap();
    let found = found(&document, "floor", "idle");
    let binding = found.binding.as_ref().unwrap_or_else(|| panic!("{found:?}"));
    assert_eq!(
        (binding.resource.as_str(), found.samples[0].value),
        ("netns", Some(3)),
        "{}",
        binding.evidence
    );
    assert!(binding.evidence.contains("max_net_namespaces is 3"), "{}", binding.evidence);
}

/// A plain process that opens an inotify instance before it becomes the payload, which keeps it.
#[derive(Debug)]
struct Watcher;

const WATCH: &str = "syscall(294, 0) >= 0 or die \"inotify_init1: $!\\n\"; exec @ARGV";

impl Contender for Watcher {
    fn description(&self) -> Description<'_> {
        Description { name: "watcher", ..Description::default() }
    }

    fn probe(&mut self, _: &Surroundings) -> Result<Found, Missing> {
        Ok(Found { version: "-".into(), accel: Accel::Native, not_expressed: Vec::new() })
    }

    fn launch(&mut self, site: &Site, start: &Start) -> anyhow::Result<Launch> {
        let payload = site.payload().display().to_string();
        let argv = ["/usr/bin/perl", "-e", WATCH, &payload, &start.nonce].map(str::to_owned).into();
        Ok(Launch::Command { argv, env: Vec::new(), overlay: None, dies_with_parent: false })
    }

    fn command(&mut self, _: &Site) -> Vec<String> {
        Vec::new()
    }
}

#[test]
fn one_inotify_instance_ends_it_and_is_named() {
    if root() {
        in_a_namespace_with("1 > /proc/sys/user/max_inotify_instances", "edges::edge_inotify");
    }
}

#[test]
#[ignore = "run by the test above, in a user namespace"]
fn edge_inotify() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::create_in(dir.path(), &format!("density-inotify-{}", std::process::id())).unwrap();
    let (document, _dir) = search(&mut Watcher, &site, Duration::from_millis(600));
    site.remove().unwrap();
    let found = found(&document, "watcher", "idle");
    let binding = found.binding.as_ref().unwrap_or_else(|| panic!("{found:?}"));
    assert_eq!(
        (binding.resource.as_str(), found.samples[0].value),
        ("inotify", Some(1)),
        "{}",
        binding.evidence
    );
}
