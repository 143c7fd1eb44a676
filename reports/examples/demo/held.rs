//! Made-up memory and density for the made-up document. No figure in it was measured.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use tare_reports::document::*;

const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * KIB;

/// What one idle box costs by host, cgroup and PSS, bytes; 0 where the method does not see it.
pub(crate) const PER_BOX: [(&str, (f64, f64, f64)); 5] = [
    ("process", (96.0 * KIB, 0.0, 4.0 * KIB)),
    ("floor", (440.0 * KIB, 124.0 * KIB, 4.0 * KIB)),
    ("tare", (520.0 * KIB, 128.0 * KIB, 4.0 * KIB)),
    ("runc", (610.0 * KIB, 140.0 * KIB, 4.0 * KIB)),
    ("qemu", (96.0 * MIB, 0.0, 92.0 * MIB)),
];
/// What a climb pays once.
pub(crate) const ONCE: f64 = 2.0 * MIB;
/// What a box touches in the state `touched`.
pub(crate) const TOUCHED: f64 = 16.0 * MIB;

/// Shares of the host's use, line by line; they leave some of it unexplained.
const CONTAINER: [(&str, f64); 6] = [
    ("payload", 0.02),
    ("slab", 0.55),
    ("page tables", 0.06),
    ("kernel stacks", 0.05),
    ("per-CPU", 0.17),
    ("page cache and tmpfs", 0.05),
];
const MACHINE: [(&str, f64); 6] = [
    (tare_reports::memory::GUEST_RAM, 0.62),
    ("VMM", 0.15),
    (tare_reports::memory::TRANSLATION, 0.17),
    ("slab", 0.02),
    ("page tables", 0.01),
    ("kernel stacks", 0.01),
];

/// Adds the climbs of `memory` and the searches of `density`.
pub(crate) fn add(document: &mut Document) {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(3);
    for (contender, per_box) in PER_BOX {
        for state in ["idle", "touched"] {
            climbs(document, contender, per_box, state, &mut random);
        }
        one(
            document,
            contender,
            "peak",
            Some(1),
            if per_box.1 > 0.0 { Ok(per_box.1 * 3.0) } else { Err(()) },
        );
    }
    one(document, "qemu", "smallest", None, Ok(46.0 * MIB));
    for state in tare_reports::density::STATES {
        for (contender, per_box, most, canary, resource) in [
            ("process", 96.0 * KIB, 31_900, 300_000.0, "pids"),
            ("tare", 520.0 * KIB, 12_400, 900_000.0, "memory"),
            ("runc", 610.0 * KIB, 10_100, 1_200_000.0, "memory"),
            ("qemu", 96.0 * MIB, 22, 12_000_000.0, "cpu"),
        ] {
            let (most, resource) = match state {
                "touched" => ((7.4e9 / (per_box + TOUCHED)) as u32, "memory"),
                "serving" => (most / 4, "cpu"),
                _ => (most, resource),
            };
            search(document, (contender, state), per_box, most, canary, resource, &mut random);
        }
        let mut floor = series("density", "idle", "floor", Unit::Instances, "idle", None);
        if state == "idle" {
            floor.predicted = true;
            floor.samples.push(Sample::value(0, 0, 15_200));
            document.series.push(floor);
        }
    }
    document.audit = tare_reports::audit::audit(document);
}

fn series(
    measure: &str,
    quantity: &str,
    contender: &str,
    unit: Unit,
    state: &str,
    boxes: Option<u32>,
) -> Series {
    Series {
        measure: measure.into(),
        quantity: quantity.into(),
        mode: Mode::Warm,
        contender: contender.into(),
        unit,
        predicted: false,
        binding: None,
        parameters: Parameters {
            network: Some("none".into()),
            state: Some(state.into()),
            instances: boxes,
            ..Parameters::default()
        },
        samples: Vec::new(),
    }
}

/// Two rounds of two climbs with four looks each.
fn climbs(
    document: &mut Document,
    contender: &str,
    (host, cgroup, pss): (f64, f64, f64),
    state: &str,
    random: &mut Xoshiro256PlusPlus,
) {
    let machine = contender == "qemu";
    let touched = if state == "touched" { TOUCHED } else { 0.0 };
    let most = if machine {
        8
    } else if touched > 0.0 {
        16
    } else {
        256
    };
    for boxes in [most / 4, most / 2, most * 3 / 4, most] {
        for (quantity, each) in [("host", host), ("cgroup", cgroup), ("pss", pss)] {
            let mut own = series("memory", quantity, contender, Unit::Bytes, state, Some(boxes));
            for climb in 0..4 {
                let (round, position) = (climb / 2, 10 * (climb % 2) + 3);
                if each == 0.0 {
                    let why = "no memory controller is applied to it";
                    own.samples.push(Sample::failure(round, position, Failure::NotMeasured, why));
                    continue;
                }
                let noise = each.min(30.0 * KIB) * (random.random::<f64>() - 0.5);
                let all = ONCE + (each + touched) * f64::from(boxes) + noise;
                let mut sample = Sample::value(round, position, all as u64);
                if quantity == "host" {
                    sample.parts = parts(if machine { &MACHINE } else { &CONTAINER }, each, touched, boxes);
                }
                own.samples.push(sample);
            }
            document.series.push(own);
        }
    }
}

fn parts(shares: &[(&str, f64)], each: f64, touched: f64, boxes: u32) -> BTreeMap<String, i64> {
    let own = shares.iter().enumerate().map(|(index, (name, share))| {
        // What the box touches is in its first line: the payload's, or the guest's RAM.
        let touched = if index == 0 { touched } else { 0.0 };
        ((*name).to_owned(), ((each * share + touched) * f64::from(boxes)) as i64)
    });
    own.collect()
}

fn one(document: &mut Document, contender: &str, quantity: &str, boxes: Option<u32>, value: Result<f64, ()>) {
    let mut own = series("memory", quantity, contender, Unit::Bytes, "idle", boxes);
    own.parameters.state = None;
    own.samples.push(match value {
        Ok(value) => Sample::value(0, 3, value as u64),
        Err(()) => Sample::failure(0, 3, Failure::NotMeasured, "no memory controller is applied to it"),
    });
    document.series.push(own);
}

/// A search that doubles up to its edge and finds it by halves.
fn search(
    document: &mut Document,
    (contender, state): (&str, &str),
    per_box: f64,
    most: u32,
    canary: f64,
    resource: &str,
    random: &mut Xoshiro256PlusPlus,
) {
    let mut rungs: Vec<u32> = (0..).map(|power| 8 << power).take_while(|it| *it < most).collect();
    let failed_at = most + most / 20 + 1;
    rungs.extend([most - most / 20, most, failed_at]);
    rungs.sort_unstable();
    rungs.dedup();
    let touched = if state == "touched" { TOUCHED } else { 0.0 };
    for boxes in rungs {
        let load = f64::from(boxes) / f64::from(most);
        let at = |quantity: &str, unit| series("density", quantity, contender, unit, state, Some(boxes));
        let mut pings = at("canary", Unit::Ns);
        for place in 0..1_000 {
            let late = canary * (1.0 + 40.0 * load.powi(6)) * (0.6 + random.random::<f64>());
            pings.samples.push(Sample::value(0, place, late as u64));
        }
        let mut starts = at("start", Unit::Ns);
        for place in 0..boxes.min(32) {
            let took = 2.4e6 * (1.0 + 2.0 * load) * (0.8 + 0.4 * random.random::<f64>());
            starts.samples.push(Sample::value(0, place, took as u64));
        }
        let mut host = at("host", Unit::Bytes);
        let bytes = ONCE + (per_box + touched) * f64::from(boxes) * (1.0 + 0.1 * load);
        host.samples.push(Sample::value(0, 0, bytes as u64));
        let mut climb = at("climb", Unit::Ns);
        climb.samples.push(Sample::value(0, 0, (2.9e6 * (1.0 + 2.0 * load)) as u64));
        document.series.extend([pings, starts, host, climb]);
        if boxes >= most {
            let mut clear = at("clear", Unit::Ns);
            clear.samples.push(Sample::value(0, 0, 4_100_000));
            document.series.push(clear);
        }
    }
    let mut found = series("density", state, contender, Unit::Instances, state, None);
    found.samples.push(Sample::value(0, 0, u64::from(most)));
    found.binding = Some(Binding {
        resource: resource.into(),
        failed_at: Some(failed_at),
        evidence: match resource {
            "memory" => "4.8 % of the host's memory was free, below the reserve of 5 %",
            "pids" => "fork failed: Resource temporarily unavailable; 32,760 of 32,768 pids were taken",
            _ => "the canary's p99 was 0.13 s, above its limit; 9 processes waited for 2 CPUs",
        }
        .into(),
    });
    document.series.push(found);
}
