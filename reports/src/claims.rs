//! What people say about boxes, as hypotheses, and what this host showed.
//!
//! Adding one is one function and one entry in [`CLAIMS`]. A TCG time is an upper bound: it may refute
//! "minutes", it can never confirm "containers are faster".

use serde::Serialize;

use crate::Lang;
use crate::document::{Accel, Class, Document};
use crate::stats::Difference;
use crate::summary::{Comparison, QEMU, Summary};
use crate::units::digits;

mod held;
mod image;
mod judge;

/// What a run says of a hypothesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// This host showed the opposite.
    Refuted,
    /// This host showed it.
    Supported,
    /// The figures lean to one side, but cannot decide; under TCG they may never.
    Unconfirmed,
    /// The run has no figures for it.
    NotMeasured,
}

/// A hypothesis, judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Claim {
    /// What people say.
    pub said: &'static str,
    /// What this run makes of it.
    pub state: State,
    /// What this host showed, with figures.
    pub shown: String,
    /// How sure that is, and what it does not cover.
    pub sure: String,
}

/// What a judge hands back: state, what was shown, how sure.
pub(crate) type Judgement = (State, String, String);

/// A hypothesis in both languages and its judge.
struct Entry {
    said: (&'static str, &'static str),
    judge: fn(&Document, &[Summary], Lang) -> Judgement,
}

const CLAIMS: [Entry; 9] = [
    Entry { said: ("VMs boot in minutes", "虚拟机启动要好几分钟"), judge: judge::minutes },
    Entry {
        said: ("Containers start faster than VMs", "容器比虚拟机启动更快"), judge: judge::faster_start
    },
    Entry {
        said: ("A container costs nothing next to a process", "容器与进程相比没有额外开销"),
        judge: judge::nothing,
    },
    Entry {
        said: ("A VM costs gigabytes, a container megabytes", "虚拟机占好几 GB 内存，容器占好几 MB"),
        judge: held::gigabytes,
    },
    Entry { said: ("More containers fit", "一台主机能装下更多容器"), judge: held::more_fit },
    Entry {
        said: ("Containers run faster", "容器运行得更快"),
        judge: |_, _, lang| judge::unmeasured("speed", lang),
    },
    Entry { said: ("Build once, run anywhere", "一次构建，到处运行"), judge: image::same_anywhere },
    Entry { said: ("Images share layers", "镜像共享层"), judge: image::share_layers },
    Entry { said: ("Layers make updates cheap", "分层让更新很便宜"), judge: image::cheap_updates },
];

/// Judges every hypothesis for this document.
pub fn claims(document: &Document, summaries: &[Summary], lang: Lang) -> Vec<Claim> {
    let judged = CLAIMS.iter().map(|entry| {
        let (state, shown, mut sure) = (entry.judge)(document, summaries, lang);
        if state != State::NotMeasured && !document.run.reliable {
            sure.push_str(
                lang.pick(" The run is UNRELIABLE, and so is this.", " 本次运行不可靠，此结论亦然。"),
            );
        }
        Claim { said: lang.pick(entry.said.0, entry.said.1), state, shown, sure }
    });
    judged.collect()
}
