//! Items that every run can be held to.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use crate::document::{Accel, Census, Class, Contender, Document, Failure, Mode, Series, Status};
use crate::sameness::sides;
use crate::units::{duration, percent};
use crate::{disk, merging, stats};

mod order;

pub(super) use order::order_is_shuffled;

/// Name of the hand-written loop that does on `process` what the lab does, without the lab.
pub(crate) const HAND_LOOP: &str = "hand-loop";

/// The most that the lab may add to a hand-written loop, ns.
const LAB_SHARE_NS: f64 = 50_000.0;

fn measured(document: &Document) -> impl Iterator<Item = &Contender> + Clone {
    document.contenders.iter().filter(|it| it.status == Status::Measured)
}

fn startup<'a>(document: &'a Document, quantity: &'a str) -> impl Iterator<Item = &'a Series> + Clone {
    document.series.iter().filter(move |it| it.measure == "startup" && it.quantity == quantity)
}

fn nothing_measured() -> Finding {
    Finding::not_checkable("no contender was measured")
}

/// 2: teardown is its own series, beside `ready`.
pub(super) fn teardown_is_its_own_series(document: &Document) -> Finding {
    let names = |quantity| -> BTreeSet<&str> {
        startup(document, quantity).map(|it| it.contender.as_str()).collect()
    };
    let (ready, teardown) = (names("ready"), names("teardown"));
    if ready.is_empty() {
        return Finding::not_checkable("this run measured no start-up");
    }
    // The hand-written loop exists to check the lab's clock, it is no box.
    let faults: Vec<String> = ready
        .difference(&teardown)
        .filter(|it| **it != HAND_LOOP)
        .map(|it| format!("{it} has no teardown series"))
        .collect();
    Finding::of(&faults, format!("{} contenders have a `teardown` series beside `ready`", teardown.len()))
}

/// 4: the same payload bytes on both sides.
pub(super) fn same_payload(document: &Document) -> Finding {
    let mut by_digest: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut without = Vec::new();
    for contender in measured(document) {
        match &contender.payload_sha256 {
            Some(digest) => by_digest.entry(digest).or_default().push(&contender.name),
            None => without.push(contender.name.as_str()),
        }
    }
    let short = |digest: &str| digest.get(..12).unwrap_or(digest).to_owned();
    let none = match without.len() {
        0 => String::new(),
        _ => format!("; not the payload: {}", without.join(", ")),
    };
    match by_digest.len() {
        0 if without.is_empty() => nothing_measured(),
        0 => Finding::failed("no row carries the payload's digest"),
        1 => {
            let (digest, names) = by_digest.first_key_value().unwrap_or((&"", &without));
            // Where a whole image was looked at in every box, it must be the same too.
            let (same, other) =
                sides(document).map_or_else(Default::default, |(_, same, other)| (same, other));
            let faults: Vec<String> = other
                .iter()
                .map(|it| {
                    let first = it.differences.first().map_or("?", String::as_str);
                    format!("the image differs in {}: {first}", it.contender)
                })
                .collect();
            let image = match same.len() {
                0 => String::new(),
                count => format!("; one image was the same in {count} boxes"),
            };
            Finding::of(&faults, format!("{} rows ran sha256 {}{none}{image}", names.len(), short(digest)))
        }
        _ => {
            let groups =
                by_digest.iter().map(|(digest, names)| format!("{} ran {}", names.join(", "), short(digest)));
            Finding::failed(format!("different payloads: {}", groups.collect::<Vec<_>>().join("; ")))
        }
    }
}

/// 5: the accel class is probed and stamped on every row.
pub(super) fn accel_is_stamped(document: &Document) -> Finding {
    let host = &document.host;
    let usable = host.kvm == "usable";
    let answered = usable || ["emulated", "absent"].iter().any(|it| host.kvm.starts_with(it));
    if !answered && measured(document).any(|it| it.class == Class::Vm) {
        return Finding::failed(format!("KVM was not probed: host.kvm is `{}`", host.kvm));
    }
    let mut faults = Vec::new();
    for row in measured(document) {
        let fault = match (row.class, row.accel) {
            (Class::Vm, Accel::Native) => "a VM cannot be native",
            (Class::Vm, Accel::Kvm | Accel::KvmNested) if !usable => "claims KVM, which the probe refused",
            (Class::Vm, Accel::Kvm) if host.hypervisor != "none" => "is kvm-nested under a hypervisor",
            (Class::Vm, _) | (_, Accel::Native) => continue,
            (_, _) => "runs on the host's kernel and must be native",
        };
        faults.push(format!("{} ({:?}): {fault}", row.name, row.accel));
    }
    let vms: Vec<String> = measured(document)
        .filter(|it| it.class == Class::Vm)
        .map(|it| format!("{} {:?}", it.name, it.accel).to_lowercase())
        .collect();
    let vms = if vms.is_empty() { "no VM was measured".to_owned() } else { vms.join(", ") };
    Finding::of(&faults, format!("KVM {}; {vms}", host.kvm))
}

/// 6: hypervisor, nesting, governor, SMT and steal are recorded.
pub(super) fn host_is_recorded(document: &Document) -> Finding {
    let host = &document.host;
    let mut faults = absent_facts(document, &["governor", "smt"]);
    if host.hypervisor.is_empty() {
        faults.push("the hypervisor is not recorded".to_owned());
    }
    let alone = started_alone(document);
    if alone && document.run.readings.is_empty() {
        faults.push("steal and foreign CPU were not read".to_owned());
    }
    if faults.is_empty() && !alone {
        return Finding::not_checkable(
            "steal and foreign CPU are read where one box, or one transfer, is timed at a time, and this run has none",
        );
    }
    let fact = |key: &str| host.facts.get(key).map_or("", String::as_str);
    let (governor, smt) = (fact("governor"), fact("smt"));
    let rounds = document.run.readings.len();
    let hypervisor = &host.hypervisor;
    Finding::of(
        &faults,
        format!("hypervisor {hypervisor}, governor {governor}, SMT {smt}, steal read in {rounds} rounds"),
    )
}

/// Whether boxes were started, or images fetched, one at a time on a host that was left alone otherwise: only then is what
/// else it did judged, for the suite makes noise itself when it holds, or drops, much.
fn started_alone(document: &Document) -> bool {
    document.series.iter().any(|it| match (&*it.measure, &*it.quantity) {
        ("startup" | "ladder" | "network", "ready") => {
            it.mode != Mode::Cold && it.parameters.concurrency.is_none_or(|it| it <= 1)
        }
        (disk::MEASURE, "pull") => true,
        _ => false,
    })
}

/// 14: KSM, THP and swap are recorded; where pages were merged, a run without it stands beside, and it was put back.
pub(super) fn memory_tricks_are_recorded(document: &Document) -> Finding {
    let keys = ["ksm", "thp", "swap"];
    let found = keys.iter().filter_map(|it| Some(format!("{it} {}", document.host.facts.get(*it)?)));
    let evidence = found.collect::<Vec<_>>().join(", ");
    let mut faults = absent_facts(document, &keys);
    faults.extend(merging::faults(document));
    let merged = merging::mergings(document);
    let each: Vec<String> = merged
        .iter()
        .filter_map(|it| Some(format!("{} {} {}", it.contender, it.state, percent(it.saved()?.0))))
        .collect();
    let merged = match each.is_empty() {
        true => String::new(),
        false => format!("; KSM as a curve of its own, put back after it; it saves {}", each.join(", ")),
    };
    Finding::of(&faults, evidence + &merged)
}

fn absent_facts(document: &Document, keys: &[&str]) -> Vec<String> {
    let absent = keys.iter().filter(|it| !document.host.facts.contains_key(**it));
    absent.map(|it| format!("host fact `{it}` is not recorded")).collect()
}

/// 7: cold, warm, restore and pool are never mixed.
pub(super) fn modes_are_apart(document: &Document) -> Finding {
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    let mut modes = BTreeSet::new();
    for it in &document.series {
        let restored = it.contender.ends_with("-restore");
        let pooled = it.contender.ends_with("-pool");
        if restored != (it.mode == Mode::Restore) || pooled != (it.mode == Mode::Pool) {
            faults.push(format!("{} is in the {:?} table", it.contender, it.mode).to_lowercase());
        }
        if !seen.insert((&it.measure, &it.quantity, it.mode, &it.contender, &it.parameters, it.predicted)) {
            faults.push(format!("{}/{} of {} is there twice", it.measure, it.quantity, it.contender));
        }
        modes.insert(format!("{:?}", it.mode).to_lowercase());
    }
    if seen.is_empty() {
        return Finding::not_checkable("the run has no series");
    }
    let modes: Vec<String> = modes.into_iter().collect();
    Finding::of(&faults, format!("modes in this run: {}; each in its own table", modes.join(", ")))
}

/// 20: all samples are kept, and quantiles given only where there are enough.
pub(super) fn all_samples_are_kept(document: &Document) -> Finding {
    let mut faults = Vec::new();
    for ready in startup(document, "ready") {
        for other in &document.series {
            let same = other.measure == ready.measure
                && other.contender == ready.contender
                && (other.mode, &other.parameters) == (ready.mode, &ready.parameters);
            if !same || other.quantity == ready.quantity {
                continue;
            }
            let kept: BTreeSet<_> = other.samples.iter().map(|it| (it.round, it.position)).collect();
            let lost = ready
                .samples
                .iter()
                .filter(|it| it.value.is_some() && !kept.contains(&(it.round, it.position)))
                .count();
            if lost > 0 {
                faults.push(format!("{}: {lost} starts have no {} sample", ready.contender, other.quantity));
            }
        }
        let rounds: BTreeSet<u32> = ready.samples.iter().map(|it| it.round).collect();
        // A slow contender is visited in every n-th round, from the first one on: n is its smallest gap.
        let gaps = rounds.iter().zip(rounds.iter().skip(1)).map(|(one, next)| next - one);
        let every = gaps.min().unwrap_or(1);
        let planned = rounds.last().map_or(0, |last| (last / every) as usize + 1);
        if rounds.len() != planned {
            faults.push(format!(
                "{}: {} rounds are missing",
                ready.contender,
                planned.abs_diff(rounds.len())
            ));
        }
    }
    let samples: usize = document.series.iter().map(|it| it.samples.len()).sum();
    if samples == 0 {
        return Finding::not_checkable("the run has no samples");
    }
    let (p90, p99) = (stats::needed(0.9), stats::needed(0.99));
    let enough = |least: usize| {
        let values = |it: &&Series| it.samples.iter().filter(|it| it.value.is_some()).count() >= least;
        document.series.iter().filter(values).count()
    };
    Finding::of(
        &faults,
        format!(
            "{samples} samples kept in {} series; p90 (from {p90} samples) given for {}, p99 (from {p99}) for {}",
            document.series.len(),
            enough(p90),
            enough(p99)
        ),
    )
}

/// What the lab adds to a hand-written loop, ns: the median over rounds of the paired difference.
/// None where either row is missing.
pub(crate) fn lab_share(document: &Document) -> Option<(f64, usize)> {
    let rounds = |name: &str| {
        startup(document, "ready")
            .find(|it| it.contender == name && it.parameters.aa != Some(true) && it.mode != Mode::Cold)
            .map(stats::by_round)
    };
    let (process, hand) = (rounds("process")?, rounds(HAND_LOOP)?);
    let differences: Vec<f64> =
        process.iter().filter_map(|(round, value)| Some(value - hand.get(round)?)).collect();
    Some((stats::median(&differences)?, differences.len()))
}

/// 21: calibration rows are there, and the lab's own share is small.
pub(super) fn lab_is_calibrated(document: &Document) -> Finding {
    if startup(document, "ready").next().is_none() && !document.series.is_empty() {
        return Finding::not_checkable("this run measured no start-up");
    }
    let mut faults = Vec::new();
    let mut notes = Vec::new();
    for name in ["process", "floor", HAND_LOOP] {
        match document.contenders.iter().find(|it| it.name == name) {
            Some(row) if row.status == Status::Measured => {}
            Some(row) if name == "floor" && row.status == Status::Skipped => {
                notes
                    .push(format!("; floor skipped: {}", row.reason.as_deref().unwrap_or("no reason given")));
            }
            _ => faults.push(format!("the calibration row `{name}` was not measured")),
        }
    }
    let evidence = match lab_share(document) {
        Some((share, rounds)) => {
            let text = format!(
                "the lab adds {} to a hand-written loop (median of {rounds} rounds, limit 50 us)",
                duration(share)
            );
            if share > LAB_SHARE_NS {
                faults.push(text.clone());
            }
            text
        }
        None => {
            if faults.is_empty() {
                faults.push("process and hand-loop have no common round".to_owned());
            }
            String::new()
        }
    };
    Finding::of(&faults, evidence + &notes.concat())
}

/// 22: every row lists what is inside its clock.
pub(super) fn clock_contents_are_listed(document: &Document) -> Finding {
    let silent = measured(document).filter(|it| it.inside_clock.is_empty() && it.name != HAND_LOOP);
    let faults: Vec<String> =
        silent.map(|it| format!("{} does not say what is inside its clock", it.name)).collect();
    let count = measured(document).count();
    if count == 0 {
        return nothing_measured();
    }
    Finding::of(
        &faults,
        format!("{count} rows list what is inside the clock; only per-image work is outside"),
    )
}

/// 23: the network is a factor, equal on all sides.
pub(super) fn network_is_equal(document: &Document) -> Finding {
    let with = crate::network::costs(document).len();
    let with = match with {
        0 => String::new(),
        count => format!("; without and with one side by side in the measure network, {count} contenders"),
    };
    let networks: BTreeMap<&str, &str> = startup(document, "ready")
        .map(|it| (it.parameters.network.as_deref().unwrap_or("not recorded"), it.contender.as_str()))
        .collect();
    match networks.len() {
        0 if !with.is_empty() => Finding::passed(format!("the network is a factor{with}")),
        0 => Finding::not_checkable("this run measured no start-up"),
        1 if networks.contains_key("not recorded") => Finding::failed("no series records its network"),
        1 => Finding::passed(format!(
            "network `{}` for everybody{with}",
            networks.keys().next().unwrap_or(&"")
        )),
        _ => {
            let each = networks.iter().map(|(network, who)| format!("`{network}` ({who} ...)"));
            Finding::failed(format!("different networks: {}", each.collect::<Vec<_>>().join(", ")))
        }
    }
}

/// 24: full command lines; which tuned rows stand beside the defaults.
pub(super) fn command_lines_are_there(document: &Document) -> Finding {
    let silent = measured(document).filter(|it| it.command.iter().all(String::is_empty));
    let faults: Vec<String> = silent.map(|it| format!("{} has no command line", it.name)).collect();
    let count = measured(document).count();
    if count == 0 {
        return nothing_measured();
    }
    let tuned = measured(document).any(|it| it.name == "qemu-microvm");
    let pair = if tuned {
        "the best-known VM row (qemu-microvm) stands beside the default"
    } else {
        "the best-known VM row (qemu-microvm) is not in this run: the VM figure is the default's"
    };
    Finding::of(&faults, format!("{count} rows carry their full command line; {pair}"))
}

/// 25: failures are rows.
pub(super) fn failures_are_rows(document: &Document) -> Finding {
    let mut faults = Vec::new();
    for contender in &document.contenders {
        let samples = document.series.iter().filter(|it| it.contender == contender.name);
        let samples: Vec<_> = samples.flat_map(|it| &it.samples).collect();
        let values = samples.iter().filter(|it| it.value.is_some()).count();
        let name = &contender.name;
        match contender.status {
            Status::Measured if values == 0 => faults.push(format!("{name} is `measured` without a value")),
            Status::Failed if samples.is_empty() => faults.push(format!("{name} failed without a sample")),
            Status::Failed if values > 0 => faults.push(format!("{name} is `failed` with {values} values")),
            Status::Failed | Status::Skipped if contender.reason.as_deref().unwrap_or("").is_empty() => {
                faults.push(format!("{name} gives no reason"));
            }
            _ => {}
        }
    }
    let all = document.series.iter().flat_map(|it| &it.samples);
    let failed = all.filter(|it| it.failure.is_some()).count();
    Finding::of(&faults, format!("{failed} failed samples are kept, success rates stand in every table"))
}

/// 26: the census before equals the census after, and no sample leaked.
pub(super) fn nothing_leaked(document: &Document) -> Finding {
    let all = document.series.iter().flat_map(|it| &it.samples);
    let leaks = all.filter(|it| it.failure == Some(Failure::Leak)).count();
    if leaks > 0 {
        return Finding::failed(format!("{leaks} samples left something behind"));
    }
    match &document.run.census {
        None => Finding::not_checkable("the run has no census of before and after"),
        Some(census) if census.before != census.after => {
            let (before, after) = (counted(&census.before), counted(&census.after));
            Finding::failed(format!("the census changed: before {before}; after {after}"))
        }
        Some(census) => {
            Finding::passed(format!("no leaked sample; before and after: {}", counted(&census.before)))
        }
    }
}

fn counted(census: &Census) -> String {
    let Census { processes, mounts, cgroups, namespaces, links, files } = census;
    format!(
        "{processes} processes, {mounts} mounts, {cgroups} cgroups, {namespaces} namespaces, {links} links, {files} files"
    )
}

/// 27: the host is named, and the page speaks of it alone.
pub(super) fn host_is_named(document: &Document) -> Finding {
    let host = &document.host;
    if host.kernel.is_empty() || host.cpu.is_empty() || host.cpus == 0 || host.memory_bytes == 0 {
        return Finding::failed("kernel, CPU, number of CPUs or memory is not recorded");
    }
    Finding::passed(format!("this host only: {}", fingerprint(document)))
}

/// What tells hosts apart, on one line.
pub(crate) fn fingerprint(document: &Document) -> String {
    let host = &document.host;
    let memory = crate::units::bytes(host.memory_bytes as f64);
    format!(
        "{} x {}, {memory}, Linux {}, hypervisor {}, cgroup {}",
        host.cpus, host.cpu, host.kernel, host.hypervisor, host.cgroup
    )
}
