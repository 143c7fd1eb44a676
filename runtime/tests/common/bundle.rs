//! Bundles made by `tare-runtime spec`, and the command line called as an engine calls it.
#![allow(dead_code)] // each test program uses its own part

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Lab, wait};

/// How a command of ours ended.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
    /// Where standard output goes on, if a box has inherited it.
    pub(crate) file: PathBuf,
}

impl Called {
    /// Status 0 and nothing on standard error; what it printed.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert!(self.code == Some(0) && self.err.is_empty(), "{self:?}");
        self.out
    }

    /// Status 1 and one line on standard error that holds `words`.
    #[track_caller]
    pub(crate) fn refused(self, words: &str) {
        assert_eq!(self.code, Some(1), "{words:?} expected: {self:?}");
        assert!(self.err.contains(words), "{words:?} expected: {self:?}");
        assert!(self.err.starts_with("tare-runtime: ") && self.err.lines().count() == 1, "{self:?}");
    }
}

/// Runs it with its output in files: a box inherits them, and a pipe would stay open as long as it runs.
pub(crate) fn call(lab: &Lab, mut command: Command) -> Called {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let (out, err) = (lab.path().join(format!("out{number}")), lab.path().join(format!("err{number}")));
    let file = |path: &Path| fs::File::create(path).expect("file for output");
    let child = command.stdout(file(&out)).stderr(file(&err)).spawn().expect("spawn");
    let code = wait(child);
    let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).expect("output")).into_owned();
    Called { code, out: read(&out), err: read(&err), file: out }
}

/// `tare-runtime` with these arguments.
pub(crate) fn tare(lab: &Lab, arguments: &[&str]) -> Called {
    call(lab, lab.command(arguments))
}

/// Waits for a condition, or panics after a minute.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A bundle for one box, named like it.
pub(crate) struct Bundle<'a> {
    lab: &'a Lab,
    pub(crate) id: &'static str,
    pub(crate) directory: PathBuf,
    pub(crate) config: Value,
}

impl<'a> Bundle<'a> {
    /// The default, with the laboratory's image and cgroup, for a shell that runs `script`.
    pub(crate) fn new(lab: &'a Lab, id: &'static str, script: &str) -> Self {
        let directory = lab.path().join("bundles").join(id);
        fs::create_dir_all(&directory).expect("mkdir");
        let mut spec = lab.command(&["spec", "--bundle"]);
        spec.arg(&directory).stdout(Stdio::null());
        assert!(spec.status().expect("spec").success());
        let text = fs::read_to_string(directory.join("config.json")).expect("config.json");
        let mut config: Value = serde_json::from_str(&text).expect("JSON");
        config["process"]["args"] = json!(["sh", "-c", script]);
        config["root"]["path"] = json!(lab.image());
        config["linux"]["cgroupsPath"] = json!(format!("{}/{id}", lab.parent));
        Self { lab, id, directory, config }
    }

    pub(crate) fn write(&self) {
        let text = serde_json::to_vec(&self.config).expect("JSON");
        fs::write(self.directory.join("config.json"), text).expect("config.json");
    }

    fn with_bundle(&self, words: &[&str]) -> Called {
        self.write();
        let directory = self.directory.display().to_string();
        tare(self.lab, &[words, &["--bundle", directory.as_str(), self.id]].concat())
    }

    pub(crate) fn create(&self) -> Called {
        self.with_bundle(&["create"])
    }

    /// Creates and starts; the output's file.
    #[track_caller]
    pub(crate) fn up(&self) -> PathBuf {
        let created = self.create();
        let file = created.file.clone();
        created.ok();
        tare(self.lab, &["start", self.id]).ok();
        file
    }

    /// `run` in the foreground.
    pub(crate) fn run(&self) -> Called {
        self.with_bundle(&["run"])
    }

    /// Adds a mount.
    pub(crate) fn mount(&mut self, destination: &str, kind: &str, source: &str, options: &[&str]) {
        let mount = json!({"destination": destination, "type": kind, "source": source, "options": options});
        self.config["mounts"].as_array_mut().expect("mounts").push(mount);
    }

    /// Adds a bind of a path on the host.
    pub(crate) fn bind(&mut self, source: &Path, destination: &str, options: &[&str]) {
        self.mount(destination, "bind", source.to_str().expect("utf-8"), options);
    }

    pub(crate) fn exec(&self, options: &[&str], command: &[&str]) -> Called {
        tare(self.lab, &[&["exec"], options, &[self.id], command].concat())
    }

    pub(crate) fn state(&self) -> Value {
        serde_json::from_str(&tare(self.lab, &["state", self.id]).ok()).expect("JSON")
    }

    pub(crate) fn status(&self) -> String {
        self.state()["status"].as_str().expect("status").to_owned()
    }

    #[track_caller]
    pub(crate) fn force(&self) {
        tare(self.lab, &["delete", "--force", self.id]).ok();
    }
}
