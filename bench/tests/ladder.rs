//! The ladder on the real kernel: every rung measured in both quantities, and nothing left.

mod common;

use common::{document, finish, left_of, root, row, tare};
use tare_reports::document::{Series, Status};
use tare_reports::ladder::climb;
use tare_runtime::ladder::RUNGS;

#[test]
fn every_rung_is_measured_and_nothing_is_left() {
    if !root() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let output = finish(&mut tare(out.path(), &["ladder", "--only", "tare-lib", "--rounds", "2"]));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let document = document(out.path());
    assert_eq!(row(&document, "tare-lib").status, Status::Measured);
    let ready = climb(&document, "tare-lib", "ready");
    assert_eq!(ready.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), RUNGS);
    let failures = |series: &Series| series.samples.iter().find(|it| it.failure.is_some()).cloned();
    for series in document.series.iter().filter(|it| it.quantity == "ready") {
        assert_eq!(failures(series), None, "{:?}", series.parameters);
        assert_eq!(series.samples.len(), 2);
    }
    let (first, whole) = (ready[0].median.unwrap(), ready[RUNGS.len() - 1].median.unwrap());
    assert!(first < whole, "no box at all took {first} ns, the whole box {whole} ns");
    // Whatever else happens on the host moves single climbs; a process needs its page tables and its stack.
    let memory = climb(&document, "tare-lib", "memory");
    assert_eq!(memory.len(), RUNGS.len());
    assert!(memory.iter().all(|it| it.n + it.failed == 2));
    let mut all: Vec<f64> = memory.iter().filter_map(|it| it.median).collect();
    all.sort_by(f64::total_cmp);
    let middle = all[all.len() / 2] / 1024.0;
    assert!((30.0..10_000.0).contains(&middle), "the middle rung costs {middle} KiB");
    let mut census = document.run.census.clone().unwrap();
    // Other tests' boxes have namespaces too.
    census.before.namespaces = census.after.namespaces;
    assert_eq!(census.before, census.after);
    assert_eq!(left_of(&document.run.id), Vec::<std::path::PathBuf>::new());
}
