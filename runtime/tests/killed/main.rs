//! kill -9 of the runtime in the middle of its work, at fifty random points: then one `delete --force`, and
//! nothing is left. Points are system calls, exactly, by strace, and moments.

mod amid;
#[path = "../common/mod.rs"]
mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::bundle::{Bundle, call, eventually};
use common::{Lab, entries, has_strace};

/// Everything that the runtime and its boxes are recognised by while they live.
const MARK: &str = "TARE_KILLED";

/// What is killed in the middle.
#[derive(Clone, Copy, Debug)]
enum Work {
    Create,
    Start,
    Delete,
    Run,
    RunRootfs,
}

const ALL: [Work; 5] = [Work::Create, Work::Start, Work::Delete, Work::Run, Work::RunRootfs];
/// Of each sort of point, for each of the five.
const POINTS: u64 = 5;

struct Scene<'a> {
    lab: &'a Lab,
    bundle: Bundle<'a>,
    mark: String,
}

impl Scene<'_> {
    fn words(&self, work: Work) -> Vec<String> {
        let bundle = self.bundle.directory.display().to_string();
        let image = self.lab.image().display().to_string();
        let words = match work {
            Work::Create => vec!["create", "--bundle", &bundle, "k"],
            Work::Start => vec!["start", "k"],
            Work::Delete => vec!["delete", "--force", "k"],
            Work::Run => vec!["run", "-d", "--bundle", &bundle, "k"],
            Work::RunRootfs => vec![
                "run",
                "-d",
                "--cgroup-parent",
                &self.lab.parent,
                "--env",
                &self.mark,
                "--rootfs",
                &image,
                "k",
                "--",
                "/bin/sleep",
                "1000",
            ],
        };
        words.into_iter().map(str::to_owned).collect()
    }

    /// The command below `wrapper`, marked.
    fn command(&self, wrapper: &[String], words: &[String]) -> Command {
        let inner = self.lab.command(&[]);
        let all: Vec<_> = wrapper
            .iter()
            .map(Into::into)
            .chain([inner.get_program().to_owned()])
            .chain(inner.get_args().map(ToOwned::to_owned))
            .chain(words.iter().map(Into::into))
            .collect();
        let mut command = Command::new(&all[0]);
        let (name, value) = self.mark.split_once('=').expect("mark");
        command.args(&all[1..]).env(name, value).stdin(Stdio::null());
        command
    }

    fn done(&self, words: &[&str]) {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        call(self.lab, self.command(&[], &words)).ok();
    }

    /// What has to be there before.
    fn before(&self, work: Work) {
        let bundle = self.bundle.directory.display().to_string();
        if matches!(work, Work::Start | Work::Delete) {
            self.done(&["create", "--bundle", &bundle, "k"]);
        }
        if matches!(work, Work::Delete) {
            self.done(&["start", "k"]);
        }
    }

    /// Processes of ours that live.
    fn alive(&self) -> Vec<String> {
        // Whoever has ended has no environment any more.
        let ours = |process: &Path| {
            let environ = fs::read(process.join("environ")).unwrap_or_default();
            let has = environ.split(|b| *b == 0).any(|entry| entry == self.mark.as_bytes());
            has.then(|| fs::read_to_string(process.join("stat")).unwrap_or_default())
        };
        let pids = entries(Path::new("/proc")).into_iter().filter(|p| {
            p.file_name().is_some_and(|name| name.to_string_lossy().bytes().all(|b| b.is_ascii_digit()))
        });
        pids.filter_map(|p| ours(&p)).collect()
    }

    #[track_caller]
    fn ends_clean(&self, what: &str) {
        let words: Vec<String> = ["delete", "--force", "k"].iter().map(ToString::to_string).collect();
        let deleted = call(self.lab, self.command(&[], &words));
        assert!(deleted.code == Some(0) || deleted.err.contains("does not exist"), "{what}: {deleted:?}");
        assert_eq!(self.lab.leftovers(), Vec::<std::path::PathBuf>::new(), "{what}");
        eventually(&format!("{what}: the end of {:?}", self.alive()), || self.alive().is_empty());
        // None came back after the deletion.
        assert_eq!(self.lab.leftovers(), Vec::<std::path::PathBuf>::new(), "{what}");
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        assert!(!mounts.contains(&self.lab.path().display().to_string()), "{what}: {mounts}");
    }
}

/// Good enough to scatter points, and the same from the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Each call of a trace, as strace counts it: by name, and which of that name.
fn calls(trace: &str) -> Vec<(String, usize)> {
    let mut seen = std::collections::BTreeMap::new();
    let names = trace.lines().filter_map(|line| line.split_once('(').map(|(name, _)| name));
    let plain = names.filter(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
    let numbered = plain.map(|name| {
        let count = seen.entry(name.to_owned()).or_insert(0);
        *count += 1;
        (name.to_owned(), *count)
    });
    numbered.collect()
}

fn seed() -> u64 {
    let given = std::env::var("TARE_SEED").ok().and_then(|seed| seed.parse().ok());
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("clock").as_secs();
    given.unwrap_or_else(now)
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_is_left_of_a_runtime_that_was_killed_at_fifty_points() {
    let Some(lab) = Lab::new() else { return };
    if !has_strace() {
        return;
    }
    let seed = seed();
    eprintln!("seed {seed} (TARE_SEED={seed} repeats it)");
    let mut random = Random(seed);
    let mark = format!("{MARK}={}-{seed}", std::process::id());
    let mut bundle = Bundle::new(&lab, "k", "exec sleep 1000");
    bundle.config["process"]["env"] = serde_json::json!(["PATH=/bin", mark]);
    bundle.write();
    let scene = Scene { lab: &lab, bundle, mark };
    let mut killed = 0;
    for work in ALL {
        // How many calls it makes, and how long it takes.
        let trace = lab.path().join("trace");
        scene.before(work);
        let start = Instant::now();
        call(&lab, scene.command(&[], &scene.words(work))).ok();
        let duration = start.elapsed();
        scene.ends_clean("undisturbed");
        scene.before(work);
        let wrapper = strings(&["strace", "-o", trace.to_str().expect("utf-8")]);
        call(&lab, scene.command(&wrapper, &scene.words(work))).ok();
        scene.ends_clean("traced");
        let calls = calls(&fs::read_to_string(&trace).expect("trace"));
        for _ in 0..POINTS {
            let point = random.below(calls.len() as u64) as usize;
            scene.before(work);
            let (name, nth) = &calls[point];
            let inject = format!("inject={name}:signal=KILL:when={nth}");
            let wrapper = strings(&["strace", "-o", "/dev/null", "-e", &inject]);
            let called = call(&lab, scene.command(&wrapper, &scene.words(work)));
            killed += u32::from(called.code != Some(0));
            scene.ends_clean(&format!(
                "{work:?} killed at call {point} of {}, {name} number {nth}",
                calls.len()
            ));

            let delay = Duration::from_micros(random.below(duration.as_micros() as u64));
            scene.before(work);
            let mut command = scene.command(&[], &scene.words(work));
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("spawn");
            std::thread::sleep(delay);
            let _ = child.kill();
            killed += u32::from(child.wait().expect("wait").code().is_none());
            scene.ends_clean(&format!("{work:?} killed after {delay:?} of {duration:?}"));
        }
    }
    // Some points lie behind the last thing it does; if many did, this would say nothing.
    assert!(killed >= 30, "only {killed} of 50 were killed before their end");
}

/// Between its birth and its id map a box waits for its parent; without one it must not wait for ever.
#[test]
fn a_box_whose_ids_nobody_writes_any_more_ends_by_itself() {
    let Some(lab) = Lab::new() else { return };
    if !has_strace() {
        return;
    }
    let mark = format!("{MARK}=ids-{}", std::process::id());
    let mut bundle = Bundle::new(&lab, "k", "exec sleep 1000");
    bundle.config["process"]["env"] = serde_json::json!(["PATH=/bin", mark]);
    bundle.config["linux"]["namespaces"]
        .as_array_mut()
        .expect("list")
        .push(serde_json::json!({"type": "user"}));
    for map in ["uidMappings", "gidMappings"] {
        bundle.config["linux"][map] =
            serde_json::json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    }
    bundle.write();
    let scene = Scene { lab: &lab, bundle, mark };
    let trace = lab.path().join("trace");
    for work in [Work::Create, Work::Run] {
        let wrapper = strings(&["strace", "-o", trace.to_str().expect("utf-8")]);
        call(&lab, scene.command(&wrapper, &scene.words(work))).ok();
        scene.ends_clean("traced");
        let text = fs::read_to_string(&trace).expect("trace");
        let until = text.find("/uid_map").expect("the map is written");
        let (name, nth) = calls(&text[..until]).pop().expect("calls");
        let wrapper =
            strings(&["strace", "-o", "/dev/null", "-e", &format!("inject={name}:signal=KILL:when={nth}")]);
        let called = call(&lab, scene.command(&wrapper, &scene.words(work)));
        assert_ne!(called.code, Some(0));
        eventually(&format!("{work:?}: the end of {:?}", scene.alive()), || scene.alive().is_empty());
        scene.ends_clean("killed before the map");
    }
}
