//! The payload and the runtime's own program (CVE-2019-5736), and the way back to the host through a
//! descriptor (CVE-2024-21626).

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::NOTHING;
use crate::common::Lab;
use crate::common::bundle::{Bundle, Called, call, eventually};

/// A copy of the runtime that may be lost, and its bytes.
struct Copy {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Copy {
    fn new(lab: &Lab) -> Self {
        let path = lab.path().join("runtime");
        fs::copy(env!("CARGO_BIN_EXE_tare-runtime"), &path).expect("copy");
        Self { bytes: fs::read(&path).expect("read"), path }
    }

    fn command(&self, lab: &Lab, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command.arg("--root").arg(lab.root()).args(arguments).stdin(std::process::Stdio::null());
        command
    }

    fn call(&self, lab: &Lab, arguments: &[&str]) -> Called {
        call(lab, self.command(lab, arguments))
    }

    #[track_caller]
    fn is_untouched(&self) {
        assert!(fs::read(&self.path).expect("read") == self.bytes, "the runtime's file was changed");
    }
}

fn script(path: &Path, text: &str) {
    fs::write(path, text).expect("write");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
}

/// Ways in which an image can name the program that executes it.
fn image(lab: &Lab) -> Vec<&'static str> {
    let bin = lab.image().join("bin");
    symlink("/proc/self/exe", bin.join("link")).expect("symlink");
    script(&bin.join("script"), "#!/proc/self/exe\n");
    script(&bin.join("spaced"), "#! \t/proc/self/exe run\n");
    symlink("/bin/script", bin.join("link-to-script")).expect("symlink");
    script(&bin.join("through-link"), "#!/bin/link\n");
    // As many scripts as the kernel follows: five, and then the program.
    for number in 1..5 {
        script(&bin.join(format!("chain{number}")), &format!("#!/bin/chain{}\n", number + 1));
    }
    script(&bin.join("chain5"), "#!/proc/self/exe\n");
    vec![
        "/proc/self/exe",
        "/proc/1/exe",
        "/bin/link",
        "script",
        "spaced",
        "link-to-script",
        "through-link",
        "chain1",
    ]
}

const REFUSAL: &str = "it leads to the runtime's own program, which a box must not execute (CVE-2019-5736)";

#[test]
fn no_image_executes_the_runtime() {
    let Some(lab) = Lab::new() else { return };
    let copy = Copy::new(&lab);
    let root = lab.image().display().to_string();
    let commands = image(&lab);
    for command in &commands {
        copy.call(&lab, &["run", "--cgroup-parent", &lab.parent, "--rootfs", &root, "own", "--", command])
            .refused(REFUSAL);
        let mut bundle = Bundle::new(&lab, "own", "");
        bundle.config["process"]["args"] = json!([command]);
        bundle.write();
        let directory = bundle.directory.display().to_string();
        copy.call(&lab, &["run", "--bundle", &directory, "own"]).refused(REFUSAL);
        if command.starts_with("chain") {
            copy.call(&lab, &["create", "--bundle", &directory, "own"]).ok();
            copy.call(&lab, &["start", "own"]).refused(REFUSAL);
            copy.call(&lab, &["delete", "own"]).ok();
        }
        fs::remove_file(bundle.directory.join("config.json")).expect("rm");
    }
    let bundle = Bundle::new(&lab, "own", "sleep 1000");
    bundle.up();
    // Process 1 is the command now, which may execute itself.
    for command in commands.iter().filter(|command| **command != "/proc/1/exe") {
        copy.call(&lab, &["exec", "own", command]).refused(REFUSAL);
    }
    bundle.force();
    copy.is_untouched();
    assert_eq!(lab.leftovers(), NOTHING);
}

/// Somebody inside, with every right that a bundle can give, holds on to the program of the process that
/// waits for its start, and writes into it once it is executed no more.
#[test]
fn what_the_box_can_reach_of_the_runtime_is_sealed() {
    let Some(lab) = Lab::new() else { return };
    let copy = Copy::new(&lab);
    let mut bundle = Bundle::new(&lab, "seal", "sleep 1000");
    let all: Vec<String> = ["SYS_PTRACE", "SYS_ADMIN", "DAC_OVERRIDE", "DAC_READ_SEARCH"]
        .iter()
        .map(|name| format!("CAP_{name}"))
        .chain(known_capabilities())
        .collect();
    for set in ["bounding", "effective", "permitted"] {
        bundle.config["process"]["capabilities"][set] = json!(all);
    }
    bundle.config["linux"].as_object_mut().expect("linux").remove("seccomp");
    bundle.write();
    let directory = bundle.directory.display().to_string();
    copy.call(&lab, &["create", "--bundle", &directory, "seal"]).ok();
    let attack = "exec 3< /proc/1/exe || exit 9; echo held; \
                  until grep -q sleep /proc/1/cmdline; do sleep 0.01; done; \
                  for f in /proc/self/fd/3 /proc/$$/fd/3; do echo -n X 2>&1 1<> $f && echo wrote; done; \
                  (echo X > /proc/self/fd/3) 2>&1 && echo truncated; echo end";
    let output = lab.path().join("attack");
    let file = || fs::OpenOptions::new().create(true).append(true).open(&output).expect("open");
    let mut exec = copy.command(&lab, &["exec", "seal", "sh", "-c", attack]);
    let child = exec.stdout(file()).stderr(file()).spawn().expect("spawn");
    let read = || fs::read_to_string(&output).expect("read");
    eventually("hold", || {
        assert!(read().is_empty() || read().contains("held"), "{}", read());
        read().contains("held")
    });
    // The one that stays outside is a sealed copy too.
    let outside = fs::read_link(format!("/proc/{}/exe", child.id())).expect("exe");
    assert!(outside.to_string_lossy().starts_with("/memfd:tare-runtime"), "{outside:?}");
    copy.call(&lab, &["start", "seal"]).ok();
    crate::common::wait(child);
    let text = read();
    assert!(text.ends_with("end\n") && text.contains("Operation not permitted"), "{text}");
    assert!(!text.contains("wrote") && !text.contains("truncated"), "{text}");
    copy.is_untouched();
    copy.call(&lab, &["delete", "-f", "seal"]).ok();
    assert_eq!(lab.leftovers(), NOTHING);
}

/// All that this kernel and the caller have.
fn known_capabilities() -> Vec<String> {
    let names = "CHOWN FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST \
                 NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PACCT SYS_BOOT SYS_NICE \
                 SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE \
                 MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE";
    let status = fs::read_to_string("/proc/self/status").expect("status");
    let mask = status.lines().find_map(|l| l.strip_prefix("CapPrm:")).expect("CapPrm").trim();
    let mask = u64::from_str_radix(mask, 16).expect("hex");
    let numbers = [
        0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 22, 23, 24, 25, 26, 27, 28, 29, 30,
        31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
    ];
    let has = |number: u32| mask & (1 << number) != 0;
    names
        .split_whitespace()
        .zip(numbers)
        .filter(|(_, n)| has(*n))
        .map(|(name, _)| format!("CAP_{name}"))
        .collect()
}

/// `tare-runtime`, called by somebody who leaks descriptors of directories of the host.
fn leaky(lab: &Lab, arguments: &[&str]) -> Called {
    let mut sh = Command::new("sh");
    let program = env!("CARGO_BIN_EXE_tare-runtime");
    sh.args(["-c", "exec 8< / 9< /etc; exec \"$@\"", "sh", program, "--root"])
        .arg(lab.root())
        .args(arguments);
    sh.stdin(std::process::Stdio::null());
    call(lab, sh)
}

/// Boxes that want to work there.
#[test]
fn no_working_directory_lies_behind_a_descriptor() {
    let Some(lab) = Lab::new() else { return };
    let root = lab.image().display().to_string();
    let mut bundle = Bundle::new(&lab, "cwd", "ls; sleep 1000");
    let directory = bundle.directory.display().to_string();
    let mut outside = 0;
    for number in 3..=12 {
        let cwd = format!("/proc/self/fd/{number}");
        let run =
            ["run", "--cgroup-parent", &lab.parent, "--rootfs", &root, "--cwd", &cwd, "cwd", "--", "ls"];
        let called = leaky(&lab, &run);
        outside += usize::from(called.err.contains("it lies outside the container's root"));
        called.refused("step working-directory: ");
        bundle.config["process"]["cwd"] = json!(cwd);
        bundle.write();
        leaky(&lab, &["run", "--bundle", &directory, "cwd"]).refused("step working-directory: ");
    }
    assert!(outside >= 2, "{outside}");
    bundle.config["process"]["cwd"] = json!("/");
    bundle.write();
    leaky(&lab, &["create", "--bundle", &directory, "cwd"]).ok();
    leaky(&lab, &["start", "cwd"]).ok();
    for number in 3..=12 {
        let cwd = format!("/proc/self/fd/{number}");
        leaky(&lab, &["exec", "--cwd", &cwd, "cwd", "ls"]).refused("step working-directory: ");
    }
    let open = leaky(&lab, &["exec", "cwd", "sh", "-c", "ls /proc/1/fd /proc/$$/fd; true"]).ok();
    assert_eq!(open, "/proc/1/fd:\n0\n1\n2\n\n".to_owned() + &open[open.rfind("/proc").expect("second")..]);
    assert!(open.ends_with("/fd:\n0\n1\n2\n"), "{open}");
    bundle.force();
    assert_eq!(lab.leftovers(), NOTHING);
}

/// The same caller, and what leads to a program of the host's by way of whatever is open while the command is looked up: what
/// the caller has leaked, or the source of a volume, from which `..` leads on. The box could write into that program then.
#[test]
fn no_command_lies_behind_a_descriptor() {
    let Some(lab) = Lab::new() else { return };
    let lent = lab.path().join("lent");
    fs::create_dir(&lent).expect("mkdir");
    fs::copy("/bin/busybox", lab.path().join("host-sh")).expect("copy");
    let mut bundle = Bundle::new(&lab, "way", "sleep 1000");
    let lend = json!({"destination": "/lent", "type": "bind", "source": lent, "options": ["bind"]});
    bundle.config["mounts"].as_array_mut().expect("mounts").push(lend);
    let directory = bundle.directory.display().to_string();
    let (root, volume) = (lab.image().display().to_string(), format!("{}:/lent", lent.display()));
    let run = ["run", "--cgroup-parent", &lab.parent, "--rootfs", &root, "-v", &volume, "way", "--"];
    let mut ways = Vec::new();
    for number in 3..=12 {
        for place in ["bin/busybox", "../host-sh"] {
            let way = format!("/proc/self/fd/{number}/{place}");
            let by_script = format!("/bin/script{}", ways.len());
            script(&lab.path().join(format!("image{by_script}")), &format!("#!{way}\n"));
            ways.extend([way, by_script]);
        }
    }
    for way in &ways {
        leaky(&lab, &[&run[..], &[way, "sh"]].concat()).refused("step exec: ");
    }
    for way in ways.iter().step_by(5) {
        bundle.config["process"]["args"] = json!([way, "sh"]);
        bundle.write();
        leaky(&lab, &["run", "--bundle", &directory, "way"]).refused("step exec: ");
    }
    bundle.config["process"]["args"] = json!(["sleep", "1000"]);
    bundle.write();
    leaky(&lab, &["create", "--bundle", &directory, "way"]).ok();
    // Whoever comes into the box while it waits, with the right to look, finds no way either.
    let pid = lab.runtime().load(&"way".parse().expect("id")).expect("state").process.expect("process").pid;
    for open in fs::read_dir(format!("/proc/{pid}/fd")).expect("fd").flatten() {
        let is_directory = fs::metadata(open.path()).is_ok_and(|found| found.is_dir());
        assert!(!is_directory, "{:?}", fs::read_link(open.path()));
    }
    leaky(&lab, &["start", "way"]).ok();
    for way in &ways {
        leaky(&lab, &["exec", "way", way, "sh"]).refused("step exec: ");
    }
    bundle.force();
    assert_eq!(lab.leftovers(), NOTHING);
}
