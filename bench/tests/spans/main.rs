//! Spans: parts of real starts that add up, and planted delays that appear in their span and in no other.

#[path = "../common/mod.rs"]
mod common;
mod planted;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use common::{document, finish, left_of, root, row, samples, skip, tare};
use serde_json::json;
use tare_reports::document::{Document, Sample, Status};
use tare_reports::spans::{of, unattributed_share};

/// A run of the measure; its document.
fn watched(contenders: &str, rounds: &str, set: &[(&str, &str)]) -> Document {
    // One at a time: they would be in each other's way.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let out = tempfile::tempdir().unwrap();
    let mut command = tare(out.path(), &["spans", "--only", contenders, "--rounds", rounds]);
    let output = finish(command.envs(set.iter().copied()));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let document = document(out.path());
    assert_eq!(left_of(&document.run.id), Vec::<std::path::PathBuf>::new());
    document
}

/// Whether this contender was measured; says why not.
fn measured(document: &Document, name: &str) -> bool {
    let row = row(document, name);
    if row.status == Status::Skipped {
        skip(name, row.reason.as_deref().unwrap_or("?"));
    }
    row.status == Status::Measured
}

/// The names of the spans that most samples have; asserts that no sample's parts are more than the whole. On a busy
/// host a helper's work can be hidden behind a newer process that waits for a CPU.
fn names(samples: &[Sample]) -> BTreeSet<&str> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let seen: Vec<&Sample> = samples.iter().filter(|it| it.value.is_some()).collect();
    assert!(!seen.is_empty(), "{samples:?}");
    for sample in &seen {
        assert!(Some(sample.spans.values().sum::<u64>()) <= sample.value, "{sample:?}");
        sample.spans.keys().for_each(|name| *counts.entry(name).or_default() += 1);
    }
    counts.into_iter().filter(|(_, count)| count * 2 > seen.len()).map(|it| it.0).collect()
}

#[test]
fn containers_are_seen_from_the_first_call_to_ready() {
    if !root() {
        return;
    }
    let document = watched("process,floor,tare,tare-lib,tare-pool,runc", "9", &[]);
    for name in ["process", "floor", "tare", "tare-lib", "tare-pool", "runc"] {
        if !measured(&document, name) {
            continue;
        }
        let share = unattributed_share(of(&document, name).unwrap()).unwrap();
        assert!(share <= 0.05, "{name}: {:.1} % was seen by nobody", share * 100.0);
        let names = names(samples(&document, name, "ready"));
        for common in ["exec", "payload", "notice"] {
            assert!(names.contains(common), "{name}: no {common} among {names:?}");
        }
        // A box in stock may still be busy when its command comes.
        assert!(names.contains("spawn") || name == "tare-pool", "{name}: {names:?}");
        let box_of_its_own: &[&str] = match name {
            "process" => &[],
            "tare-pool" => &["runtime"],
            "floor" => &["cgroup", "clone", "mounts", "pivot"],
            "runc" => {
                &["runtime", "cgroup", "clone", "overlay", "mounts", "pivot", "capabilities", "seccomp"]
            }
            _ => &[
                "runtime",
                "cgroup",
                "clone",
                "idmap",
                "overlay",
                "mounts",
                "pivot",
                "capabilities",
                "seccomp",
            ],
        };
        for part in box_of_its_own {
            assert!(names.contains(part), "{name}: no {part} among {names:?}");
        }
        assert!(name != "process" || names.len() == 4, "a process has no box: {names:?}");
    }
    let instance = format!("tare-{}", document.run.id);
    assert!(!tare::spans::tracefs::clean(|run| instance != format!("tare-{run}"), true).contains(&instance));
}

#[test]
fn what_a_script_says_arrives_exactly_and_is_drawn() {
    let took = |ready: u64, clone: u64, exec: u64| json!({"Took": {"ready": ready, "teardown": 1, "cpu": 1, "spans": {"clone": clone, "exec": exec}}});
    let script = json!({"contenders": [
        {"name": "fake-a", "visits": [took(1_000_000, 400_000, 500_000), took(2_000_000, 1_100_000, 700_000)]},
        {"name": "fake-b", "visits": [{"Failed": {"failure": "timeout", "detail": "it hung"}}, took(5_000, 0, 5_000)]},
    ]});
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("script.json");
    std::fs::write(&file, script.to_string()).unwrap();
    let mut command = tare(out.path(), &["spans", "--only", "fake-a,fake-b", "--rounds", "4"]);
    let output = finish(command.env("TARE_FAKE", &file));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let document = document(out.path());
    let clones: Vec<u64> = samples(&document, "fake-a", "ready").iter().map(|it| it.spans["clone"]).collect();
    assert_eq!(clones, [400_000, 1_100_000, 400_000, 1_100_000]);
    let failed: Vec<bool> =
        samples(&document, "fake-b", "ready").iter().map(|it| it.value.is_none()).collect();
    assert_eq!(failed, [true, false, true, false]);
    assert_eq!(unattributed_share(of(&document, "fake-a").unwrap()), Some(0.1));
    let page = std::fs::read_to_string(out.path().join("latest/index.html")).unwrap();
    assert!(page.contains("spans-ready-warm-waterfall-t") && page.contains("Where the time goes"));
    assert!(!page.contains("spans-ready-warm-distribution-t"), "watched starts are not compared");
}
