//! Every rung of the ladder is a box that works, has what it says and nothing further up, and leaves nothing.

mod common;

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::Path;

use common::{Lab, stderr, stdout};
use tare_runtime::ladder::RUNGS;

/// What a box tells of itself, line by line: `key value`. A line that needs /proc is without a value where
/// there is none, on the one rung between leaving the host's and mounting its own.
const LOOK: &str = "
    for ns in pid mnt net ipc uts cgroup; do echo $ns $(readlink /proc/self/ns/$ns); done
    echo number $$
    read own name state parent group session rest < /proc/self/stat; echo session $own $session
    echo counted $(grep -c PARENT /proc/self/cgroup)
    echo layers $(grep -c ' MERGED ' /proc/self/mountinfo)
    echo marker $(test -e MARKER && echo seen)
    echo proc $(test -e /proc/self/stat && echo mounted)
    echo sys $(test -e /sys/kernel && echo mounted)
    echo null $(test -c /dev/null && echo there)
    echo keys $(wc -c < /proc/keys)
    echo settings $(grep -c ' /sys /proc/sys ro' /proc/self/mountinfo)
    echo hostname $(hostname)
    echo loopback $(ifconfig lo | grep -c UP)
    for word in CapBnd CapEff NoNewPrivs Seccomp; do
        set -- $(grep $word: /proc/self/status); echo $word $2
    done
";

/// The lines from which a rung can be told, the rung from which on they say so, and what they say then;
/// a namespace says something new for each box.
const TELLS: [(&str, &str, Option<&str>); 17] = [
    ("pid", "pid", None),
    ("number", "pid", Some("1")),
    ("mnt", "mount", None),
    ("net", "network", None),
    ("ipc", "ipc", None),
    ("uts", "uts", None),
    ("session", "session", Some("its own")),
    ("marker", "pivot", Some("")),
    ("null", "dev", Some("there")),
    ("cgroup", "cgroup-namespace", None),
    ("keys", "mask", Some("0")),
    ("settings", "read-only", Some("1")),
    ("hostname", "hostname", Some("rung")),
    ("CapBnd", "bounding-set", Some("00000000a00425fb")),
    ("CapEff", "bounding-set", Some("00000000a00425fb")),
    ("NoNewPrivs", "no-new-privileges", Some("1")),
    ("Seccomp", "seccomp", Some("2")),
];

/// The inverse: lines that say this on these rungs, from the first to the one before the second, and
/// something else on all others.
const BETWEEN: [(&str, &str, &str, &str); 6] = [
    ("counted", "cgroup", "cgroup-namespace", "yes"),
    ("layers", "overlay", "pivot", "1"),
    ("proc", "pivot", "proc", ""),
    ("sys", "pivot", "sys", ""),
    ("null", "pivot", "dev", ""),
    ("loopback", "network", "loopback", "0"),
];

fn place(rung: &str) -> usize {
    RUNGS.iter().position(|it| *it == rung).unwrap_or_else(|| panic!("no rung {rung}"))
}

/// A box on the rung, asked for all of the above.
fn look(lab: &Lab, until: &str) -> BTreeMap<String, String> {
    // Below "pivot" the command is the image's, and the programs that it calls are looked for on the host.
    let path = format!("PATH=/bin:{}", lab.image().join("bin").display());
    let marker = lab.path().join("marker");
    std::fs::write(&marker, "").expect("marker");
    let script = LOOK
        .replace("MARKER", &marker.display().to_string())
        .replace("MERGED", &lab.root().join(until).join("merged").display().to_string())
        .replace("PARENT", lab.parent.trim_start_matches('/'));
    let options = ["--until", until, "--env", &path, "--hostname", "rung"];
    let output = lab.run_with(&options, until, &["/bin/sh", "-c", &script]);
    assert!(output.status.success(), "{until}: {} {}", stderr(&output), stdout(&output));
    let text = stdout(&output);
    let lines = text.lines().map(|line| line.split_once(' ').unwrap_or((line, "")));
    let mut lines: BTreeMap<_, _> = lines.map(|(key, it)| (key.to_owned(), it.trim().to_owned())).collect();
    if lines["counted"] != "0" {
        lines.insert("counted".into(), "yes".into());
    }
    // The shell's number and that of its session: whose /proc it is decides how they are called.
    if lines["session"].split_once(' ').is_some_and(|(shell, session)| shell == session) {
        lines.insert("session".into(), "its own".into());
    }
    lines
}

#[test]
fn every_rung_is_a_box_that_has_what_it_says_and_nothing_beyond() {
    let Some(lab) = Lab::new() else { return };
    let bare = look(&lab, RUNGS[0]);
    for (step, until) in RUNGS.iter().enumerate() {
        let seen = look(&lab, until);
        let blind = |line: &str| seen["proc"].is_empty() && seen[line].is_empty() && !line.contains("proc");
        for (line, rung, says) in TELLS.iter().filter(|(line, ..)| !blind(line) || *line == "marker") {
            let (value, host) = (&seen[*line], &bare[*line]);
            match says {
                Some(says) if step >= place(rung) => assert_eq!(value, says, "{until}: {line}"),
                None if step >= place(rung) => assert_ne!(value, host, "{until}: {line}"),
                // These are others for each process.
                Some(says) if ["number", "session"].contains(line) => {
                    assert_ne!(value, says, "{until}: {line}");
                }
                // Devices go with the host's root and come with the box's own.
                _ if *line == "null" => {}
                _ => assert_eq!(value, host, "{until}: {line} must be as on the first rung"),
            }
        }
        for (line, first, end, says) in BETWEEN.iter().filter(|(line, ..)| !blind(line) || *line == "proc") {
            let between = (place(first)..place(end)).contains(&step);
            assert_eq!(seen[*line] == *says, between, "{until}: {line} says {:?}", seen[*line]);
        }
    }
    assert_eq!(lab.leftovers(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_rung_that_is_none_is_refused_by_name_and_leaves_nothing() {
    let Some(lab) = Lab::new() else { return };
    let output = lab.run_with(&["--until", "attic"], "box", &["/bin/true"]);
    assert!(!output.status.success());
    let said = stderr(&output);
    assert!(said.contains("attic") && said.contains("process, cgroup, pid"), "{said}");
    assert_eq!(lab.leftovers(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn detached_rungs_are_deleted_without_a_trace() {
    let Some(lab) = Lab::new() else { return };
    for until in RUNGS {
        let mut spec = lab.spec(until, &["/bin/sleep", "60"]);
        spec.until = Some((*until).into());
        let null = std::fs::File::options().read(true).write(true).open("/dev/null").expect("null");
        let runtime = lab.runtime();
        let stdio = [null.as_fd(), null.as_fd(), null.as_fd()];
        let container = runtime.run(&spec, stdio).unwrap_or_else(|error| panic!("{until}: {error}"));
        let status = std::fs::read_to_string(format!("/proc/{}/status", container.pid)).expect("status");
        assert!(status.starts_with("Name:\tsleep\n"), "{until}: {status}");
        let counted = container.cgroups.iter().all(|it| it.is_dir());
        assert_eq!(!container.cgroups.is_empty(), place(until) >= place("cgroup"), "{until}");
        assert!(counted, "{until}");
        runtime.delete(&container.id, true).unwrap_or_else(|error| panic!("{until}: {error}"));
        assert_eq!(lab.leftovers(), Vec::<std::path::PathBuf>::new(), "{until}");
        // Without a pid namespace a killed process is all there is to the box; it must be gone too.
        assert!(!Path::new(&format!("/proc/{}/exe", container.pid)).exists() || container.wait().is_ok());
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        assert!(!mounts.contains(&lab.root().display().to_string()), "{until}: a mount reached the host");
    }
}
