//! kill -9 of a run that holds hundreds of boxes, at random moments: what it started ends by itself, `tare clean`
//! takes the rest away, and what is not ours but looks like it stays.
//!
//! Three moments: one while the boxes become more, one while they are held, one while they are taken down. With
//! `TARE_KILLS=20` it is twenty. The moments are drawn from a fixed seed; `TARE_SEED` is another.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Guard, PATIENT, binaries, left_of, root, tare, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tare::host::{cgroups, process};
use tare::payload::PAYLOAD;
use tare::site::base;

/// At least so many boxes stand when the run is killed.
const STAND: u64 = 200;

/// So many stand while the search holds them: the first of its rungs that is above that.
const RUNG: u64 = 256;

/// How long they have to hold, ms. On the way it is the sixth part.
const HOLD: u64 = 2400;

/// Numbers that look random and are the same each time (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

fn variable(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text:?}")))
}

/// When it is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// So many stand, and more are to come.
    Climbing(u64),
    /// All of the rung have stood for so long, ms.
    Holding(u64),
    /// It was asked to end, takes the boxes down, and so many are left.
    Shrinking(u64),
}

/// A run that holds boxes.
struct Run {
    child: Guard,
    id: String,
    _out: tempfile::TempDir,
}

impl Run {
    fn begin() -> Self {
        let out = tempfile::tempdir().unwrap();
        let child = tare(out.path(), &["density", "--only", "tare", "--rounds", "1"])
            .env("TARE_HOLD", HOLD.to_string())
            .env("TARE_CANARY", PATIENT)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let child = Guard(child);
        wait_until("the run's directory", || out.path().join("latest").exists());
        let id = fs::read_link(out.path().join("latest")).unwrap().to_str().unwrap().to_owned();
        Self { child, id, _out: out }
    }

    fn dir(&self) -> PathBuf {
        base().join(&self.id)
    }

    /// How many boxes the runtime has a state of.
    fn boxes(&self) -> u64 {
        fs::read_dir(self.dir().join("runtime")).map_or(0, |entries| entries.count() as u64)
    }

    fn wait_for(&mut self, what: &str, mut condition: impl FnMut(u64) -> bool) {
        let began = Instant::now();
        while !condition(self.boxes()) {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "waited a minute for {what}: {}",
                self.boxes()
            );
            assert!(self.child.0.try_wait().unwrap().is_none(), "the run has ended before {what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits for the moment. Returns what runs below the lab, as near to the moment as can be seen.
    fn reach(&mut self, moment: Moment) -> Vec<Ours> {
        match moment {
            Moment::Climbing(boxes) => {
                self.wait_for("enough boxes", |now| now >= boxes);
                self.processes()
            }
            Moment::Holding(ms) => {
                self.wait_for("the rung", |now| now >= RUNG);
                std::thread::sleep(Duration::from_millis(ms));
                self.processes()
            }
            Moment::Shrinking(boxes) => {
                self.wait_for("the rung", |now| now >= RUNG);
                let ours = self.processes();
                kill(Pid::from_raw(self.child.0.id() as i32), Signal::SIGINT).unwrap();
                self.wait_for("fewer boxes", |now| now <= boxes);
                ours
            }
        }
    }

    fn processes(&self) -> Vec<Ours> {
        process::descendants(self.child.0.id()).into_iter().filter_map(Ours::find).collect()
    }

    /// Whether a process shows that it belongs to this run: by its cgroup, or by a path in its arguments.
    fn owns(&self, process: &procfs::process::Process) -> bool {
        let (dir, cgroup) = (format!("{}/", self.dir().display()), format!("/tare/{}/", self.id));
        let at = Path::new("/proc").join(process.pid().to_string());
        let holds = |file: &str, text: &str| {
            fs::read(at.join(file)).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text))
        };
        holds("cmdline", &dir) || holds("cgroup", &cgroup)
    }
}

/// A process that was seen below the lab.
struct Ours {
    pid: u32,
    started: u64,
    spawner: bool,
    network: Option<PathBuf>,
}

impl Ours {
    fn find(pid: u32) -> Option<Self> {
        let started = process::start_time(pid)?;
        let arguments = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        let spawner = arguments.split('\0').nth(1) == Some(tare::spawner::ARGUMENT);
        let network = fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        Some(Self { pid, started, spawner, network })
    }

    /// Whether it runs; one that only waits to be reaped does not.
    fn runs(&self) -> bool {
        let stat = procfs::process::Process::new(self.pid as i32).and_then(|it| it.stat());
        stat.is_ok_and(|it| it.starttime == self.started && it.state != 'Z')
    }
}

/// A box and a virtual machine of somebody else, whose names, cgroups and directories look like ours.
struct Foreign {
    dir: PathBuf,
    boxes: Vec<(ForeignBox, String)>,
    machine: Guard,
}

struct ForeignBox {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl ForeignBox {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Foreign {
    fn make() -> Self {
        let me = std::process::id();
        let dir = base().with_file_name(format!("tare-foreign-{me}"));
        let rootfs = dir.join("rootfs");
        for name in ["proc", "sys", "dev", "tmp", "run", "etc", "usr", "var"] {
            fs::create_dir_all(rootfs.join(name)).unwrap();
        }
        fs::create_dir(dir.join("boxes")).unwrap();
        fs::write(rootfs.join("payload"), PAYLOAD).unwrap();
        fs::set_permissions(rootfs.join("payload"), fs::Permissions::from_mode(0o755)).unwrap();
        let machine = machine(&dir);
        let mut foreign = Self { dir, boxes: Vec::new(), machine };
        // One beside our cgroup, and one in the part of it that all runs share.
        foreign.start("tare-1", format!("/tare-foreign-{me}"));
        foreign.start("tare-2", format!("/tare/foreign-{me}"));
        foreign
    }

    fn runtime(&self) -> Command {
        let mut command = Command::new(binaries().join("tare-runtime"));
        command.arg("--root").arg(self.dir.join("runtime"));
        command
    }

    fn start(&mut self, id: &str, cgroup: String) {
        let mut command = self.runtime();
        command.args(["run", "--detach", "--rootfs"]).arg(self.dir.join("rootfs"));
        command.args(["--hostname", "box", "--cgroup-parent", &cgroup, "--pids", "16"]);
        command.args(["--record-missing-limits", id, "--", "/payload", id]);
        let mut client = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (client.stdin.take().unwrap(), client.stdout.take().unwrap());
        assert!(client.wait().unwrap().success());
        let mut it = ForeignBox { input, output: BufReader::new(output) };
        let said = it.line();
        assert!(said.starts_with("READY"), "{said}");
        self.boxes.push((it, cgroup));
    }

    /// All of it is there: the boxes answer, the machine runs, the cgroups and directories stand.
    fn survives(&mut self) {
        for (it, cgroup) in &mut self.boxes {
            writeln!(it.input, "ping foreign").unwrap();
            assert_eq!(it.line(), "PONG foreign", "the box in {cgroup}");
            assert!(cgroups::tree(cgroup).len() > 1, "{cgroup}");
        }
        let ended = self.machine.0.try_wait().unwrap();
        assert!(ended.is_none(), "the foreign machine has ended: {ended:?}");
        assert!(self.dir.join("rootfs/payload").exists() && self.dir.join("boxes").exists());
        assert_eq!(fs::read_dir(self.dir.join("runtime")).unwrap().count(), 2);
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        for (id, (_, cgroup)) in ["tare-1", "tare-2"].into_iter().zip(&self.boxes) {
            let _ = self.runtime().args(["delete", "--force", id]).status();
            let _ = cgroups::remove_tree(cgroup);
        }
        let _ = fs::remove_dir_all(&self.dir);
        cgroups::remove_empty("/tare");
    }
}

/// A QEMU that has no guest; without QEMU, a process that calls itself one.
fn machine(dir: &Path) -> Guard {
    let program = std::env::var("TARE_QEMU").unwrap_or_else(|_| "qemu-system-x86_64".into());
    let arguments =
        ["-machine", "none", "-nodefaults", "-display", "none", "-S", "-name", "tare-1", "-pidfile"];
    let pid_file = dir.join("boxes/tare-1.pid");
    let mut command = Command::new(&program);
    command.args(arguments).arg(&pid_file).stdin(Stdio::null());
    let machine = command.spawn().unwrap_or_else(|e| {
        eprintln!("no {program} ({e}): a process that calls itself {program} is the foreign machine");
        looks_like(&format!("{program} -name tare-1 -pidfile {}", pid_file.display()))
    });
    Guard(machine)
}

/// A process that does nothing, under this name.
fn looks_like(name: &str) -> Child {
    Command::new("sleep").arg0(name).arg("600").stdin(Stdio::null()).spawn().unwrap()
}

/// What bears a run's name with something after it, and so is not the run's: a directory, cgroups, a process.
struct Lookalike {
    dir: PathBuf,
    cgroups: Vec<PathBuf>,
    process: Guard,
}

impl Lookalike {
    fn of(run: &str) -> Self {
        let dir = base().join(format!("{run}-foreign"));
        fs::create_dir(&dir).unwrap();
        let all = cgroups::below(&format!("/tare/{run}-foreign"));
        // The run has made the one above in the hierarchies that it uses.
        let cgroups: Vec<PathBuf> = all.into_iter().filter(|it| fs::create_dir(it).is_ok()).collect();
        assert!(!cgroups.is_empty(), "no hierarchy holds a cgroup of the run");
        let process = Guard(looks_like(&format!("qemu -pidfile {}/boxes/tare-1.pid", dir.display())));
        Self { dir, cgroups, process }
    }

    fn survives(&mut self) {
        assert!(self.process.0.try_wait().unwrap().is_none(), "a process that is not the run's was killed");
        assert!(self.dir.exists() && self.cgroups.iter().all(|it| it.exists()), "{:?}", self.cgroups);
    }
}

impl Drop for Lookalike {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.dir);
        for dir in &self.cgroups {
            let _ = fs::remove_dir(dir);
        }
    }
}

/// Mounts that the test's own mount namespace shows, of this text.
fn mounts_of(text: &str) -> Vec<String> {
    let all = fs::read_to_string("/proc/self/mountinfo").unwrap();
    all.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

/// How it is killed, and what happens then.
#[derive(Debug, Clone, Copy)]
struct Way {
    moment: Moment,
    /// Whether its spawners are killed at the same moment: then nobody is left to kill the boxes, which end because
    /// their input does.
    spawners: bool,
    /// Whether it is cleaned at once, while what it started still ends.
    at_once: bool,
}

/// Returns whether as many as wanted stood when it was killed; if not, this was no such moment.
fn killed(way: Way, foreign: &mut Foreign) -> bool {
    let mut run = Run::begin();
    run.wait_for("some boxes", |now| now >= 8);
    let mut lookalike = Lookalike::of(&run.id);
    let ours = run.reach(way.moment);
    run.child.0.kill().unwrap();
    for it in ours.iter().filter(|it| it.spawner && way.spawners) {
        // They may have been quicker.
        let _ = kill(Pid::from_raw(it.pid as i32), Signal::SIGKILL);
    }
    let killed = Instant::now();
    run.child.0.wait().unwrap();
    let ticks = tare::clock::ticks_after_boot();
    let (stood, seen) = (run.boxes(), ours.len());
    assert!(!left_of(&run.id).is_empty(), "a killed run leaves its site");
    let gone = || !ours.iter().any(Ours::runs) && !process::all().iter().any(|it| run.owns(it));
    if !way.at_once {
        wait_until("all that it started to end by itself", gone);
    }
    let ended = killed.elapsed();
    let began = Instant::now();
    let clean = Command::new(env!("CARGO_BIN_EXE_tare")).arg("clean").output().unwrap();
    let took = began.elapsed();
    let said = String::from_utf8_lossy(&clean.stdout).into_owned();
    assert!(clean.status.success(), "{said}{}", String::from_utf8_lossy(&clean.stderr));
    assert!(said.contains(&format!("removed run {}:", run.id)), "{said}");
    wait_until("all that it started to be gone", gone);

    assert_eq!(left_of(&run.id), Vec::<PathBuf>::new());
    assert_eq!(mounts_of(&format!("{}/", run.dir().display())), Vec::<String>::new());
    // The numbers of namespaces that are gone are given to new ones: only who is older than the kill counts.
    let mine = fs::read_link("/proc/self/ns/net").unwrap();
    let networks: BTreeSet<&PathBuf> = ours.iter().filter_map(|it| it.network.as_ref()).collect();
    let boxes: BTreeSet<&PathBuf> = networks.into_iter().filter(|it| **it != mine).collect();
    assert!(matches!(way.moment, Moment::Shrinking(_)) || boxes.len() as u64 >= STAND, "{}", boxes.len());
    for it in process::all() {
        let old = it.stat().is_ok_and(|stat| stat.starttime <= ticks);
        let network = fs::read_link(format!("/proc/{}/ns/net", it.pid()));
        let held = network.is_ok_and(|network| boxes.contains(&network));
        assert!(!(old && held), "process {} is in the network namespace of a box", it.pid());
    }
    for network in &boxes {
        assert_eq!(mounts_of(&network.display().to_string()), Vec::<String>::new());
    }
    lookalike.survives();
    foreign.survives();
    let by_itself = if way.at_once { "not waited for".into() } else { format!("{ended:.0?}") };
    eprintln!(
        "{way:?}: {stood} boxes, {seen} processes; ended by themselves: {by_itself}; clean took {took:.0?}"
    );
    eprintln!("  {}", said.lines().find(|line| line.contains(&run.id)).unwrap_or_default());
    stood >= STAND
}

#[test]
fn a_run_that_is_killed_with_hundreds_of_boxes_leaves_nothing_that_clean_does_not_take_and_nothing_else_goes()
{
    if !root() {
        return;
    }
    let (kills, seed) = (variable("TARE_KILLS", 3), variable("TARE_SEED", 5));
    let mut chance = Chance(seed);
    let mut foreign = Foreign::make();
    foreign.survives();
    for number in 0..kills {
        let moment = match number % 3 {
            0 => Moment::Climbing(STAND + chance.below(100)),
            1 => Moment::Holding(chance.below(HOLD / 6)),
            // Some more go before the signal arrives.
            _ => Moment::Shrinking(RUNG - 1 - chance.below(30)),
        };
        let (first, second) = (chance.below(2) == 0, chance.below(2) == 0);
        // In each set of three both happen.
        let way = Way {
            moment,
            spawners: number % 3 == 0 || first,
            at_once: number % 3 == 2 || (number > 2 && second),
        };
        let caught = (0..3).any(|_| killed(way, &mut foreign));
        assert!(caught, "three times fewer than {STAND} stood: {way:?}");
    }
}
