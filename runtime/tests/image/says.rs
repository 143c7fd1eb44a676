//! What an image says about its box, and what of that holds.

use std::path::Path;
use std::process::Output;

use serde_json::json;

use crate::common::bundle::{eventually, tare};
use crate::common::{Lab, stderr, stdout};
use crate::layout::{self, Layer, plain};
use crate::store::busybox;

fn import(lab: &Lab, place: &Path, name: &str) {
    tare(lab, &["import", place.to_str().expect("utf-8"), name]).ok();
}

fn run(lab: &Lab, arguments: &[&str]) -> Output {
    lab.command(&["run", "--cgroup-parent", &lab.parent]).args(arguments).output().expect("it starts")
}

#[track_caller]
fn prints(lab: &Lab, arguments: &[&str]) -> String {
    let output = run(lab, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    stdout(&output)
}

#[test]
fn places_that_no_layer_has_are_made_and_are_roots() {
    let Some(lab) = Lab::new() else { return };
    let config =
        json!({ "WorkingDir": "app/deep", "User": "web", "Volumes": { "/var/data": {}, "/etc": {} } });
    import(&lab, &busybox(&lab, 1, config), "it:1");
    let script = "pwd; id; echo $HOME; ls -ld . /var/data; ls /etc";
    let said = prints(&lab, &["it:1", "--", "sh", "-c", script]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..3], ["/app/deep", "uid=33(web) gid=34", "/"], "{said}");
    assert!(
        lines[3..5].iter().all(|line| line.starts_with("drwxr-xr-x    2 0 ") || line.contains(" root ")),
        "{said}"
    );
    assert_eq!(lines[5..], ["passwd"]);
    let said =
        prints(&lab, &["-u", "root", "--cwd", "/made", "it:1", "--", "sh", "-c", "pwd; echo $HOME; id -u"]);
    assert_eq!(said, "/made\n/\n0\n");
    let unknown = run(&lab, &["-u", "nobody", "it:1", "--", "id"]);
    assert!(stderr(&unknown).contains("its user \"nobody\": \"nobody\" is no number"), "{unknown:?}");
}

/// One more command has what the image says too: a USER there is not to be root for whoever comes later.
#[test]
fn one_more_command_has_user_directory_and_environment_of_the_image() {
    let Some(lab) = Lab::new() else { return };
    let config = json!({
        "WorkingDir": "/tmp", "User": "web", "Env": ["PATH=/usr/bin:/bin", "WORD=two words"], "Cmd": ["sleep", "100"]
    });
    import(&lab, &busybox(&lab, 1, config), "it:1");
    let mut start =
        lab.command(&["run", "-d", "--cgroup-parent", &lab.parent, "--name", "it", "-e", "MORE=1", "it:1"]);
    let null = std::process::Stdio::null;
    assert!(start.stdout(null()).stderr(null()).status().expect("it starts").success());
    let script = "pwd; id; echo $PATH $WORD $MORE $HOME; grep CapEff /proc/self/status";
    let said = tare(&lab, &["exec", "it", "sh", "-c", script]).ok();
    let none = "CapEff:\t0000000000000000";
    assert_eq!(said, format!("/tmp\nuid=33(web) gid=34\n/usr/bin:/bin two words 1 /\n{none}\n"), "{said}");
    let script = "pwd; id -u; echo $WORD; grep CapEff /proc/self/status";
    let said = tare(&lab, &["exec", "-u", "0", "--cwd", "/", "-e", "WORD=x", "it", "sh", "-c", script]).ok();
    assert_eq!(said, "/\n0\nx\nCapEff:\t00000000a00425fb\n");
}

#[test]
fn a_working_directory_that_is_a_way_out_leads_nowhere() {
    let Some(lab) = Lab::new() else { return };
    let outside = lab.path().join("outside");
    std::fs::create_dir(&outside).expect("mkdir");
    for (index, (target, place)) in [
        ("../../../../../../../../..".to_owned(), format!("/link{}/made", outside.display())),
        (outside.display().to_string(), "/link/made".to_owned()),
        ("/proc/self/fd/9".to_owned(), "/link/made".to_owned()),
    ]
    .into_iter()
    .enumerate()
    {
        let place_of_layout = busybox(&lab, index + 1, json!({ "WorkingDir": place }));
        let image = format!("it:{index}");
        let with_link = lab.path().join(format!("link{index}"));
        let layer = layout::layers_of(&place_of_layout)
            .into_iter()
            .chain([plain(Layer::new().symlink("link", &target))]);
        layout::write_with(&with_link, &layer.collect::<Vec<_>>(), json!({ "WorkingDir": place }), |_| {});
        import(&lab, &with_link, &image);
        // Contained, or refused at the step; never outside.
        let run = lab.command(&["run", "--cgroup-parent", &lab.parent, &image, "--", "id"]);
        let mut leaky = std::process::Command::new("sh");
        leaky
            .args(["-c", "exec 9<\"$0\"; exec \"$@\""])
            .arg(&outside)
            .arg(run.get_program())
            .args(run.get_args());
        let output = leaky.output().expect("it starts");
        assert!(
            output.status.success() || stderr(&output).contains("step directories"),
            "{target}: {output:?}"
        );
        assert!(std::fs::read_dir(&outside).expect("read").next().is_none(), "{target}");
    }
    assert!(!Path::new("/made").exists());
}

#[test]
fn a_box_is_ended_by_the_signal_that_its_image_names() {
    let Some(lab) = Lab::new() else { return };
    let script = "trap 'echo asked; exit 7' USR1; echo up; while :; do sleep 0.05; done";
    import(&lab, &busybox(&lab, 1, json!({ "StopSignal": "SIGUSR1", "Cmd": ["sh", "-c", script] })), "it:1");
    import(&lab, &busybox(&lab, 2, json!({ "StopSignal": "LOUD" })), "odd:1");
    let up = |name: &str, image: &str| {
        let called = tare(
            &lab,
            &["run", "-d", "--name", name, "--cgroup-parent", &lab.parent, image, "--", "sh", "-c", script],
        );
        let file = called.file.clone();
        called.ok();
        eventually("it is up", || std::fs::read_to_string(&file).expect("output").contains("up"));
        file
    };
    let file = up("polite", "it:1");
    tare(&lab, &["kill", "polite"]).ok();
    eventually("it ends", || std::fs::read_to_string(&file).expect("output").contains("asked"));
    up("odd", "odd:1");
    tare(&lab, &["kill", "odd"]).refused("the image's stop signal: \"LOUD\" is no signal (say one)");
    tare(&lab, &["kill", "odd", "KILL"]).ok();
}

#[test]
fn a_new_volume_is_filled_from_all_layers_of_an_image() {
    let Some(lab) = Lab::new() else { return };
    let layers = layout::layers_of(&busybox(&lab, 2, json!({}))).into_iter();
    let top =
        plain(Layer::new().file("etc/.wh.passwd", "").file("etc/more", "of the top").symlink("link", "/etc"));
    let place = lab.path().join("three");
    layout::write_with(&place, &layers.chain([top]).collect::<Vec<_>>(), json!({}), |_| {});
    import(&lab, &place, "it:1");
    assert_eq!(prints(&lab, &["-v", "conf:/etc", "it:1", "--", "ls", "/etc"]), "more\n");
    assert_eq!(prints(&lab, &["-v", "linked:/link", "it:1", "--", "cat", "/etc/more"]), "of the top");
}

#[test]
fn another_entry_point_means_another_command() {
    let Some(lab) = Lab::new() else { return };
    import(&lab, &busybox(&lab, 1, json!({ "Entrypoint": ["echo"], "Cmd": ["own"] })), "it:1");
    assert_eq!(prints(&lab, &["it:1"]), "own\n");
    assert_eq!(prints(&lab, &["it:1", "--", "said"]), "said\n");
    assert_eq!(prints(&lab, &["--entrypoint", "pwd", "it:1"]), "/\n");
    assert_eq!(prints(&lab, &["--entrypoint", "", "it:1", "--", "cat", "n"]), "0");
    let none = run(&lab, &["--entrypoint", "", "it:1"]);
    assert!(stderr(&none).contains("names no command"), "{none:?}");
}
