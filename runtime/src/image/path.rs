//! Paths inside an image: which an entry may have, and the times of those that are directories.
//!
//! Man page: path_resolution(7). Look at it: `tar -tf LAYER`

use std::collections::BTreeMap;
use std::ffi::CString;

use nix::sys::time::TimeSpec;

/// The longest name that Linux file systems have.
const LONGEST_NAME: usize = 255;
/// The longest path that the kernel takes, with its end.
pub(crate) const LONGEST_PATH: usize = 4096;

/// The names of all directories of a layer, so long together: a million usual ones. Each is kept to the layer's end.
const MOST_REMEMBERED: usize = 64 << 20;

/// The names of a path inside the image.
pub(crate) struct Path<'a> {
    pub(crate) names: Vec<&'a [u8]>,
}

impl<'a> Path<'a> {
    /// An absolute one begins at the image's root, as any other.
    pub(crate) fn parse(path: &'a [u8], depth: usize) -> Result<Self, String> {
        if path.len() >= LONGEST_PATH {
            return Err(format!("a path of {} bytes, longer than the kernel takes", path.len()));
        }
        let names: Vec<&[u8]> =
            path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".").collect();
        if names.contains(&&b".."[..]) {
            return Err("`..` leads out of the image".into());
        }
        if names.iter().any(|name| name.len() > LONGEST_NAME) {
            return Err(format!("a name longer than {LONGEST_NAME} bytes"));
        }
        if names.len() > depth {
            return Err(format!("it lies deeper than {depth} directories"));
        }
        if path.contains(&0) {
            return Err("it holds a zero byte".into());
        }
        Ok(Self { names })
    }
}

/// Directories and their times, which change as long as something is made in them.
#[derive(Default)]
pub(crate) struct Directories {
    pub(crate) times: BTreeMap<CString, TimeSpec>,
    /// Of their names, together.
    length: usize,
}

impl Directories {
    /// Of two times the later one counts.
    pub(crate) fn remember(&mut self, path: CString, time: TimeSpec) -> Result<(), String> {
        let length = path.count_bytes();
        if self.times.insert(path, time).is_none() {
            self.length += length;
        }
        match self.length <= MOST_REMEMBERED {
            true => Ok(()),
            false => {
                Err(format!("the names of directories are longer than {MOST_REMEMBERED} bytes together"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_names_are_remembered() {
        let mut directories = Directories::default();
        let mut remember = |number: usize| {
            let name = CString::new(format!("{}{number}", "d/".repeat(2000))).expect("no zero byte");
            directories.remember(name, TimeSpec::new(0, 0))
        };
        for _ in 0..20_000 {
            assert_eq!(remember(1), Ok(()), "the same one");
        }
        let refused = (0..20_000).find_map(|number| remember(number).err()).expect("too many");
        assert!(refused.contains("longer than 67108864 bytes together"), "{refused}");
    }
}
