//! The ladder's chart and table: every rung, in its order, with the figures of known samples.

#[path = "../examples/demo/document.rs"]
#[allow(dead_code)]
mod made_up;

use tare_reports::charts::{Topic, standalone};
use tare_reports::document::*;
use tare_reports::ladder::{Rung, climb};
use tare_reports::stats::{Difference, Interval};
use tare_reports::summary::summarise;
use tare_reports::{Lang, audit, page, reliability, text};

/// Rungs with what they add to `ready`, us, and to `memory`, KiB.
const RUNGS: [(&str, i64, i64); 6] = [
    ("process", 300, 100),
    ("cgroup", 120, 20),
    ("mount", 90, 40),
    ("detach", 30, -25),
    ("hostname", 0, 0),
    ("seccomp", 60, 12),
];

/// A document with a ladder whose differences within rounds are exactly those above, while the host's
/// speed, which is the same for all rungs of a round, wanders by far more. In `hostname` they cancel out.
fn document(rounds: u32) -> Document {
    let mut document = made_up::good(6);
    document.series.clear();
    // The document holds the rungs in the order of their first visits.
    for place in [4, 0, 5, 2, 1, 3] {
        for (quantity, unit, scale) in [("ready", Unit::Ns, 1000), ("memory", Unit::Bytes, 1024)] {
            let sum = |of: fn(&(&str, i64, i64)) -> i64| RUNGS[..=place].iter().map(of).sum::<i64>();
            let whole = if quantity == "ready" { sum(|it| it.1) } else { sum(|it| it.2) };
            let samples = (0..rounds).map(|round| {
                let wanders = 50 * i64::from(round % 5);
                let own = if RUNGS[place].0 == "hostname" { [-3, 3][round as usize % 2] } else { 0 };
                let value = (whole + wanders + own) * scale;
                Sample::value(round, (round + place as u32) % 6, value as u64)
            });
            document.series.push(Series {
                measure: "ladder".into(),
                quantity: quantity.into(),
                mode: Mode::Warm,
                contender: "tare-lib".into(),
                unit,
                predicted: false,
                binding: None,
                parameters: Parameters {
                    rung: Some(RUNGS[place].0.into()),
                    step: Some(place as u32),
                    network: Some("none".into()),
                    instances: (quantity == "memory").then_some(64),
                    concurrency: (quantity == "ready").then_some(1),
                    ..Parameters::default()
                },
                samples: samples.collect(),
            });
        }
    }
    document
}

fn names(rungs: &[Rung]) -> Vec<&str> {
    rungs.iter().map(|it| it.name.as_str()).collect()
}

#[test]
fn what_a_rung_adds_is_the_difference_within_rounds() {
    let document = document(20);
    let rungs = climb(&document, "tare-lib", "ready");
    assert_eq!(names(&rungs), RUNGS.map(|it| it.0), "from the bottom, whatever the document's order");
    assert_eq!(rungs[0].adds, None);
    for (rung, (name, adds, _)) in rungs.iter().zip(RUNGS).skip(1).filter(|it| it.1.1 > 0) {
        let found = rung.adds.unwrap();
        // After the rung whose differences go up and down, the next one's do too.
        let near = if name == "seccomp" { 3_000.0 } else { 0.0 };
        assert!((found.delta - adds as f64 * 1e3).abs() <= near, "{name}: {found:?}");
        assert_eq!((found.pairs, found.difference), (20, Difference::Differs), "{name}");
    }
    assert_eq!(rungs[1].adds.unwrap().interval, Some(Interval { low: 120e3, high: 120e3 }));
    assert_eq!(rungs[4].adds.unwrap().difference, Difference::NoVerdict);
    let memory = climb(&document, "tare-lib", "memory");
    assert_eq!(memory[3].adds.unwrap().delta, -25.0 * 1024.0, "memory that is given back is said");
    assert_eq!(climb(&document, "runc", "ready"), []);
}

#[test]
fn a_rung_that_failed_takes_the_verdicts_on_both_sides_with_it_and_nothing_else() {
    let mut document = document(20);
    let cgroup = |it: &&mut Series| it.parameters.rung.as_deref() == Some("cgroup");
    for series in document.series.iter_mut().filter(cgroup) {
        for sample in &mut series.samples {
            *sample = Sample::failure(sample.round, sample.position, Failure::Start, "no");
        }
    }
    let rungs = climb(&document, "tare-lib", "ready");
    assert_eq!((rungs[1].n, rungs[1].failed, rungs[1].median), (0, 20, None));
    let adds: Vec<bool> = rungs.iter().map(|it| it.adds.is_some()).collect();
    assert_eq!(adds, [false, false, false, true, true, true]);
    for lang in [Lang::En, Lang::Zh] {
        assert!(page::render(&document, lang).unwrap().contains("n/a"));
    }
}

/// The texts of a drawing, in order.
fn texts(svg: &str) -> Vec<String> {
    let inner = svg.split("<text").skip(1).filter_map(|it| it.split_once('>')?.1.split("</text>").next());
    inner.map(|it| it.trim().to_owned()).collect()
}

#[test]
fn every_rung_is_drawn_in_its_order_with_its_figures() {
    let document = document(20);
    let svg = standalone(&document, "ready", "ladder", Lang::En).unwrap().unwrap();
    let texts = texts(&svg);
    let places: Vec<usize> = RUNGS
        .iter()
        .map(|(name, ..)| {
            texts.iter().position(|it| it == name).unwrap_or_else(|| panic!("{name}: {texts:?}"))
        })
        .collect();
    assert!(places.is_sorted(), "{places:?}");
    let until = |index: usize| places.get(index + 1).copied().unwrap_or(texts.len());
    let row = |index: usize| &texts[places[index] + 1..until(index)];
    assert_eq!(row(0), ["400 µs", "200 KiB"], "the first rung shows what it is, the others what they add");
    assert_eq!(row(1), ["+120 µs", "+20.0 KiB"]);
    assert_eq!(row(3), ["+30.0 µs", "−25.0 KiB"]);
    assert_eq!(row(4), ["no verdict", "no verdict"]);
    assert!(svg.contains("time until ready") && svg.contains("host memory"));
}

#[test]
fn one_topic_holds_all_rungs_and_the_page_one_chapter() {
    let document = document(20);
    let summaries = summarise(&document);
    let topics = Topic::all(&document, &summaries);
    let found: Vec<(&str, usize)> = topics.iter().map(|it| (it.quantity, it.lanes.len())).collect();
    assert_eq!(found, [("ready", 6), ("memory", 6)]);
    let labels: Vec<String> = topics[0].lanes.iter().map(|it| it.label(Lang::En)).collect();
    assert_eq!(labels, RUNGS.map(|it| it.0));
    for (lang, title) in [(Lang::En, "The ladder"), (Lang::Zh, "阶梯")] {
        let page = page::render(&document, lang).unwrap();
        for part in [
            "id=\"ladder\"".to_owned(),
            format!("<h2>{title}</h2>"),
            "ladder-ready-warm-tare-lib-ladder-t".to_owned(),
            "ladder-ready-warm-tare-lib-ladder-narrow-t".to_owned(),
            "ladder-memory-warm-tare-lib-i64-ladder-t".to_owned(),
        ] {
            assert!(page.contains(&part), "{part}");
        }
        assert!(!page.contains("Everybody against everybody"), "rungs are not rivals");
    }
}

#[test]
fn the_terminal_shows_the_ladder() {
    let text = text::table(&document(20));
    let ready = text.split("ladder / ").nth(1).unwrap();
    assert!(ready.starts_with("ready, warm, tare-lib, "), "{ready}");
    let line = |name: &str| ready.lines().find(|it| it.trim_start().starts_with(name)).unwrap();
    let words: Vec<&str> = line("cgroup").split_whitespace().collect();
    assert_eq!(words[..3], ["cgroup", "520", "us"]);
    assert!(line("cgroup").ends_with(" 120 us [120 us .. 120 us]"), "{}", line("cgroup"));
    assert!(line("hostname").ends_with("no verdict"), "{}", line("hostname"));
}

#[test]
fn a_run_of_the_ladder_alone_is_judged_by_its_own_order() {
    let verdict = |document: &Document, item: u32| {
        audit::audit(document)
            .into_iter()
            .find(|it| it.item == item)
            .map(|it| (it.verdict, it.evidence))
            .unwrap()
    };
    // Each round begins one place further: shuffled well enough for the audit.
    let mut document = document(24);
    assert_eq!(verdict(&document, 19).0, Verdict::Passed, "{}", verdict(&document, 19).1);
    assert_eq!(verdict(&document, 21).0, Verdict::NotCheckable, "no start-up, no calibration rows");
    for series in &mut document.series {
        let step = series.parameters.step.unwrap();
        series.samples.iter_mut().for_each(|it| it.position = step);
    }
    assert_eq!(verdict(&document, 19).0, Verdict::Failed);
}

#[test]
fn drift_is_seen_in_all_rungs_together() {
    let drift =
        |document: &Document| reliability::rules(document).into_iter().find(|it| it.name == "drift").unwrap();
    let mut document = document(40);
    assert_eq!(drift(&document).state, reliability::State::Kept, "{}", drift(&document).figure);
    for series in document.series.iter_mut().filter(|it| it.quantity == "ready") {
        for sample in &mut series.samples {
            sample.value = sample.value.map(|it| it * (100 + u64::from(sample.round)) / 100);
        }
    }
    let found = drift(&document);
    assert_eq!(found.state, reliability::State::Broken);
    assert!(found.figure.contains("all rungs of the ladder together"), "{}", found.figure);
}
