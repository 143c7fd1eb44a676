//! Archives that are small as long as nobody unpacks them.

use std::io::Write;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::common::Lab;
use crate::layout::{self, Layer};

/// A command that may have so much memory of its own and no more: who needs more ends with another error.
fn with_memory(command: &Command, bytes: u64) -> Command {
    let mut limited = Command::new("prlimit");
    limited.arg(format!("--data={bytes}")).arg(command.get_program()).args(command.get_args());
    limited
}

#[test]
fn a_bomb_stops_within_the_limit_and_in_little_memory() {
    let Some(lab) = Lab::new() else { return };
    // A tar header that promises 256 MiB of zeros, and the zeros.
    let size = 256_u64 << 20;
    let head =
        Layer::new().raw(tar::EntryType::Regular, "zeros", b"", |header| header.set_size(size)).bytes();
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&head[..512]).expect("gzip");
    for _ in 0..size >> 20 {
        packed.write_all(&vec![0; 1 << 20]).expect("gzip");
    }
    let packed = packed.finish().expect("gzip");
    assert!(packed.len() < 300_000, "{}", packed.len());
    let place = lab.path().join("bomb");
    // It is stopped before anybody could compare its content's digest.
    layout::write(&place, &[(packed, head)]);
    let import = lab.command(&["import", place.to_str().expect("utf-8"), "bomb:1", "--max-size", "64MiB"]);
    // The program's own pages come to that, which are a few MiB.
    let output = with_memory(&import, 40 << 20).output().expect("it starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("entry \"zeros\"") && error.contains("larger than 67108864 bytes"), "{error}");
    let left = crate::store::bytes_below(&lab.root());
    assert!(left < 1 << 20, "{left} bytes are left");
}

#[test]
fn what_describes_no_file_is_not_collected() {
    let Some(lab) = Lab::new() else { return };
    // Forty descriptions of a megabyte each, then a file.
    let value = vec![b'x'; (1 << 20) - 40];
    let layer = (0..40).fold(Layer::new(), |layer, _| layer.pax(&[("comment", &value)])).file("f", "");
    let place = lab.path().join("described");
    let content = layer.bytes();
    layout::write(&place, &[(layout::gzip(&content), content)]);
    let import = lab.command(&["import", place.to_str().expect("utf-8"), "described:1"]);
    let output = with_memory(&import, 40 << 20).output().expect("it starts");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn links_to_a_large_file_of_a_layer_below_are_paid_for() {
    if !crate::common::is_root() {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let size = 4_usize << 20;
    let large = layout::plain(Layer::new().file("d/large", &"x".repeat(size)));
    // A second name in the same layer costs nothing more.
    let links = |number: usize| {
        let name = |which: &str| format!("d/{which}{number}");
        let link = |layer: Layer, which| layer.link(tar::EntryType::Link, &name(which), "d/large");
        layout::plain(link(link(Layer::new(), "a"), "b"))
    };
    layout::write(&dir.path().join("layout"), &[large, links(1), links(2), links(3)]);
    let store = tare_runtime::image::Store::new(dir.path().join("store"));
    let import = |copies: usize| {
        let budget =
            tare_runtime::image::Budget { bytes: (copies * size + (1 << 20)) as u64, ..Default::default() };
        store.import(&dir.path().join("layout"), "links:1", budget)
    };
    let error = import(3).expect_err("it takes four times the file").to_string();
    assert!(error.contains("entry \"d/a3\": unpacked it is larger than"), "{error}");
    import(4).expect("just enough");
}

#[test]
fn too_many_entries_are_refused() {
    if !crate::common::is_root() {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let mut layer = Layer::new();
    for number in 0..200 {
        layer = layer.file(&format!("f{number}"), "");
    }
    layout::write(&dir.path().join("layout"), &[layout::plain(layer)]);
    let store = tare_runtime::image::Store::new(dir.path().join("store"));
    let import = |entries| {
        let budget = tare_runtime::image::Budget { entries, ..Default::default() };
        store.import(&dir.path().join("layout"), "many:1", budget)
    };
    let error = import(199).expect_err("one too many").to_string();
    assert!(error.contains("entry \"f199\": more than 199 entries"), "{error}");
    import(200).expect("just enough");
}

#[test]
fn an_import_that_takes_too_long_is_ended() {
    if !crate::common::is_root() {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    layout::write(&dir.path().join("layout"), &[layout::plain(Layer::new().file("f", "x"))]);
    let store = tare_runtime::image::Store::new(dir.path().join("store"));
    let budget = tare_runtime::image::Budget { time: std::time::Duration::ZERO, ..Default::default() };
    let error = store.import(&dir.path().join("layout"), "slow:1", budget).expect_err("no time").to_string();
    assert!(error.contains("it takes longer than 0 s"), "{error}");
}
