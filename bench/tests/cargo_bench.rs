//! The targets of one `cargo bench`: one document and one page; every run is kept, and an invocation is no other's.

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use common::{Guard, binaries};
use tare::cargo_bench::Invocation;
use tare::run::{Options, Outcome, Profile, Selection, run};
use tare_reports::Document;

/// What a target runs: this measure of a bare process.
fn target(out: &Path, measure: &str) -> Outcome {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    binaries();
    let outcome = run(&Options {
        selection: Selection {
            measures: vec![measure.into()],
            only: vec!["process".into()],
            skip: Vec::new(),
        },
        profile: Profile::Quick,
        rounds: Some(2),
        seed: 7,
        allow_host: false,
        parent_cgroup: None,
        out: out.to_owned(),
        spawner: env!("CARGO_BIN_EXE_tare").into(),
        progress: false,
    })
    .unwrap();
    // Names of runs have seconds and a process id in them, and here all are one process.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    outcome
}

/// A process that stands for cargo.
fn cargo() -> (Guard, Invocation) {
    let child = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
    let invocation = Invocation::of(child.id()).unwrap();
    (Guard(child), invocation)
}

fn latest(out: &Path) -> Document {
    tare_reports::read(&out.join("latest/result.json")).unwrap()
}

fn measures(document: &Document) -> Vec<&str> {
    let mut names: Vec<&str> = document.series.iter().map(|it| it.measure.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn silent(line: &str) {
    panic!("nothing is in the way: {line}");
}

#[test]
fn targets_of_one_invocation_become_one_page_and_the_next_invocation_another() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path();
    let (_cargo, first) = cargo();
    let startup = target(out, "startup");
    first.note(&startup.dir).unwrap();
    assert!(first.merge(out, silent).unwrap().is_none(), "one target is its own page");
    let running = target(out, "concurrency");
    first.note(&running.dir).unwrap();
    let (merged, page) = first.merge(out, silent).unwrap().unwrap();
    assert_eq!(measures(&merged), ["concurrency", "startup"]);
    assert_eq!(merged.run.merged_from, [startup.document.run.id.clone(), running.document.run.id.clone()]);
    assert_eq!(latest(out), merged);
    let html = std::fs::read_to_string(page).unwrap();
    assert!(html.contains("concurrency") && html.contains("startup"));
    // Merging again changes nothing: the merged one is no run of its own.
    assert_eq!(first.merge(out, silent).unwrap().unwrap().0, merged);

    let (_other, second) = cargo();
    let again = target(out, "startup");
    second.note(&again.dir).unwrap();
    assert!(second.merge(out, silent).unwrap().is_none(), "it is a page of its own");
    assert_eq!(latest(out).run.id, again.document.run.id);
    for kept in [&startup, &running, &again] {
        assert_eq!(tare_reports::read(&kept.dir.join("result.json")).unwrap(), kept.document);
    }
    assert!(
        out.join(&merged.run.id).join("index.html").exists(),
        "the first invocation's page is still there"
    );
}

#[test]
fn a_broken_or_absent_earlier_document_is_said_and_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path();
    let (_cargo, invocation) = cargo();
    for (name, text) in [("broken", Some("{ \"schema\": 1, ")), ("absent", None)] {
        let run = out.join(name);
        std::fs::create_dir(&run).unwrap();
        invocation.note(&run).unwrap();
        if let Some(text) = text {
            std::fs::write(run.join("result.json"), text).unwrap();
        }
    }
    let startup = target(out, "startup");
    invocation.note(&startup.dir).unwrap();
    let mut said = Vec::new();
    assert!(invocation.merge(out, |line| said.push(line.to_owned())).unwrap().is_none());
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said.iter().any(|line| line.contains("broken/result.json")), "{said:?}");
    assert_eq!(latest(out).run.id, startup.document.run.id);
    // With a second target that can be read there is one page of the two.
    let other = target(out, "concurrency");
    invocation.note(&other.dir).unwrap();
    let merged = invocation.merge(out, |_| ()).unwrap().unwrap().0;
    assert_eq!(merged.run.merged_from.len(), 2);
}

#[test]
fn another_process_with_the_same_id_is_another_invocation() {
    let (_cargo, first) = cargo();
    let later = Invocation { started: first.started + 1, ..first.clone() };
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    std::fs::create_dir(&run).unwrap();
    first.note(&run).unwrap();
    assert_eq!(later.runs(dir.path()), (Vec::new(), Vec::new()));
    assert_eq!(first.runs(dir.path()).1.len(), 1, "its own run is there, without a result");
}
