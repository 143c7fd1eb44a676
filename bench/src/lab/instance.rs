//! A running box as the lab knows it, and what is said instead where something of it failed.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use tare_reports::document::Failure;

use super::Reached;
use crate::channel::Channel;
use crate::site::Start;
use crate::spawner::protocol::Mark;

/// Why a step of a sample has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Which kind.
    pub failure: Failure,
    /// In words.
    pub detail: String,
}

impl Failed {
    /// A failure of this kind, in words.
    pub fn new(failure: Failure, detail: impl Into<String>) -> Self {
        Self { failure, detail: detail.into() }
    }

    /// The same with what was waited for, where the failure is that nothing came.
    pub(super) fn of(self, what: &str) -> Self {
        match self.failure {
            Failure::Timeout => Self { detail: format!("{what}: {}", self.detail), ..self },
            _ => self,
        }
    }
}

/// A running box.
#[derive(Debug)]
pub struct Instance {
    /// What it was started with.
    pub start: Start,
    /// From just before the first call for this instance until the host had read READY, ns.
    pub ready_ns: u64,
    /// How long it took to make the box before the clock, for a contender that has boxes in stock, ns.
    pub prepared_ns: Option<u64>,
    /// What of the common box was not applied, in words.
    pub not_applied: Vec<String>,
    /// What a watched start needs: when it began, and what was said of it.
    pub moments: Moments,
    /// Named parts of `ready_ns` that this kind of start always has, ns.
    pub spans: BTreeMap<String, u64>,
    /// For a box with a link: when the host had read its nonce over the network, and from whom.
    pub reached: Option<Reached>,
    pub(super) channel: Option<Channel>,
    /// The process whose end is the end of the box.
    pub(super) main: Option<u32>,
    /// The same where that process is not below the spawner but below an engine's daemon.
    pub(super) foreign: Option<OwnedFd>,
    pub(super) scripted: Option<Scripted>,
    /// What a script changes in what the box would say of its content.
    pub(super) edits: Vec<(String, String)>,
    /// What a script says that it takes on disk, bytes.
    pub(super) disk: Vec<u64>,
    /// What a script says of its transfers, ns and bytes.
    pub(super) transfers: Vec<[u64; 2]>,
}

/// Moments of one start on the host's clock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moments {
    /// Just before the first call for this instance, ns.
    pub began: u64,
    /// The first byte of the line with READY was read, ns.
    pub line_began: u64,
    /// The whole line was read, ns.
    pub ready: u64,
    /// What our runtime noted, called as a library.
    pub marks: Vec<Mark>,
    /// Moments that the box itself named on its way to READY (`AT NAME`), each when the host read of it, ns.
    pub named: BTreeMap<String, u64>,
    /// The spans that a script gives.
    pub scripted: BTreeMap<String, u64>,
}

/// The figures of a box that answers from a script, and of one that the spawner timed by itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scripted {
    pub(super) teardown_ns: u64,
    pub(super) cpu_ns: u64,
    pub(super) memory: Option<u64>,
    /// How long such a box takes to answer, beside those that run already.
    pub(super) answers: Option<u64>,
}

impl Instance {
    /// The host memory that a script gives to this box, bytes; none for a real box.
    pub fn scripted_memory(&self) -> Option<u64> {
        self.scripted.and_then(|it| it.memory)
    }

    /// What a script says that this box takes on disk, bytes.
    pub fn scripted_disk(&self) -> &[u64] {
        &self.disk
    }

    /// What a script says that its transfers take, ns and bytes.
    pub fn scripted_transfers(&self) -> &[[u64; 2]] {
        &self.transfers
    }

    /// What a script changes in what this box would say of its content; none for a real box.
    pub fn scripted_edits(&self) -> Option<&[(String, String)]> {
        self.scripted.map(|_| self.edits.as_slice())
    }
}
