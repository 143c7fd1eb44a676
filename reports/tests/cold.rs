//! Cold starts stand in tables of their own, and nothing that is said of the usual starts rests on them.

#[path = "../examples/demo/document.rs"]
#[allow(dead_code)]
mod made_up;

use tare_reports::claims::claims;
use tare_reports::document::*;
use tare_reports::summary::summarise;
use tare_reports::{Lang, audit, page, reliability};

/// The same run with a cold pass: a hundred times slower, and slower with every round.
fn with_cold(warm: &Document) -> Document {
    let mut document = warm.clone();
    let starts = warm
        .series
        .iter()
        .filter(|it| it.measure == "startup" && it.mode == Mode::Warm && it.parameters.aa.is_none());
    document.series.extend(starts.map(|it| {
        let mut cold = Series { mode: Mode::Cold, ..it.clone() };
        for sample in &mut cold.samples {
            sample.value = sample.value.map(|it| it * u64::from(100 + 20 * sample.round));
        }
        cold
    }));
    document.run.host_changes.push(HostChange {
        setting: "/proc/sys/vm/drop_caches".into(),
        written: "3".into(),
        times: 96,
        restored: "nothing to restore".into(),
    });
    document
}

#[test]
fn what_is_said_of_usual_starts_does_not_rest_on_cold_ones() {
    let warm = made_up::good(40);
    let both = with_cold(&warm);
    assert!(both.series.len() > warm.series.len());
    assert_eq!(reliability::rules(&both), reliability::rules(&warm));
    let said = |it: &Document| claims(it, &summarise(it), Lang::En);
    assert_eq!(said(&both), said(&warm));
    for item in [7, 19, 21] {
        let of = |it: &Document| audit::audit(it).into_iter().find(|it| it.item == item).unwrap();
        assert_eq!(of(&both).verdict, of(&warm).verdict, "{item}: {}", of(&both).evidence);
    }
    let cold = summarise(&both);
    let ratio = |mode| {
        let it = cold.iter().find(|it| it.mode == mode && it.contender == "tare" && it.quantity == "ready");
        it.unwrap().to_process.as_ref().unwrap().ratio.ratio
    };
    assert!((ratio(Mode::Cold) / ratio(Mode::Warm) - 1.0).abs() < 1e-6, "cold is compared with cold");
}

#[test]
fn the_page_has_a_table_for_each_mode_and_says_what_was_done_to_the_host() {
    let warm = made_up::good(8);
    let both = with_cold(&warm);
    for (lang, changed, untouched) in [
        (Lang::En, "What the run changed on it", "dropped no cache"),
        (Lang::Zh, "本次运行对其所做的改动", "也未清空任何缓存"),
    ] {
        let page = page::render(&both, lang).unwrap();
        for part in [changed, "/proc/sys/vm/drop_caches", "96", "startup-ready-cold", "startup-ready-warm"] {
            assert!(page.contains(part), "{part}");
        }
        assert!(!page.contains(untouched));
        let page = page::render(&warm, lang).unwrap();
        assert!(page.contains(untouched) && !page.contains(changed));
    }
}
