//! What the kernel itself counts while boxes come and go: the evidence for what ran out.

use std::fs;
use std::path::{Path, PathBuf};

use crate::clock;
use crate::host::cgroups;
use crate::site::Site;

/// What `avg10` is an average over, ns.
const TEN_SECONDS: u64 = 10_000_000_000;

/// The counters at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Witness {
    /// Processes killed for want of memory, on the whole host (/proc/vmstat, `oom_kill`).
    pub(super) oom_kills: u64,
    /// The cgroups above the boxes, and above the lab, that have a limit.
    pub(super) cgroups: Vec<Limited>,
    /// CPU time of all CPUs, idle and altogether, in clock ticks (/proc/stat).
    idle: u64,
    ticks: u64,
    /// Threads that run or want to, and all there are (/proc/loadavg).
    pub(super) runnable: u64,
    pub(super) threads: u64,
    /// The share of the last ten seconds in which some process waited for memory, in hundredths of a per cent;
    /// none where the kernel does not tell (/proc/pressure/memory).
    pub(super) memory_pressure: Option<u64>,
    /// How long some process has waited for memory since boot, and when this was read, ns.
    stalled_ns: u64,
    at_ns: u64,
}

/// A cgroup with a limit of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limited {
    /// `pids` or `memory`.
    pub(super) controller: &'static str,
    /// The file that holds the limit.
    pub(super) file: PathBuf,
    pub(super) limit: u64,
    pub(super) current: u64,
    /// How often it has refused something, or killed.
    pub(super) refusals: u64,
}

impl Witness {
    /// Reads the counters now.
    pub(super) fn read(site: &Site) -> Self {
        let stat = text("/proc/stat");
        let (idle, ticks) = cpu_ticks(&stat);
        let (runnable, threads) = threads(&text("/proc/loadavg"));
        let pressure = text("/proc/pressure/memory");
        Self {
            oom_kills: value(&text("/proc/vmstat"), "oom_kill"),
            cgroups: limited(site),
            idle,
            ticks,
            runnable,
            threads,
            memory_pressure: avg10(&pressure),
            stalled_ns: stalled_us(&pressure) * 1000,
            at_ns: clock::now_ns(),
        }
    }

    /// The share of CPU time in which CPUs had nothing to do since an earlier moment, per cent.
    pub(super) fn idle_since(&self, earlier: &Self) -> u64 {
        let ticks = self.ticks.saturating_sub(earlier.ticks).max(1);
        self.idle.saturating_sub(earlier.idle) * 100 / ticks
    }

    /// The pressure on memory since an earlier moment, as a share of ten seconds; in hundredths of a per cent.
    ///
    /// That of the last ten seconds, of which no more counts than some process has waited since: the kernel's average
    /// forgets slowly what was before. Or that of the whole time, where it is more: what was waited for at its beginning
    /// is forgotten at its end.
    pub(super) fn pressure_since(&self, earlier: &Self) -> Option<u64> {
        let passed = self.at_ns.saturating_sub(earlier.at_ns);
        let stalled = self.stalled_ns.saturating_sub(earlier.stalled_ns);
        let of = |ns: u64| stalled.saturating_mul(10_000) / ns.max(TEN_SECONDS);
        self.memory_pressure.map(|it| it.min(of(TEN_SECONDS)).max(of(passed)))
    }

    /// What cannot be judged on this kernel, in words.
    pub(super) fn unjudged(&self) -> Option<&'static str> {
        const WHY: &str = "how long processes waited for memory was not judged: this kernel has no \
                           /proc/pressure/memory (CONFIG_PSI, and psi=1 where that is off by default)";
        self.memory_pressure.is_none().then_some(WHY)
    }

    /// A cgroup of this controller that has refused something since an earlier moment.
    pub(super) fn refused_since(&self, earlier: &Self, controller: &str) -> Option<&Limited> {
        self.cgroups.iter().find(|now| {
            let before = earlier.cgroups.iter().find(|it| it.file == now.file);
            now.controller == controller && now.refusals > before.map_or(0, |it| it.refusals)
        })
    }
}

/// The limits of the cgroups above the boxes and of those that the lab itself is in.
fn limited(site: &Site) -> Vec<Limited> {
    let mut found: Vec<Limited> = Vec::new();
    for (controller, reader) in [("pids", pids as fn(&Path) -> Option<Limited>), ("memory", memory)] {
        let Some(root) = cgroups::root_of(controller) else { continue };
        let own = cgroups::of_this_process(controller).unwrap_or_default();
        for path in [site.cgroup_parent(), own.as_str()] {
            let bottom = root.join(path.trim_start_matches('/'));
            let above = bottom.ancestors().take_while(|it| it.starts_with(&root));
            for one in above.filter_map(reader) {
                if !found.iter().any(|it| it.file == one.file) {
                    found.push(one);
                }
            }
        }
    }
    found
}

fn pids(dir: &Path) -> Option<Limited> {
    let file = dir.join("pids.max");
    Some(Limited {
        controller: "pids",
        limit: number(&file)?,
        current: number(&dir.join("pids.current"))?,
        refusals: value(&text(dir.join("pids.events")), "max"),
        file,
    })
}

fn memory(dir: &Path) -> Option<Limited> {
    let v1 = dir.join("memory.limit_in_bytes");
    let (file, current, refusals) = if v1.exists() {
        let kills = value(&text(dir.join("memory.oom_control")), "oom_kill");
        let refusals = number(&dir.join("memory.failcnt")).unwrap_or(0) + kills;
        (v1, dir.join("memory.usage_in_bytes"), refusals)
    } else {
        let events = text(dir.join("memory.events"));
        let refusals = value(&events, "max") + value(&events, "oom_kill");
        (dir.join("memory.max"), dir.join("memory.current"), refusals)
    };
    let limit = number(&file)?;
    // Version 1 writes no limit as the largest number of whole pages.
    (limit < 1 << 60).then_some(Limited {
        controller: "memory",
        limit,
        current: number(&current)?,
        refusals,
        file,
    })
}

fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// A file of one number; none where it says `max` or is not there.
fn number(path: &Path) -> Option<u64> {
    text(path).trim().parse().ok()
}

/// The number after this word at the beginning of a line; 0 where there is none.
fn value(text: &str, word: &str) -> u64 {
    let found = text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' ')?.trim().parse().ok());
    found.unwrap_or(0)
}

/// Idle and all ticks of the first line of /proc/stat (proc(5)): the fourth and fifth are idle time.
fn cpu_ticks(stat: &str) -> (u64, u64) {
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).take(8).filter_map(|it| it.parse().ok()).collect();
    (ticks.iter().skip(3).take(2).sum(), ticks.iter().sum())
}

/// Runnable and all threads: the fourth word of /proc/loadavg.
fn threads(loadavg: &str) -> (u64, u64) {
    let word = loadavg.split_whitespace().nth(3).and_then(|word| word.split_once('/'));
    word.map_or((0, 0), |(run, all)| (run.parse().unwrap_or(0), all.parse().unwrap_or(0)))
}

/// `some avg10=` of a file of /proc/pressure, in hundredths of a per cent.
fn avg10(pressure: &str) -> Option<u64> {
    let line = pressure.lines().find(|line| line.starts_with("some "))?;
    let value: f64 = line.split_whitespace().find_map(|word| word.strip_prefix("avg10="))?.parse().ok()?;
    Some((value * 100.0).round() as u64)
}

/// `some total=` of a file of /proc/pressure, microseconds.
fn stalled_us(pressure: &str) -> u64 {
    let line = pressure.lines().find(|line| line.starts_with("some ")).unwrap_or_default();
    let total = line.split_whitespace().find_map(|word| word.strip_prefix("total="));
    total.and_then(|it| it.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captured_lines_are_read() {
        assert_eq!(avg10("some avg10=12.34 avg60=0.00 avg300=0.00 total=1\nfull avg10=1.00\n"), Some(1234));
        assert_eq!(avg10(""), None, "a kernel without it says nothing");
        assert_eq!(threads("0.20 0.18 0.12 3/180 11206\n"), (3, 180));
        assert_eq!(cpu_ticks("cpu  10 1 9 70 10 0 0 0 0 0\ncpu0 1 2\n"), (80, 100));
        assert_eq!(value("low 0\nmax 7\noom_kill 2\n", "max"), 7);
        assert_eq!(value("max 7\n", "oom_kill"), 0);
    }

    #[test]
    fn pressure_is_that_of_any_ten_seconds_and_none_that_was_before() {
        assert_eq!(stalled_us("some avg10=30.00 avg60=0.00 avg300=0.00 total=17\n"), 17);
        // Stalled for so many ms in so many seconds, at the end of which the kernel says so many per cent.
        let of = |stalled: u64, over: u64, avg10: u64| {
            let at = |ms, s| Witness {
                memory_pressure: Some(avg10 * 100),
                stalled_ns: ms * 1_000_000,
                at_ns: s * 1_000_000_000,
                ..Witness::default()
            };
            at(7 + stalled, 100 + over).pressure_since(&at(7, 100)).unwrap()
        };
        assert_eq!(of(0, 5, 30), 0, "left over from before");
        assert_eq!(of(1_000, 5, 30), 1_000, "no more of it than was waited since");
        assert_eq!(of(2_500, 30, 16), 1_600, "in the last ten of thirty seconds");
        assert_eq!(of(4_500, 30, 2), 1_500, "in the first ten of them");
        assert_eq!(Witness::default().pressure_since(&Witness::default()), None);
    }

    #[test]
    fn a_kernel_that_does_not_tell_is_not_passed_over() {
        assert!(Witness::default().unjudged().unwrap().contains("not judged"));
        assert_eq!(Witness { memory_pressure: Some(0), ..Witness::default() }.unjudged(), None);
    }

    #[test]
    fn time_in_which_nothing_was_done_is_told_from_the_rest() {
        let at = |idle, ticks| Witness { idle, ticks, ..Witness::default() };
        assert_eq!(at(130, 300).idle_since(&at(100, 200)), 30);
    }
}
