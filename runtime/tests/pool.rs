//! Boxes in stock: complete before their command comes, gone if it never comes.

mod common;

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;

use common::Lab;
use tare_runtime::{Exit, Pooled};

fn null() -> File {
    File::options().read(true).write(true).open("/dev/null").expect("/dev/null")
}

fn pooled(lab: &Lab, id: &str) -> Pooled {
    let (spec, null) = (lab.spec(id, &["/bin/never"]), null());
    lab.runtime().prepare(&spec, [null.as_fd(), null.as_fd(), null.as_fd()]).expect("prepare")
}

fn words(command: &[&str]) -> Vec<String> {
    command.iter().map(ToString::to_string).collect()
}

#[test]
fn a_box_in_stock_becomes_its_command_with_its_descriptors_and_is_confined() {
    let Some(lab) = Lab::new() else { return };
    let pooled = pooled(&lab, "p");
    let status = fs::read_to_string(format!("/proc/{}/status", pooled.container().pid)).expect("status");
    assert!(status.contains("CapEff:\t00000000a00425fb"), "confined while it waits: {status}");
    assert!(status.contains("Seccomp:\t2"), "{status}");
    let (mut output, input) = std::io::pipe().expect("pipe");
    let null = null();
    let script = "echo $0 $1; ls /proc/self/fd | wc -l; grep -c CapEff.*a00425fb /proc/self/status";
    let command = words(&["/bin/sh", "-c", script, "name", "first word"]);
    let container = pooled.start(&command, [null.as_fd(), input.as_fd(), null.as_fd()]).expect("start");
    drop(input);
    assert_eq!(container.wait().expect("wait"), Exit::Code(0));
    let mut said = String::new();
    output.read_to_string(&mut said).expect("read");
    // Descriptors: 0, 1, 2 and the one that ls reads the directory with.
    assert_eq!(said, "name first word\n4\n1\n");
    lab.runtime().delete(&container.id, false).expect("delete");
    assert!(lab.leftovers().is_empty(), "{:?}", lab.leftovers());
}

#[test]
fn a_box_that_nobody_wants_ends_with_its_stock() {
    let Some(lab) = Lab::new() else { return };
    let pooled = pooled(&lab, "unwanted");
    let (pid, id) = (pooled.container().pid, pooled.container().id.clone());
    assert!(fs::metadata(format!("/proc/{pid}")).is_ok());
    drop(pooled);
    lab.runtime().delete(&id, true).expect("delete");
    // Reaped, so that the number cannot be another's by now.
    let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None);
    assert!(lab.leftovers().is_empty(), "{:?}", lab.leftovers());
}

#[test]
fn a_command_that_is_not_there_or_is_the_runtime_is_named() {
    let Some(lab) = Lab::new() else { return };
    for (id, command, expected) in
        [("missing", "/nosuch", "ENOENT"), ("runtime", "/proc/self/exe", "CVE-2019-5736")]
    {
        let (pooled, null) = (pooled(&lab, id), null());
        let error = pooled.start(&words(&[command]), [null.as_fd(), null.as_fd(), null.as_fd()]);
        let error = error.expect_err("refused").to_string();
        assert!(error.contains(command) && error.contains(expected), "{error}");
        lab.runtime().delete(&id.parse().expect("id"), true).expect("delete");
    }
    let null = null();
    for (id, bad) in [("relative", words(&["sh"])), ("zero", words(&["/bin/sh", "a\0b"]))] {
        let refused = pooled(&lab, id).start(&bad, [null.as_fd(), null.as_fd(), null.as_fd()]);
        assert!(refused.is_err(), "{bad:?}");
        lab.runtime().delete(&id.parse().expect("id"), true).expect("delete");
    }
    assert!(lab.leftovers().is_empty(), "{:?}", lab.leftovers());
}
