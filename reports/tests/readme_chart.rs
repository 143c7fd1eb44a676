//! The README shows one real run, `fixtures/result.json`: its chart and its figures are what the code makes
//! of that run, so that neither can go stale or be made up.

use std::fmt::Write;
use std::path::PathBuf;

use tare_reports::document::{Census, Document, Series, Status};
use tare_reports::stats::{self, Interval};
use tare_reports::summary::{Summary, against, summarise};
use tare_reports::{Lang, charts, units};

/// Set it to write chart and figures anew: `TARE_WRITE_README=1 cargo test -p tare-reports --test readme_chart`.
const WRITE: &str = "TARE_WRITE_README";

const BEGIN: &str = "<!-- figures: written by reports/tests/readme_chart.rs, do not edit -->\n";
const END: &str = "<!-- end of figures -->\n";

/// The boxes of the run, in the order of the table.
const BOXES: [&str; 11] = [
    "hand-loop",
    "process",
    "tare-pool",
    "floor",
    "floor-confined",
    "tare-lib",
    "tare",
    "crun-wrapper",
    "crun",
    "runc",
    "qemu",
];

/// What is aimed at for a ratio of two starts.
enum Aim {
    AtMost(f64),
    AtLeast(f64),
    Nothing,
}

const RATIOS: [(&str, &str, Aim); 8] = [
    ("tare-lib", "floor-confined", Aim::AtMost(1.10)),
    ("tare", "floor-confined", Aim::AtMost(1.35)),
    ("tare-pool", "process", Aim::AtMost(1.5)),
    ("crun", "tare", Aim::AtLeast(4.0)),
    ("runc", "tare", Aim::AtLeast(10.0)),
    ("floor-confined", "floor", Aim::Nothing),
    ("tare", "floor", Aim::Nothing),
    ("qemu", "tare", Aim::Nothing),
];

fn path(below: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(below)
}

fn document() -> Document {
    tare_reports::read(&path("tests/fixtures/result.json")).unwrap()
}

fn series<'a>(document: &'a Document, contender: &str, quantity: &str) -> &'a Series {
    let mut all = document.series.iter();
    all.find(|it| it.contender == contender && it.quantity == quantity && it.parameters.aa.is_none())
        .unwrap_or_else(|| panic!("the run has no {quantity} of {contender}"))
}

#[test]
fn the_chart_is_what_the_code_draws() {
    let drawn = charts::standalone(&document(), "ready", "distribution", Lang::En).unwrap().unwrap() + "\n";
    let file = path("tests/fixtures/startup.svg");
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&file, &drawn).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(committed == drawn, "startup.svg is stale: run with {WRITE}=1 and commit it");
}

#[test]
fn the_figures_are_those_of_the_run() {
    let file = path("../README.md");
    let readme = std::fs::read_to_string(&file).unwrap();
    let (before, rest) = readme.split_once(BEGIN).expect("the README marks where its figures begin");
    let (written, after) = rest.split_once(END).expect("the README marks where its figures end");
    let current = figures(&document());
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&file, format!("{before}{BEGIN}{current}{END}{after}")).unwrap();
    } else {
        assert_eq!(written, current, "the README's figures are stale: run with {WRITE}=1 and commit them");
    }
}

#[test]
fn the_run_has_every_box_and_left_nothing() {
    let document = document();
    assert!(document.run.complete && document.run.finished.is_some());
    for name in BOXES {
        let row = document.contenders.iter().find(|it| it.name == name).unwrap();
        assert_eq!(row.status, Status::Measured, "{name}: {:?}", row.reason);
    }
    let census = document.run.census.unwrap();
    assert_eq!(census.before, census.after);
    assert_eq!(Census { namespaces: 0, links: 0, ..census.after }, Census::default());
}

/// The generated part of the README.
fn figures(document: &Document) -> String {
    let mut out = String::from("\n");
    let (run, host) = (&document.run, &document.host);
    let gib = host.memory_bytes as f64 / f64::from(1 << 30);
    let system = host.facts.get("distribution").map_or("", String::as_str);
    writeln!(
        out,
        "Machine: {} CPUs ({}), {gib:.1} GiB, hypervisor `{}`, Linux {}, {system}, cgroups `{}`.",
        host.cpus, host.cpu, host.hypervisor, host.kernel, host.cgroup
    )
    .unwrap();
    writeln!(out, "KVM: `{}`.", host.kvm).unwrap();
    let judged = if run.reliable {
        "Judged reliable by its own rules.".to_owned()
    } else {
        format!("**UNRELIABLE**: {}.", run.unreliable_because.join("; "))
    };
    let rounds = run.readings.len();
    let took = units::duration(run.readings.iter().map(|it| it.wall_ns as f64).sum());
    writeln!(out, "Run `{}`, profile `{}`, {rounds} rounds in {took}. {judged}\n", run.id, run.profile)
        .unwrap();
    rows(document, &mut out);
    out.push('\n');
    aims(document, &mut out);
    out.push('\n');
    out
}

fn rows(document: &Document, out: &mut String) {
    let summaries = summarise(document);
    let of = |name: &str, quantity: &str| {
        let found =
            summaries.iter().find(|it| it.contender == name && it.quantity == quantity && !it.is_aa());
        found.unwrap_or_else(|| panic!("no {quantity} of {name}"))
    };
    let median = |it: &Summary| it.median.map_or("n/a".into(), |value| units::shown(value, it.unit));
    out.push_str(
        "| box | runs on | ready, median | 95 % interval | teardown | CPU time | starts | failed |\n",
    );
    out.push_str("|---|---|--:|--:|--:|--:|--:|--:|\n");
    for name in BOXES {
        let [ready, teardown, cpu] = ["ready", "teardown", "cpu"].map(|quantity| of(name, quantity));
        let interval = ready.interval.map_or("n/a".into(), |it| {
            format!("{} .. {}", units::shown(it.low, ready.unit), units::shown(it.high, ready.unit))
        });
        let accel = serde_json::to_value(ready.accel).unwrap();
        writeln!(
            out,
            "| `{name}` | {} | {} | {interval} | {} | {} | {} | {} |",
            accel.as_str().unwrap(),
            median(ready),
            median(teardown),
            median(cpu),
            ready.n + ready.failed(),
            ready.failed()
        )
        .unwrap();
    }
}

fn aims(document: &Document, out: &mut String) {
    out.push_str("| paired within rounds | measured here, 95 % interval | aim | |\n|---|---|---|---|\n");
    // A noisy host decides nothing for good, and the table must not look as if it did.
    let doubt = if document.run.reliable { "" } else { ", UNRELIABLE" };
    for (name, base, aim) in &RATIOS {
        // A box in stock is another mode, and no table of the page mixes them; here the aim is about it.
        let mode = series(document, base, "ready").mode;
        let compared = Series { mode, ..series(document, name, "ready").clone() };
        let found = against(document, &compared, base).unwrap();
        let interval = found.ratio.interval.unwrap();
        let caveat = found.caveat.map_or(String::new(), |it| format!(" ({it})"));
        let (aimed, verdict) = match aim {
            Aim::AtMost(limit) => (format!("at most {limit}x"), at_most(interval, *limit).to_owned() + doubt),
            Aim::AtLeast(limit) => {
                (format!("at least {limit}x"), at_least(interval, *limit).to_owned() + doubt)
            }
            Aim::Nothing => ("-".into(), "-".into()),
        };
        writeln!(
            out,
            "| ready: `{name}` / `{base}` | {} [{}, {}]{caveat} | {aimed} | {verdict} |",
            units::ratio(found.ratio.ratio),
            units::digits(interval.low),
            units::digits(interval.high)
        )
        .unwrap();
    }
    let hand = stats::by_round(series(document, "hand-loop", "ready"));
    let process = stats::by_round(series(document, "process", "ready"));
    let share: Vec<f64> =
        process.iter().filter_map(|(round, value)| Some(value - hand.get(round)?)).collect();
    let seed = stats::derive_seed(document.run.seed, &["README", "lab"]);
    let interval = stats::median_interval(&share, seed).unwrap();
    writeln!(
        out,
        "| ready: `process` - `hand-loop`, the lab's own share | {} [{}, {}] | at most 50 µs | {}{doubt} |",
        shown(stats::median(&share).unwrap()),
        shown(interval.low),
        shown(interval.high),
        at_most(interval, 50_000.0)
    )
    .unwrap();
}

fn shown(ns: f64) -> String {
    units::shown(ns, tare_reports::document::Unit::Ns)
}

fn at_most(interval: Interval, limit: f64) -> &'static str {
    match (interval.high <= limit, interval.low > limit) {
        (true, _) => "met",
        (_, true) => "missed",
        _ => "undecided",
    }
}

fn at_least(interval: Interval, limit: f64) -> &'static str {
    match (interval.low >= limit, interval.high < limit) {
        (true, _) => "met",
        (_, true) => "missed",
        _ => "undecided",
    }
}
