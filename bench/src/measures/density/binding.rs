//! What ran out, told from evidence: what the failed call said of itself and of which object, what the kernel's
//! counters say, and which limit is reached. Where none of them speaks, it is `unknown`.

use std::fs;

use super::witness::{Limited, Witness};

/// CPUs that are idle for less of the time, per cent, are what is waited for.
const BUSY: u64 = 10;

/// How a resource showed to have run out.
pub(super) type Named = (&'static str, String);

/// Error texts, with a word that must stand beside it, and what they mean. The first that fits counts.
const SAYINGS: [(&str, &str, &str); 14] = [
    ("inotify", "Too many open files", "inotify"),
    ("inotify", "EMFILE", "inotify"),
    ("inotify", "No space left", "inotify"),
    ("pty", "No space left", "ptys"),
    ("ptmx", "No space left", "ptys"),
    ("terminal", "No space left", "ptys"),
    ("Too many open files", "", "fds"),
    ("EMFILE", "", "fds"),
    ("ENFILE", "", "fds"),
    ("cgroup", "No space left", "cgroup ids"),
    ("mount", "No space left", "mounts"),
    ("Disk quota exceeded", "key", "keys"),
    ("EDQUOT", "key", "keys"),
    ("Cannot allocate memory", "", "memory"),
];

/// What the text of a failure says by itself.
fn said(detail: &str) -> Option<Named> {
    let says = |word: &str| detail.to_lowercase().contains(&word.to_lowercase());
    let (.., resource) = SAYINGS.into_iter().find(|(word, beside, _)| says(word) && says(beside))?;
    Some((resource, format!("the failed start says: {detail}")))
}

/// A limit of the kernel on namespaces, that of this user namespace, which so many boxes reach.
fn namespaces(held: u32, detail: &str) -> Option<Named> {
    let full = ["No space left", "ENOSPC", "os error 28"].iter().any(|it| detail.contains(it));
    // The same number is said of a full disk, and of cgroups and mounts.
    let made = ["clone", "unshare", "namespace"].iter().any(|it| detail.contains(it));
    if !full || !made {
        return None;
    }
    let reached = |kind: &str| {
        let path = format!("/proc/sys/user/max_{kind}_namespaces");
        let limit: u64 = fs::read_to_string(&path).ok()?.trim().parse().ok()?;
        // One of them may be another's.
        (limit <= u64::from(held) + 1)
            .then(|| format!("{path} is {limit}, {held} boxes are held, and: {detail}"))
    };
    reached("net").map(|evidence| ("netns", evidence)).or_else(|| {
        ["mnt", "pid", "ipc", "uts", "cgroup", "user"]
            .into_iter()
            .find_map(reached)
            .map(|evidence| ("namespaces", evidence))
    })
}

/// So close to its limit a cgroup or the kernel may be when it refuses a process: what was made for the box that failed
/// is gone again when this is read.
const CLOSE: u64 = 4;

/// A limit on processes that is reached: that of a cgroup, or the kernel's own.
fn processes(now: &Witness, detail: &str) -> Option<Named> {
    if !["Resource temporarily unavailable", "EAGAIN", "os error 11"].iter().any(|it| detail.contains(it)) {
        return None;
    }
    // Whether a cgroup counts what it refused or what a cgroup below it was refused differs between kernels.
    let full = |it: &&Limited| it.controller == "pids" && it.current + CLOSE >= it.limit;
    if let Some(it) = now.cgroups.iter().find(full) {
        let (file, limit, current) = (it.file.display(), it.limit, it.current);
        return Some(("pids", format!("{file} is {limit}, {current} are in use, and: {detail}")));
    }
    let reached = ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"].into_iter().find_map(|path| {
        let limit: u64 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
        // Ids below 300 are not given out again (kernel/pid.c, RESERVED_PIDS).
        (now.threads + 400 >= limit)
            .then(|| format!("{path} is {limit}, there are {} threads, and: {detail}", now.threads))
    });
    reached.map(|evidence| ("pids", evidence))
}

fn of_cgroup(it: &Limited, detail: &str) -> String {
    let (file, limit, current) = (it.file.display(), it.limit, it.current);
    format!("{file} is {limit}, {current} are in use, and it refused: {detail}")
}

/// What a failed start, or a box that ended, is evidence of. `before` was read before the boxes were added.
pub(super) fn of_failure(before: &Witness, now: &Witness, held: u32, detail: &str) -> Named {
    if let Some(it) = now.refused_since(before, "pids") {
        return ("pids", of_cgroup(it, detail));
    }
    if now.oom_kills > before.oom_kills {
        let killed = now.oom_kills - before.oom_kills;
        let cgroup = now.refused_since(before, "memory").map(|it| format!(" in {}", it.file.display()));
        let cgroup = cgroup.unwrap_or_default();
        return (
            "memory",
            format!("the kernel killed {killed} processes for want of memory{cgroup}: {detail}"),
        );
    }
    let said = namespaces(held, detail).or_else(|| processes(now, detail)).or_else(|| said(detail));
    match (said, now.refused_since(before, "memory")) {
        // A full cgroup takes back what it can before it refuses: that alone is no evidence against what was said.
        (Some(named), _) if named.0 != "memory" => named,
        (_, Some(it)) => ("memory", of_cgroup(it, detail)),
        (Some(named), None) => named,
        (None, None) => match now.idle_since(before) {
            idle if idle < BUSY && detail.contains("deadline") => ("cpu", busy(idle, now, detail)),
            _ => ("unknown", detail.to_owned()),
        },
    }
}

/// What processes that wait for memory are evidence of: the host's, or that of a cgroup which is full.
pub(super) fn of_pressure(before: &Witness, now: &Witness, detail: &str) -> Named {
    let evidence = now.refused_since(before, "memory").map(|it| of_cgroup(it, detail));
    ("memory", evidence.unwrap_or_else(|| detail.to_owned()))
}

/// What answers that came late are evidence of. `before` was read before the pings.
pub(super) fn of_lateness(before: &Witness, now: &Witness, detail: &str) -> Named {
    let idle = now.idle_since(before);
    match idle < BUSY {
        true => ("cpu", busy(idle, now, detail)),
        false => ("unknown", format!("{detail}; the CPUs were idle {idle} % of the time")),
    }
}

fn busy(idle: u64, now: &Witness, detail: &str) -> String {
    format!("{detail}; the CPUs were idle {idle} % of the time, {} threads want to run", now.runnable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn with(controller: &'static str, refusals: u64) -> Witness {
        let file = PathBuf::from("/x");
        let cgroups = vec![Limited { controller, file, limit: 40, current: 40, refusals }];
        let mut with = Witness::default();
        with.cgroups = cgroups;
        with
    }

    fn name(before: &Witness, now: &Witness, detail: &str) -> &'static str {
        of_failure(before, now, 3, detail).0
    }

    #[test]
    fn counters_speak_before_words_and_words_before_silence() {
        let none = Witness::default();
        let mut killed = Witness::default();
        killed.oom_kills = 1;
        assert_eq!(name(&with("pids", 0), &with("pids", 1), "fork: whatever"), "pids");
        assert_eq!(name(&with("pids", 1), &with("pids", 1), "fork: whatever"), "unknown", "refused before");
        assert_eq!(name(&with("memory", 0), &with("memory", 3), "mkdir: Cannot allocate memory"), "memory");
        assert_eq!(name(&with("memory", 0), &with("memory", 3), "pipe2: Too many open files"), "fds");
        assert_eq!(name(&none, &killed, "ended with SIGKILL"), "memory");
        assert_eq!(name(&none, &none, "it fell over"), "unknown");
        assert_eq!(name(&with("pids", 1), &with("pids", 1), "clone: EAGAIN"), "pids", "full, and uncounted");
    }

    #[test]
    fn the_object_tells_apart_what_one_error_number_means() {
        let none = Witness::default();
        for (detail, resource) in [
            ("inotify_init1: Too many open files", "inotify"),
            ("pipe2: Too many open files", "fds"),
            ("make cgroup /sys/fs/cgroup/memory/x: No space left on device", "cgroup ids"),
            ("mount overlay at /x: No space left on device", "mounts"),
            ("openpty: No space left on device", "ptys"),
            ("session keyring: Disk quota exceeded", "keys"),
            ("clone3: Cannot allocate memory", "memory"),
            ("write /x: No space left on device", "unknown"),
        ] {
            assert_eq!(name(&none, &none, detail), resource, "{detail}");
        }
    }

    #[test]
    fn late_answers_are_the_cpus_only_where_these_were_busy() {
        let now = Witness::default();
        assert_eq!(of_lateness(&now, &now, "p99").0, "cpu", "no tick was idle");
        let detail = of_lateness(&now, &now, "p99 is 1 s").1;
        assert!(detail.starts_with("p99 is 1 s; the CPUs were idle 0 %"), "{detail}");
    }
}
