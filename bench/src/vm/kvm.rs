//! Is `/dev/kvm` that opens also KVM that works? Asked by running the nano guest.
//!
//! On a nested host the device can open and accept every call, and execute each instruction a hundred times
//! slower than QEMU's own translator. So a loop of known size runs inside, and the host's clock judges it
//! against the same loop in this process.

use super::guest::{Guest, Silence};
use super::qemu::{Accel, KVM_CPUS, Qemu};
use super::sys::count_down;
use crate::payload::NANO;
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// What the guest says when it runs.
const NONCE: &str = "kvm-probe";
/// For everything together: both processor models, and the loop.
const DEADLINE: Duration = Duration::from_secs(2);
/// How long the loop should take natively.
const NATIVE: Duration = Duration::from_millis(20);
/// A guest slower than this many times the native loop is emulated. A working KVM is close to 1, TCG about
/// 20, so there is room for a noisy host below and for a fast emulation above.
const MOST: f64 = 10.0;

/// What `/dev/kvm` is worth on this host. Displays as the result document's `host.kvm`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kvm {
    /// Guest instructions run at the speed of native ones.
    Usable {
        /// This host is a virtual machine itself: accel class `kvm-nested`.
        nested: bool,
        /// The processor model that QEMU accepted, one of [`KVM_CPUS`].
        cpu: &'static str,
    },
    /// The device is there but what it does is emulation; the evidence.
    Emulated(String),
    /// There is no device, no permission, or QEMU cannot use it; why.
    Absent(String),
    /// Nobody looked; why. What is not known to work is not used.
    Unknown(String),
}

impl Kvm {
    /// What to start machines with, and the accel class that goes on every row.
    #[must_use]
    pub fn accel(&self) -> (Accel, &'static str) {
        match self {
            Self::Usable { nested: false, .. } => (Accel::Kvm, "kvm"),
            Self::Usable { nested: true, .. } => (Accel::Kvm, "kvm-nested"),
            Self::Emulated(_) | Self::Absent(_) | Self::Unknown(_) => (Accel::Tcg, "tcg"),
        }
    }

    /// A [`Qemu`] that starts machines with what was found.
    #[must_use]
    pub fn qemu(&self, binary: &Path) -> Qemu {
        let mut qemu = Qemu::new(binary, self.accel().0);
        if let Self::Usable { cpu, .. } = self {
            qemu.cpu = (*cpu).to_owned();
        }
        qemu
    }
}

impl fmt::Display for Kvm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usable { .. } => f.write_str("usable"),
            Self::Emulated(why) => write!(f, "emulated: {why}"),
            Self::Absent(why) => write!(f, "absent: {why}"),
            Self::Unknown(why) => write!(f, "not probed: {why}"),
        }
    }
}

/// Probes KVM with this QEMU, once per process: the first caller's answer is everybody's. Takes up to two
/// seconds, leaves no process and no file behind.
#[must_use]
pub fn probe(qemu: &Path) -> Kvm {
    static RESULT: OnceLock<Kvm> = OnceLock::new();
    RESULT.get_or_init(|| probe_now(qemu)).clone()
}

fn probe_now(qemu: &Path) -> Kvm {
    let device = Path::new("/dev/kvm");
    if let Err(error) = OpenOptions::new().read(true).write(true).open(device) {
        return Kvm::Absent(match error.kind() {
            ErrorKind::NotFound => "there is no /dev/kvm".to_owned(),
            ErrorKind::PermissionDenied => "no permission to open /dev/kvm".to_owned(),
            _ => format!("cannot open /dev/kvm: {error}"),
        });
    }
    let image = match Image::write() {
        Ok(image) => image,
        Err(error) => return Kvm::Unknown(format!("cannot write the guest's image: {error}")),
    };
    let deadline = Instant::now() + DEADLINE;
    let count = calibrate();
    let native = best_of_two(count);

    let mut refused = String::new();
    for cpu in KVM_CPUS {
        let mut machine = Qemu::new(qemu, Accel::Kvm);
        cpu.clone_into(&mut machine.cpu);
        match run(&machine.nano_command(NONCE, &image.path()), count, deadline) {
            Ok(guest) => return judge(native, guest, nested(), cpu),
            Err(Trouble::Refused(words)) if refused.is_empty() => refused = words,
            Err(Trouble::Refused(_)) => {}
            Err(Trouble::Slow(what)) => {
                return Kvm::Emulated(format!(
                    "/dev/kvm opens, but the nano guest {what} within {:.1} s; natively its loop takes {}",
                    DEADLINE.as_secs_f64(),
                    milliseconds(native)
                ));
            }
        }
    }
    Kvm::Absent(format!("qemu refuses to use /dev/kvm: {refused}"))
}

enum Trouble {
    /// QEMU ended by itself; its words.
    Refused(String),
    /// The deadline passed; what the guest had not done by then.
    Slow(&'static str),
}

impl Trouble {
    fn from(silence: Silence, not_done: &'static str) -> Self {
        match silence {
            Silence::Late => Self::Slow(not_done),
            Silence::Ended(words) => Self::Refused(words),
            Silence::Io(error) => Self::Refused(error.to_string()),
        }
    }
}

/// Runs the loop in a guest; its time by the host's clock, from the request to the answer.
fn run(command: &[String], count: u32, deadline: Instant) -> Result<Duration, Trouble> {
    let mut guest = Guest::start(command).map_err(|error| Trouble::Refused(error.to_string()))?;
    expect(&mut guest, deadline, &format!("READY {NONCE}"), "did not get ready")?;
    let before = Instant::now();
    guest.send(&format!("loop {count}")).map_err(|error| Trouble::Refused(error.to_string()))?;
    expect(&mut guest, deadline, &format!("OK loop {count}"), "did not finish its loop")?;
    Ok(before.elapsed())
}

/// Reads the guest's own words: a figure made of anything else would be worth nothing.
fn expect(
    guest: &mut Guest,
    deadline: Instant,
    expected: &str,
    not_done: &'static str,
) -> Result<(), Trouble> {
    let line = guest.line(deadline).map_err(|silence| Trouble::from(silence, not_done))?;
    let wrong = || Trouble::Refused(format!("it says {line:?} where {expected:?} was expected"));
    if line == expected { Ok(()) } else { Err(wrong()) }
}

/// The verdict on a loop that finished.
fn judge(native: Duration, guest: Duration, nested: bool, cpu: &'static str) -> Kvm {
    let ratio = guest.as_secs_f64() / native.as_secs_f64();
    if ratio <= MOST {
        return Kvm::Usable { nested, cpu };
    }
    let (guest, native) = (milliseconds(guest), milliseconds(native));
    Kvm::Emulated(format!(
        "/dev/kvm opens, but a loop takes {guest} in the guest and {native} natively, {ratio:.0} times as long"
    ))
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// How many turns of the loop take about [`NATIVE`] here.
fn calibrate() -> u32 {
    const TRIAL: u32 = 2_000_000;
    let trial = best_of_two(TRIAL).max(Duration::from_micros(1));
    let count = f64::from(TRIAL) * NATIVE.as_secs_f64() / trial.as_secs_f64();
    count.clamp(f64::from(TRIAL), f64::from(u32::MAX)) as u32
}

/// The faster of two runs: an interruption lengthens one of them, nothing shortens it.
fn best_of_two(count: u32) -> Duration {
    let time = || {
        let before = Instant::now();
        count_down(count);
        before.elapsed()
    };
    time().min(time())
}

/// Whether this host is a virtual machine (the processor flag `hypervisor`).
fn nested() -> bool {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    cpuinfo
        .lines()
        .find(|line| line.starts_with("flags"))
        .is_some_and(|line| line.split_whitespace().any(|flag| flag == "hypervisor"))
}

/// The nano guest in a file that nobody else sees, gone with its descriptor even if we are killed.
struct Image(File);

impl Image {
    fn write() -> io::Result<Self> {
        let mut file = File::from(memfd_create(c"tare-nano", MFdFlags::MFD_CLOEXEC)?);
        file.write_all(NANO)?;
        Ok(Self(file))
    }

    /// A name by which QEMU can open it while this process lives.
    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", process::id(), self.0.as_raw_fd()))
    }
}

#[cfg(test)]
mod tests {
    use super::{DEADLINE, Duration, Kvm, NATIVE, best_of_two, calibrate, judge, run};
    use std::time::Instant;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn judges_by_ratio() {
        assert_eq!(judge(20 * MS, 26 * MS, true, "host"), Kvm::Usable { nested: true, cpu: "host" });
        assert_eq!(judge(20 * MS, 200 * MS, false, "host"), Kvm::Usable { nested: false, cpu: "host" });
        let emulated = judge(20 * MS, 1000 * MS, true, "host");
        assert_eq!(
            emulated.to_string(),
            "emulated: /dev/kvm opens, but a loop takes 1000.0 ms in the guest and 20.0 ms natively, 50 times as long"
        );
        assert_eq!(emulated.accel().1, "tcg");
        assert_eq!(judge(20 * MS, 21 * MS, true, "host").accel().1, "kvm-nested");
        assert_eq!(judge(20 * MS, 21 * MS, false, "host").to_string(), "usable");
    }

    #[test]
    fn the_loop_is_calibrated() {
        // The best of many: a busy host makes a loop slower, so that a trial promises too few turns; nothing makes
        // it faster.
        let count = (0..10).map(|_| calibrate()).max().unwrap();
        let took = (0..10).map(|_| best_of_two(count)).min().unwrap();
        assert!(took > NATIVE / 4 && took < NATIVE * 4, "{took:?}");
    }

    #[test]
    fn a_qemu_that_refuses_is_told_from_a_slow_one() {
        let shell = |script: &str| ["sh", "-c", script].map(str::to_owned);
        let soon = || Instant::now() + Duration::from_secs(5);
        match run(&shell("echo 'failed to initialize kvm' >&2; exit 1"), 1, soon()) {
            Err(super::Trouble::Refused(words)) => assert_eq!(words, "failed to initialize kvm"),
            _ => panic!("not refused"),
        }
        match run(&shell("echo READY kvm-probe; exec sleep 60"), 1, Instant::now() + DEADLINE / 10) {
            Err(super::Trouble::Slow(what)) => assert_eq!(what, "did not finish its loop"),
            _ => panic!("not slow"),
        }
        assert!(run(&shell("echo READY kvm-probe; read command; echo OK $command"), 1, soon()).is_ok());
        match run(&shell("echo a warning; echo another; exec sleep 60"), 1, soon()) {
            Err(super::Trouble::Refused(words)) => assert!(words.contains("a warning"), "{words}"),
            _ => panic!("a warning is not the guest"),
        }
    }
}
