//! Names, limits, kernel settings, covered paths, the system call filter: read from inside.

use std::fs;

use serde_json::json;

use crate::NOTHING;
use crate::common::Lab;
use crate::common::bundle::Bundle;

#[test]
fn names_limits_and_kernel_settings_are_the_bundles() {
    let Some(lab) = Lab::new() else { return };
    let settings =
        ["kernel/hostname", "kernel/domainname", "net/core/somaxconn", "kernel/shmmni", "vm/swappiness"];
    let host = |name: &str| fs::read(format!("/proc/sys/{name}")).expect(name);
    let before: Vec<_> = settings.iter().map(|name| host(name)).collect();
    let script = "ulimit -n; ulimit -Hn; ulimit -c; hostname; cat /proc/sys/kernel/domainname \
                  /proc/sys/net/core/somaxconn /proc/sys/kernel/shmmni /proc/self/oom_score_adj; umask";
    let mut bundle = Bundle::new(&lab, "set", script);
    bundle.config["process"]["rlimits"] = json!([
        {"type": "RLIMIT_NOFILE", "soft": 77, "hard": 99}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]);
    bundle.config["process"]["oomScoreAdj"] = json!(321);
    bundle.config["process"]["user"]["umask"] = json!(0o77);
    bundle.config["hostname"] = json!("inner");
    bundle.config["domainname"] = json!("inner.example");
    bundle.config["linux"]["sysctl"] =
        json!({"net.core.somaxconn": "321", "kernel.shmmni": "123", "kernel.domainname": "by.setting"});
    assert_eq!(bundle.run().ok(), "77\n99\n0\ninner\ninner.example\n321\n123\n321\n0077\n");
    assert_eq!(settings.iter().map(|name| host(name)).collect::<Vec<_>>(), before);
    assert_eq!(lab.leftovers(), NOTHING);
}

#[test]
fn settings_of_the_host_are_refused_with_their_place() {
    let Some(lab) = Lab::new() else { return };
    for (name, words) in [
        ("kernel.panic", "config.json: linux.sysctl.kernel.panic: belongs to no namespace"),
        ("net.core.somaxconn/../../kernel/panic", "is not a setting's name"),
        ("net...kernel.panic", "is not a setting's name"),
        ("net.no.such", "step sysctl: sys/net/no/such: No such file"),
    ] {
        let mut bundle = Bundle::new(&lab, "host", "true");
        bundle.config["linux"]["sysctl"] = json!({ name: "1" });
        bundle.run().refused(words);
        fs::remove_file(bundle.directory.join("config.json")).expect("rm");
    }
    let mut bundle = Bundle::new(&lab, "shared", "true");
    bundle.config["linux"]["sysctl"] = json!({"net.core.somaxconn": "1"});
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().expect("namespaces");
    namespaces.retain(|namespace| namespace["type"] != "network");
    bundle.run().refused("belongs to a namespace that the box shares");
    assert_eq!(lab.leftovers(), NOTHING);
}

#[test]
fn masked_and_read_only_paths_are_the_bundles() {
    let Some(lab) = Lab::new() else { return };
    fs::create_dir(lab.image().join("secret")).expect("mkdir");
    for name in ["secret/file", "word", "frozen", "open"] {
        fs::write(lab.image().join(name), name).expect("write");
    }
    let script = "cat /word | wc -c; ls -A /secret | wc -l; (echo x > /secret/y) 2>/dev/null && echo written; \
                  (echo x > /frozen) 2>/dev/null && echo written; cat /frozen; echo; echo changed > /open; \
                  (echo 1 > /proc/sys/kernel/domainname) 2>/dev/null && echo written; true";
    let mut bundle = Bundle::new(&lab, "mask", script);
    bundle.config["root"]["readonly"] = json!(false);
    bundle.config["linux"]["maskedPaths"] = json!(["/word", "/secret", "/nowhere"]);
    bundle.config["linux"]["readonlyPaths"] = json!(["/frozen", "/nowhere", "/proc/sys"]);
    assert_eq!(bundle.run().ok(), "0\n0\nfrozen\n");
    // The root is the bundle's own directory: what was written is there.
    assert_eq!(fs::read_to_string(lab.image().join("open")).expect("read"), "changed\n");
}

#[test]
fn a_read_only_root_is_one() {
    let Some(lab) = Lab::new() else { return };
    let script = "(echo x > /new) 2>&1; (mkdir /more) 2>&1; echo ok > /dev/shm/x && cat /dev/shm/x";
    let printed = Bundle::new(&lab, "ro", script).run().ok();
    assert_eq!(printed.matches("Read-only file system").count(), 2, "{printed}");
    assert!(printed.ends_with("ok\n") && !lab.image().join("new").exists(), "{printed}");
}

/// A list of what is allowed, as Docker's profile is: everything this kernel's table has, but for a few.
fn allow_list(forbidden: &[&str]) -> serde_json::Value {
    let names: Vec<&str> =
        syscalls::Sysno::iter().map(|call| call.name()).filter(|name| !forbidden.contains(name)).collect();
    assert!(names.len() > 300);
    json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}],
    })
}

#[test]
fn a_long_list_of_allowed_calls_works_and_the_default_answers_the_rest() {
    let Some(lab) = Lab::new() else { return };
    let script = "grep Seccomp: /proc/self/status; hostname x 2>&1; mkdir /tmp/d 2>&1; echo end";
    let mut bundle = Bundle::new(&lab, "allow", script);
    bundle.config["root"]["readonly"] = json!(false);
    bundle.config["linux"]["seccomp"] = allow_list(&["sethostname", "mkdir", "mkdirat", "ptrace"]);
    // CAP_SYS_ADMIN, so that it is the filter that answers.
    for set in ["bounding", "effective", "permitted"] {
        bundle.config["process"]["capabilities"][set]
            .as_array_mut()
            .expect("set")
            .push(json!("CAP_SYS_ADMIN"));
    }
    let printed = bundle.run().ok();
    assert!(printed.starts_with("Seccomp:\t2\n") && printed.ends_with("end\n"), "{printed}");
    assert_eq!(printed.matches("Function not implemented").count(), 2, "{printed}");
}

#[test]
fn arguments_are_compared_and_names_of_other_machines_passed_over() {
    let Some(lab) = Lab::new() else { return };
    let mut bundle =
        Bundle::new(&lab, "args", "kill -0 1 && echo zero; kill -18 1 2>&1; umask 022 && echo umask");
    let rule = |op: &str, value: u64| {
        json!({"names": ["kill", "arm_fadvise64_64"], "action": "SCMP_ACT_ERRNO", "errnoRet": 16,
               "args": [{"index": 1, "value": value, "op": op}]})
    };
    for (op, value) in [("SCMP_CMP_GT", 0), ("SCMP_CMP_EQ", 18), ("SCMP_CMP_NE", 0), ("SCMP_CMP_GE", 18)] {
        bundle.config["linux"]["seccomp"]["syscalls"] = json!([rule(op, value)]);
        let printed = bundle.run().ok();
        assert!(printed.starts_with("zero\n") && printed.ends_with("umask\n"), "{op}: {printed}");
        assert!(
            printed.contains("Resource busy") || printed.contains("Device or resource busy"),
            "{op}: {printed}"
        );
    }
}

/// As Docker's default is: with a filter, and without "no new privileges".
#[test]
fn a_filter_needs_no_promise_of_no_new_privileges() {
    let Some(lab) = Lab::new() else { return };
    for uid in [0, 1000] {
        let mut bundle =
            Bundle::new(&lab, "priv", "grep -E 'NoNewPrivs|Seccomp:' /proc/self/status; sleep 1000");
        bundle.config["process"]["noNewPrivileges"] = json!(false);
        bundle.config["process"]["user"] = json!({"uid": uid, "gid": uid});
        let file = bundle.up();
        let expected = "NoNewPrivs:\t0\nSeccomp:\t2\n";
        crate::common::bundle::eventually("status", || {
            fs::read_to_string(&file).expect("output") == expected
        });
        let more = bundle.exec(&[], &["grep", "-E", "NoNewPrivs|Seccomp:", "/proc/self/status"]);
        assert_eq!(more.ok(), expected, "{uid}");
        bundle.force();
        fs::remove_file(bundle.directory.join("config.json")).expect("rm");
    }
    assert_eq!(lab.leftovers(), NOTHING);
}

#[test]
fn limits_stand_in_the_cgroup_and_its_mount_shows_them_read_only() {
    let Some(lab) = Lab::new() else { return };
    let script = "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/memory/memory.limit_in_bytes; \
                  (echo 5 > /sys/fs/cgroup/pids/pids.max) 2>&1; (mkdir /sys/fs/cgroup/pids/x) 2>&1; true";
    if !std::path::Path::new("/sys/fs/cgroup/pids/tasks").exists() {
        eprintln!("skipped: no cgroup version 1 here");
        return;
    }
    let mut bundle = Bundle::new(&lab, "cg", script);
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro", "nosuid", "noexec", "nodev"]);
    bundle.config["linux"]["resources"]["pids"] = json!({"limit": 33});
    bundle.config["linux"]["resources"]["memory"] = json!({"limit": 67_108_864});
    bundle.config["linux"]["resources"]["cpu"] = json!({"quota": 50_000, "period": 100_000});
    let printed = bundle.run().ok();
    assert!(printed.starts_with("33\n67108864\n"), "{printed}");
    assert_eq!(printed.matches("Read-only file system").count(), 2, "{printed}");
    for (resources, words) in [
        (json!({"pids": {"limit": 0}}), "linux.resources.pids.limit: 0 is no limit"),
        (json!({"memory": {"limit": -5}}), "linux.resources.memory.limit: -5 is no limit"),
        (
            json!({"memory": {"limit": 1_000_000, "swap": 2_000_000}}),
            "linux.resources.memory (all but limit)",
        ),
        (json!({"cpu": {"quota": 4_294_968_296_i64, "period": 1000}}), "is more CPUs than there are"),
        (json!({"cpu": {"quota": 5, "period": 100_000}}), "linux.resources.cpu.quota"),
        (json!({"cpu": {"shares": 5}}), "linux.resources.cpu (all but quota and period)"),
        (json!({"unified": {"memory.high": "1"}}), "linux.resources.unified"),
    ] {
        bundle.config["linux"]["resources"] = resources;
        bundle.run().refused(words);
    }
    assert_eq!(lab.leftovers(), NOTHING);
}
