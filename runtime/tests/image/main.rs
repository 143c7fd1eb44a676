//! Images on the real kernel: what a stranger's archive can do, what two imports at once do, and that a box of an
//! image is the tree that Docker makes of it.

mod bombs;
#[path = "../common/mod.rs"]
mod common;
mod docker;
mod hostile;
mod keeping;
mod layout;
mod says;
mod sources;
mod sparse;
mod store;
mod stream;

use std::ffi::CString;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Does something where mounts are nobody else's: what is mounted there is gone with it.
fn apart(act: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let done = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).expect("unshare");
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private");
            act();
        });
        done.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// Shows the tree of these layers, the highest first, to `look`.
fn merged(layers: &[PathBuf], place: &Path, look: impl FnOnce(&Path) + Send) {
    let [only] = layers else {
        let point = place.join("merged");
        std::fs::create_dir(&point).expect("mkdir");
        let names: Vec<String> = layers.iter().map(|path| path.display().to_string()).collect();
        let options = CString::new(format!("lowerdir={}", names.join(":"))).expect("no zero byte");
        apart(|| {
            let kind = Some("overlay");
            mount(kind, &point, kind, MsFlags::MS_RDONLY, Some(options.as_c_str())).expect("overlay");
            look(&point);
        });
        return;
    };
    look(only);
}
