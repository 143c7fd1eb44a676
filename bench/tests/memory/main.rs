//! The measure `memory` on real boxes: the number of boxes that the figures are over, and a ledger that adds up.

#[path = "../common/mod.rs"]
mod common;
mod planted;
mod sys;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::{document, finish, left_of, root, skip, tare};
use tare_reports::document::{Document, Series};

/// One test at a time: each would be the others' noise.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A contender's series of one quantity in one state, by the number of boxes.
fn series<'a>(document: &'a Document, name: &str, quantity: &str, state: &str) -> BTreeMap<u32, &'a Series> {
    let all = document.series.iter().filter(|it| it.measure == "memory" && it.contender == name);
    let all = all.filter(|it| it.quantity == quantity && it.parameters.state.as_deref() == Some(state));
    all.map(|it| (it.parameters.instances.unwrap(), it)).collect()
}

/// The mean value at each number of boxes.
fn means(series: &BTreeMap<u32, &Series>) -> Vec<(u32, u64)> {
    let mean = |it: &Series| {
        let values: Vec<u64> =
            it.samples.iter().map(|it| it.value.unwrap_or_else(|| panic!("{it:?}"))).collect();
        values.iter().sum::<u64>() / values.len() as u64
    };
    series.iter().map(|(boxes, it)| (*boxes, mean(it))).collect()
}

#[test]
fn boxes_that_touched_a_quarter_of_their_memory_cost_it_by_every_method() {
    if !root() {
        return;
    }
    let _alone = alone();
    let out = tempfile::tempdir().unwrap();
    let output = finish(&mut tare(out.path(), &["memory", "--only", "process,tare", "--rounds", "20"]));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let document = document(out.path());
    const TOUCHED: u64 = 64 << 20;
    // Not the host's: others come and go on a host that runs tests.
    for (name, quantity) in [("process", "pss"), ("process", "cgroup"), ("tare", "pss"), ("tare", "cgroup")] {
        let of = series(&document, name, quantity, "touched");
        assert_eq!(of.keys().copied().collect::<Vec<_>>(), [4, 8, 12, 16]);
        for (boxes, bytes) in means(&of) {
            // Off by one box, the sixteenth would be missing or too much: six parts in a hundred.
            let each = bytes as f64 / f64::from(boxes) / TOUCHED as f64;
            assert!((0.98..1.03).contains(&each), "{name}/{quantity} of {boxes}: {each} of what was touched");
        }
    }
    // What was touched is the payload's, whatever others do.
    let host = series(&document, "tare", "host", "touched");
    // Where they let go of more than the boxes took there is no figure of the host's.
    for sample in host.values().flat_map(|it| &it.samples).filter(|it| it.value.is_some()) {
        assert!(sample.parts["payload"] as u64 >= 4 * TOUCHED, "{sample:?}");
        for line in ["slab", "page tables", "kernel stacks", "per-CPU", "vmalloc", "page cache and tmpfs"] {
            assert!(sample.parts.contains_key(line), "{line} is missing in {sample:?}");
        }
        assert!(
            !sample.parts.contains_key("guest RAM") && !sample.parts.contains_key("helpers"),
            "{sample:?}"
        );
    }
    let idle = series(&document, "tare", "pss", "idle");
    assert_eq!(idle.keys().copied().collect::<Vec<_>>(), [64, 128, 192, 256]);
    // A bare process is born in a cgroup made for the climb, which is charged for more than is mapped: page tables, a
    // stack in the kernel.
    let [charged, mapped] = ["cgroup", "pss"].map(|it| means(&series(&document, "process", it, "idle")));
    let each = (charged[3].1 - charged[0].1) / u64::from(charged[3].0 - charged[0].0);
    assert!(each > (mapped[3].1 - mapped[0].1) / 192 && each < 256 << 10, "{charged:?} and {mapped:?}");
    assert!(document.host.empty_cgroup_bytes.is_some(), "what its cgroup weighs empty was looked at");
    assert_eq!(left_of(&document.run.id), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_climb_that_loses_a_box_has_no_figure_over_the_others() {
    if !root() {
        return;
    }
    let _alone = alone();
    let out = tempfile::tempdir().unwrap();
    let mut command = tare(out.path(), &["memory", "--only", "tare", "--rounds", "20"]);
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut run = common::Guard(command.spawn().unwrap());
    let mut killed = false;
    common::wait_until("a climb to lose a box", || {
        let boxes = std::fs::read_link(out.path().join("latest"))
            .map(|run| tare::site::base().join(run).join("boxes"));
        let herd: Vec<_> =
            boxes.and_then(std::fs::read_dir).map(|it| it.flatten().collect()).unwrap_or_default();
        // More than a touched climb has, and less than there will be: the next look finds one missing.
        if !killed && common::lines(out.path()) > 0 && (100..200).contains(&herd.len()) {
            // The first of them, which was asked for its sign of life long ago.
            let number = |path: &std::path::Path| {
                let name = path.file_stem()?.to_str()?.rsplit('-').next()?.parse::<u64>();
                name.ok().filter(|_| path.extension().is_some_and(|it| it == "pid"))
            };
            let first =
                herd.iter().map(std::fs::DirEntry::path).filter_map(|it| Some((number(&it)?, it))).min();
            let text = first.and_then(|it| std::fs::read_to_string(it.1).ok()).unwrap_or_default();
            if let Ok(pid) = text.trim().parse() {
                let pid = nix::unistd::Pid::from_raw(pid);
                killed = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).is_ok();
            }
        }
        run.0.try_wait().unwrap().is_some()
    });
    assert!(killed, "a climb under way was seen");
    let document = document(out.path());
    // Of the method that nobody else on the host disturbs.
    let idle = series(&document, "tare", "pss", "idle");
    let failed: Vec<_> = idle.values().flat_map(|it| &it.samples).filter(|it| it.failure.is_some()).collect();
    assert!(!failed.is_empty(), "it was missed: {idle:?}");
    let words = failed[0].detail.as_deref().unwrap();
    assert!(words.contains("the lab holds"), "{words}");
    assert_eq!(left_of(&document.run.id), Vec::<std::path::PathBuf>::new());
}

#[test]
fn what_a_guest_touches_is_in_its_ram_and_the_smallest_ram_was_seen_to_boot() {
    if let Err(why) = tare::vm::tool::find() {
        return skip("qemu", &why.to_string());
    }
    if let Err(why) = tare::vm::small::find() {
        return skip("small-kernel", &why.to_string());
    }
    let _alone = alone();
    let out = tempfile::tempdir().unwrap();
    let args = ["memory", "--only", "qemu-microvm", "--profile", "standard", "--rounds", "1"];
    let output = finish(&mut tare(out.path(), &args));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let document = document(out.path());
    let part = |state: &str, line: &str| {
        let host = series(&document, "qemu-microvm", "host", state);
        let seen = host[&8].samples.iter().filter(|it| it.value.is_some());
        seen.map(|it| it.parts[line] as f64 / 8.0).next()
    };
    // Where others on the host left no figure of the host's, there is no ledger.
    if let (Some(idle), Some(touched)) = (part("idle", "guest RAM"), part("touched", "guest RAM")) {
        // A little of what it touches was its own before: pages that it used when it booted and has free again.
        let share = (touched - idle) / (64 << 20) as f64;
        assert!((0.85..1.02).contains(&share), "{share} of what was touched came to the guest's RAM");
        for line in ["VMM", "translation cache"] {
            let grown = part("touched", line).unwrap() / part("idle", line).unwrap();
            assert!((0.8..1.25).contains(&grown), "{line}: {grown} times what it was idle");
        }
    }
    for (_, bytes) in means(&series(&document, "qemu-microvm", "pss", "touched")) {
        assert!(bytes > 64 << 20, "PSS sees the guest's RAM");
    }
    let smallest = document.series.iter().find(|it| it.quantity == "smallest").unwrap();
    assert_eq!((smallest.parameters.instances, smallest.parameters.state.clone()), (None, None));
    let values: Vec<u64> = smallest.samples.iter().map(|it| it.value.unwrap()).collect();
    assert!(values.len() == 1 && values[0].is_multiple_of(1 << 20), "{values:?}");
    // A kernel of three megabytes and its tables need some; and nobody needs half of what everybody gets.
    assert!((8 << 20..128 << 20).contains(&values[0]), "{values:?}");
    assert_eq!(left_of(&document.run.id), Vec::<std::path::PathBuf>::new());
}
