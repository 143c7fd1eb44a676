//! create, start, state, kill, delete: each where it belongs, and refused everywhere else.

use std::fs;

use serde_json::{Value, json};

use crate::NOTHING;
use crate::common::Lab;
use crate::common::bundle::{Bundle, eventually, tare};

#[test]
fn a_box_is_created_started_killed_and_deleted() {
    let Some(lab) = Lab::new() else { return };
    let mut bundle = Bundle::new(&lab, "life", "echo up; sleep 1000");
    bundle.config["annotations"] = json!({"org.example.key": "value"});
    let created = bundle.create();
    let file = created.file.clone();
    assert_eq!(created.ok(), "");
    let state = bundle.state();
    assert_eq!(state["ociVersion"], "1.0.2");
    assert_eq!((&state["id"], &state["status"]), (&json!("life"), &json!("created")));
    assert_eq!(state["bundle"], json!(fs::canonicalize(&bundle.directory).expect("bundle")));
    assert_eq!(state["annotations"], json!({"org.example.key": "value"}));
    let pid = state["pid"].as_i64().expect("pid");
    // It waits, in its cgroup, and has not become its command yet.
    assert_eq!(fs::read_to_string(&file).expect("output"), "");
    let program = fs::read_link(format!("/proc/{pid}/exe")).expect("exe");
    assert!(program.to_string_lossy().starts_with("/memfd:tare-runtime"), "{program:?}");
    assert_eq!(tare(&lab, &["start", "life"]).ok(), "");
    assert_eq!(bundle.status(), "running");
    assert_eq!(bundle.state()["pid"], json!(pid));
    eventually("the command's output", || fs::read_to_string(&file).expect("output") == "up\n");
    assert_eq!(tare(&lab, &["kill", "life", "KILL"]).ok(), "");
    eventually("the end", || bundle.status() == "stopped");
    assert_eq!(bundle.state().get("pid"), None);
    assert_eq!(tare(&lab, &["delete", "life"]).ok(), "");
    tare(&lab, &["state", "life"]).refused("container life does not exist");
    assert_eq!(lab.leftovers(), NOTHING);
}

#[test]
fn every_other_transition_is_refused_in_one_line() {
    let Some(lab) = Lab::new() else { return };
    let bundle = Bundle::new(&lab, "odd", "trap : TERM; sleep 1000");
    for words in [&["start", "odd"][..], &["kill", "odd"], &["delete", "odd"], &["exec", "odd", "true"]] {
        tare(&lab, words).refused("container odd does not exist");
    }
    bundle.create().ok();
    bundle.create().refused("container odd exists already");
    bundle.run().refused("container odd exists already");
    tare(&lab, &["delete", "odd"]).refused("container odd is created");
    tare(&lab, &["start", "odd"]).ok();
    tare(&lab, &["start", "odd"]).refused("container odd is running and cannot be started");
    tare(&lab, &["delete", "odd"]).refused("container odd is running as process");
    bundle.create().refused("container odd exists already");
    tare(&lab, &["kill", "odd", "9"]).ok();
    eventually("the end", || bundle.status() == "stopped");
    tare(&lab, &["start", "odd"]).refused("container odd is stopped and cannot be started");
    tare(&lab, &["kill", "odd"]).refused("container odd is stopped");
    bundle.exec(&[], &["true"]).refused("container odd is stopped");
    bundle.create().refused("container odd exists already");
    tare(&lab, &["delete", "odd"]).ok();
    tare(&lab, &["delete", "odd"]).refused("container odd does not exist");
    assert_eq!(lab.leftovers(), NOTHING);
}

#[test]
fn a_created_box_can_be_killed_and_is_then_stopped() {
    let Some(lab) = Lab::new() else { return };
    let bundle = Bundle::new(&lab, "early", "true");
    bundle.create().ok();
    tare(&lab, &["kill", "early", "SIGKILL"]).ok();
    eventually("the end", || bundle.status() == "stopped");
    tare(&lab, &["start", "early"]).refused("container early is stopped");
    tare(&lab, &["delete", "early"]).ok();
    assert_eq!(lab.leftovers(), NOTHING);
}

#[test]
fn what_cannot_be_executed_fails_in_create_and_leaves_nothing() {
    let Some(lab) = Lab::new() else { return };
    fs::write(lab.image().join("etc/plain"), "").expect("write");
    for (command, words) in
        [("nosuch", "nosuch (tried /usr/local/sbin/nosuch"), ("/etc/plain", "/etc/plain: Permission denied")]
    {
        let mut bundle = Bundle::new(&lab, "none", "");
        bundle.config["process"]["args"] = json!([command]);
        bundle.create().refused(words);
        assert_eq!(lab.leftovers(), NOTHING);
        fs::remove_file(bundle.directory.join("config.json")).expect("rm");
    }
    // What looks executable and is not is found by start, and the box has ended then.
    fs::write(lab.image().join("bin/garbage"), [1, 2, 3]).expect("write");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(lab.image().join("bin/garbage"), mode).expect("chmod");
    let mut bundle = Bundle::new(&lab, "garbage", "");
    bundle.config["process"]["args"] = json!(["/bin/garbage"]);
    bundle.create().ok();
    tare(&lab, &["start", "garbage"]).refused("step exec: /bin/garbage: Exec format error (ENOEXEC)");
    eventually("the end", || bundle.status() == "stopped");
    tare(&lab, &["delete", "garbage"]).ok();
    assert_eq!(lab.leftovers(), NOTHING);
}

#[test]
fn options_may_stand_behind_the_name_and_errors_go_to_the_log_too() {
    let Some(lab) = Lab::new() else { return };
    let bundle = Bundle::new(&lab, "log", "exit 3");
    bundle.write();
    let (log, pid_file) = (lab.path().join("log.json"), lab.path().join("pid"));
    let (log, pid_file) = (log.to_str().expect("utf-8"), pid_file.to_str().expect("utf-8"));
    let directory = bundle.directory.to_str().expect("utf-8");
    let create = [
        "create",
        "log",
        "--bundle",
        directory,
        "--pid-file",
        pid_file,
        "--log",
        log,
        "--log-format",
        "json",
    ];
    tare(&lab, &create).ok();
    assert!(!std::path::Path::new(log).exists(), "success writes nothing");
    assert_eq!(fs::read_to_string(pid_file).expect("pid"), bundle.state()["pid"].to_string());
    tare(&lab, &create).refused("exists already");
    tare(&lab, &["start", "nobody", "--log", log, "--log-format", "json"]).refused("does not exist");
    let text = fs::read_to_string(log).expect("log");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["level"], "error");
    assert!(lines[1]["msg"].as_str().expect("msg").contains("nobody does not exist"), "{text}");
    assert!(lines[1]["time"].as_str().expect("time").ends_with('Z'), "{text}");
    let plain = lab.path().join("log.txt");
    tare(&lab, &["start", "nobody", "--log", plain.to_str().expect("utf-8")]).refused("does not exist");
    assert!(fs::read_to_string(plain).expect("log").contains("level=error msg=\"container nobody"));
    bundle.force();
    assert_eq!(bundle.run().code, Some(3));
    assert_eq!(lab.leftovers(), NOTHING);
}

#[test]
fn a_started_box_is_running_even_if_its_start_was_killed_before_it_tidied_up() {
    let Some(lab) = Lab::new() else { return };
    let bundle = Bundle::new(&lab, "rest", "sleep 1000");
    bundle.up();
    // As a start leaves them that was killed between its word and its last call.
    let mode = nix::sys::stat::Mode::S_IRWXU;
    for name in ["start.fifo", "report.fifo"] {
        nix::unistd::mkfifo(&lab.root().join("rest").join(name), mode).expect("mkfifo");
    }
    assert_eq!(bundle.status(), "running");
    tare(&lab, &["start", "rest"]).refused("container rest is running");
    bundle.force();
    assert_eq!(lab.leftovers(), NOTHING);
}

/// Whoever comes second is not left waiting for a box that has long been running.
#[test]
fn of_two_who_start_a_box_at_once_one_finds_it_started() {
    let Some(lab) = Lab::new() else { return };
    let bundle = Bundle::new(&lab, "twice", "sleep 1000");
    let id = bundle.id.parse().expect("id");
    for _ in 0..10 {
        bundle.create().ok();
        let start = || lab.runtime().start(&id);
        let (one, two) = std::thread::scope(|scope| {
            let (one, two) = (scope.spawn(start), scope.spawn(start));
            (one.join().expect("join"), two.join().expect("join"))
        });
        let refused = match (one, two) {
            (Ok(()), Err(error)) | (Err(error), Ok(())) => error.to_string(),
            both => panic!("{both:?}"),
        };
        assert!(refused.contains("container twice is running and cannot be started"), "{refused}");
        bundle.force();
    }
    assert_eq!(lab.leftovers(), NOTHING);
}
