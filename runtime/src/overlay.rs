//! The overlay: one read-only root shared by all boxes, and a thin writable layer for each.
//!
//! overlayfs shows `lower` and `upper` as one tree. Reading comes from whichever has the file; the
//! first write copies the file up; deleting leaves a marker in `upper` (a "whiteout", a device node 0:0) that
//! hides the file below. The image itself never changes. So other boxes do not miss what one has deleted, and
//! the next box, whose upper layer is new and empty, has it again. Without it every start would copy the
//! image, or all boxes would write into one another's files.
//!
//! The overlay is mounted inside the box's own mount namespace only, so the host has no mount that
//! could be left behind. `volatile` skips the syncing of a layer that dies with the box anyway; since
//! such an upper refuses a second mount, each start gets fresh directories.
//!
//! Step: `overlay`.
//!
//! Man page: mount(8), "Mount options for overlay". Look at it: `head -1 /proc/self/mountinfo` inside, and
//! outside `ls -l /run/tare/box/upper/bin` after `rm /bin/head` in the box

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

use crate::blueprint::{Root, RootKind};
use crate::report::Fault;
use crate::state::Directory;
use crate::sys::{self, MsFlags};

/// The kernel reads options of at most a page.
const OPTIONS_MAX: usize = 4095;

/// Where to mount and with what.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The mount point, which becomes the box's root.
    point: CString,
    /// `None`: the directory is bound onto itself and used as it is.
    options: Option<CString>,
}

/// Writes the option string: the read-only image below the directories of `state`. A bundle's root file
/// system is used directly, as its specification wants.
///
/// # Errors
/// ENAMETOOLONG beyond a page, EINVAL for a zero byte in a path.
pub(crate) fn prepare(root: &Root, state: &Directory, in_user_namespace: bool) -> Result<Plan, Errno> {
    let string = |bytes: Vec<u8>| CString::new(bytes).map_err(|_| Errno::EINVAL);
    let path = |path: &Path| string(path.as_os_str().as_bytes().to_vec());
    if root.kind != RootKind::Layered {
        return Ok(Plan { point: path(&root.path)?, options: None });
    }
    let mut options = Vec::with_capacity(256);
    let layers = [("lowerdir=", &root.path), (",upperdir=", &state.upper()), (",workdir=", &state.work())];
    for (name, path) in layers {
        options.extend_from_slice(name.as_bytes());
        escape(path, &mut options);
    }
    // An unprivileged overlay keeps its notes in user.* attributes; trusted.* takes root.
    options.extend_from_slice(if in_user_namespace { b",userxattr" } else { b",volatile" });
    if options.len() > OPTIONS_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    Ok(Plan { point: path(&state.merged())?, options: Some(string(options)?) })
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

impl Plan {
    /// What becomes the root.
    pub(crate) fn mount_point(&self) -> &CStr {
        &self.point
    }

    /// Mounts it. `nodev`: a device node in an image opens nothing.
    pub(crate) fn mount(&self) -> Result<(), Fault> {
        let point = self.point.as_c_str();
        let mounted = match &self.options {
            Some(options) => {
                let kind = Some(c"overlay");
                sys::mount(kind, point, kind, MsFlags::MS_NODEV, Some(options.as_c_str()))
            }
            // Only a mount can become a root.
            None => {
                let none = None::<&CStr>;
                sys::mount(Some(point), point, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)
            }
        };
        mounted.map_err(Fault::of(0))
    }

    /// What a fault of this step is about.
    pub(crate) fn object(&self) -> String {
        match &self.options {
            Some(options) => format!("overlay with {}", options.to_string_lossy()),
            None => self.point.to_string_lossy().into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(lower: &str, state: &str) -> Result<Plan, Errno> {
        let root = Root { path: lower.into(), kind: RootKind::Layered, propagation: MsFlags::MS_PRIVATE };
        prepare(&root, &Directory::new(Path::new(state), &crate::Id::new("x").expect("id")), false)
    }

    #[test]
    fn separators_in_paths_are_escaped() {
        let options = plan("/img,1", "/run/a:b").expect("plan").options.expect("layered");
        assert_eq!(
            options.to_str().expect("ascii"),
            r"lowerdir=/img\,1,upperdir=/run/a\:b/x/upper,workdir=/run/a\:b/x/work,volatile"
        );
    }

    #[test]
    fn more_than_a_page_of_options_is_refused_before_the_kernel_cuts_it() {
        let long = format!("/{}", "y".repeat(4096));
        assert_eq!(plan(&long, "/run").err(), Some(Errno::ENAMETOOLONG));
    }
}
