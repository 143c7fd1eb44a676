//! The default cgroup parent: made when it is needed, gone with the last container, whoever races.

mod common;

use std::fs::{self, File};
use std::os::fd::AsFd;

use common::Lab;
use tare_runtime::DEFAULT_CGROUP_PARENT;

/// The default parent in every tree where it is now.
fn parents() -> Vec<std::path::PathBuf> {
    let name = DEFAULT_CGROUP_PARENT.trim_start_matches('/');
    common::entries("/sys/fs/cgroup".as_ref())
        .into_iter()
        .flat_map(|tree| [tree.join(name), tree])
        .filter(|path| path.ends_with(name))
        .filter(|path| fs::metadata(path).is_ok())
        .collect()
}

#[test]
fn it_goes_with_the_last_container_and_no_start_stumbles_over_that() {
    let Some(lab) = Lab::new() else { return };
    let null = File::options().read(true).write(true).open("/dev/null").expect("/dev/null");
    let starts = |name: &str| {
        for number in 0..50 {
            let mut spec = lab.spec(&format!("{name}{number}"), &["sleep", "1000"]);
            spec.cgroup_parent = DEFAULT_CGROUP_PARENT.into();
            let container =
                lab.runtime().run(&spec, [null.as_fd(), null.as_fd(), null.as_fd()]).expect("run");
            assert!(container.cgroups.iter().all(|path| path.is_dir()), "{:?}", container.cgroups);
            lab.runtime().delete(&spec.id, true).expect("delete");
            let _ = container.wait();
        }
    };
    // Each is again and again the last one, just when the others begin.
    std::thread::scope(|scope| {
        for name in ["a", "b", "c"] {
            scope.spawn(move || starts(name));
        }
    });
    assert_eq!(parents(), Vec::<std::path::PathBuf>::new());
}
