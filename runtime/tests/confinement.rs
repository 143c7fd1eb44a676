//! The default confinement of SECURITY, item by item, read from inside the box.

mod common;

use std::fs;

use common::{Lab, stderr, stdout};

#[test]
fn capabilities_are_dockers_without_mknod_and_nothing_can_be_gained() {
    let Some(lab) = Lab::new() else { return };
    let status = lab.inside("cat /proc/self/status");
    for line in [
        "CapInh:\t0000000000000000",
        "CapPrm:\t00000000a00425fb",
        "CapEff:\t00000000a00425fb",
        "CapBnd:\t00000000a00425fb",
        "CapAmb:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "Umask:\t0022",
        "Uid:\t0\t0\t0\t0",
        "Gid:\t0\t0\t0\t0",
    ] {
        assert!(status.lines().any(|l| l == line), "{line} is missing in\n{status}");
    }
}

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
fn six_namespaces_are_not_the_hosts() {
    let Some(lab) = Lab::new() else { return };
    for kind in ["pid", "mnt", "net", "ipc", "uts", "cgroup"] {
        let host = fs::read_link(format!("/proc/self/ns/{kind}")).expect("host");
        let inside = lab.inside(&format!("readlink /proc/self/ns/{kind}"));
        assert!(inside.starts_with(kind), "{inside}");
        assert_ne!(inside.trim(), host.to_str().expect("utf-8"), "{kind}");
    }
}

#[test]
fn the_command_is_process_1_of_its_own_session_and_sees_nobody_else() {
    let Some(lab) = Lab::new() else { return };
    assert_eq!(lab.inside("echo $$; ls -d /proc/[0-9]* | wc -l").lines().next(), Some("1"));
    // Name in field 2, session in field 6, terminal in field 7.
    let stat = lab.inside("read -r line < /proc/1/stat; set -- $line; echo $6 $7");
    assert_eq!(stat.trim(), "1 0");
    assert_eq!(lab.inside("hostname").trim(), "inside");
}

#[test]
fn the_cgroup_namespaces_root_is_the_boxs_own_cgroup() {
    let Some(lab) = Lab::new() else { return };
    let cgroup = lab.inside("cat /proc/self/cgroup");
    assert!(cgroup.contains(":memory:/\n") || cgroup.contains("0::/\n"), "{cgroup}");
    assert!(!cgroup.contains("tare"), "{cgroup}");
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
fn no_mount_of_the_host_is_visible_and_proc_is_locked_down() {
    let Some(lab) = Lab::new() else { return };
    let info = lab.inside("cat /proc/self/mountinfo");
    let targets: Vec<&str> = info.lines().filter_map(|l| l.split(' ').nth(4)).collect();
    assert_eq!(targets[0], "/", "{info}");
    for target in &targets {
        let ours = ["/", "/proc", "/sys", "/dev"].contains(target)
            || ["/proc/", "/sys/", "/dev/"].iter().any(|below| target.starts_with(below));
        assert!(ours, "{target} in\n{info}");
    }
    let line =
        |target: &str| info.lines().find(|l| l.split(' ').nth(4) == Some(target)).expect("mount").to_owned();
    for flag in ["nosuid", "nodev", "noexec"] {
        assert!(line("/proc").split(' ').nth(5).expect("flags").split(',').any(|f| f == flag), "{flag}");
    }
    assert!(line("/sys").split(' ').nth(5).expect("flags").starts_with("ro,"), "{info}");
    assert!(line("/dev/pts").contains("devpts"), "{info}");
    assert!(line("/").contains("overlay"), "{info}");
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
fn read_only_paths_refuse_a_write_and_name_the_reason() {
    let Some(lab) = Lab::new() else { return };
    // A value of the box's own namespace, so that nothing happens to the host if the guard is gone.
    let output = lab.run_with(&[], "ro", &["sh", "-c", "echo x > /proc/sys/kernel/domainname"]);
    assert!(stderr(&output).contains("Read-only file system"), "{output:?}");
    let info = lab.inside("cat /proc/self/mountinfo");
    for path in tare_runtime::confinement::READONLY_PATHS {
        let path = path.to_str().expect("utf-8");
        if !std::path::Path::new(path).exists() {
            continue;
        }
        let line = info.lines().find(|l| l.split(' ').nth(4) == Some(path));
        assert!(
            line.is_some_and(|l| l.split(' ').nth(5).is_some_and(|f| f.starts_with("ro,"))),
            "{path}: {line:?}"
        );
    }
}

#[test]
fn dev_has_six_devices_and_no_more() {
    let Some(lab) = Lab::new() else { return };
    let devices =
        lab.inside("cd /dev; for f in *; do [ -h $f ] || [ ! -c $f ] || stat -c '%n %t:%T %a' $f; done");
    let expected = "full 1:7 666\nnull 1:3 666\nrandom 1:8 666\ntty 5:0 666\nurandom 1:9 666\nzero 1:5 666\n";
    assert_eq!(devices, expected);
    assert_eq!(
        lab.inside("for l in ptmx fd stderr; do readlink /dev/$l; done"),
        "pts/ptmx\n/proc/self/fd\n/proc/self/fd/2\n"
    );
    assert_eq!(lab.inside("ls /dev/pts"), "ptmx\n");
    assert_eq!(lab.inside("stat -c %a /dev/shm /dev/mqueue"), "1777\n1777\n");
    assert_eq!(lab.inside("echo x > /dev/null && head -c 3 /dev/zero | wc -c").trim(), "3");
}

#[test]
fn a_device_node_in_the_image_opens_nothing() {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    let Some(lab) = Lab::new() else { return };
    // The number of /dev/zero: harmless if the guard is gone.
    mknod(&lab.image().join("zero"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 5))
        .expect("mknod");
    let output = lab.run_with(&[], "node", &["head", "-c", "1", "/zero"]);
    assert!(!output.status.success() && stderr(&output).contains("Permission denied"), "{output:?}");
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
