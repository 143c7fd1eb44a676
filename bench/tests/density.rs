//! Density: the search exactly, with a scripted contender; and on real boxes.

mod common;

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::{document, finish, root, row, tare};
use serde_json::{Value, json};
use tare::contenders::floor::{Floor, FloorConfined};
use tare::contenders::process::PlainProcess;
use tare::contenders::tare::Tare;
use tare::contenders::{Contender, Description, Found, Missing, Surroundings};
use tare::host::{census, cgroups, memory};
use tare::lab::{Beat, Lab, Multitude};
use tare::measures::Pass;
use tare::measures::density::Density;
use tare::record::{Record, Visit};
use tare::site::{Site, Start};
use tare::spawner::protocol::Launch;
use tare_reports::document::{Accel, Document, Failure, Mode, Series, Status};

/// The largest number that was found, with its series.
fn found<'a>(document: &'a Document, contender: &str, state: &str) -> &'a Series {
    let mut all = document.series.iter().filter(|it| it.measure == "density" && it.contender == contender);
    let one = all.find(|it| it.quantity == state && it.parameters.instances.is_none());
    one.unwrap_or_else(|| panic!("{contender} has no {state}; its row: {:?}", row(document, contender)))
}

/// What was seen of so many boxes.
fn rung<'a>(document: &'a Document, state: &'a str, quantity: &'a str, boxes: u32) -> Option<&'a Series> {
    document.series.iter().find(|it| {
        it.quantity == quantity
            && it.parameters.state.as_deref() == Some(state)
            && it.parameters.instances == Some(boxes)
    })
}

fn took(memory: u64, answers: u64) -> Value {
    json!({"Took": {"ready": 1000, "teardown": 10, "cpu": 1, "memory": memory, "answers": answers}})
}

/// The search of a contender whose boxes, held together, answer so.
fn scripted(out: &Path, boxes: &[Value]) -> Document {
    let script = out.join("script.json");
    let visits = json!([took(1, 1)]);
    let play = json!({"contenders": [{"name": "fake-a", "visits": visits, "boxes": boxes}]});
    std::fs::write(&script, play.to_string()).unwrap();
    let mut command = tare(out, &["density", "--only", "fake-a", "--rounds", "1"]);
    let output = finish(command.env("TARE_FAKE", &script));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    document(out)
}

#[test]
fn an_edge_where_starts_are_refused_is_found_exactly_and_named_by_what_was_said() {
    let out = tempfile::tempdir().unwrap();
    let mut boxes = vec![took(4096, 1_000_000); 137];
    boxes.push(json!({"Failed": {"failure": "start", "detail": "pipe2: Too many open files"}}));
    let document = scripted(out.path(), &boxes);
    for state in ["idle", "touched", "serving"] {
        let found = found(&document, "fake-a", state);
        assert_eq!(found.samples.iter().map(|it| it.value).collect::<Vec<_>>(), [Some(137)]);
        let binding = found.binding.as_ref().unwrap();
        assert_eq!((binding.resource.as_str(), binding.failed_at), ("fds", Some(138)));
        assert!(binding.evidence.contains("box 138: pipe2: Too many open files"), "{}", binding.evidence);
        // What was found is over as many boxes as were started: one more or less would show in their memory.
        let host = rung(&document, state, "host", 137).unwrap();
        assert!(host.samples.iter().all(|it| it.value == Some(137 * 4096)), "{host:?}");
        // At least a thousand pings shortly, and as many when it was confirmed.
        assert_eq!(rung(&document, state, "canary", 137).unwrap().samples.len(), 2000);
        assert_eq!(rung(&document, state, "clear", 137).unwrap().samples[0].value, Some(10));
        // Nine were started on the way from 128 to the failing one, and then it was seen to fail once more.
        assert_eq!(rung(&document, state, "start", 137).unwrap().samples.len(), 9);
        let failed = rung(&document, state, "start", 138).unwrap();
        assert_eq!(failed.samples.len(), 2);
        assert!(failed.samples.iter().all(|it| it.failure == Some(Failure::Start)));
        assert!(rung(&document, state, "host", 138).is_none(), "no figure stands for boxes that never were");
    }
}

#[test]
fn an_edge_where_answers_come_late_is_found_exactly() {
    let out = tempfile::tempdir().unwrap();
    // The 91st box makes all of them slower than 100 ms.
    let boxes: Vec<Value> =
        (1..=200).map(|n| took(4096, if n > 90 { 100_000_001 } else { 100_000_000 })).collect();
    let document = scripted(out.path(), &boxes);
    let found = found(&document, "fake-a", "idle");
    assert_eq!(found.samples[0].value, Some(90));
    let binding = found.binding.as_ref().unwrap();
    assert_eq!(binding.failed_at, Some(91));
    assert!(
        ["cpu", "unknown"].contains(&binding.resource.as_str()),
        "what this host did meanwhile: {binding:?}"
    );
    assert!(binding.evidence.contains("1000 pings to 91 boxes"), "{}", binding.evidence);
    let late = rung(&document, "idle", "canary", 91).unwrap();
    assert!(late.samples.iter().all(|it| it.value == Some(100_000_001)));
}

#[test]
fn the_profiles_time_ends_a_search_with_what_was_reached() {
    let out = tempfile::tempdir().unwrap();
    // Each start takes a second of a scripted time of twenty minutes, shared by the states.
    let second =
        json!({"Took": {"ready": 1_000_000_000, "teardown": 1, "cpu": 1, "memory": 1, "answers": 1}});
    let script = out.path().join("script.json");
    let play = json!({"contenders": [{"name": "fake-a", "visits": [second]}]});
    std::fs::write(&script, play.to_string()).unwrap();
    let mut command = tare(out.path(), &["density", "--only", "fake-a", "--profile", "standard"]);
    let output = finish(command.env("TARE_FAKE", &script));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let document = document(out.path());
    for state in ["idle", "touched", "serving"] {
        let found = found(&document, "fake-a", state);
        let (value, binding) = (found.samples[0].value.unwrap(), found.binding.as_ref().unwrap());
        // 256 would be the next; there is time for more than 128, and the states after the first have what it left over.
        assert!((129..=400).contains(&value), "{value}");
        assert!(binding.evidence.contains("s more (1.0 starts a second)"), "{}", binding.evidence);
        assert_eq!((binding.resource.as_str(), binding.failed_at), ("time budget", None));
        assert_eq!(rung(&document, state, "canary", value as u32).unwrap().samples.len(), 2000, "confirmed");
    }
}

#[test]
fn where_the_time_is_too_short_for_all_some_are_searched_and_the_others_listed() {
    let out = tempfile::tempdir().unwrap();
    let box_ = json!({"Took": {"ready": 100_000_000, "teardown": 1, "cpu": 1, "memory": 1, "answers": 1}});
    let play = ["fake-a", "fake-b", "fake-c"].map(|name| json!({"name": name, "visits": [box_]}));
    let script = out.path().join("script.json");
    std::fs::write(&script, json!({"contenders": play}).to_string()).unwrap();
    let only = ["density", "--only", "fake-a,fake-b,fake-c", "--profile", "quick"];
    let output = finish(tare(out.path(), &only).env("TARE_FAKE", &script));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let document = document(out.path());
    let searched: Vec<&Series> =
        document.series.iter().filter(|it| it.parameters.instances.is_none()).collect();
    // Two minutes are two times what finds something out, and nine searches are asked for.
    assert_eq!(searched.len(), 2, "{searched:?}");
    for it in searched {
        assert!(it.samples[0].value.is_some_and(|boxes| boxes >= 32), "{it:?}");
        assert_eq!(it.binding.as_ref().unwrap().resource, "time budget");
    }
    let without = |name: &str| !document.series.iter().any(|it| it.contender == name);
    let none = document.contenders.iter().filter(|row| without(&row.name));
    for row in none.clone() {
        assert_eq!(row.status, Status::Skipped, "{row:?}");
        assert!(row.reason.as_ref().unwrap().contains("0 visits for density"), "{row:?}");
        assert!(document.run.left_out.iter().any(|it| it.contains(&row.name)), "{:?}", document.run.left_out);
    }
    assert!(none.count() > 0);
}

/// The search of one contender, idle, in this process: on a site whose cgroups lie below `parent`.
fn search(contender: &mut dyn Contender, site: &Site, hold: Duration) -> (Document, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let surroundings = Surroundings { root: true, kvm: tare::vm::kvm::Kvm::Unknown("not needed".into()) };
    contender.probe(&surroundings).unwrap();
    contender.prepare(site).unwrap();
    let mut record = Record::create(dir.path(), blank()).unwrap();
    let errors = dir.path().join("stderr");
    let mut lab = Lab::open_in(env!("CARGO_BIN_EXE_tare").as_ref(), &errors, 1, site.birthplaces()).unwrap();
    let density = Density::holding(hold);
    let parameters = density.settings(contender).remove(0);
    let name = contender.name().to_owned();
    let mut visit = Visit {
        record: &mut record,
        measure: "density",
        contender: &name,
        mode: Mode::Warm,
        round: 0,
        position: 0,
        parameters: &parameters,
    };
    density.visit(&mut lab, site, contender, &mut visit);
    contender.finish(site).unwrap();
    (record.document, dir)
}

/// A document without results.
fn blank() -> Document {
    let run = json!({"id": format!("density-{}", std::process::id()), "started": "2026-11-28T00:00:00Z", "seed": 1,
        "profile": "quick", "complete": false, "reliable": false, "tare": "test"});
    let host = json!({"kernel": "x", "cpu": "x", "cpus": 1, "memory_bytes": 1, "hypervisor": "none", "cgroup": "v1",
        "kvm": "absent"});
    let document = json!({"schema": tare_reports::document::SCHEMA, "run": run, "host": host, "contenders": [],
        "series": [], "audit": []});
    serde_json::from_value(document).unwrap()
}

/// One at a time: what one of them lacks the others would feel too.
static EDGE: Mutex<()> = Mutex::new(());

fn one_at_a_time() -> MutexGuard<'static, ()> {
    EDGE.lock().unwrap_or_else(PoisonError::into_inner)
}

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
    alone("edge_descriptors", &["sh", "-c", "ulimit -n 64 && exec \"$@\"", "sh"]);
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
struct Parent(String);

impl Parent {
    /// `files` are the names of the limit on cgroup v1 and v2.
    fn with(controller: &str, files: [&str; 2], limit: &str) -> Option<Self> {
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
        in_a_namespace_with("3 > /proc/sys/user/max_net_namespaces", "edge_network_namespaces");
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
        in_a_namespace_with("1 > /proc/sys/user/max_inotify_instances", "edge_inotify");
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

/// Time until READY of so many plain processes, one at a time, the median, ns.
fn process_ready(lab: &mut Lab, site: &Site) -> u64 {
    let mut times = Vec::new();
    for _ in 0..300 {
        let one = lab.start(&mut PlainProcess, site).unwrap();
        times.push(one.ready_ns);
        assert!(lab.stop(&mut PlainProcess, site, one).teardown_ns.is_ok(), "the multitude is no leak");
    }
    common::median(times)
}

#[test]
fn boxes_that_serve_are_given_one_request_each_second_and_all_are_counted() {
    if !root() {
        return;
    }
    common::binaries();
    let _turn = one_at_a_time();
    let dir = tempfile::tempdir().unwrap();
    let site = Site::create(&format!("density-serving-{}", std::process::id())).unwrap();
    let mut lab = Lab::open(env!("CARGO_BIN_EXE_tare").as_ref(), &dir.path().join("stderr"), 1).unwrap();
    let mut multitude = Multitude::default();
    let grown = lab.grow(&mut PlainProcess, &site, &mut multitude, (12, None), &mut || Ok(()));
    assert_eq!((grown.failed, multitude.len()), (None, 12));
    let beat = |work: &str| Beat {
        pings: 60,
        over: Duration::from_secs(3),
        work: Some(work.into()),
        patience: Duration::from_secs(5),
    };
    let heard = lab.canary(&mut multitude, &beat("burn 1")).unwrap();
    assert!(heard.pings.iter().all(Result::is_ok) && heard.lost.is_empty(), "{heard:?}");
    // Three seconds, twelve boxes.
    assert_eq!((heard.done.asked, heard.done.served, heard.done.strange), (36, 36, None));
    // What a box does not do is no service.
    let heard = lab.canary(&mut multitude, &beat("frown 1")).unwrap();
    assert_eq!((heard.done.asked, heard.done.served), (36, 0));
    assert_eq!(heard.done.strange.as_deref(), Some("ERR frown unknown command"));
    lab.shrink(&mut PlainProcess, &site, &mut multitude, 0).unwrap();
    site.remove().unwrap();
}

#[test]
fn the_lab_is_not_the_result() {
    if !root() {
        return;
    }
    common::binaries();
    let _turn = one_at_a_time();
    // TARE_BOXES=10000 is what the design promises, for a machine that does nothing else meanwhile.
    let asked: Option<u32> = std::env::var("TARE_BOXES").ok().map(|it| it.parse().unwrap());
    let (boxes, most) = asked.map_or((300, 1.5), |it| (it, 1.1));
    let dir = tempfile::tempdir().unwrap();
    let site = Site::create(&format!("density-lab-{}", std::process::id())).unwrap();
    let mut lab = Lab::open(env!("CARGO_BIN_EXE_tare").as_ref(), &dir.path().join("stderr"), 1).unwrap();
    let surroundings = Surroundings { root: true, kvm: tare::vm::kvm::Kvm::Unknown("not needed".into()) };
    let mut contender: Box<dyn Contender> = match std::env::var("TARE_CONTENDER").as_deref() {
        Ok("floor-confined") => Box::new(FloorConfined::default()),
        _ => Box::new(Tare::default()),
    };
    contender.probe(&surroundings).unwrap();
    contender.prepare(&site).unwrap();
    let before = census::take(&site, lab.spawner_pid());
    let none = process_ready(&mut lab, &site);
    let mut multitude = Multitude::default();
    let base = memory::settled().unwrap().bytes;
    for rung in [boxes / 10, boxes / 2, boxes] {
        let from = multitude.len();
        let grown = lab.grow(contender.as_mut(), &site, &mut multitude, (rung, None), &mut || Ok(()));
        assert_eq!((grown.failed, multitude.len()), (None, rung));
        let each = grown.wall_ns / u64::from(rung - from);
        let last = common::median(grown.starts[grown.starts.len().saturating_sub(32)..].to_vec());
        let host = memory::settled().unwrap().bytes.saturating_sub(base) / u64::from(rung);
        let over = Duration::from_millis(u64::from(rung.max(1000)) * 2);
        let beat = Beat { pings: rung.max(1000), over, work: None, patience: Duration::from_secs(5) };
        let heard = lab.canary(&mut multitude, &beat).unwrap();
        let mut late: Vec<u64> = heard.pings.iter().map(|it| *it.as_ref().unwrap()).collect();
        late.sort_unstable();
        eprintln!(
            "{} at {rung}: {} ns each by the wall, the last 32 ready after {last} ns, {host} bytes of the host each, \
             {} pings: median {} ns, p99 {} ns, all answered",
            contender.name(),
            each,
            late.len(),
            late[late.len() / 2],
            late[late.len() * 99 / 100]
        );
        assert!(heard.lost.is_empty(), "{:?}", heard.lost);
    }
    let many = process_ready(&mut lab, &site);
    let began = Instant::now();
    lab.shrink(contender.as_mut(), &site, &mut multitude, 0).unwrap();
    let cleared = began.elapsed();
    eprintln!(
        "process ready after {none} ns with none held, {many} ns with {boxes}; all gone in {cleared:?}"
    );
    let after = census::settle(&site, lab.spawner_pid(), &before, Duration::from_secs(20));
    eprintln!("before {before:?}, after {after:?}");
    site.remove().unwrap();
    assert_eq!((after.processes, after.mounts, after.files), (before.processes, before.mounts, before.files));
    assert_eq!(after.cgroups, before.cgroups);
    assert!(cleared < Duration::from_secs(120), "{cleared:?}");
    assert!(many as f64 <= none as f64 * most, "{many} ns with {boxes} held, {none} ns with none");
}
