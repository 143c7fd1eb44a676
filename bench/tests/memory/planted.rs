//! Planted truth: a process whose memory is known, part by part, and what each method says of many of them.
//!
//! The process is this test's own executable, started again with one test that is no test: it says READY as a payload
//! does, and plants its parts when it is asked to touch memory. So the idle climb tells what it costs without them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use tare::contenders::{Contender, Description, Found, Missing, Surroundings, Undo};
use tare::host::{cgroups, facts};
use tare::lab::Lab;
use tare::measures::Measure;
use tare::measures::memory::Memory;
use tare::record::{Record, Visit};
use tare::site::{Site, Start};
use tare::spawner::protocol::Launch;
use tare_reports::document::{Document, Mode, Run, SCHEMA, Series};

use crate::{alone, common, means, series};

/// What each process has for itself.
const PRIVATE: u64 = 64 << 20;
/// What all of them share.
const SHARED: u64 = 64 << 20;
/// Memory of which something is read in every 2 MiB, so that there is a page of tables for each of these.
const SPARSE: u64 = 2 << 30;
/// Page tables of each: for that, and for what it has and shares.
const TABLES: u64 = (SPARSE + PRIVATE + SHARED) / (2 << 20) * 4096;
/// What lies in pipes of each.
const PIPES: usize = 4;
const PIPE: usize = 1 << 20;

/// The variables that make the child: its nonce, and the file that all share.
const NONCE: &str = "TARE_TEST_PLANTED_NONCE";
const FILE: &str = "TARE_TEST_PLANTED_FILE";

/// Not a test of its own: what a planted process does. Without a nonce it is nobody's child.
#[test]
fn child() {
    let Ok(nonce) = std::env::var(NONCE) else { return };
    // The count of boxes goes by the payload's name.
    fs::write("/proc/self/comm", "payload").unwrap();
    let mut planted = Vec::new();
    let mut tables = Vec::new();
    let mut pipes = Vec::new();
    // The harness has begun a line of its own.
    println!("\nREADY {nonce}");
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        if let Some(nonce) = line.strip_prefix("ping ") {
            println!("PONG {nonce}");
        } else if line == "exit" {
            std::process::exit(0);
        } else {
            // One huge page would need no table.
            nix::sys::prctl::set_thp_disable(true).unwrap();
            planted.extend(std::iter::repeat_n(1_u8, PRIVATE as usize));
            crate::sys::touch_shared(&File::options().read(true).write(true).open(env(FILE)).unwrap());
            // Of untouched memory a read maps the page that is zero for all, and costs the table alone.
            tables = vec![0_u8; SPARSE as usize];
            let read: u64 = tables.iter().step_by(2 << 20).map(|byte| u64::from(*byte)).sum();
            pipes.extend((0..PIPES).map(|_| full_pipe()));
            assert_eq!((read, planted[planted.len() / 2]), (0, 1));
            println!("OK {line}");
        }
    }
    drop((planted, tables, pipes));
}

fn env(name: &str) -> String {
    std::env::var(name).unwrap()
}

fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(PIPE as i32)).unwrap();
    writer.write_all(&vec![1; PIPE]).unwrap();
    (reader, writer)
}

/// Starts planted processes, each in a memory cgroup of its own.
#[derive(Debug)]
struct Planted {
    file: PathBuf,
}

impl Contender for Planted {
    fn description(&self) -> Description<'_> {
        Description { name: "planted", noisy_channel: true, ..Description::default() }
    }

    fn probe(&mut self, _: &Surroundings) -> Result<Found, Missing> {
        unreachable!("nobody asks")
    }

    fn launch(&mut self, site: &Site, start: &Start) -> anyhow::Result<Launch> {
        let cgroup = cgroup(site, start);
        fs::create_dir_all(&cgroup)?;
        let own = std::env::current_exe()?;
        let enter = "echo $$ > \"$0\" && exec \"$@\"";
        let procs = cgroup.join("cgroup.procs").display().to_string();
        let argv = ["/bin/sh", "-c", enter, &procs, own.to_str().unwrap(), "planted::child"]
            .into_iter()
            .chain(["--exact", "--nocapture", "--test-threads=1"]);
        Ok(Launch::Command {
            argv: argv.map(String::from).collect(),
            env: vec![(NONCE.into(), start.nonce.clone()), (FILE.into(), self.file.display().to_string())],
            overlay: None,
            dies_with_parent: true,
        })
    }

    fn command(&mut self, _: &Site) -> Vec<String> {
        Vec::new()
    }

    fn teardown(&self, site: &Site, start: &Start) -> Vec<Undo> {
        vec![Undo::IdleCgroups(format!("{}/{}", site.cgroup_parent(), start.id))]
    }

    fn leaves(&self, site: &Site, start: &Start) -> Vec<PathBuf> {
        vec![cgroup(site, start)]
    }
}

fn cgroup(site: &Site, start: &Start) -> PathBuf {
    let root = cgroups::root_of("memory").unwrap();
    root.join(site.cgroup_parent().trim_start_matches('/')).join(&start.id)
}

fn empty_document() -> Document {
    let run = Run {
        id: "planted".into(),
        started: "2026-11-28T00:00:00Z".into(),
        finished: None,
        seed: 1,
        profile: "quick".into(),
        complete: false,
        reliable: false,
        unreliable_because: Vec::new(),
        tare: "test".into(),
        command: Vec::new(),
        readings: Vec::new(),
        census: None,
        left_out: Vec::new(),
        host_changes: Vec::new(),
        merged_from: Vec::new(),
    };
    let host = facts::read("absent: not asked".into());
    Document {
        schema: SCHEMA,
        run,
        host,
        contenders: Vec::new(),
        series: Vec::new(),
        audit: Vec::new(),
        sameness: None,
    }
}

/// One climb without the parts and one with them.
fn climbs(number: u32) -> Document {
    let memfd = memfd_create("planted", MFdFlags::MFD_CLOEXEC).unwrap();
    let memfd = File::from(memfd);
    // No page of it is there before the first process writes one.
    memfd.set_len(SHARED).unwrap();
    let file = format!("/proc/{}/fd/{}", std::process::id(), memfd.as_raw_fd()).into();
    let mut contender = Planted { file };
    let dir = tempfile::tempdir().unwrap();
    let site = Site::create(&format!("planted-{}-{number}", std::process::id())).unwrap();
    let mut lab = Lab::open(env!("CARGO_BIN_EXE_tare").as_ref(), &dir.path().join("stderr"), 1).unwrap();
    let mut record = Record::create(&dir.path().join("out"), empty_document()).unwrap();
    let memory = Memory::default();
    let pass = memory.passes()[0];
    for parameters in &pass.settings(&contender) {
        let mut visit = Visit {
            record: &mut record,
            measure: "memory",
            contender: "planted",
            mode: Mode::Warm,
            round: 0,
            position: 0,
            parameters,
        };
        pass.visit(&mut lab, &site, &mut contender, &mut visit);
    }
    site.remove().unwrap();
    record.document
}

/// What is planted in so many processes, as a method or a line of the ledger sees it, less what they cost without.
fn found(document: &Document, of: impl Fn(&Document, &str) -> Vec<(u32, i64)>) -> Vec<(u32, f64)> {
    let idle = of(document, "idle");
    let ((few, less), (many, more)) = (idle[0], idle[idle.len() - 1]);
    let each = (more - less) as f64 / f64::from(many - few);
    let once = less as f64 - each * f64::from(few);
    let planted = of(document, "touched").into_iter();
    planted.map(|(boxes, bytes)| (boxes, bytes as f64 - once - each * f64::from(boxes))).collect()
}

fn method(quantity: &'static str) -> impl Fn(&Document, &str) -> Vec<(u32, i64)> {
    move |document, state| {
        let all = means(&series(document, "planted", quantity, state));
        all.into_iter().map(|(boxes, bytes)| (boxes, bytes as i64)).collect()
    }
}

fn line(name: &'static str) -> impl Fn(&Document, &str) -> Vec<(u32, i64)> {
    move |document, state| {
        let all = series(document, "planted", "host", state);
        let part =
            |it: &Series| *it.samples[0].parts.get(name).unwrap_or_else(|| panic!("no {name} in {it:?}"));
        all.into_iter().map(|(boxes, it)| (boxes, part(it))).collect()
    }
}

/// Whether each figure is within a twentieth of the truth: so much for each process, and so much for all.
fn within(what: &str, found: &[(u32, f64)], each: u64, all: u64) -> Result<(), String> {
    for (boxes, bytes) in found {
        let truth = f64::from(*boxes) * each as f64 + all as f64;
        if (bytes / truth - 1.0).abs() > 0.05 {
            return Err(format!("{what} of {boxes}: {bytes} for {truth}"));
        }
    }
    Ok(())
}

/// Whether the host's figures over all boxes are right, or what others did meanwhile.
fn judged(document: &Document) -> Result<(), String> {
    let host = ["idle", "touched"].map(|state| series(document, "planted", "host", state));
    let mut samples = host.iter().flat_map(BTreeMap::values).flat_map(|it| &it.samples);
    if let Some(why) = samples.find_map(|it| it.detail.clone()) {
        return Err(why);
    }
    within("payload", &found(document, line("payload")), PRIVATE, 0).unwrap();
    let top = |found: Vec<(u32, f64)>| found[found.len() - 1..].to_vec();
    let kernel = TABLES + (PIPES * PIPE) as u64;
    within("host", &top(found(document, method("host"))), PRIVATE + kernel, SHARED)?;
    within("page tables", &top(found(document, line("page tables"))), TABLES, 0)?;
    within("shared memory", &top(found(document, line("page cache and tmpfs"))), 0, SHARED)
}

#[test]
fn each_method_recovers_what_it_claims_to_see() {
    if !common::root() {
        return;
    }
    if cgroups::mode() == "v2" {
        common::skip(
            "cgroup-v1",
            "the planted process makes its cgroup in the tree of the v1 memory controller",
        );
        return;
    }
    let _alone = alone();
    // The host's figures are of all that runs here. Others come and go beside a test, and what was wrong by itself
    // would be wrong every time.
    let mut reasons = Vec::new();
    for number in 0..6 {
        let document = climbs(number);
        let kernel = TABLES + (PIPES * PIPE) as u64;
        // Of its own processes, whatever others do.
        within("pss", &found(&document, method("pss")), PRIVATE, SHARED).unwrap();
        within("cgroup", &found(&document, method("cgroup")), PRIVATE + kernel, SHARED).unwrap();
        match judged(&document) {
            Ok(()) => return,
            Err(reason) => reasons.push(reason),
        }
    }
    panic!("not once in {} tries: {reasons:#?}", reasons.len());
}
