//! The store: what two imports do to one another, what a killed one leaves, and who keeps what.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;
use tare_runtime::image::{Budget, Store};

use crate::common::{Lab, entries};
use crate::layout::{self, Layer, plain};

pub(crate) fn bytes_below(path: &Path) -> u64 {
    let metadata = path.symlink_metadata().expect("stat");
    match metadata.is_dir() {
        true => entries(path).iter().map(|entry| bytes_below(entry)).sum(),
        false => metadata.len(),
    }
}

/// A layer that takes a while.
fn large() -> (Vec<u8>, Vec<u8>) {
    let mut layer = Layer::new();
    for number in 0..3000 {
        layer = layer.file(&format!("d{}/f{number}", number % 40), &"x".repeat(4000));
    }
    plain(layer)
}

#[test]
fn eight_imports_at_once_end_as_one_copy_though_one_is_killed() {
    let Some(lab) = Lab::new() else { return };
    let place = lab.path().join("layout");
    layout::write(&place, &[plain(Layer::new().file("base", "")), large()]);
    let import = |name: String| {
        let mut command = lab.command(&["import", place.to_str().expect("utf-8"), &name]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
    };
    let mut running: Vec<_> = (0..8).map(|number| import(format!("it:{number}"))).collect();
    let images = lab.root().join(".images");
    // The one that unpacks now, whoever it is, is killed in the middle.
    let deadline = Instant::now() + Duration::from_secs(20);
    let killed = loop {
        assert!(Instant::now() < deadline, "nobody unpacks anything");
        let at_work =
            entries(&images.join("incoming")).into_iter().find(|path| path.join("layer/own/d5").exists());
        let pid = at_work.and_then(|path| path.file_name()?.to_str()?.split('-').next()?.parse::<u32>().ok());
        if let Some(position) = running.iter().position(|child| Some(child.id()) == pid) {
            running[position].kill().expect("kill");
            break running.remove(position);
        }
    };
    assert_eq!(killed.wait_with_output().expect("wait").status.signal(), Some(9));
    for child in running {
        let output = child.wait_with_output().expect("wait");
        assert!(output.status.success(), "{output:?}");
    }
    // What the killed one has left goes with the next import.
    let after = import("it:9".into()).wait_with_output().expect("wait");
    assert!(after.status.success(), "{after:?}");
    let left: Vec<_> = entries(&images.join("incoming")).into_iter().filter(|path| path.is_dir()).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(entries(&images.join("layers")).len(), 2);
    let store = Store::new(images.clone());
    assert_eq!(store.images().expect("images").len(), 8);
    let image = store.image("it:9").expect("image");
    assert_eq!(entries(&image.layers[0]).len(), 40);
}

#[test]
fn layers_that_images_share_are_there_once_and_go_with_the_last() {
    let Some(lab) = Lab::new() else { return };
    let images = lab.root().join(".images");
    let store = Store::new(images.clone());
    let base = || plain(Layer::new().file("base", &"b".repeat(1 << 20)));
    for (name, own) in [("one", "1"), ("two", "2")] {
        let place = lab.path().join(name);
        layout::write(&place, &[base(), plain(Layer::new().file("own", own))]);
        store.import(&place, &format!("{name}:1"), Budget::default()).expect("import");
    }
    let [one, two] = ["one:1", "two:1"].map(|name| store.image(name).expect("image"));
    assert_eq!(one.layers[1], two.layers[1]);
    assert_ne!(one.layers[0], two.layers[0]);
    assert_eq!(entries(&images.join("layers")).len(), 3);
    // Once as it came and once unpacked.
    let bytes = bytes_below(&images);
    assert!((2 << 20..(2 << 20) + 200_000).contains(&bytes), "{bytes}");
    store.remove("one:1").expect("remove");
    assert!(!one.layers[0].exists() && two.layers[1].exists());
    assert!(store.remove("one:1").expect_err("gone").to_string().contains("not in the store"));
    store.remove("two:1").expect("remove");
    assert!(entries(&images.join("layers")).is_empty() && entries(&images.join("blobs")).is_empty());
}

/// An image with busybox, in as many layers as are asked for.
pub(crate) fn busybox(lab: &Lab, layers: usize, config: serde_json::Value) -> std::path::PathBuf {
    let place = lab.path().join(format!("layout{layers}"));
    let busybox = fs::read("/bin/busybox").expect("busybox");
    let mut base = Layer::new();
    for name in ["bin", "proc", "sys", "dev", "etc"] {
        base = base.directory(name);
    }
    base = base.raw(tar::EntryType::Regular, "bin/busybox", &busybox, |header| header.set_mode(0o755));
    for name in ["sh", "cat", "id", "ls", "sleep", "echo", "pwd"] {
        base = base.symlink(&format!("bin/{name}"), "busybox");
    }
    base = base.file("etc/passwd", "root:x:0:0::/:/bin/sh\nweb:x:33:34::/:/bin/sh\n").file("n", "0");
    let mut all = vec![plain(base)];
    for number in 1..layers {
        all.push(plain(Layer::new().file("n", &number.to_string()).file(&format!("l{number}"), "")));
    }
    layout::write_with(&place, &all, config, |_| {});
    place
}

#[test]
fn a_box_of_an_image_runs_what_the_image_says() {
    let Some(lab) = Lab::new() else { return };
    let config = json!({
        "Entrypoint": ["/bin/sh", "-c"], "Cmd": ["id; pwd; echo $GREETING $PATH"], "WorkingDir": "/etc",
        "User": "web", "Env": ["GREETING=hello", "PATH=/bin"]
    });
    let place = busybox(&lab, 1, config);
    let run = |arguments: &[&str]| {
        let mut command = lab.command(&["run", "--cgroup-parent", &lab.parent]);
        let output = command.args(arguments).output().expect("it starts");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("utf-8")
    };
    let import =
        lab.command(&["import", place.to_str().expect("utf-8"), "web:1"]).output().expect("it starts");
    assert!(import.status.success(), "{import:?}");
    assert_eq!(run(&["web:1"]), "uid=33(web) gid=34\n/etc\nhello /bin\n");
    let own =
        run(&["-e", "GREETING=bye", "-u", "7:8", "--cwd", "/", "web:1", "--", "id; pwd; echo $GREETING"]);
    assert_eq!(own, "uid=7 gid=8\n/\nbye\n");
}

#[test]
fn what_an_image_does_not_say_is_not_the_callers() {
    let Some(lab) = Lab::new() else { return };
    let place = lab.path().join("layout");
    layout::write(
        &place,
        &[plain(Layer::new().file("base", "")), plain(Layer::new().file("made/on/the/way", ""))],
    );
    let import = lab.command(&["import", place.to_str().expect("utf-8"), "it:1"]);
    let mut closed = std::process::Command::new("sh");
    closed.args(["-c", "umask 077; exec \"$@\"", "sh"]).arg(import.get_program()).args(import.get_args());
    assert!(closed.output().expect("it starts").status.success());
    let image = Store::new(lab.root().join(".images")).image("it:1").expect("image");
    let mode = |path: &str| image.layers[0].join(path).metadata().expect("stat").mode() & 0o7777;
    assert_eq!([mode("."), mode("made"), mode("made/on/the")], [0o755; 3]);
}

#[test]
fn an_image_under_a_container_is_not_removed() {
    let Some(lab) = Lab::new() else { return };
    let place = busybox(&lab, 1, json!({}));
    let run = |arguments: &[&str]| lab.command(arguments).output().expect("it starts");
    assert!(run(&["import", place.to_str().expect("utf-8"), "web:1"]).status.success());
    let parent = ["--cgroup-parent", &lab.parent];
    let started = lab
        .command(&["run", "-d", "--name", "standing", parent[0], parent[1], "web:1", "--", "sleep", "60"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("it starts");
    assert!(started.success());
    let refused = run(&["rm", "web:1"]);
    let error = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && error.contains("standing stands on it"), "{error}");
    assert!(run(&["delete", "--force", "standing"]).status.success());
    assert!(run(&["rm", "web:1"]).status.success());
}

#[test]
fn an_image_may_have_more_layers_than_a_page_of_options_has_room_for() {
    let Some(lab) = Lab::new() else { return };
    let place = busybox(&lab, 127, json!({}));
    let import =
        lab.command(&["import", place.to_str().expect("utf-8"), "tall:1"]).output().expect("it starts");
    assert!(import.status.success(), "{import:?}");
    let image = Store::new(lab.root().join(".images")).image("tall:1").expect("image");
    let paths: usize = image.layers.iter().map(|path| path.as_os_str().len()).sum();
    assert!(image.layers.len() == 127 && paths > 4096, "{paths}");
    let mut run =
        lab.command(&["run", "--cgroup-parent", &lab.parent, "tall:1", "--", "sh", "-c", "cat n; ls -d l*"]);
    let output = run.output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("126") && text.contains("l1\n") && text.contains("l126"), "{output:?}");
}
