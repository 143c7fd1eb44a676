//! The guest: what it is made of, its one boot, and what it reported.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use cpio::newc::{self, Builder};
use tare::vm::guest::{Guest, Silence};
use tare::vm::kernel::{self, Kernel};
use tare::vm::qemu::{Accel, Qemu};
use tare::vm::tool;

use crate::common::{binaries, skip};

/// The boot up to the first fact, and all cases after it, may each take this long. On an idle host both
/// together take some twenty seconds.
const DEADLINE: Duration = Duration::from_secs(120);

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const CONSOLE: u32 = 0o020_600;

/// What the guest said, by case and key.
pub(crate) struct Report {
    facts: BTreeMap<(String, String), String>,
    console: String,
}

impl Report {
    /// A fact.
    pub(crate) fn get(&self, case: &str, key: &str) -> &str {
        let fact = self.facts.get(&(case.to_owned(), key.to_owned()));
        fact.unwrap_or_else(|| panic!("the guest did not say {case} {key}\n{self}"))
    }

    /// A fact that is a number.
    pub(crate) fn number(&self, case: &str, key: &str) -> u64 {
        let text = self.get(case, key);
        text.parse().unwrap_or_else(|_| panic!("{case} {key} is {text:?}, not a number\n{self}"))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((case, key), value) in &self.facts {
            writeln!(f, "{case}\t{key}\t{value}")?;
        }
        write!(f, "console:\n{}", self.console)
    }
}

/// The report of the one boot that all tests share, or a skip, said aloud. A guest that failed fails
/// every test.
pub(crate) fn report() -> Option<&'static Report> {
    static REPORT: OnceLock<Option<Result<Report, String>>> = OnceLock::new();
    let report = REPORT.get_or_init(|| Some(boot(&Parts::find()?))).as_ref()?;
    Some(report.as_ref().unwrap_or_else(|why| panic!("{why}")))
}

/// What the guest is made of.
struct Parts {
    qemu: Qemu,
    kernel: Kernel,
    busybox: PathBuf,
    /// overlay.ko, uncompressed; `None` where it is built in.
    overlay: Option<Vec<u8>>,
}

impl Parts {
    /// `None`, said aloud, where something is missing.
    fn find() -> Option<Self> {
        let tool = tool::find().map_err(|why| skip("qemu", &why.to_string())).ok()?;
        let kernel = kernel::find().map_err(|why| skip("kernel", &why.to_string())).ok()?;
        let missing = |why: String| skip("kernel", &format!("{why}; install it with ./scripts/setup"));
        let busybox = static_busybox().map_err(missing).ok()?;
        let overlay = overlay(&kernel).map_err(missing).ok()?;
        let mut qemu = Qemu::new(&tool.path, Accel::Tcg);
        // Two copies of an unoptimised suite and its runtime, for a moment.
        qemu.memory_mib = 768;
        Some(Self { qemu, kernel, busybox, overlay })
    }

    /// The guest's files. `setup` goes on from `init`, and reads the others.
    fn initramfs(&self) -> Vec<u8> {
        let read = |path: &Path| fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut files = vec![
            ("bin", DIRECTORY, Vec::new()),
            ("bin/busybox", PROGRAM, read(&self.busybox)),
            ("bin/tare-runtime", PROGRAM, read(&binaries().join("tare-runtime"))),
            ("bin/tare", PROGRAM, read(Path::new(env!("CARGO_BIN_EXE_tare")))),
            ("dev", DIRECTORY, Vec::new()),
            // The kernel opens it as descriptors 0, 1 and 2 of /init.
            ("dev/console", CONSOLE, Vec::new()),
            ("guest", DIRECTORY, Vec::new()),
            ("guest/setup", PROGRAM, include_bytes!("setup").to_vec()),
            ("guest/words", PROGRAM, include_bytes!("words").to_vec()),
            ("guest/cases", PROGRAM, include_bytes!("cases").to_vec()),
            ("guest/events", PROGRAM, include_bytes!("events").to_vec()),
            ("guest/devices", PROGRAM, include_bytes!("devices").to_vec()),
            ("guest/floors", PROGRAM, include_bytes!("floors").to_vec()),
            ("guest/kept", PROGRAM, include_bytes!("kept").to_vec()),
            ("guest/user", PROGRAM, include_bytes!("user").to_vec()),
            ("init", PROGRAM, include_bytes!("init").to_vec()),
        ];
        files.extend(self.overlay.clone().map(|module| ("guest/overlay.ko", PROGRAM, module)));
        let mut archive = Vec::new();
        for (number, (name, mode, bytes)) in (1..).zip(files) {
            let (major, minor) = if mode == CONSOLE { (5, 1) } else { (0, 0) };
            let entry = Builder::new(name).ino(number).mode(mode).rdev_major(major).rdev_minor(minor);
            let mut file = entry.write(&mut archive, bytes.len() as u32);
            file.write_all(&bytes).and_then(|()| file.finish().map(drop)).expect("written to memory");
        }
        newc::trailer(&mut archive).expect("written to memory");
        archive
    }
}

/// A busybox on PATH that needs no loader, of which the guest has none.
fn static_busybox() -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found: Vec<PathBuf> = std::env::split_paths(&path)
        .map(|directory| directory.join("busybox"))
        .filter(|p| p.is_file())
        .collect();
    // A dynamic program names its loader on its first page.
    let is_static = |path: &&PathBuf| {
        let bytes = fs::read(path).unwrap_or_default();
        let page = &bytes[..bytes.len().min(4096)];
        !page.is_empty() && !page.windows(9).any(|word| word == b"ld-linux-")
    };
    match found.iter().find(is_static) {
        Some(busybox) => Ok(busybox.clone()),
        None => Err(format!("no static busybox on PATH (found: {found:?})")),
    }
}

/// The kernel's overlay module, which stands beside the kernel, compressed or not.
fn overlay(kernel: &Kernel) -> Result<Option<Vec<u8>>, String> {
    let root = kernel.image.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
    let modules = root.join("lib/modules").join(&kernel.release);
    let builtin = fs::read_to_string(modules.join("modules.builtin")).unwrap_or_default();
    if builtin.lines().any(|line| line.ends_with("/overlay.ko")) {
        return Ok(None);
    }
    let module = modules.join("kernel/fs/overlayfs/overlay.ko");
    if let Ok(bytes) = fs::read(&module) {
        return Ok(Some(bytes));
    }
    for (suffix, tool) in [("xz", "xz"), ("zst", "zstd"), ("gz", "gzip")] {
        let packed = module.with_extension(format!("ko.{suffix}"));
        if packed.is_file() {
            let output = Command::new(tool).args([OsStr::new("-dc"), packed.as_os_str()]).output();
            return match output {
                Ok(output) if output.status.success() => Ok(Some(output.stdout)),
                other => Err(format!("{tool} cannot unpack {}: {other:?}", packed.display())),
            };
        }
    }
    Err(format!("no {}", module.display()))
}

/// Starts the guest and reads to its end. A boot that hangs, as happens under TCG, is tried once more, aloud.
fn boot(parts: &Parts) -> Result<Report, String> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let image = directory.path().join("initramfs");
    fs::write(&image, parts.initramfs()).expect("the initramfs");
    let log = directory.path().join("console");
    let mut command = parts.qemu.q35_command("none", &parts.kernel.image, &image, &log);
    let append = command.last_mut().expect("the kernel's parameters are last");
    let parameters = append.replace(" -- ", " cgroup_no_v1=all -- ");
    assert_ne!(*append, parameters, "the parameter is in");
    *append = parameters;
    let console = || String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
    for attempt in 1..=2 {
        // Dropping it, which a return does too, kills QEMU.
        let mut guest = Guest::start(&command).expect("qemu starts");
        match guest.line(Instant::now() + DEADLINE) {
            Ok(line) => return collect(&mut guest, line, console),
            Err(Silence::Late) if attempt == 1 => {
                eprintln!("retrying: the boot hung for {DEADLINE:?}; console:\n{}", console());
            }
            Err(why) => return Err(format!("the guest did not boot: {why}; console:\n{}", console())),
        }
    }
    unreachable!("the second attempt returned");
}

/// Reads facts until the last one, and sees the machine off.
fn collect(guest: &mut Guest, first: String, console: impl Fn() -> String) -> Result<Report, String> {
    let deadline = Instant::now() + DEADLINE;
    let mut facts = BTreeMap::new();
    let mut next = Ok(first);
    loop {
        let line = match next {
            Ok(line) => line,
            Err(why) => {
                let report = Report { facts, console: console() };
                return Err(format!("the guest did not come to its end: {why}\n{report}"));
            }
        };
        let mut fields = line.trim_end().splitn(3, '\t');
        let (Some(case), Some(key)) = (fields.next(), fields.next()) else {
            return Err(format!("not a fact: {line:?}; console:\n{}", console()));
        };
        let ended = case == "end";
        facts.insert((case.to_owned(), key.to_owned()), fields.next().unwrap_or_default().to_owned());
        if ended {
            let left = guest.wait(deadline);
            return match left {
                Ok(status) if status.success() => Ok(Report { facts, console: console() }),
                other => Err(format!("the machine did not power off: {other:?}; console:\n{}", console())),
            };
        }
        next = guest.line(deadline);
    }
}
