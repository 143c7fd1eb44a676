//! Many boxes one after another: nothing grows.

mod common;

use std::fs;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use common::bundle::Bundle;
use common::{Lab, entries};
use tare_runtime::{Exit, Id, MissingLimits, oci::Request};

/// The kernel's own count of cgroups in the trees that we use, those that are dying included.
fn cgroups() -> Vec<(String, u64)> {
    let table = fs::read_to_string("/proc/cgroups").expect("/proc/cgroups");
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    let columns = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    columns
        .filter(|columns| ["memory", "pids", "devices"].contains(&columns[0]))
        .map(|columns| (columns[0].to_owned(), columns[2].parse().expect("number")))
        .collect()
}

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted[sorted.len() / 2]
}

fn cycles(count: usize) {
    let Some(lab) = Lab::new() else { return };
    let bundle = Bundle::new(&lab, "cycle", "exec sleep 1000");
    bundle.write();
    let request = Request {
        id: Id::new("cycle").expect("id"),
        bundle: bundle.directory.clone(),
        cgroup_parent: lab.parent.clone(),
        missing_limits: MissingLimits::Refuse,
    };
    let runtime = lab.runtime();
    let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null").expect("/dev/null");
    let once = || {
        let start = Instant::now();
        let container = runtime.create(&request, [null.as_fd(); 3], None).expect("create");
        runtime.start(&request.id).expect("start");
        runtime.delete(&request.id, true).expect("delete");
        let time = start.elapsed();
        assert_eq!(container.wait().expect("wait"), Exit::Signal(9));
        time
    };
    // What is made once and stays (the parent's directories) is no growth.
    for _ in 0..20 {
        once();
    }
    let descriptors = || entries(std::path::Path::new("/proc/self/fd")).len();
    let (cgroups_before, descriptors_before) = (cgroups(), descriptors());
    let mut verdict = String::new();
    // A busy machine can slow down the end of one series; growth slows down the end of every one.
    for _ in 0..3 {
        let times: Vec<Duration> = (0..count).map(|_| once()).collect();
        let (first, last) = (median(&times[..100]), median(&times[count - 100..]));
        verdict = format!("{count} cycles: median of the first 100 {first:?}, of the last 100 {last:?}");
        eprintln!("{verdict}");
        if last.as_secs_f64() <= 1.2 * first.as_secs_f64() {
            verdict.clear();
            break;
        }
    }
    assert!(verdict.is_empty(), "{verdict}");
    assert_eq!(lab.leftovers(), Vec::<std::path::PathBuf>::new());
    assert_eq!(descriptors(), descriptors_before);
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    assert!(!mounts.contains(&lab.path().display().to_string()));
    // Removed cgroups are freed a little later. Others on this host may make some meanwhile; a leak would be
    // as many as there were cycles.
    let start = Instant::now();
    let grown = || {
        let pairs = cgroups().into_iter().zip(&cgroups_before);
        pairs.map(|(now, before)| now.1.saturating_sub(before.1)).max().unwrap_or(0)
    };
    while grown() > 0 && start.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(50));
    }
    eprintln!("cgroups before {cgroups_before:?}, after {:?}", cgroups());
    assert!(grown() < count as u64 / 20, "before {cgroups_before:?}, after {:?}", cgroups());
}

#[test]
fn three_hundred_boxes_leave_nothing_and_do_not_slow_down() {
    cycles(300);
}

#[test]
#[ignore = "takes a while; run it in release: cargo test --release -p tare-runtime --test cycles -- --ignored"]
fn a_thousand_boxes_leave_nothing_and_do_not_slow_down() {
    cycles(1000);
}
