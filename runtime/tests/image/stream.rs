//! What a tar stream may say in more than one way, and what others take it to mean: a layer in which one reader sees
//! another file than the next is how a scanner is deceived. Where readers differ, ours does what Go's does, with which
//! Docker and containerd read, or refuses.

use std::fs;
use std::os::unix::fs::MetadataExt;

use tar::EntryType;

use crate::hostile::End::{Refused, Taken};
use crate::hostile::{End, check, exists};
use crate::layout::{Layer, Stored, gzip, plain, zstd};

const BLOCK: usize = 512;

/// A layer without the two empty blocks that end it.
fn open(layer: Layer) -> Vec<u8> {
    let mut bytes = layer.bytes();
    bytes.truncate(bytes.len() - 2 * BLOCK);
    bytes
}

fn cases() -> Vec<(&'static str, Vec<Stored>, End)> {
    let new = Layer::new;
    let one = |layer: Layer| vec![plain(layer)];
    let raw = |bytes: Vec<u8>| vec![(bytes.clone(), bytes)];
    let whole = new().file("f", "content").bytes();
    let half = |at: usize, pack: &dyn Fn(&[u8]) -> Vec<u8>| [pack(&whole[..at]), pack(&whole[at..])].concat();
    let has_f: End = Taken(|tree| assert_eq!(fs::read_to_string(tree.join("f")).unwrap(), "content"));
    vec![
        (
            "an attribute with a newline in it, as capabilities have",
            one(new().pax(&[("SCHILY.xattr.user.lines", b"a\nb=c\n\n")]).file("f", "")),
            Taken(|tree| {
                assert_eq!(xattr::get(tree.join("f"), "user.lines").unwrap().unwrap(), b"a\nb=c\n\n");
            }),
        ),
        (
            "a record that is shorter than it says",
            one(new().raw(EntryType::XHeader, "pax", b"30 path=a\n", |_| {}).file("f", "")),
            Refused("its description: a record"),
        ),
        (
            "a record without a newline at its end",
            one(new().raw(EntryType::XHeader, "pax", b"9 path=ab", |_| {}).file("f", "")),
            Refused("its description: a record"),
        ),
        (
            "a link with a size has no bytes",
            one(new()
                .file("f", "x")
                .raw(EntryType::Link, "l", b"", |header| {
                    header.as_old_mut().linkname[0] = b'f';
                    header.set_size(512);
                })
                .file("after", "")),
            Taken(|tree| assert!(exists(tree, "l") && exists(tree, "after"))),
        ),
        (
            "a directory with a size has none either",
            one(new()
                .raw(EntryType::Directory, "d", b"", |header| header.set_size(1 << 40))
                .file("after", "")),
            Taken(|tree| assert!(exists(tree, "d") && exists(tree, "after"))),
        ),
        (
            "of two descriptions the later one counts alone",
            one(new().pax(&[("path", b"first")]).pax(&[("mtime", b"5")]).file("f", "")),
            Taken(|tree| assert!(exists(tree, "f") && !exists(tree, "first"))),
        ),
        (
            "an empty record says nothing",
            one(new().pax(&[("path", b""), ("size", b""), ("mtime", b"")]).file("f", "content")),
            Taken(|tree| assert_eq!(fs::read_to_string(tree.join("f")).unwrap(), "content")),
        ),
        (
            "a long name in both ways",
            one(new()
                .raw(EntryType::GNULongName, "././@LongLink", b"gnu\0", |_| {})
                .pax(&[("path", b"pax")])
                .file("f", "")),
            Taken(|tree| assert!(exists(tree, "gnu") && !exists(tree, "pax"))),
        ),
        (
            "a description of all that follow",
            one(new()
                .raw(EntryType::XGlobalHeader, "pax", b"10 path=ab\n"[..].into(), |_| {})
                .file("f", "content")),
            Taken(|tree| assert!(exists(tree, "f") && !exists(tree, "ab"))),
        ),
        (
            "one empty block, and files after it",
            raw([open(new().file("f", "")), vec![0; BLOCK], new().file("hidden", "").bytes()].concat()),
            Refused("an empty block and then more"),
        ),
        (
            "one empty block at the end",
            raw([open(new().file("f", "content")), vec![0; BLOCK]].concat()),
            has_f,
        ),
        (
            "no empty block at the end",
            raw(open(new().file("f", "content"))),
            Taken(|tree| assert!(exists(tree, "f"))),
        ),
        (
            "a name with a slash at its end, in the oldest format a directory",
            one(new()
                .raw(EntryType::Regular, "d/", b"", |header| header.as_old_mut().linkflag = [0])
                .file("d/f", "")),
            Taken(|tree| assert!(exists(tree, "d/f"))),
        ),
        (
            "numbers that are left out",
            one(new().raw(EntryType::Regular, "f", b"", |header| {
                let old = header.as_old_mut();
                old.uid = [b' '; 8];
                old.gid = [0; 8];
                old.mtime = [b' '; 12];
                old.mode = [b' '; 8];
            })),
            Taken(|tree| assert_eq!(tree.join("f").metadata().unwrap().mode() & 0o7777, 0)),
        ),
        (
            "a size of more than 64 bits, of which the last are 3",
            one(new().raw(EntryType::Regular, "f", b"abc", |header| {
                header.as_old_mut().size = [0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3];
            })),
            Refused("\"f\": its size"),
        ),
        (
            "a size below zero",
            one(new().raw(EntryType::Regular, "f", b"", |header| header.as_old_mut().size = [0xff; 12])),
            Refused("\"f\": its size"),
        ),
        (
            "a time before 1970, in two ways",
            one(new().pax(&[("mtime", b"-1.25")]).file("pax", "").raw(
                EntryType::Regular,
                "gnu",
                b"",
                |header| header.as_old_mut().mtime = [0xff; 12],
            )),
            Taken(|tree| {
                let time = |name: &str| {
                    let metadata = tree.join(name).metadata().unwrap();
                    (metadata.mtime(), metadata.mtime_nsec())
                };
                assert_eq!((time("pax"), time("gnu")), ((-2, 750_000_000), (-1, 0)));
            }),
        ),
        (
            "a directory twice: what is said last of it counts",
            one(new().raw(EntryType::Directory, "d", b"", |header| header.set_mtime(1)).file("d/f", "").raw(
                EntryType::Directory,
                "./d/",
                b"",
                |header| {
                    header.set_mtime(2);
                    header.set_mode(0o700);
                },
            )),
            Taken(|tree| {
                let metadata = tree.join("d").metadata().unwrap();
                assert_eq!((metadata.mtime(), metadata.mode() & 0o777), (2, 0o700));
            }),
        ),
        (
            "a file twice",
            one(new().file("f", "first").file("./f", "second")),
            Taken(|tree| assert_eq!(fs::read_to_string(tree.join("f")).unwrap(), "second")),
        ),
        (
            "the time of a directory that became a link is not set where that leads",
            one(new()
                .raw(EntryType::Directory, "kept", b"", |header| header.set_mtime(7))
                .raw(EntryType::Directory, "link", b"", |header| header.set_mtime(9))
                .symlink("link", "kept")),
            Taken(|tree| assert_eq!(tree.join("kept").metadata().unwrap().mtime(), 7)),
        ),
        (
            "a directory of a layer below, said anew: its attributes too",
            vec![
                plain(
                    new()
                        .pax(&[("SCHILY.xattr.user.old", b"1"), ("SCHILY.xattr.user.both", b"1")])
                        .directory("d"),
                ),
                plain(new().pax(&[("SCHILY.xattr.user.both", b"2")]).directory("d")),
            ],
            Taken(|tree| {
                assert_eq!(xattr::list(tree.join("d")).unwrap().collect::<Vec<_>>(), ["user.both"]);
                assert_eq!(xattr::get(tree.join("d"), "user.both").unwrap().unwrap(), b"2");
            }),
        ),
        (
            "a link that is taken away between two files below it",
            vec![
                plain(new().directory("real").symlink("link", "/real")),
                plain(new().file("link/one", "").file(".wh.link", "").file("link/two", "")),
            ],
            Taken(|tree| {
                assert!(exists(tree, "real/one") && exists(tree, "link/two") && !exists(tree, "real/two"));
            }),
        ),
        (
            "two members of gzip",
            vec![(half(700, &gzip), whole.clone())],
            Taken(|tree| assert!(exists(tree, "f"))),
        ),
        (
            "two frames of zstd",
            vec![(half(700, &zstd), whole.clone())],
            Taken(|tree| assert!(exists(tree, "f"))),
        ),
        (
            "a frame of zstd to be skipped",
            vec![(
                [zstd(&whole), vec![0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, b'x', b'x']].concat(),
                whole.clone(),
            )],
            Taken(|tree| assert!(exists(tree, "f"))),
        ),
        (
            "what follows the members of gzip",
            vec![([gzip(&whole), b"garbage".to_vec()].concat(), whole.clone())],
            Refused("layer sha256:"),
        ),
        (
            "what follows the frames of zstd",
            vec![([zstd(&whole), b"garbage".to_vec()].concat(), whole.clone())],
            Refused("layer sha256:"),
        ),
        (
            "half a frame of zstd",
            vec![(zstd(&whole)[..20].to_vec(), whole.clone())],
            Refused("layer sha256:"),
        ),
        (
            "a window that takes a gigabyte",
            // A frame header (RFC 8878) with a window of 2^30 bytes and one empty block.
            vec![(vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 20 << 3, 0x01, 0, 0], Vec::new())],
            Refused("memory"),
        ),
        (
            "packed as no layer is",
            vec![([b"\xfd7zXZ\0".to_vec(), vec![0; 1024]].concat(), Vec::new())],
            Refused("packed with xz"),
        ),
    ]
}

#[test]
fn a_stream_means_what_it_means_to_docker_or_is_refused() {
    check(|_| cases());
}
