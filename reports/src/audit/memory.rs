//! Items that a run can be held to once it measures memory.

use super::Finding;
use crate::document::{Class, Contender, Document, Series, Status};
use crate::memory::{self, Cost, GUEST_RAM, MEASURE, Method, UNEXPLAINED};
use crate::units::{bytes, percent};

/// The quantities that measure memory, and the kernel's field that each reads.
const FIELDS: [(&str, &str); 7] = [
    ("pss", "Pss of smaps_rollup"),
    ("cgroup", "the memory controller's usage"),
    ("host", "MemTotal - MemFree - Buffers - Cached + Shmem of meminfo"),
    ("peak", "the memory controller's high-water mark"),
    ("smallest", "the guest RAM on the command line"),
    ("ksm", "as host, of machines whose RAM may be merged"),
    (memory::KEPT, "the memory controller's usage once all that can be taken back was"),
];

/// Those whose ledger must add up.
const ACCOUNTED: [&str; 3] = ["tare", "runc", "qemu"];

/// So many times the host's change, and PSS has counted something twice.
const TWICE: f64 = 1.15;

/// Hands the memory series to a check, or says that there are none.
fn measured(document: &Document, check: impl Fn(&[&Series]) -> Finding) -> Finding {
    let series: Vec<&Series> = document.series.iter().filter(|it| it.measure == MEASURE).collect();
    if !series.iter().flat_map(|it| &it.samples).any(|it| it.value.is_some()) {
        return Finding::not_checkable("this run measured no memory");
    }
    check(&series)
}

/// The contenders that have a value of this quantity.
fn with<'a>(document: &'a Document, series: &[&Series], quantity: &str) -> Vec<&'a Contender> {
    let has = |row: &&Contender| {
        let own = series.iter().filter(|it| it.contender == row.name && it.quantity == quantity);
        row.status == Status::Measured && own.flat_map(|it| &it.samples).any(|it| it.value.is_some())
    };
    document.contenders.iter().filter(has).collect()
}

/// Those with the host's change that lack another quantity: its series, not its value, for it may be that it cannot
/// be seen here, which its samples then say.
fn lacking(document: &Document, series: &[&Series], wanted: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    for quantity in wanted {
        if series.iter().all(|it| it.quantity != *quantity) {
            faults.push(format!("the quantity `{quantity}` is missing"));
            continue;
        }
        for row in with(document, series, "host") {
            if !series.iter().any(|it| it.contender == row.name && it.quantity == *quantity) {
                faults.push(format!("{} has no `{quantity}`", row.name));
            }
        }
    }
    faults
}

/// 9: PSS, checked against the host's own change; never a sum of RSS.
pub(super) fn memory_is_pss_and_host(document: &Document) -> Finding {
    measured(document, |series| {
        let mut faults = lacking(document, series, &["pss", "host"]);
        let mut most = 0.0_f64;
        for cost in memory::costs(document) {
            let (Some(pss), Some(host)) = (cost.by(Method::Pss), cost.by(Method::Host)) else { continue };
            let surely = pss.interval.map_or(pss.each, |it| it.low)
                - host.interval.map_or(host.each, |it| it.high) * TWICE;
            if surely > 0.0 {
                let (name, pss, host) = (&cost.contender, bytes(pss.each), bytes(host.each));
                faults.push(format!("{name}: PSS sees {pss} of a box where the host lost {host}"));
            }
            most = most.max(if host.each > 0.0 { pss.each / host.each } else { 0.0 });
        }
        let evidence =
            format!("`pss` beside `host`; PSS sees at most {} of what the host lost", percent(most));
        Finding::of(&faults, evidence)
    })
}

/// 10: the metric names its kernel field; no virtual size.
pub(super) fn memory_names_its_field(document: &Document) -> Finding {
    measured(document, |series| {
        let known = |it: &&&Series| FIELDS.iter().any(|(name, _)| it.quantity == *name);
        let unknown = series.iter().filter(|it| !known(it));
        let faults: Vec<String> =
            unknown.map(|it| format!("`{}` of {} is no known field", it.quantity, it.contender)).collect();
        let there = FIELDS.iter().filter(|(name, _)| series.iter().any(|it| it.quantity == *name));
        let each: Vec<String> = there.map(|(name, field)| format!("{name}: {field}")).collect();
        Finding::of(&faults, each.join("; "))
    })
}

/// 11: the ledger with all its lines.
pub(super) fn memory_has_a_ledger(document: &Document) -> Finding {
    measured(document, |_| {
        let costs = memory::costs(document);
        if costs.iter().all(|it| it.by(Method::Host).is_none()) {
            return Finding::not_checkable(
                "no box was looked at with two numbers of them: there is no slope to account for",
            );
        }
        let mut faults = Vec::new();
        let mut each = Vec::new();
        for cost in costs.iter().filter(|it| it.by(Method::Host).is_some()) {
            let name = format!("{} {}", cost.contender, cost.state);
            let Some(ledger) = &cost.ledger else {
                faults.push(format!("{name} has no ledger"));
                continue;
            };
            if cost.class == Class::Vm {
                let absent = [GUEST_RAM, "VMM"].into_iter().filter(|it| ledger.line(it).is_none());
                faults.extend(absent.map(|line| format!("{name} has no line `{line}`")));
            }
            if !ledger.adds_up() && ACCOUNTED.contains(&&*cost.contender) {
                faults.push(format!(
                    "{name}: {} is unexplained (limit {})",
                    percent(ledger.share),
                    percent(UNEXPLAINED)
                ));
            }
            each.push(format!("{name} {}", percent(ledger.share)));
        }
        Finding::of(&faults, format!("unexplained: {}", each.join(", ")))
    })
}

/// 12: guest RAM on a named memory backend.
pub(super) fn guest_ram_is_named(document: &Document) -> Finding {
    measured(document, |series| {
        let vms: Vec<&Contender> = document
            .contenders
            .iter()
            .filter(|it| it.class == Class::Vm && it.status == Status::Measured)
            .collect();
        let vms: Vec<&&Contender> =
            vms.iter().filter(|it| series.iter().any(|one| one.contender == it.name)).collect();
        if vms.is_empty() {
            return Finding::not_checkable("no VM's memory was measured");
        }
        let named = |it: &Contender| it.command.iter().any(|word| word.contains("memory-backend"));
        let mut faults: Vec<String> = vms
            .iter()
            .filter(|it| !named(it))
            .map(|it| format!("{} has no memory-backend on its command line", it.name))
            .collect();
        let blind = |it: &&Cost| it.ledger.as_ref().is_some_and(|ledger| ledger.line(GUEST_RAM).is_none());
        let costs = memory::costs(document);
        let blind = costs.iter().filter(|it| it.class == Class::Vm).filter(blind);
        faults.extend(
            blind.map(|it| format!("guest RAM of {} {} was not seen by its name", it.contender, it.state)),
        );
        Finding::of(
            &faults,
            format!("{} VMs have their RAM on a named memory backend, read by its name", vms.len()),
        )
    })
}

/// 13: with page cache, without, and the host's change.
pub(super) fn page_cache_is_told_apart(document: &Document) -> Finding {
    measured(document, |series| {
        let mut faults = lacking(document, series, &["pss", "cgroup", "host"]);
        let ledgers: Vec<_> = memory::costs(document).into_iter().filter_map(|it| it.ledger).collect();
        let apart = ledgers.iter().filter(|it| it.line("page cache and tmpfs").is_some()).count();
        if apart == 0 {
            faults.push("no ledger has a line for page cache and tmpfs".to_owned());
        }
        Finding::of(
            &faults,
            format!(
                "`host` leaves page cache out, `cgroup` holds what the box was the first to touch, `pss` what it maps; \
                 a line of its own in {apart} of {} ledgers",
                ledgers.len()
            ),
        )
    })
}
