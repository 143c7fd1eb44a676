//! What can go wrong, in words: the step, the object, the errno, and what it means here.
//!
//! Most failures happen inside the half-made box, after the fork, where nothing can be printed or
//! even formatted. They travel to the parent as a few bytes (see `report.rs`) and become words here.
//! Without them you would read "operation not permitted", and not what, where and why.
//!
//! Man page: errno(3). Look at it: `tare-runtime run --rootfs /nowhere box -- /bin/true`

use std::borrow::Cow;
use std::path::PathBuf;

use nix::errno::Errno;

use crate::spec::Id;
use crate::state::Status;

/// The result of everything in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a container could not be started, found or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that cannot be a container's.
    #[error("container id {id:?}: {why} (use 1 to 64 of A-Z a-z 0-9 _ . -, not beginning with . or -)")]
    Id {
        /// The name.
        id: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A field of the [`Spec`](crate::Spec) that has no meaning.
    #[error("{field}: {why}")]
    Spec {
        /// Which field, of a bundle as a path into its config.json.
        field: Cow<'static, str>,
        /// What is wrong with it, and what would be right.
        why: String,
    },
    /// The id is taken.
    #[error("container {0} exists already (delete it, or choose another id)")]
    Exists(Id),
    /// There is nothing of that name.
    #[error("container {id} does not exist under {root}")]
    NotFound {
        /// The name.
        id: Id,
        /// The state directory that was searched.
        root: PathBuf,
    },
    /// Deleting would pull the ground from under a running process.
    #[error("container {id} is {what} (stop it first, or delete with --force)")]
    Running {
        /// The name.
        id: Id,
        /// "running as process N", "being created".
        what: String,
    },
    /// Only a created container can be started.
    #[error("container {id} is {status} and cannot be started (only a created one can)")]
    NotCreated {
        /// The name.
        id: Id,
        /// What it is instead.
        status: Status,
    },
    /// There is no process to signal or to join.
    #[error("container {id} is {status}: there is no process in it")]
    NotRunning {
        /// The name.
        id: Id,
        /// What it is.
        status: Status,
    },
    /// Limits were asked for that this host does not let us apply.
    #[error("limits not applied: {} (ask for them to be recorded instead with --record-missing-limits)", .0.join("; "))]
    Limits(Vec<String>),
    /// A step of the recipe failed.
    #[error("step {step}: {object}: {}: {meaning}", describe(*errno))]
    Step {
        /// The step's name in [`RECIPE`](crate::container::RECIPE).
        step: &'static str,
        /// The file, mount, limit or command it was working on.
        object: String,
        /// The kernel's answer.
        errno: Errno,
        /// What that answer means at this place.
        meaning: &'static str,
    },
    /// The new process ended before it could run the command, without saying why.
    #[error(
        "the container's process was ended before it ran the command: {0} (out of memory, or killed by somebody)"
    )]
    Died(String),
    /// It did not go away.
    #[error("{object} is still there after {seconds} s: {why}")]
    Stuck {
        /// What stayed.
        object: String,
        /// How long we waited.
        seconds: u64,
        /// The last answer.
        why: String,
    },
    /// An image, or a part of one, that is refused.
    #[error("image {object}: {why}")]
    Image {
        /// Which image, layer or entry.
        object: String,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// The state file cannot be understood.
    #[error(
        "{path}: not a state file of this program: {source} (end what it is of, and remove its directory)"
    )]
    State {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
}

impl Error {
    /// A failed step; finds the meaning of `errno` at that step.
    pub(crate) fn at(step: &'static str, object: impl Into<String>, errno: Errno) -> Self {
        Self::Step { step, object: object.into(), errno, meaning: meaning(step, errno) }
    }

    /// The same for an error of the standard library.
    pub(crate) fn io(step: &'static str, object: impl Into<String>, error: &std::io::Error) -> Self {
        Self::at(step, object, error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
    }
}

/// "No such file or directory (ENOENT)".
pub(crate) fn describe(errno: Errno) -> String {
    format!("{} ({errno:?})", errno.desc())
}

/// What an errno means at a step. The general meaning is the fallback; the special ones are those
/// that send people in the wrong direction.
fn meaning(step: &str, errno: Errno) -> &'static str {
    match (step, errno) {
        ("clone", Errno::EPERM) => "making namespaces is not allowed here; be root, or allow user namespaces",
        ("clone", Errno::ENOSPC) => "the limit of namespaces in /proc/sys/user is reached",
        ("clone", Errno::EAGAIN) => "a limit of processes is reached",
        ("clone", Errno::EOPNOTSUPP) => "the cgroup cannot hold processes, for one above it is threaded",
        ("clone", Errno::ENOSYS) => "clone3 is missing: Linux before 5.3, or a filter around us",
        ("overlay", Errno::ENOENT) => "the root directory or one of the state directories vanished",
        ("overlay", Errno::EINVAL) => {
            "the file system below cannot carry an overlay (is it an overlay itself?)"
        }
        ("overlay", Errno::ENODEV) => "this kernel has no overlay file system (modprobe overlay)",
        ("overlay", Errno::EPERM) => "overlay mounts in a user namespace need Linux 5.11",
        ("proc" | "sys", Errno::EPERM) => {
            "a user namespace may mount it only where the host's own is fully visible"
        }
        ("proc" | "sys" | "dev", Errno::ENOTDIR | Errno::ELOOP) => {
            "the image has something else than a directory here, and following it could lead out of the box"
        }
        ("working-directory", Errno::ENOENT) => "no such directory in the image",
        ("working-directory", Errno::EXDEV) => "it lies outside the container's root",
        ("exec" | "command", Errno::ENOENT) => {
            "no such command in the image, or its interpreter or loader is missing there"
        }
        ("exec" | "command", Errno::EACCES) => "the file is not executable",
        ("exec", Errno::ELIBBAD) => {
            "it leads to the runtime's own program, which a box must not execute (CVE-2019-5736)"
        }
        ("start", Errno::ENXIO) => "nobody waits there: the container was started already, or has ended",
        ("mask" | "terminal", Errno::ENODEV) => {
            "not the device it should be: the bundle put something else there"
        }
        ("devices", Errno::EPERM) => "a cgroup above lets nobody below it decide about devices",
        ("volumes", Errno::ENOTDIR) => {
            "the box has a file there, or on the way to it, and this is a directory"
        }
        ("volumes", Errno::EISDIR) => "the box has a directory there, and this is a file",
        ("volumes", Errno::EEXIST) => "on the way to it the box has a link that leads nowhere",
        ("sysctl", Errno::EXDEV) => "not a setting of the kernel's",
        ("rlimits", Errno::EPERM) => "raising a hard limit takes CAP_SYS_RESOURCE",
        ("exec", Errno::ENOEXEC) => "neither a program for this machine nor a script with #!",
        ("cgroup", Errno::EEXIST) => {
            "a cgroup of that name is left from something else; remove it or choose another id"
        }
        ("idmap", Errno::EPERM) => {
            "the user id could not be mapped; user namespaces are restricted on this host"
        }
        ("bridge" | "interface", Errno::EOPNOTSUPP) => {
            "this kernel has none (modprobe bridge, modprobe veth)"
        }
        ("bridge" | "interface", Errno::EPERM) => "it takes CAP_NET_ADMIN over the host's network",
        ("bridge", Errno::EROFS) => "/proc/sys is read-only, as in another's container",
        ("interface", Errno::EEXIST) => "an interface of that name is left from something else; remove it",
        (_, Errno::EPERM) => "not allowed",
        (_, Errno::EACCES) => "no permission",
        (_, Errno::ENOENT) => "it does not exist",
        (_, Errno::ENOTDIR) => "something on its path is not a directory",
        (_, Errno::EEXIST) => "it exists already",
        (_, Errno::ENOSPC) => "no space, or a limit of the kernel is reached",
        (_, Errno::ENOMEM) => "out of memory",
        (_, Errno::EROFS) => "read-only file system",
        (_, Errno::EINVAL) => "the kernel does not know this, or not with these values",
        ("volumes", Errno::ENOSYS) => {
            "read-only with all that is mounted below takes Linux 5.12 (mount_setattr)"
        }
        (_, Errno::ENOSYS) => "this kernel lacks the system call",
        (_, Errno::EMFILE | Errno::ENFILE) => "too many open files",
        _ => "unexpected here",
    }
}
