//! The curves' chart, table and audit, with the figures of known samples.

#[path = "../examples/demo/document.rs"]
#[allow(dead_code)]
mod made_up;

use tare_reports::charts::{Topic, standalone};
use tare_reports::curves::{Along, lines, tail};
use tare_reports::document::*;
use tare_reports::summary::summarise;
use tare_reports::{Lang, audit, page, text};

const LEVELS: [u32; 4] = [2, 4, 8, 16];

/// At level L each contender's k-th latency is k units, as a queue with one server would have it.
fn document(visits: u32) -> Document {
    let mut document = made_up::good(6);
    document.series.clear();
    // The levels stand in the order of their first visits.
    for level in [8, 2, 16, 4] {
        for (contender, unit) in [("process", 1_000), ("tare", 3_000_000)] {
            for quantity in ["ready", "late"] {
                let values = (0..visits).flat_map(|round| (1..=level).map(move |k| (round, k)));
                let samples = values.map(|(round, k)| {
                    let value = if quantity == "ready" { u64::from(k) * unit } else { 100 };
                    Sample::value(round, 0, value)
                });
                document.series.push(Series {
                    measure: "concurrency".into(),
                    quantity: quantity.into(),
                    mode: Mode::Warm,
                    contender: contender.into(),
                    unit: Unit::Ns,
                    predicted: false,
                    binding: None,
                    parameters: Parameters {
                        concurrency: Some(level),
                        running: Some(0),
                        network: Some("none".into()),
                        ..Parameters::default()
                    },
                    samples: samples.collect(),
                });
            }
        }
    }
    document
}

#[test]
fn one_topic_holds_all_levels_in_their_order() {
    let document = document(3);
    let summaries = summarise(&document);
    let topics = Topic::all(&document, &summaries);
    assert_eq!(
        topics.iter().map(|it| it.id()).collect::<Vec<_>>(),
        ["concurrency-ready-warm", "concurrency-late-warm"]
    );
    let found = lines(&document, Along::AtOnce, &topics[0].lanes);
    assert_eq!(found.iter().map(|it| it.contender.as_str()).collect::<Vec<_>>(), ["process", "tare"]);
    for line in &found {
        assert_eq!(line.points.iter().map(|it| it.0).collect::<Vec<_>>(), LEVELS);
        for (level, at) in &line.points {
            assert_eq!(topics[0].lanes[*at].parameters.concurrency, Some(*level));
        }
    }
    assert_eq!(topics[0].lanes[0].label(Lang::En), "process × 2");
}

#[test]
fn the_tail_is_told_only_from_enough_samples_and_within_three_figures() {
    // 16 starts in each of 63 visits are 1,008 samples; 62 are 992.
    let at = |visits: u32| {
        let document = document(visits);
        let found = document.series.iter().find(|it| {
            it.parameters.concurrency == Some(16) && it.contender == "tare" && it.quantity == "ready"
        });
        tail(found.unwrap())
    };
    assert_eq!(at(62).p99, None);
    assert_eq!(at(6).p90, None, "96 samples");
    let found = at(63);
    // The largest is 48 ms and more than a hundredth of all; nine of ten lie at or below the 15th: 45 ms.
    for (value, exact) in [(found.p99, 48e6), (found.p90, 45e6)] {
        let value = value.unwrap() as f64;
        assert!((value / exact - 1.0).abs() < 1e-3, "{value} for {exact}");
    }
}

/// The texts of a drawing, in order.
fn texts(svg: &str) -> Vec<String> {
    let inner = svg.split("<text").skip(1).filter_map(|it| it.split_once('>')?.1.split("</text>").next());
    inner.map(|it| it.trim().to_owned()).collect()
}

#[test]
fn every_level_is_drawn_and_p99_only_where_it_is_known() {
    let few = standalone(&document(3), "ready", "curve", Lang::En).unwrap().unwrap();
    let found = texts(&few);
    for text in ["2", "4", "8", "16", "starts at once", "process", "tare"] {
        assert!(found.iter().any(|it| it == text), "{text}: {found:?}");
    }
    let (dots, diamonds) = (few.matches("<circle").count(), few.matches("<polygon").count());
    assert_eq!((dots, diamonds), (8, 0), "two contenders on four levels, p99 of none");
    let many = standalone(&document(63), "ready", "curve", Lang::En).unwrap().unwrap();
    assert_eq!(many.matches("<polygon").count(), 2, "p99 of both on the highest level only");
}

#[test]
fn a_level_that_failed_is_marked_and_has_no_figure() {
    let mut document = document(3);
    let highest = |it: &&mut Series| it.parameters.concurrency == Some(16) && it.contender == "tare";
    for series in document.series.iter_mut().filter(highest) {
        for sample in &mut series.samples {
            *sample = Sample::failure(sample.round, sample.position, Failure::Timeout, "no");
        }
    }
    let svg = standalone(&document, "ready", "curve", Lang::En).unwrap().unwrap();
    assert!(svg.contains("var(--danger)") && svg.contains("48 samples failed"), "{svg}");
    assert_eq!(svg.matches("<circle").count(), 7);
    assert!(page::render(&document, Lang::Zh).unwrap().contains("n/a"));
}

#[test]
fn the_page_has_a_chapter_for_each_curve_in_both_languages() {
    let mut document = document(3);
    let beside: Vec<Series> = document
        .series
        .iter()
        .filter(|it| it.quantity == "ready")
        .map(|it| {
            let parameters = Parameters {
                running: it.parameters.concurrency.map(|it| it * 10),
                concurrency: Some(1),
                ..it.parameters.clone()
            };
            Series { measure: "running".into(), parameters, ..it.clone() }
        })
        .collect();
    document.series.extend(beside);
    for (lang, titles) in
        [(Lang::En, ["Many at once", "Beside many others"]), (Lang::Zh, ["同时启动", "与众多盒子并存"])]
    {
        let page = page::render(&document, lang).unwrap();
        for title in titles {
            assert!(page.contains(&format!("<h2>{title}</h2>")), "{title}");
        }
        for id in [
            "concurrency-ready-warm-curve-t",
            "concurrency-late-warm-curve-narrow-t",
            "running-ready-warm-curve-t",
        ] {
            assert!(page.contains(id), "{id}");
        }
        let clock = lang.pick("from when the start was meant to leave", "从预定发出时刻到");
        assert!(page.contains(clock), "the curve under load says from when it counts");
        assert!(!page.contains("distribution-t"), "thousands of dots under load say nothing");
    }
    let text = text::table(&document);
    let line = text.lines().find(|it| it.trim_start().starts_with("tare × 16")).unwrap();
    assert!(line.contains("25.5 ms"), "{line}");
}

#[test]
fn the_audit_wants_intended_times_and_latencies_that_count_from_them() {
    let verdict = |document: &Document| audit::audit(document).into_iter().find(|it| it.item == 18).unwrap();
    let good = document(3);
    assert_eq!(verdict(&good).verdict, Verdict::Passed, "{}", verdict(&good).evidence);
    let mut without = good.clone();
    without.series.retain(|it| it.quantity != "late" || it.contender != "tare");
    let found = verdict(&without);
    assert_eq!(found.verdict, Verdict::Failed);
    assert!(found.evidence.contains("tare at 8 starts at once"), "{}", found.evidence);
    // A latency that began only when the lab came to the start.
    let mut omitted = good;
    let late = omitted.series.iter_mut().find(|it| it.quantity == "late" && it.contender == "process");
    late.unwrap().samples[0].value = Some(5_000);
    assert!(verdict(&omitted).evidence.contains("does not count from the intended time"));
}
