//! The whole pipeline on scripted contenders: exact numbers, no root, no time passing.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::{Value, json};
use tare_reports::document::{Document, Failure, Series, Status};

struct Outcome {
    dir: tempfile::TempDir,
    output: std::process::Output,
}

impl Outcome {
    fn run_dir(&self) -> PathBuf {
        self.dir.path().join("out/latest").canonicalize().unwrap()
    }

    fn document(&self) -> Document {
        tare_reports::read(&self.run_dir().join("result.json")).unwrap()
    }

    fn series(&self, contender: &str, quantity: &str) -> Series {
        let document = self.document();
        let mut found = document
            .series
            .into_iter()
            .filter(|s| s.contender == contender && s.quantity == quantity && s.parameters.aa.is_none());
        let series = found.next().unwrap_or_else(|| panic!("no series {contender}/{quantity}"));
        assert!(found.next().is_none(), "{contender}/{quantity} must be one series");
        series
    }

    fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }
}

fn tare() -> Command {
    Command::new(env!("CARGO_BIN_EXE_tare"))
}

fn play(script: &Value, args: &[&str]) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("script.json");
    std::fs::write(&file, script.to_string()).unwrap();
    let out = dir.path().join("out");
    let output = tare()
        .arg("run")
        .args(args)
        .arg("--out")
        .arg(&out)
        .env("TARE_FAKE", &file)
        .timeout(std::time::Duration::from_secs(60))
        .output()
        .unwrap();
    Outcome { dir, output }
}

fn took(ready: u64) -> Value {
    json!({"Took": {"ready": ready, "teardown": ready / 2, "cpu": ready / 4}})
}

fn two() -> Value {
    json!({"contenders": [
        {"name": "fake-a", "visits": [took(1000), took(1200), took(1100)]},
        {"name": "fake-b", "visits": [took(8000), {"Failed": {"failure": "timeout", "detail": "it hung"}}]},
        {"name": "fake-c", "skipped": "no such tool here", "visits": [took(1)]},
    ]})
}

#[test]
fn every_scripted_figure_arrives_in_the_document_exactly() {
    let run = play(&two(), &["startup", "--only", "fake-a,fake-b,fake-c", "--rounds", "40", "--seed", "7"]);
    assert_eq!(run.output.status.code(), Some(0), "{}", run.stderr());
    // fake-a is visited twice per round (it is the A/A contender), so its script advances by both visits.
    let b: Vec<Option<u64>> = run.series("fake-b", "ready").samples.iter().map(|s| s.value).collect();
    let expected: Vec<Option<u64>> = (0..40).map(|i| (i % 2 == 0).then_some(8000)).collect();
    assert_eq!(b, expected);
    let teardown: u64 = run.series("fake-b", "teardown").samples.iter().filter_map(|s| s.value).sum();
    assert_eq!(teardown, 20 * 4000);
    let failures: Vec<Failure> =
        run.series("fake-b", "cpu").samples.iter().filter_map(|s| s.failure).collect();
    assert_eq!(failures, vec![Failure::Timeout; 20], "failures are rows");
    let mut a: Vec<u64> = run
        .document()
        .series
        .iter()
        .filter(|s| s.contender == "fake-a" && s.quantity == "ready")
        .flat_map(|s| s.samples.iter().filter_map(|s| s.value))
        .collect();
    a.sort_unstable();
    assert_eq!(a.iter().sum::<u64>(), 27 * 1000 + 27 * 1200 + 26 * 1100);
    let c = run.document().contenders.into_iter().find(|c| c.name == "fake-c").unwrap();
    assert_eq!((c.status, c.reason.as_deref()), (Status::Skipped, Some("no such tool here")));
}

#[test]
fn the_order_is_shuffled_stored_and_repeats_with_the_seed() {
    let order = |seed: &str| -> Vec<(u32, u32)> {
        let run = play(&two(), &["startup", "--only", "fake-a,fake-b", "--rounds", "60", "--seed", seed]);
        run.series("fake-b", "ready").samples.iter().map(|s| (s.round, s.position)).collect()
    };
    let (first, again, other) = (order("1"), order("1"), order("2"));
    assert_eq!(first, again);
    assert_ne!(first, other);
    for place in 0..3 {
        let here = first.iter().filter(|(_, position)| *position == place).count();
        assert!((8..=35).contains(&here), "place {place} was taken {here} times of 60");
    }
}

#[test]
fn the_result_is_valid_and_every_sample_is_also_a_line() {
    let run = play(&two(), &["startup", "--only", "fake-a,fake-b", "--rounds", "5"]);
    let text = std::fs::read_to_string(run.run_dir().join("result.json")).unwrap();
    let result: Value = serde_json::from_str(&text).unwrap();
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../reports/schema.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(schema).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator.iter_errors(&result).map(|e| e.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let lines = std::fs::read_to_string(run.run_dir().join("samples.jsonl")).unwrap();
    let in_document: usize = run.document().series.iter().map(|s| s.samples.len()).sum();
    assert_eq!(lines.lines().count(), in_document);
    assert_eq!(in_document, 5 * 3 * 3, "five rounds, three places, three quantities");
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(line["value"].is_u64() != line["failure"].is_string(), "{line}");
    }
    let page = std::fs::read_to_string(run.run_dir().join("index.html")).unwrap();
    assert!(page.contains("fake-a") && page.contains("</html>"));
}

#[test]
fn a_contender_without_one_success_has_failed_and_the_status_says_so() {
    let script = json!({"contenders": [
        {"name": "fake-a", "visits": [took(1000)]},
        {"name": "fake-b", "visits": [{"Failed": {"failure": "crash", "detail": "it fell over"}}]},
    ]});
    let run = play(&script, &["startup", "--only", "fake-a,fake-b", "--rounds", "4"]);
    assert_eq!(run.output.status.code(), Some(3), "{}", run.stderr());
    let b = run.document().contenders.into_iter().find(|c| c.name == "fake-b").unwrap();
    assert_eq!(b.status, Status::Failed);
    assert!(b.reason.unwrap().contains("it fell over"));
    assert_eq!(run.series("fake-a", "ready").samples.len(), 4, "the other row is there");
}

#[test]
fn wrong_names_and_broken_scripts_are_one_clear_line() {
    let run = play(&two(), &["--only", "fake-z"]);
    assert_eq!(run.output.status.code(), Some(2));
    assert!(run.stderr().contains("no contender is called \"fake-z\"; there are: "), "{}", run.stderr());
    let run = play(&two(), &["speed-of-light"]);
    assert_eq!(run.output.status.code(), Some(2));
    assert!(run.stderr().contains("no measure is called"), "{}", run.stderr());
    let run = play(&json!({"contenders": [{"name": "x", "visits": []}]}), &["--only", "process"]);
    assert_eq!(run.output.status.code(), Some(1));
    assert!(run.stderr().contains("the visits of x are empty"), "{}", run.stderr());
    assert_eq!(run.stderr().lines().count(), 1, "{}", run.stderr());
    assert!(!run.dir.path().join("out").exists(), "nothing is made before the names are known");
}

#[test]
fn the_page_is_drawn_again_from_the_result() {
    let run = play(&two(), &["startup", "--only", "fake-a,fake-b", "--rounds", "3"]);
    let again = run.dir.path().join("again");
    tare().arg("report").arg(run.run_dir()).args(["--lang", "zh", "--out"]).arg(&again).assert().success();
    let page = std::fs::read_to_string(again.join("index.html")).unwrap();
    assert!(page.contains("lang=\"zh"), "the Chinese page says so");
    tare().arg("report").arg(run.dir.path().join("nowhere")).assert().code(1);
}

/// A scripted climber: `process` and `seccomp` by name, all other rungs alike.
fn climber() -> Value {
    let on = |ready: u64, memory: u64| json!({"Took": {"ready": ready, "teardown": 1, "cpu": 1, "memory": memory}});
    json!({"contenders": [
        {"name": "fake-a", "visits": [on(5000, 900)], "rungs": {
            "process": [on(1000, 300), on(1200, 300)],
            "seccomp": [on(9000, 1000)],
            "cgroup": [{"Failed": {"failure": "start", "detail": "no cgroup here"}}],
        }},
        {"name": "fake-b", "visits": [took(1)]},
    ]})
}

/// The values of a rung in a quantity, by round.
fn rung(document: &Document, quantity: &str, name: &str) -> Vec<(u32, u32, Option<u64>)> {
    let found = |s: &&Series| {
        s.quantity == quantity && s.parameters.rung.as_deref() == Some(name) && s.parameters.aa.is_none()
    };
    let series: Vec<&Series> = document.series.iter().filter(found).collect();
    assert_eq!(series.len(), 1, "{quantity} of {name} must be one series");
    series[0].samples.iter().map(|s| (s.round, s.position, s.value)).collect()
}

#[test]
fn the_ladder_records_every_rung_in_both_quantities_exactly() {
    let run = play(&climber(), &["ladder", "--only", "fake-a", "--rounds", "30", "--seed", "7"]);
    assert_eq!(run.output.status.code(), Some(0), "{}", run.stderr());
    let document = run.document();
    let rungs = tare_runtime::ladder::RUNGS;
    for (step, name) in rungs.iter().enumerate() {
        let ready = rung(&document, "ready", name);
        assert_eq!(ready.len(), 30, "{name}: one start per round");
        let expected: Vec<Option<u64>> = (0..30)
            .map(|round| match *name {
                "process" => Some([1000, 1200][round % 2]),
                "seccomp" => Some(9000),
                "cgroup" => None,
                _ => Some(5000),
            })
            .collect();
        // The A/A test visits the last rung twice; its figures are all the same.
        assert_eq!(ready.iter().map(|it| it.2).collect::<Vec<_>>(), expected, "{name}");
        let memory: Vec<Option<u64>> = rung(&document, "memory", name).iter().map(|it| it.2).collect();
        let bytes = match *name {
            "process" => Some(300),
            "seccomp" => Some(1000),
            "cgroup" => None,
            _ => Some(900),
        };
        assert_eq!(memory, vec![bytes; 4], "{name}: a tenth of the rounds, in pairs");
        let steps: Vec<Option<u32>> = document
            .series
            .iter()
            .filter(|s| s.parameters.rung.as_deref() == Some(*name))
            .map(|s| s.parameters.step)
            .collect();
        assert!(steps.iter().all(|it| *it == Some(step as u32)), "{name}: {steps:?}");
    }
    let again: Vec<&Series> = document.series.iter().filter(|s| s.parameters.aa == Some(true)).collect();
    assert_eq!(again.len(), 1, "one A/A test, of time");
    assert_eq!(again[0].parameters.rung.as_deref(), rungs.last().copied());
    // Four rungs lie between `process` and the whole box in this script's figures: 4,000 ns and no more.
    let climbed = tare_reports::ladder::climb(&document, "fake-a", "ready");
    assert_eq!(climbed.last().unwrap().adds.unwrap().delta, 4000.0);
    assert_eq!(climbed[1].failed, 30);
    let page = std::fs::read_to_string(run.run_dir().join("index.html")).unwrap();
    assert!(page.contains("ladder-ready-warm-fake-a-ladder-t"), "the chart is on the page");
}

#[test]
fn the_ladders_time_is_shuffled_and_its_memory_goes_there_and_back() {
    let run = play(&climber(), &["ladder", "--only", "fake-a", "--rounds", "60", "--seed", "3"]);
    let document = run.document();
    let last = tare_runtime::ladder::RUNGS.len() as u32 - 1;
    let mut orders = std::collections::BTreeSet::new();
    for name in tare_runtime::ladder::RUNGS {
        let memory = rung(&document, "memory", name);
        assert_eq!(memory.len(), 6);
        for pair in memory.chunks(2) {
            assert_eq!((pair[0].0 + 1, last - pair[0].1), (pair[1].0, pair[1].1), "{name}: mirrored");
        }
        orders.insert(memory.iter().map(|it| it.1).collect::<Vec<_>>());
        let ready = rung(&document, "ready", name);
        let mean = ready.iter().map(|it| f64::from(it.1)).sum::<f64>() / 60.0;
        // 27 places, mean 13, and of 60 draws the mean's standard deviation is 1.
        assert!((8.0..=18.0).contains(&mean), "{name} stands at {mean} of 26");
    }
    assert_eq!(orders.len(), 26, "each pair of rounds has an order of its own");
}

#[test]
fn the_ladder_is_left_out_of_the_quick_profile_and_said_so() {
    let run = play(&climber(), &["--only", "fake-a", "--rounds", "2"]);
    let document = run.document();
    let known = |s: &Series| ["startup", "memory"].contains(&s.measure.as_str());
    // What is predicted from memory is marked as such.
    assert!(document.series.iter().all(|s| known(s) != (s.predicted && s.measure == "density")));
    let left = &document.run.left_out;
    assert!(left.iter().any(|it| it == "measure ladder: tare run ladder"), "{left:?}");
    let run = play(&climber(), &["--only", "fake-a", "--rounds", "2", "--profile", "standard"]);
    let document = run.document();
    assert!(document.series.iter().any(|s| s.measure == "ladder"));
    assert!(!document.run.left_out.iter().any(|it| it.starts_with("measure ladder")));
}

#[test]
fn who_cannot_climb_is_left_away_or_where_named_says_so() {
    let run = play(&climber(), &["ladder", "--only", "fake-a,fake-b", "--rounds", "2"]);
    assert_eq!(run.output.status.code(), Some(0), "{}", run.stderr());
    let b = run.document().contenders.into_iter().find(|c| c.name == "fake-b").unwrap();
    assert_eq!((b.status, b.reason.as_deref()), (Status::Skipped, Some("has no answer to ladder")));
    let everybody_else = "tare-lib,fake-b";
    let run = play(&climber(), &["ladder", "--skip", everybody_else, "--rounds", "2"]);
    let names: Vec<String> = run.document().contenders.into_iter().map(|c| c.name).collect();
    assert_eq!(names, ["fake-a"], "runc, qemu and the others have no rungs");
}

#[test]
fn memory_is_over_as_many_boxes_as_its_series_say() {
    let run = play(&climber(), &["memory", "--only", "fake-a", "--rounds", "20"]);
    assert_eq!(run.output.status.code(), Some(0), "{}", run.stderr());
    let document = run.document();
    // The script's boxes cost the same each, so a box too few or too many is another sum.
    let one = document.series.iter().flat_map(|it| &it.samples).find_map(|it| it.value).unwrap();
    let each = one / u64::from(document.series[0].parameters.instances.unwrap());
    assert!(each > 0);
    let mut found: Vec<(String, u32)> = Vec::new();
    for series in document.series.iter().filter(|it| !it.predicted) {
        let boxes = series.parameters.instances.unwrap();
        let values: Vec<Option<u64>> = series.samples.iter().map(|it| it.value).collect();
        assert_eq!(values, [Some(each * u64::from(boxes)); 2], "{boxes}: there and back");
        found.push((series.parameters.state.clone().unwrap(), boxes));
    }
    found.sort();
    let expected = [("idle", [64, 128, 192, 256]), ("touched", [4, 8, 12, 16])];
    let expected = expected.into_iter().flat_map(|(state, all)| all.map(|it| (state.to_owned(), it)));
    assert_eq!(found, expected.collect::<Vec<_>>());
    // A quick run predicts how many fit; of boxes so small more than four times those held, so there is no figure.
    let mut predicted = document.series.iter().filter(|it| it.predicted);
    let (one, none) = (predicted.next().unwrap(), predicted.next());
    assert_eq!((one.measure.as_str(), one.quantity.as_str(), none), ("density", "idle", None));
    let [sample] = &*one.samples else { panic!("{one:?}") };
    assert_eq!((sample.value, sample.failure), (None, Some(Failure::NotMeasured)), "{sample:?}");
    assert!(sample.detail.as_ref().unwrap().contains("4 times the 256 boxes that were held"), "{sample:?}");
    let run = play(&climber(), &["memory", "--only", "fake-a", "--rounds", "20", "--profile", "standard"]);
    assert!(run.document().series.iter().all(|it| !it.predicted), "only the quick profile predicts");
}

#[test]
fn what_differs_from_the_image_is_counted_named_and_judged() {
    let edited = |edits: Value| json!({"Took": {"ready": 1, "teardown": 1, "cpu": 1, "edits": edits}});
    let script = json!({"contenders": [
        {"name": "fake-same", "visits": [took(1)]},
        // The second look sees more than the first and the third.
        {"name": "fake-other", "visits": [
            edited(json!([["f4755", "f0755"]])),
            edited(json!([["f4755", "f0755"], ["env PATH=", "env PATH=/x:"]])),
            edited(json!([["f4755", "f0755"]])),
        ]},
    ]});
    let run = play(&script, &["sameness", "--only", "fake-same,fake-other", "--rounds", "3"]);
    assert_eq!(run.output.status.code(), Some(0), "{}", run.stderr());
    let values = |name| -> Vec<Option<u64>> {
        run.series(name, "content").samples.iter().map(|it| it.value).collect()
    };
    assert_eq!(values("fake-same"), [Some(0), Some(0), Some(0)]);
    assert_eq!(values("fake-other"), [Some(1), Some(2), Some(1)]);
    let document = run.document();
    let seen = document.sameness.as_ref().unwrap();
    let looked = |name: &str| seen.boxes.iter().find(|it| it.contender == name).unwrap();
    assert_eq!((&looked("fake-same").digest, looked("fake-same").differ), (&seen.image, 0));
    let other = looked("fake-other");
    assert_ne!(other.digest, seen.image);
    let [path, mode] = other.differences.as_slice() else { panic!("{:?}", other.differences) };
    assert!(path.starts_with("variable PATH: "), "{path}");
    assert_eq!(mode, "/usr/bin/as-root: mode 4755 in the image, 0755 here");
    assert!(run.stdout().contains("fake-other: /usr/bin/as-root: mode 4755"), "{}", run.stdout());
    let page = std::fs::read_to_string(run.run_dir().join("index.html")).unwrap();
    for words in ["✕ refuted", "2 of ", "mode 4755 in the image, 0755 here", &seen.image] {
        assert!(page.contains(words), "{words}");
    }
}

#[test]
fn what_is_kept_on_disk_arrives_exactly_and_what_is_missing_is_said() {
    let weighs = |figures: Value| json!({"Took": {"ready": 1, "teardown": 1, "cpu": 1, "disk": figures}});
    let script = json!({"contenders": [
        {"name": "fake-whole", "visits": [weighs(json!([4096, 1024, 40, 1064])), weighs(json!([4096, 1024, 44, 1064]))]},
        {"name": "fake-short", "visits": [weighs(json!([4096, 4096]))]},
    ]});
    let run = play(&script, &["disk", "--only", "fake-whole,fake-short", "--rounds", "2"]);
    assert_eq!(run.output.status.code(), Some(0), "{}", run.stderr());
    let values = |name, quantity| -> Vec<Option<u64>> {
        run.series(name, quantity).samples.iter().map(|it| it.value).collect()
    };
    for (quantity, expected) in
        [("image", [4096, 4096]), ("second", [1024, 1024]), ("instance", [40, 44]), ("written", [1064, 1064])]
    {
        assert_eq!(values("fake-whole", quantity), expected.map(Some), "{quantity}");
    }
    assert_eq!(values("fake-short", "second"), [Some(4096), Some(4096)]);
    let missing = run.series("fake-short", "instance");
    assert!(missing.samples.iter().all(|it| it.failure == Some(Failure::NotMeasured)), "{missing:?}");
}

#[test]
fn what_transfers_take_arrives_exactly_and_what_did_not_come_says_why() {
    let took =
        |transfers: Value| json!({"Took": {"ready": 1, "teardown": 1, "cpu": 1, "transfers": transfers}});
    let script = json!({"contenders": [
        {"name": "fake-pulls", "visits": [took(json!([[400, 9000], [50, 700], [40, 650]]))]},
        {"name": "fake-ends", "visits": [took(json!([[300, 8000]]))]},
        {"name": "fake-fails", "visits": [{"Failed": {"failure": "timeout", "detail": "it hung"}}]},
    ]});
    let run = play(&script, &["disk", "--only", "fake-pulls,fake-ends,fake-fails", "--rounds", "3"]);
    // One whose every start failed has failed.
    assert_eq!(run.output.status.code(), Some(3), "{}", run.stderr());
    let document = run.document();
    let samples = |contender: &str, quantity: &str, transfer: &str| {
        let own = |it: &&Series| {
            (it.contender.as_str(), it.quantity.as_str()) == (contender, quantity)
                && it.parameters.transfer.as_deref() == Some(transfer)
                && it.parameters.aa.is_none()
        };
        document.series.iter().find(own).unwrap_or_else(|| panic!("{contender} {transfer}")).samples.clone()
    };
    for (transfer, [pull, wire]) in [("first", [400, 9000]), ("second", [50, 700]), ("update", [40, 650])] {
        let values = |quantity| {
            samples("fake-pulls", quantity, transfer).iter().map(|it| it.value).collect::<Vec<_>>()
        };
        assert_eq!(values("pull"), [Some(pull); 3], "{transfer}");
        assert_eq!(values("wire"), [Some(wire); 3], "{transfer}");
    }
    assert_eq!(samples("fake-ends", "pull", "first")[0].value, Some(300));
    for (contender, transfer, failure) in [
        ("fake-ends", "second", Failure::NotMeasured),
        ("fake-ends", "update", Failure::NotMeasured),
        ("fake-fails", "first", Failure::Timeout),
        ("fake-fails", "update", Failure::Timeout),
    ] {
        let all = samples(contender, "wire", transfer);
        assert!(all.len() == 3 && all.iter().all(|it| it.failure == Some(failure)), "{contender}: {all:?}");
    }
}
