//! The waterfall: the parts of a start that took place, in their order, and what is left over.

#[path = "../examples/demo/document.rs"]
#[allow(dead_code)]
mod made_up;

use tare_reports::charts::{Topic, standalone};
use tare_reports::document::*;
use tare_reports::spans::{
    MEASURE, median, middle, names, of, parts, unattributed, unattributed_share, unwatched,
};
use tare_reports::summary::summarise;
use tare_reports::{Lang, page, reliability};

/// A start of `ready` us with these parts.
fn start(round: u32, ready: u64, parts: &[(&str, u64)]) -> Sample {
    let spans = parts.iter().map(|(name, us)| ((*name).to_owned(), us * 1_000)).collect();
    Sample { spans, ..Sample::value(round, round % 3, ready * 1_000) }
}

fn document() -> Document {
    let mut document = made_up::good(6);
    document.series.clear();
    let mut add = |contender: &str, samples: Vec<Sample>| {
        document.series.push(Series {
            measure: MEASURE.into(),
            quantity: "ready".into(),
            mode: Mode::Warm,
            contender: contender.into(),
            unit: Unit::Ns,
            predicted: false,
            binding: None,
            parameters: Parameters { concurrency: Some(1), running: Some(0), ..Parameters::default() },
            samples,
        });
    };
    let vm = [("notice", 10), ("payload", 90), ("kernel", 900_000), ("vmm", 50_000), ("firmware", 40_000)];
    add("qemu", vec![start(0, 1_000_000, &vm)]);
    let tare = |round, more: u64| {
        start(
            round,
            1_000 + more,
            &[("exec", 100), ("spawn", 300 + more), ("clone", 400), ("odd", 100), ("notice", 50)],
        )
    };
    let failed = Sample::failure(3, 0, Failure::Timeout, "it hung");
    add("tare", vec![tare(0, 600), tare(1, 0), tare(2, 200), failed]);
    document
}

#[test]
fn the_start_in_the_middle_is_shown_and_its_parts_add_up() {
    let document = document();
    let tare = of(&document, "tare").unwrap();
    let sample = middle(tare).unwrap();
    assert_eq!((sample.round, sample.value), (2, Some(1_200_000)));
    let found: Vec<&str> = parts(sample).into_iter().map(|it| it.0).collect();
    assert_eq!(
        found,
        ["spawn", "clone", "exec", "odd", "notice"],
        "in the order of a start, strangers before the end"
    );
    assert_eq!(unattributed(sample), Some(50_000));
    assert_eq!(parts(sample).iter().map(|it| it.1).sum::<u64>() + 50_000, 1_200_000);
    assert_eq!(median(tare, "spawn"), Some(500_000.0));
    assert_eq!(median(tare, "kernel"), None, "not measured is not zero");
    let share = unattributed_share(tare).unwrap();
    assert!((share - 50.0 / 1_200.0).abs() < 1e-9, "{share}");
    let all = names(document.series.iter());
    assert_eq!(all, ["spawn", "vmm", "firmware", "kernel", "clone", "exec", "odd", "payload", "notice"]);
}

#[test]
fn a_contender_of_which_nothing_was_seen_is_all_unattributed() {
    let mut document = document();
    document.series[0].samples[0].spans.clear();
    let qemu = of(&document, "qemu").unwrap();
    assert_eq!(unattributed_share(qemu), Some(1.0));
    document.series[1].samples.retain(|it| it.value.is_none());
    assert_eq!(middle(of(&document, "tare").unwrap()), None);
    for lang in [Lang::En, Lang::Zh] {
        let page = page::render(&document, lang).unwrap();
        assert!(page.contains("100.0 %"), "drawn, not left out");
    }
}

/// The texts of a drawing, in order.
fn texts(svg: &str) -> Vec<String> {
    let inner = svg.split("<text").skip(1).filter_map(|it| it.split_once('>')?.1.split("</text>").next());
    inner.map(|it| it.trim().to_owned()).collect()
}

#[test]
fn both_sides_stand_next_to_each_other_with_all_their_figures() {
    let document = document();
    let svg = standalone(&document, "ready", "waterfall", Lang::En).unwrap().unwrap();
    let texts = texts(&svg);
    let place =
        |text: &str| texts.iter().position(|it| it == text).unwrap_or_else(|| panic!("{text}: {texts:?}"));
    let tare = place("tare");
    let rows = [
        "1.20 ms",
        "spawn",
        "500 µs",
        "clone",
        "400 µs",
        "exec",
        "100 µs",
        "odd",
        "100 µs",
        "notice",
        "50.0 µs",
        "unattributed",
        "4.2 %",
    ];
    assert_eq!(texts[tare + 1..tare + 1 + rows.len()], rows);
    let qemu = place("qemu");
    assert_eq!(texts[qemu + 1..qemu + 5], ["tcg", "1.00 s", "vmm", "50.0 ms"]);
    // The machine begins in the right column, at the same height as the container in the left one.
    let at = |name: &str| {
        let tag = svg
            .split("<text")
            .find(|it| it.contains(&format!(">\n{name}\n")) || it.contains(&format!(">{name}<")));
        let value = |key: &str| {
            tag.unwrap().split(&format!("{key}=\"")).nth(1).unwrap().split('"').next().unwrap().to_owned()
        };
        (value(" x").parse::<i32>().unwrap(), value(" y"))
    };
    assert!(at("tare").0 < 480 && at("qemu").0 > 480);
    assert_eq!(at("tare").1, at("qemu").1);
}

#[test]
fn watched_starts_have_a_chapter_and_are_compared_with_nothing() {
    let document = document();
    let summaries = summarise(&document);
    let topics = Topic::all(&document, &summaries);
    assert_eq!(topics.len(), 1);
    for (lang, title) in [(Lang::En, "Where the time goes"), (Lang::Zh, "时间去了哪里")] {
        let page = page::render(&document, lang).unwrap();
        assert!(page.contains(&format!("<h2>{title}</h2>")) && page.contains("id=\"spans\""));
        for suffix in ["", "-narrow"] {
            assert!(page.contains(&format!("spans-ready-warm-waterfall{suffix}-t")));
        }
        for other in ["distribution", "ratio", "order"] {
            assert!(!page.contains(&format!("spans-ready-warm-{other}-t")), "{other}");
        }
    }
    let page = page::render(&document, Lang::En).unwrap();
    assert!(page.contains("not measured") && !page.contains("Everybody against everybody"));
    let drift = reliability::rules(&document).into_iter().find(|it| it.name == "drift").unwrap();
    assert_eq!(drift.state, reliability::State::NotJudged, "{}", drift.figure);
}

#[test]
fn what_watching_costs_stands_beside_it_where_the_run_has_both() {
    let mut document = document();
    assert_eq!(unwatched(&document, of(&document, "tare").unwrap()), None);
    let watched = of(&document, "tare").unwrap().clone();
    let plain = |measure: &str, mode, us: u64| Series {
        measure: measure.into(),
        mode,
        samples: vec![start(0, us, &[])],
        ..watched.clone()
    };
    document.series.push(plain("ladder", Mode::Warm, 1));
    document.series.push(plain("startup", Mode::Pool, 2));
    let mut twice = plain("startup", Mode::Warm, 3);
    twice.parameters.aa = Some(true);
    document.series.push(twice);
    assert_eq!(unwatched(&document, &watched), None, "another measure, mode or visit is another thing");
    document.series.push(plain("startup", Mode::Warm, 777));
    assert_eq!(unwatched(&document, &watched), Some(777_000.0));
    let page = page::render(&document, Lang::En).unwrap();
    assert!(page.contains("ready, not watched") && page.contains("777 µs"));
}
