//! The search exactly, with a contender whose figures come from a script.

use std::path::Path;

use serde_json::{Value, json};
use tare_reports::document::{Document, Failure, Series, Status};

use crate::common::{document, finish, tare};
use crate::{found, rung};

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
