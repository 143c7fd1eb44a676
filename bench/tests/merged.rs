//! Merging of equal pages on the real kernel, for real machines; and that a killed run's change of it is put back.
//!
//! Skipped aloud where the kernel has no KSM or the small guest kernel was not built, unless `TARE_REQUIRE` names
//! `root` or `small-kernel`.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{root, skip};
use tare::host::ksm::{self, Ksm};
use tare::host::process;
use tare::site::{Owner, base};
use tare::vm::guest::Guest;
use tare::vm::microvm::Ram;
use tare::vm::qemu::{Accel, Qemu, make_mergeable};
use tare::vm::{initramfs, small, tool};

/// A boot takes half a second under TCG on an idle host, which a test host is not.
const PATIENCE: Duration = Duration::from_secs(60);

fn setting(name: &str) -> String {
    fs::read_to_string(Path::new("/sys/kernel/mm/ksm").join(name)).unwrap().trim().to_owned()
}

fn settings() -> Vec<String> {
    ["run", "pages_to_scan", "sleep_millisecs"].map(setting).into()
}

/// A counter once it stands still for a second: the kernel forgets what exited processes shared only while it scans, so
/// that guests of earlier tests may still be counted.
fn unchanged(name: &str) -> u64 {
    let until = Instant::now() + PATIENCE;
    let mut last = setting(name);
    while Instant::now() < until {
        sleep(Duration::from_secs(1));
        let now = setting(name);
        if now == last {
            return now.parse().unwrap();
        }
        last = now;
    }
    panic!("{name} did not come to rest: {last}");
}

#[test]
fn guests_of_one_kernel_share_pages_while_it_merges_and_the_host_is_left_as_it_was() {
    if !root() {
        return;
    }
    if let Err(why) = ksm::can_be_switched() {
        eprintln!("skipped: {why:#}");
        return;
    }
    let Ok(qemu) = tool::find().map_err(|why| skip("qemu", &why.to_string())) else { return };
    let Ok(kernel) = small::find().map_err(|why| skip("small-kernel", &why.to_string())) else { return };
    let qemu = Qemu::new(&qemu.path, Accel::Tcg);
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("initramfs");
    initramfs::write(&archive).unwrap();
    let before = settings();
    let changed = Ksm::of_host().change(directory.path(), true).unwrap();
    assert_eq!(setting("run"), "1");
    let shared = unchanged("pages_sharing");
    let guests: Vec<Guest> = (0..3)
        .map(|number| {
            let console = directory.path().join(format!("{number}.console"));
            let nonce = format!("n{number}");
            let mut command = qemu.microvm_command(&nonce, &kernel.image, &archive, &console, Ram::Own);
            make_mergeable(&mut command).unwrap();
            let mut guest = Guest::start(&command).unwrap();
            let line = guest.line(Instant::now() + PATIENCE).unwrap();
            assert_eq!(line, format!("READY {nonce}"));
            guest
        })
        .collect();
    assert!(changed.settle(|| true).unwrap());
    // A guest kernel alone is some megabytes; two of the three have it from the third.
    let now: u64 = setting("pages_sharing").parse().unwrap();
    assert!(now > shared + 2_000, "{now} pages are shared, {shared} were before");
    drop(guests);
    for change in changed.put_back() {
        assert!(change.restored.starts_with("put back to "), "{change:?}");
    }
    assert_eq!(settings(), before);
    assert_eq!(ksm::noted(directory.path()), []);
}

#[test]
fn what_a_killed_run_changed_is_put_back_by_clean_and_a_living_ones_is_not() {
    if !root() {
        return;
    }
    // Files in the kernel's place: the host's own setting is left alone.
    let directory = tempfile::tempdir().unwrap();
    let me = std::process::id();
    let site = |name: &str, started: u64| {
        let run = format!("test-{me}-{name}");
        let (dir, file) = (base().join(&run), directory.path().join(name));
        fs::create_dir_all(&dir).unwrap();
        fs::write(&file, "1").unwrap();
        let cgroup_parent = format!("/tare/{run}");
        let owner = Owner { run, pid: me, started, cgroup_parent, made: Vec::new() };
        fs::write(dir.join("owner.json"), serde_json::to_vec(&owner).unwrap()).unwrap();
        fs::write(dir.join("ksm.json"), serde_json::to_vec(&[(&file, "0", "1")]).unwrap()).unwrap();
        (dir, file)
    };
    // Process ids are reused: this one's belonged to somebody who started at another time.
    let (dead, put_back) = site("dead", 1);
    let (alive, left) = site("alive", process::start_time(me).unwrap());
    let clean = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_tare")).arg("clean").args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let would = clean(&["--dry-run"]);
    assert!(would.contains(&format!("would put back {} to 0", put_back.display())), "{would}");
    assert_eq!(fs::read_to_string(&put_back).unwrap(), "1", "a dry run writes nothing");
    let said = clean(&[]);
    let after = [&put_back, &left].map(|it| fs::read_to_string(it).unwrap());
    let stays = alive.exists();
    fs::remove_dir_all(&alive).unwrap();
    assert!(said.contains(&format!("put back {} to 0", put_back.display())), "{said}");
    assert_eq!(after, ["0", "1"]);
    assert!(!dead.exists() && stays);
}
