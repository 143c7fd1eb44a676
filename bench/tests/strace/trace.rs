//! Traces one start and one removal of a box, as the suite itself makes them.
//!
//! `strace -ff` follows the whole of a short `tare run` and writes a file for each process. The spawner takes
//! its orders from a socket and answers there, so the part that belongs to one box lies between the message that
//! asks for it and the answer; to it belongs what the processes born in between do. The last start is taken: the
//! first one makes the run's directories too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tare_reports::document::Status;

use crate::common::{document, finish, root, row, skip, tare};
use crate::normal::{Names, Normaliser};

/// What the processes of one box called, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    /// Whose calls.
    pub(crate) title: String,
    /// Normalised, see `normal.rs`.
    pub(crate) calls: Vec<String>,
}

/// How the spawner is asked for a box, in the words of strace, and how for its removal.
struct Orders {
    start: &'static str,
    removal: &'static str,
}

fn orders(contender: &str) -> Orders {
    match contender {
        "tare" => Orders { start: r#"\"run\",\"--detach\""#, removal: r#"\"delete\","# },
        _ => Orders { start: r#"{\"Start\":"#, removal: r#"{\"Delete\":"# },
    }
}

/// The sections of one box of `contender`, or `None`, said aloud, where nothing can be traced.
pub(crate) fn of(contender: &str) -> Option<Vec<Section>> {
    if !root() {
        return None;
    }
    if Command::new("strace").arg("--version").output().is_err() {
        skip("root", "no strace (./scripts/setup, or apt-get install strace)");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let plain = tare(&out, &["startup", "--only", contender, "--rounds", "2"]);
    let mut traced = Command::new("strace");
    traced.args(["-ff", "-y", "-s", "65536", "-o"]).arg(dir.path().join("trace"));
    traced.arg(plain.get_program()).args(plain.get_args());
    let output = finish(&mut traced);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let document = document(&out);
    let row = row(&document, contender);
    if row.status == Status::Skipped {
        skip("root", row.reason.as_deref().unwrap_or("?"));
        return None;
    }
    assert_eq!(row.status, Status::Measured, "{row:?}");
    let names = Names { run: document.run.id.clone(), contender: contender.into(), out };
    Some(Traces { dir: dir.path().into(), names }.sections(&orders(contender)))
}

struct Traces {
    dir: PathBuf,
    names: Names,
}

impl Traces {
    fn sections(&self, orders: &Orders) -> Vec<Section> {
        let spawner = self.spawner();
        let start = between(&spawner, orders.start);
        let removal = between(&spawner, orders.removal);
        let mut sections = Vec::new();
        self.add(&mut sections, "start", "the spawner", start);
        self.add(&mut sections, "removal", "the spawner", removal);
        sections
    }

    /// The lines of the one process that receives orders.
    fn spawner(&self) -> Vec<String> {
        let files = fs::read_dir(&self.dir).unwrap().map(|entry| entry.unwrap().path());
        let traces: Vec<Vec<String>> = files.filter(|path| path.is_file()).map(|path| lines(&path)).collect();
        let orders = |trace: &Vec<String>| trace.iter().any(|line| is_order(line, r#"{\"Start\":"#));
        traces.into_iter().find(orders).expect("no process received an order")
    }

    /// Adds what these lines do, and then what the processes do that are born in them, until READY.
    fn add(&self, sections: &mut Vec<Section>, part: &str, who: &str, lines: Vec<String>) {
        let mut normaliser = Normaliser::new(&self.names);
        let ready = |line: &&String| !(line.starts_with("write(1") && line.contains("\"READY "));
        let lines: Vec<String> = lines.iter().take_while(ready).cloned().collect();
        let calls = normaliser.all(&lines);
        sections.push(Section { title: format!("{part}: {who}"), calls });
        for pid in lines.iter().filter_map(|line| born(line)) {
            let who = if who == "the spawner" && self.names.contender == "tare" {
                "tare-runtime"
            } else {
                "the box"
            };
            self.add(sections, part, who, self::lines(&self.dir.join(format!("trace.{pid}"))));
        }
    }
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn is_order(line: &str, order: &str) -> bool {
    line.starts_with("recvmsg(") && line.contains(order)
}

/// The spawner's calls from the last such order, exclusive, to its answer, exclusive.
fn between(spawner: &[String], order: &str) -> Vec<String> {
    let from = spawner.iter().rposition(|line| is_order(line, order)).expect("the order was never given");
    spawner[from + 1..].iter().take_while(|line| !line.starts_with("sendmsg(")).cloned().collect()
}

/// The id of the process that this call made.
fn born(line: &str) -> Option<u32> {
    line.starts_with("clone").then(|| line.rsplit_once("= ")?.1.trim().parse().ok())?
}
