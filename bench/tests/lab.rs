//! The lab itself, on boxes made for the test: where its clock starts and ends, and whose clock it is.

use std::time::{Duration, Instant};

use anyhow::Result;
use tare::clock;
use tare::contenders::{Contender, Description, Found, Missing, Surroundings};
use tare::lab::{Failed, Lab, Stopped};
use tare::site::{Site, Start};
use tare::spawner::protocol::Launch;
use tare_reports::document::{Accel, Class, Failure};

/// A box that is a shell script; `$0` is the nonce.
#[derive(Debug)]
struct Script {
    /// What the lab does per instance before it starts anything.
    preparation: Duration,
    text: &'static str,
    noisy: bool,
}

impl Contender for Script {
    fn description(&self) -> Description<'_> {
        Description {
            name: "script",
            class: Class::Process,
            about: "a shell script",
            noisy_channel: self.noisy,
            ..Description::default()
        }
    }

    fn probe(&mut self, _: &Surroundings) -> Result<Found, Missing> {
        Ok(Found { version: "-".into(), accel: Accel::Native, not_expressed: Vec::new() })
    }
    fn launch(&mut self, _: &Site, start: &Start) -> Result<Launch> {
        std::thread::sleep(self.preparation);
        let argv = ["/bin/sh", "-c", self.text, &start.nonce].map(str::to_owned).to_vec();
        let env = vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
        Ok(Launch::Command { argv, env, overlay: None, dies_with_parent: false })
    }
    fn command(&mut self, _: &Site) -> Vec<String> {
        Vec::new()
    }
    fn deadline(&self) -> Duration {
        Duration::from_secs(5)
    }
}

fn with_lab<T>(test: impl FnOnce(&mut Lab, &Site) -> T) -> T {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::create_in(&dir.path().join("sites"), "lab-test").unwrap();
    let mut lab = Lab::open(env!("CARGO_BIN_EXE_tare").as_ref(), &dir.path().join("stderr"), 1).unwrap();
    test(&mut lab, &site)
}

/// `READY` time of a script with the time that the test saw pass around it, ns.
fn timed(mut script: Script) -> (u64, u64) {
    with_lab(|lab, site| {
        let before = clock::now_ns();
        let instance = lab.start(&mut script, site).unwrap();
        let around = clock::now_ns() - before;
        let ready = instance.ready_ns;
        let stopped = lab.stop(&mut script, site, instance);
        assert!(stopped.teardown_ns.is_ok(), "{stopped:?}");
        (ready, around)
    })
}

#[test]
fn one_clock_from_the_first_call_to_the_nonce() {
    // What is done per instance before the start counts, and so does what the box does before READY.
    let slow = Script {
        preparation: Duration::from_millis(40),
        text: "sleep 0.06; echo READY $0; read line; exit 0",
        noisy: false,
    };
    let (ready, around) = timed(slow);
    assert!(ready >= 100_000_000, "40 ms before the start and 60 ms before READY count: {ready} ns");
    assert!(ready <= around, "{ready} ns within {around} ns");
}

#[test]
fn what_comes_after_the_nonce_is_not_in_the_figure() {
    let late = Script {
        preparation: Duration::ZERO,
        text: "echo READY $0; sleep 0.3; read line; exit 0",
        noisy: false,
    };
    let (ready, _) = timed(late);
    assert!(ready < 250_000_000, "300 ms after READY do not count: {ready} ns");
}

#[test]
fn guest_clocks_stay_inside_the_guest() {
    let liar = Script {
        preparation: Duration::ZERO,
        text: "echo clock/ready/monotonic 999999999999; sleep 0.03; echo READY $0; read line; exit 0",
        noisy: true,
    };
    let (ready, around) = timed(liar);
    assert!((30_000_000..=around).contains(&ready), "the host's clock: {ready} ns within {around} ns");
}

#[test]
fn another_line_than_ready_with_our_nonce_is_a_wrong_answer() {
    let texts = ["echo READY 0000; read line", "echo hello; echo READY $0; read line"];
    for text in texts {
        let mut script = Script { preparation: Duration::ZERO, text, noisy: false };
        let failed = with_lab(|lab, site| lab.start(&mut script, site).unwrap_err());
        assert_eq!(failed.failure, Failure::WrongAnswer, "{failed:?}");
    }
}

#[test]
fn a_box_that_leaves_a_process_behind_has_leaked() {
    let text = "sleep 60 </dev/null >/dev/null 2>&1 & echo READY $0; read line; exit 0";
    let mut script = Script { preparation: Duration::ZERO, text, noisy: false };
    with_lab(|lab, site| {
        let instance = lab.start(&mut script, site).unwrap();
        let stopped = lab.stop(&mut script, site, instance);
        let failed = stopped.teardown_ns.unwrap_err();
        assert_eq!(failed.failure, Failure::Leak, "{failed:?}");
        assert!(tare::host::process::descendants(lab.spawner_pid()).is_empty(), "and it is taken away");
    });
}

#[test]
fn what_a_box_says_on_standard_error_explains_its_failure() {
    let text = "echo no such luck >&2; exit 9";
    let mut script = Script { preparation: Duration::ZERO, text, noisy: false };
    let failed = with_lab(|lab, site| lab.start(&mut script, site).unwrap_err());
    assert_eq!(failed.failure, Failure::Crash);
    assert!(failed.detail.contains("exit status 9") && failed.detail.contains("no such luck"), "{failed:?}");
}

/// Starts a script, asks it for a sign of life and stops it.
fn life(text: &'static str) -> (Result<(), Failed>, Stopped) {
    let mut script = Script { preparation: Duration::ZERO, text, noisy: false };
    with_lab(|lab, site| {
        let mut instance = lab.start(&mut script, site).unwrap();
        let alive = lab.alive(&script, site, &mut instance, None);
        (alive, lab.stop(&mut script, site, instance))
    })
}

const ANSWERS: &str = "echo READY $0; read ping nonce; echo PONG $nonce; read line; exit 0";

#[test]
fn only_a_pong_with_the_nonce_asked_for_is_a_sign_of_life() {
    assert_eq!(life(ANSWERS).0, Ok(()));
    let (alive, _) = life("echo READY $0; read line; echo PONG 0; read line; exit 0");
    assert_eq!(alive.unwrap_err().failure, Failure::WrongAnswer);
}

#[test]
fn a_box_that_ends_with_another_status_than_zero_has_crashed() {
    let (_, stopped) = life("echo READY $0; read ping nonce; echo PONG $nonce; read line; exit 3");
    let failed = stopped.teardown_ns.unwrap_err();
    assert_eq!(failed.failure, Failure::Crash);
    assert!(failed.detail.contains("exit status 3"), "{failed:?}");
}

#[test]
fn the_cpu_time_of_the_box_is_counted() {
    let (_, idle) = life(ANSWERS);
    let (_, busy) = life(
        "echo READY $0; read ping nonce; echo PONG $nonce; read line; i=0; \
         while [ $i -lt 300000 ]; do i=$((i+1)); done; exit 0",
    );
    let (busy, idle) = (busy.cpu_ns.unwrap(), idle.cpu_ns.unwrap());
    assert!(busy > idle + 50_000_000, "{busy} against {idle} ns");
}

#[test]
fn a_leak_fails_the_whole_sample() {
    use tare::measures::{Measure, startup::Startup};
    use tare::record::{Record, Visit};
    let out = tempfile::tempdir().unwrap();
    let fixture =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../reports/tests/fixtures/result.json");
    let mut document = tare_reports::read(&fixture).unwrap();
    document.series.clear();
    let mut record = Record::create(out.path(), document).unwrap();
    let text = "sleep 60 </dev/null >/dev/null 2>&1 & echo READY $0; read ping nonce; echo PONG $nonce; \
                read line; exit 0";
    let mut script = Script { preparation: Duration::ZERO, text, noisy: false };
    let parameters = tare_reports::document::Parameters::default();
    with_lab(|lab, site| {
        let mut visit = Visit {
            mode: tare_reports::document::Mode::Warm,
            record: &mut record,
            measure: "startup",
            contender: "script",
            round: 0,
            position: 0,
            parameters: &parameters,
        };
        Startup::new().unwrap().passes()[0].visit(lab, site, &mut script, &mut visit);
    });
    assert_eq!(record.document.series.len(), 3);
    for series in &record.document.series {
        assert_eq!(series.samples[0].failure, Some(Failure::Leak), "{}", series.quantity);
    }
}

#[test]
fn a_start_that_the_runs_time_ends_is_not_the_boxs_failure_and_leaves_nothing() {
    let script = |text| Script { preparation: Duration::ZERO, text, noisy: false };
    with_lab(|lab, site| {
        let (slow, began) = (&mut script("sleep 30; echo READY $0; read line"), Instant::now());
        lab.cut_at(Some(lab.elapsed() + Duration::from_millis(300)));
        let failed = lab.start(slow, site).unwrap_err();
        assert_eq!((failed.failure, lab.was_cut()), (Failure::NotMeasured, true), "{failed:?}");
        assert!(began.elapsed() < Duration::from_secs(5), "its own deadline is five seconds");
        let sleeping =
            std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children", pid = lab.spawner_pid()));
        assert_eq!(sleeping.unwrap().trim(), "", "the box was taken away");
        // A box that is in time, and one whose own deadline passes first, are judged as ever.
        lab.cut_at(Some(lab.elapsed() + Duration::from_secs(60)));
        let quick = &mut script("echo READY $0; read line; exit 0");
        let instance = lab.start(quick, site).unwrap();
        assert!(lab.stop(quick, site, instance).teardown_ns.is_ok());
        assert!(!lab.was_cut());
        assert_eq!(lab.start(slow, site).unwrap_err().failure, Failure::Timeout);
        assert!(!lab.was_cut());
    });
}

/// The payload behind a tool that takes notice of its input only where that is a terminal.
#[derive(Debug)]
struct OnATerminal {
    then: &'static str,
}

impl Contender for OnATerminal {
    fn description(&self) -> Description<'_> {
        Description { name: "on-a-terminal", class: Class::Process, ..Description::default() }
    }

    fn probe(&mut self, _: &Surroundings) -> Result<Found, Missing> {
        Ok(Found { version: "-".into(), accel: Accel::Native, not_expressed: Vec::new() })
    }

    fn launch(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        let script = format!("test -t 0 && test -t 1 || exit 9; {}", self.then);
        let payload = site.payload().display().to_string();
        let argv = ["/bin/sh", "-c", &script, &payload, &start.nonce].map(str::to_owned).to_vec();
        Ok(Launch::Command { argv, env: Vec::new(), overlay: None, dies_with_parent: false })
    }

    fn wants_a_terminal(&self) -> bool {
        true
    }

    fn command(&mut self, _: &Site) -> Vec<String> {
        Vec::new()
    }
}

#[test]
fn a_box_on_a_terminal_is_a_box_like_any_other() {
    let mut working = OnATerminal { then: "exec \"$0\" \"$1\"" };
    with_lab(|lab, site| {
        let instance = lab.start_alive(&mut working, site, None).unwrap();
        let stopped = lab.stop(&mut working, site, instance);
        assert!(stopped.teardown_ns.is_ok(), "{stopped:?}");
        // Its end is heard as that of a pipe is.
        let failed = lab.start(&mut OnATerminal { then: "exit 3" }, site).unwrap_err();
        assert_eq!(failed.failure, Failure::Crash, "no deadline was waited for: {failed:?}");
        assert!(failed.detail.contains('3'), "{failed:?}");
    });
}

#[test]
fn noise_without_end_meets_the_deadline() {
    let mut script = Script { preparation: Duration::ZERO, text: "exec yes noise", noisy: true };
    let began = Instant::now();
    let failed = with_lab(|lab, site| lab.start(&mut script, site).unwrap_err());
    assert_eq!(failed.failure, Failure::Timeout, "{failed:?}");
    assert!((5..60).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}
