//! The fingerprint of the machine. What cannot be read is left out, never guessed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use tare_reports::document::Host;

use super::cgroups;

/// Reads the host's facts; `kvm` is the verdict of the probe.
pub fn read(kvm: String) -> Host {
    let cpuinfo = text("/proc/cpuinfo").unwrap_or_default();
    Host {
        kernel: text("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".into()),
        cpu: field(&cpuinfo, "model name").unwrap_or_else(|| "unknown".into()),
        cpus: cpuinfo.lines().filter(|line| line.starts_with("processor")).count() as u32,
        memory_bytes: kib(&text("/proc/meminfo").unwrap_or_default(), "MemTotal").unwrap_or(0) * 1024,
        hypervisor: hypervisor(&cpuinfo),
        cgroup: cgroups::mode().into(),
        kvm,
        empty_cgroup_bytes: None,
        facts: facts(&cpuinfo),
    }
}

fn facts(cpuinfo: &str) -> BTreeMap<String, String> {
    let os = text("/etc/os-release").unwrap_or_default();
    let distribution =
        os.lines().find_map(|l| l.strip_prefix("PRETTY_NAME=")).map(|v| v.trim_matches('"').into());
    let swap = text("/proc/meminfo").and_then(|t| kib(&t, "SwapTotal")).map(|kib| format!("{kib} KiB"));
    let governor = text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
    [
        ("distribution", distribution),
        ("governor", Some(governor.unwrap_or_else(|| "not exposed".into()))),
        ("smt", Some(text("/sys/devices/system/cpu/smt/control").unwrap_or_else(|| "not exposed".into()))),
        ("microcode", field(cpuinfo, "microcode")),
        ("thp", text("/sys/kernel/mm/transparent_hugepage/enabled")),
        ("ksm", text("/sys/kernel/mm/ksm/run")),
        ("swap", swap),
        ("balloon", Some(balloon(Path::new("/sys/bus/virtio/drivers/virtio_balloon")))),
        ("hugepages", text("/proc/sys/vm/nr_hugepages")),
        ("clocksource", text("/sys/devices/system/clocksource/clocksource0/current_clocksource")),
        ("file system", file_system(&crate::site::base())),
        ("load average", text("/proc/loadavg")),
        (
            "psi",
            Some(
                text("/proc/pressure/cpu").map_or_else(
                    || "not available".into(),
                    |psi| psi.lines().next().unwrap_or("").to_owned(),
                ),
            ),
        ),
        (
            "user",
            Some(if nix::unistd::Uid::effective().is_root() { "root".into() } else { "unprivileged".into() }),
        ),
    ]
    .into_iter()
    .filter_map(|(name, value)| value.map(|value: String| (name.to_owned(), value)))
    .collect()
}

/// Whether a hypervisor may take memory from this host, as far as the host can tell: by the devices that the driver for
/// it has. (Our own machines have no such device.)
fn balloon(driver: &Path) -> String {
    let entries = fs::read_dir(driver).into_iter().flatten().flatten();
    let devices = entries.filter(|it| it.file_name().to_string_lossy().starts_with("virtio")).count();
    match (devices, text("/proc/meminfo").and_then(|it| kib(&it, "Balloon"))) {
        (0, _) => "no device".into(),
        (devices, Some(taken)) => format!("{devices} virtio device, {taken} KiB taken"),
        (devices, None) => format!("{devices} virtio device"),
    }
}

/// The file system in which sites are made, with the names of its options (mount(8)). With `discard` the removal of a
/// box's directories waits for the disk, and that is part of its teardown.
fn file_system(base: &Path) -> Option<String> {
    let mounts = procfs::process::Process::myself().and_then(|it| it.mountinfo()).ok()?;
    // Of those at one place the last one hides the others.
    let above = mounts.into_iter().filter(|it| base.starts_with(&it.mount_point));
    let mount = above.max_by_key(|it| it.mount_point.components().count())?;
    let options: BTreeSet<String> =
        mount.mount_options.into_keys().chain(mount.super_options.into_keys()).collect();
    let options: Vec<String> = options.into_iter().collect();
    Some(format!("{} ({})", mount.fs_type, options.join(",")))
}

fn text(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|t| t.trim().to_owned()).filter(|t| !t.is_empty())
}

fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

fn kib(meminfo: &str, name: &str) -> Option<u64> {
    field(meminfo, name)?.split_whitespace().next()?.parse().ok()
}

/// `none`, or the hypervisor as far as it tells; the flag in cpuinfo says that there is one.
fn hypervisor(cpuinfo: &str) -> String {
    let virtualised = field(cpuinfo, "flags").is_some_and(|f| f.split(' ').any(|flag| flag == "hypervisor"));
    if !virtualised {
        return "none".into();
    }
    // CPUID leaf 0x4000_0000: twelve bytes that name it (Linux: asm/kvm_para.h, asm/hyperv-tlfs.h).
    let leaf = core::arch::x86_64::__cpuid(0x4000_0000);
    let bytes: Vec<u8> =
        [leaf.ebx, leaf.ecx, leaf.edx].iter().flat_map(|register| register.to_le_bytes()).collect();
    let signature = String::from_utf8_lossy(&bytes).trim_matches('\0').to_owned();
    match signature.as_str() {
        "KVMKVMKVM" => "kvm".into(),
        "Microsoft Hv" => "hyper-v".into(),
        "VMwareVMware" => "vmware".into(),
        "XenVMMXenVMM" => "xen".into(),
        "" => "unknown".into(),
        other => format!("unknown ({other})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_read() {
        let host = read("absent: not asked".into());
        assert!(host.memory_bytes > 64 << 20);
        assert!(host.cpus >= 1);
        assert!(host.kernel.contains('.'));
        assert!(host.facts.contains_key("governor"));
    }

    #[test]
    fn the_file_system_is_that_of_the_place_and_not_of_one_above_it() {
        let named = |path: &str| file_system(Path::new(path)).unwrap();
        assert!(named("/proc/nobody/made/this").starts_with("proc ("), "{}", named("/proc/nobody/made/this"));
        assert!(!named("/procedure").starts_with("proc ("), "{}", named("/procedure"));
        assert!(named("/").contains("rw"), "{}", named("/"));
    }

    #[test]
    fn a_balloon_is_a_device_of_its_driver() {
        let driver = tempfile::tempdir().unwrap();
        assert_eq!(balloon(driver.path()), "no device");
        assert_eq!(balloon(&driver.path().join("absent")), "no device");
        for name in ["bind", "virtio3"] {
            fs::write(driver.path().join(name), "").unwrap();
        }
        assert!(balloon(driver.path()).starts_with("1 virtio device"), "{}", balloon(driver.path()));
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "MemTotal:       24684084 kB\nMemTotalX: 1 kB\n";
        assert_eq!(kib(text, "MemTotal"), Some(24_684_084));
        assert_eq!(kib(text, "Mem"), None);
    }
}
