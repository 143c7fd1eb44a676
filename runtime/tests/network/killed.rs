//! kill -9 in the middle of a start or a deletion: one `delete --force`, or the next start, takes the rest away.

use std::fs;
use std::process::{Command, Stdio};

use crate::common::{Lab, has_strace};
use crate::{Census, apart, start, unique};

/// Where a start or a deletion with a network makes or takes away what could stay: by the first that a line of its trace
/// has of these, killed before it and after it.
const POINTS: [&str; 10] = [
    "plan.json",
    ".network/10.",
    "bridge.json",
    "NETLINK_ROUTE",
    "RTM_NEWLINK",
    "RTM_NEWADDR",
    "listen(",
    "clone3(",
    "socketpair(",
    "state.json",
];

/// The number of a system call among those of its name, for each line of a trace.
fn calls(trace: &str) -> Vec<(String, usize, String)> {
    let mut seen = std::collections::BTreeMap::new();
    let lines = trace.lines().filter_map(|line| Some((line.split_once('(')?.0, line)));
    lines
        .filter(|(name, _)| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
        .map(|(name, line)| {
            let count = seen.entry(name.to_owned()).or_insert(0);
            *count += 1;
            (name.to_owned(), *count, line.to_owned())
        })
        .collect()
}

struct Scene<'a> {
    lab: &'a Lab,
    id: String,
}

impl Scene<'_> {
    fn words(&self, work: &str) -> Vec<String> {
        let image = self.lab.image().display().to_string();
        let parent = &self.lab.parent;
        let line = match work {
            "run" => format!(
                "run -d --network bridge -p :80 --cgroup-parent {parent} --rootfs {image} {} -- sleep 1000",
                self.id
            ),
            _ => format!("delete --force {}", self.id),
        };
        line.split(' ').map(str::to_owned).collect()
    }

    fn under_strace(&self, options: &[&str], work: &str) -> bool {
        let inner = self.lab.command(&[]);
        let mut command = Command::new("strace");
        command.args(options).arg(inner.get_program()).args(inner.get_args()).args(self.words(work));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().expect("strace").success()
    }

    /// Exists or not, afterwards it does not.
    fn clear(&self) {
        let mut delete = self.lab.command(&[]);
        delete.args(self.words("delete")).stdout(Stdio::null()).stderr(Stdio::null());
        delete.status().expect("delete");
    }
}

#[test]
fn whatever_a_killed_start_or_deletion_left_goes_with_the_next_deletion() {
    apart(|| {
        let Some(lab) = Lab::new() else { return };
        if !has_strace() {
            return;
        }
        let scene = Scene { id: unique(&lab, "k"), lab: &lab };
        let before = Census::take(&lab);
        let trace = lab.path().join("trace");
        let options = ["-o", trace.to_str().expect("utf-8")];
        let mut killed = 0;
        for work in ["run", "delete"] {
            let prepare = || {
                if work == "delete" {
                    start(&lab, &["--network", "bridge", "-p", ":80"], &scene.id, "sleep 1000");
                }
            };
            prepare();
            assert!(scene.under_strace(&options, work));
            scene.clear();
            assert_eq!(Census::take(&lab), before, "{work} undisturbed");
            let calls = calls(&fs::read_to_string(&trace).expect("trace"));
            let mut points: Vec<usize> = POINTS
                .iter()
                .filter_map(|point| calls.iter().position(|(_, _, line)| line.contains(point)))
                .flat_map(|at| [at, at + 1])
                .chain(calls.iter().enumerate().filter(|(_, it)| it.2.contains("RTM_")).map(|(at, _)| at + 1))
                .filter(|at| *at < calls.len())
                .collect();
            points.sort_unstable();
            points.dedup();
            for point in points {
                let (name, nth, line) = &calls[point];
                prepare();
                let inject = format!("inject={name}:signal=KILL:when={nth}");
                killed += u32::from(!scene.under_strace(&["-o", "/dev/null", "-e", &inject], work));
                scene.clear();
                assert_eq!(Census::take(&lab), before, "{work} killed at {line}");
            }
        }
        assert!(killed >= 20, "only {killed} were killed before their end");
    });
}

#[test]
fn what_a_power_failure_has_left_of_leases_is_in_no_later_boxs_way() {
    apart(|| {
        let Some(lab) = Lab::new() else { return };
        let before = Census::take(&lab);
        // All that had not come to the disk is empty.
        let leases = lab.root().join(".network");
        fs::create_dir_all(&leases).expect("mkdir");
        for name in ["10.208.9.9", "10.208.9.9.rules", "bridge.json"] {
            fs::write(leases.join(name), "").expect("write");
        }
        let id = unique(&lab, "later");
        start(&lab, &["--network", "bridge"], &id, "sleep 1000");
        crate::delete(&lab, &id);
        assert!(!leases.exists(), "{:?}", crate::common::entries(&leases));
        assert_eq!(Census::take(&lab), before);
    });
}

#[test]
fn a_lease_whose_box_is_gone_is_taken_by_the_next_start_with_all_it_stands_for() {
    apart(|| {
        let Some(lab) = Lab::new() else { return };
        let before = Census::take(&lab);
        let (lost, next) = (unique(&lab, "lost"), unique(&lab, "next"));
        start(&lab, &["--network", "bridge"], &lost, "sleep 1000");
        let address = crate::address(&lab, &lost);
        // Somebody kills the box and removes its directory by hand.
        let state = lab.runtime().load(&tare_runtime::Id::new(&lost).expect("id")).expect("state");
        lab.runtime().kill(&state.id, 9).expect("kill");
        crate::common::bundle::eventually("its end", || lab.runtime().kill(&state.id, 9).is_err());
        fs::remove_dir_all(lab.root().join(&lost)).expect("remove");
        for directory in state.cgroups {
            crate::common::bundle::eventually("an empty cgroup", || fs::remove_dir(&directory).is_ok());
        }
        start(&lab, &["--network", "bridge"], &next, "sleep 1000");
        assert_eq!(crate::address(&lab, &next), address);
        crate::delete(&lab, &next);
        assert_eq!(Census::take(&lab), before);
    });
}
