//! The time of the quick profile, kept with scripted contenders that say to take seconds and hours: exact
//! figures, and no time passes.

use assert_cmd::Command;
use serde_json::{Value, json};
use tare_reports::document::{Contender, Document, Failure, Series, Status};

const SECOND: u64 = 1_000_000_000;
const HOUR: u64 = 3600 * SECOND;

/// Time for the rounds of one measure in the quick profile, and how much later a visit begun in time may end.
const BUDGET: u64 = 120 * SECOND;
const GRACE: u64 = 5 * SECOND;

/// Runs the suite on a script of names and the time until READY, ns; the teardown takes nothing.
fn play(boxes: &[(&str, u64)], args: &[&str]) -> Document {
    let took = |ready: u64| json!({"Took": {"ready": ready, "teardown": 0, "cpu": 0, "memory": 1}});
    let roles: Vec<Value> = boxes
        .iter()
        .map(|(name, ready)| {
            json!({"name": name, "visits": [took(*ready)], "rungs": {"process": [took(*ready)]}})
        })
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let (file, out) = (dir.path().join("script.json"), dir.path().join("out"));
    std::fs::write(&file, json!({"contenders": roles}).to_string()).unwrap();
    let names: Vec<&str> = boxes.iter().map(|(name, _)| *name).collect();
    let output = Command::new(env!("CARGO_BIN_EXE_tare"))
        .arg("run")
        .args(args)
        .args(["--seed", "7", "--only", &names.join(",")])
        .arg("--out")
        .arg(&out)
        .env("TARE_FAKE", &file)
        .timeout(std::time::Duration::from_secs(60))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "a lack of time is nobody's failure: {said}");
    let document = tare_reports::read(&out.join("latest/result.json")).unwrap();
    assert!(document.run.complete);
    document
}

fn ready<'a>(document: &'a Document, contender: &str) -> &'a Series {
    let mut all = document.series.iter();
    let wanted = |s: &&Series| s.contender == contender && s.quantity == "ready" && s.parameters.aa.is_none();
    all.find(wanted).unwrap_or_else(|| panic!("{contender} has no series"))
}

fn visits(document: &Document, contender: &str) -> usize {
    ready(document, contender).samples.len()
}

/// The rounds of the profile, or nearly all: beside the scripted time a little of the real one passes, and on a busy
/// host more than a little.
fn whole(visits: usize) {
    assert!((300..=400).contains(&visits), "{visits} of 400");
}

/// All the time that boxes of a measure took, ns.
fn spent(document: &Document, measure: &str) -> u64 {
    let series = document.series.iter().filter(|s| s.measure == measure && s.quantity == "ready");
    series.flat_map(|s| &s.samples).filter_map(|s| s.value).sum()
}

fn row<'a>(document: &'a Document, contender: &str) -> &'a Contender {
    document.contenders.iter().find(|it| it.name == contender).unwrap()
}

/// What the document lists about contenders that did not fit.
fn listed(document: &Document) -> Vec<&str> {
    let lines = document.run.left_out.iter().map(String::as_str);
    lines.filter(|it| it.contains("the profile's time")).collect()
}

#[test]
fn a_machine_of_today_gets_everybody_measured() {
    let document = play(&[("fast", SECOND / 100), ("medium", SECOND / 20), ("vm", 2 * SECOND)], &["startup"]);
    assert_eq!(visits(&document, "fast"), visits(&document, "medium"));
    whole(visits(&document, "fast"));
    // 90 s are left for it: 400 rounds of 10 (twice, for the A/A test) and 50 ms take 28 s, its first visit 2 s.
    let vm = visits(&document, "vm");
    assert!((40..=47).contains(&vm), "{vm}");
    assert_eq!(listed(&document), [""; 0]);
}

#[test]
fn a_slow_machine_keeps_the_time_and_lists_what_did_not_fit() {
    let boxes = [("fast", SECOND / 100), ("vm", 40 * SECOND), ("other-vm", 3 * SECOND)];
    let document = play(&boxes, &["startup"]);
    whole(visits(&document, "fast"));
    assert_eq!(visits(&document, "vm"), 1);
    assert!(spent(&document, "startup") <= BUDGET, "{}", spent(&document, "startup"));
    let other = visits(&document, "other-vm");
    assert!((20..=24).contains(&other), "what one does not use, the other has: {other}");
    let line = "contender vm: the profile's time allowed 1 visit for startup, taking up to 40.0 s: \
                tare run startup --only vm --rounds 20";
    assert_eq!(listed(&document), [line]);
    // The one visit is kept, and no interval is made of it.
    assert_eq!((row(&document, "vm").status, row(&document, "vm").reason.clone()), (Status::Measured, None));
    assert_eq!(ready(&document, "vm").samples[0].value, Some(40 * SECOND));
}

#[test]
fn boxes_that_hang_are_skipped_for_lack_of_time_and_the_others_are_whole() {
    let boxes = [("fast", SECOND / 100), ("a", HOUR), ("b", HOUR), ("c", HOUR)];
    let document = play(&boxes, &["startup"]);
    whole(visits(&document, "fast"));
    for name in ["a", "b", "c"] {
        let samples = &ready(&document, name).samples;
        assert_eq!(samples.len(), 1, "{name}");
        assert_eq!(samples[0].failure, Some(Failure::NotMeasured), "{name}: the box did nothing wrong");
        let row = row(&document, name);
        assert_eq!(row.status, Status::Skipped);
        assert_eq!(row.fix.clone().unwrap(), format!("tare run startup --only {name} --rounds 20"));
    }
    let line = "3 contenders: the profile's time allowed 1 visit each for startup, taking up to ";
    let lines = listed(&document);
    assert!(matches!(*lines, [it] if it.starts_with(line)), "said once: {lines:?}");
    assert!(lines[0].ends_with(": tare run startup --only a,b,c --rounds 20"), "{lines:?}");
}

#[test]
fn where_no_time_is_left_the_rest_is_not_visited_and_listed() {
    let names: Vec<String> = (0..12).map(|it| format!("vm-{it}")).collect();
    let boxes: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 14 * SECOND)).collect();
    let document = play(&boxes, &["startup"]);
    assert!(spent(&document, "startup") <= BUDGET + GRACE, "{}", spent(&document, "startup"));
    let measured = document.contenders.iter().filter(|it| it.status == Status::Measured).count();
    // 14 s fit into half of what is left until less than 28 s are: seven visits, the A/A test's among them.
    assert!((6..=7).contains(&measured), "{measured}");
    let lines = listed(&document);
    assert!(matches!(*lines, [it] if it.starts_with("12 contenders: ")), "{lines:?}");
    assert!(names.iter().all(|it| lines[0].contains(&**it)), "nobody was visited often enough: {lines:?}");
}

#[test]
fn the_whole_run_is_bounded_however_many_measures_were_named() {
    let document = play(&[("climber", SECOND)], &["startup", "ladder"]);
    // A third of 150 s for each of three passes at most.
    let startup = spent(&document, "startup");
    assert!((45 * SECOND..=50 * SECOND).contains(&startup), "{startup}");
    let ladder = spent(&document, "ladder");
    assert!(startup + ladder <= 150 * SECOND, "{startup} and {ladder}");
    let lines = listed(&document);
    assert!(
        lines.len() == 1 && lines[0].ends_with("tare run ladder --only climber --rounds 20"),
        "{lines:?}"
    );
}

#[test]
fn the_command_for_what_did_not_fit_has_rounds_enough_for_a_measure_that_gets_a_part_of_them() {
    let document = play(&[("slow", 20 * SECOND)], &["concurrency"]);
    let line = listed(&document)[0];
    // A tenth of 60 is 6, which is what an interval needs; a tenth of 20 would not be.
    assert!(line.ends_with("tare run concurrency --only slow --rounds 60"), "{line}");
}

#[test]
fn who_counts_the_rounds_has_no_time_to_keep() {
    let document = play(&[("fast", SECOND / 100), ("vm", 40 * SECOND)], &["startup", "--rounds", "8"]);
    assert_eq!([visits(&document, "fast"), visits(&document, "vm")], [8, 8]);
    assert_eq!(listed(&document), [""; 0]);
}
