//! Density: the search exactly, with a scripted contender; and on real boxes.

mod common;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::{document, finish, root, row, tare};
use serde_json::{Value, json};
use tare::contenders::process::PlainProcess;
use tare::contenders::tare::Tare;
use tare::contenders::{Contender, Surroundings};
use tare::lab::Lab;
use tare::measures::Pass;
use tare::measures::density::Density;
use tare::record::{Record, Visit};
use tare::site::Site;
use tare_reports::document::{Document, Failure, Mode, Series};

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
    for state in ["idle", "touched"] {
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
    for state in ["idle", "touched"] {
        let found = found(&document, "fake-a", state);
        let (value, binding) = (found.samples[0].value.unwrap(), found.binding.as_ref().unwrap());
        assert!((64..=256).contains(&value), "{value}");
        assert_eq!((binding.resource.as_str(), binding.failed_at), ("time budget", None));
        assert_eq!(rung(&document, state, "canary", value as u32).unwrap().samples.len(), 2000, "confirmed");
    }
}

/// The search of one contender, idle, in this process: on a site whose cgroups lie below `parent`.
fn search(contender: &mut dyn Contender, site: &Site, hold: Duration) -> (Document, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let surroundings = Surroundings { root: true, kvm: tare::vm::kvm::Kvm::Unknown("not needed".into()) };
    contender.probe(&surroundings).unwrap();
    contender.prepare(site).unwrap();
    let mut record = Record::create(dir.path(), blank()).unwrap();
    let mut lab = Lab::open(env!("CARGO_BIN_EXE_tare").as_ref(), &dir.path().join("stderr"), 1).unwrap();
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

/// Runs another test of this file alone, by this command in front; it has to pass.
fn alone(name: &str, by: &[&str]) {
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
