//! Charts and chapters of boxes that are held together: memory and density.

#[path = "../examples/demo/held.rs"]
#[allow(dead_code)]
mod held;
#[path = "../examples/demo/document.rs"]
#[allow(dead_code)]
mod made_up;

use std::collections::BTreeSet;

use tare_reports::charts::{Topic, standalone};
use tare_reports::document::*;
use tare_reports::summary::summarise;
use tare_reports::{Lang, density, page, text};

fn document() -> Document {
    let mut document = made_up::good(4);
    held::add(&mut document);
    document
}

fn chart(document: &Document, quantity: &str, name: &str) -> String {
    standalone(document, quantity, name, Lang::En).unwrap().unwrap()
}

/// The texts of a drawing with left end, right end and middle height, by the page's own estimate of a letter.
fn texts(svg: &str) -> Vec<(String, f64, f64, f64)> {
    let number = |tag: &str, name: &str| -> f64 {
        let rest = tag.split(&format!(" {name}=\"")).nth(1).unwrap();
        rest.split('"').next().unwrap().parse().unwrap()
    };
    svg.split("<text")
        .skip(1)
        .map(|rest| {
            let (tag, rest) = rest.split_once('>').unwrap();
            let text = rest.split("</text>").next().unwrap().trim().to_owned();
            let letter = if tag.contains("bold") { 0.62 } else { 0.56 };
            let width: f64 =
                text.chars().map(|it| if it as u32 >= 0x2e80 { 1.0 } else { letter }).sum::<f64>()
                    * number(tag, "font-size");
            let x = number(tag, "x");
            let left = if tag.contains("\"end\"") {
                x - width
            } else if tag.contains("\"middle\"") {
                x - width / 2.0
            } else {
                x
            };
            (text, left, left + width, number(tag, "y"))
        })
        .collect()
}

fn overlaps(svg: &str) -> Vec<(String, String)> {
    let all = texts(svg);
    let mut found = Vec::new();
    for (index, one) in all.iter().enumerate() {
        for other in &all[..index] {
            if (one.3 - other.3).abs() < 11.0 && one.1 < other.2 && other.1 < one.2 {
                found.push((one.0.clone(), other.0.clone()));
            }
        }
    }
    found
}

#[test]
fn topics_do_not_multiply_with_the_numbers_of_boxes() {
    let document = document();
    let summaries = summarise(&document);
    let topics = Topic::all(&document, &summaries);
    let of = |measure: &str| topics.iter().filter(|it| it.measure == measure).count();
    // Host, cgroup and PSS in two states, peak and smallest; three answers, and five things seen in three states.
    assert_eq!((of("memory"), of("density")), (8, 18));
    let ids: BTreeSet<String> = topics.iter().map(Topic::id).collect();
    assert_eq!(ids.len(), topics.len());
}

#[test]
fn no_text_lies_on_another_wide_or_narrow_in_either_language() {
    let mut document = document();
    // As long as the longest of ours, and ended by what takes most letters.
    document
        .contenders
        .iter_mut()
        .filter(|it| it.name == "qemu")
        .for_each(|it| it.name = "cloud-hypervisor".into());
    for series in document.series.iter_mut().filter(|it| it.contender == "qemu") {
        series.contender = "cloud-hypervisor".into();
        series.binding.iter_mut().for_each(|it| it.resource = "time budget".into());
    }
    for lang in [Lang::En, Lang::Zh] {
        let page = page::render(&document, lang).unwrap();
        let ours = page.split("<svg").skip(1).filter(|it| {
            ["ledger", "slope", "capacity", "climb"].iter().any(|name| {
                let id = it.split("aria-labelledby=\"").nth(1).and_then(|it| it.split("-t ").next()).unwrap();
                id.trim_end_matches("-narrow").ends_with(name)
            })
        });
        let mut count = 0;
        for svg in ours.map(|it| it.split("</svg>").next().unwrap()) {
            assert_eq!(overlaps(svg), []);
            count += 1;
        }
        // In two shapes: two ledgers and two slopes, three answers and three ways.
        assert_eq!(count, 20);
    }
}

#[test]
fn a_ledgers_segments_are_its_shares() {
    let svg = chart(&document(), "host", "ledger");
    let widths: Vec<f64> = svg
        .split("<rect ")
        .skip(1)
        .filter(|it| it.contains("height=\"26\""))
        .map(|it| it.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
        .collect();
    // Of 610 px, in the order of the lines, for the first contender: payload 2 %, slab 55 %, and so on.
    for (width, share) in widths.iter().zip([0.02, 0.55, 0.06, 0.05, 0.17, 0.05, 0.10]) {
        assert!((width / 610.0 - share).abs() < 0.004, "{width} for {share}");
    }
    assert!(svg.contains("10.0 % unexplained") && svg.contains("520 KiB") && svg.contains("96.0 MiB"));
}

#[test]
fn every_look_is_a_mark_in_its_panel() {
    let svg = chart(&document(), "host", "slope");
    // Four looks at four climbs by host: those that fall on one pixel are drawn once.
    let dots = svg.matches("r=\"3\"").count();
    assert!((4 * 5..=16 * 5 + 1).contains(&dots), "{dots}");
    assert!(svg.contains("one more: host 520 KiB") && svg.contains("cgroup 128 KiB · pss"));
}

#[test]
fn a_prediction_has_a_mark_of_its_own() {
    let document = document();
    let svg = chart(&document, "idle", "capacity");
    assert_eq!(svg.matches("<polygon").count(), 1, "one hollow diamond");
    assert_eq!(svg.matches("r=\"5\"").count(), 4, "four measured dots");
    assert!(svg.contains("predicted, not measured"));
    // Beyond the reach of what was measured there is a band and no mark.
    let mut far = document;
    for series in far.series.iter_mut().filter(|it| it.predicted) {
        let failed =
            Sample::failure(0, 0, Failure::NotMeasured, "beyond four times the most boxes that were held");
        series.samples =
            vec![Sample { parts: [("low".into(), 1_024), ("high".into(), 15_900)].into(), ..failed }];
    }
    let svg = chart(&far, "idle", "capacity");
    assert_eq!(svg.matches("<polygon").count(), 0);
    assert!(texts(&svg).iter().any(|it| it.0 == "1024 – 15900"), "{svg}");
    assert!(text::table(&far).contains("1024 .. 15900"));
}

#[test]
fn the_way_ends_with_its_stop_and_names_what_ended_it() {
    let document = document();
    let svg = chart(&document, "canary", "climb");
    let found: Vec<String> = texts(&svg).into_iter().map(|it| it.0).collect();
    for text in ["tare", "12400 · memory", "31900 · pids", "22 · cpu", "boxes held"] {
        assert!(found.iter().any(|it| it == text), "{text}: {found:?}");
    }
    let failed = |state: &str| {
        let all = density::searches(&document).into_iter().filter(|it| it.state == state && !it.predicted);
        all.map(|it| it.rungs.iter().filter(|rung| f64::from(rung.boxes) > it.boxes.unwrap()).count())
            .sum::<usize>()
    };
    assert_eq!(failed("idle"), 4, "each search saw one number fail");
}

#[test]
fn a_search_that_was_broken_off_is_no_limit() {
    let mut document = document();
    for series in document.series.iter_mut().filter(|it| it.measure == "density" && it.quantity == "idle") {
        series.samples = vec![Sample::failure(0, 0, Failure::Interrupted, "the user")];
        series.binding = None;
    }
    let found = density::searches(&document);
    let tare = found.iter().find(|it| it.contender == "tare" && it.state == "idle").unwrap();
    assert_eq!((tare.boxes, tare.reason.as_deref(), tare.last()), (None, Some("the user"), None));
    for lang in [Lang::En, Lang::Zh] {
        assert!(page::render(&document, lang).unwrap().ends_with("</html>"));
    }
}

#[test]
fn what_nobody_saw_fail_is_a_bound() {
    let mut document = document();
    for series in document.series.iter_mut().filter(|it| it.measure == "density" && it.contender == "tare") {
        if let Some(binding) = &mut series.binding {
            (binding.resource, binding.failed_at) = ("time budget".into(), None);
        }
    }
    let svg = chart(&document, "idle", "capacity");
    let found: Vec<String> = texts(&svg).into_iter().map(|it| it.0).collect();
    assert!(found.contains(&"≥ 12400".to_owned()) && found.contains(&"10100".to_owned()), "{found:?}");
    assert!(text::table(&document).contains(">= 12400"));
}

#[test]
fn a_few_looks_on_the_way_of_a_search_are_counted_where_they_carry_no_line() {
    let mut document = document();
    document.series.retain(|it| {
        it.contender != "qemu"
            || (it.measure == "density" && it.parameters.instances.is_none_or(|it| it < 17))
    });
    let found = tare_reports::capacity::models(&document);
    let qemu = found.iter().find(|it| it.contender == "qemu").unwrap();
    assert!(qemu.model.as_ref().unwrap_err().starts_with("2 looks"), "{:?}", qemu.model);
}

#[test]
fn both_chapters_and_the_fleet_are_there_in_both_languages() {
    for (lang, words) in [
        (
            Lang::En,
            ["<h2>Memory</h2>", "<h2>Density</h2>", "How many on other hosts", "Computed, not measured"],
        ),
        (Lang::Zh, ["<h2>内存</h2>", "<h2>密度</h2>", "其他规格与多台主机", "为计算而非测量"]),
    ] {
        let page = page::render(&document(), lang).unwrap();
        for word in words {
            assert!(page.contains(word), "{word}");
        }
        assert_eq!(page.matches(words[2]).count(), 3, "heading, caption and name of one table");
        assert!(!page.contains("NaN"));
        let ids: Vec<&str> = page.split(" id=\"").skip(1).filter_map(|it| it.split('"').next()).collect();
        assert_eq!(ids.len(), ids.iter().collect::<BTreeSet<_>>().len(), "every id once");
    }
    // Memory alone has the table too; then all hosts of some size are beyond what was seen.
    let mut alone = document();
    alone.series.retain(|it| it.measure != "density");
    let page = page::render(&alone, Lang::En).unwrap();
    assert!(
        page.contains("How many on other hosts")
            && page.contains("memory, up to 256")
            && page.contains("1024 – ")
    );
}

#[test]
fn a_heavy_empty_cgroup_is_said_in_both_chapters_and_a_light_one_in_the_machines_table_alone() {
    let sentence = |lang, bytes| {
        let mut document = document();
        document.host.empty_cgroup_bytes = bytes;
        let page = page::render(&document, lang).unwrap();
        let word = if lang == Lang::En { ">an empty memory cgroup<" } else { ">空的内存 cgroup<" };
        (page.matches("class=\"note weight\"").count(), page.contains("1.25 MiB"), page.contains(word))
    };
    for lang in [Lang::En, Lang::Zh] {
        assert_eq!(sentence(lang, Some(1280 << 10)), (2, true, true));
        assert_eq!(sentence(lang, Some(21 << 10)), (0, false, true));
        assert_eq!(sentence(lang, None), (0, false, false), "what was not looked for is not there");
    }
}
