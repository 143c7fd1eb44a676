//! The result document: what a run saw, in base units, nothing trimmed and nothing derived.
//!
//! `bench` writes it, this crate reads it. The frame (the field names of the design's section 9) is
//! relied upon by others: fields may be added, none renamed. `schema.json` beside `src/` is generated
//! from these types and checked by a test.

mod series;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use series::{Binding, Failure, Mode, Parameters, Sample, Series, Unit};

/// The version of the document's frame that this crate reads and writes.
pub const SCHEMA: u32 = 1;

/// One run of the suite on one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Document {
    /// Version of the frame, [`SCHEMA`].
    #[schemars(extend("const" = SCHEMA))]
    pub schema: u32,
    /// When, how and whether the run can be relied upon.
    pub run: Run,
    /// The machine it ran on.
    pub host: Host,
    /// Every contender asked for, those that could not run included.
    pub contenders: Vec<Contender>,
    /// The samples, one series per measure, quantity, contender and set of parameters.
    pub series: Vec<Series>,
    /// The 27 ways to go wrong, each judged for this run.
    pub audit: Vec<AuditItem>,
    /// What one image was seen to be in every box, where that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sameness: Option<Sameness>,
}

/// When, how and whether the run can be relied upon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// Name of the run, also of its directory.
    pub id: String,
    /// Start of the run, RFC 3339.
    pub started: String,
    /// End of the run, RFC 3339; absent while it is under way or when it was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<String>,
    /// Seed of every random choice: order of visits, bootstrap.
    pub seed: u64,
    /// `quick`, `standard` or `full`.
    pub profile: String,
    /// Whether every planned round was finished.
    pub complete: bool,
    /// Whether none of the UNRELIABLE rules was broken.
    pub reliable: bool,
    /// Which rules were broken, with their figures; empty when `reliable`.
    #[serde(default)]
    pub unreliable_because: Vec<String>,
    /// Version and git revision of the suite.
    pub tare: String,
    /// The command line of the suite.
    #[serde(default)]
    pub command: Vec<String>,
    /// What the host did besides, round by round.
    #[serde(default)]
    pub readings: Vec<Reading>,
    /// What of ours existed on the host before and after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub census: Option<CensusPair>,
    /// What did not fit into the profile's budget, with the flag that adds it.
    #[serde(default)]
    pub left_out: Vec<String>,
    /// What of the host's own state was changed, which only `--allow-host` allows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_changes: Vec<HostChange>,
    /// Of a document that several runs were merged into: their names, the earliest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged_from: Vec<String>,
}

/// Something of the host's own state that the run changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostChange {
    /// The kernel's file.
    pub setting: String,
    /// What was written to it.
    pub written: String,
    /// How often.
    pub times: u64,
    /// What became of it at the end: the value put back, or why there is nothing to restore.
    pub restored: String,
}

/// What the host did during one round of single starts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reading {
    /// Number of the round.
    pub round: u32,
    /// How long the round took, ns.
    pub wall_ns: u64,
    /// CPU time the hypervisor took away, all CPUs together, ns (`steal` of `/proc/stat`).
    pub steal_ns: u64,
    /// CPU time of processes that are neither ours nor kernel threads, ns.
    pub foreign_cpu_ns: u64,
}

/// What of ours exists on the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Census {
    /// Processes below the spawner.
    pub processes: u64,
    /// Mounts below our directories.
    pub mounts: u64,
    /// Cgroup directories below our parent, all hierarchies.
    pub cgroups: u64,
    /// Namespaces of all kinds seen on the host.
    pub namespaces: u64,
    /// Network links in the host's network namespace.
    pub links: u64,
    /// Files and directories below our state directory.
    pub files: u64,
}

/// The census before the first and after the last instance, once settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CensusPair {
    /// Before the first instance.
    pub before: Census,
    /// After the last one.
    pub after: Census,
}

/// The machine. What could not be read is absent, never guessed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// Kernel release, as `uname -r`.
    pub kernel: String,
    /// CPU model name.
    pub cpu: String,
    /// Number of CPUs on line.
    pub cpus: u32,
    /// MemTotal, bytes.
    pub memory_bytes: u64,
    /// `none`, or the hypervisor's name as far as it tells (`kvm`, `vmware`, `unknown` ...).
    pub hypervisor: String,
    /// `v1`, `v2`, `hybrid` or `none`.
    pub cgroup: String,
    /// `usable`, `emulated: why`, `absent: why`, or `not probed: why` where no virtual machine was asked for.
    pub kvm: String,
    /// What an empty memory cgroup took of the kernel's slab when the run began, bytes: the mean of many. Absent where
    /// none could be made, or the run asked nothing that it explains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_cgroup_bytes: Option<u64>,
    /// Anything else worth recording: governor, smt, thp, ksm, swap, distribution, psi, nesting ...
    #[serde(default)]
    pub facts: BTreeMap<String, String>,
}

/// What kind of box a contender makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// No box.
    Process,
    /// Namespaces and cgroups on the host's kernel.
    Container,
    /// A container with a second kernel interface in between.
    Sandbox,
    /// The whole stack that a user of a container engine calls.
    Engine,
    /// A virtual machine.
    Vm,
}

/// What executes the payload's instructions. Figures are never silently compared across classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Accel {
    /// The host's CPU, on the host's kernel.
    Native,
    /// KVM on bare metal.
    Kvm,
    /// KVM inside a virtual machine.
    KvmNested,
    /// QEMU's binary translation: an upper bound only.
    Tcg,
}

/// What became of a contender in this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// At least one sample succeeded.
    Measured,
    /// It cannot run here; the reason says why and what would fix it.
    Skipped,
    /// It was tried and no sample succeeded.
    Failed,
}

/// One way to box the payload, as it ran here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Contender {
    /// Its name on the command line.
    pub name: String,
    /// What kind of box it makes.
    pub class: Class,
    /// What executes the payload's instructions.
    pub accel: Accel,
    /// Version of the tool; `unknown` where it does not tell.
    pub version: String,
    /// The exact command line of one instance; the nonce and names of instances vary.
    pub command: Vec<String>,
    /// How payload and lab talk.
    pub channel: String,
    /// What became of it.
    pub status: Status,
    /// Why it was skipped or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The command that would make a skipped contender run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// One line on what it is.
    #[serde(default)]
    pub about: String,
    /// What is inside the clock, in order.
    #[serde(default)]
    pub inside_clock: Vec<String>,
    /// What of the common box this tool cannot express, or could not apply here.
    #[serde(default)]
    pub not_expressed: Vec<String>,
    /// SHA-256 of the payload it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_sha256: Option<String>,
    /// How it fetched an image, where it was asked to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetch: Option<Fetch>,
}

/// How a contender fetched an image from a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fetch {
    /// The exact command lines of one transfer, one after another; names vary.
    pub commands: Vec<Vec<String>>,
    /// What is inside the clock, in order.
    pub inside_clock: Vec<String>,
}

/// What one image was seen to be in every box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sameness {
    /// SHA-256 of what the image holds, computed from what it was made of: what every box has to come to.
    pub image: String,
    /// Lines that it is over: files, directories, links, attributes, words of the command, variables.
    pub entries: u64,
    /// Paths, with what is below them, and variables that are no content: of every box alike.
    pub left_out: Vec<String>,
    /// What was seen, one for each contender; of several looks the one in which most was different.
    pub boxes: Vec<Looked>,
}

/// What was seen in one box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Looked {
    /// Whose box.
    pub contender: String,
    /// SHA-256 of its content.
    pub digest: String,
    /// Lines that it is over.
    pub entries: u64,
    /// In so many things the content differs from the image.
    pub differ: u64,
    /// The first of them, in words.
    #[serde(default)]
    pub differences: Vec<String>,
    /// What was there and is no content: mounts, and what the tool adds.
    #[serde(default)]
    pub beside: Vec<String>,
    /// What the box said of itself; what it could not tell is absent.
    #[serde(default)]
    pub surroundings: BTreeMap<String, String>,
}

/// What the audit says of one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Verdict {
    /// Checked by code on this run's document, and it holds.
    #[serde(rename = "passed")]
    Passed,
    /// Checked by code on this run's document, and it does not hold.
    #[serde(rename = "failed")]
    Failed,
    /// This run has not what it takes to check it; the evidence says why.
    #[serde(rename = "not checkable")]
    NotCheckable,
    /// Holds by construction; the evidence names the test that keeps it.
    #[serde(rename = "by design")]
    ByDesign,
}

/// One of the 27 ways such comparisons go wrong, judged for this run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditItem {
    /// Number in `METHOD.md`.
    pub item: u32,
    /// What goes wrong.
    pub title: String,
    /// The judgement.
    pub verdict: Verdict,
    /// What it rests on.
    pub evidence: String,
}
