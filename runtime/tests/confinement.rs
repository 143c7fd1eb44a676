//! The default confinement of SECURITY against a caller or an image that works against it. What an honest
//! box looks like from inside, item by item, is checked in `inside/`.

mod common;

use std::fs;

use common::{Lab, stderr, stdout};

#[test]
fn supplementary_groups_of_the_caller_are_left() {
    let Some(lab) = Lab::new() else { return };
    let run = lab.command(&["run", "--cgroup-parent", &lab.parent, "--rootfs"]);
    let output = std::process::Command::new("setpriv")
        .args(["--groups", "4,27"])
        .arg(run.get_program())
        .args(run.get_args())
        .arg(lab.image())
        .args(["groups", "--", "cat", "/proc/self/status"])
        .output()
        .expect("setpriv");
    let status = stdout(&output);
    let groups = status.lines().find_map(|l| l.strip_prefix("Groups:")).expect("groups");
    assert_eq!(groups.trim(), "", "supplementary groups");
}

#[test]
fn only_descriptors_0_1_2_even_if_the_caller_leaks_one() {
    let Some(lab) = Lab::new() else { return };
    let leaked = fs::File::open("/").expect("open");
    nix::fcntl::fcntl(&leaked, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).expect("fcntl");
    let output = lab.run_with(&[], "fds", &["sh", "-c", "ls /proc/1/fd; true"]);
    assert_eq!(stdout(&output), "0\n1\n2\n");
}

#[test]
fn masked_paths_are_empty() {
    let Some(lab) = Lab::new() else { return };
    let mut seen = 0;
    for (path, _) in tare_runtime::confinement::MASKED_PATHS {
        let path = path.to_str().expect("utf-8");
        let Ok(host) = fs::metadata(path) else { continue };
        seen += 1;
        let count =
            if host.is_dir() { format!("ls -A {path} | wc -l") } else { format!("head -c 1 {path} | wc -c") };
        assert_eq!(lab.inside(&count).trim(), "0", "{path}");
        if host.is_dir() {
            let output = lab.run_with(&[], "mask", &["touch", &format!("{path}/x")]);
            assert!(!output.status.success(), "{path} can be written to");
        }
    }
    assert!(seen >= 3, "this host has only {seen} of the masked paths");
}

#[test]
fn the_image_is_never_written_to() {
    let Some(lab) = Lab::new() else { return };
    lab.inside("echo x > /etc/new && chmod 700 /bin/busybox && mkdir /more && echo y > /bin/busybox2");
    assert!(!lab.image().join("etc/new").exists() && !lab.image().join("more").exists());
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(
        fs::metadata(lab.image().join("bin/busybox")).expect("stat").permissions().mode() & 0o777,
        0o755
    );
}

#[test]
fn loopback_is_up_and_is_the_only_interface() {
    let Some(lab) = Lab::new() else { return };
    assert_eq!(lab.inside("ls /sys/class/net").trim(), "lo");
    let lo = lab.inside("ifconfig lo");
    assert!(lo.contains("UP LOOPBACK RUNNING") && lo.contains("127.0.0.1"), "{lo}");
}

#[test]
fn a_link_at_proc_sys_or_dev_is_refused_by_name() {
    let Some(lab) = Lab::new() else { return };
    for name in ["proc", "sys", "dev"] {
        let path = lab.image().join(name);
        fs::remove_dir(&path).expect("rmdir");
        std::os::unix::fs::symlink("/etc", &path).expect("symlink");
        let output = lab.run_with(&[], "link", &["true"]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(stderr(&output).contains(&format!("step {name}: /{name}: ")), "{output:?}");
        fs::remove_file(&path).expect("rm");
        fs::create_dir(&path).expect("mkdir");
    }
    assert_eq!(lab.leftovers(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn environment_is_exactly_what_was_asked_for() {
    let Some(lab) = Lab::new() else { return };
    let output = lab.run_with(&["--env", "A=b c"], "env", &["cat", "/proc/self/environ"]);
    assert_eq!(stdout(&output), format!("PATH={}\0A=b c\0", tare_runtime::DEFAULT_PATH));
}

#[test]
fn ignored_and_blocked_signals_of_the_caller_are_not_inherited() {
    let Some(lab) = Lab::new() else { return };
    // Without a shell, which has its own ideas.
    let run = format!(
        "trap '' PIPE HUP; exec {} --root {} run --cgroup-parent {} --rootfs {} sig -- cat /proc/self/status",
        env!("CARGO_BIN_EXE_tare-runtime"),
        lab.root().display(),
        lab.parent,
        lab.image().display()
    );
    let output = std::process::Command::new("sh").args(["-c", &run]).output().expect("sh");
    let status = stdout(&output);
    for line in ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"] {
        assert!(status.lines().any(|l| l == line), "{line} is missing in\n{status}");
    }
}
