//! From our runtime's marks to spans.
//!
//! A step's time is from the end of the step before to its own end, and goes to the span in whose name the
//! step stands. What comes after the last mark (the exec, which takes the memory that marks are kept in away)
//! is seen by the tracepoints or not at all.

use super::path::Seen;
use super::{Spans, add};
use crate::spawner::protocol::Mark;

/// Which span a step belongs to. What serves no single mechanism is the runtime's own work: reading options,
/// writing the state down, preparing strings.
pub fn span_of(step: &str) -> &'static str {
    match step {
        "begin" => "spawn",
        "cgroup" | "enter-cgroup" | "devices" | "cgroup-namespace" => "cgroup",
        "clone" | "join" => "clone",
        "idmap" => "idmap",
        "overlay" => "overlay",
        "private" | "sources" | "proc" | "sys" | "dev" | "volumes" | "directories" | "mask" | "read-only" => {
            "mounts"
        }
        "pivot" | "detach" => "pivot",
        "bounding-set" | "identity" | "capabilities" | "no-new-privileges" => "capabilities",
        "seccomp" | "seccomp-by-right" => "seccomp",
        "exec" => "exec",
        _ => "runtime",
    }
}

/// The spans of a start between these two moments, from its marks, and from what the tracepoints saw of the
/// payload. Without marks none.
pub fn spans(began: u64, ready: u64, marks: &[Mark], seen: Option<&Seen>) -> Spans {
    let mut spans = Spans::new();
    let mut before = began;
    for Mark { step, ended } in marks {
        // A clock that was read in another process may be some nanoseconds out of order.
        let ended = (*ended).clamp(before, ready);
        add(&mut spans, span_of(step), ended - before);
        before = ended;
    }
    if let (Some(seen), false) = (seen, marks.is_empty()) {
        for (name, ended) in [("exec", seen.executed), ("payload", seen.wrote), ("notice", ready)] {
            let ended = ended.clamp(before, ready);
            add(&mut spans, name, ended - before);
            before = ended;
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(step: &str, ended: u64) -> Mark {
        Mark { step: step.into(), ended }
    }

    #[test]
    fn a_steps_time_goes_to_its_span_and_what_follows_the_last_one_to_none() {
        let marks = [
            mark("begin", 150),
            mark("options", 160),
            mark("cgroup", 200),
            mark("devices", 230),
            mark("seccomp", 240),
        ];
        let found = spans(100, 300, &marks, None);
        let expected = [("spawn", 50), ("runtime", 10), ("cgroup", 70), ("seccomp", 10)];
        assert_eq!(found, expected.map(|(name, ns)| (name.to_owned(), ns)).into());
        let seen = Seen { executed: 270, wrote: 280 };
        let found = spans(100, 300, &marks, Some(&seen));
        assert_eq!((found["exec"], found["payload"], found["notice"]), (30, 10, 20));
        assert_eq!(found.values().sum::<u64>(), 200);
        assert_eq!(spans(100, 300, &[], Some(&seen)), Spans::new(), "no marks, no spans");
    }

    #[test]
    fn readings_out_of_order_never_make_time_out_of_nothing() {
        let found = spans(100, 300, &[mark("begin", 90), mark("clone", 400), mark("idmap", 350)], None);
        assert_eq!(found.values().sum::<u64>(), 200);
    }

    #[test]
    fn mechanisms_of_the_recipe_have_their_spans() {
        let steps = tare_runtime::container::RECIPE.iter().map(|step| step.name);
        let named: Vec<&str> = steps.clone().filter(|step| span_of(step) != "runtime").collect();
        // A new mechanism must be put somewhere: these alone are the runtime's own work.
        let own = [
            "state",
            "bridge",
            "publish",
            "prepare",
            "oom-score",
            "session",
            "sysctl",
            "terminal",
            "hostname",
            "loopback",
            "interface",
            "command",
            "wait-for-start",
            "rlimits",
            "working-directory",
            "stdio",
            "descriptors",
        ];
        assert_eq!(named.len() + own.len(), steps.count(), "put the new step into a span, or here");
        assert!(own.iter().all(|step| span_of(step) == "runtime"));
    }
}
