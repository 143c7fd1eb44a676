//! `delete --force` in the middle of a start: whichever of the two is the quicker, nothing is left, and the name is free.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use crate::common::bundle::{Bundle, call, eventually};
use crate::common::{Lab, has_strace};
use crate::{MARK, Scene, Work, calls, strings};

/// So many places of each of the three, evenly scattered over its system calls.
const PLACES: usize = 12;
/// How long the start stays there.
const STAY: Duration = Duration::from_millis(150);

#[test]
fn a_start_that_is_deleted_in_its_middle_leaves_nothing_and_takes_nothing_of_the_next() {
    let Some(lab) = Lab::new() else { return };
    if !has_strace() {
        return;
    }
    let mark = format!("{MARK}=amid-{}", std::process::id());
    let mut bundle = Bundle::new(&lab, "k", "exec sleep 1000");
    bundle.config["process"]["env"] = serde_json::json!(["PATH=/bin", mark]);
    bundle.write();
    let scene = Scene { lab: &lab, bundle, mark };
    let mut amid = 0;
    for work in [Work::Create, Work::Start, Work::Run] {
        let trace = lab.path().join("trace");
        let wrapper = strings(&["strace", "-o", trace.to_str().expect("utf-8")]);
        scene.before(work);
        call(&lab, scene.command(&wrapper, &scene.words(work))).ok();
        scene.ends_clean("traced");
        let text = fs::read_to_string(&trace).expect("trace");
        // What comes before concerns nobody.
        let own = lab.root().join("k").display().to_string();
        let first = calls(&text[..text.find(&own).expect("its directory is made or read")]).len();
        let calls = calls(&text);
        for place in (first..calls.len()).step_by((calls.len() - first).div_ceil(PLACES)) {
            let (name, nth) = &calls[place];
            let what = format!("{work:?} at call {place} of {}, {name} number {nth}", calls.len());
            let stay = format!("inject={name}:delay_enter={}:when={nth}", STAY.as_micros());
            let wrapper = strings(&["strace", "-o", "/dev/null", "-e", &stay]);
            scene.before(work);
            let mut started = scene.command(&wrapper, &scene.words(work));
            let mut started = started.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("spawn");
            eventually(&what, || lab.root().join("k").exists());
            std::thread::sleep(STAY / 3);
            amid += u32::from(started.try_wait().expect("wait").is_none());
            let words = strings(&["delete", "--force", "k"]);
            let deleted_and_made = || {
                let deleted = call(&lab, scene.command(&[], &words));
                assert!(deleted.code == Some(0) && deleted.err.is_empty(), "{what}: {deleted:?}");
                call(&lab, scene.command(&[], &scene.words(Work::Create)))
            };
            // The name is free at once, and what the first takes back is its own.
            let mut next = deleted_and_made();
            if !matches!(work, Work::Start) && next.err.contains("exists already") {
                // Who had made the directory and not locked it yet has made another by now.
                next = deleted_and_made();
            }
            assert_eq!(next.code, Some(0), "{what}: {next:?}");
            started.wait().expect("wait");
            let next = call(&lab, scene.command(&[], &scene.words(Work::Start)));
            // Whoever has not looked at the directory yet when it goes finds the next one, and means that.
            let by_the_first = matches!(work, Work::Start) && place == first;
            let by_the_first = by_the_first && next.err.contains("container k is running");
            assert!(next.code == Some(0) || by_the_first, "{what}: {next:?}");
            scene.ends_clean(&what);
        }
    }
    // If most had ended before, this would say nothing.
    assert!(amid >= 20, "only {amid} were in their middle");
}
