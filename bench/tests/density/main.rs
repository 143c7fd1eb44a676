//! Density: the search exactly, with a scripted contender; and on real boxes.

#[path = "../common/mod.rs"]
mod common;
mod edges;
mod engine;
mod scripted;

use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::{Guard, document, left_of, root, row, tare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tare::contenders::floor::FloorConfined;
use tare::contenders::process::PlainProcess;
use tare::contenders::tare::Tare;
use tare::contenders::{Contender, Surroundings};
use tare::host::{census, memory};
use tare::lab::{Beat, Lab, Multitude};
use tare::measures::Pass;
use tare::measures::density::Density;
use tare::record::{Record, Visit};
use tare::site::Site;
use tare_reports::document::{Document, Failure, Mode, Series};

/// The largest number that was found, with its series.
fn found<'a>(document: &'a Document, contender: &str, state: &str) -> &'a Series {
    let mut all = document.series.iter().filter(|it| it.measure == "density" && it.contender == contender);
    let one = all.find(|it| it.quantity == state && it.parameters.instances.is_none());
    one.unwrap_or_else(|| panic!("{contender} has no {state}; its row: {:?}", row(document, contender)))
}

/// What was seen of so many boxes.
fn rung<'a>(document: &'a Document, state: &'a str, quantity: &'a str, boxes: u32) -> Option<&'a Series> {
    document.series.iter().find(|it| {
        it.quantity == quantity
            && it.parameters.state.as_deref() == Some(state)
            && it.parameters.instances == Some(boxes)
    })
}

/// The search of one contender, idle, in this process: on a site whose cgroups lie below `parent`.
fn search(contender: &mut dyn Contender, site: &Site, hold: Duration) -> (Document, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let surroundings = Surroundings { root: true, kvm: tare::vm::kvm::Kvm::Unknown("not needed".into()) };
    contender.probe(&surroundings).unwrap();
    contender.prepare(site).unwrap();
    let mut record = Record::create(dir.path(), blank()).unwrap();
    let errors = dir.path().join("stderr");
    let mut lab = Lab::open_in(env!("CARGO_BIN_EXE_tare").as_ref(), &errors, 1, site.birthplaces()).unwrap();
    let patient = Duration::from_millis(common::PATIENT.parse().unwrap());
    let density = Density::holding(hold, patient);
    let parameters = density.settings(contender).remove(0);
    let name = contender.name().to_owned();
    let mut visit = Visit {
        record: &mut record,
        measure: "density",
        contender: &name,
        mode: Mode::Warm,
        round: 0,
        position: 0,
        parameters: &parameters,
    };
    density.visit(&mut lab, site, contender, &mut visit);
    contender.finish(site).unwrap();
    (record.document, dir)
}

/// A document without results.
fn blank() -> Document {
    let run = json!({"id": format!("density-{}", std::process::id()), "started": "2026-11-28T00:00:00Z", "seed": 1,
        "profile": "quick", "complete": false, "reliable": false, "tare": "test"});
    let host = json!({"kernel": "x", "cpu": "x", "cpus": 1, "memory_bytes": 1, "hypervisor": "none", "cgroup": "v1",
        "kvm": "absent"});
    let document = json!({"schema": tare_reports::document::SCHEMA, "run": run, "host": host, "contenders": [],
        "series": [], "audit": []});
    serde_json::from_value(document).unwrap()
}

/// One at a time: what one of them lacks the others would feel too.
static EDGE: Mutex<()> = Mutex::new(());

fn one_at_a_time() -> MutexGuard<'static, ()> {
    EDGE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn an_interrupted_search_is_interrupted_and_leaves_nothing_behind() {
    // The other tests' edges would be this search's edge, and end it before it is interrupted.
    let _turn = one_at_a_time();
    let out = tempfile::tempdir().unwrap();
    let said = out.path().join("stderr");
    let mut command = tare(out.path(), &["density", "--only", "process", "--rounds", "1"]);
    let errors = std::fs::File::create(&said).unwrap();
    command.env("TARE_CANARY", common::PATIENT);
    let mut run = Guard(command.stdout(Stdio::null()).stderr(errors).spawn().unwrap());
    let samples = out.path().join("latest/samples.jsonl");
    let rungs = || std::fs::read_to_string(&samples).unwrap_or_default();
    let began = Instant::now();
    while !rungs().contains("\"instances\":16}") {
        let over = run.0.try_wait().unwrap().is_some() || began.elapsed() > Duration::from_secs(120);
        assert!(!over, "16 boxes are not reached: {}\n{}", rungs(), std::fs::read_to_string(&said).unwrap());
        std::thread::sleep(Duration::from_millis(20));
    }
    kill(Pid::from_raw(run.0.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(run.0.wait().unwrap().code(), Some(130));
    let document = document(out.path());
    let mut cut = document.series.iter().filter(|it| it.parameters.instances.is_none());
    let last = cut.find_map(|it| it.samples.last()).unwrap();
    assert_eq!(last.failure, Some(Failure::Interrupted), "{last:?}");
    assert_eq!(left_of(&document.run.id), Vec::<std::path::PathBuf>::new());
}

/// Time until READY of 300 plain processes, one at a time: what a tenth of them undercut, ns. That is what a start costs;
/// the median is also what others on this machine do meanwhile.
fn process_ready(lab: &mut Lab, site: &Site) -> u64 {
    let mut times = Vec::new();
    for _ in 0..300 {
        let one = lab.start(&mut PlainProcess, site).unwrap();
        times.push(one.ready_ns);
        assert!(lab.stop(&mut PlainProcess, site, one).teardown_ns.is_ok(), "the multitude is no leak");
    }
    times.sort_unstable();
    times[times.len() / 10]
}

#[test]
fn boxes_that_serve_are_given_one_request_each_second_and_all_are_counted() {
    if !root() {
        return;
    }
    common::binaries();
    let _turn = one_at_a_time();
    let dir = tempfile::tempdir().unwrap();
    let site = Site::create(&format!("density-serving-{}", std::process::id())).unwrap();
    let mut lab = Lab::open(env!("CARGO_BIN_EXE_tare").as_ref(), &dir.path().join("stderr"), 1).unwrap();
    let mut multitude = Multitude::default();
    let grown = lab.grow(&mut PlainProcess, &site, &mut multitude, (12, None), &mut || Ok(()));
    assert_eq!((grown.failed, multitude.len()), (None, 12));
    let beat = |work: &str| Beat {
        pings: 60,
        over: Duration::from_secs(3),
        work: Some(work.into()),
        patience: Duration::from_secs(5),
    };
    let heard = lab.canary(&mut multitude, &beat("burn 1")).unwrap();
    assert!(heard.pings.iter().all(Result::is_ok) && heard.lost.is_empty(), "{heard:?}");
    // Three seconds, twelve boxes.
    assert_eq!((heard.done.asked, heard.done.served, heard.done.strange), (36, 36, None));
    // What a box does not do is no service.
    let heard = lab.canary(&mut multitude, &beat("frown 1")).unwrap();
    assert_eq!((heard.done.asked, heard.done.served), (36, 0));
    assert_eq!(heard.done.strange.as_deref(), Some("ERR frown unknown command"));
    lab.shrink(&mut PlainProcess, &site, &mut multitude, 0).unwrap();
    site.remove().unwrap();
}

#[test]
fn the_lab_is_not_the_result() {
    if !root() {
        return;
    }
    common::binaries();
    let _turn = one_at_a_time();
    // TARE_BOXES=10000 is what the design promises, for a machine that does nothing else meanwhile.
    let asked: Option<u32> = std::env::var("TARE_BOXES").ok().map(|it| it.parse().unwrap());
    let (boxes, most) = asked.map_or((300, 1.5), |it| (it, 1.1));
    let dir = tempfile::tempdir().unwrap();
    let site = Site::create(&format!("density-lab-{}", std::process::id())).unwrap();
    let mut lab = Lab::open(env!("CARGO_BIN_EXE_tare").as_ref(), &dir.path().join("stderr"), 1).unwrap();
    let surroundings = Surroundings { root: true, kvm: tare::vm::kvm::Kvm::Unknown("not needed".into()) };
    let mut contender: Box<dyn Contender> = match std::env::var("TARE_CONTENDER").as_deref() {
        Ok("floor-confined") => Box::new(FloorConfined::default()),
        _ => Box::new(Tare::default()),
    };
    contender.probe(&surroundings).unwrap();
    contender.prepare(&site).unwrap();
    let before = census::take(&site, lab.spawner_pid());
    let none = process_ready(&mut lab, &site);
    let mut multitude = Multitude::default();
    let base = memory::settled().unwrap().bytes;
    for rung in [boxes / 10, boxes / 2, boxes] {
        let from = multitude.len();
        let grown = lab.grow(contender.as_mut(), &site, &mut multitude, (rung, None), &mut || Ok(()));
        assert_eq!((grown.failed, multitude.len()), (None, rung));
        let each = grown.wall_ns / u64::from(rung - from);
        let last = common::median(grown.starts[grown.starts.len().saturating_sub(32)..].to_vec());
        let host = memory::settled().unwrap().bytes.saturating_sub(base) / u64::from(rung);
        let over = Duration::from_millis(u64::from(rung.max(1000)) * 2);
        let beat = Beat { pings: rung.max(1000), over, work: None, patience: Duration::from_secs(5) };
        let heard = lab.canary(&mut multitude, &beat).unwrap();
        let mut late: Vec<u64> = heard.pings.iter().map(|it| *it.as_ref().unwrap()).collect();
        late.sort_unstable();
        eprintln!(
            "{} at {rung}: {} ns each by the wall, the last 32 ready after {last} ns, {host} bytes of the host each, \
             {} pings: median {} ns, p99 {} ns, all answered",
            contender.name(),
            each,
            late.len(),
            late[late.len() / 2],
            late[late.len() * 99 / 100]
        );
        assert!(heard.lost.is_empty(), "{:?}", heard.lost);
    }
    let many = process_ready(&mut lab, &site);
    let began = Instant::now();
    lab.shrink(contender.as_mut(), &site, &mut multitude, 0).unwrap();
    let cleared = began.elapsed();
    eprintln!(
        "process ready after {none} ns with none held, {many} ns with {boxes}; all gone in {cleared:?}"
    );
    let after = census::settle(&site, lab.spawner_pid(), &before, Duration::from_secs(20));
    eprintln!("before {before:?}, after {after:?}");
    site.remove().unwrap();
    assert_eq!((after.processes, after.mounts, after.files), (before.processes, before.mounts, before.files));
    assert_eq!(after.cgroups, before.cgroups);
    assert!(cleared < Duration::from_secs(120), "{cleared:?}");
    assert!(many as f64 <= none as f64 * most, "{many} ns with {boxes} held, {none} ns with none");
}
