//! Volumes on the real kernel: what stays, what is read-only, and what a link at the target can do.

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Output, Stdio};

use common::{Lab, entries, stderr, stdout};

fn run(lab: &Lab, options: &[&str], script: &str) -> Output {
    lab.run_with(options, "box", &["sh", "-c", script])
}

fn must(lab: &Lab, options: &[&str], script: &str) -> String {
    let output = run(lab, options, script);
    assert!(output.status.success(), "{script}: {output:?}");
    stdout(&output).trim().to_owned()
}

#[test]
fn a_named_volume_outlives_its_boxes_and_is_theirs_together() {
    let Some(lab) = Lab::new() else { return };
    let option = ["-v", "data:/data"];
    must(&lab, &option, "echo kept > /data/file; echo lost > /file");
    assert_eq!(must(&lab, &option, "cat /data/file; ls /file 2>/dev/null || echo gone"), "kept\ngone");
    assert_eq!(must(&lab, &["-v", "data:/elsewhere:ro"], "cat /elsewhere/file"), "kept");
    assert!(entries(&lab.root()).iter().all(|path| path.ends_with(".volumes")), "{:?}", entries(&lab.root()));
    let tare = |words: &[&str]| lab.command(words).output().expect("it starts");
    assert_eq!(stdout(&tare(&["volumes"])), "data\n");
    assert!(tare(&["rm-volume", "data"]).status.success());
    assert!(stderr(&tare(&["rm-volume", "data"])).contains("there is none of that name"));
    assert_eq!(stdout(&tare(&["volumes"])), "");
}

#[test]
fn a_volume_under_a_box_is_not_removed() {
    let Some(lab) = Lab::new() else { return };
    let rootfs = lab.image();
    let started = lab
        .command(&["run", "-d", "-v", "held:/data", "--cgroup-parent", &lab.parent, "--rootfs"])
        .arg(&rootfs)
        .args(["holds", "--", "sleep", "60"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("it starts");
    assert!(started.success());
    let tare = |words: &[&str]| lab.command(words).output().expect("it starts");
    let refused = tare(&["rm-volume", "held"]);
    assert!(
        !refused.status.success() && stderr(&refused).contains("container holds has it mounted"),
        "{refused:?}"
    );
    assert!(tare(&["delete", "--force", "holds"]).status.success());
    assert!(tare(&["rm-volume", "held"]).status.success());
}

#[test]
fn read_only_holds_for_all_of_it_and_no_power_comes_in() {
    let Some(lab) = Lab::new() else { return };
    let host = lab.path().join("host");
    fs::create_dir_all(host.join("inner")).expect("mkdir");
    fs::write(host.join("file"), "of the host").expect("write");
    fs::set_permissions(host.join("file"), fs::Permissions::from_mode(0o4755)).expect("chmod");
    let volume = |options: &str| format!("{}:/data{options}", host.display());
    let (plain, read_only) = (volume(""), volume(":ro"));
    assert_eq!(must(&lab, &["-v", &plain], "cat /data/file; echo new > /data/made"), "of the host");
    assert_eq!(fs::read_to_string(host.join("made")).expect("made"), "new\n");
    let refused = must(&lab, &["-v", &read_only], "touch /data/x /data/inner/x 2>&1 || true; ls /data");
    assert!(refused.contains("Read-only file system") && refused.ends_with("made"), "{refused}");
    let flags = must(&lab, &["-v", &plain], "grep ' /data ' /proc/self/mountinfo");
    assert!(flags.contains("nosuid") && flags.contains("nodev"), "{flags}");
    // One file alone.
    let file = format!("{}:/etc/conf:ro", host.join("file").display());
    assert_eq!(must(&lab, &["-v", &file], "cat /etc/conf"), "of the host");
}

#[test]
fn memory_is_mounted_with_its_limit_and_gone_with_the_box() {
    let Some(lab) = Lab::new() else { return };
    let full = must(
        &lab,
        &["--tmpfs", "/mem:size=64k"],
        "dd if=/dev/zero of=/mem/f bs=1k count=100 2>&1 || true; wc -c < /mem/f",
    );
    assert!(full.contains("No space left") && full.ends_with("65536"), "{full}");
    assert_eq!(must(&lab, &["--tmpfs", "/mem"], "ls /mem | wc -l"), "0");
}

#[test]
fn a_link_at_the_target_leads_nowhere_but_into_the_box() {
    let Some(lab) = Lab::new() else { return };
    let outside = lab.path().join("outside");
    fs::create_dir(&outside).expect("mkdir");
    symlink(&outside, lab.image().join("absolute")).expect("link");
    symlink("../../../../../../../../../../tmp", lab.image().join("relative")).expect("link");
    for target in ["/relative/inner", "/absolute/inner"] {
        let output =
            run(&lab, &["-v", &format!("data:{target}")], "echo in > /tmp/inner/f 2>/dev/null; true");
        // Contained or refused; never outside.
        assert!(output.status.success() || stderr(&output).contains("step volumes"), "{output:?}");
    }
    assert!(entries(&outside).is_empty() && !std::path::Path::new("/tmp/inner").exists());
    let kept = lab.root().join(".volumes/data/f");
    assert_eq!(fs::read_to_string(kept).expect("the volume lies at the image's own /tmp"), "in\n");
}

#[test]
fn what_cannot_be_mounted_is_said_before_anything_is_made() {
    let Some(lab) = Lab::new() else { return };
    symlink("nowhere", lab.image().join("dangling")).expect("link");
    for (option, words) in [
        (["-v", "data"], "no absolute path"),
        (["-v", "../up:/x"], "step sources"),
        (["-v", "data:/x:fast"], "\"fast\" has no meaning for a bind"),
        (["--tmpfs", "/x:size=many"], "step volumes"),
        (["-v", "/etc/passwd:/tmp"], "/tmp: Is a directory (EISDIR): the box has a directory there"),
        (["-v", "/etc:/bin/busybox"], "/bin/busybox: Not a directory (ENOTDIR): the box has a file there"),
        (["-v", "/etc:/bin/busybox/x"], "ENOTDIR"),
        (
            ["-v", "/etc:/dangling/x"],
            "/dangling/x: File exists (EEXIST): on the way to it the box has a link",
        ),
    ] {
        let output = run(&lab, &option, "true");
        assert!(!output.status.success() && stderr(&output).contains(words), "{option:?}: {output:?}");
    }
    let many: Vec<String> = (0..129).map(|number| format!("v{number}:/v/{number}")).collect();
    let many: Vec<&str> = many.iter().flat_map(|volume| ["-v", volume]).collect();
    for (options, words) in [
        (&["-v", "data:/proc/x"][..], "over /proc nothing can be mounted"),
        (&["-v", "data:/x", "-v", "more:/x/"], "two volumes at one place"),
        (&["-v", "data:/x", "--cwd", "x"], "not absolute"),
        (&many, "129 binds are more than the 128"),
    ] {
        let output = run(&lab, options, "true");
        assert!(!output.status.success() && stderr(&output).contains(words), "{options:?}: {output:?}");
    }
    assert_eq!(entries(&lab.root()), Vec::<PathBuf>::new());
}

#[test]
fn a_new_volume_begins_with_what_the_image_has_there() {
    let Some(lab) = Lab::new() else { return };
    let from = lab.image().join("etc/data");
    fs::create_dir_all(from.join("sub")).expect("mkdir");
    fs::write(from.join("sub/file"), "of the image").expect("write");
    fs::hard_link(from.join("sub/file"), from.join("hard")).expect("link");
    symlink("sub/file", from.join("soft")).expect("link");
    std::os::unix::fs::chown(&from, Some(33), Some(34)).expect("chown");
    fs::set_permissions(&from, fs::Permissions::from_mode(0o1770)).expect("chmod");
    let look = "stat -c '%a %u:%g' /etc/data; cat /etc/data/soft; stat -c ' %h' /etc/data/hard; echo own > /etc/data/new";
    assert_eq!(must(&lab, &["-v", "filled:/etc/data"], look), "1770 33:34\nof the image 2");
    // What a box has removed stays away, as long as there is anything in it.
    must(&lab, &["-v", "filled:/etc/data"], "rm -r /etc/data/sub /etc/data/soft /etc/data/hard");
    assert_eq!(must(&lab, &["-v", "filled:/etc/data"], "ls /etc/data"), "new");
    assert_eq!(fs::read_to_string(from.join("sub/file")).expect("the image's"), "of the image");
    assert_eq!(
        must(&lab, &["-v", "bare:/etc/data:nocopy"], "ls -a /etc/data | wc -l; stat -c %a /etc/data"),
        "2\n755"
    );
    let host = lab.path().join("host");
    fs::create_dir(&host).expect("mkdir");
    must(&lab, &["-v", &format!("{}:/etc/data", host.display())], "true");
    assert!(entries(&host).is_empty(), "nothing is copied into a directory of the host");
    let options = run(&lab, &["-v", &format!("{}:/etc/data:nocopy", host.display())], "true");
    assert!(stderr(&options).contains("\"nocopy\" has no meaning for a bind"), "{options:?}");
}

#[test]
fn nobody_else_comes_to_a_volume_on_the_host_whoever_made_the_directory_of_all() {
    let Some(lab) = Lab::new() else { return };
    let volumes = lab.root().join(".volumes");
    fs::create_dir_all(&volumes).expect("mkdir");
    fs::set_permissions(lab.root(), fs::Permissions::from_mode(0o755)).expect("chmod");
    fs::set_permissions(&volumes, fs::Permissions::from_mode(0o755)).expect("chmod");
    must(&lab, &["-v", "data:/data"], "cp /bin/busybox /data/busybox && chmod 4755 /data/busybox");
    let mode = |path: &std::path::Path| fs::metadata(path).expect("stat").permissions().mode() & 0o7777;
    assert_eq!((mode(&volumes), mode(&volumes.join("data/busybox"))), (0o700, 0o4755));
}

#[test]
fn what_a_killed_removal_has_left_goes_with_the_next_one() {
    let Some(lab) = Lab::new() else { return };
    if !common::has_strace() {
        return;
    }
    must(&lab, &["-v", "data:/data"], "echo secret > /data/file");
    let volumes = lab.root().join(".volumes");
    let remove = lab.command(&["rm-volume", "data"]);
    let mut killed = std::process::Command::new("strace");
    killed.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=unlinkat"]);
    killed.args(["-e", "inject=unlinkat:signal=SIGKILL:when=1"]);
    let killed = killed.arg(remove.get_program()).args(remove.get_args()).status().expect("strace starts");
    assert!(!killed.success());
    let file = volumes.join(".gone-data/file");
    assert_eq!(fs::read_to_string(&file).expect("it was killed on the way"), "secret\n");
    // Whoever asks once more is told that there is no such volume, and that is true afterwards.
    let again = lab.command(&["rm-volume", "data"]).output().expect("it starts");
    assert!(stderr(&again).contains("there is none of that name"), "{again:?}");
    assert!(entries(&volumes).iter().all(|path| path.ends_with(".lock")), "{:?}", entries(&volumes));
}

#[test]
fn however_deep_a_box_makes_directories_it_and_its_volume_can_be_removed() {
    let Some(lab) = Lab::new() else { return };
    let deep = "for place in / /data; do cd $place; n=0; while [ $n -lt 1500 ]; do mkdir d; cd d; n=$((n+1)); done; done";
    // Few descriptors, as many hosts have it: 1,024 would be too few for a level each.
    let few = |words: &[&str]| {
        let command = lab.command(words);
        let mut few = std::process::Command::new("prlimit");
        few.arg("--nofile=200").arg(command.get_program()).args(command.get_args());
        few
    };
    let mut run = few(&["run", "-v", "data:/data", "--cgroup-parent", &lab.parent, "--rootfs"]);
    let run = run.arg(lab.image()).args(["box", "--", "sh", "-c", deep]).output().expect("it starts");
    assert!(run.status.success(), "{run:?}");
    assert!(lab.root().join(".volumes/data/d/d/d").is_dir());
    let removed = few(&["rm-volume", "data"]).output().expect("it starts");
    assert!(removed.status.success(), "{removed:?}");
    assert!(entries(&lab.root()).iter().all(|path| path.ends_with(".volumes")), "{:?}", lab.leftovers());
}

#[test]
fn an_empty_volume_is_filled_by_the_first_image_that_has_something_there() {
    let Some(lab) = Lab::new() else { return };
    let from = lab.image().join("etc/data");
    fs::create_dir_all(from.join("sub")).expect("mkdir");
    fs::create_dir(lab.image().join("etc/none")).expect("mkdir");
    fs::write(from.join("sub/file"), "of the image").expect("write");
    std::os::unix::fs::chown(&from, Some(33), Some(34)).expect("chown");
    fs::set_permissions(&from, fs::Permissions::from_mode(0o1770)).expect("chmod");
    must(&lab, &["-v", "late:/data"], "chown 5:6 /data");
    // Where the image has nothing, or nobody wants it, it stays what a box has made of it.
    for at in ["/data", "/etc/none", "/etc/data:nocopy"] {
        let (volume, place) = (format!("late:{at}"), at.trim_end_matches(":nocopy"));
        let seen = must(&lab, &["-v", &volume], &format!("ls -a {place} | wc -l; stat -c %u:%g {place}"));
        assert_eq!(seen, "2\n5:6", "{at}");
    }
    let seen = must(&lab, &["-v", "late:/etc/data"], "stat -c '%a %u:%g' /etc/data; cat /etc/data/sub/file");
    assert_eq!(seen, "1770 33:34\nof the image");
    must(&lab, &["-v", "late:/etc/data"], "rm -r /etc/data/sub");
    assert_eq!(must(&lab, &["-v", "late:/etc/data"], "cat /etc/data/sub/file"), "of the image", "again");
    let left = entries(&lab.root().join(".volumes"));
    assert!(left.iter().all(|path| path.ends_with(".lock") || path.ends_with("late")), "{left:?}");
}

#[test]
fn a_volume_that_a_box_has_mounted_is_filled_where_it_is() {
    let Some(lab) = Lab::new() else { return };
    fs::create_dir_all(lab.image().join("etc/data")).expect("mkdir");
    fs::write(lab.image().join("etc/data/file"), "of the image").expect("write");
    let start = |id: &str, volume: &str, script: &str| {
        let mut run = lab.command(&["run", "-d", "-v", volume, "--cgroup-parent", &lab.parent, "--rootfs"]);
        run.arg(lab.image()).args([id, "--", "sh", "-c", script]).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(run.status().expect("it starts").success(), "{id}");
    };
    // The image has nothing where the first box has it, and a file where the second one does.
    start("first", "data:/data", "sleep 60");
    start("second", "data:/etc/data", "sleep 60");
    let written = lab
        .command(&["exec", "first", "sh", "-c", "cat /data/file; echo kept > /data/own"])
        .output()
        .expect("exec");
    let seen = lab.command(&["exec", "second", "ls", "/etc/data"]).output().expect("exec");
    for id in ["first", "second"] {
        assert!(lab.command(&["delete", "--force", id]).status().expect("delete").success());
    }
    assert_eq!(stdout(&written), "of the image", "{written:?}");
    assert_eq!(stdout(&seen), "file\nown\n", "{seen:?}");
    assert_eq!(must(&lab, &["-v", "data:/data"], "cat /data/own"), "kept");
}

#[test]
fn of_two_first_boxes_one_fills_the_volume_and_a_killed_one_leaves_no_half() {
    let Some(lab) = Lab::new() else { return };
    let from = lab.image().join("etc/data");
    fs::create_dir_all(&from).expect("mkdir");
    for number in 0..300 {
        fs::write(from.join(number.to_string()), "x").expect("write");
    }
    let start = |number: usize| {
        let mut run =
            lab.command(&["run", "-v", "shared:/etc/data", "--cgroup-parent", &lab.parent, "--rootfs"]);
        run.arg(lab.image()).arg(format!("box{number}")).args(["--", "sh", "-c", "ls /etc/data | wc -l"]);
        run.stdout(Stdio::piped()).stderr(Stdio::piped());
        run
    };
    let mut killed = start(9).spawn().expect("it starts");
    let new = lab.root().join(".volumes/.new-shared");
    let filled = || entries(&new).len() + entries(&new.with_file_name("shared")).len();
    while filled() < 5 && killed.try_wait().expect("wait").is_none() {}
    let _ = killed.kill();
    killed.wait().expect("wait");
    let boxes: Vec<_> = (0..4).map(|number| start(number).spawn().expect("it starts")).collect();
    for child in boxes {
        let output = child.wait_with_output().expect("wait");
        assert_eq!(stdout(&output).trim(), "300", "{output:?}");
    }
    assert!(!new.exists());
    let _ = lab.command(&["delete", "--force", "box9"]).output();
}

#[test]
fn a_volume_is_held_whatever_its_path_is_called() {
    let Some(lab) = Lab::new() else { return };
    let root = lab.path().join("a root, with spaces");
    let tare = |words: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tare-runtime"));
        command.arg("--root").arg(&root).args(words).stdin(Stdio::null()).stdout(Stdio::null());
        command
    };
    let mut run = tare(&["run", "-d", "-v", "held:/a place", "--cgroup-parent", &lab.parent, "--rootfs"]);
    let started = run.arg(lab.image()).args(["holds", "--", "sleep", "60"]).stderr(Stdio::null());
    assert!(started.status().expect("it starts").success());
    fs::write(root.join(".volumes/held/file"), "").expect("write");
    let refused = tare(&["rm-volume", "held"]).output().expect("it starts");
    let deleted = tare(&["delete", "--force", "holds"]).output().expect("it starts");
    assert!(stderr(&refused).contains("container holds has it mounted"), "{refused:?}");
    assert!(root.join(".volumes/held/file").exists() && deleted.status.success());
    assert!(tare(&["rm-volume", "held"]).status().expect("it starts").success());
    assert!(entries(&root.join(".volumes")).iter().all(|path| path.ends_with(".lock")));
}

#[test]
fn volumes_lie_as_they_are_meant_in_whatever_order_they_are_said() {
    let Some(lab) = Lab::new() else { return };
    let order = ["-v", "inner:/a/b", "-v", "outer:/a", "--tmpfs", "/t", "-v", "deep:/t/d"];
    must(&lab, &order, "echo in > /a/b/f; echo out > /a/f; echo deep > /t/d/f");
    let volume = |name: &str| fs::read_to_string(lab.root().join(".volumes").join(name)).expect("read");
    assert_eq!([volume("inner/f"), volume("outer/f"), volume("deep/f")], ["in\n", "out\n", "deep\n"]);
    for (options, words) in [
        (&["-v", "a:/x", "-v", "b:/x/"][..], "two volumes at one place"),
        (&["-v", "a:/proc/sys"], "over /proc nothing can be mounted"),
    ] {
        let output = run(&lab, options, "true");
        assert!(stderr(&output).contains(words), "{output:?}");
    }
}

#[test]
fn a_callers_umask_does_not_close_a_volume() {
    let Some(lab) = Lab::new() else { return };
    let run = lab.command(&["run", "-v", "open:/data", "--cgroup-parent", &lab.parent, "--rootfs"]);
    let mut closed = std::process::Command::new("sh");
    closed.args(["-c", "umask 077; exec \"$@\"", "sh"]).arg(run.get_program()).args(run.get_args());
    closed.arg(lab.image()).args(["box", "--", "stat", "-c", "%a", "/data"]);
    assert_eq!(stdout(&closed.output().expect("it starts")), "755\n");
}

/// What is mounted on the host later: seen only by who asked for that, and never the other way round.
#[test]
fn propagation_is_what_was_asked_for_and_none_by_default() {
    let Some(lab) = Lab::new() else { return };
    let host = lab.path().join("host");
    fs::create_dir_all(host.join("later")).expect("mkdir");
    use nix::mount::{MsFlags, mount};
    let (none, run) = (None::<&str>, |options: &str| {
        must(
            &lab,
            &["-v", &format!("{}:/data{options}", host.display())],
            "grep ' /data ' /proc/self/mountinfo",
        )
    });
    std::thread::scope(|scope| {
        let mounted = scope.spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).expect("unshare");
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private");
            mount(Some("tmpfs"), &host, Some("tmpfs"), MsFlags::empty(), none).expect("tmpfs");
            mount(none, &host, none, MsFlags::MS_SHARED, none).expect("shared");
            fs::create_dir_all(host.join("inner")).expect("mkdir");
            mount(Some("tmpfs"), &host.join("inner"), Some("tmpfs"), MsFlags::empty(), none).expect("tmpfs");
            for (options, word) in [
                ("", None),
                (":private", None),
                (":rprivate", None),
                (":slave", Some("master:")),
                (":rslave", Some("master:")),
                // Its own group beside: nothing that is mounted inside comes out.
                (":shared", Some("shared: master:")),
                (":rshared", Some("shared: master:")),
            ] {
                let line = run(options);
                let fields = line.split(" - ").next().unwrap_or_default();
                let has = |word: &str| fields.contains(&format!(" {word}"));
                let found: Vec<&str> = ["shared:", "master:"].into_iter().filter(|word| has(word)).collect();
                assert_eq!(found.join(" "), word.unwrap_or_default(), "{options}: {line}");
            }
            // What is mounted below comes with it, and is read-only with it.
            let volume = format!("{}:/data:ro", host.display());
            let refused = must(
                &lab,
                &["-v", &volume],
                "touch /data/x /data/inner/x 2>&1 || grep -c ' /data/inner ' /proc/self/mountinfo",
            );
            assert_eq!(refused.matches("Read-only file system").count(), 2, "{refused}");
            assert!(refused.ends_with("\n1"), "{refused}");
        });
        mounted.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

#[test]
fn without_the_call_for_it_read_only_below_is_refused_and_not_forgotten() {
    let Some(lab) = Lab::new() else { return };
    if !common::has_strace() {
        return;
    }
    let host = lab.path().join("host");
    fs::create_dir(&host).expect("mkdir");
    let run = lab.command(&[
        "run",
        "-v",
        &format!("{}:/data:ro", host.display()),
        "--cgroup-parent",
        &lab.parent,
        "--rootfs",
    ]);
    let mut old = std::process::Command::new("strace");
    old.args([
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "trace=mount_setattr",
        "-e",
        "inject=mount_setattr:error=ENOSYS",
    ]);
    old.arg(run.get_program()).args(run.get_args()).arg(lab.image()).args(["old", "--", "true"]);
    let output = old.output().expect("strace starts");
    let error = stderr(&output);
    assert!(
        !output.status.success() && error.contains("/data") && error.contains("Linux 5.12"),
        "{output:?}"
    );
    assert!(!lab.root().join("old").exists());
}

#[test]
fn memory_has_the_mode_that_was_asked_for() {
    let Some(lab) = Lab::new() else { return };
    assert_eq!(must(&lab, &["--tmpfs", "/m:mode=0750,size=1m"], "stat -c %a /m"), "750");
    let line =
        must(&lab, &["--tmpfs", "/m:ro,noexec"], "grep ' /m ' /proc/self/mountinfo; touch /m/x 2>&1 || true");
    assert!(line.contains("ro,nosuid,nodev,noexec") && line.contains("Read-only"), "{line}");
}

#[test]
fn one_that_is_deeper_than_files_may_be_open_is_removed() {
    let Some(lab) = Lab::new() else { return };
    let script = "cd /data; i=0; while [ $i -lt 60 ]; do mkdir d; cd d; touch f; i=$((i+1)); done";
    must(&lab, &["-v", "deep:/data"], script);
    let remove = lab.command(&["rm-volume", "deep"]);
    let mut few = std::process::Command::new("sh");
    few.args(["-c", "ulimit -n 20; exec \"$@\"", "-"]).arg(remove.get_program()).args(remove.get_args());
    let removed = few.output().expect("sh");
    assert!(removed.status.success(), "{removed:?}");
    assert_eq!(entries(&lab.root().join(".volumes")), [lab.root().join(".volumes/.lock")]);
}
