//! The overlay: one read-only root shared by all boxes, and a thin writable layer for each.
//!
//! overlayfs shows `lower` and `upper` as one tree. Reading comes from whichever has the file; the
//! first write copies the file up; deleting leaves a marker in `upper`. Without it every start would
//! copy the image, or all boxes would write into one another's files.
//!
//! The overlay is mounted inside the box's own mount namespace only, so the host has no mount that
//! could be left behind. `volatile` skips the syncing of a layer that dies with the box anyway; since
//! such an upper refuses a second mount, each start gets fresh directories.
//!
//! Man page: mount(8), "Mount options for overlay". Look at it: `head -1 /proc/self/mountinfo` inside

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

use crate::report::Fault;
use crate::state::Directory;
use crate::sys::{self, MsFlags};

/// The kernel reads options of at most a page.
const OPTIONS_MAX: usize = 4095;

/// Where to mount and with what.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The mount point, which becomes the box's root.
    pub(crate) merged: CString,
    options: CString,
}

/// Writes the option string: read-only `lower` below the directories of `state`.
///
/// # Errors
/// ENAMETOOLONG beyond a page, EINVAL for a zero byte in a path.
pub(crate) fn prepare(lower: &Path, state: &Directory, rootless: bool) -> Result<Plan, Errno> {
    let mut options = Vec::with_capacity(256);
    for (name, path) in [("lowerdir=", lower), (",upperdir=", &state.upper()), (",workdir=", &state.work())] {
        options.extend_from_slice(name.as_bytes());
        escape(path, &mut options);
    }
    // An unprivileged overlay keeps its notes in user.* attributes; trusted.* takes root.
    options.extend_from_slice(if rootless { b",userxattr" } else { b",volatile" });
    if options.len() > OPTIONS_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    let string = |bytes: Vec<u8>| CString::new(bytes).map_err(|_| Errno::EINVAL);
    Ok(Plan { merged: string(state.merged().as_os_str().as_bytes().to_vec())?, options: string(options)? })
}

/// A comma ends an option and a colon a lower directory, unless a backslash stands before it.
fn escape(path: &Path, into: &mut Vec<u8>) {
    for &byte in path.as_os_str().as_bytes() {
        if matches!(byte, b',' | b':' | b'\\') {
            into.push(b'\\');
        }
        into.push(byte);
    }
}

/// Mounts it. `nodev`: a device node in an image opens nothing.
pub(crate) fn mount(plan: &Plan) -> Result<(), Fault> {
    sys::mount(
        Some(c"overlay"),
        plan.merged.as_c_str(),
        Some(c"overlay"),
        MsFlags::MS_NODEV,
        Some(plan.options.as_c_str()),
    )
    .map_err(Fault::of(0))
}

/// What a fault of this step is about.
pub(crate) fn object(plan: &Plan) -> String {
    format!("overlay with {}", plan.options.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_in_paths_are_escaped() {
        let state = Directory::new(Path::new("/run/a:b"), &crate::Id::new("x").expect("id"));
        let plan = prepare(Path::new("/img,1"), &state, false).expect("plan");
        assert_eq!(
            plan.options.to_str().expect("ascii"),
            r"lowerdir=/img\,1,upperdir=/run/a\:b/x/upper,workdir=/run/a\:b/x/work,volatile"
        );
    }

    #[test]
    fn more_than_a_page_of_options_is_refused_before_the_kernel_cuts_it() {
        let state = Directory::new(Path::new("/run"), &crate::Id::new("x").expect("id"));
        let long = format!("/{}", "y".repeat(4096));
        assert_eq!(prepare(Path::new(&long), &state, false).err(), Some(Errno::ENAMETOOLONG));
    }
}
