//! The whole box, whoever described it: by a few options, or by an OCI bundle.
//!
//! `run --rootfs` asks for little and gets the profile of `confinement.rs`; a bundle's `config.json` says
//! everything itself. Both end here, so that there is one recipe and not two. What stands here was
//! checked: a step of the recipe may rely on it.
//!
//! Man page: the steps' own. Look at it: `tare-runtime spec` writes the default as a bundle's config.json

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nix::sched::CloneFlags;

use crate::confinement::{self, CAPABILITY_MASK, Cover, Device, DeviceRule};
use crate::error::Result;
use crate::mounts::Mount;
use crate::network::{Network, OnBridge};
use crate::rlimits::Rlimit;
use crate::seccomp;
use crate::spec::{Id, Limits, MissingLimits, Spec};
use crate::sys::{FilterInstruction, MsFlags};
use crate::sysctl::Sysctl;
use crate::volumes::Volume;

/// See the file's head.
#[derive(Clone, Debug)]
pub(crate) struct Blueprint {
    pub(crate) id: Id,
    /// What `state` calls the bundle: the directory of config.json, or the root file system without one.
    pub(crate) bundle: PathBuf,
    pub(crate) image: Option<String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) root: Root,
    pub(crate) namespaces: Namespaces,
    /// Its place on our bridge, if it is to have one; its network namespace is then its own.
    pub(crate) bridge: Option<OnBridge>,
    pub(crate) cgroup: Cgroup,
    pub(crate) hostname: Option<String>,
    pub(crate) domainname: Option<String>,
    /// /proc, /sys and /dev with what is below it come first, each in its own step; see `mounts.rs`.
    pub(crate) mounts: Vec<Mount>,
    /// Made once all is mounted, where they are missing.
    pub(crate) directories: Vec<CString>,
    pub(crate) devices: Vec<Node>,
    pub(crate) masked: Vec<Mask>,
    pub(crate) read_only: Vec<Cow<'static, CStr>>,
    /// All of `mounts`, `masked` and `read_only` is the profile's and made by this start alone, so that paths
    /// lead where they say; see `by_path.rs`.
    pub(crate) ours_alone: bool,
    pub(crate) sysctls: Vec<Sysctl>,
    pub(crate) process: Process,
    /// Empty: no filter.
    pub(crate) filter: Cow<'static, [FilterInstruction]>,
    /// The last rung of the ladder to climb; `None` is all of it.
    pub(crate) until: Option<&'static str>,
    /// Whether to note when each step ended.
    pub(crate) marks: bool,
}

/// What becomes `/`.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    pub(crate) path: PathBuf,
    /// An image's layers, the highest first; `path` is then the highest. None: `path` is all there is.
    pub(crate) layers: Vec<PathBuf>,
    pub(crate) kind: RootKind,
    /// How mounts made later outside reach the box: private, or as the bundle says.
    pub(crate) propagation: MsFlags,
}

/// How the directory is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RootKind {
    /// Never written to: an overlay takes the changes.
    Layered,
    /// As it is; changes stay in it.
    Direct {
        /// Nobody inside may write to it.
        read_only: bool,
    },
}

/// Which of the kernel's tables are the box's own.
#[derive(Clone, Debug)]
pub(crate) struct Namespaces {
    /// Made for it.
    pub(crate) fresh: CloneFlags,
    /// Others' that it enters.
    pub(crate) joined: Vec<(CloneFlags, PathBuf)>,
    /// With a fresh user namespace: lines of uid_map and gid_map. `None` maps the caller to 0.
    pub(crate) id_maps: Option<[String; 2]>,
}

/// Counting and limits.
#[derive(Clone, Debug)]
pub(crate) struct Cgroup {
    /// The directory below every controller's root, such as `/tare/box`.
    pub(crate) path: String,
    pub(crate) limits: Limits,
    pub(crate) missing: MissingLimits,
    /// What may be done with devices, later rules winning.
    pub(crate) devices: Vec<DeviceRule>,
}

/// A device node with owner and mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) path: Cow<'static, CStr>,
    pub(crate) kind: nix::sys::stat::SFlag,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) mode: u32,
    pub(crate) owner: Option<(u32, u32)>,
}

impl From<&Device> for Node {
    fn from(device: &Device) -> Self {
        Self {
            path: Cow::Borrowed(device.path),
            kind: nix::sys::stat::SFlag::S_IFCHR,
            major: device.major,
            minor: device.minor,
            mode: 0o666,
            owner: None,
        }
    }
}

/// A path that must not be seen, and what covers it; `None` finds out.
#[derive(Clone, Debug)]
pub(crate) struct Mask {
    pub(crate) path: Cow<'static, CStr>,
    pub(crate) cover: Option<Cover>,
}

/// The process that the box is made for.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<String>,
    pub(crate) cwd: PathBuf,
    pub(crate) user: User,
    pub(crate) capabilities: Capabilities,
    pub(crate) no_new_privileges: bool,
    pub(crate) rlimits: Vec<Rlimit>,
    pub(crate) oom_score_adj: Option<i32>,
    /// Standard input, output and error are a pseudo-terminal of its own.
    pub(crate) terminal: bool,
}

/// Who it is, as the box sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) umask: u32,
}

/// The five sets, a bit for each capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capabilities {
    pub(crate) bounding: u64,
    pub(crate) effective: u64,
    pub(crate) permitted: u64,
    pub(crate) inheritable: u64,
    pub(crate) ambient: u64,
}

impl Capabilities {
    /// The profile's: inheritable and ambient stay empty, for they outlive a change of user
    /// (CVE-2022-24769).
    pub(crate) const DEFAULT: Self = Self {
        bounding: CAPABILITY_MASK,
        effective: CAPABILITY_MASK,
        permitted: CAPABILITY_MASK,
        inheritable: 0,
        ambient: 0,
    };

    /// The profile's for a user. Whoever is not root has none of root's powers; the bounding set is what a setuid program
    /// may get.
    pub(crate) fn of(uid: u32) -> Self {
        match uid {
            0 => Self::DEFAULT,
            _ => Self { effective: 0, permitted: 0, ..Self::DEFAULT },
        }
    }
}

impl Blueprint {
    /// The box that `spec` asks for, with the profile of `confinement.rs`.
    ///
    /// # Errors
    /// [`Error::Spec`](crate::Error::Spec) for a field that has no meaning.
    pub(crate) fn of(spec: &Spec) -> Result<Self> {
        spec.check()?;
        let rootless = !nix::unistd::geteuid().is_root();
        let user = if rootless { CloneFlags::CLONE_NEWUSER } else { CloneFlags::empty() };
        let namespaces = Namespaces {
            fresh: match spec.network {
                Network::None | Network::Bridge(_) => crate::namespaces::ALL.union(user),
                Network::Host | Network::Namespace(_) => {
                    crate::namespaces::ALL.union(user).difference(CloneFlags::CLONE_NEWNET)
                }
            },
            joined: match &spec.network {
                Network::Namespace(path) => vec![(CloneFlags::CLONE_NEWNET, path.clone())],
                _ => Vec::new(),
            },
            id_maps: None,
        };
        let mut mounts: Vec<Mount> =
            confinement::MOUNTS.iter().map(|mount| Mount::of(mount, rootless)).collect();
        mounts.extend(crate::volumes::mounts(&spec.volumes, &namespaces)?);
        Ok(Self {
            id: spec.id.clone(),
            bundle: spec.rootfs.clone(),
            image: spec.image.clone(),
            annotations: spec.annotations.clone(),
            root: Root {
                path: spec.rootfs.clone(),
                layers: spec.layers.clone(),
                kind: RootKind::Layered,
                // Where a volume is to see what the host mounts later, the box's mounts must not be cut off from the
                // host's before it is bound. What the box mounts stays inside in both cases.
                propagation: MsFlags::MS_REC.union(match spec.volumes.iter().any(Volume::follows_the_host) {
                    true => MsFlags::MS_SLAVE,
                    false => MsFlags::MS_PRIVATE,
                }),
            },
            namespaces,
            bridge: match &spec.network {
                Network::Bridge(bridge) => Some(bridge.clone()),
                _ => None,
            },
            cgroup: Cgroup {
                path: format!("{}/{}", spec.cgroup_parent, spec.id),
                limits: spec.limits.clone(),
                missing: spec.missing_limits,
                devices: confinement::DEVICE_RULES.to_vec(),
            },
            hostname: Some(spec.hostname.clone()),
            domainname: None,
            mounts,
            directories: spec
                .directories
                .iter()
                .map(|path| c_string("directories", path.as_os_str().as_bytes()))
                .collect::<Result<_>>()?,
            devices: confinement::DEVICES.iter().map(Node::from).collect(),
            masked: confinement::MASKED_PATHS
                .iter()
                .map(|(path, cover)| Mask { path: Cow::Borrowed(path), cover: Some(*cover) })
                .collect(),
            read_only: confinement::READONLY_PATHS.iter().map(|path| Cow::Borrowed(*path)).collect(),
            ours_alone: spec.volumes.is_empty(),
            sysctls: Vec::new(),
            process: Process {
                args: spec.args.clone(),
                env: spec.env.clone(),
                cwd: spec.cwd.clone(),
                user: User {
                    uid: spec.user.uid,
                    gid: spec.user.gid,
                    groups: spec.user.groups.clone(),
                    umask: confinement::UMASK,
                },
                capabilities: Capabilities::of(spec.user.uid),
                no_new_privileges: true,
                rlimits: Vec::new(),
                oom_score_adj: None,
                terminal: spec.terminal,
            },
            filter: Cow::Borrowed(seccomp::PROGRAM),
            until: spec.until.as_deref().map(crate::ladder::rung).transpose()?,
            marks: spec.marks,
        })
    }
}

/// A string for the kernel.
///
/// # Errors
/// [`Error::Spec`](crate::Error::Spec) naming `field` for a zero byte.
pub(crate) fn c_string(field: &str, text: impl Into<Vec<u8>>) -> Result<CString> {
    CString::new(text).map_err(|error| crate::Error::Spec {
        field: field.to_owned().into(),
        why: format!("holds a zero byte at position {}", error.nul_position()),
    })
}
