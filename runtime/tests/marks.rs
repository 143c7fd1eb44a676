//! The marks of a start are true: in the recipe's order, inside the start's own time, and a delay that is
//! planted in one step appears in that step and in no other.

mod common;

use std::fs;
use std::process::Stdio;

use common::{Lab, has_strace};
use serde::Deserialize;
use tare_runtime::container::RECIPE;
use tare_runtime::now;

/// Planted, microseconds.
const DELAY: u64 = 20_000;

#[derive(Deserialize)]
struct Mark {
    step: String,
    ended: u64,
}

/// Runs a box below `wrapper`; returns when it began and what was marked.
fn watched(lab: &Lab, wrapper: &[&str]) -> (u64, Vec<Mark>, u64) {
    let (file, image) = (lab.path().join("marks.json"), lab.image());
    let mut words: Vec<String> = wrapper.iter().map(ToString::to_string).collect();
    let before = now();
    let inner = lab.command(&["run", "-d", "--cgroup-parent", &lab.parent, "--marks"]);
    words.push(inner.get_program().to_string_lossy().into_owned());
    words.extend(inner.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.extend([file.display().to_string(), "--rootfs".into(), image.display().to_string()]);
    words.extend(["marked", "--", "/bin/true"].map(str::to_owned));
    let mut command = std::process::Command::new(&words[0]);
    let output =
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).output().expect("starts");
    assert!(output.status.success(), "{words:?}: {output:?}");
    let after = now();
    let marks = serde_json::from_str(&fs::read_to_string(&file).expect("marks")).expect("JSON");
    lab.runtime().delete(&tare_runtime::Id::new("marked").expect("id"), true).expect("deleted");
    (before, marks, after)
}

/// How long each step took, ns.
fn spans((mut before, marks, _): (u64, Vec<Mark>, u64)) -> Vec<(String, u64)> {
    let mut spans = Vec::new();
    for Mark { step, ended } in marks {
        spans.push((step, ended - before));
        before = ended;
    }
    spans
}

#[test]
fn every_step_is_marked_in_its_order_and_within_the_start() {
    let Some(lab) = Lab::new() else { return };
    let (before, marks, after) = watched(&lab, &[]);
    let names: Vec<&str> = marks.iter().map(|mark| mark.step.as_str()).collect();
    // The exec is the last step and leaves nobody to mark its end.
    let steps: Vec<&str> = RECIPE.iter().map(|step| step.name).filter(|name| *name != "exec").collect();
    assert_eq!(names[..3], ["begin", "options", "blueprint"]);
    let recipe: Vec<&str> = names[3..].iter().copied().filter(|name| *name != "clone").collect();
    assert_eq!(recipe, steps);
    let place = |name: &str| names.iter().position(|it| *it == name);
    assert_eq!(place("clone"), place("prepare").map(|at| at + 1));
    let times: Vec<u64> =
        [before].into_iter().chain(marks.iter().map(|mark| mark.ended)).chain([after]).collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn a_delay_appears_in_its_step_and_in_no_other() {
    let Some(lab) = Lab::new() else { return };
    if !has_strace() {
        return;
    }
    for (call, expected) in [
        ("clone3", "clone"),
        ("sethostname", "hostname"),
        ("pivot_root", "pivot"),
        ("seccomp", "seccomp"),
        ("capset", "capabilities"),
    ] {
        let (trace, inject) = (format!("trace={call}"), format!("inject={call}:delay_enter={DELAY}"));
        let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
        // The delay is there each time. That it is nowhere else is seen on a start that nobody held up meanwhile, and
        // on a busy host that may be a later one.
        let alone = (0..10).any(|_| {
            let spans = spans(watched(&lab, &strace));
            let long = spans.iter().filter(|(_, took)| *took >= DELAY * 1000);
            let long: Vec<&str> = long.map(|(name, _)| name.as_str()).collect();
            assert!(long.contains(&expected), "{spans:?}");
            long == [expected]
        });
        assert!(alone, "{expected} was never the only long step");
    }
}
