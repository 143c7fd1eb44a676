//! The curves: open loop proven with exact numbers on a scripted contender, and both on real boxes.

mod common;

use std::path::PathBuf;
use std::time::Duration;

use common::{document, finish, left_of, root, tare};
use serde_json::{Value, json};
use tare::contenders::{Contender, fake};
use tare::lab::{Arrival, Lab, Schedule};
use tare::site::Site;
use tare::spawner::protocol::Launch;
use tare_reports::document::{Document, Failure, Series};

/// Virtual service time of the scripted contender, ns.
const SERVICE: u64 = 1000;

fn took(ready: u64) -> Value {
    json!({"Took": {"ready": ready, "teardown": 1, "cpu": 1}})
}

fn volley(visits: &Value, count: u32, interval: u64) -> Vec<Arrival> {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script.json");
    std::fs::write(&script, json!({"contenders": [{"name": "fake", "visits": visits}]}).to_string()).unwrap();
    let mut contender: Box<dyn Contender> = fake::from_file(&script).unwrap().remove(0);
    let site = Site::create_in(&dir.path().join("sites"), "volley-test").unwrap();
    let mut lab = Lab::open(env!("CARGO_BIN_EXE_tare").as_ref(), &dir.path().join("stderr"), 1).unwrap();
    let schedule = Schedule { count, interval: Duration::from_nanos(interval) };
    lab.volley(contender.as_mut(), &site, schedule)
}

fn ready(arrivals: &[Arrival]) -> Vec<u64> {
    arrivals.iter().map(|it| *it.ready_ns.as_ref().unwrap()).collect()
}

#[test]
fn above_capacity_the_latency_grows_with_the_queue_exactly() {
    // A start every 400 ns, and each takes 1,000: the k-th waits for k that each took 600 too long.
    let arrivals = volley(&json!([took(SERVICE)]), 50, 400);
    let expected: Vec<u64> = (0..50).map(|k| k * (SERVICE - 400) + SERVICE).collect();
    assert_eq!(ready(&arrivals), expected);
    assert_eq!(*expected.last().unwrap(), 30_400, "thirty times what a closed loop would say");
    assert!(arrivals.iter().all(|it| it.late_ns == Ok(0)), "no start waited for an answer");
    // All at once is the limit of that: nothing but the queue.
    let at_once: Vec<u64> = (1..=50).map(|k| k * SERVICE).collect();
    assert_eq!(ready(&volley(&json!([took(SERVICE)]), 50, 0)), at_once);
}

#[test]
fn at_and_below_capacity_nothing_waits() {
    for interval in [SERVICE, SERVICE + 1, 5 * SERVICE] {
        assert_eq!(
            ready(&volley(&json!([took(SERVICE)]), 20, interval)),
            [SERVICE; 20],
            "every {interval} ns"
        );
    }
    // One that takes long makes those behind it wait, until the queue has been worked off: 300 ns are made
    // good with each start.
    let slow =
        json!([took(1000), took(2000), took(700), took(700), took(700), took(700), took(700), took(700)]);
    assert_eq!(ready(&volley(&slow, 8, 1000)), [1000, 2000, 1700, 1400, 1100, 800, 700, 700]);
}

#[test]
fn a_start_that_fails_is_a_row_and_does_not_hold_up_the_others() {
    let visits = json!([took(1000), {"Failed": {"failure": "crash", "detail": "it fell over"}}, took(1000)]);
    let arrivals = volley(&visits, 3, 0);
    assert_eq!(arrivals[1].ready_ns.as_ref().unwrap_err().failure, Failure::Crash);
    assert_eq!(arrivals[1].late_ns, arrivals[1].ready_ns, "a start without an answer has no figure at all");
    assert_eq!((arrivals[0].ready_ns.clone(), arrivals[2].ready_ns.clone()), (Ok(1000), Ok(2000)));
}

/// Starts a program that never says a word.
#[derive(Debug)]
struct Mute;

impl Contender for Mute {
    fn description(&self) -> tare::contenders::Description<'_> {
        tare::contenders::Description { name: "mute", ..Default::default() }
    }

    fn probe(
        &mut self,
        _: &tare::contenders::Surroundings,
    ) -> Result<tare::contenders::Found, tare::contenders::Missing> {
        unreachable!("nobody asks")
    }

    fn launch(&mut self, _: &Site, _: &tare::site::Start) -> anyhow::Result<Launch> {
        let argv = vec!["/bin/sleep".into(), "100".into()];
        Ok(Launch::Command { argv, env: Vec::new(), overlay: None, dies_with_parent: false })
    }

    fn command(&mut self, _: &Site) -> Vec<String> {
        Vec::new()
    }
}

#[test]
fn a_volley_ends_with_the_runs_time_and_then_has_no_figures() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::create_in(&dir.path().join("sites"), "cut-test").unwrap();
    let mut lab = Lab::open(env!("CARGO_BIN_EXE_tare").as_ref(), &dir.path().join("stderr"), 1).unwrap();
    let schedule = Schedule { count: 6, interval: Duration::ZERO };
    let began = std::time::Instant::now();
    lab.cut_at(Some(lab.elapsed() + Duration::from_millis(300)));
    let arrivals = lab.volley(&mut Mute, &site, schedule);
    assert!(lab.was_cut() && began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let failures: Vec<_> = arrivals.iter().map(|it| it.ready_ns.as_ref().unwrap_err().failure).collect();
    assert_eq!(failures, [Failure::NotMeasured; 6], "its own deadline is 10 s: it did nothing wrong yet");
    // The same in a script's time: three of six are ready when it is over, and none of them is kept.
    let script = dir.path().join("script.json");
    let play = json!({"contenders": [{"name": "fake", "visits": [took(2_000_000_000)]}]});
    std::fs::write(&script, play.to_string()).unwrap();
    let mut contender: Box<dyn Contender> = fake::from_file(&script).unwrap().remove(0);
    lab.cut_at(Some(lab.elapsed() + Duration::from_secs(7)));
    let arrivals = lab.volley(contender.as_mut(), &site, schedule);
    let failed = |it: &Arrival| it.ready_ns.as_ref().is_err_and(|it| it.failure == Failure::NotMeasured);
    assert!(lab.was_cut() && arrivals.iter().all(failed), "{arrivals:?}");
    lab.cut_at(Some(lab.elapsed() + Duration::from_secs(13)));
    assert_eq!(ready(&lab.volley(contender.as_mut(), &site, schedule))[5], 12_000_000_000);
    assert!(!lab.was_cut());
}

#[test]
fn nothing_seen_beside_a_herd_that_lost_one_counts() {
    if !root() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    // With so few descriptors the levels are 0 and 10.
    let plain = tare(out.path(), &["running", "--only", "tare", "--rounds", "1"]);
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", "ulimit -n 104 && exec \"$@\"", "sh"])
        .arg(plain.get_program())
        .args(plain.get_args());
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut run = common::Guard(command.spawn().unwrap());
    let mut killed = 0;
    common::wait_until("a herd to lose one", || {
        let boxes = std::fs::read_link(out.path().join("latest"))
            .map(|run| tare::site::base().join(run).join("boxes"));
        let found = boxes.and_then(std::fs::read_dir).map(|it| it.flatten().collect::<Vec<_>>());
        let herd = found.unwrap_or_default();
        if herd.iter().filter(|it| it.path().extension().is_some_and(|it| it == "pid")).count() >= 10
            && killed == 0
        {
            let text = herd.iter().find_map(|it| std::fs::read_to_string(it.path()).ok()).unwrap();
            killed = text.trim().parse::<i32>().unwrap();
            let pid = nix::unistd::Pid::from_raw(killed);
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        }
        run.0.try_wait().unwrap().is_some()
    });
    assert_ne!(killed, 0, "a herd of ten was seen");
    let document = document(out.path());
    let of = |level: u32| {
        let all = document.series.iter().filter(move |it| it.parameters.running == Some(level));
        all.flat_map(|it| &it.samples).collect::<Vec<_>>()
    };
    assert!(of(0).iter().all(|it| it.value.is_some()) && of(0).len() == 40, "nothing was wrong there");
    assert!(!of(10).is_empty() && of(10).iter().all(|it| it.value.is_none()), "{:?}", of(10));
    assert!(of(10)[0].detail.as_deref().unwrap().contains("the herd"), "{:?}", of(10)[0]);
    assert_eq!(left_of(&document.run.id), Vec::<PathBuf>::new());
}

fn series<'a>(document: &'a Document, quantity: &'a str) -> impl Iterator<Item = &'a Series> {
    document.series.iter().filter(move |it| it.quantity == quantity)
}

#[test]
fn the_measure_records_every_latency_of_the_queue() {
    let out = tempfile::tempdir().unwrap();
    let script = out.path().join("script.json");
    let play = json!({"contenders": [{"name": "fake-a", "visits": [took(SERVICE)]}]});
    std::fs::write(&script, play.to_string()).unwrap();
    let mut command = tare(out.path(), &["concurrency", "running", "--only", "fake-a", "--rounds", "20"]);
    let output = finish(command.env("TARE_FAKE", &script));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let document = document(out.path());
    let cpus = std::thread::available_parallelism().unwrap().get() as u32;
    let of = |measure: &'static str| series(&document, "ready").filter(move |it| it.measure == measure);
    let mut levels: Vec<u32> = of("concurrency").map(|it| it.parameters.concurrency.unwrap()).collect();
    levels.sort_unstable();
    assert_eq!(levels, [1, 2, 4, 8].map(|it| it * cpus));
    for it in of("concurrency") {
        let level = u64::from(it.parameters.concurrency.unwrap());
        let queue: Vec<u64> = (1..=level).map(|k| k * SERVICE).collect();
        let found: Vec<u64> = it.samples.iter().map(|sample| sample.value.unwrap()).collect();
        assert_eq!(found, [queue.clone(), queue].concat(), "a tenth of the rounds");
        assert_eq!((it.parameters.running, it.parameters.network.as_deref()), (Some(0), Some("none")));
    }
    assert!(series(&document, "late").flat_map(|it| &it.samples).all(|it| it.value == Some(0)));
    let mut levels: Vec<u32> = of("running").map(|it| it.parameters.running.unwrap()).collect();
    levels.sort_unstable();
    assert_eq!(levels, [0, 10, 100, 1000]);
    assert!(of("running").flat_map(|it| &it.samples).all(|it| it.value == Some(SERVICE)));
    let page = std::fs::read_to_string(out.path().join("latest/index.html")).unwrap();
    for chart in ["concurrency-ready-warm-curve-t", "running-ready-warm-curve-t"] {
        assert!(page.contains(chart), "{chart} is on the page");
    }
    let audit = document.audit.iter().find(|it| it.item == 18).unwrap();
    assert_eq!(audit.verdict, tare_reports::document::Verdict::Passed, "{}", audit.evidence);
}

#[test]
fn many_real_boxes_start_at_once_and_nothing_is_left() {
    if !root() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let args = ["concurrency", "--only", "process,floor,tare,tare-lib,tare-pool", "--rounds", "1"];
    let output = finish(&mut tare(out.path(), &args));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let document = document(out.path());
    for ready in series(&document, "ready") {
        let level = ready.parameters.concurrency.unwrap();
        let failed = ready.samples.iter().find(|it| it.failure.is_some());
        assert_eq!((ready.samples.len() as u32, failed), (level, None), "{} × {level}", ready.contender);
    }
    // Five contenders on four levels, each with what the lab was late by; and no latency is without it.
    assert_eq!((series(&document, "ready").count(), series(&document, "late").count()), (20, 20));
    let audit = document.audit.iter().find(|it| it.item == 18).unwrap();
    assert_eq!(audit.verdict, tare_reports::document::Verdict::Passed, "{}", audit.evidence);
    assert_eq!(left_of(&document.run.id), Vec::<PathBuf>::new());
}

#[test]
fn a_box_that_dies_in_a_volley_is_a_row_and_the_others_arrive() {
    let out = tempfile::tempdir().unwrap();
    let runtime = out.path().join("tare-runtime");
    // Every third start of this runtime dies before it has made anything.
    let real = common::binaries().join("tare-runtime");
    let text = format!(
        "#!/bin/sh\ncase \"$*\" in *--version*|*delete*) exec {real} \"$@\";; esac\n\
         echo x >> {count}; n=$(wc -l < {count}); [ $((n % 3)) = 0 ] && {{ echo no luck >&2; exit 7; }}\n\
         exec {real} \"$@\"\n",
        real = real.display(),
        count = out.path().join("count").display()
    );
    std::fs::write(&runtime, text).unwrap();
    std::fs::set_permissions(&runtime, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = tare(out.path(), &["concurrency", "--only", "tare", "--rounds", "1"]);
    finish(command.env("TARE_RUNTIME", &runtime).env("PATH", "/usr/bin:/bin"));
    let document = document(out.path());
    let samples: Vec<_> = series(&document, "ready").flat_map(|it| &it.samples).collect();
    let failed: Vec<_> = samples.iter().filter(|it| it.failure.is_some()).collect();
    assert!(!failed.is_empty() && failed.len() < samples.len(), "{} of {}", failed.len(), samples.len());
    for it in failed {
        let detail = it.detail.as_deref().unwrap_or_default();
        assert_eq!(it.failure, Some(Failure::Crash), "{detail}");
        assert!(detail.contains("exit status 7"), "{detail}");
    }
    assert_eq!(left_of(&document.run.id), Vec::<PathBuf>::new());
}

#[test]
fn starts_beside_a_herd_are_measured_and_leave_it_alone() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let site = Site::create(&format!("herd-test-{}", std::process::id())).unwrap();
    let mut lab = Lab::open(env!("CARGO_BIN_EXE_tare").as_ref(), &dir.path().join("stderr"), 1).unwrap();
    let mut contender = tare::contenders::floor::Floor::default();
    let surroundings =
        tare::contenders::Surroundings { root: true, kvm: tare::vm::kvm::Kvm::Unknown("not needed".into()) };
    contender.probe(&surroundings).unwrap();
    contender.prepare(&site).unwrap();
    let mut herd = Vec::new();
    lab.hold(&mut contender, &site, &mut herd, 5).unwrap();
    lab.keep(&herd).unwrap();
    for _ in 0..2 {
        let one = lab.start(&mut contender, &site).unwrap();
        let stopped = lab.stop(&mut contender, &site, one);
        assert!(stopped.teardown_ns.is_ok(), "the herd is no leak: {stopped:?}");
    }
    // Force against one box must not touch the herd: each of it still answers.
    let one = lab.start(&mut contender, &site).unwrap();
    lab.abandon(&mut contender, &site, &one);
    for it in &mut herd {
        lab.alive(&contender, &site, it, None).unwrap();
    }
    lab.release(&mut contender, &site, herd).unwrap();
    site.remove().unwrap();
}
