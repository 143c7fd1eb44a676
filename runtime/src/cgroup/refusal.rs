//! What the kernel refused, with the file and what it means there.
//!
//! Limits that do not apply are an error or are recorded, so a refusal has to become words. Without them
//! "permission denied" would not say for what.
//!
//! Man pages: cgroups(7), errno(3). Look at it, without root:
//! `tare-runtime run --rootfs DIR box -- /bin/true`

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::error::describe;

/// An operation on one file or directory that failed.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(super) path: PathBuf,
    pub(super) error: io::Error,
    /// What it means here; empty where the error says it.
    pub(super) why: &'static str,
}

impl Refusal {
    pub(super) fn new(path: &Path) -> impl Fn(io::Error) -> Refusal {
        move |error| Refusal { path: path.into(), error, why: "" }
    }

    /// Whether this host does not offer it to us (rather than that we did something wrong).
    pub(super) fn is_unavailable(&self) -> bool {
        use Errno::{EACCES, EBUSY, ENOENT, EOPNOTSUPP, EPERM, EROFS};
        matches!(self.errno(), ENOENT | EACCES | EPERM | EROFS | EBUSY | EOPNOTSUPP)
    }

    pub(super) fn errno(&self) -> Errno {
        self.error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colon = if self.why.is_empty() { "" } else { ": " };
        write!(f, "{}: {}{colon}{}", self.path.display(), describe(self.errno()), self.why)
    }
}
