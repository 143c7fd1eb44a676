//! `tare doctor`.

mod limits;

use std::fmt::Write;

use anyhow::Result;
use serde_json::json;
use tare_reports::document::{Contender, Document, Host, Run, SCHEMA, Verdict};

use super::{print_bytes, print_json};
use crate::cli::DoctorArgs;
use crate::run::{Selection, look};

/// Says what this host can measure.
///
/// # Errors
/// When the script of scripted contenders is broken, or a contender is named that there is not.
pub fn doctor(args: &DoctorArgs) -> Result<i32> {
    // A wrong name is said before KVM is probed.
    let limits = args.instances.map(|_| limits::look(args)).transpose()?;
    let (host, contenders) = look(&Selection::default())?;
    let document = unmeasured(host, contenders);
    let mut audit = tare_reports::audit::audit(&document);
    // Nothing was measured, so nothing can have failed: these items wait for a run.
    for item in audit.iter_mut().filter(|item| item.verdict == Verdict::Failed) {
        item.verdict = Verdict::NotCheckable;
        item.evidence = format!("needs a run: {}", item.evidence);
    }
    if args.json {
        let Document { host, contenders, .. } = document;
        let mut all = json!({"host": host, "contenders": contenders, "audit": audit});
        if let Some(limits) = limits {
            all["limits"] = serde_json::to_value(limits)?;
        }
        return print_json(&all);
    }
    let host = &document.host;
    let mut out = String::new();
    writeln!(out, "host")?;
    let memory = format!("{:.1} GiB", host.memory_bytes as f64 / f64::from(1 << 30));
    let cpus = format!("{} x {}", host.cpus, host.cpu);
    let facts = [
        ("kernel", &host.kernel),
        ("cpu", &cpus),
        ("memory", &memory),
        ("hypervisor", &host.hypervisor),
        ("cgroup", &host.cgroup),
        ("kvm", &host.kvm),
    ];
    for (name, value) in facts.into_iter().chain(host.facts.iter().map(|(k, v)| (k.as_str(), v))) {
        writeln!(out, "  {name:<14} {value}")?;
    }
    writeln!(out, "contenders")?;
    for row in &document.contenders {
        let state = row.reason.as_deref().map_or_else(|| "can run".into(), |why| format!("skipped: {why}"));
        writeln!(out, "  {:<14} {state}", row.name)?;
        if let Some(fix) = &row.fix {
            writeln!(out, "  {:<14} fix: {fix}", "")?;
        }
    }
    writeln!(out, "the 27 ways to go wrong, as far as they can be judged without a run")?;
    for item in &audit {
        let verdict = match item.verdict {
            Verdict::Passed => "passed",
            Verdict::Failed => "failed",
            Verdict::NotCheckable => "not checkable",
            Verdict::ByDesign => "by design",
        };
        writeln!(out, "  {:>2} {verdict:<14} {}: {}", item.item, item.title, item.evidence)?;
    }
    if let Some(limits) = limits {
        out.push_str(&limits::text(&limits, &args.only)?);
    }
    print_bytes(out.as_bytes())
}

/// A document of a run in which nothing was measured: what an audit can be asked without one.
fn unmeasured(host: Host, contenders: Vec<Contender>) -> Document {
    let run = Run {
        id: "doctor".into(),
        started: jiff::Timestamp::now().to_string(),
        finished: None,
        seed: 0,
        profile: "none".into(),
        complete: false,
        reliable: false,
        unreliable_because: vec!["nothing was measured".into()],
        tare: crate::VERSION.into(),
        command: std::env::args().collect(),
        readings: Vec::new(),
        census: None,
        left_out: Vec::new(),
        host_changes: Vec::new(),
        merged_from: Vec::new(),
    };
    Document { schema: SCHEMA, run, host, contenders, series: Vec::new(), audit: Vec::new(), sameness: None }
}
