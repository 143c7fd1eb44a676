//! The page: self-contained, whole, readable by a screen reader, and never a panic on a strange document.

#[path = "../examples/demo/document.rs"]
#[allow(dead_code)]
mod made_up;

use std::collections::BTreeSet;

use proptest::prelude::*;
use tare_reports::document::*;
use tare_reports::{Lang, page, text};

const BOTH: [Lang; 2] = [Lang::En, Lang::Zh];

fn rendered(document: &Document) -> [String; 2] {
    BOTH.map(|lang| page::render(document, lang).unwrap())
}

/// The values of an attribute, in order.
fn attributes<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!(" {name}=\"");
    page.split(&start).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[test]
fn it_needs_nothing_from_outside() {
    for page in rendered(&made_up::good(12)) {
        // The name of the SVG namespace is not fetched; every other address would be.
        let addresses = page.replace("http://www.w3.org/2000/svg", "");
        for outside in
            ["http:", "https:", "//", "url(", "@import", "<script", "<link rel=\"stylesheet", " src="]
        {
            let found = addresses.find(outside).map(|at| &addresses[at..(at + 60).min(addresses.len())]);
            assert_eq!(found, None, "{outside}");
        }
        assert!(page.contains("default-src 'none'"));
        let targets: BTreeSet<&str> = attributes(&page, "id").into_iter().collect();
        for link in attributes(&page, "href") {
            let inside = link.strip_prefix('#').is_some_and(|it| targets.contains(it));
            assert!(inside || link == "data:,", "{link} leads nowhere");
        }
    }
}

#[test]
fn every_id_is_there_once_and_labels_point_to_ids() {
    // A second setting of the same quantity has its own topic.
    let mut document = made_up::good(12);
    for name in ["process", "runc"] {
        let mut series = made_up::find(&mut document, name, "ready", false).clone();
        series.parameters.concurrency = Some(8);
        series.parameters.network = Some("tap 0".into());
        document.series.push(series);
    }
    for page in rendered(&document) {
        assert!(page.contains("id=\"startup-ready-warm-c8-tap-0\""));
        let ids = attributes(&page, "id");
        let distinct: BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(ids.len(), distinct.len());
        for label in attributes(&page, "aria-labelledby").iter().flat_map(|it| it.split(' ')) {
            assert!(distinct.contains(label), "{label}");
        }
    }
}

#[test]
fn headings_never_skip_a_level() {
    for page in rendered(&made_up::good(12)) {
        let levels: Vec<u32> = page
            .match_indices("<h")
            .filter_map(|(at, _)| page[at + 2..].chars().next()?.to_digit(10))
            .collect();
        assert_eq!(levels.iter().filter(|it| **it == 1).count(), 1);
        assert!(levels.windows(2).all(|it| it[1] <= it[0] + 1), "{levels:?}");
    }
}

#[test]
fn every_chart_stands_there_with_its_table() {
    let [page, _] = rendered(&made_up::good(12));
    for id in [
        "startup-ready-warm-distribution",
        "startup-ready-warm-ratio",
        "startup-ready-warm-order",
        "startup-teardown-warm-distribution",
        "startup-cpu-warm-ratio",
    ] {
        for suffix in ["", "-narrow"] {
            assert!(page.contains(&format!("<title id=\"{id}{suffix}-t\">")), "{id}{suffix}");
        }
    }
    let figures = page.matches("<figure").count();
    assert!(figures >= 7 && page.matches("<figcaption").count() == figures, "{figures}");
    assert!(page.matches("<table").count() > figures);
    assert_eq!(page.matches("role=\"img\"").count(), 2 * figures);
}

/// The number of dots in the drawing of that id.
fn dots(page: &str, id: &str) -> usize {
    let start = page.find(&format!("aria-labelledby=\"{id}-t ")).unwrap();
    let svg = page[start..].split("</svg>").next().unwrap();
    svg.matches("<circle").count()
}

#[test]
fn every_sample_is_a_dot() {
    let document = made_up::good(12);
    let samples: usize =
        document.series.iter().filter(|it| it.quantity == "teardown").map(|it| it.samples.len()).sum();
    let [page, _] = rendered(&document);
    let drawn = dots(&page, "startup-teardown-warm-distribution");
    // Two samples on the very same pixel are drawn once.
    assert!(drawn <= samples && drawn + 2 >= samples, "{drawn} of {samples}");
}

#[test]
fn a_chart_can_stand_alone() {
    let document = made_up::good(12);
    let chart =
        |quantity, name| tare_reports::charts::standalone(&document, quantity, name, Lang::En).unwrap();
    let svg = chart("ready", "distribution").unwrap();
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>") && svg.contains("--hue-3:"));
    assert_eq!((chart("pss", "distribution"), chart("ready", "pie")), (None, None));
    assert_eq!(chart("teardown", "order"), None);
}

#[test]
fn an_unreliable_run_says_so_first() {
    let mut document = made_up::good(12);
    document.run.reliable = false;
    document.run.unreliable_because = vec!["steal: 4.0 % <&>".into()];
    let [page, zh] = rendered(&document);
    let banner = page.find("UNRELIABLE").unwrap();
    assert!(banner < page.find("id=\"verdicts\"").unwrap());
    assert!(page.contains("steal: 4.0 % &lt;&amp;&gt;") && zh.contains("UNRELIABLE"));
    assert!(text::table(&document).starts_with("UNRELIABLE: steal: 4.0 %"));
    let [good, _] = rendered(&made_up::good(12));
    assert!(good.contains("class=\"banner good\"") && !good.contains("class=\"banner bad\""));
    // A run of which nothing can be said is not called good.
    let mut silent = made_up::good(12);
    silent.run.readings.clear();
    silent.series.clear();
    let [silent, _] = rendered(&silent);
    assert!(
        silent.contains("No UNRELIABLE rule could be judged") && !silent.contains("class=\"banner good\"")
    );
}

#[test]
fn skips_failures_and_command_lines_are_on_the_page() {
    let mut document = made_up::good(12);
    let runc = document.contenders.iter_mut().find(|it| it.name == "runc").unwrap();
    runc.status = Status::Failed;
    runc.reason = Some("the binary vanished".into());
    for quantity in ["ready", "teardown", "cpu"] {
        for sample in &mut made_up::find(&mut document, "runc", quantity, false).samples {
            *sample = Sample::failure(sample.round, sample.position, Failure::Start, "ENOENT");
        }
    }
    let [page, _] = rendered(&document);
    for needed in [
        "the small kernel was not built",
        "scripts/guest-kernel",
        "the binary vanished",
        "'console=ttyS0 quiet panic=-1 -- NONCE'",
        "masked path /proc/acpi",
        "start 12",
        "published comparison",
        "m5d.metal",
        "density: add it with",
    ] {
        assert!(page.contains(needed), "{needed}");
    }
}

#[test]
fn the_same_document_gives_the_same_page() {
    assert_eq!(rendered(&made_up::good(9)), rendered(&made_up::good(9)));
}

#[test]
fn chinese_is_chinese() {
    let [en, zh] = rendered(&made_up::good(9));
    assert!(en.contains("lang=\"en\"") && zh.contains("lang=\"zh-Hans\""));
    assert!(zh.contains("虚拟机启动要好几分钟") && !zh.contains("What people say"));
    let chinese = |page: &str| page.chars().filter(|it| ('\u{4e00}'..='\u{9fff}').contains(it)).count();
    assert_eq!(chinese(&en), 0);
    assert!(chinese(&zh) > 1_500, "{}", chinese(&zh));
}

#[test]
fn a_hundred_thousand_samples_stay_below_five_megabytes() {
    let mut document = made_up::good(2);
    let mut value = 1_000_u64;
    for series in &mut document.series {
        series.samples = (0..4_600)
            .map(|round| {
                value = value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                Sample::value(round, 0, 100_000 + (value >> 40))
            })
            .collect();
    }
    let count: usize = document.series.iter().map(|it| it.samples.len()).sum();
    assert!(count > 100_000);
    let page = page::render(&document, Lang::En).unwrap();
    assert!(page.len() < 5_000_000, "{}", page.len());
}

#[test]
fn an_empty_run_has_a_page() {
    let mut document = made_up::good(1);
    document.series.clear();
    document.contenders.clear();
    document.run.readings.clear();
    document.audit.clear();
    for page in rendered(&document) {
        assert!(page.contains("id=\"audit\"") && !page.contains("<svg"));
    }
    assert!(text::table(&document).contains("audit: "));
}

fn sample() -> impl Strategy<Value = Sample> {
    let value = prop_oneof![Just(0), Just(1), Just(u64::MAX), 0..u64::MAX];
    prop_oneof![
        4 => (0..6_u32, 0..9_u32, value).prop_map(|(round, place, value)| Sample::value(round, place, value)),
        1 => (prop_oneof![0..6_u32, Just(u32::MAX)], 0..9_u32)
            .prop_map(|(round, place)| Sample::failure(round, place, Failure::Crash, "<b>&")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_document_makes_it_panic(samples in prop::collection::vec(prop::collection::vec(sample(), 0..12), 22),
                                  reliable: bool, complete: bool) {
        let mut document = made_up::good(1);
        for (series, samples) in document.series.iter_mut().zip(samples) {
            series.samples = samples;
        }
        (document.run.reliable, document.run.complete) = (reliable, complete);
        document.audit.clear();
        for page in rendered(&document) {
            prop_assert!(page.ends_with("</html>") && !page.contains("<b>&") && !page.contains("NaN"));
        }
        prop_assert!(!text::table(&document).contains(char::from(27)));
    }
}

/// What must be said with a ratio under emulation is said in the page's own language.
#[test]
fn a_bound_is_called_one_in_both_languages() {
    let [en, zh] = rendered(&made_up::good(12));
    for (page, said, other) in
        [(&en, "tcg: an upper bound", "只是上界"), (&zh, "tcg：只是上界", "an upper bound")]
    {
        let own =
            page.split("id=\"startup\"").nth(1).and_then(|it| it.split("id=\"machine\"").next()).unwrap();
        assert!(own.contains(said), "{said}");
        assert!(!own.split("如何测量").next().unwrap().contains(other), "{other}");
    }
}

/// A line has a name and no more beside it: that a machine was emulated is said below, and nothing where none was.
#[test]
fn lines_of_emulated_machines_are_called_bounds() {
    let mut document = made_up::good(12);
    let said = ["its line is an upper bound: <code>qemu</code>.", "其线只是上界：<code>qemu</code>。"];
    for (page, said) in rendered(&document).iter().zip(said) {
        assert!(page.contains(said), "{said}");
    }
    document.contenders.iter_mut().for_each(|it| it.accel = Accel::Native);
    assert!(!rendered(&document)[0].contains("its line is an upper bound"));
}

/// Nobody scrolls on paper: what does not stand side by side stands below, and none of it is lost.
#[test]
fn raw_samples_stand_in_tables_that_paper_holds() {
    let document = made_up::good(12);
    let [page, _] = rendered(&document);
    let tables: Vec<&str> = page.split("<table class=\"raw\">").skip(1).collect();
    let columns = |it: &&str| it.split("</thead>").next().unwrap().matches("<th ").count();
    assert!(tables.iter().all(|it| columns(it) <= 8), "{:?}", tables.iter().map(columns).collect::<Vec<_>>());
    let shown: usize =
        tables.iter().map(|it| it.split("</table>").next().unwrap().matches("<sub>").count()).sum();
    assert_eq!(shown, document.series.iter().map(|it| it.samples.len()).sum::<usize>());
}
