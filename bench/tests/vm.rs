//! Real machines: real QEMU, Debian's kernel, the payload as `/init`; and the nano guest.
//!
//! Skipped aloud without QEMU or kernel, unless `TARE_REQUIRE` names what is missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tare::payload::NANO;
use tare::vm::guest::{Guest, Silence};
use tare::vm::qemu::{Accel, Qemu, panic_in};
use tare::vm::{Unavailable, initramfs, kernel, kvm, tool};

/// A boot takes about two seconds under TCG on an idle host, which a test host is not.
const BOOT: Duration = Duration::from_secs(60);
const ANSWER: Duration = Duration::from_secs(20);

fn soon() -> Instant {
    Instant::now() + ANSWER
}

/// The value, or a skip that says why; a panic where `TARE_REQUIRE` has `word`.
fn need<T>(word: &str, found: Result<T, Unavailable>) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(why) => {
            let required = std::env::var("TARE_REQUIRE").unwrap_or_default();
            assert!(!required.split(',').any(|name| name == word), "TARE_REQUIRE names {word}: {why}");
            eprintln!("skipped: {why}");
            None
        }
    }
}

fn qemu() -> Option<Qemu> {
    Some(Qemu::new(&need("qemu", tool::find())?.path, Accel::Tcg))
}

/// Everything one machine of the baseline needs, in a directory of its own.
struct Machine {
    directory: tempfile::TempDir,
    command: Vec<String>,
}

impl Machine {
    fn prepare(nonce: &str) -> Option<Self> {
        let qemu = qemu()?;
        let kernel = need("kernel", kernel::find())?;
        let directory = tempfile::tempdir().expect("a temporary directory");
        let image = directory.path().join("initramfs");
        initramfs::write(&image).expect("an initramfs");
        let command = qemu.q35_command(nonce, &kernel.image, &image, &directory.path().join("console"));
        Some(Self { directory, command })
    }

    fn console(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.directory.path().join("console")).unwrap_or_default())
            .into_owned()
    }

    /// Starts it and reads the first line. Now and then a boot hangs under TCG: tried once more, aloud.
    fn boot(&self) -> (Guest, String) {
        for attempt in 1..=2 {
            let mut guest = Guest::start(&self.command).expect("qemu starts");
            match guest.line(Instant::now() + BOOT) {
                Ok(line) => return (guest, line),
                Err(why) => {
                    let console = self.console();
                    assert!(
                        attempt == 1 && matches!(why, Silence::Late),
                        "no READY: {why}; console:\n{console}"
                    );
                    eprintln!("retrying: the boot hung for {BOOT:?}; console:\n{console}");
                }
            }
        }
        unreachable!("the second attempt returned or panicked");
    }
}

fn write_nano(directory: &Path) -> PathBuf {
    let image = directory.join("nano");
    fs::write(&image, NANO).expect("the nano guest's image");
    image
}

#[test]
fn the_baseline_boots_answers_and_leaves() {
    let Some(machine) = Machine::prepare("nonce-of-the-day") else { return };
    let (mut guest, ready) = machine.boot();
    assert_eq!(ready, "READY nonce-of-the-day");
    guest.send("ping first").expect("sent");
    assert_eq!(guest.line(soon()).expect("an answer"), "PONG first");

    guest.send("touch 1024").expect("sent");
    assert_eq!(guest.line(soon()).expect("an answer"), "OK touch 1024");

    guest.send("self").expect("sent");
    let mut lines = Vec::new();
    loop {
        let line = guest.line(soon()).expect("an answer");
        if line == "OK self" {
            break;
        }
        assert!(line.starts_with("self "), "{line}");
        lines.push(line);
    }
    let has = |line: &str| lines.iter().any(|other| other == line);
    assert!(has("self pid 1"), "{lines:#?}");
    assert!(has("self argc 3"), "{lines:#?}");
    assert!(has("self fd 0 /dev/ttyS0") && has("self fd 1 /dev/ttyS0"), "{lines:#?}");
    assert!(
        lines.iter().any(|line| line.starts_with("self mount ") && line.ends_with("proc rw")),
        "{lines:#?}"
    );

    guest.send("exit").expect("sent");
    assert_eq!(guest.line(soon()).expect("an answer"), "OK exit 0");
    assert!(guest.wait(soon()).expect("qemu ends").success());
    assert_eq!(panic_in(&machine.console()), None);
}

#[test]
fn a_crash_is_a_panic_that_ends_the_machine() {
    let Some(machine) = Machine::prepare("n2") else { return };
    let (mut guest, ready) = machine.boot();
    assert_eq!(ready, "READY n2");
    guest.send("crash").expect("sent");
    match guest.line(soon()) {
        Err(Silence::Ended(words)) => assert_eq!(words, "without a word"),
        other => panic!("expected the end of the machine, got {other:?}"),
    }
    guest.wait(soon()).expect("qemu ends");
    let panic = panic_in(&machine.console()).expect("a panic on the console");
    // 4 is SIGILL: how `crash` crashes.
    assert_eq!(panic, "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000004");
}

#[test]
fn a_dropped_handle_leaves_no_qemu() {
    let Some(qemu) = qemu() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let command = qemu.nano_command("n3", &write_nano(directory.path()));
    let mut guest = Guest::start(&command).expect("qemu starts");
    assert_eq!(guest.line(soon()).expect("a line"), "READY n3");
    let path = format!("/proc/{}", guest.id());
    drop(guest);
    assert!(!Path::new(&path).exists(), "dropping the handle kills and reaps qemu");
}

#[test]
fn nano_speaks_the_payloads_language() {
    let Some(qemu) = qemu() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut guest =
        Guest::start(&qemu.nano_command("n-4.x", &write_nano(directory.path()))).expect("qemu starts");
    assert_eq!(guest.line(soon()).expect("a line"), "READY n-4.x");
    let long = "x".repeat(600);
    for (command, answer) in [
        ("ping a1", "PONG a1"),
        ("loop 1000", "OK loop 1000"),
        ("loop 0", "OK loop 0"),
        ("ping", "ERR - unknown command"),
        ("", "ERR - unknown command"),
        (long.as_str(), "ERR - unknown command"),
        ("ping again", "PONG again"),
        ("exit", "OK exit"),
    ] {
        guest.send(command).expect("sent");
        assert_eq!(guest.line(soon()).expect("an answer"), answer, "{command:?}");
    }
    assert!(guest.wait(soon()).expect("qemu ends").success());
}

#[test]
fn nanos_loop_is_work_in_proportion() {
    let Some(qemu) = qemu() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut guest =
        Guest::start(&qemu.nano_command("n5", &write_nano(directory.path()))).expect("qemu starts");
    guest.line(soon()).expect("READY");
    let mut time = |count: u32| {
        let before = Instant::now();
        guest.send(&format!("loop {count}")).expect("sent");
        assert_eq!(guest.line(soon()).expect("an answer"), format!("OK loop {count}"));
        before.elapsed()
    };
    let (short, long) = (time(1_000_000), time(100_000_000));
    assert!(long > 5 * short, "a loop 100 times as long takes {long:?} instead of {short:?}");
}

#[test]
fn the_kvm_probe_gives_a_verdict_in_time() {
    let Some(qemu) = qemu() else { return };
    let before = Instant::now();
    let verdict = kvm::probe(&qemu.binary);
    let took = before.elapsed();
    eprintln!("host.kvm = {verdict} ({took:?})");
    assert!(took < Duration::from_secs(60), "{took:?}");
    let opens = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
    match &verdict {
        kvm::Kvm::Absent(why) => assert!(!why.is_empty()),
        other => assert!(opens, "without an open device: {other}"),
    }
    let word = verdict.to_string();
    assert!(["usable", "emulated: ", "absent: "].iter().any(|start| word.starts_with(start)), "{word}");
    // Once per process: the second answer costs nothing. What held up one of them was not a guest that started.
    let again = (0..10).map(|_| {
        let again = Instant::now();
        assert_eq!(kvm::probe(&qemu.binary), verdict);
        again.elapsed()
    });
    let again = again.min().expect("ten");
    assert!(again < Duration::from_millis(5), "{again:?}");
}
