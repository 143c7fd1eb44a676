//! A whole Debian in a machine: what `scripts/guest-distro` built, measured for real; and what happens without it.
//!
//! Skipped aloud where it was not built, unless `TARE_REQUIRE` names `distro`.

mod common;

use std::path::PathBuf;

use common::{document, finish, left_of, row, samples, skip, tare, values};
use tare::vm::{distro, tool};
use tare_reports::document::{Class, Status};

const ARGS: [&str; 5] = ["startup", "--only", "process,qemu-distro", "--rounds", "1"];

#[test]
fn a_debian_boots_from_its_own_disk_and_runs_the_payload_as_a_service() {
    if let Err(why) = tool::find() {
        return skip("qemu", &why.to_string());
    }
    let disk = match distro::find() {
        Ok(disk) => disk,
        Err(why) => return skip("distro", &why.to_string()),
    };
    let before = disk.image.metadata().unwrap().modified().unwrap();
    let out = tempfile::tempdir().unwrap();
    let output = finish(&mut tare(out.path(), &ARGS));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let document = document(out.path());
    let row = row(&document, "qemu-distro");
    assert_eq!((row.class, row.status), (Class::Vm, Status::Measured), "{row:?}");
    for word in ["Debian 12", "kernel 6.1.", "systemd 252", "GRUB 2.", "MiB"] {
        assert!(row.version.contains(word), "{word}: {}", row.version);
    }
    assert!(row.command.iter().any(|word| word == "type=1,serial=NONCE"), "{:?}", row.command);
    assert!(!row.command.iter().any(|word| word == "-kernel"), "it finds its kernel by itself");
    // It said READY with the nonce, answered a ping, and its end was the machine's.
    let [ready] = values(&document, "qemu-distro", "ready")[..] else { panic!("one start") };
    assert!(ready > 1_000_000_000, "firmware, boot loader, kernel, initramfs and systemd in {ready} ns?");
    assert_eq!(values(&document, "qemu-distro", "teardown").len(), 1);
    assert_eq!(left_of(&document.run.id), Vec::<PathBuf>::new());
    assert_eq!(
        disk.image.metadata().unwrap().modified().unwrap(),
        before,
        "the disk itself is never written to"
    );
}

#[test]
fn a_disk_that_is_missing_or_boots_nothing_is_a_row_with_a_reason() {
    if let Err(why) = tool::find() {
        return skip("qemu", &why.to_string());
    }
    let out = tempfile::tempdir().unwrap();
    finish(tare(out.path(), &ARGS).env("TARE_DISTRO", "/nonexistent"));
    let run = document(out.path());
    let skipped = row(&run, "qemu-distro");
    assert_eq!(skipped.status, Status::Skipped);
    assert!(skipped.reason.as_deref().unwrap().starts_with("cannot read /nonexistent: "), "{skipped:?}");
    assert!(skipped.fix.as_deref().unwrap().contains("scripts/guest-distro"));

    // A boot sector in front of nothing: there is no file system to put the payload into.
    let image = out.path().join("disk.img");
    let mut boot = vec![0; 4 << 20];
    boot[450] = 0x83;
    boot[454..458].copy_from_slice(&2048u32.to_le_bytes());
    boot[510..512].copy_from_slice(&[0x55, 0xaa]);
    std::fs::write(&image, boot).unwrap();
    let output = finish(tare(out.path(), &ARGS).env("TARE_DISTRO", &image));
    assert_eq!(output.status.code(), Some(3));
    let run = document(out.path());
    let failed = row(&run, "qemu-distro");
    assert_eq!(failed.status, Status::Failed);
    assert!(failed.reason.as_deref().unwrap().starts_with("preparation: "), "{failed:?}");
    assert!(failed.reason.as_deref().unwrap().contains("debugfs"), "{failed:?}");
    assert_eq!(values(&run, "process", "ready").len(), 1, "the rest is complete");
    assert!(samples(&run, "qemu-distro", "ready").is_empty(), "nothing was started");
    assert_eq!(left_of(&run.run.id), Vec::<PathBuf>::new());
}
