//! What a box costs, from made-up climbs whose truth is known: three methods, and a ledger that adds up or says not.

#[path = "../examples/demo/held.rs"]
#[allow(dead_code)]
mod held;
#[path = "../examples/demo/document.rs"]
#[allow(dead_code)]
mod made_up;

use tare_reports::Lang;
use tare_reports::document::*;
use tare_reports::memory::{Cost, GUEST_RAM, LINES, Method, UNEXPLAINED, costs};

fn cost(document: &Document, contender: &str, state: &str) -> Cost {
    let all = costs(document);
    all.into_iter().find(|it| it.contender == contender && it.state == state).unwrap()
}

fn document() -> Document {
    let mut document = made_up::good(4);
    held::add(&mut document);
    document
}

/// Whether a figure is within a hundredth of what was made up.
fn near(found: f64, truth: f64) -> bool {
    (found / truth - 1.0).abs() < 0.01
}

#[test]
fn each_method_recovers_its_own_slope_and_not_what_is_paid_once() {
    let document = document();
    for (contender, truth) in held::PER_BOX {
        let found = cost(&document, contender, "idle");
        for (method, truth) in [(Method::Host, truth.0), (Method::Cgroup, truth.1), (Method::Pss, truth.2)] {
            let Some(slope) = found.by(method) else {
                assert_eq!(truth, 0.0, "{contender} {method:?}");
                continue;
            };
            assert!(near(slope.each, truth), "{contender} {method:?}: {} for {truth}", slope.each);
            assert!(slope.interval.unwrap().contains(slope.each));
        }
        let once = found.by(Method::Host).unwrap().once;
        assert!((once - held::ONCE).abs() < 0.3 * held::ONCE + truth.0, "{contender}: {once}");
    }
}

#[test]
fn the_ledger_and_what_is_unexplained_are_the_hosts_use_to_the_byte() {
    for found in costs(&document()) {
        let (Some(ledger), Some(host)) = (&found.ledger, found.by(Method::Host)) else {
            panic!("{} has no ledger", found.contender)
        };
        let lines: f64 = ledger.lines.iter().map(|it| it.each).sum();
        assert!((lines + ledger.unexplained - host.each).abs() < 1e-3, "{}", found.contender);
        assert!(ledger.interval.unwrap().contains(ledger.unexplained), "{}", found.contender);
        let places: Vec<usize> =
            ledger.lines.iter().map(|it| LINES.iter().position(|name| *name == it.name).unwrap()).collect();
        assert!(places.is_sorted(), "{places:?}");
    }
}

#[test]
fn a_ledger_with_a_hole_says_so() {
    let mut document = document();
    assert!(cost(&document, "tare", "idle").ledger.unwrap().adds_up());
    for series in document.series.iter_mut().filter(|it| it.contender == "tare") {
        for sample in &mut series.samples {
            sample.parts.remove("slab");
        }
    }
    let ledger = cost(&document, "tare", "idle").ledger.unwrap();
    assert!(!ledger.adds_up() && ledger.share > UNEXPLAINED, "{}", ledger.share);
    assert_eq!(ledger.line("slab"), None, "what was not seen is no zero");
}

#[test]
fn a_machines_figure_beside_its_ram_stands_apart() {
    let document = document();
    let machine = cost(&document, "qemu", "idle");
    let ledger = machine.ledger.as_ref().unwrap();
    let outside = machine.by(Method::Host).unwrap().each
        - ledger.line(GUEST_RAM).unwrap()
        - ledger.line("translation cache").unwrap();
    assert!((ledger.beside_guest.unwrap() - outside).abs() < 1e-3);
    assert_eq!(cost(&document, "tare", "idle").ledger.unwrap().beside_guest, None);
}

#[test]
fn what_is_kept_stands_beside_the_others_where_a_run_lived_below_a_limit() {
    let mut document = document();
    let page = |document: &Document| tare_reports::page::render(document, Lang::En).unwrap();
    assert!(!page(&document).contains("memory.force_empty"), "nobody lived below one");
    let charged = document.series.iter().filter(|it| {
        it.measure == "memory" && it.contender == "tare" && it.quantity == "cgroup" && !it.predicted
    });
    // Half of what is charged, to the byte.
    let kept: Vec<Series> = charged
        .map(|it| {
            let mut series = Series { quantity: "kept".into(), ..it.clone() };
            for sample in &mut series.samples {
                sample.value = sample.value.map(|it| it / 2);
            }
            series
        })
        .collect();
    document.series.extend(kept);
    let found = cost(&document, "tare", "idle");
    let half = found.by(Method::Cgroup).unwrap().each / 2.0;
    assert!(near(found.by(Method::Kept).unwrap().each, half), "{found:?}");
    assert_eq!(Method::of(std::slice::from_ref(&found)), Method::ALL);
    let page = page(&document);
    assert!(page.contains("memory.force_empty"), "it is said what it is");
    assert!(tare_reports::text::table(&document).contains("kept"));
}

#[test]
fn touched_costs_more_by_what_was_touched() {
    let document = document();
    let host = |state| cost(&document, "tare", state).by(Method::Host).unwrap().each;
    assert!(near(host("touched") - host("idle"), held::TOUCHED), "{}", host("touched") - host("idle"));
}

#[test]
fn a_failed_look_has_no_part_in_it_and_one_number_of_boxes_has_no_slope() {
    let mut document = document();
    let truth = cost(&document, "runc", "idle").by(Method::Host).unwrap().each;
    let mut own = document.series.iter_mut().filter(|it| it.contender == "runc" && it.quantity == "host");
    let series = own.next().unwrap();
    for sample in &mut series.samples {
        *sample = Sample::failure(sample.round, sample.position, Failure::Timeout, "late");
    }
    assert!(near(cost(&document, "runc", "idle").by(Method::Host).unwrap().each, truth));
    document.series.retain(|it| it.contender != "runc" || it.parameters.instances == Some(256));
    assert!(costs(&document).iter().all(|it| it.contender != "runc"));
}

#[test]
fn each_method_says_what_it_covers_in_both_languages() {
    for method in Method::ALL {
        assert_ne!(method.covers(Lang::En), method.covers(Lang::Zh));
    }
    assert!(costs(&made_up::good(3)).is_empty());
}
