//! `cargo bench --bench mechanisms`: what the kernel asks for each mechanism of a container, by criterion.
//!
//! The namespaces one after another, then the whole box: started and removed by the runtime's library. These
//! are times of single calls in a loop, for the authors of runtimes; how boxes compare is `startup`'s matter.

use std::hint::black_box;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, Uid};
use tare_runtime::sys::{CloneFlags, Memory, fork};
use tare_runtime::{Limits, MissingLimits, Runtime, Spec};

/// Namespaces in the order in which they are added, each on top of those before it.
const ADDED: [(&str, CloneFlags); 7] = [
    ("none", CloneFlags::empty()),
    ("uts", CloneFlags::CLONE_NEWUTS),
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("pid", CloneFlags::CLONE_NEWPID),
    ("mount", CloneFlags::CLONE_NEWNS),
    ("cgroup", CloneFlags::CLONE_NEWCGROUP),
    ("network", CloneFlags::CLONE_NEWNET),
];

/// A process made in the namespaces so far, that ends at once.
fn namespaces(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("namespaces");
    group.sampling_mode(SamplingMode::Flat).sample_size(20);
    let mut flags = if Uid::effective().is_root() { CloneFlags::empty() } else { CloneFlags::CLONE_NEWUSER };
    for (name, more) in ADDED {
        flags |= more;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let forked = fork(black_box(flags), None, Memory::Borrowed, || 0).expect("clone3");
                waitpid(Pid::from_raw(forked.pid), None).expect("waitpid")
            });
        });
    }
    group.finish();
}

/// The whole box, by the runtime's library: until its payload says READY, and until it is gone.
fn container(criterion: &mut Criterion) {
    let image = Image::new();
    let mut group = criterion.benchmark_group("container");
    group.sampling_mode(SamplingMode::Flat).sample_size(20);
    group.bench_function("start", |b| b.iter_custom(|n| image.boxes(n).0));
    group.bench_function("remove", |b| b.iter_custom(|n| image.boxes(n).1));
    group.finish();
}

/// A root file system with the payload in it, and a runtime.
struct Image {
    dir: tempfile::TempDir,
    runtime: Runtime,
}

impl Image {
    fn new() -> Self {
        // Below /var/tmp, a file system on which an overlay's upper layer can be.
        let dir = tempfile::tempdir_in("/var/tmp").expect("make a directory in /var/tmp");
        for name in ["proc", "sys", "dev", "tmp"] {
            std::fs::create_dir_all(dir.path().join("rootfs").join(name)).expect("make the image");
        }
        let payload = dir.path().join("rootfs/payload");
        std::fs::write(&payload, tare::payload::PAYLOAD).expect("write the payload");
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&payload, executable).expect("make the payload executable");
        Self { runtime: Runtime::new(dir.path().join("state")), dir }
    }

    fn rootfs(&self) -> PathBuf {
        self.dir.path().join("rootfs")
    }

    /// Starts and removes `n` boxes one after another: the time of both.
    fn boxes(&self, n: u64) -> (Duration, Duration) {
        let (mut starting, mut removing) = (Duration::ZERO, Duration::ZERO);
        let errors = std::fs::File::options().write(true).open("/dev/null").expect("open /dev/null");
        for _ in 0..n {
            let id = "mechanisms".parse().expect("a name");
            let mut spec = Spec::new(id, self.rootfs(), vec!["/payload".into(), "nonce".into()]);
            spec.limits = Limits { memory: Some(256 << 20), ..Limits::default() };
            spec.missing_limits = MissingLimits::Record;
            spec.cgroup_parent = format!("/tare/mechanisms-{}", std::process::id());
            let began = Instant::now();
            let (input, to_box) = std::io::pipe().expect("pipe");
            let (mut from_box, output) = std::io::pipe().expect("pipe");
            let stdio = [input.as_fd(), output.as_fd(), errors.as_fd()];
            let container = self.runtime.run(&spec, stdio).expect("start a container");
            drop((input, output));
            let mut ready = [0; 12];
            from_box.read_exact(&mut ready).expect("READY");
            starting += began.elapsed();
            assert_eq!(&ready, b"READY nonce\n");
            let began = Instant::now();
            drop(to_box);
            container.wait().expect("the end of the payload");
            self.runtime.delete(&spec.id, false).expect("remove the container");
            removing += began.elapsed();
        }
        (starting, removing)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let parent = format!("/tare/mechanisms-{}", std::process::id());
        if let Err(error) = tare::host::cgroups::remove_tree(&parent) {
            eprintln!("mechanisms: {error:#}");
        }
        tare::host::cgroups::remove_empty("/tare");
    }
}

criterion_group!(mechanisms, namespaces, container);
criterion_main!(mechanisms);
