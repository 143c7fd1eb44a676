//! The samples of a run: what was observed, of whom, in what unit, under which parameters, and why not where it was not.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Unit of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Nanoseconds.
    Ns,
    /// Bytes.
    Bytes,
    /// A number of running boxes.
    Instances,
    /// A number of things in an image: files, directories, links, their attributes, words of its command.
    Entries,
}

/// How an instance came to be; never mixed in one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Caches dropped before.
    Cold,
    /// Caches warm.
    Warm,
    /// Resumed from a saved state.
    Restore,
    /// Taken from a pool of prepared boxes.
    Pool,
}

/// What was held constant over a series. A parameter that does not apply is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Parameters {
    /// Starts under way at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Instances already running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<u32>,
    /// `none`, `bridge` or `tap`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// `idle` or `touched`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Rung of the ladder: the last mechanism that the boxes have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rung: Option<String>,
    /// Place of the rung on the ladder, from 0 for no mechanism at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// Whether the host's kernel merges equal pages meanwhile (KSM): `off` or `on`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ksm: Option<String>,
    /// Number of instances the value is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<u32>,
    /// In which of several ways an image is kept: `qcow2 on a backing file` or `whole copy` of a machine's disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<String>,
    /// Which of the transfers of a visit: `first`, `second`, which shares its layers, or `update` of one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer: Option<String>,
    /// `true` for the second, independent visit of the A/A test: the same contender once more per round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aa: Option<bool>,
}

impl Parameters {
    /// The same where it makes no difference by which way a box is connected: `bridge` for a tap interface too,
    /// which is a port of the same bridge.
    #[must_use]
    pub fn any_way(mut self) -> Self {
        if self.network.as_deref() == Some("tap") {
            self.network = Some("bridge".into());
        }
        self
    }
}

/// The samples of one quantity of one contender under one set of parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Series {
    /// Name of the measure.
    pub measure: String,
    /// Which of its quantities.
    pub quantity: String,
    /// How the instances came to be.
    pub mode: Mode,
    /// Name of the contender.
    pub contender: String,
    /// Unit of the values.
    pub unit: Unit,
    /// `true` for an extrapolation.
    pub predicted: bool,
    /// What was held constant.
    pub parameters: Parameters,
    /// Every observation, never trimmed.
    pub samples: Vec<Sample>,
    /// Of a search for how many fit: what ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
}

/// Why no more boxes fit: the resource that ran out first, and how it showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Binding {
    /// `memory`, `cpu`, `pids`, `fds`, `inotify`, `ptys`, `mounts`, `cgroup ids`, `netns`, `keys`, `time budget` or
    /// `unknown`.
    pub resource: String,
    /// So many boxes were seen not to fit; absent where the search ended without having seen it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<u32>,
    /// What was seen, in words.
    pub evidence: String,
}

/// Why a sample has no value. A failure is a sample, never dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// The tool or the kernel refused to start the instance.
    Start,
    /// The deadline passed first.
    Timeout,
    /// The instance ended by itself.
    Crash,
    /// The guest kernel panicked.
    GuestPanic,
    /// It answered something else than it was asked.
    WrongAnswer,
    /// It left something behind.
    Leak,
    /// The user interrupted the run.
    Interrupted,
    /// The quantity could not be observed here.
    NotMeasured,
}

/// One observation: a value, or a failure with a reason; never both, never neither.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("oneOf" = [{ "required": ["value"] }, { "required": ["failure"] }]))]
pub struct Sample {
    /// Number of the round, from 0.
    pub round: u32,
    /// Place within the round's shuffled order, from 0.
    pub position: u32,
    /// The value in the series' unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<u64>,
    /// Why there is no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// The failure in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Named parts of the value, ns.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub spans: BTreeMap<String, u64>,
    /// Named parts of a value in bytes: a ledger's lines. What they leave is unexplained; a line is below zero where
    /// the host let go of more than was taken.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, i64>,
}

impl Sample {
    /// An observation that succeeded.
    pub fn value(round: u32, position: u32, value: u64) -> Self {
        Self {
            round,
            position,
            value: Some(value),
            failure: None,
            detail: None,
            spans: BTreeMap::new(),
            parts: BTreeMap::new(),
        }
    }

    /// An observation that failed, with the reason in words.
    pub fn failure(round: u32, position: u32, failure: Failure, detail: impl Into<String>) -> Self {
        Self {
            round,
            position,
            value: None,
            failure: Some(failure),
            detail: Some(detail.into()),
            spans: BTreeMap::new(),
            parts: BTreeMap::new(),
        }
    }
}
