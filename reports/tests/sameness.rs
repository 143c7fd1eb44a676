//! One image in many boxes: the verdict, the chapter, the audit, of what is known to have been seen.

#[path = "../examples/demo/document.rs"]
#[allow(dead_code)]
mod made_up;

use tare_reports::claims::{State, claims};
use tare_reports::document::*;
use tare_reports::summary::summarise;
use tare_reports::{Lang, audit, page, text};

const SUM: &str = "aaaabbbbccccddddaaaabbbbccccddddaaaabbbbccccddddaaaabbbbccccdddd";

fn looked(contender: &str, differences: &[&str]) -> Looked {
    let same = differences.is_empty();
    Looked {
        contender: contender.into(),
        digest: if same { SUM.into() } else { SUM.replace('a', "e") },
        entries: 39,
        differ: differences.len() as u64,
        differences: differences.iter().map(|it| (*it).to_owned()).collect(),
        beside: vec!["/proc".into()],
        surroundings: [("kernel".to_owned(), format!("of {contender}"))].into(),
    }
}

/// A run in which these were looked at.
fn document(boxes: Vec<Looked>) -> Document {
    let mut document = made_up::good(6);
    document.series = boxes
        .iter()
        .map(|it| Series {
            measure: "sameness".into(),
            quantity: "content".into(),
            mode: Mode::Warm,
            contender: it.contender.clone(),
            unit: Unit::Entries,
            predicted: false,
            binding: None,
            parameters: Parameters::default(),
            samples: vec![Sample::value(0, 0, it.differ)],
        })
        .collect();
    let left_out = vec!["/proc".into(), "HOME".into()];
    document.sameness = Some(Sameness { image: SUM.into(), entries: 39, left_out, boxes });
    document.audit = audit::audit(&document);
    document
}

fn verdict(document: &Document, lang: Lang) -> (State, String) {
    let all = claims(document, &summarise(document), lang);
    let said = lang.pick("Build once, run anywhere", "一次构建，到处运行");
    let claim = all.into_iter().find(|it| it.said == said).expect("the claim");
    (claim.state, claim.shown)
}

const MODE: &str = "/etc/motd: mode 0644 in the image, 0600 here";

#[test]
fn all_the_same_in_two_kinds_of_box_supports_it() {
    let same = document(vec![looked("process", &[]), looked("runc", &[]), looked("qemu", &[])]);
    let (state, shown) = verdict(&same, Lang::En);
    assert_eq!(state, State::Supported);
    assert_eq!(shown, "All 39 entries of one image were the same in `process`, `runc`, `qemu`.");
    assert_eq!(verdict(&same, Lang::Zh).0, State::Supported);
    let one_kind = document(vec![looked("process", &[]), looked("runc", &[]), looked("tare", &[])]);
    let (state, shown) = verdict(&one_kind, Lang::En);
    assert_eq!(state, State::Unconfirmed, "containers only");
    assert!(shown.contains(" All of them are boxes of one kind"), "{shown}");
}

#[test]
fn one_difference_refutes_it_and_fails_the_audit() {
    let other = document(vec![looked("runc", &[]), looked("qemu", &[MODE])]);
    let (state, shown) = verdict(&other, Lang::En);
    assert_eq!(state, State::Refuted);
    assert!(shown.ends_with(&format!("In `qemu` 1 differ, the first: {MODE}.")), "{shown}");
    let item = other.audit.iter().find(|it| it.item == 4).expect("an item");
    assert_eq!(
        (item.verdict, &*item.evidence),
        (Verdict::Failed, &*format!("the image differs in qemu: {MODE}"))
    );
    assert!(text::table(&other).contains(&format!("qemu: {MODE}")));
    // A digest that is another one without a difference that was found is no sameness.
    let mut silent = document(vec![looked("runc", &[]), looked("qemu", &[])]);
    silent.sameness.as_mut().expect("seen").boxes[1].digest = SUM.replace('b', "f");
    let (state, shown) = verdict(&silent, Lang::En);
    assert_eq!(state, State::Refuted);
    assert!(shown.ends_with("`qemu` said another digest."), "{shown}");
    assert!(text::table(&silent).contains("another digest"), "{}", text::table(&silent));
    let html = page::render(&silent, Lang::En).expect("a page");
    assert!(html.contains(">another digest</text>"), "the chart says that it is the same");
}

#[test]
fn a_box_that_could_not_be_looked_into_leaves_it_open() {
    let mut one_is_missing = document(vec![looked("runc", &[]), looked("qemu", &[]), looked("tare", &[])]);
    let seen = one_is_missing.sameness.as_mut().expect("seen");
    seen.boxes.retain(|it| it.contender != "tare");
    for series in one_is_missing.series.iter_mut().filter(|it| it.contender == "tare") {
        series.samples = vec![Sample::failure(0, 0, Failure::Start, "the image was not taken")];
    }
    let (state, shown) = verdict(&one_is_missing, Lang::En);
    assert_eq!(state, State::Unconfirmed);
    assert!(shown.ends_with(" Could not be looked at: `tare`; the reasons stand in the chapter."), "{shown}");
    assert!(text::table(&one_is_missing).contains("  tare: not looked at"));
    assert!(page::render(&one_is_missing, Lang::Zh).expect("a page").contains("the image was not taken"));
}

#[test]
fn nobody_looked_is_no_verdict() {
    assert_eq!(verdict(&made_up::good(6), Lang::En).0, State::NotMeasured);
}

#[test]
fn the_chapter_shows_chart_and_boxes_in_both_languages() {
    let document = document(vec![looked("runc", &[]), looked("qemu", &[MODE])]);
    for (lang, words) in [
        (Lang::En, ["What differs: the boxes", "Left out of the content"]),
        (Lang::Zh, ["不同之处：盒子本身", "一律不计入内容"]),
    ] {
        let html = page::render(&document, lang).expect("a page");
        for it in words.into_iter().chain([SUM, "of qemu", MODE, "sameness-content-warm-sameness"]) {
            assert!(html.contains(it), "{it}");
        }
        assert!(!html.contains("sameness-content-warm-distribution"), "there is nothing to distribute");
    }
}

/// Sizes stand in a unit that can be read, and a limit that is both what holds and the most stands there once.
#[test]
fn what_a_box_may_take_is_told_in_units_that_can_be_read() {
    let mut it = looked("runc", &[]);
    let limits = [
        ("limit/memlock", "8388608 / 8388608"),
        ("limit/core", "0 / unlimited"),
        ("limit/nofile", "1024 / 524288"),
        ("memory", "25276502016"),
    ];
    it.surroundings.extend(limits.map(|(key, said)| (key.to_owned(), said.to_owned())));
    let html = page::render(&document(vec![it]), Lang::En).expect("a page");
    let table =
        html.split("id=\"boxes\"").nth(1).and_then(|it| it.split("</table>").next()).expect("a table");
    for said in [">8.00\u{a0}MiB<", ">0\u{a0}B / unlimited<", ">1024 / 524288<", ">23.5\u{a0}GiB<"] {
        assert!(table.contains(said), "{said} is not in {table}");
    }
}

/// A sentence beside many dashes: none of them stands where one has to scroll to.
#[test]
fn what_differs_is_read_without_scrolling() {
    let why = "/home/anna: attribute user.tare.origin: missing here, and of the image it is \"largo\"";
    let others = ["runc", "crun", "docker"].map(|name| looked(name, &[]));
    let document = document([vec![looked("runsc", &[why])], others.into()].concat());
    let html = page::render(&document, Lang::En).expect("a page");
    assert!(html.contains(&format!("<td class=\"long\">{}", why.replace('"', "&quot;"))), "{html}");
    let head = html.split("in what</th>").next().expect("a head").rsplit("<th").next().expect("a head");
    assert!(!head.contains("figure"), "{head}");
}
