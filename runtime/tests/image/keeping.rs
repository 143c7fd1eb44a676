//! What a store keeps, and for whom: whatever is killed, full, or named anew, a box keeps the layers it stands on, and
//! half a layer is never taken for a whole one.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use serde_json::json;
use tare_runtime::image::{Budget, Store};

use crate::common::bundle::eventually;
use crate::common::{Lab, entries, has_strace, is_root, stderr};
use crate::hostile::left_in;
use crate::layout::{self, Layer, plain};
use crate::store::busybox;

fn tare(lab: &Lab, arguments: &[&str]) -> Output {
    lab.command(arguments).output().expect("it starts")
}

#[track_caller]
fn import(lab: &Lab, place: &Path, name: &str) {
    let output = tare(lab, &["import", place.to_str().expect("utf-8"), name]);
    assert!(output.status.success(), "{output:?}");
}

/// A layer of some directories with ten files each.
fn many() -> Layer {
    (0..100).fold(Layer::new(), |layer, number| layer.file(&format!("d{}/f{number}", number / 10), "x"))
}

fn start(lab: &Lab, name: &str, image: &str) {
    let mut run = lab.command(&["run", "-d", "--name", name, "--cgroup-parent", &lab.parent, image]);
    let run = run.args(["--", "sleep", "60"]).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(run.status().expect("it starts").success());
}

/// Ends a command by SIGKILL as it makes a system call for the so many-th time; whether it got that far.
fn killed_at(command: &Command, call: &str, time: usize) -> bool {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    strace.args(["-e", &format!("inject={call}:signal=SIGKILL:when={time}")]);
    let output = strace.arg(command.get_program()).args(command.get_args()).output().expect("strace starts");
    assert!(output.status.code() != Some(1), "{call} {time}: {output:?}");
    !output.status.success()
}

#[test]
fn whatever_is_killed_and_whenever_no_half_of_a_layer_counts() {
    let Some(lab) = Lab::new() else { return };
    if !has_strace() {
        return;
    }
    let images = lab.root().join(".images");
    let place = lab.path().join("layout");
    layout::write(&place, &[plain(Layer::new().file("base", "")), plain(many())]);
    let place = place.to_str().expect("utf-8");
    let is_whole = |what: &str| {
        import(&lab, Path::new(place), "it:1");
        let left: Vec<_> = entries(&images.join("incoming")).into_iter().filter(|it| it.is_dir()).collect();
        assert!(left.is_empty(), "{what}: {left:?}");
        let image = Store::new(images.clone()).image("it:1").expect("image");
        let directories = entries(&image.layers[0]);
        let files: usize = directories.iter().map(|directory| entries(directory).len()).sum();
        assert_eq!((directories.len(), files), (10, 100), "{what}");
    };
    let mut killed = 0;
    for (command, call, times) in [
        (vec!["import", place, "it:1"], "rename", &[1, 2, 3, 4, 5, 6, 7][..]),
        (vec!["import", place, "it:1"], "mkdir", &[9, 14]),
        (vec!["import", place, "it:1"], "mkdirat", &[5]),
        (vec!["import", place, "it:1"], "openat", &[60, 120]),
        (vec!["rm", "it:1"], "unlink", &[1]),
        (vec!["rm", "it:1"], "rename", &[1, 2, 3]),
        (vec!["rm", "it:1"], "unlinkat", &[3, 30, 60, 110]),
    ] {
        for time in times {
            if command[0] == "rm" {
                is_whole("before");
            } else {
                let _ = fs::remove_dir_all(&images);
            }
            killed += usize::from(killed_at(&lab.command(&command), call, *time));
            is_whole(&format!("{command:?} at {call} {time}"));
        }
    }
    assert!(killed >= 16, "only {killed} were killed: it is another call by now");
}

#[test]
fn a_box_keeps_its_layers_when_its_name_leads_elsewhere() {
    let Some(lab) = Lab::new() else { return };
    let layers = |store: &Store| store.image("web:1").expect("image").layers;
    let store = Store::new(lab.root().join(".images"));
    import(&lab, &busybox(&lab, 2, json!({})), "web:1");
    let old = layers(&store);
    start(&lab, "standing", "web:1");
    for (name, content) in [("web:1", "another"), ("other:1", "more")] {
        let place = lab.path().join(content);
        layout::write(&place, &[plain(Layer::new().file("f", content))]);
        import(&lab, &place, name);
    }
    assert_ne!(layers(&store), old);
    assert!(tare(&lab, &["rm", "other:1"]).status.success());
    assert!(old.iter().all(|layer| layer.exists()), "a layer is taken away under a box");
    assert!(tare(&lab, &["exec", "standing", "cat", "n"]).status.success());
    assert!(tare(&lab, &["delete", "--force", "standing"]).status.success());
    assert!(tare(&lab, &["rm", "web:1"]).status.success());
    assert!(!old.iter().any(|layer| layer.exists()), "what nobody needs is still there");
}

#[test]
fn what_a_name_meant_before_goes_when_nobody_needs_it() {
    let Some(lab) = Lab::new() else { return };
    let images = lab.root().join(".images");
    let store = Store::new(images.clone());
    // By programs: what a test's own process has locked its neighbours hold a moment longer, between fork and exec.
    let bring = |content: &str, name: &str| {
        let place = lab.path().join(content);
        layout::write(
            &place,
            &[plain(Layer::new().file("base", "")), plain(Layer::new().file("f", content))],
        );
        import(&lab, &place, name);
        store.image(name).expect("image").layers
    };
    let kept = |name: &str| entries(&images.join(name)).len();
    let first = bring("one", "it:1");
    bring("two", "other:1");
    let third = bring("three", "it:1");
    assert!(!first[0].exists() && first[1].exists() && third[0].exists(), "{first:?} {third:?}");
    // A manifest, a configuration and a layer for each, and the layer below.
    assert_eq!((kept("layers"), kept("blobs")), (3, 7));
    assert_eq!(bring("three", "it:1"), third, "the same image again is no other one");
    // Somebody who reads at this moment is not disturbed; what stays then goes with the next one.
    let departure = store.departure("other:1").expect("departure");
    bring("four", "it:1");
    assert!(third[0].exists(), "removed although somebody reads");
    drop(departure);
    let deadline = Instant::now() + Duration::from_secs(60);
    for content in ["five", "six"].iter().cycle() {
        bring(content, "it:1");
        if !third[0].exists() {
            break;
        }
        assert!(Instant::now() < deadline, "it stays");
    }
}

#[test]
fn a_start_that_fails_takes_no_box_its_image() {
    let Some(lab) = Lab::new() else { return };
    import(&lab, &busybox(&lab, 1, json!({})), "one:1");
    import(&lab, &busybox(&lab, 2, json!({})), "two:1");
    start(&lab, "taken", "one:1");
    let second = tare(&lab, &["run", "--name", "taken", "--cgroup-parent", &lab.parent, "two:1", "--", "id"]);
    assert!(stderr(&second).contains("container taken exists already"), "{second:?}");
    let refused = tare(&lab, &["rm", "one:1"]);
    assert!(!refused.status.success() && stderr(&refused).contains("taken stands on it"), "{refused:?}");
    assert!(tare(&lab, &["rm", "two:1"]).status.success());
}

#[test]
fn who_waits_for_a_box_stops_nobody_who_removes_another_image() {
    let Some(lab) = Lab::new() else { return };
    import(&lab, &busybox(&lab, 1, json!({})), "one:1");
    import(&lab, &busybox(&lab, 2, json!({})), "two:1");
    let mut waits = lab.command(&["run", "--name", "long", "--cgroup-parent", &lab.parent, "one:1"]);
    let mut waits = waits.args(["--", "sleep", "200"]).spawn().expect("it starts");
    let deadline = Instant::now() + Duration::from_secs(60);
    while !tare(&lab, &["exec", "long", "cat", "n"]).status.success() {
        assert!(Instant::now() < deadline, "it does not start");
    }
    let began = Instant::now();
    assert!(tare(&lab, &["rm", "two:1"]).status.success());
    assert!(began.elapsed() < Duration::from_secs(60), "it waited for the box's end");
    // Who waits for it removes it, too.
    assert!(tare(&lab, &["kill", "long", "KILL"]).status.success());
    assert_eq!(waits.wait().expect("wait").code(), Some(128 + 9));
}

#[test]
fn a_note_that_a_power_failure_has_emptied_is_no_note() {
    let Some(lab) = Lab::new() else { return };
    import(&lab, &busybox(&lab, 1, json!({})), "one:1");
    let used = lab.root().join(".images/used");
    fs::write(used.join("0.json"), "").expect("write");
    assert!(tare(&lab, &["rm", "one:1"]).status.success());
    assert!(entries(&used).is_empty());
    // Nor one on which a box that is started afterwards may rely.
    import(&lab, &busybox(&lab, 1, json!({})), "one:1");
    start(&lab, "before", "one:1");
    assert!(tare(&lab, &["delete", "--force", "before"]).status.success());
    let [note] = &entries(&used)[..] else { panic!("{:?}", entries(&used)) };
    fs::write(note, "").expect("write");
    start(&lab, "after", "one:1");
    let refused = tare(&lab, &["rm", "one:1"]);
    assert!(!refused.status.success() && stderr(&refused).contains("after stands on it"), "{refused:?}");
}

#[test]
fn boxes_that_are_gone_have_left_nothing_in_the_store() {
    let Some(lab) = Lab::new() else { return };
    import(&lab, &busybox(&lab, 1, json!({})), "one:1");
    let all = || Store::new(lab.root().join(".images")).root().join("used");
    start(&lab, "first", "one:1");
    let one = entries(&all()).len();
    for id in ["second", "third", "fourth"] {
        start(&lab, id, "one:1");
        assert!(tare(&lab, &["delete", "--force", id]).status.success());
    }
    assert_eq!(entries(&all()).len(), one, "{:?}", entries(&all()));
    assert!(!tare(&lab, &["rm", "one:1"]).status.success(), "the first is still there");
    assert!(tare(&lab, &["delete", "--force", "first"]).status.success());
    assert!(tare(&lab, &["rm", "one:1"]).status.success());
}

#[test]
fn an_image_that_is_damaged_is_named_and_can_be_removed() {
    let Some(lab) = Lab::new() else { return };
    import(&lab, &busybox(&lab, 1, json!({})), "good:1");
    import(&lab, &busybox(&lab, 2, json!({})), "bad:1");
    let images = lab.root().join(".images");
    let bad = Store::new(images.clone()).image("bad:1").expect("image").digest;
    fs::remove_file(images.join("blobs").join(&bad["sha256:".len()..])).expect("rm");
    for words in [&["images"][..], &["rm", "good:1"], &["run", "--cgroup-parent", &lab.parent, "bad:1"]] {
        let refused = tare(&lab, words);
        let error = stderr(&refused);
        assert!(!refused.status.success() && error.contains("library/bad:1: damaged"), "{refused:?}");
    }
    for name in ["bad:1", "good:1"] {
        let removed = tare(&lab, &["rm", name]);
        assert!(removed.status.success(), "{removed:?}");
    }
    assert!(entries(&images.join("blobs")).is_empty() && entries(&images.join("layers")).is_empty());
}

#[test]
fn a_name_with_a_digest_is_removed_where_it_means_one() {
    let Some(lab) = Lab::new() else { return };
    let place = busybox(&lab, 1, json!({}));
    for name in ["it:1", "it:2"] {
        import(&lab, &place, name);
    }
    let digest = Store::new(lab.root().join(".images")).image("it:1").expect("image").digest;
    let refused = tare(&lab, &["rm", &format!("it@{digest}")]);
    assert!(
        stderr(&refused).contains("several names mean it: docker.io/library/it:1, docker.io/library/it:2"),
        "{refused:?}"
    );
    // As `pull` prints it.
    assert!(tare(&lab, &["rm", &format!("it:1@{digest}")]).status.success());
    assert!(tare(&lab, &["rm", &format!("it@{digest}")]).status.success());
    assert!(stderr(&tare(&lab, &["rm", &format!("it@{digest}")])).contains("not in the store"));
}

#[test]
fn a_store_that_others_may_change_is_refused() {
    let Some(lab) = Lab::new() else { return };
    let place = busybox(&lab, 1, json!({}));
    let images = lab.root().join(".images");
    let refused = |words: &str| {
        let output = tare(&lab, &["import", place.to_str().expect("utf-8"), "it:1"]);
        assert!(!output.status.success() && stderr(&output).contains(words), "{words}: {output:?}");
        assert!(entries(&images).is_empty());
    };
    fs::create_dir_all(&images).expect("mkdir");
    fs::set_permissions(&images, fs::Permissions::from_mode(0o777)).expect("chmod");
    refused("others may write to it");
    fs::set_permissions(&images, fs::Permissions::from_mode(0o700)).expect("chmod");
    chown(&images, Some(1000), None).expect("chown");
    refused("belongs to another user");
}

#[test]
fn an_import_that_fills_the_file_system_leaves_nothing() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let (layout, small) = (dir.path().join("layout"), dir.path().join("small"));
    layout::write(
        &layout,
        &[plain(Layer::new().file("base", "")), plain(Layer::new().file("f", &"x".repeat(3 << 20)))],
    );
    layout::write(&small, &[plain(Layer::new().file("f", "x"))]);
    crate::apart(|| {
        let place = dir.path().join("full");
        fs::create_dir(&place).expect("mkdir");
        mount(Some("tmpfs"), &place, Some("tmpfs"), MsFlags::empty(), Some("size=4m,mode=700"))
            .expect("tmpfs");
        let store = Store::new(place.join("store"));
        let error = store.import(&layout, "it:1", Budget::default()).expect_err("too large").to_string();
        assert!(error.contains("No space left on device"), "{error}");
        // The layer that was whole may stay for the next one; nothing of the other does.
        let left: Vec<_> = left_in(&place.join("store")).into_iter().filter(|it| it.is_dir()).collect();
        assert!(left.len() <= 1 && store.images().expect("images").is_empty(), "{left:?}");
        // Another test's process, between its fork and its exec, may hold what was removed a moment longer.
        let deadline = Instant::now() + Duration::from_secs(60);
        while let Err(error) = store.import(&small, "it:2", Budget::default()) {
            assert!(Instant::now() < deadline, "there is room for this: {error}");
        }

        store.remove("docker.io/library/it:2").expect("remove");
        assert!(left_in(&place.join("store")).is_empty());
    });
}

#[test]
fn a_store_where_no_overlay_can_be_says_so() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let at = |name: &str| dir.path().join(name);
    for name in ["lower", "upper", "work", "on"] {
        fs::create_dir(at(name)).expect("mkdir");
    }
    layout::write(&at("layout"), &[plain(Layer::new().file("base", "")), plain(Layer::new().file("f", ""))]);
    crate::apart(|| {
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            at("lower").display(),
            at("upper").display(),
            at("work").display()
        );
        let options = CString::new(options).expect("no zero byte");
        mount(Some("overlay"), &at("on"), Some("overlay"), MsFlags::empty(), Some(options.as_c_str()))
            .expect("mount");
        let store = Store::new(at("on").join("store"));
        let error = store.import(&at("layout"), "it:1", Budget::default()).expect_err("refused").to_string();
        assert!(error.contains("overlay: ") && error.contains("choose a place on ext4"), "{error}");
    });
}

#[test]
fn what_no_box_could_be_made_of_is_refused_before_anything_is_unpacked() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let layers: Vec<_> = (0..201).map(|number| plain(Layer::new().file("n", &number.to_string()))).collect();
    layout::write(&dir.path().join("layout"), &layers);
    let store = Store::new(dir.path().join("store"));
    let import = |name: &str| {
        let imported = store.import(&dir.path().join("layout"), name, Budget::default());
        imported.expect_err("refused").to_string()
    };
    let error = import("tall:1");
    assert!(error.contains("201 layers, more than the 200"), "{error}");
    let error = import(&format!("tall@sha256:{}", "0".repeat(64)));
    assert!(error.contains("import it as NAME:TAG"), "{error}");
    assert!(left_in(&dir.path().join("store")).is_empty());
}

#[test]
fn a_store_is_where_a_link_leads_on_the_way_to_it() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let layers = [plain(Layer::new().file("d/base", "x")), plain(Layer::new().file("d/.wh.base", ""))];
    layout::write(&dir.path().join("layout"), &layers);
    fs::create_dir(dir.path().join("disk")).expect("mkdir");
    std::os::unix::fs::symlink("disk", dir.path().join("link")).expect("link");
    for place in ["link/one", "disk/../disk/two"] {
        let store = Store::new(dir.path().join(place));
        let image = store.import(&dir.path().join("layout"), "it:1", Budget::default()).expect(place);
        assert!(image.layers.iter().all(|layer| layer.join("d").is_dir()), "{place}");
    }
}

/// As long as an image is on its way to a registry nothing is removed, which may take minutes.
#[test]
fn who_waits_to_remove_says_for_whom_and_once() {
    let Some(lab) = Lab::new() else { return };
    import(&lab, &busybox(&lab, 1, json!({})), "it:1");
    let store = Store::new(lab.root().join(".images"));
    let sending = store.departure("it:1").expect("in the store");
    let told = lab.path().join("told");
    let mut rm = lab.command(&["rm", "it:1"]);
    let rm = rm.stderr(fs::File::create(&told).expect("create")).spawn().expect("it starts");
    let read = || fs::read_to_string(&told).expect("read");
    eventually("what it waits for", || !read().is_empty());
    assert_eq!(store.images().expect("images").len(), 1);
    drop(sending);
    assert_eq!(crate::common::wait(rm), Some(0));
    let place = store.root().display().to_string();
    assert_eq!(
        read(),
        format!("tare-runtime: {place}: waiting for others, who bring in, send or start an image\n")
    );
    assert_eq!(store.images().expect("images").len(), 0);
}
