//! What images are brought in from: layouts with several of them, archives, and directories that somebody changes
//! meanwhile.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};
use tar::EntryType;
use tare_runtime::image::{Budget, Image, Store};

use crate::common::{entries, is_root};
use crate::hostile::left_in;
use crate::layout::{self, Layer, Stored, digest, gzip, plain, zstd};

struct Scene {
    dir: tempfile::TempDir,
    store: Store,
}

impl Scene {
    fn new() -> Option<Self> {
        let dir = is_root().then(|| tempfile::tempdir().expect("tempdir"))?;
        let store = Store::new(dir.path().join("store"));
        Some(Self { dir, store })
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn import(&self, name: &str, chosen: Option<&str>) -> Result<Image, String> {
        let imported = self.store.import_chosen(&self.at(name), chosen, "it:1", Budget::default());
        imported.map_err(|error| error.to_string())
    }

    #[track_caller]
    fn refused(&self, name: &str, chosen: Option<&str>, words: &[&str]) {
        let error = self.import(name, chosen).expect_err(name);
        assert!(words.iter().all(|words| error.contains(words)), "{words:?} expected: {error}");
        assert!(left_in(&self.at("store")).is_empty(), "{name}");
    }

    /// A layout of an image with one file, then its index changed.
    fn layout(&self, name: &str, change: impl Fn(&mut Value)) {
        layout::write(&self.at(name), &[plain(Layer::new().file("f", name))]);
        let path = self.at(name).join("index.json");
        let mut index: Value = serde_json::from_slice(&fs::read(&path).expect("index")).expect("JSON");
        change(&mut index);
        fs::write(path, index.to_string()).expect("index");
    }
}

fn file_of(image: &Image) -> String {
    fs::read_to_string(image.layers[0].join("f")).expect("file")
}

#[test]
fn one_of_several_images_is_chosen_by_name_and_none_is_guessed() {
    let Some(scene) = Scene::new() else { return };
    scene.layout("one", |_| {});
    scene.layout("two", |_| {});
    let of = |name: &str| -> Value {
        let index = fs::read(scene.at(name).join("index.json")).expect("index");
        serde_json::from_slice::<Value>(&index).expect("JSON")["manifests"][0].clone()
    };
    let named = |mut image: Value, key: &str, name: &str| {
        image["annotations"] = json!({ key: name });
        image
    };
    let ref_name = "org.opencontainers.image.ref.name";
    let (one, two) = (of("one"), of("two"));
    for blob in entries(&scene.at("two/blobs/sha256")) {
        fs::copy(&blob, scene.at("one/blobs/sha256").join(blob.file_name().expect("name"))).expect("copy");
    }
    let index = json!({ "schemaVersion": 2, "manifests": [
        named(one.clone(), ref_name, "first"), named(one, ref_name, "latest"),
        named(two, "io.containerd.image.name", "docker.io/library/second:2"),
    ]});
    fs::write(scene.at("one/index.json"), index.to_string()).expect("index");
    scene.refused("one", None, &["--ref", "first", "latest", "docker.io/library/second:2"]);
    scene.refused("one", Some("third"), &["none of its images is called third", "first"]);
    for (name, file) in [("first", "one"), ("latest", "one"), ("second:2", "two")] {
        assert_eq!(file_of(&scene.import("one", Some(name)).expect("import")), file, "{name}");
    }
}

#[test]
fn one_of_several_in_an_archive_of_docker_is_chosen_by_tag() {
    let Some(scene) = Scene::new() else { return };
    let config = |diff: &str| {
        json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [diff]}})
            .to_string()
    };
    let [one, two] = ["one", "two"].map(|content| Layer::new().file("f", content).bytes());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let list = json!([
        { "Config": "1.json", "RepoTags": ["one:1", "one:2"], "Layers": ["a/layer.tar"] },
        { "Config": "2.json", "RepoTags": ["two:1"], "Layers": ["b/layer.tar"] },
    ]);
    // The second one's layer is packed, and has a second name in the archive.
    let archive = Layer::new()
        .file("1.json", &config(&digest(&one)))
        .file("2.json", &config(&digest(&two)))
        .file("a/layer.tar", &text(&one))
        .raw(EntryType::Regular, "c/layer.tar", &gzip(&two), |_| {})
        .link(EntryType::Link, "b/layer.tar", "c/layer.tar")
        .file("manifest.json", &list.to_string());
    fs::write(scene.at("saved"), archive.bytes()).expect("write");
    scene.refused("saved", None, &["2 of the 2 images", "one:1 = one:2", "two:1"]);
    scene.refused("saved", Some("one:3"), &["0 of the 2 images", "two:1"]);
    assert_eq!(file_of(&scene.import("saved", Some("one:2")).expect("import")), "one");
    let image = scene.import("saved", Some("docker.io/library/two:1")).expect("import");
    assert_eq!(file_of(&image), "two");
    let manifest = fs::read(scene.at("store/blobs").join(&image.digest[7..])).expect("manifest");
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    let packed = gzip(&two);
    assert_eq!(
        manifest["layers"][0],
        json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
            "digest": digest(&packed), "size": packed.len()
        })
    );
}

#[test]
fn a_file_of_an_archive_that_nobody_asks_for_is_not_read_however_large_it_is() {
    let Some(scene) = Scene::new() else { return };
    let size = 400_u64 << 30;
    let head = Layer::new().raw(EntryType::Regular, "giant", b"", |header| header.set_size(size)).bytes()
        [..512]
        .to_vec();
    let layer = Layer::new().file("f", "behind").bytes();
    let config = json!({
        "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]}
    });
    let list = json!([{ "Config": "1.json", "Layers": ["layer.tar"] }]);
    let rest = Layer::new()
        .file("1.json", &config.to_string())
        .raw(EntryType::Regular, "layer.tar", &layer, |_| {})
        .file("manifest.json", &list.to_string());
    let file = fs::File::create(scene.at("saved")).expect("create");
    file.write_all_at(&head, 0).expect("write");
    // A hole, which a hundred bytes of a sparse archive make.
    file.write_all_at(&rest.bytes(), 512 + size).expect("write");
    // Seconds of work, whoever else works on this machine: to read it all takes minutes.
    let mut import = Command::new("prlimit");
    import.arg("--cpu=5").arg(env!("CARGO_BIN_EXE_tare-runtime")).arg("--root").arg(scene.at("state"));
    let import = import.arg("import").arg(scene.at("saved")).arg("it:1").output().expect("it starts");
    assert!(import.status.success(), "{import:?}");
    let image = Store::new(scene.at("state/.images")).image("it:1").expect("image");
    assert_eq!(file_of(&image), "behind");
}

/// `docker save it:1 | gzip` is no root file system with a manifest.json in it.
#[test]
fn an_archive_that_is_packed_is_what_it_is_when_it_is_unpacked() {
    let Some(scene) = Scene::new() else { return };
    let layer = Layer::new().file("f", "content").bytes();
    let config = json!({
        "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]}
    });
    let list = json!([{ "Config": "1.json", "RepoTags": ["one:1"], "Layers": ["a/layer.tar"] }]);
    let saved = Layer::new()
        .file("1.json", &config.to_string())
        .file("a/layer.tar", &String::from_utf8_lossy(&layer))
        .file("manifest.json", &list.to_string());
    let saved = saved.bytes();
    for (name, bytes) in [("saved", saved.clone()), ("saved.gz", gzip(&saved)), ("saved.zst", zstd(&saved))] {
        fs::write(scene.at(name), bytes).expect("write");
        assert_eq!(file_of(&scene.import(name, Some("one:1")).expect(name)), "content", "{name}");
        assert!(scene.import(name, Some("two:1")).expect_err(name).contains("0 of the 1 images"), "{name}");
        scene.store.remove("it:1").expect(name);
    }
    scene.layout("dir", |_| {});
    let mut tar = Command::new("tar");
    tar.arg("-czf").arg(scene.at("dir.tar.gz")).arg("-C").arg(scene.at("dir")).arg(".");
    assert!(tar.status().expect("tar").success());
    assert_eq!(file_of(&scene.import("dir.tar.gz", None).expect("layout")), "dir");
    scene.store.remove("it:1").expect("remove");
    fs::write(scene.at("root.gz"), gzip(&layer)).expect("write");
    assert_eq!(file_of(&scene.import("root.gz", None).expect("root")), "content");
    scene.store.remove("it:1").expect("remove");
    for (name, bytes) in [("text", b"no archive at all\n".repeat(99)), ("text.gz", gzip(&[b'x'; 2000]))] {
        fs::write(scene.at(name), bytes).expect("write");
        scene.refused(name, None, &[name, "neither an image nor an archive of tar"]);
    }
}

/// `docker build` makes one of "FROM scratch" and nothing that adds a file.
#[test]
fn an_image_without_layers_is_refused_for_that() {
    let Some(scene) = Scene::new() else { return };
    layout::write(&scene.at("empty"), &[]);
    scene.refused("empty", None, &["it:1", "it has no layers"]);
}

#[test]
fn a_layout_that_is_odd_is_told_what_is_odd() {
    let Some(scene) = Scene::new() else { return };
    for (name, change, words) in [
        (
            "digests in capitals",
            &(|index: &mut Value| {
                let digest = index["manifests"][0]["digest"].as_str().expect("digest").to_uppercase();
                index["manifests"][0]["digest"] = json!(digest.replace("SHA256", "sha256"));
            }) as &dyn Fn(&mut Value),
            "digest",
        ),
        (
            "another kind of digest",
            &|index: &mut Value| {
                index["manifests"][0]["digest"] = json!(format!("sha512:{}", "0".repeat(128)));
            },
            "sha256",
        ),
        (
            "for another machine",
            &|index: &mut Value| {
                index["manifests"][0]["platform"] = json!({ "os": "linux", "architecture": "arm64" });
            },
            "for linux/arm64",
        ),
        ("without images", &|index: &mut Value| index["manifests"] = json!([]), "of 0 images"),
    ] {
        scene.layout(name, change);
        scene.refused(name, None, &[words]);
    }
    scene.layout("version", |_| {});
    fs::write(scene.at("version/oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).expect("write");
    scene.refused("version", None, &["2.0.0"]);
    scene.layout("huge", |_| {});
    fs::write(scene.at("huge/index.json"), vec![b' '; (4 << 20) + 1]).expect("write");
    scene.refused("huge", None, &["index.json is of 4194305 bytes"]);
    scene.layout("deep", |_| {});
    fs::write(scene.at("deep/index.json"), "[".repeat(1 << 20)).expect("write");
    scene.refused("deep", None, &["index.json"]);
}

#[test]
fn an_index_that_leads_to_another_leads_nowhere_in_the_end() {
    let Some(scene) = Scene::new() else { return };
    scene.layout("one", |_| {});
    let kind = "application/vnd.oci.image.index.v1+json";
    let mut index = fs::read_to_string(scene.at("one/index.json")).expect("index");
    for depth in 0..5 {
        fs::write(scene.at("one/index.json"), &index).expect("index");
        match depth {
            0..4 => assert_eq!(file_of(&scene.import("one", None).expect("import")), "one", "{depth}"),
            _ => assert!(scene.import("one", None).expect_err("too deep").contains("more than 4 indexes")),
        }
        fs::write(scene.at("one/blobs/sha256").join(&digest(index.as_bytes())[7..]), &index).expect("blob");
        let next = json!({ "mediaType": kind, "digest": digest(index.as_bytes()), "size": index.len() });
        index = json!({ "schemaVersion": 2, "manifests": [next] }).to_string();
    }
}

#[test]
fn a_layer_that_is_none_is_refused_by_its_type_and_one_that_lies_elsewhere_by_its_address() {
    let Some(scene) = Scene::new() else { return };
    let of = |name: &str, change: &dyn Fn(&mut Value)| {
        let layers: [Stored; 1] = [plain(Layer::new().file("f", name))];
        layout::write_with(&scene.at(name), &layers, json!({}), |manifest| {
            change(&mut manifest["layers"][0])
        });
    };
    of("typed", &|layer| layer["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+encrypted"));
    scene.refused("typed", None, &["tar+encrypted, which is no layer's"]);
    of("foreign", &|layer| {
        layer["mediaType"] = json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
        layer["digest"] = json!(format!("sha256:{}", "0".repeat(64)));
        layer["urls"] = json!(["https://elsewhere.invalid/layer"]);
    });
    scene.refused("foreign", None, &["to be fetched from https://elsewhere.invalid/layer"]);
    of("docker", &|layer| layer["mediaType"] = json!("application/vnd.docker.image.rootfs.diff.tar.gzip"));
    assert_eq!(file_of(&scene.import("docker", None).expect("import")), "docker");
}

#[test]
fn a_document_that_is_a_manifest_and_an_index_is_neither() {
    let Some(scene) = Scene::new() else { return };
    let layers: [Stored; 1] = [plain(Layer::new().file("f", "both"))];
    layout::write_with(&scene.at("both"), &layers, json!({}), |manifest| manifest["manifests"] = json!([]));
    scene.refused("both", None, &["it names both layers and images"]);
}

#[test]
fn the_same_layer_twice_is_a_layer_twice() {
    let Some(scene) = Scene::new() else { return };
    let same = || plain(Layer::new().file("f", "twice"));
    layout::write(&scene.at("twice"), &[same(), same()]);
    let image = scene.import("twice", None).expect("import");
    assert_eq!((file_of(&image), image.layers.len()), ("twice".into(), 2));
    assert_ne!(image.layers[0], image.layers[1]);
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    let Some(scene) = Scene::new() else { return };
    let pipe = |path: &Path| {
        nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRUSR).expect("fifo");
    };
    pipe(&scene.at("pipe"));
    scene.refused("pipe", None, &["neither a file nor a directory"]);
    let _listens = UnixListener::bind(scene.at("socket")).expect("socket");
    scene.refused("socket", None, &["socket: "]);
    symlink("/dev/zero", scene.at("zero")).expect("link");
    scene.refused("zero", None, &["neither a file nor a directory"]);
    scene.layout("layout", |_| {});
    let blob = entries(&scene.at("layout/blobs/sha256")).into_iter().next().expect("blob");
    fs::remove_file(&blob).expect("remove");
    pipe(&blob);
    scene.refused("layout", None, &["neither a file nor a directory"]);
    fs::write(scene.at("empty"), "").expect("write");
    scene.refused("empty", None, &["neither an image nor an archive with anything in it"]);
    fs::write(scene.at("nothing"), gzip(&Layer::new().bytes())).expect("write");
    scene.refused("nothing", None, &["neither an image nor an archive with anything in it"]);
    fs::create_dir(scene.at("tree")).expect("mkdir");
    scene.refused("tree", Some("one"), &["nothing in it is called one"]);
}

#[test]
fn a_directory_is_packed_as_it_is() {
    let Some(scene) = Scene::new() else { return };
    let root = scene.at("root");
    fs::create_dir_all(root.join("d/sub")).expect("mkdir");
    for (name, target) in [("tidy", "a//b/./c/"), ("long", &"t".repeat(150)), ("d/up", "../../..")] {
        symlink(target, root.join(name)).expect("link");
    }
    fs::write(root.join("f"), "one").expect("write");
    fs::hard_link(root.join("f"), root.join("d/hard")).expect("link");
    xattr::set(root.join("f"), "user.lines", b"a\nb").expect("xattr");
    fs::set_permissions(root.join("d"), fs::Permissions::from_mode(0o1750)).expect("chmod");
    std::os::unix::fs::chown(root.join("f"), Some(3_000_000_000), Some(7)).expect("chown");
    let image = scene.import("root", None).expect("import");
    let tree = |path: &str| image.layers[0].join(path);
    for name in ["tidy", "long", "d/up"] {
        assert_eq!(fs::read_link(tree(name)).expect("link"), fs::read_link(root.join(name)).expect("link"));
    }
    let file = tree("f").metadata().expect("stat");
    assert_eq!((file.uid(), file.gid(), file.nlink()), (3_000_000_000, 7, 2));
    assert_eq!(tree("d").metadata().expect("stat").mode() & 0o7777, 0o1750);
    assert_eq!(xattr::get(tree("f"), "user.lines").expect("xattr").expect("there"), b"a\nb");
    fs::write(root.join("d/.wh.f"), "").expect("write");
    let error = scene.import("root", None).expect_err("a mark");
    assert!(error.contains("\"d/.wh.f\" in it: in a layer this name means"), "{error}");
}

#[test]
fn holes_in_a_directorys_files_stay_holes() {
    let Some(scene) = Scene::new() else { return };
    let long = format!("d/{}", "n".repeat(120));
    fs::create_dir_all(scene.at("root/d")).expect("mkdir");
    let write = |name: &str, size: u64, places: &[u64]| {
        let file = fs::File::create(scene.at("root").join(name)).expect("create");
        file.set_len(size).expect("size");
        places.iter().for_each(|at| file.write_all_at(b"bytes", *at).expect("write"));
    };
    write("between", 64 << 20, &[0, 32 << 20, (64 << 20) - 5]);
    write("at-the-end", (64 << 20) + 1, &[8 << 20]);
    write("nothing-else", 64 << 20, &[]);
    // More pieces than a block of the list has room for, and a name that a header has no room for.
    write(&long, 64 << 20, &(0..60).map(|it| it << 20).collect::<Vec<u64>>());
    write("none", 5, &[0]);
    xattr::set(scene.at("root/between"), "user.note", b"here").expect("xattr");
    let image = scene.import("root", None).expect("import");
    let archive = entries(&scene.at("store/blobs"))
        .into_iter()
        .find(|it| fs::read(it).expect("blob").starts_with(b"./"));
    let archive = archive.expect("the layer as it is kept");
    assert!(archive.metadata().expect("stat").len() < 2 << 20, "{:?}", archive.metadata());
    // What others make of the archive is the same.
    fs::create_dir(scene.at("tar")).expect("mkdir");
    let tar =
        Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(scene.at("tar")).output().expect("tar");
    assert!(tar.status.success(), "{tar:?}");
    for name in ["between", "at-the-end", "nothing-else", &long, "none"] {
        let is = fs::read(scene.at("root").join(name)).expect("read");
        for (who, tree) in [("here", image.layers[0].clone()), ("tar", scene.at("tar"))] {
            let file = tree.join(name);
            assert!(fs::read(&file).expect("read") == is, "{name}, {who}");
            let blocks = file.metadata().expect("stat").blocks();
            assert!(blocks * 512 < 1 << 20, "{name}, {who}: {blocks} blocks");
        }
    }
    let note = xattr::get(image.layers[0].join("between"), "user.note").expect("xattr");
    assert_eq!(note.as_deref(), Some(&b"here"[..]));
}

#[test]
fn a_directory_that_promises_too_much_is_refused_before_it_is_copied() {
    let Some(scene) = Scene::new() else { return };
    fs::create_dir(scene.at("root")).expect("mkdir");
    fs::File::create(scene.at("root/giant")).and_then(|file| file.set_len(1 << 40)).expect("sparse");
    scene.refused("root", None, &["\"giant\" in it", "larger than"]);
}

#[test]
fn what_is_mounted_in_a_directory_is_not_the_images() {
    let Some(scene) = Scene::new() else { return };
    fs::create_dir_all(scene.at("root/proc")).expect("mkdir");
    crate::apart(|| {
        let options = CString::new("mode=711").expect("no zero byte");
        let place = scene.at("root/proc");
        mount(Some("tmpfs"), &place, Some("tmpfs"), MsFlags::empty(), Some(options.as_c_str()))
            .expect("tmpfs");
        fs::write(place.join("secret"), "of the host").expect("write");
        let image = scene.import("root", None).expect("import");
        let proc = image.layers[0].join("proc");
        assert!(entries(&proc).is_empty());
        assert_eq!(proc.metadata().expect("stat").mode() & 0o7777, 0o711);
    });
}
