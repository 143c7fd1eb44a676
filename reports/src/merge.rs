//! Several runs on one host as one document: what `cargo bench` measures target by target becomes one page.
//!
//! Nothing is averaged and nothing dropped: the series of all runs stand side by side, each run measured something
//! else. Verdicts on the whole (reliable, audit) are computed anew from it.

use std::collections::BTreeSet;

use crate::document::{CensusPair, Class, Contender, Document, Run, Status};

/// Merges these documents, the earliest first, into one of this name. The run says which it came from.
///
/// # Errors
/// In words: none was given, two of them measured the same, or they are of different hosts.
pub fn merge(documents: &[Document], id: &str) -> Result<Document, String> {
    let first = documents.first().ok_or("there is no run to merge")?;
    for other in documents {
        if (&other.host.cpu, other.host.cpus, other.host.memory_bytes)
            != (&first.host.cpu, first.host.cpus, first.host.memory_bytes)
        {
            return Err(format!("runs {} and {} are of different hosts", first.run.id, other.run.id));
        }
    }
    let mut series = Vec::new();
    let mut seen = BTreeSet::new();
    for (document, it) in
        documents.iter().flat_map(|document| document.series.iter().map(move |it| (document, it)))
    {
        if !seen.insert((&it.measure, &it.quantity, it.mode, &it.contender, &it.parameters, it.predicted)) {
            let (measure, contender) = (&it.measure, &it.contender);
            return Err(format!(
                "run {} has {measure} of {contender}, and so has one before it",
                document.run.id
            ));
        }
        series.push(it.clone());
    }
    // Whether KVM works was asked only where a machine was.
    let of_machines = |it: &&Document| it.contenders.iter().any(|row| row.class == Class::Vm);
    let mut host = documents.iter().find(of_machines).unwrap_or(first).host.clone();
    // It was looked for only where it explains something; of several looks the first stands nearest to the boot.
    host.empty_cgroup_bytes = documents.iter().find_map(|it| it.host.empty_cgroup_bytes);
    let mut merged = Document {
        schema: first.schema,
        run: run(documents, first, id),
        host,
        contenders: contenders(documents),
        series,
        audit: Vec::new(),
        sameness: documents.iter().find_map(|it| it.sameness.clone()),
    };
    merged.run.unreliable_because = crate::reliability::check(&merged);
    if !merged.run.complete && merged.run.finished.is_none() {
        merged.run.unreliable_because.push("one of its runs was not finished".to_owned());
    }
    merged.run.reliable = merged.run.unreliable_because.is_empty();
    merged.audit = crate::audit::audit(&merged);
    Ok(merged)
}

fn run(documents: &[Document], first: &Document, id: &str) -> Run {
    let runs = || documents.iter().map(|it| &it.run);
    let finished: Option<Vec<&String>> = runs().map(|it| it.finished.as_ref()).collect();
    let mut versions: Vec<&str> = runs().map(|it| &*it.tare).collect();
    versions.dedup();
    let names: BTreeSet<&str> = documents.iter().flat_map(measured).collect();
    let mut left_out = Vec::new();
    for line in runs().flat_map(|it| &it.left_out) {
        // One run's contender is another's gap; what none has is left out.
        let known = names.iter().any(|name| line.starts_with(&format!("contender {name}: tare run")));
        if !known && !left_out.contains(line) {
            left_out.push(line.clone());
        }
    }
    Run {
        id: id.to_owned(),
        started: first.run.started.clone(),
        finished: finished.and_then(|all| all.last().map(|it| (*it).clone())),
        seed: first.run.seed,
        profile: first.run.profile.clone(),
        complete: runs().all(|it| it.complete),
        reliable: false,
        unreliable_because: Vec::new(),
        tare: versions.join(" and "),
        command: first.run.command.clone(),
        readings: runs().flat_map(|it| it.readings.iter().copied()).collect(),
        census: census(documents),
        left_out,
        host_changes: runs().flat_map(|it| it.host_changes.iter().cloned()).collect(),
        merged_from: runs().map(|it| it.id.clone()).collect(),
    }
}

fn measured(document: &Document) -> impl Iterator<Item = &str> {
    document.contenders.iter().filter(|it| it.status == Status::Measured).map(|it| &*it.name)
}

/// Each run counted before and after itself: the first that left something tells, else the last. None where one of
/// them did not count.
fn census(documents: &[Document]) -> Option<CensusPair> {
    let all: Option<Vec<&CensusPair>> = documents.iter().map(|it| it.run.census.as_ref()).collect();
    let all = all?;
    all.iter().find(|it| it.before != it.after).or(all.last()).map(|it| (*it).clone())
}

/// One row for each contender: that of the run that got farthest with it, with what the others say of it.
fn contenders(documents: &[Document]) -> Vec<Contender> {
    let rank = |it: &Contender| match it.status {
        Status::Measured => 2,
        Status::Failed => 1,
        Status::Skipped => 0,
    };
    let mut rows: Vec<Contender> = Vec::new();
    for row in documents.iter().flat_map(|it| &it.contenders) {
        let Some(known) = rows.iter_mut().find(|it| it.name == row.name) else {
            rows.push(row.clone());
            continue;
        };
        let (better, worse) =
            if rank(row) > rank(known) { (row.clone(), known.clone()) } else { (known.clone(), row.clone()) };
        *known = better;
        known.fetch = known.fetch.take().or(worse.fetch);
        if let Some(reason) = worse.reason
            && worse.status != Status::Measured
            && known.reason.as_ref() != Some(&reason)
        {
            let said = known.reason.take().map(|it| format!("{it}; ")).unwrap_or_default();
            known.reason = Some(format!("{said}{reason}"));
        }
        for line in worse.inside_clock.into_iter().filter(|it| !it.is_empty()) {
            if !known.inside_clock.contains(&line) {
                known.inside_clock.push(line);
            }
        }
    }
    rows
}
