//! Layers with files that have holes, in each of the four forms in which GNU tar writes them, and with lists of pieces
//! that are not what they should be.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::process::Command;

use tar::EntryType;
use tare_runtime::image::{Budget, Store};

use crate::hostile::End::{Refused, Taken};
use crate::hostile::{End, check, exists};
use crate::layout::{self, Layer, Stored, plain};

#[test]
fn each_form_that_tar_writes_is_the_file_that_it_read() {
    if !crate::common::is_root() {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let root = dir.path().join("root");
    fs::create_dir(&root).expect("mkdir");
    let write = |name: &str, size: u64, places: &mut dyn Iterator<Item = u64>| {
        let file = fs::File::create(root.join(name)).expect("create");
        file.set_len(size).expect("size");
        places.for_each(|at| file.write_all_at(b"bytes", at).expect("write"));
    };
    write("between", 16 << 20, &mut [0, 8 << 20, (16 << 20) - 5].into_iter());
    write("at-the-end", (16 << 20) + 1, &mut [4 << 20].into_iter());
    write("nothing-else", 16 << 20, &mut std::iter::empty());
    // More pieces than a header has room for, and a name that it has no room for.
    let long = "n".repeat(120);
    write(&long, 16 << 20, &mut (0..40).map(|it| it << 18));
    write("after", 5, &mut [0].into_iter());
    for form in [
        &["--format=gnu"][..],
        &["--format=posix", "--sparse-version=0.0"],
        &["--format=posix", "--sparse-version=0.1"],
        &["--format=posix", "--sparse-version=1.0"],
    ] {
        let tar = Command::new("tar").args(form).args(["--sparse", "-cC"]).arg(&root).arg(".").output();
        let tar = tar.expect("tar");
        assert!(tar.status.success() && tar.stdout.len() < 2 << 20, "{form:?}: {}", tar.stdout.len());
        let place = dir.path().join("case");
        layout::write(&place.join("layout"), &[(tar.stdout.clone(), tar.stdout)]);
        let image = Store::new(place.join("store")).import(&place.join("layout"), "it:1", Budget::default());
        let image = image.unwrap_or_else(|error| panic!("{form:?}: {error}"));
        for name in ["between", "at-the-end", "nothing-else", &long, "after"] {
            let file = image.layers[0].join(name);
            let is = fs::read(&file).unwrap_or_else(|error| panic!("{form:?}, {name}: {error}"));
            assert!(is == fs::read(root.join(name)).expect("read"), "{form:?}, {name}");
            let blocks = file.metadata().expect("stat").blocks();
            assert!(blocks * 512 < 1 << 20, "{form:?}, {name}: {blocks} blocks");
        }
        assert_eq!(crate::common::entries(&image.layers[0]).len(), 5, "{form:?}");
        fs::remove_dir_all(&place).expect("remove");
    }
}

type Records<'a> = &'a [(&'a str, &'a [u8])];

/// A file of which these records are said beside its size, and of which the stream has four bytes.
fn said(size: &str, records: Records<'_>) -> Vec<Stored> {
    let all: Vec<_> = [("GNU.sparse.size", size.as_bytes())].iter().chain(records).copied().collect();
    let named = |layer: Layer| layer.pax(&all).file("as-others-see-it", "abcd");
    vec![plain(named(Layer::new()))]
}

/// The same with a list of one record, which promises so many pieces.
fn listed(size: &str, count: &str, list: &str) -> Vec<Stored> {
    said(
        size,
        &[
            ("GNU.sparse.numblocks", count.as_bytes()),
            ("GNU.sparse.name", b"it"),
            ("GNU.sparse.map", list.as_bytes()),
        ],
    )
}

/// The same with a record for each number, in this order.
fn in_turn(records: &[(&str, &str)]) -> Vec<Stored> {
    let records = records.iter().map(|(key, value)| (format!("GNU.sparse.{key}"), value.as_bytes()));
    let records: Vec<_> = records.collect();
    let records: Vec<(&str, &[u8])> = records.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    said("16", &records)
}

fn cases() -> Vec<(&'static str, Vec<Stored>, End)> {
    const OVERLAP: End = Refused("\"it\": its pieces overlap, or lie beyond its end");
    let many = vec!["0,0"; 65_537].join(",");
    vec![
        (
            "a good list",
            listed("16", "2", "2,2,10,2"),
            Taken(|tree| {
                assert_eq!(fs::read(tree.join("it")).unwrap(), b"\0\0ab\0\0\0\0\0\0cd\0\0\0\0");
                assert!(!exists(tree, "as-others-see-it"));
            }),
        ),
        (
            "a good list in records of their own",
            in_turn(&[
                ("numblocks", "2"),
                ("offset", "2"),
                ("numbytes", "2"),
                ("offset", "9"),
                ("numbytes", "2"),
            ]),
            Taken(|tree| {
                assert_eq!(fs::read(tree.join("as-others-see-it")).unwrap(), b"\0\0ab\0\0\0\0\0cd\0\0\0\0\0");
            }),
        ),
        ("pieces that overlap", listed("16", "2", "0,3,2,1"), OVERLAP),
        ("pieces backwards", listed("16", "2", "8,2,0,2"), OVERLAP),
        ("a piece beyond the end", listed("16", "1", "13,4"), OVERLAP),
        ("a place beyond counting", listed("16", "1", "18446744073709551615,4"), OVERLAP),
        (
            "a number beyond 64 bits",
            listed("16", "1", "18446744073709551616,4"),
            Refused("\"it\": the list of its pieces has \"1844"),
        ),
        (
            "a number below zero",
            listed("16", "1", "-1,4"),
            Refused("\"it\": the list of its pieces has \"-1\""),
        ),
        ("no number", listed("16", "1", "0,four"), Refused("\"it\": the list of its pieces has \"four\"")),
        (
            "an odd list",
            listed("16", "2", "0,2,8"),
            Refused("\"it\": the list of its 2 pieces has 3 numbers"),
        ),
        (
            "more pieces than promised",
            listed("16", "1", "0,2,8,2"),
            Refused("\"it\": the list of its 1 pieces has 4"),
        ),
        (
            "a count beyond counting",
            listed("16", "18446744073709551615", "0,4"),
            Refused("\"it\": the list of its 18446744073709551615 pieces"),
        ),
        (
            "fewer bytes than the stream has",
            listed("16", "1", "0,3"),
            Refused("\"it\": its pieces are 3 bytes, the stream has 4"),
        ),
        (
            "more bytes than the stream has",
            listed("16", "1", "0,5"),
            Refused("\"it\": its pieces are 5 bytes, the stream has 4"),
        ),
        (
            "a giant",
            listed("1099511627776", "1", "1099511627772,4"),
            Refused("\"it\": unpacked it is larger than"),
        ),
        (
            "more pieces than any file",
            listed("16", "65537", &many),
            Refused("\"it\": more than 65536 pieces"),
        ),
        ("no list", said("16", &[]), Refused("\"as-others-see-it\": a sparse file without a list")),
        (
            "no size",
            vec![plain(Layer::new().pax(&[("GNU.sparse.numblocks", b"0")]).file("it", ""))],
            Refused("\"it\": a sparse file that does not say how large"),
        ),
        (
            "two lengths and no place",
            in_turn(&[("numblocks", "1"), ("numbytes", "2"), ("numbytes", "2")]),
            Refused("\"as-others-see-it\": the list of its pieces: place and length do not take turns"),
        ),
        (
            "a place without a length",
            in_turn(&[("numblocks", "1"), ("offset", "0"), ("numbytes", "4"), ("offset", "8")]),
            Refused("\"as-others-see-it\": the list of its 1 pieces has 3 numbers"),
        ),
        (
            "two lists",
            in_turn(&[("numblocks", "1"), ("offset", "0"), ("numbytes", "4"), ("map", "4,4")]),
            Refused("\"as-others-see-it\": the list of its pieces is there in two ways"),
        ),
        (
            "a directory with holes",
            vec![plain(Layer::new().pax(&[("GNU.sparse.size", b"0"), ("GNU.sparse.numblocks", b"0")]).raw(
                EntryType::Directory,
                "d",
                b"",
                |_| {},
            ))],
            Refused("\"d\": it has holes and is no file"),
        ),
        (
            "a version to come",
            vec![plain(
                Layer::new().pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"1")]).file("f", "x"),
            )],
            Refused("\"f\": a sparse file of a version"),
        ),
        (
            "half a version",
            vec![plain(Layer::new().pax(&[("GNU.sparse.minor", b"1")]).file("f", "x"))],
            Refused("\"f\": a sparse file of a version"),
        ),
    ]
}

#[test]
fn a_list_that_is_wrong_is_refused_by_the_files_name() {
    check(|_| cases());
}
