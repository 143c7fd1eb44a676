//! The checker checked: in runc it must find exactly what is known to be open there. And our profile as a bundle.

use std::fs;

use crate::bundle::Bundle;
use crate::items::ITEMS;
use crate::sys::Door;
use crate::table::CALLS;
use crate::{PIDS, command, findings, lab};
use tare_runtime::DEFAULT_PATH;

/// `runc spec` of runc 1.1.5 has no filter and three capabilities. Every row must get the answer that the
/// table foresees for that, and every item must be good but for these.
#[test]
fn the_checker_finds_what_runcs_default_bundle_leaves_open() {
    let Some(lab) = lab() else { return };
    let Some(bundle) = Bundle::new(&lab, &command("sealed", &PIDS.to_string(), false)) else { return };
    let found = findings(&bundle.run());
    let mut told_apart = 0;
    for call in CALLS {
        let mut answers: Vec<String> = call.bare.iter().map(|answer| answer.name()).collect();
        if call.filtered {
            // This kernel was built without the call, or without x32.
            answers.push("ENOSYS".into());
        }
        for (door, _) in call.doors() {
            let line = call.line(door);
            let Some(got) = found.got(&line) else { continue };
            assert!(answers.iter().any(|answer| answer == got), "{line}: {got}, foreseen was {answers:?}");
            let differs = got != call.expected.name();
            assert_eq!(found.bad.contains_key(&line), differs, "{line}: {got}");
            told_apart += usize::from(differs && door == Door::Native);
        }
    }
    // The other rows are refused by the kernel itself, for want of a capability.
    assert!(told_apart >= 60, "only {told_apart} calls tell a box with the filter from one without");

    let mut open = vec![
        // Fewer capabilities than ours, and no filter.
        "CapBnd",
        "CapEff",
        "CapPrm",
        "Seccomp",
        "Seccomp_filters",
        "user-change",
        // Its own words.
        "environment",
        "hostname",
        // No limit on processes.
        "pids-limit",
        // /proc without any flag, /dev not noexec, the cgroup trees mounted, and a root where nodes open.
        "mount:/proc",
        "mount:/dev",
        "mounts:others",
        "mount:/",
        "device-in-image",
    ];
    if fs::exists("/proc/interrupts").expect("stat") {
        open.push("masked:/proc/interrupts");
    }
    if fs::exists("/sys/devices/virtual/powercap").expect("stat") {
        open.push("masked:/sys/devices/virtual/powercap");
    }
    if !fs::exists("/sys/fs/cgroup/cgroup.controllers").expect("stat") {
        // A cgroup namespace only where version 2 is the whole tree.
        open.extend(["ns:cgroup", "cgroup"]);
    }
    let items = found.bad.keys().filter(|name| ITEMS.iter().any(|item| item.name == name.as_str()));
    assert_eq!(sorted(items), sorted(open), "{:#?}", found.bad);
}

/// What runc 1.1.5 with libseccomp 2.5.4 cannot be told, or does of its own accord.
const NOT_EXPRESSED: &[&str] = &[
    // It adds HOME.
    "environment",
    // The root is mounted by whoever calls runc; the laboratory gives it a plain directory.
    "mount:/",
    "device-in-image",
    // "None of these values": the format has no such comparison.
    "native:personality:no-randomize",
    "native:personality:read-implies-exec",
    "x32:personality:no-randomize",
    "x32:personality:read-implies-exec",
    "int80:personality:no-randomize",
    "int80:personality:read-implies-exec",
    // Newer than its libseccomp, which passes over names that it does not know.
    "native:open_tree_attr",
    "x32:open_tree_attr",
    "int80:open_tree_attr",
    // Not in libseccomp's table for x32, or there by x32's own number only; the kernel has them by the
    // native number with the x32 bit all the same if it has x32 at all.
    "x32:_sysctl",
    "x32:create_module",
    "x32:get_kernel_syms",
    "x32:kexec_load",
    "x32:move_pages",
    "x32:nfsservctl",
    "x32:query_module",
    "x32:uselib",
];

/// What our own runtime cannot be told by a bundle.
const NOT_IN_THE_FORMAT: &[&str] = &[
    "device-in-image",
    "int80:personality:no-randomize",
    "int80:personality:read-implies-exec",
    "mount:/",
    "native:personality:no-randomize",
    "native:personality:read-implies-exec",
    "x32:personality:no-randomize",
    "x32:personality:read-implies-exec",
];

#[test]
fn runc_with_our_profile_passes_but_for_what_it_cannot_express() {
    let Some(lab) = lab() else { return };
    let Some(mut bundle) = Bundle::new(&lab, &command("sealed", &PIDS.to_string(), false)) else { return };
    bundle.confine("sealed", &[&format!("PATH={DEFAULT_PATH}"), "TARE=1"], PIDS);
    let found = findings(&bundle.run());
    assert_eq!(sorted(found.bad.keys()), sorted(NOT_EXPRESSED), "{:#?}", found.bad);
}

/// The profile by way of a bundle is the same profile: but for what the format cannot say, and the root, which
/// is a plain directory here and no overlay of ours.
#[test]
fn our_runtime_with_our_profile_as_a_bundle_passes_but_for_what_the_format_cannot_say() {
    let Some(lab) = lab() else { return };
    let mut bundle = Bundle::empty(&lab, &command("sealed", &PIDS.to_string(), false));
    bundle.confine("sealed", &[&format!("PATH={DEFAULT_PATH}"), "TARE=1"], PIDS);
    let found = findings(&bundle.run_in_ours(&lab));
    assert_eq!(sorted(found.bad.keys()), sorted(NOT_IN_THE_FORMAT), "{:#?}", found.bad);
}

fn sorted<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().map(|name| name.as_ref().to_owned()).collect();
    names.sort_unstable();
    names
}
