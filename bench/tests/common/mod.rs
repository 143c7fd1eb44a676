//! What the tests on real boxes share.
#![allow(dead_code)] // each test file uses its part

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tare::site::Site;
use tare_reports::document::{Contender, Document, Sample, Status};

/// Says why a test is skipped; a failure where TARE_REQUIRE names what is missing.
pub(crate) fn skip(word: &str, why: &str) {
    let required = std::env::var("TARE_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|w| w == word), "{word} is required and missing: {why}");
    eprintln!("skipped: {why}");
}

/// Whether the test runs as root; says so when not.
pub(crate) fn root() -> bool {
    let root = nix::unistd::Uid::effective().is_root();
    if !root {
        skip("root", "needs root");
    }
    root
}

/// The directory with `tare` and `tare-runtime`; `cargo test` does not build another package's binary.
pub(crate) fn binaries() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package", "tare-runtime", "--bin", "tare-runtime"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .unwrap();
        assert!(status.success(), "tare-runtime must build");
        Path::new(env!("CARGO_BIN_EXE_tare")).parent().unwrap().to_owned()
    })
}

/// `tare` with arguments; results go below `out`.
pub(crate) fn tare(out: &Path, args: &[&str]) -> Command {
    binaries();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tare"));
    command.arg("run").args(args).arg("--out").arg(out).stdin(Stdio::null());
    command
}

/// What `TARE_CANARY` says where a test asks of a search what others on this machine must not decide: an answer that is
/// late because they compute does not end it. In milliseconds.
pub(crate) const PATIENT: &str = "5000";

/// Runs to the end.
pub(crate) fn finish(command: &mut Command) -> Output {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.output().unwrap()
}

/// The newest run below `out`.
pub(crate) fn document(out: &Path) -> Document {
    tare_reports::read(&out.join("latest/result.json")).unwrap()
}

/// A contender's row.
pub(crate) fn row<'a>(document: &'a Document, name: &str) -> &'a Contender {
    document.contenders.iter().find(|row| row.name == name).unwrap_or_else(|| panic!("no row {name}"))
}

/// A contender's samples of one quantity, without those of the A/A test.
pub(crate) fn samples<'a>(document: &'a Document, name: &str, quantity: &str) -> &'a [Sample] {
    document
        .series
        .iter()
        .find(|s| s.contender == name && s.quantity == quantity && s.parameters.aa.is_none())
        .map_or(&[], |s| s.samples.as_slice())
}

/// Asserts that all samples of a contender have values and returns them.
pub(crate) fn values(document: &Document, name: &str, quantity: &str) -> Vec<u64> {
    let samples = samples(document, name, quantity);
    assert!(!samples.is_empty(), "{name}/{quantity} has no samples; its row: {:?}", row(document, name));
    samples.iter().map(|s| s.value.unwrap_or_else(|| panic!("{name}/{quantity}: {s:?}"))).collect()
}

/// The median.
pub(crate) fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// Waits until the condition holds, for at most 60 seconds.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(60), "waited a minute for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// How many lines `samples.jsonl` of the newest run has.
pub(crate) fn lines(out: &Path) -> usize {
    std::fs::read_to_string(out.join("latest/samples.jsonl")).map_or(0, |text| text.lines().count())
}

/// A child that is killed and reaped when the test ends early.
pub(crate) struct Guard(pub(crate) Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A site that goes when the test does, however that ends.
pub(crate) struct Cleared(Option<Site>);

impl Cleared {
    pub(crate) fn of(site: Site) -> Self {
        Self(Some(site))
    }

    /// Takes it away now; what stays fails the test.
    pub(crate) fn remove(&mut self) -> anyhow::Result<()> {
        self.0.take().map_or(Ok(()), Site::remove)
    }
}

impl Deref for Cleared {
    type Target = Site;

    fn deref(&self) -> &Site {
        self.0.as_ref().expect("it is there until the end")
    }
}

impl Drop for Cleared {
    fn drop(&mut self) {
        // A test that fails says why by itself.
        let _ = self.remove();
    }
}

/// What a run with this id has left: its directory and its cgroups.
pub(crate) fn left_of(run: &str) -> Vec<PathBuf> {
    let mut left: Vec<PathBuf> = tare::host::cgroups::below(&format!("/tare/{run}"));
    left.push(tare::site::base().join(run));
    left.retain(|path| path.exists());
    left
}

/// Five rounds of these, as root; `None`, said aloud, where `tool` is missing. Nothing of the run may stay.
pub(crate) fn five_rounds(contenders: &str, tool: &str) -> Option<Document> {
    if !root() {
        return None;
    }
    let out = tempfile::tempdir().unwrap();
    let output = finish(&mut tare(out.path(), &["startup", "--only", contenders, "--rounds", "5"]));
    let document = document(out.path());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(left_of(&document.run.id), Vec::<std::path::PathBuf>::new());
    let census = document.run.census.as_ref().unwrap();
    assert_eq!(census.before.cgroups + census.before.files + census.before.mounts, 0);
    assert_eq!((census.after.cgroups, census.after.files, census.after.mounts), (0, 0, 0));
    assert_eq!(census.after.processes, 0);
    if row(&document, tool).status == Status::Skipped {
        skip(tool, row(&document, tool).reason.as_deref().unwrap_or("?"));
        return None;
    }
    Some(document)
}
