//! The channel of a box that hands no descriptor through: two FIFOs in a directory that the host shares with it.

use crate::sys;

const LONGEST: usize = 64;

/// An absolute path that leaves room for the FIFOs' names.
pub(crate) fn is_directory_name(name: &[u8]) -> bool {
    name.first() == Some(&b'/') && name.len() <= LONGEST
}

/// Makes `<directory>/in` descriptor 0 and `<directory>/out` descriptor 1. The host holds the other ends
/// already, so that neither waits (fifo(7)).
pub(crate) fn open(directory: &[u8]) -> Result<(), sys::Errno> {
    for (name, flags, standard) in [(&b"/in"[..], sys::O_RDONLY, 0), (b"/out", sys::O_WRONLY, 1)] {
        let mut path = [0; LONGEST + 5];
        path[..directory.len()].copy_from_slice(directory);
        path[directory.len()..directory.len() + name.len()].copy_from_slice(name);
        let fd = sys::open(&path, flags)?;
        if fd != standard {
            sys::duplicate(fd, standard);
            sys::close(fd);
        }
    }
    Ok(())
}
