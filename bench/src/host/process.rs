//! Processes of the host (proc(5)).

use procfs::process::Process;

/// When a process started, in clock ticks after boot; `None` when there is none with this id.
pub fn start_time(pid: u32) -> Option<u64> {
    Process::new(pid as i32).ok()?.stat().ok().map(|stat| stat.starttime)
}

/// All processes that can be seen; those that end meanwhile are left out.
pub fn all() -> Vec<Process> {
    procfs::process::all_processes().map(|all| all.flatten().collect()).unwrap_or_default()
}

/// Every process below this one.
pub fn descendants(ancestor: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> =
        all().iter().filter_map(|p| p.stat().ok()).map(|stat| (stat.pid as u32, stat.ppid as u32)).collect();
    let mut below = vec![ancestor];
    let mut i = 0;
    while i < below.len() {
        let above = below[i];
        below.extend(parents.iter().filter(|(_, parent)| *parent == above).map(|(pid, _)| *pid));
        i += 1;
    }
    below.split_off(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_a_descendant_until_it_is_reaped() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(descendants(std::process::id()).contains(&child.id()));
        assert!(start_time(child.id()).is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!descendants(std::process::id()).contains(&child.id()));
        assert_eq!(start_time(child.id()), None);
    }
}
