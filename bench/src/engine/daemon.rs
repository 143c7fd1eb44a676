//! A private daemon: started in a network and a mount namespace of its own, in a cgroup of the lab, ended by
//! its process id. What it made and left is in that cgroup, in those namespaces, or below the site.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::clock::Deadline;
use crate::host::cgroups;
use crate::sys;

/// Name of the daemon's own cgroup below the engine's.
pub const CGROUP: &str = "daemon";

/// How long a daemon may take to answer after its start.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// How long a daemon may take to end after SIGTERM.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// Between two looks at a daemon that starts or ends: both are outside every clock.
const LOOK: Duration = Duration::from_millis(20);

/// A running private daemon.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    cgroup: String,
}

impl Daemon {
    /// Starts it, and waits until `answers` is true. `cgroup` is the engine's; its log goes to `log`.
    ///
    /// # Errors
    /// When it does not start, or does not answer in time: with the last line of its log.
    pub fn start(argv: &[String], cgroup: &str, log: &Path, answers: impl Fn() -> bool) -> Result<Self> {
        let output = File::create(log).with_context(|| format!("make {}", log.display()))?;
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        // A group of its own: the terminal's Ctrl-C is for the lab.
        command.process_group(0);
        sys::seclude(&mut command, own_cgroups(cgroup)?);
        // It would outlive a killed lab for ever; its shims end with their boxes, and `tare clean` ends the rest.
        sys::die_with_parent(&mut command);
        let child = command.spawn().with_context(|| format!("start {}", argv[0]))?;
        let mut daemon = Self { child, cgroup: cgroup.to_owned() };
        let deadline = Deadline::after(ANSWERS_WITHIN);
        while !answers() {
            let ended = daemon.child.try_wait()?;
            if ended.is_some() || deadline.passed() {
                let how = ended.map_or_else(
                    || format!("did not answer within {} s", ANSWERS_WITHIN.as_secs()),
                    |status| format!("ended with {status}"),
                );
                let said = fs::read_to_string(log).unwrap_or_default();
                let last = said.trim().lines().last().unwrap_or("nothing").to_owned();
                bail!("{} {how}; its log says last: {last}", argv[0]);
            }
            std::thread::sleep(LOOK);
        }
        Ok(daemon)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it, and whatever else is in the engine's cgroup; the cgroup goes too.
    ///
    /// # Errors
    /// When something of it stays.
    pub fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        let pid = Pid::from_raw(self.child.id() as i32);
        let deadline = Deadline::after(ENDS_WITHIN);
        // Not reaped before `try_wait` has seen its end, so the id is still its own.
        if self.child.try_wait()?.is_none() {
            kill(pid, Signal::SIGTERM)?;
        }
        while self.child.try_wait()?.is_none() {
            if deadline.passed() {
                self.child.kill()?;
                self.child.wait()?;
                break;
            }
            std::thread::sleep(LOOK);
        }
        cgroups::remove_tree(&self.cgroup)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // After `stop` there is nothing left to do here; on other paths the run's own error is the one to tell.
        let _ = self.end();
    }
}

/// Takes a daemon that has ended by itself; none where it runs, or was never started.
///
/// # Errors
/// When the kernel does not say.
pub fn ended(daemon: &mut Option<Daemon>) -> Result<Option<Daemon>> {
    let over = daemon.as_mut().map_or(Ok(None), |it| it.child.try_wait())?.is_some();
    Ok(daemon.take_if(|_| over))
}

/// CPU time of all that is and was in this cgroup and below it, ns.
///
/// # Errors
/// When the host accounts for no CPU time by cgroup.
pub fn cpu_ns(cgroup: &str) -> Result<u64> {
    let at = |controller: &str, file: &str| {
        let root = cgroups::root_of(controller)?;
        fs::read_to_string(root.join(cgroup.trim_start_matches('/')).join(file)).ok()
    };
    if let Some(text) = at("cpuacct", "cpuacct.usage") {
        return text.trim().parse().with_context(|| format!("cpuacct.usage of {cgroup}"));
    }
    let stat = at("cpu", "cpu.stat").with_context(|| format!("no CPU accounting for the cgroup {cgroup}"))?;
    usage_ns(&stat).with_context(|| format!("no usage_usec in cpu.stat of {cgroup}"))
}

fn usage_ns(stat: &str) -> Option<u64> {
    let usec: u64 = stat.lines().find_map(|line| line.strip_prefix("usage_usec "))?.trim().parse().ok()?;
    Some(usec * 1000)
}

/// Makes the daemon's cgroup in every hierarchy and opens their `cgroup.procs`.
fn own_cgroups(cgroup: &str) -> Result<Vec<File>> {
    let dirs = cgroups::below(&format!("{cgroup}/{CGROUP}"));
    ensure!(!dirs.is_empty(), "no cgroup hierarchy is mounted");
    let mut open = Vec::new();
    for dir in dirs {
        fs::create_dir_all(&dir).with_context(|| format!("make the cgroup {}", dir.display()))?;
        if cgroups::fill_cpuset(&dir) {
            let procs = dir.join("cgroup.procs");
            let file = File::options().write(true).open(&procs);
            open.push(file.with_context(|| format!("open {}", procs.display()))?);
        }
    }
    Ok(open)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_from_v2_statistics() {
        assert_eq!(usage_ns("usage_usec 4711\nuser_usec 4000\nsystem_usec 711\n"), Some(4_711_000));
        assert_eq!(usage_ns("user_usec 4000\n"), None);
    }
}
