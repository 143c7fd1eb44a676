//! The monitors that know KVM only: rows with true reasons where they cannot run, measured where they can; and what
//! Firecracker itself thinks of its configuration, where there is one.

mod common;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use common::{Guard, document, finish, left_of, row, skip, tare, values};
use tare::contenders::firecracker::configuration;
use tare::contenders::kvm_only::Boot;
use tare::program::{is_program, on_path};
use tare::vm::{initramfs, small};
use tare_reports::document::{Class, Status};

const MONITORS: [(&str, &str); 2] =
    [("firecracker", "TARE_FIRECRACKER"), ("cloud-hypervisor", "TARE_CLOUD_HYPERVISOR")];

fn args() -> [&'static str; 5] {
    ["startup", "--only", "process,firecracker,cloud-hypervisor", "--rounds", "2"]
}

#[test]
fn a_monitor_that_is_not_there_is_a_row_that_says_so() {
    let out = tempfile::tempdir().unwrap();
    let mut command = tare(out.path(), &args());
    for (_, variable) in MONITORS {
        command.env(variable, "/nonexistent");
    }
    assert_eq!(finish(&mut command).status.code(), Some(0));
    let document = document(out.path());
    for (name, variable) in MONITORS {
        let row = row(&document, name);
        assert_eq!((row.class, row.status), (Class::Vm, Status::Skipped));
        let reason = format!("{variable} names /nonexistent, which is no program");
        assert_eq!(row.reason.as_ref(), Some(&reason));
        assert!(row.fix.as_deref().unwrap().contains(variable), "{row:?}");
    }
    assert_eq!(values(&document, "process", "ready").len(), 2, "the rest is complete");
}

/// Where KVM works, the monitors that are here are measured; where it does not, even one that is here is skipped,
/// and the reason is what the probe found.
#[test]
fn without_a_kvm_that_works_a_monitor_that_is_there_is_not_started() {
    let out = tempfile::tempdir().unwrap();
    // It can say a version, and that is all it can: nobody may take it further.
    let program = out.path().join("monitor");
    std::fs::write(&program, "#!/bin/sh\n[ \"$1\" = --version ] && echo monitor v1 || exit 9\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = tare(out.path(), &args());
    let usable = tare::run::look_for_kvm().to_string() == "usable";
    for (_, variable) in MONITORS.iter().filter(|_| !usable) {
        command.env(variable, &program);
    }
    let output = finish(&mut command);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let document = document(out.path());
    for (name, _) in MONITORS {
        let row = row(&document, name);
        if usable && row.status == Status::Measured {
            assert_eq!(values(&document, name, "ready").len(), 2);
            continue;
        }
        assert_eq!(row.status, Status::Skipped, "{row:?}");
        let (reason, fix) = (row.reason.as_deref().unwrap(), row.fix.as_deref().unwrap());
        if !usable {
            assert!(reason.starts_with("it needs a KVM that works: "), "{reason}");
            // Each run probes anew, and a busy host has other figures each time; the verdict is the same.
            assert!(reason.contains("kvm") || reason.contains("qemu"), "{reason}");
        }
        assert!(!fix.is_empty());
    }
    assert_eq!(left_of(&document.run.id), Vec::<PathBuf>::new());
}

fn firecracker() -> Option<PathBuf> {
    let found = match std::env::var_os("TARE_FIRECRACKER") {
        Some(named) => Some(PathBuf::from(named)).filter(|path| is_program(path)),
        None => on_path("firecracker"),
    };
    if found.is_none() {
        skip("firecracker", "firecracker is not on PATH and TARE_FIRECRACKER names none");
    }
    found.filter(|_| {
        let opens = std::fs::File::options().read(true).write(true).open("/dev/kvm").is_ok();
        if !opens {
            skip("firecracker", "/dev/kvm does not open");
        }
        opens
    })
}

/// The real program reads our configuration, and the kernel in it speaks on our channel: that much works also where
/// KVM is emulated, and a boot would take minutes or meet an instruction that the emulation does not know.
#[test]
fn firecracker_takes_the_configuration_and_enters_the_kernel() {
    let Some(program) = firecracker() else { return };
    let Ok(kernel) = small::find().map_err(|why| skip("small-kernel", &why.to_string())) else { return };
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    initramfs::write(&file("initramfs")).unwrap();
    let boot = Boot {
        program,
        kernel: kernel.image,
        initramfs: file("initramfs"),
        // As ours, but talkative.
        words: "console=ttyS0 panic=-1 reboot=k pci=off -- n1 machine=ttyS0".into(),
        configuration: file("json"),
        log: file("log"),
    };
    std::fs::write(&boot.configuration, configuration(&boot).to_string()).unwrap();
    std::fs::write(&boot.log, "").unwrap();
    let lines = lines_of(&boot);
    let mut seen = Vec::new();
    let wanted = format!("Command line: {}", boot.words);
    while let Ok(line) = lines.recv_timeout(Duration::from_secs(60)) {
        seen.push(line);
        if seen.last().is_some_and(|line| line.contains(&wanted)) {
            return;
        }
    }
    panic!("{seen:#?}; its log: {}", std::fs::read_to_string(&boot.log).unwrap_or_default());
}

/// What Firecracker writes to its standard output, line by line, until nobody listens any more.
fn lines_of(boot: &Boot) -> mpsc::Receiver<String> {
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let mut command = Command::new(&boot.program);
    command.args(["--no-api", "--config-file", &path(&boot.configuration)]);
    command.args(["--log-path", &path(&boot.log), "--level", "Error"]);
    let mut child = Guard(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let output = BufReader::new(child.0.stdout.take().unwrap());
        for line in output.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}
