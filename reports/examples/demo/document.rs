//! A made-up document, for looking at the page and for the tests. No figure in it was measured.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use tare_reports::audit;
use tare_reports::document::*;

/// Name, class, accel, and made-up medians of `ready`, `teardown` and `cpu`, us.
type Row = (&'static str, Class, Accel, [f64; 3]);

const ROWS: [Row; 7] = [
    ("process", Class::Process, Accel::Native, [410.0, 260.0, 300.0]),
    ("hand-loop", Class::Process, Accel::Native, [385.0, 0.0, 0.0]),
    ("floor", Class::Container, Accel::Native, [1_600.0, 2_900.0, 1_300.0]),
    ("tare", Class::Container, Accel::Native, [2_700.0, 3_100.0, 2_300.0]),
    ("tare-lib", Class::Container, Accel::Native, [1_950.0, 3_000.0, 1_700.0]),
    ("runc", Class::Container, Accel::Native, [48_000.0, 22_000.0, 61_000.0]),
    ("qemu", Class::Vm, Accel::Tcg, [3_900_000.0, 31_000.0, 4_100_000.0]),
];

const QUANTITIES: [&str; 3] = ["ready", "teardown", "cpu"];

/// A good document: complete, reliable, every item of the audit passed that can be checked.
pub(crate) fn good(rounds: u32) -> Document {
    seeded(rounds, 7)
}

/// The same with other noise.
pub(crate) fn seeded(rounds: u32, seed: u64) -> Document {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut document = Document {
        schema: SCHEMA,
        run: run(rounds),
        host: host(),
        contenders: ROWS.iter().map(contender).collect(),
        series: Vec::new(),
        audit: Vec::new(),
        sameness: None,
    };
    document.contenders.push(skipped());
    for (index, quantity) in QUANTITIES.iter().enumerate() {
        for row in ROWS.iter().filter(|it| it.3[index] > 0.0) {
            document.series.push(series(row.0, quantity, false));
        }
        document.series.push(series("process", quantity, true));
    }
    for round in 0..rounds {
        // Fisher and Yates over the visits, the A/A one included.
        let mut visits: Vec<(usize, bool)> =
            (0..ROWS.len()).map(|it| (it, false)).chain([(0, true)]).collect();
        for last in (1..visits.len()).rev() {
            visits.swap(last, random.random_range(0..=last));
        }
        let host = normal(&mut random, 0.02);
        for (position, (row, second)) in visits.into_iter().enumerate() {
            let row = ROWS[row];
            for (index, quantity) in QUANTITIES.iter().enumerate().filter(|(index, _)| row.3[*index] > 0.0) {
                let slow =
                    if random.random_range(0..40) == 0 { 1.0 + 2.0 * random.random::<f64>() } else { 1.0 };
                let value = row.3[index] * 1e3 * host * normal(&mut random, 0.06) * slow;
                let sample = Sample::value(round, position as u32, value as u64);
                find(&mut document, row.0, quantity, second).samples.push(sample);
            }
        }
    }
    document.audit = audit::audit(&document);
    document
}

/// The series of a contender's quantity.
pub(crate) fn find<'a>(
    document: &'a mut Document,
    contender: &str,
    quantity: &str,
    second: bool,
) -> &'a mut Series {
    let wanted = |it: &&mut Series| {
        it.contender == contender && it.quantity == quantity && (it.parameters.aa == Some(true)) == second
    };
    document.series.iter_mut().find(wanted).expect("the made-up document has this series")
}

fn normal(random: &mut Xoshiro256PlusPlus, spread: f64) -> f64 {
    let sum: f64 = (0..12).map(|_| random.random::<f64>()).sum();
    (spread * (sum - 6.0)).exp()
}

fn series(contender: &str, quantity: &str, second: bool) -> Series {
    Series {
        measure: "startup".into(),
        quantity: quantity.into(),
        mode: Mode::Warm,
        contender: contender.into(),
        unit: Unit::Ns,
        predicted: false,
        binding: None,
        parameters: Parameters {
            concurrency: Some(1),
            running: Some(0),
            network: Some("none".into()),
            aa: second.then_some(true),
            ..Parameters::default()
        },
        samples: Vec::new(),
    }
}

fn run(rounds: u32) -> Run {
    let reading =
        |round| Reading { round, wall_ns: 5_000_000_000, steal_ns: 9_000_000, foreign_cpu_ns: 21_000_000 };
    let census = Census { processes: 0, mounts: 0, cgroups: 0, namespaces: 9, links: 1, files: 0 };
    Run {
        id: "2026-11-24-quick-7".into(),
        started: "2026-11-24T05:40:00Z".into(),
        finished: Some("2026-11-24T05:42:31Z".into()),
        seed: 7,
        profile: "quick".into(),
        complete: true,
        reliable: true,
        unreliable_because: Vec::new(),
        tare: "0.1.0 (made up)".into(),
        command: ["tare", "run", "startup", "--seed", "7"].map(str::to_owned).to_vec(),
        readings: (0..rounds).map(reading).collect(),
        census: Some(CensusPair { before: census.clone(), after: census }),
        left_out: vec!["density: add it with `tare run density`".into()],
        host_changes: Vec::new(),
        merged_from: Vec::new(),
    }
}

fn host() -> Host {
    let facts = [
        ("distribution", "Debian GNU/Linux 12 (bookworm)"),
        ("governor", "not exposed by this host"),
        ("ksm", "off"),
        ("smt", "not exposed by this host"),
        ("swap", "none"),
        ("thp", "madvise"),
    ];
    Host {
        kernel: "6.18.0-made-up".into(),
        cpu: "An Imagined CPU @ 2.60GHz".into(),
        cpus: 2,
        memory_bytes: 8_232_312_832,
        hypervisor: "kvm".into(),
        cgroup: "hybrid".into(),
        kvm: "emulated: a calibrated loop ran 100 times slower than under TCG".into(),
        empty_cgroup_bytes: Some(21 << 10),
        facts: facts
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>(),
    }
}

fn contender(row: &Row) -> Contender {
    let (name, class, accel, _) = *row;
    let words: &[&str] = match name {
        "runc" => &["runc", "run", "--detach", "--bundle", "/run/tare/b/17", "tare-17"],
        "qemu" => &[
            "qemu-system-x86_64",
            "-machine",
            "q35",
            "-accel",
            "tcg",
            "-m",
            "128",
            "-nodefaults",
            "-display",
            "none",
            "-serial",
            "stdio",
            "-kernel",
            "/boot/vmlinuz-6.1.0-cloud-amd64",
            "-initrd",
            "/run/tare/initrd",
            "-append",
            "console=ttyS0 quiet panic=-1 -- NONCE",
        ],
        "tare" => {
            &["tare-runtime", "run", "--detach", "--id", "tare-17", "--memory", "64M", "/run/tare/image"]
        }
        _ => &["payload", "NONCE"],
    };
    Contender {
        name: name.into(),
        class,
        accel,
        version: if class == Class::Vm { "7.2.22" } else { "0.1.0" }.into(),
        command: words.iter().map(|it| (*it).to_owned()).collect(),
        channel: if class == Class::Vm { "ttyS0" } else { "pipes" }.into(),
        status: Status::Measured,
        reason: None,
        fix: None,
        about: format!("{name}, made up for this example"),
        inside_clock: ["writable overlay", "bundle file", "cgroup", "spawn", "payload's READY"]
            .map(str::to_owned)
            .to_vec(),
        not_expressed: if name == "runc" { vec!["masked path /proc/acpi".into()] } else { Vec::new() },
        payload_sha256: Some("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".into()),
        fetch: None,
    }
}

fn skipped() -> Contender {
    let row = ("qemu-microvm", Class::Vm, Accel::Tcg, [0.0; 3]);
    Contender {
        status: Status::Skipped,
        reason: Some("the small kernel was not built".into()),
        fix: Some("scripts/guest-kernel".into()),
        inside_clock: Vec::new(),
        payload_sha256: None,
        fetch: None,
        ..contender(&row)
    }
}
