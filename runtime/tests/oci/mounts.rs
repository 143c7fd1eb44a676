//! Mounts of a bundle, their options and their propagation.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::NOTHING;
use crate::common::Lab;
use crate::common::bundle::{Bundle, eventually};

/// A directory of the host with a tmpfs mounted inside; unmounted again when it goes.
struct Tree {
    path: std::path::PathBuf,
}

impl Tree {
    fn new(lab: &Lab) -> Self {
        let path = lab.path().join("tree");
        fs::create_dir_all(path.join("inner")).expect("mkdir");
        // A mount of its own, shared whatever the host's are.
        let tree = Self { path };
        tree.sh("mount -t tmpfs outer $T && mkdir $T/inner && mount --make-shared $T && mount -t tmpfs inner $T/inner && echo 1 > $T/file && echo 2 > $T/inner/file");
        tree
    }

    /// The host's mounts at and below it, as other tests have theirs.
    fn mounts(&self) -> Vec<String> {
        let all = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        let ours = self.path.parent().expect("parent").display().to_string();
        all.lines().filter(|line| line.contains(&ours)).map(str::to_owned).collect()
    }

    fn sh(&self, script: &str) {
        let done = Command::new("sh").args(["-ec", script]).env("T", &self.path).status().expect("sh");
        assert!(done.success(), "{script}");
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        for name in ["later", "inner", ""] {
            let _ = nix::mount::umount2(&self.path.join(name), nix::mount::MntFlags::MNT_DETACH);
        }
    }
}

const WRITE: &str = "for f in /v/file /v/inner/file; do if ! test -e $f; then echo none; \
                     elif (echo x >> $f) 2>/dev/null; then echo rw; else echo ro; fi; done";

#[test]
fn binds_are_flat_or_deep_writable_or_not() {
    let Some(lab) = Lab::new() else { return };
    let tree = Tree::new(&lab);
    fs::create_dir(lab.image().join("v")).expect("mkdir");
    for (options, expected) in [
        (&["bind"][..], "rw\nnone\n"),
        (&["bind", "ro"], "ro\nnone\n"),
        (&["rbind", "rw"], "rw\nrw\n"),
        (&["rbind", "ro"], "ro\nrw\n"),
        (&["rbind", "rro"], "ro\nro\n"),
        (&["rbind", "ro", "rw"], "rw\nrw\n"),
        (&["rbind", "rw", "ro"], "ro\nrw\n"),
    ] {
        let script = format!("{WRITE}; true");
        let mut bundle = Bundle::new(&lab, "bind", &script);
        bundle.bind(&tree.path, "/v", options);
        assert_eq!(bundle.run().ok(), expected, "{options:?}");
        fs::remove_file(bundle.directory.join("config.json")).expect("rm");
    }
    assert_eq!(lab.leftovers(), NOTHING);
}

#[test]
fn files_links_and_options_of_binds() {
    let Some(lab) = Lab::new() else { return };
    let (file, link) = (lab.path().join("file"), lab.path().join("link"));
    fs::write(&file, "content").expect("write");
    std::os::unix::fs::symlink(&file, &link).expect("symlink");
    let script =
        "cat /etc/file /made/deep/file; echo; grep -E ' /(etc|made)' /proc/self/mountinfo | cut -d' ' -f6 ";
    let mut bundle = Bundle::new(&lab, "file", &script.replace("cut", "busybox cut"));
    bundle.bind(&file, "/etc/file", &["bind", "ro", "nosuid", "nodev", "noexec"]);
    bundle.bind(&link, "/made/deep/file", &["bind", "noatime"]);
    let printed = bundle.run().ok();
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines[0], "contentcontent");
    assert!(lines[1].starts_with("ro,nosuid,nodev,noexec"), "{printed}");
    assert!(lines[2].contains("noatime"), "{printed}");
    bundle.bind(&lab.path().join("nowhere"), "/x", &["bind"]);
    bundle.run().refused(&format!("step sources: {}/nowhere: No such file", lab.path().display()));
    bundle.config["mounts"].as_array_mut().expect("mounts").pop();
    bundle.bind(&file, "/x", &["bind", "size=5"]);
    bundle.run().refused("mounts[8].options: \"size=5\" has no meaning for a bind");
    assert_eq!(lab.leftovers(), NOTHING);
}

#[test]
fn a_tmpfs_takes_its_options() {
    let Some(lab) = Lab::new() else { return };
    fs::create_dir(lab.image().join("scratch")).expect("mkdir");
    let script = "stat -c %a /scratch; dd if=/dev/zero of=/scratch/x bs=1k count=100 2>&1; \
                  grep ' /scratch ' /proc/self/mountinfo";
    let mut bundle = Bundle::new(&lab, "tmp", script);
    bundle.mount("/scratch/", "tmpfs", "scratch", &["nosuid", "noexec", "size=64k", "mode=1770"]);
    let printed = bundle.run().ok();
    assert!(printed.starts_with("1770\n") && printed.contains("No space left"), "{printed}");
    assert!(
        printed.contains("nosuid") && printed.contains("noexec") && printed.contains("size=64k"),
        "{printed}"
    );
    bundle.mount("/scratch", "tmpfs", "scratch", &["nonsense"]);
    bundle.run().refused("step volumes: /scratch: Invalid argument");
}

#[test]
fn later_mounts_of_the_host_arrive_only_where_asked_for_and_none_leaves() {
    let Some(lab) = Lab::new() else { return };
    let tree = Tree::new(&lab);
    fs::create_dir(lab.image().join("v")).expect("mkdir");
    for (propagation, option, arrives) in
        [("private", "rprivate", false), ("rslave", "rslave", true), ("rslave", "rprivate", false)]
    {
        let mut bundle = Bundle::new(&lab, "prop", "sleep 1000");
        bundle.bind(&tree.path, "/v", &["rbind", option]);
        bundle.config["linux"]["rootfsPropagation"] = json!(propagation);
        let before = tree.mounts();
        bundle.up();
        assert_eq!(tree.mounts(), before);
        tree.sh("mkdir -p $T/later $T/inner/later; mount -t tmpfs later $T/later; echo 3 > $T/later/file; \
                 mount --make-shared $T/inner; mount -t tmpfs later $T/inner/later; echo 4 > $T/inner/later/file");
        let seen = bundle.exec(&[], &["sh", "-c", "test -e /v/later/file && echo seen; true"]).ok();
        assert_eq!(seen == "seen\n", arrives, "{propagation} {option}");
        bundle.force();
        tree.sh("umount $T/inner/later; umount $T/later; mount --make-private $T/inner");
        fs::remove_file(bundle.directory.join("config.json")).expect("rm");
    }
    // A mount below a slave is a slave too.
    tree.sh("mount --make-shared $T/inner");
    let mut bundle = Bundle::new(&lab, "deep", "sleep 1000");
    bundle.bind(&tree.path, "/v", &["rbind", "rprivate"]);
    bundle.config["linux"]["rootfsPropagation"] = json!("rslave");
    bundle.up();
    tree.sh("mkdir -p $T/inner/later; mount -t tmpfs later $T/inner/later; echo 4 > $T/inner/later/file");
    let seen = bundle.exec(&[], &["sh", "-c", "test -e /v/inner/later/file && echo seen; true"]).ok();
    bundle.force();
    tree.sh("umount $T/inner/later");
    assert_eq!(seen, "", "rprivate means all below it too");
    eventually("nothing", || lab.leftovers() == NOTHING);
}

#[test]
fn a_destination_is_taken_as_the_directory_that_it_names() {
    let Some(lab) = Lab::new() else { return };
    // The same directories in other words: /proc, /dev and what is below are recognised all the same.
    let script = "test -e /proc/self/status && test -c /dev/null && test -e /dev/pts/ptmx && cat /proc/interrupts | wc -c";
    let mut bundle = Bundle::new(&lab, "words", script);
    for mount in bundle.config["mounts"].as_array_mut().expect("mounts") {
        let plain = mount["destination"].as_str().expect("destination").to_owned();
        mount["destination"] = json!(format!("/./{}/", plain.replace('/', "//")));
    }
    assert_eq!(bundle.run().ok(), "0\n");
}
