//! Layers that want out, or want too much. Each is contained, or refused by an error that names the entry; whatever
//! happens, nothing outside the store changes, and a refused image leaves nothing in it.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tar::EntryType;
use tare_runtime::image::{Budget, Store};

use crate::layout::{self, Layer, Stored, gzip, plain};

/// What becomes of a layer.
pub(crate) enum End {
    /// Refused, with these words in the error.
    Refused(&'static str),
    /// Taken, and then this holds of the tree.
    Taken(fn(&Path)),
}

use End::{Refused, Taken};

pub(crate) fn exists(tree: &Path, path: &str) -> bool {
    tree.join(path).symlink_metadata().is_ok()
}

/// The layers of one image, the lowest first, and what becomes of it.
fn cases(outside: &str) -> Vec<(&'static str, Vec<Layer>, End)> {
    let new = Layer::new;
    let one = |layer: Layer| vec![layer];
    let deep = vec!["d"; 3000].join("/");
    vec![
        ("parent", one(new().file("../canary", "x")), Refused("\"../canary\": `..` leads out")),
        ("parent inside", one(new().file("a/../../canary", "x")), Refused("leads out")),
        ("only parents", one(new().directory("../..")), Refused("leads out")),
        ("absolute", one(new().file("/canary", "x")), Taken(|tree| assert!(exists(tree, "canary")))),
        (
            "through an absolute link",
            one(new().symlink("out", outside).file("out/canary", "x")),
            Refused(
                "\"out/canary\": on the way to it lies a file, or a link that leads nowhere in the image",
            ),
        ),
        (
            "through a relative link",
            one(new().symlink("out", "../../../../../../../..").file("out/canary", "x")),
            Taken(|tree| assert!(exists(tree, "canary"))),
        ),
        (
            "through a chain of links",
            one(new().symlink("a", "b").symlink("b", "c/..").symlink("c", "/../..").file("a/canary", "x")),
            Taken(|tree| assert!(exists(tree, "canary"))),
        ),
        (
            "a ring of links",
            one(new().symlink("a", "b").symlink("b", "a").file("a/x", "")),
            Refused("\"a/x\": find its directory: Too many symbolic links"),
        ),
        (
            "through a link of the layer below",
            vec![new().directory("real").symlink("link", "/real"), new().file("link/file", "x")],
            Taken(|tree| {
                assert_eq!(fs::read_to_string(tree.join("real/file")).unwrap(), "x");
                assert!(tree.join("link").is_symlink());
            }),
        ),
        (
            "a whiteout through a link",
            vec![new().symlink("out", outside), new().file("out/.wh.canary", "")],
            Taken(|tree| assert!(tree.join("out").is_symlink())),
        ),
        (
            "a whiteout of the parent",
            one(new().file(".wh...", "")),
            Refused("\".wh...\": a whiteout that hides no name"),
        ),
        ("a whiteout of itself", one(new().file("a/.wh..", "")), Refused("hides no name")),
        ("a whiteout of nothing", one(new().file(".wh.", "")), Refused("hides no name")),
        (
            "a whiteout of its own layer's file",
            one(new().file("a", "mine").file(".wh.a", "")),
            Taken(|tree| assert_eq!(fs::read_to_string(tree.join("a")).unwrap(), "mine")),
        ),
        (
            "an opaque mark after its siblings",
            vec![
                new().file("d/old", "").file("d/e/old", ""),
                new().file("d/new", "").file("d/e/new", "").file("d/.wh..wh..opq", ""),
            ],
            Taken(|tree| {
                assert!(exists(tree, "d/new") && exists(tree, "d/e/new"));
                assert!(!exists(tree, "d/old") && !exists(tree, "d/e/old"));
            }),
        ),
        (
            "an opaque mark through a link",
            vec![new().symlink("out", outside), new().file("out/.wh..wh..opq", "")],
            Taken(|tree| assert!(tree.join("out").is_symlink())),
        ),
        (
            "a hard link to the outside",
            one(new().link(EntryType::Link, "l", "../../canary")),
            Refused("\"l\": its link \"../../canary\": `..` leads out"),
        ),
        (
            "an absolute hard link",
            one(new().link(EntryType::Link, "l", outside)),
            Refused("\"l\": find its link"),
        ),
        (
            "a hard link through a link",
            one(new().symlink("out", outside).link(EntryType::Link, "l", "out/canary")),
            Refused("\"l\": find its link"),
        ),
        (
            "a hard link to a symbolic one, then written through",
            one(new()
                .symlink("s", &format!("{outside}/canary"))
                .link(EntryType::Link, "l", "s")
                .file("l", "x")),
            Taken(|tree| assert_eq!(fs::read_to_string(tree.join("l")).unwrap(), "x")),
        ),
        (
            "a hard link to itself",
            one(new().file("f", "x").link(EntryType::Link, "f", "f")),
            Taken(|tree| assert_eq!(fs::read_to_string(tree.join("f")).unwrap(), "x")),
        ),
        ("a hard link to the root", one(new().link(EntryType::Link, "l", "/")), Refused("leads to the root")),
        (
            "a hard link to a directory",
            one(new().directory("d").link(EntryType::Link, "l", "d")),
            Refused("\"l\": link it to \"d\""),
        ),
        (
            "overlayfs' own mark",
            one(new().raw(EntryType::Char, "w", b"", |header| {
                header.set_device_major(0).unwrap();
                header.set_device_minor(0).unwrap();
            })),
            Refused("\"w\": the device 0:0 is how overlayfs marks"),
        ),
        (
            "a device",
            one(new().raw(EntryType::Block, "disk", b"", |header| {
                header.set_device_major(7).unwrap();
                header.set_device_minor(99).unwrap();
            })),
            Taken(|tree| {
                let metadata = tree.join("disk").symlink_metadata().unwrap();
                assert!(metadata.file_type().is_block_device());
            }),
        ),
        (
            "overlayfs' own attributes",
            one(new()
                .pax(&[
                    ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
                    ("SCHILY.xattr.user.overlay.redirect", b"/x"),
                    ("SCHILY.xattr.user.kept", b"1"),
                ])
                .directory("d")),
            Taken(|tree| {
                let names: Vec<_> = xattr::list(tree.join("d")).unwrap().collect();
                assert_eq!(names, ["user.kept"]);
            }),
        ),
        (
            "a setuid file",
            one(new().raw(EntryType::Regular, "su", b"x", |header| header.set_mode(0o4755))),
            Taken(|tree| {
                assert_eq!(tree.join("su").metadata().unwrap().mode() & 0o7777, 0o4755);
                // Closed to others on the way.
                let closed = tree.ancestors().filter(|dir| dir.metadata().unwrap().mode() & 0o077 == 0);
                assert!(closed.count() > 0, "{tree:?}");
            }),
        ),
        ("3,000 directories deep", one(new().long(&deep)), Refused("longer than the kernel takes")),
        (
            "300 directories deep",
            one(new().long(&vec!["d"; 300].join("/"))),
            Refused("deeper than 200 directories"),
        ),
        (
            "deep by way of a link",
            one({
                let half = vec!["d"; 150].join("/");
                new()
                    .long(&format!("{half}/f"))
                    .symlink("s", "d/d")
                    .long(&format!("s/{half}/x"))
                    .symlink("t", &vec!["d"; 49].join("/"))
                    .long(&format!("t/t/{half}/x"))
            }),
            Refused("/x\": it lies deeper than 200 directories"),
        ),
        ("a long name", one(new().long(&"n".repeat(256))), Refused("a name longer than 255 bytes")),
        ("a zero byte", one(new().pax(&[("path", b"a\0b")]).file("x", "")), Refused("zero byte")),
        (
            "an owner beyond counting",
            one(new().raw(EntryType::Regular, "f", b"", |header| header.set_uid(u64::from(u32::MAX)))),
            Refused("\"f\": its owner is beyond"),
        ),
        (
            "a size beyond counting",
            one(new().pax(&[("size", b"18446744073709551615")]).file("f", "")),
            Refused("more than any file can have"),
        ),
        (
            "a size that is no number",
            one(new().pax(&[("size", b"many")]).file("f", "")),
            Refused("no number"),
        ),
        (
            "a description without end",
            one(new().raw(EntryType::XHeader, "pax", &vec![b'x'; 2 << 20], |_| {}).file("f", "")),
            Refused("bytes of description, more than"),
        ),
        (
            "a sparse giant",
            one(new()
                .pax(&[
                    ("GNU.sparse.major", b"1"),
                    ("GNU.sparse.minor", b"0"),
                    ("GNU.sparse.realsize", b"1099511627776"),
                    ("GNU.sparse.name", b"giant"),
                ])
                .raw(
                    EntryType::Regular,
                    "g",
                    &[b"1\n1099511627775\n1\n".to_vec(), vec![0; 512 - 18], vec![b'x'; 1]].concat(),
                    |_| {},
                )),
            Refused("larger than"),
        ),
        (
            "an unknown kind",
            one(new().raw(EntryType::new(b'Z'), "odd", b"", |_| {})),
            Refused("\"odd\": of a kind that no layer has"),
        ),
        (
            "a file in the place of a directory",
            one(new().file("d/f", "").file("d", "now a file").file("d2", "")),
            Taken(|tree| assert_eq!(fs::read_to_string(tree.join("d")).unwrap(), "now a file")),
        ),
    ]
}

/// All that is in a directory, with a mark of each file's content.
fn look(directory: &Path) -> Vec<(PathBuf, u64, i64)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).expect("read").flatten() {
        let metadata = entry.path().symlink_metadata().expect("stat");
        all.push((entry.path(), metadata.len(), metadata.mtime_nsec()));
    }
    all.sort();
    all
}

pub(crate) fn left_in(store: &Path) -> Vec<PathBuf> {
    let inside = |name: &str| crate::common::entries(&store.join(name));
    let made = inside("incoming").into_iter().filter(|path| path.is_dir());
    made.chain(inside("layers")).chain(inside("blobs")).chain(inside("names")).collect()
}

#[test]
fn a_hostile_layer_is_contained_or_refused_by_name() {
    check(|outside| {
        let cases = cases(outside);
        assert!(cases.len() >= 30, "{}", cases.len());
        let stored = |layers: Vec<Layer>| layers.into_iter().map(plain).collect();
        cases.into_iter().map(|(name, layers, end)| (name, stored(layers), end)).collect()
    });
}

/// Imports each image, and looks whether it ends as it should and nothing outside has changed.
pub(crate) fn check(cases: impl FnOnce(&str) -> Vec<(&'static str, Vec<Stored>, End)>) {
    if !crate::common::is_root() {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).expect("mkdir");
    fs::write(outside.join("canary"), "alive").expect("canary");
    let before = (look(&outside), look(dir.path()).len());
    for (name, layers, end) in cases(outside.to_str().expect("utf-8")) {
        let place = dir.path().join("case");
        layout::write(&place.join("layout"), &layers);
        let store = Store::new(place.join("store"));
        let began = Instant::now();
        let imported = store.import(&place.join("layout"), "hostile:1", Budget::default());
        assert!(began.elapsed() < Duration::from_secs(60), "{name}: {:?}", began.elapsed());
        match (imported, end) {
            (Err(error), Refused(words)) => {
                assert!(error.to_string().contains(words), "{name}: {error}");
                assert_eq!(left_in(&place.join("store")), Vec::<PathBuf>::new(), "{name}");
            }
            (Ok(image), Taken(holds)) => crate::merged(&image.layers, &place, holds),
            (Ok(_), Refused(words)) => panic!("{name}: was taken, not refused ({words})"),
            (Err(error), Taken(_)) => panic!("{name}: {error}"),
        }
        fs::remove_dir_all(&place).expect("remove");
        assert_eq!((look(&outside), look(dir.path()).len()), before, "{name}: the outside has changed");
    }
}

#[test]
fn what_is_promised_and_not_kept_is_refused() {
    if !crate::common::is_root() {
        return;
    }
    let good = || Layer::new().file("f", "content").bytes();
    let import = |stored: Vec<u8>, content: Vec<u8>, change: &dyn Fn(&mut serde_json::Value)| {
        let dir = tempfile::tempdir().expect("tempdir");
        layout::write_with(&dir.path().join("layout"), &[(stored, content)], serde_json::json!({}), change);
        let store = Store::new(dir.path().join("store"));
        let imported = store.import(&dir.path().join("layout"), "it:1", Budget::default());
        assert_eq!(left_in(&dir.path().join("store")).is_empty(), imported.is_err());
        imported.map(drop).map_err(|error| error.to_string())
    };
    let nothing = |_: &mut serde_json::Value| {};
    assert_eq!(import(gzip(&good()), good(), &nothing), Ok(()));
    let packed = gzip(&good());
    for (what, stored, content, change, words) in [
        ("cut", packed[..packed.len() - 9].to_vec(), good(), &nothing as &dyn Fn(&mut _), "deflate"),
        ("cut tar", good()[..700].to_vec(), good(), &nothing, "ends in the middle"),
        (
            "another content",
            gzip(&Layer::new().file("g", "").bytes()),
            good(),
            &nothing,
            "the digest of its content is",
        ),
        ("no tar", b"\x1f\x8b\x08 nonsense".to_vec(), good(), &nothing, "gzip"),
        ("garbage", vec![b'x'; 4096], good(), &nothing, "no header of a tar stream"),
        (
            "a size",
            packed.clone(),
            good(),
            &|manifest: &mut serde_json::Value| manifest["layers"][0]["size"] = serde_json::json!(3),
            "and 3 are promised",
        ),
        (
            "a digest that is a path",
            packed.clone(),
            good(),
            &|manifest: &mut serde_json::Value| {
                manifest["layers"][0]["digest"] = serde_json::json!("sha256:../../../../etc/passwd");
            },
            "digest",
        ),
        (
            "another layer's digest",
            packed.clone(),
            good(),
            &|manifest: &mut serde_json::Value| {
                manifest["layers"][0]["digest"] = serde_json::json!(format!("sha256:{}", "0".repeat(64)));
            },
            "No such file",
        ),
    ] {
        let error = import(stored, content, change).expect_err(what);
        assert!(error.contains(words), "{what}: {error}");
    }
}

/// A known layer and a known content are not yet the same thing.
#[test]
fn a_layer_that_is_known_is_not_taken_for_another_known_content() {
    if !crate::common::is_root() {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let store = Store::new(dir.path().join("store"));
    let [one, two] = ["one", "two"].map(|name| Layer::new().file(name, name).bytes());
    let import = |place: &str, stored: &[u8], content: &[u8]| {
        layout::write(&dir.path().join(place), &[(stored.to_vec(), content.to_vec())]);
        store.import(&dir.path().join(place), &format!("{place}:1"), Budget::default())
    };
    import("one", &one, &one).expect("import");
    import("two", &two, &two).expect("import");
    let error = import("mixed", &one, &two).expect_err("one is not two").to_string();
    assert!(error.contains("the digest of its content is"), "{error}");
    // The same content from another archive is one layer.
    let packed = import("packed", &gzip(&one), &one).expect("import");
    assert_eq!(packed.layers, store.image("one:1").expect("image").layers);
    assert_eq!(crate::common::entries(&dir.path().join("store/layers")).len(), 2);
}
