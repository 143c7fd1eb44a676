//! The mounts of a bundle: option words become flags.
//!
//! The words are those of mount(8), and some of them say the same of all that is mounted below ("rro"). A
//! word that is passed over would be a protection that is not there, so an unknown one is an option of the
//! file system's, whose kernel code refuses what it does not know.
//!
//! Man page: mount(8), and config.md of the specification, "Mounts". Look at it:
//! `tare-runtime spec; grep -B1 -A8 destination config.json`

use std::borrow::Cow;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::sched::CloneFlags;
use oci_spec::runtime as oci;

use super::fault;
use crate::blueprint::{Namespaces, c_string};
use crate::error::Result;
use crate::mounts::{MOST_BINDS, Mount, What};
use crate::sys::MsFlags;

/// An option's word, the flag of mount(2), the attribute of mount_setattr(2), and whether it is set or
/// cleared.
const FLAGS: &[(&str, MsFlags, u64, bool)] = &[
    ("ro", MsFlags::MS_RDONLY, 0x1, true),
    ("rw", MsFlags::MS_RDONLY, 0x1, false),
    ("nosuid", MsFlags::MS_NOSUID, 0x2, true),
    ("suid", MsFlags::MS_NOSUID, 0x2, false),
    ("nodev", MsFlags::MS_NODEV, 0x4, true),
    ("dev", MsFlags::MS_NODEV, 0x4, false),
    ("noexec", MsFlags::MS_NOEXEC, 0x8, true),
    ("exec", MsFlags::MS_NOEXEC, 0x8, false),
    ("noatime", MsFlags::MS_NOATIME, 0x10, true),
    ("strictatime", MsFlags::MS_STRICTATIME, 0x20, true),
    ("relatime", MsFlags::MS_RELATIME, 0, true),
    ("nodiratime", MsFlags::MS_NODIRATIME, 0x80, true),
    ("nosymfollow", MsFlags::empty(), 0x20_0000, true),
    ("sync", MsFlags::MS_SYNCHRONOUS, 0, true),
    ("dirsync", MsFlags::MS_DIRSYNC, 0, true),
];

/// The same for a mount and all below it.
const RECURSIVE: &[(&str, u64)] = &[("rro", 0x1), ("rnosuid", 0x2), ("rnodev", 0x4), ("rnoexec", 0x8)];

const PROPAGATION: &[(&str, MsFlags)] = &[
    ("private", MsFlags::MS_PRIVATE),
    ("rprivate", MsFlags::MS_PRIVATE),
    ("slave", MsFlags::MS_SLAVE),
    ("rslave", MsFlags::MS_SLAVE),
    ("shared", MsFlags::MS_SHARED),
    ("rshared", MsFlags::MS_SHARED),
    ("unbindable", MsFlags::MS_UNBINDABLE),
    ("runbindable", MsFlags::MS_UNBINDABLE),
];

/// The attribute bits that say how access times are kept: one field, not flags.
const ATIME: u64 = 0x70;

/// All of them, in order.
pub(crate) fn mounts(mounts: &[oci::Mount], namespaces: &Namespaces) -> Result<Vec<Mount>> {
    let all: Vec<Mount> = mounts
        .iter()
        .enumerate()
        .map(|(index, mount)| one(index, mount, namespaces))
        .collect::<Result<_>>()?;
    let binds = all.iter().filter(|mount| matches!(mount.what, What::Bind { .. })).count();
    if binds > MOST_BINDS {
        return Err(fault(
            "mounts",
            format!("{binds} binds are more than the {MOST_BINDS} that are possible"),
        ));
    }
    Ok(all)
}

fn one(index: usize, mount: &oci::Mount, namespaces: &Namespaces) -> Result<Mount> {
    let place = |field: &str| format!("mounts[{index}].{field}");
    let target = absolute(&place("destination"), &plain(mount.destination()))?;
    if mount.uid_mappings().is_some() || mount.gid_mappings().is_some() {
        return Err(fault(place("uidMappings"), "id-mapped mounts are not supported"));
    }
    let none = Vec::new();
    let options = mount.options().as_ref().unwrap_or(&none);
    let kind = mount.typ().as_deref().unwrap_or("none");
    let bind = kind == "bind" || options.iter().any(|option| option == "bind" || option == "rbind");
    let mut parsed = Parsed::new();
    for option in options {
        parsed.take(option, &place("options"), bind)?;
    }
    let what = match kind {
        _ if bind => {
            let source = mount.source().as_deref().ok_or_else(|| fault(place("source"), "missing"))?;
            What::Bind {
                source: absolute(&place("source"), source)?,
                recursive: parsed.recursive,
                set: parsed.set,
                clear: parsed.clear,
                recursive_attributes: parsed.recursive_attributes,
                recursive_propagation: parsed.recursive_propagation,
            }
        }
        // Version 2 needs no list; where the controllers are is found out when the box is started.
        "cgroup" | "cgroup2" => {
            if !namespaces.fresh.contains(CloneFlags::CLONE_NEWCGROUP) {
                return Err(fault(
                    place("type"),
                    "cgroups are shown only in a cgroup namespace of the box's own",
                ));
            }
            What::Cgroup { controllers: crate::cgroup::version_1_controllers()? }
        }
        "none" | "" => return Err(fault(place("type"), "missing")),
        kind => What::FileSystem {
            source: Cow::Owned(match mount.source() {
                Some(source) => c_string(&place("source"), source.as_os_str().as_bytes())?,
                None => c_string(&place("type"), kind)?,
            }),
            kind: Cow::Owned(c_string(&place("type"), kind)?),
            flags: parsed.flags,
            data: Cow::Owned(c_string(&place("options"), parsed.data.join(","))?),
        },
    };
    Ok(Mount { target: Cow::Owned(target), what, propagation: parsed.propagation })
}

/// The same place in the plainest words, so that /proc is recognised as /proc whatever it is written as.
/// What links do on the way is found out inside, and leads nowhere else than inside.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
        plain
    })
}

fn absolute(place: &str, path: &Path) -> Result<CString> {
    if !path.is_absolute() {
        return Err(fault(place, format!("{} is not absolute", path.display())));
    }
    c_string(place, path.as_os_str().as_bytes())
}

struct Parsed {
    flags: MsFlags,
    set: u64,
    clear: u64,
    recursive: bool,
    recursive_attributes: bool,
    propagation: u64,
    recursive_propagation: bool,
    data: Vec<String>,
}

impl Parsed {
    fn new() -> Self {
        Self {
            flags: MsFlags::empty(),
            set: 0,
            clear: 0,
            recursive: false,
            recursive_attributes: false,
            propagation: 0,
            recursive_propagation: false,
            data: Vec::new(),
        }
    }

    fn take(&mut self, option: &str, place: &str, bind: bool) -> Result<()> {
        if let Some((_, flag, attribute, set)) = FLAGS.iter().find(|(word, ..)| *word == option) {
            self.flags.set(*flag, *set);
            if attribute & ATIME != 0 {
                self.clear |= ATIME;
            }
            // Of two that contradict each other the later one counts.
            let (on, off) =
                if *set { (&mut self.set, &mut self.clear) } else { (&mut self.clear, &mut self.set) };
            *on |= attribute;
            *off &= !(attribute & !ATIME);
            return Ok(());
        }
        if let Some((_, attribute)) = RECURSIVE.iter().find(|(word, _)| *word == option) {
            self.set |= attribute;
            self.recursive_attributes = true;
            return Ok(());
        }
        if let Some((_, flag)) = PROPAGATION.iter().find(|(word, _)| *word == option) {
            self.propagation = flag.bits();
            self.recursive_propagation = option.starts_with('r');
            return Ok(());
        }
        match option {
            "bind" | "defaults" | "async" | "atime" | "diratime" => {}
            "rbind" => self.recursive = true,
            "idmap" | "ridmap" | "tmpcopyup" => {
                return Err(fault(place, format!("{option:?} is not supported")));
            }
            // A file system's own options; a bind has no file system to give them to.
            other if bind => return Err(fault(place, format!("{other:?} has no meaning for a bind"))),
            other => self.data.push(other.to_owned()),
        }
        Ok(())
    }
}
