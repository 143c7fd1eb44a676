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
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

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
    /// The layers of an image, the highest first, where it is made of them; the options say the rest then.
    layers: Vec<CString>,
}

/// So many layers at most: Docker has no more than 127.
pub(crate) const MOST_LAYERS: usize = 200;

/// Writes the option string: the read-only image below the directories of `state`. A bundle's root file
/// system is used directly, as its specification wants.
///
/// # Errors
/// ENAMETOOLONG beyond a page, EINVAL for a zero byte in a path.
pub(crate) fn prepare(root: &Root, state: &Directory, in_user_namespace: bool) -> Result<Plan, Errno> {
    let string = |bytes: Vec<u8>| CString::new(bytes).map_err(|_| Errno::EINVAL);
    let path = |path: &Path| string(path.as_os_str().as_bytes().to_vec());
    if root.kind != RootKind::Layered {
        return Ok(Plan { point: path(&root.path)?, options: None, layers: Vec::new() });
    }
    let mut options = Vec::with_capacity(256);
    let layers = root.layers.iter().map(|it| path(it)).collect::<Result<Vec<_>, _>>()?;
    if layers.is_empty() {
        options.extend_from_slice(b"lowerdir=");
        escape(&root.path, &mut options);
    }
    for (name, path) in [(",upperdir=", &state.upper()), (",workdir=", &state.work())] {
        options.extend_from_slice(name.as_bytes());
        escape(path, &mut options);
    }
    // An unprivileged overlay keeps its notes in user.* attributes; trusted.* takes root.
    options.extend_from_slice(if in_user_namespace { b",userxattr" } else { b",volatile" });
    if options.len() > OPTIONS_MAX || layers.len() > MOST_LAYERS {
        return Err(Errno::ENAMETOOLONG);
    }
    Ok(Plan { point: path(&state.merged())?, options: Some(string(options)?), layers })
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
            Some(rest) if !self.layers.is_empty() => mount_layers(point, &self.layers, rest),
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
            Some(options) => {
                let layers = match self.layers.len() {
                    0 => String::new(),
                    count => format!("{count} layers, "),
                };
                format!("overlay with {layers}{}", options.to_string_lossy().trim_start_matches(','))
            }
            None => self.point.to_string_lossy().into_owned(),
        }
    }
}

/// Mounts the layers of an image. Their paths would be more than a page of options, so each is opened, and named by
/// its descriptor; here and not before the fork, for a layer has to be seen in the box's own mount namespace.
fn mount_layers(point: &CStr, layers: &[CString], rest: &CStr) -> Result<(), Errno> {
    let mut opened = [const { None::<OwnedFd> }; MOST_LAYERS];
    let mut options = Options { text: [0; OPTIONS_MAX + 1], length: 0 };
    options.push(b"lowerdir=")?;
    for (index, (layer, place)) in layers.iter().zip(&mut opened).enumerate() {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let layer = open(layer.as_c_str(), flags, Mode::empty())?;
        options.push(if index == 0 { b"/proc/self/fd/" } else { b":/proc/self/fd/" })?;
        options.push_number(layer.as_raw_fd().unsigned_abs())?;
        *place = Some(layer);
    }
    options.push(rest.to_bytes())?;
    let kind = Some(c"overlay");
    sys::mount(kind, point, kind, MsFlags::MS_NODEV, Some(options.text()?))
}

/// Text that is put together between fork and exec, where nothing can be allocated.
struct Options {
    text: [u8; OPTIONS_MAX + 1],
    length: usize,
}

impl Options {
    fn push(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        // The last byte stays zero.
        let end = self.length + bytes.len();
        let place = self.text[..OPTIONS_MAX].get_mut(self.length..end).ok_or(Errno::ENAMETOOLONG)?;
        place.copy_from_slice(bytes);
        self.length = end;
        Ok(())
    }

    fn push_number(&mut self, number: u32) -> Result<(), Errno> {
        let mut digits = [0; 10];
        let (mut left, mut begin) = (number, digits.len());
        loop {
            begin -= 1;
            digits[begin] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                return self.push(&digits[begin..]);
            }
        }
    }

    fn text(&self) -> Result<&CStr, Errno> {
        CStr::from_bytes_until_nul(&self.text).map_err(|_| Errno::EINVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(lower: &str, state: &str) -> Result<Plan, Errno> {
        let (kind, layers) = (RootKind::Layered, Vec::new());
        let root = Root { path: lower.into(), layers, kind, propagation: MsFlags::MS_PRIVATE };
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
    fn options_that_are_put_together_end_within_their_page() {
        let mut options = Options { text: [0; OPTIONS_MAX + 1], length: 0 };
        for number in [0, 9, 10, 4_294_967_295] {
            options.push_number(number).expect("it fits");
            options.push(b" ").expect("it fits");
        }
        assert_eq!(options.text(), Ok(c"0 9 10 4294967295 "));
        assert_eq!(options.push(&[b'x'; OPTIONS_MAX]), Err(Errno::ENAMETOOLONG));
        options.push(&[b'x'; OPTIONS_MAX - 18]).expect("it fits");
        assert_eq!(options.text().map(CStr::count_bytes), Ok(OPTIONS_MAX));
        assert_eq!(options.push(b"x"), Err(Errno::ENAMETOOLONG));
    }

    #[test]
    fn more_than_a_page_of_options_is_refused_before_the_kernel_cuts_it() {
        let long = format!("/{}", "y".repeat(4096));
        assert_eq!(plan(&long, "/run").err(), Some(Errno::ENAMETOOLONG));
    }
}
