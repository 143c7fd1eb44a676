//! What the host did besides: stolen time and the CPU time of other people's processes, per round.

use std::collections::BTreeSet;
use std::fs;

use procfs::process::Stat;
use tare_reports::document::Reading;

use super::{cgroups, process};
use crate::clock;
use crate::engine::daemon::cpu_ns;

/// The kernel's flag of its own threads (PF_KTHREAD in the flags of /proc/PID/stat).
const KERNEL_THREAD: u32 = 0x0020_0000;

/// A reading of the host's counters.
#[derive(Debug, Clone)]
pub struct Noise {
    at_ns: u64,
    steal_ns: u64,
    /// CPU time of all processes that are neither ours nor the kernel's, and of the children they waited for.
    ///
    /// Only the sum can be compared: when a child is waited for, its time moves to its parent, whole.
    foreign_ns: i64,
}

impl Noise {
    /// Reads the counters now. `ours` is the lab itself; everything below it is ours too, and so is what runs or ran in the
    /// cgroups `engines` of the lab's own engines: their helpers leave them for the host's first process, which waits for
    /// the boxes' processes, too.
    pub fn read(ours: u32, engines: &[String]) -> Self {
        let tick_ns = 1_000_000_000 / procfs::ticks_per_second().max(1);
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let mut below = process::descendants(ours);
        below.push(ours);
        let all: Vec<Stat> = process::all().iter().filter_map(|p| p.stat().ok()).collect();
        let spent = |it: &Stat| (it.utime + it.stime + (it.cutime + it.cstime).max(0) as u64) * tick_ns;
        let is_below = |it: &&Stat| below.contains(&(it.pid as u32));
        let foreign: u64 =
            all.iter().filter(|it| it.flags & KERNEL_THREAD == 0 && !is_below(it)).map(spent).sum();
        let engines = engines.iter().map(|cgroup| {
            // Nothing is known of it where the kernel does not account by cgroup: it then counts as foreign.
            let whole = cpu_ns(cgroup).unwrap_or(0) as i64;
            let members: BTreeSet<i32> =
                cgroups::tree(cgroup).iter().flat_map(|dir| cgroups::members(dir)).collect();
            let counted = all.iter().filter(is_below).filter(|it| members.contains(&it.pid)).map(spent);
            whole - counted.sum::<u64>() as i64
        });
        let foreign_ns = foreign as i64 - engines.sum::<i64>();
        Self { at_ns: clock::now_ns(), steal_ns: steal_ticks(&stat) * tick_ns, foreign_ns }
    }

    /// What happened between an earlier reading and this one.
    pub fn since(&self, earlier: &Self, round: u32) -> Reading {
        Reading {
            round,
            wall_ns: self.at_ns.saturating_sub(earlier.at_ns),
            steal_ns: self.steal_ns.saturating_sub(earlier.steal_ns),
            foreign_cpu_ns: (self.foreign_ns - earlier.foreign_ns).max(0) as u64,
        }
    }
}

/// The eighth figure of the first line of /proc/stat (proc(5)).
fn steal_ticks(stat: &str) -> u64 {
    stat.lines()
        .next()
        .and_then(|line| line.split_whitespace().nth(8))
        .and_then(|ticks| ticks.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steal_is_the_eighth_figure() {
        let stat = "cpu  4705 356 584 3699176 23060 0 23 77 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(steal_ticks(stat), 77);
        assert_eq!(steal_ticks(""), 0);
    }

    #[test]
    fn a_child_that_is_waited_for_is_not_counted_twice() {
        // The shell burns in a child for a while before the first reading, and waits for it after.
        let script = "(timeout 0.6 sh -c 'while :; do :; done'); read line";
        let mut shell = std::process::Command::new("sh")
            .args(["-c", script])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(400));
        let before = Noise::read(u32::MAX, &[]);
        std::thread::sleep(std::time::Duration::from_millis(500));
        let reading = Noise::read(u32::MAX, &[]).since(&before, 0);
        shell.kill().unwrap();
        shell.wait().unwrap();
        let cpus = std::thread::available_parallelism().unwrap().get() as u64;
        let possible = reading.wall_ns * cpus + 100_000_000;
        assert!(reading.foreign_cpu_ns <= possible, "{} of {possible} ns", reading.foreign_cpu_ns);
    }

    #[test]
    fn another_process_that_burns_is_seen_and_ours_is_not() {
        let mut other = std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        // No process has this id: nobody is ours, so the loop counts as foreign.
        let (all, ours) = (Noise::read(u32::MAX, &[]), Noise::read(std::process::id(), &[]));
        std::thread::sleep(std::time::Duration::from_millis(400));
        let (all_after, ours_after) = (Noise::read(u32::MAX, &[]), Noise::read(std::process::id(), &[]));
        other.kill().unwrap();
        other.wait().unwrap();
        let foreign = all_after.since(&all, 0).foreign_cpu_ns;
        assert!(foreign >= 100_000_000, "the loop must be seen: {foreign} ns");
        assert!(ours_after.since(&ours, 0).wall_ns >= 400_000_000);
    }
}
