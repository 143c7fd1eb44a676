//! What the host's limits say of a search: which of them so many boxes have used up, where a failed start names none, and
//! which would have ended a search that its time ended first.

use super::binding::Named;
use crate::contenders::Contender;
use crate::host::limits::{self, Asked, Limit, MemoryNeed};
use crate::site::Site;

/// A claim may be off by so many boxes, or by this part of them: others come and go on the host too.
const OFF: u32 = 4;
const OFF_PART: u32 = 50;

/// CPUs that are idle for more of the time, per cent, say nothing of how many boxes more they could serve.
const MOSTLY_IDLE: u64 = 50;

/// What a box was seen to take of memory, bytes; nothing where that is not known.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Took {
    /// Of the host's.
    pub(super) host: Option<u64>,
    /// Of the limit of the cgroup above it.
    pub(super) charged: Option<u64>,
}

/// The limits as they were before the first box.
#[derive(Debug, Default)]
pub(super) struct Limits(Vec<Limit>);

impl Limits {
    /// Those that boxes of this contender count towards; none where they answer from a script.
    pub(super) fn read(contender: &dyn Contender, site: &Site) -> Self {
        if contender.is_scripted() {
            return Self::default();
        }
        let memory = MemoryNeed::assumed(contender.description().class);
        // Where nobody named one, a parent of the run's own has no limit.
        let parent = Some(site.cgroup_parent()).filter(|_| !site.birthplaces().is_empty());
        Self(limits::of(&Asked::of(contender, &memory, parent)))
    }

    /// What a failure is evidence of where it does not say so itself: a limit that just so many boxes use up.
    pub(super) fn or_reached(&self, named: Named, held: u32) -> Named {
        let (resource, detail) = named;
        // What memory a box takes is no claim of the contender's, and has evidence of its own.
        let reached = self.0.iter().find(|it| !it.bytes && it.largest().is_some_and(|it| near(it, held)));
        match reached.filter(|_| resource == "unknown") {
            None => (resource, detail),
            Some(it) => (it.resource, format!("{detail}; {held} boxes use up the {}", in_words(it))),
        }
    }

    /// What is charged now, more than before the first box, to the cgroup above the boxes whose limit of memory leaves
    /// least, bytes.
    pub(super) fn charged_since(&self, site: &Site) -> Option<u64> {
        let before = self.0.iter().find(|it| it.is_of_a_cgroups_memory())?;
        let now = limits::memory_below(site.cgroup_parent()).filter(|now| now.set_in == before.set_in)?;
        now.in_use.checked_sub(before.in_use)
    }

    /// Which of them would end a search beyond this number, in words: a prediction, and called one. `took` is what a
    /// box was seen to take; `idle` how much of the time CPUs had nothing to do beside so many, per cent.
    pub(super) fn next(&self, held: u32, took: Took, idle: Option<u64>) -> Option<String> {
        const WOULD: &str = "predicted, not seen:";
        let as_seen = |it: &Limit| {
            // A cgroup is charged with less than the host uses: its limit holds more than the host's figure says.
            let each = if it.is_of_a_cgroups_memory() { took.charged.or(took.host) } else { took.host };
            match each.filter(|each| it.bytes && *each > 0) {
                Some(each) => {
                    Limit { per_box: each, source: format!("as {held} of them took"), ..it.clone() }
                }
                None => it.clone(),
            }
        };
        let beyond: Vec<Limit> = self.0.iter().map(as_seen).collect();
        let beyond = beyond.iter().filter_map(|it| Some((it.largest().filter(|at| *at > held.into())?, it)));
        let limit = beyond.min_by_key(|(at, _)| *at);
        // Of CPUs that are idle most of the time a part of the rest is the canary's, whatever the number.
        let cpu =
            idle.filter(|it| *it < MOSTLY_IDLE).map(|idle| (u64::from(held) * 100 / (100 - idle), idle));
        match (limit, cpu) {
            (limit, Some((at, idle))) if limit.is_none_or(|it| at < it.0) => {
                let seen = format!("the CPUs were idle {idle} % of the time beside {held}");
                Some(format!("{WOULD} cpu would end it at about {at} boxes: {seen}"))
            }
            (Some((at, it)), _) => {
                let (resource, words) = (it.resource, in_words(it));
                Some(format!("{WOULD} {resource} would end it at about {at} boxes: the {words}"))
            }
            (None, _) => None,
        }
    }
}

fn near(largest: u64, held: u32) -> bool {
    largest.abs_diff(held.into()) <= u64::from(OFF.max(held / OFF_PART))
}

/// `process ids, but for 300 that the kernel keeps: 32468, of which 180 were in use before and each takes 3 ...`.
fn in_words(it: &Limit) -> String {
    let size = |value: u64| if it.bytes { format!("{} MiB", value >> 20) } else { value.to_string() };
    let each = if it.bytes { format!("{} KiB", it.per_box >> 10) } else { it.per_box.to_string() };
    let limit = it.limit.map_or("no bound".into(), size);
    let (what, source, in_use) = (&it.what, &it.source, size(it.in_use));
    format!(
        "{what}: {limit}, of which {in_use} were in use before and a box takes {each} ({source}); {}",
        it.set_in
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(resource: &'static str, bytes: bool, limit: u64, per_box: u64) -> Limit {
        let what = format!("{resource} of a test");
        let (source, set_in) = ("a claim".to_owned(), "/here".to_owned());
        Limit { resource, what, bytes, per_box, source, limit: Some(limit), in_use: 0, set_in }
    }

    fn both() -> Limits {
        let host =
            Limit { set_in: "/proc/meminfo (proc(5))".into(), ..limit("memory", true, 150 << 20, 1 << 20) };
        Limits(vec![limit("pids", false, 400, 4), host])
    }

    #[test]
    fn a_failure_that_says_nothing_is_named_by_the_limit_that_just_so_many_boxes_use_up() {
        let unknown = || ("unknown", "it fell over".to_owned());
        let (resource, evidence) = both().or_reached(unknown(), 99);
        assert_eq!(resource, "pids");
        assert!(evidence.starts_with("it fell over; 99 boxes use up the pids of a test: 400"), "{evidence}");
        for held in [10, 90, 110] {
            assert_eq!(both().or_reached(unknown(), held), unknown(), "{held}: far from any limit");
        }
        assert_eq!(both().or_reached(unknown(), 150), unknown(), "of memory there is other evidence");
        let said = ("fds", "pipe2: Too many open files".to_owned());
        assert_eq!(both().or_reached(said.clone(), 100), said, "what was said counts");
    }

    #[test]
    fn the_next_limit_is_the_nearest_beyond_what_was_held_and_by_what_a_box_was_seen_to_take() {
        let took = |host| Took { host, charged: None };
        let next = |held, host| both().next(held, took(host), Some(90)).unwrap_or_default();
        assert!(next(50, None).contains("pids would end it at about 100 boxes"), "{}", next(50, None));
        let seen = next(50, Some(2 << 20));
        assert!(seen.contains("memory would end it at about 75 boxes"), "{seen}");
        assert!(
            seen.contains("150 MiB, of which 0 MiB were in use before and a box takes 2048 KiB (as 50"),
            "{seen}"
        );
        assert_eq!(both().next(150, took(None), Some(90)), None, "none of them lies beyond");
        assert!(seen.starts_with("predicted, not seen: "));
        let busy = both().next(50, took(None), Some(20)).unwrap();
        assert!(
            busy.ends_with(
                "cpu would end it at about 62 boxes: the CPUs were idle 20 % of the time beside 50"
            )
        );
        assert!(
            both().next(90, took(None), Some(20)).unwrap().contains("pids would end it"),
            "the nearer one"
        );
    }

    #[test]
    fn a_cgroups_limit_ends_it_by_what_is_charged_and_the_hosts_by_what_the_host_uses() {
        let mut all = both();
        all.0.push(limit("memory", true, 90 << 20, 1 << 20));
        let next = |host: u64, charged| {
            let took = Took { host: Some(host << 20), charged };
            all.next(60, took, None).unwrap_or_default()
        };
        let above = next(2, Some(1 << 20));
        assert!(above.contains("at about 75 boxes") && above.contains("/proc/meminfo"), "{above}");
        let below = next(1, Some(1400 << 10));
        assert!(below.contains("at about 65 boxes") && below.contains("/here"), "{below}");
        assert!(next(2, None).contains("/proc/meminfo"), "by the host's figure it would have ended long ago");
    }
}
