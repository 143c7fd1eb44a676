//! What an image holds, entry by entry; and the small but real tree that the measure `sameness` looks at.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::payload::PAYLOAD;

/// A file, a directory or a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it is, from `/`.
    pub path: String,
    /// Permissions, set-user-id and sticky bits included.
    pub mode: u32,
    /// User and group.
    pub owner: [u32; 2],
    /// Extended attributes by name.
    pub attributes: BTreeMap<String, Vec<u8>>,
    /// What it is.
    pub kind: Kind,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// With what is named below it.
    Directory,
    /// With these bytes.
    File(Arc<[u8]>),
    /// A symbolic link to there.
    Link(String),
    /// Another name of the file at this path, which comes before it.
    Same(String),
}

impl Entry {
    /// One that belongs to root and has no attributes.
    pub fn new(path: &str, mode: u32, kind: Kind) -> Self {
        Self { path: path.into(), mode, owner: [0, 0], attributes: BTreeMap::new(), kind }
    }

    fn of(mut self, user: u32, group: u32) -> Self {
        self.owner = [user, group];
        self
    }

    fn with(mut self, name: &str, value: &[u8]) -> Self {
        self.attributes.insert(name.into(), value.into());
        self
    }
}

fn directory(path: &str, mode: u32) -> Entry {
    Entry::new(path, mode, Kind::Directory)
}

/// A file with these bytes.
pub fn file(path: &str, mode: u32, bytes: &[u8]) -> Entry {
    Entry::new(path, mode, Kind::File(bytes.into()))
}

/// Directories that every box's root has, for mounts to be made on; and the program.
pub fn common() -> Vec<Entry> {
    let mut all = vec![directory("/", 0o755)];
    all.extend(["/dev", "/etc", "/proc", "/run", "/sys", "/usr", "/var"].map(|path| directory(path, 0o755)));
    all.push(directory("/tmp", 0o1777));
    all.push(file("/payload", 0o755, PAYLOAD));
    all
}

/// Bytes that no program makes smaller, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    Xoshiro256PlusPlus::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// The file capability `cap_net_bind_service=ep`, as the kernel keeps it (struct vfs_cap_data, version 2).
const MAY_BIND: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Each kind of thing that tools are known to lose: owners, modes, set-user-id and sticky bits, capabilities, extended
/// attributes, both kinds of links, empty directories and files, names that are not ASCII, a file of some MiB.
pub fn of_all_kinds() -> Vec<Entry> {
    let mut all = common();
    all.extend([
        file("/etc/motd", 0o644, b"Tare: the weight of the box without its contents\n")
            .with("user.tare.origin", b"lab"),
        file("/etc/shadow", 0o640, b"root:*:19000:0:99999:7:::\n").of(0, 42),
        directory("/etc/empty", 0o700),
        file("/etc/nothing", 0o444, b""),
        directory("/home", 0o755),
        directory("/home/anna", 0o750).of(1000, 1000).with("user.note", b"\x00\xff binary"),
        file("/home/anna/notes with blanks.txt", 0o600, b"one line, no end").of(1000, 1000),
        Entry::new("/home/anna/motd", 0o777, Kind::Link("../../etc/motd".into())).of(1000, 1000),
        Entry::new("/home/anna/nowhere", 0o777, Kind::Link("/no/such file".into())),
        directory("/srv", 0o755),
        directory("/srv/work", 0o2775).of(0, 1000),
        directory("/usr/bin", 0o755),
        file("/usr/bin/as-root", 0o4755, b"#!/payload\n"),
        file("/usr/bin/may-bind", 0o755, PAYLOAD).with("security.capability", &MAY_BIND),
        directory("/usr/lib", 0o755),
        file("/usr/lib/large", 0o644, &noise(1, 3 << 20)),
        Entry::new("/usr/lib/large.1", 0o644, Kind::Same("/usr/lib/large".into())),
        directory("/usr/share", 0o755),
        file("/usr/share/größe-大小.txt", 0o644, "a name that is not ASCII\n".as_bytes()),
    ]);
    all
}
