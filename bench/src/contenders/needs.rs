//! What one box takes of things that the kernel counts and limits: a property of the contender, whatever the host
//! allows (`host/limits.rs` holds it against that). `tests/needs.rs` holds boxes and counts.

use tare_reports::document::Class;

/// The namespaces of a container: all kinds but those of users and of clocks (namespaces(7)).
pub const CONTAINER: &[&str] = &["cgroup", "ipc", "mnt", "net", "pid", "uts"];

/// What one more box that runs idle takes, with the helpers that stay with it for as long as it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Needs {
    /// Processes and their threads, which the kernel counts alike: each is a task with an id of its own.
    pub tasks: u32,
    /// Kinds of namespaces, one of each, in the words of /proc/PID/ns.
    pub namespaces: &'static [&'static str],
    /// Cgroups of the memory controller, each of which has an id of sixteen bits.
    pub memory_cgroups: u32,
    /// Mounts in the mount namespace that all boxes start from: those that the lab or an engine makes for them.
    pub mounts: u32,
    /// Keys, as the session keyring that some runtimes make for every box (session-keyring(7)).
    pub keys: u32,
    /// Instances of inotify (inotify(7)), with helpers that watch for the end of something.
    pub inotify: u32,
    /// Pseudo terminals of the host (pty(7)).
    pub ptys: u32,
}

impl Needs {
    /// What a box of this class takes unless its contender says otherwise: one task, and what the common box has.
    pub fn of(class: Class) -> Self {
        let bare = Self { tasks: 1, ..Self::default() };
        match class {
            Class::Process => bare,
            Class::Vm => Self { tasks: 4, ..bare },
            Class::Container | Class::Sandbox | Class::Engine => {
                Self { namespaces: CONTAINER, memory_cgroups: 1, ..bare }
            }
        }
    }
}
