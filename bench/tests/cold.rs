//! Cold starts. The host's own caches are left alone: `tare` runs in a mount namespace in which an ordinary file
//! stands where the kernel's would, and what it writes there is read afterwards.

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::{document, finish, root, row, samples, skip, tare};
use serde_json::json;
use tare_reports::document::{Document, Failure, HostChange, Mode, Series, Status};

const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

/// `tare run` as [`tare`] makes it, with `file` in the kernel's place, bound with these options more.
fn beside_the_kernel(file: &Path, options: &str, before: &[&str], plain: &Command) -> Command {
    let script = format!(
        "mount --bind {file} {DROP_CACHES} && {{ [ -z '{options}' ] || mount -o remount,bind,{options} {DROP_CACHES}; }} \
         && exec \"$@\"",
        file = file.display()
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"]).args(before);
    command.arg(plain.get_program()).args(plain.get_args());
    command
}

/// Two scripted contenders; the first is the one of the A/A test.
fn script(out: &Path) -> std::path::PathBuf {
    let took = |ready: u64| json!({"Took": {"ready": ready, "teardown": 7, "cpu": 5}});
    let path = out.join("script.json");
    let play = json!({"contenders": [
        {"name": "fake-a", "visits": [took(1000)]},
        {"name": "fake-b", "visits": [took(2000)]},
    ]});
    std::fs::write(&path, play.to_string()).unwrap();
    path
}

struct Run {
    out: tempfile::TempDir,
    output: Output,
}

impl Run {
    /// Runs with an empty file in the kernel's place.
    fn of(args: &[&str], options: &str, before: &[&str]) -> Self {
        let out = tempfile::tempdir().unwrap();
        let file = out.path().join("drop_caches");
        std::fs::write(&file, "").unwrap();
        let plain = tare(out.path(), args);
        let mut command = beside_the_kernel(&file, options, before, &plain);
        let output = finish(command.env("TARE_FAKE", script(out.path())).current_dir(out.path()));
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        Self { out, output }
    }

    fn document(&self) -> Document {
        document(self.out.path())
    }

    /// What was written where the kernel would have read it.
    fn written(&self) -> String {
        std::fs::read_to_string(self.out.path().join("drop_caches")).unwrap()
    }
}

fn of(document: &Document, mode: Mode) -> Vec<&Series> {
    document.series.iter().filter(|it| it.mode == mode).collect()
}

const FAKES: [&str; 5] = ["startup", "--only", "fake-a,fake-b", "--rounds", "30"];

#[test]
fn nothing_of_the_host_is_touched_unless_it_is_allowed() {
    if !root() {
        return;
    }
    let run = Run::of(&FAKES, "", &[]);
    let document = run.document();
    assert_eq!(run.written(), "");
    assert_eq!((of(&document, Mode::Cold).len(), document.run.host_changes.len()), (0, 0));
    let line = "mode cold: tare run startup --allow-host";
    assert!(document.run.left_out.iter().any(|it| it == line), "{:?}", document.run.left_out);
    let text = String::from_utf8_lossy(&run.output.stdout);
    assert!(text.contains(&format!("left out: {line}")), "{text}");
    let page = std::fs::read_to_string(run.out.path().join("latest/index.html")).unwrap();
    assert!(page.contains("changed no setting of the host"), "the page says that nothing was done");
    // A measure that has no cold pass does not speak of it.
    let other = Run::of(&["concurrency", "--only", "fake-a", "--rounds", "10"], "", &[]);
    assert!(!other.document().run.left_out.iter().any(|it| it.contains("cold")));
}

#[test]
fn cold_starts_are_series_of_their_own_and_each_drop_is_recorded() {
    if !root() {
        return;
    }
    let run = Run::of(&[&FAKES[..], &["--allow-host"]].concat(), "", &[]);
    let document = run.document();
    // A tenth of 30 rounds, two contenders, two drops for each visit.
    assert_eq!(run.written(), "3\n".repeat(3 * 2 * 2));
    let change = HostChange {
        setting: DROP_CACHES.into(),
        written: "3".into(),
        times: 12,
        restored: document.run.host_changes[0].restored.clone(),
    };
    assert_eq!(document.run.host_changes, [change]);
    assert!(document.run.host_changes[0].restored.starts_with("nothing to restore"));
    for (name, ready) in [("fake-a", 1000), ("fake-b", 2000)] {
        for (mode, count) in [(Mode::Warm, 30), (Mode::Cold, 3)] {
            for (quantity, value) in [("ready", ready), ("teardown", 7), ("cpu", 5)] {
                let found = document.series.iter().find(|it| {
                    (&*it.contender, it.mode, &*it.quantity) == (name, mode, quantity)
                        && it.parameters.aa.is_none()
                });
                let values: Vec<_> = found.unwrap().samples.iter().map(|it| it.value).collect();
                assert_eq!(values, vec![Some(value); count], "{name} {mode:?} {quantity}");
            }
        }
    }
    assert_eq!(of(&document, Mode::Cold).len(), 6, "no A/A test on a host that is kept busy by ourselves");
    assert_eq!(document.run.readings.len(), 30, "nor are these rounds judged for noise");
    assert!(!document.run.left_out.iter().any(|it| it.contains("mode cold")), "{:?}", document.run.left_out);
    let schema: serde_json::Value = serde_json::from_str(include_str!("../../reports/schema.json")).unwrap();
    let text = std::fs::read_to_string(run.out.path().join("latest/result.json")).unwrap();
    assert!(jsonschema::is_valid(&schema, &serde_json::from_str(&text).unwrap()));
    let page = std::fs::read_to_string(run.out.path().join("latest/index.html")).unwrap();
    for part in ["startup-ready-warm", "startup-ready-cold", DROP_CACHES, "nothing to restore"] {
        assert!(page.contains(part), "{part} is on the page");
    }
    for item in [7, 19, 20] {
        let it = document.audit.iter().find(|it| it.item == item).unwrap();
        assert_ne!(it.verdict, tare_reports::document::Verdict::Failed, "{item}: {}", it.evidence);
    }
}

#[test]
fn each_cold_start_comes_right_after_its_drops() {
    if !root() {
        return;
    }
    if Command::new("strace").arg("--version").output().is_err() {
        skip("root", "no strace (./scripts/setup, or apt-get install strace)");
        return;
    }
    let strace = ["strace", "-y", "-s", "200", "-e", "trace=write", "-o", "trace"];
    let run = Run::of(&[&FAKES[..], &["--allow-host"]].concat(), "", &strace);
    let trace = std::fs::read_to_string(run.out.path().join("trace")).unwrap();
    let events: String = trace
        .lines()
        .filter_map(|line| match line {
            _ if line.contains("drop_caches>, \"3\\n\"") => Some('d'),
            _ if line.contains("samples.jsonl") && line.contains(r#"\"quantity\":\"ready\""#) => {
                Some(if line.contains(r#"\"mode\":\"cold\""#) { 'c' } else { 'w' })
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        events,
        format!("{}{}", "w".repeat(90), "ddc".repeat(6)),
        "warm first, then each after its own"
    );
}

#[test]
fn a_start_whose_caches_were_not_cold_is_no_number() {
    if !root() {
        return;
    }
    // Nothing is dropped behind this file: every cold sample must notice.
    let args = ["startup", "--only", "process,tare", "--rounds", "20", "--allow-host"];
    let run = Run::of(&args, "", &[]);
    let document = run.document();
    assert_eq!(run.written(), "3\n".repeat(2 * 2), "no start, so no second drop");
    for name in ["process", "tare"] {
        assert_eq!(row(&document, name).status, Status::Measured);
        let cold: Vec<_> = of(&document, Mode::Cold).into_iter().filter(|it| it.contender == name).collect();
        assert_eq!(cold.len(), 3, "ready, teardown, cpu");
        for sample in cold.iter().flat_map(|it| &it.samples) {
            let detail = sample.detail.as_deref().unwrap();
            assert_eq!((sample.value, sample.failure), (None, Some(Failure::NotMeasured)), "{detail}");
            assert!(detail.contains("the caches were not cold") && detail.contains("pages of /"), "{detail}");
        }
        assert!(samples(&document, name, "ready").iter().all(|it| it.value.is_some()), "warm ones are whole");
    }
}

#[test]
fn a_kernel_that_refuses_leaves_cold_starts_out_with_the_reason() {
    if !root() {
        return;
    }
    let run = Run::of(&[&FAKES[..], &["--allow-host"]].concat(), "ro", &[]);
    let document = run.document();
    assert_eq!((run.written(), of(&document, Mode::Cold).len()), (String::new(), 0));
    let line = document.run.left_out.iter().find(|it| it.starts_with("mode cold")).unwrap();
    assert!(
        line.contains("Read-only file system") && line.contains("as root, outside of containers"),
        "{line}"
    );
}

#[test]
fn a_program_in_memory_is_never_cold_and_one_from_a_pool_is_not_asked() {
    if !root() {
        return;
    }
    let shm = Path::new("/dev/shm");
    if nix::sys::statfs::statfs(shm).map(|it| it.filesystem_type()) != Ok(nix::sys::statfs::TMPFS_MAGIC) {
        eprintln!("skipped: /dev/shm is no tmpfs here");
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let dir = tempfile::tempdir_in(shm).unwrap();
    let runtime = dir.path().join("tare-runtime");
    std::fs::copy(common::binaries().join("tare-runtime"), &runtime).unwrap();
    let file = out.path().join("drop_caches");
    std::fs::write(&file, "").unwrap();
    let args = ["startup", "--only", "tare,tare-pool", "--rounds", "10", "--allow-host"];
    let plain = tare(&out.path().join("runs"), &args);
    let mut command = beside_the_kernel(&file, "", &[], &plain);
    let output = finish(command.env("TARE_RUNTIME", &runtime));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let document = document(&out.path().join("runs"));
    let cold = of(&document, Mode::Cold);
    assert!(cold.iter().all(|it| it.contender == "tare"), "a pool is a mode of its own");
    let detail = cold[0].samples[0].detail.as_deref().unwrap();
    assert!(detail.contains("lies in memory") && detail.contains("/dev/shm"), "{detail}");
}
