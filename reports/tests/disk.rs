//! What is kept on disk: the figures of known samples in the table, the verdict, and the chapter in both languages.

#[path = "../examples/demo/document.rs"]
#[allow(dead_code)]
mod made_up;

use tare_reports::claims::{State, claims};
use tare_reports::disk::kept;
use tare_reports::document::*;
use tare_reports::summary::summarise;
use tare_reports::transfer::{STEPS, fetched};
use tare_reports::{Lang, page};

const MIB: u64 = 1 << 20;

/// Contender, form, and image, second, instance, written in MiB, each seen three times.
type Row = (&'static str, Option<&'static str>, [u64; 4]);

const LAYERED: Row = ("tare", None, [27, 1, 0, 1]);
const MACHINE: [Row; 2] =
    [("qemu", Some("backed"), [31, 31, 0, 1]), ("qemu", Some("whole"), [31, 31, 95, 95])];

fn document(rows: &[Row]) -> Document {
    let mut document = made_up::good(6);
    document.series.clear();
    for (contender, form, figures) in rows {
        for (quantity, mib) in ["image", "second", "instance", "written"].into_iter().zip(figures) {
            document.series.push(Series {
                measure: "disk".into(),
                quantity: quantity.into(),
                mode: Mode::Warm,
                contender: (*contender).into(),
                unit: Unit::Bytes,
                predicted: false,
                binding: None,
                parameters: Parameters {
                    form: form.map(str::to_owned),
                    instances: Some(4),
                    ..Parameters::default()
                },
                samples: (0..3).map(|round| Sample::value(round, 0, mib * MIB)).collect(),
            });
        }
    }
    document
}

fn verdict(rows: &[Row]) -> (State, String) {
    let document = document(rows);
    let all = claims(&document, &summarise(&document), Lang::En);
    let claim = all.into_iter().find(|it| it.said == "Images share layers").expect("the claim");
    (claim.state, claim.shown)
}

#[test]
fn each_way_of_keeping_has_a_row() {
    let all = kept(&document(&[MACHINE[0], LAYERED, MACHINE[1]]));
    let told: Vec<String> = all.iter().map(|it| it.label(Lang::En)).collect();
    assert_eq!(told, ["tare", "qemu, backed", "qemu, whole"]);
    assert_eq!((all[0].image, all[0].second), (Some(27.0 * MIB as f64), Some(MIB as f64)));
    assert!((all[0].share().expect("a share") - 1.0 / 27.0).abs() < 1e-9);
    assert_eq!(all[2].instance, Some(95.0 * MIB as f64));
}

#[test]
fn shared_layers_support_it_and_a_store_that_keeps_all_twice_refutes_it() {
    let (state, shown) = verdict(&[LAYERED, MACHINE[0], MACHINE[1]]);
    assert_eq!(state, State::Supported);
    assert!(
        shown.contains("`tare` 1.00 MiB (3.7 % of the first), `qemu` 31.0 MiB (100.0 % of the first)"),
        "{shown}"
    );
    assert_eq!(verdict(&[("tare", None, [27, 27, 0, 1])]).0, State::Refuted);
    assert_eq!(verdict(&MACHINE).0, State::NotMeasured, "a machine's disk has no layers");
}

#[test]
fn the_chapter_is_there_in_both_languages() {
    let document = document(&[LAYERED, MACHINE[0], MACHINE[1]]);
    for (lang, words) in [(Lang::En, "What is kept on disk"), (Lang::Zh, "磁盘上保存了什么")] {
        let html = page::render(&document, lang).expect("a page");
        for it in [words, "qemu, whole", "95.0 MiB", "disk-second-warm-i4-distribution"] {
            assert!(html.contains(it), "{it}");
        }
    }
}

/// Contender, form, and of each transfer ns and bytes, by round.
type Moved = (&'static str, Option<&'static str>, fn(u64) -> [[u64; 2]; 3]);

fn fetching(rows: &[Moved], rounds: u32) -> Document {
    let mut document = document(&[]);
    for (contender, form, figures) in rows {
        for (number, transfer) in STEPS.into_iter().enumerate() {
            for (place, (quantity, unit)) in
                [("pull", Unit::Ns), ("wire", Unit::Bytes)].into_iter().enumerate()
            {
                let value = |round: u32| figures(u64::from(round))[number][place];
                document.series.push(Series {
                    measure: "disk".into(),
                    quantity: quantity.into(),
                    mode: Mode::Warm,
                    contender: (*contender).into(),
                    unit,
                    predicted: false,
                    binding: None,
                    parameters: Parameters {
                        form: form.map(str::to_owned),
                        transfer: Some(transfer.into()),
                        ..Parameters::default()
                    },
                    samples: (0..rounds).map(|round| Sample::value(round, 0, value(round))).collect(),
                });
            }
        }
    }
    document
}

const PULLS: Moved =
    ("tare", None, |it| [[400_000_000 + it, 14 * MIB], [80_000_000, MIB / 2], [60_000_000 + it, MIB / 2]]);
const WHOLE: Moved = ("qemu", Some("whole copy"), |it| {
    [[90_000_000 + it, 15 * MIB], [90_000_000, 15 * MIB], [90_000_000, 15 * MIB]]
});

fn updates(rows: &[Moved], rounds: u32) -> (State, String) {
    let document = fetching(rows, rounds);
    let all = claims(&document, &summarise(&document), Lang::En);
    let claim = all.into_iter().find(|it| it.said == "Layers make updates cheap").expect("the claim");
    (claim.state, claim.shown)
}

#[test]
fn a_cheap_update_supports_it_a_dear_one_refutes_it_and_few_samples_say_nothing() {
    let (state, shown) = updates(&[PULLS, WHOLE], 12);
    assert_eq!(state, State::Supported, "{shown}");
    assert!(
        shown.contains("`tare` 3.6 % [3.6 %, 3.6 %] of the bytes and 15.0 % [15.0 %, 15.0 %] of the time"),
        "{shown}"
    );
    assert!(shown.contains("`qemu, whole copy` 100.0 % [100.0 %, 100.0 %] of the bytes"), "{shown}");
    let (state, shown) = updates(&[PULLS], 3);
    assert_eq!(state, State::Unconfirmed, "{shown}");
    assert!(shown.contains("`tare` 3.6 % of the bytes and 15.0 % of the time"), "{shown}");
    assert!(
        shown.ends_with(" Too few transfers for an interval, without which there is no verdict."),
        "{shown}"
    );
    let slow: Moved = ("tare", None, |_| [[100, 14 * MIB], [80, MIB], [90, MIB]]);
    assert_eq!(updates(&[slow, WHOLE], 12).0, State::Refuted, "the bytes alone do not make it cheap");
    let fat: Moved = ("tare", None, |_| [[100, 14 * MIB], [20, MIB], [20, 14 * MIB]]);
    assert_eq!(updates(&[fat, PULLS], 12).0, State::Refuted);
    assert_eq!(updates(&[WHOLE], 12).0, State::NotMeasured, "a machine's disk has no layers");
}

#[test]
fn what_travelled_is_drawn_and_told_and_is_no_row_of_what_is_kept() {
    let mut document = fetching(&[WHOLE, PULLS], 12);
    let lost =
        document.series.iter_mut().find(|it| it.contender == "tare" && it.quantity == "pull").expect("it");
    lost.samples[3] = Sample::failure(3, 0, Failure::Start, "the registry is gone");
    assert_eq!(kept(&document), []);
    let all = fetched(&document);
    let told: Vec<String> = all.iter().map(|it| it.label(Lang::En)).collect();
    assert_eq!(told, ["tare", "qemu, whole copy"]);
    assert_eq!((all[0].steps[0].time.n, all[0].steps[0].time.failed), (11, 1));
    assert_eq!(all[0].steps[2].wire.median, Some(MIB as f64 / 2.0));
    assert_eq!(all[0].steps[0].wire.of_first, None, "the first is not compared with itself");
    for (lang, words) in [(Lang::En, "Time, and bytes that travel"), (Lang::Zh, "时间与传输字节数")] {
        let html = page::render(&document, lang).expect("a page");
        let labels = match lang {
            Lang::En => ["tare, update", "qemu, whole copy, first"],
            Lang::Zh => ["tare, 更新", "qemu, 完整副本, 首个"],
        };
        for it in [words, labels[0], labels[1], "disk-pull-warm-transfer", "14.0 MiB"] {
            assert!(html.contains(it), "{it}");
        }
    }
}
