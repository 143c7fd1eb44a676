//! A search of boxes that an engine serves, which itself ends on the way.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tare::contenders::docker::Docker;
use tare::contenders::{Contender, Surroundings};
use tare::site::Site;
use tare::vm::kvm::Kvm;

use crate::common::{self, root};
use crate::edges::Parent;
use crate::{found, one_at_a_time, search};

/// Kills the private daemon of this site as soon as it has made so many boxes, as the kernel does when memory runs out.
fn kill_at(boxes: usize, site: PathBuf) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let began = Instant::now();
        let made = || std::fs::read_dir(site.join("boxes")).map_or(0, Iterator::count);
        while made() < boxes {
            assert!(began.elapsed() < Duration::from_secs(120), "{} boxes were made", made());
            std::thread::sleep(Duration::from_millis(5));
        }
        let pid = std::fs::read_to_string(site.join("docker/docker.pid")).unwrap();
        kill(Pid::from_raw(pid.trim().parse().unwrap()), Signal::SIGKILL).unwrap();
    })
}

#[test]
fn an_engine_that_is_killed_is_started_anew_and_the_search_goes_on() {
    if !root() {
        return;
    }
    let surroundings = Surroundings { root: true, kvm: Kvm::Unknown("not needed".into()) };
    match Docker::default().probe(&surroundings) {
        Err(missing) => return common::skip("docker", &missing.reason),
        Ok(found) if !found.version.contains("private engine") => {
            return common::skip("docker", "an engine runs already, which is not ours to kill");
        }
        Ok(_) => {}
    }
    common::binaries();
    let _turn = one_at_a_time();
    let Some(parent) = Parent::with("pids", ["pids.max", "pids.max"], "300") else { return };
    let run = format!("density-engine-{}", std::process::id());
    let site = Site::create_below(&parent.0.parse().unwrap(), &run).unwrap();
    let killer = kill_at(5, site.dir().to_owned());
    let (document, _dir) = search(&mut Docker::default(), &site, Duration::from_millis(600));
    killer.join().unwrap();
    site.remove().unwrap();
    let found = found(&document, "docker", "idle");
    let binding = found.binding.as_ref().unwrap_or_else(|| panic!("{found:?}"));
    assert_eq!(binding.resource, "pids", "{}", binding.evidence);
    assert!(binding.evidence.contains(&parent.0), "{}", binding.evidence);
    assert!(found.samples[0].value.is_some_and(|it| it > 5), "{found:?}");
}
