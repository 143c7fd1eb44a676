//! What a network adds: the figures of known samples, on the page in both languages.

#[path = "../examples/demo/document.rs"]
#[allow(dead_code)]
mod made_up;

use tare_reports::charts::Topic;
use tare_reports::document::*;
use tare_reports::network::costs;
use tare_reports::summary::summarise;
use tare_reports::{Lang, page};

/// Rounds in which `tare` takes 2 ms and `qemu` 40 ms, and with a network 0.5 ms and 8 ms more, while the host's speed
/// wanders by far more than that; reached after 0.25 ms more each.
fn document() -> Document {
    let mut document = made_up::good(6);
    document.series.clear();
    for (contender, base, adds, way) in [("tare", 2000, 500, "bridge"), ("qemu", 40_000, 8000, "tap")] {
        let kinds = [("ready", "none", 0), ("ready", way, adds), ("reachable", way, adds + 250)];
        for (quantity, network, more) in kinds {
            let samples = (0..30u32).map(|round| {
                let wanders = 3000 * u64::from(round % 7);
                let mut sample = Sample::value(round, 0, (base + more + wanders) * 1000);
                if network == "tap" {
                    sample.spans.insert("modules".into(), 6_000_000);
                }
                sample
            });
            document.series.push(Series {
                measure: "network".into(),
                quantity: quantity.into(),
                mode: Mode::Warm,
                contender: contender.into(),
                unit: Unit::Ns,
                predicted: false,
                binding: None,
                parameters: Parameters {
                    concurrency: Some(1),
                    running: Some(0),
                    network: Some(network.into()),
                    ..Parameters::default()
                },
                samples: samples.collect(),
            });
        }
    }
    document
}

#[test]
fn what_is_added_is_the_difference_within_rounds() {
    let costs = costs(&document());
    let told: Vec<(&str, &str)> = costs.iter().map(|it| (&*it.contender, &*it.network)).collect();
    assert_eq!(told, [("tare", "bridge"), ("qemu", "tap")]);
    for (cost, expected) in costs.iter().zip([500_000.0, 8_000_000.0]) {
        let adds = cost.adds.as_ref().expect("paired rounds");
        assert_eq!((adds.delta, adds.pairs), (expected, 30));
        let (with, without) = (cost.with.expect("a median"), cost.without.expect("a median"));
        assert_eq!(with - without, expected);
        assert_eq!(cost.reachable.expect("a median") - with, 250_000.0);
        assert_eq!(cost.modules, (cost.network == "tap").then_some(6_000_000.0));
        assert!(cost.ratio.as_ref().expect("paired rounds").ratio > 1.0);
    }
}

#[test]
fn a_contender_that_was_never_connected_has_no_row() {
    let mut document = document();
    document.series.retain(|it| it.contender != "tare" || it.parameters.network.as_deref() == Some("none"));
    let costs = costs(&document);
    assert_eq!(costs.iter().map(|it| &*it.contender).collect::<Vec<_>>(), ["qemu"]);
}

#[test]
fn bridge_and_tap_are_compared_with_each_other_and_never_with_none() {
    let document = document();
    let summaries = summarise(&document);
    let topics = Topic::all(&document, &summaries);
    let told: Vec<(String, Vec<&str>)> =
        topics.iter().map(|it| (it.id(), it.lanes.iter().map(|lane| &*lane.contender).collect())).collect();
    assert_eq!(
        told,
        [
            ("network-ready-warm".to_owned(), vec!["tare", "qemu"]),
            ("network-ready-warm-bridge".to_owned(), vec!["tare", "qemu"]),
            ("network-reachable-warm-bridge".to_owned(), vec!["tare", "qemu"]),
        ]
    );
    let with = summaries.iter().find(|it| {
        it.contender == "tare" && it.quantity == "ready" && it.parameters.network.as_deref() == Some("bridge")
    });
    let to_qemu = with.and_then(|it| it.to_qemu.as_ref()).expect("compared with qemu on its tap");
    let expected = 2500.0 / 48_000.0;
    assert!(to_qemu.ratio.ratio > expected, "the host's wandering is on both: {}", to_qemu.ratio.ratio);
}

#[test]
fn the_page_tells_it_in_both_languages() {
    for (lang, words) in [(Lang::En, "What the network adds"), (Lang::Zh, "网络增加了什么")] {
        let html = page::render(&document(), lang).expect("a page");
        assert!(html.contains(words));
        assert!(html.contains("500 µs"), "what it adds to tare");
    }
    let mut without = document();
    without.series.retain(|it| it.quantity == "ready" && it.parameters.network.as_deref() == Some("none"));
    assert!(!page::render(&without, Lang::En).expect("a page").contains("What the network adds"));
}
