//! Merging equal pages, on a made-up document whose truth is known.

#[path = "../examples/demo/document.rs"]
#[allow(dead_code)]
mod made_up;

use tare_reports::document::*;
use tare_reports::merging::mergings;
use tare_reports::{Lang, audit, page};

const MIB: u64 = 1 << 20;

/// One more machine of 100 MiB; merged 30, beside 40 that are paid once. A byte more in each round.
fn document() -> Document {
    let mut document = made_up::good(4);
    for (ksm, once, each) in [("off", 0, 100 * MIB), ("on", 40 * MIB, 30 * MIB)] {
        for boxes in [2_u32, 4, 6, 8] {
            let parameters = Parameters {
                network: Some("none".into()),
                state: Some("idle".into()),
                ksm: Some(ksm.into()),
                instances: Some(boxes),
                ..Parameters::default()
            };
            let value = |round: u32| once + each * u64::from(boxes) + u64::from(round);
            document.series.push(Series {
                measure: "memory".into(),
                quantity: "ksm".into(),
                mode: Mode::Warm,
                contender: "qemu".into(),
                unit: Unit::Bytes,
                predicted: false,
                binding: None,
                parameters,
                samples: (0..6).map(|round| Sample::value(round, 0, value(round))).collect(),
            });
        }
    }
    document.run.host_changes.push(change("put back to 0"));
    document
}

fn change(restored: &str) -> HostChange {
    let setting = "/sys/kernel/mm/ksm/run".into();
    HostChange { setting, written: "1".into(), times: 6, restored: restored.into() }
}

#[test]
fn what_merging_saves_is_told_by_the_slopes_and_not_by_what_is_paid_once() {
    let found = mergings(&document());
    let [it] = &found[..] else { panic!("{found:?}") };
    let (off, on) = (it.off.slope.unwrap(), it.on.slope.unwrap());
    assert_eq!((off.each, on.each), ((100 * MIB) as f64, (30 * MIB) as f64));
    assert!((on.once / (40 * MIB) as f64 - 1.0).abs() < 1e-3, "{on:?}");
    let (saved, interval) = it.saved().unwrap();
    assert!((saved - 0.7).abs() < 1e-9 && interval.unwrap().contains(saved), "{saved} {interval:?}");
    assert_eq!((it.off.points.len(), it.on.points.len()), (24, 24), "no look is under both settings");
}

#[test]
fn it_stands_on_the_page_and_beside_no_other_figure_of_memory() {
    let document = document();
    for (lang, word) in [(Lang::En, "one more, without"), (Lang::Zh, "每多一个，不合并")] {
        let page = page::render(&document, lang).unwrap();
        assert_eq!(page.matches("id=\"memory-ksm-warm-idle\"").count(), 1);
        assert!(page.contains("70.0 %") && page.contains(word), "{lang:?}");
    }
    assert!(tare_reports::memory::costs(&document).iter().all(|it| it.contender != "qemu"));
    assert!(
        tare_reports::text::table(&document).contains("idle qemu: 100 MiB, merged 30.0 MiB, saved 70.0 %")
    );
}

#[test]
fn one_side_alone_and_a_host_left_changed_fail_the_audit() {
    let verdict = |document: &Document| {
        let item = audit::audit(document).into_iter().find(|it| it.item == 14).unwrap();
        (item.verdict, item.evidence)
    };
    assert_eq!(verdict(&document()).0, Verdict::Passed, "{:?}", verdict(&document()));
    type Break = fn(&mut Document);
    let breaks: [(&str, Break); 3] = [
        ("qemu was not measured with KSM off", |it| {
            it.series.retain(|it| it.parameters.ksm.as_deref() != Some("off"));
        }),
        ("no change of /sys/kernel/mm/ksm/run is recorded", |it| it.run.host_changes.clear()),
        ("was left at 1: NOT put back", |it| {
            it.run.host_changes = vec![change("NOT put back to 0: refused")]
        }),
    ];
    for (words, damage) in breaks {
        let mut document = document();
        damage(&mut document);
        let (verdict, evidence) = verdict(&document);
        assert_eq!(verdict, Verdict::Failed, "{words}");
        assert!(evidence.contains(words), "{evidence}");
    }
}
