//! What lab and spawner say to each other.

use std::os::fd::RawFd;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::network::Link;

/// What the lab asks for. `tag` names the request in the answer.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Start something; the box's standard input, output and error come with the message.
    Start {
        /// Names the request.
        tag: u64,
        /// What to start.
        launch: Launch,
    },
    /// Undo an overlay mount made for a [`Launch::Command`].
    Unmount {
        /// Names the request.
        tag: u64,
        /// Where it is mounted.
        target: PathBuf,
    },
    /// Take down a box that the spawner itself made ([`Launch::Library`], [`Launch::Floor`]).
    Delete {
        /// Names the request.
        tag: u64,
        /// Which box.
        made: Made,
    },
    /// Send a signal to a process that has not been reaped yet; others are left alone.
    Kill {
        /// The process.
        pid: u32,
        /// The signal's number.
        signal: i32,
    },
    /// Connect boxes to the bridge in the network namespace that comes with the message.
    UseBridge {
        /// Names the request.
        tag: u64,
    },
    /// Have commands born in these cgroups (their directories) from now on, and in none where there are none.
    BornIn {
        /// Names the request.
        tag: u64,
        /// The directories.
        cgroups: Vec<PathBuf>,
    },
    /// List the processes below the spawner.
    Children {
        /// Names the request.
        tag: u64,
    },
}

/// A box that the spawner itself made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Made {
    /// By the runtime's library.
    Library {
        /// State directory of the runtime.
        root: PathBuf,
        /// Name of the box.
        id: String,
    },
    /// By the hand-issued floor.
    Floor(FloorSpec),
    /// Cgroups only: those made for a [`Launch::Assisted`].
    Cgroups(Vec<FloorCgroup>),
    /// A connection to the bridge: that of a [`Launch::Linked`].
    Link(Link),
}

/// What to start, and what the lab does inside the clock because the tool does not do it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Launch {
    /// Run a command.
    Command {
        /// Program and arguments.
        argv: Vec<String>,
        /// The whole environment.
        env: Vec<(String, String)>,
        /// An overlay that the tool cannot mount by itself.
        overlay: Option<Overlay>,
        /// Have the kernel kill it when the spawner dies: for what would not notice the end of its input.
        dies_with_parent: bool,
    },
    /// Run a command that takes something away. It is not born where boxes are: a limit there that is full must not
    /// keep what fills it.
    Removal {
        /// Program and arguments.
        argv: Vec<String>,
        /// The whole environment.
        env: Vec<(String, String)>,
    },
    /// Call the runtime's library.
    Library {
        /// State directory of the runtime.
        root: PathBuf,
        /// The box.
        spec: Box<tare_runtime::Spec>,
    },
    /// Make a box in stock by the runtime's library; its command comes later.
    Stock {
        /// State directory of the runtime.
        root: PathBuf,
        /// The box.
        spec: Box<tare_runtime::Spec>,
    },
    /// Give a box in stock its command.
    FromStock {
        /// The box.
        id: String,
        /// Program and arguments.
        argv: Vec<String>,
    },
    /// Issue the floor's kernel calls.
    Floor(FloorSpec),
    /// Run a tool that makes a box but not the whole of it.
    Assisted(Assisted),
    /// Connect the box to the bridge, then launch it.
    Linked {
        /// The connection.
        link: Link,
        /// What is started.
        launch: Box<Launch>,
    },
    /// Time the hand-written loop: pipes, posix_spawn, a blocking read, no lab.
    HandLoop {
        /// Program and arguments.
        argv: Vec<String>,
        /// What must be read.
        expect: String,
    },
    /// Nothing is started: the figures come from a script. For tests of the pipeline.
    Scripted(Script),
}

/// What a scripted contender answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Script {
    /// It worked, and took this long, ns.
    Took {
        /// From the first call to READY.
        ready: u64,
        /// From the stop request to nothing left.
        teardown: u64,
        /// CPU time.
        cpu: u64,
        /// Host memory of one such box, bytes; none where nobody asks for it.
        #[serde(default)]
        memory: Option<u64>,
        /// How long it takes to answer a ping, ns; none where nobody asks for it.
        #[serde(default)]
        answers: Option<u64>,
        /// Named parts of `ready`, ns.
        #[serde(default)]
        spans: std::collections::BTreeMap<String, u64>,
        /// What is replaced in what it would say of its content.
        #[serde(default)]
        edits: Vec<(String, String)>,
        /// What it takes on disk, bytes: one for each quantity of the measure, in their order.
        #[serde(default)]
        disk: Vec<u64>,
        /// What it fetches: how long each transfer takes, ns, and what travels, bytes, in their order.
        #[serde(default)]
        transfers: Vec<[u64; 2]>,
    },
    /// It failed.
    Failed {
        /// How.
        failure: tare_reports::document::Failure,
        /// In words.
        detail: String,
    },
}

/// An overlay mount (mount(8), "Mount options for overlay").
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Overlay {
    /// The shared, read-only layer.
    pub lower: PathBuf,
    /// Directory made for this instance: `upper`, `work` and `merged` are made in it.
    pub dir: PathBuf,
}

/// A tool, and what the lab does for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Assisted {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Its environment, `NAME=value`.
    pub env: Vec<String>,
    /// The overlay that is mounted for it.
    pub overlay: Overlay,
    /// The cgroups that are made for it, and that it is started in.
    pub cgroups: Vec<FloorCgroup>,
    /// A file that it finds open for reading as descriptor [`Assisted::FILE`].
    pub file: Option<PathBuf>,
    /// The network namespace that it is started in.
    pub network: Option<PathBuf>,
    /// The root that it is started in, where that is all of a box that it has.
    #[serde(default)]
    pub root: Option<Root>,
}

/// Another root for a process (chroot(2)).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Root {
    /// The directory that becomes `/`.
    pub dir: PathBuf,
    /// The working directory below it.
    pub cwd: PathBuf,
}

impl Assisted {
    /// The number of the descriptor that the file is passed as.
    pub const FILE: RawFd = 3;
}

/// What the hand-issued floor needs to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FloorSpec {
    /// Directory made for this instance.
    pub dir: PathBuf,
    /// The shared, read-only layer.
    pub lower: PathBuf,
    /// Whether it is confined as our runtime confines.
    pub confined: bool,
    /// Its cgroup directories with their limits.
    pub cgroups: Vec<FloorCgroup>,
    /// Program inside the box, and arguments.
    pub argv: Vec<String>,
    /// Its environment, `NAME=value`.
    pub env: Vec<String>,
    /// The network namespace that it joins; it gets an empty one of its own without.
    pub network: Option<PathBuf>,
}

/// One cgroup directory of the floor and what is set in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FloorCgroup {
    /// The directory to make.
    pub dir: PathBuf,
    /// Whether its tree is cgroup v2.
    pub unified: bool,
    /// Whether it locks devices: then it is entered once the box's own nodes are made.
    pub devices: bool,
    /// Files in it and what is written there, in this order.
    pub limits: Vec<(String, String)>,
}

/// What the spawner reports.
#[derive(Debug, Serialize, Deserialize)]
pub enum Event {
    /// It has set itself up.
    Hello {
        /// Its process id.
        pid: u32,
        /// Whether it could take a mount namespace of its own.
        own_mounts: bool,
    },
    /// A request to start was carried out.
    Started {
        /// Which request.
        tag: u64,
        /// The process started.
        pid: u32,
        /// CPU time the spawner spent on it, ns.
        cpu_ns: u64,
        /// What of the box could not be applied, in words.
        not_applied: Vec<String>,
        /// When the steps of the start ended, where the box was asked for them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        marks: Vec<Mark>,
    },
    /// A request failed.
    Refused {
        /// Which request.
        tag: u64,
        /// In words.
        error: String,
    },
    /// A request was carried out.
    Done {
        /// Which request.
        tag: u64,
        /// CPU time the spawner spent on it, ns.
        cpu_ns: u64,
    },
    /// The hand-written loop's figures.
    Timed {
        /// Which request.
        tag: u64,
        /// From the first call to the line read, ns.
        ready_ns: u64,
        /// From the end of input to the process reaped, ns.
        teardown_ns: u64,
        /// CPU time of the child, ns.
        cpu_ns: u64,
    },
    /// A process below the spawner ended.
    Exited(Exit),
    /// The processes below the spawner.
    Children {
        /// Which request.
        tag: u64,
        /// Their ids.
        pids: Vec<u32>,
    },
}

/// The end of one step of a start, as our runtime notes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Name of the step.
    pub step: String,
    /// When it ended, ns of the host's monotonic clock.
    pub ended: u64,
}

/// The end of one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Which process.
    pub pid: u32,
    /// How it ended.
    pub how: How,
    /// User and system time of it and of the children it waited for, ns (getrusage(2)).
    pub cpu_ns: u64,
    /// When it was reaped, on the host's monotonic clock.
    pub at_ns: u64,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// It returned this status.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

impl std::fmt::Display for How {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => match nix::sys::signal::Signal::try_from(*signal) {
                Ok(signal) => write!(f, "{signal}"),
                Err(_) => write!(f, "signal {signal}"),
            },
        }
    }
}
