//! What one more box costs the host in memory: by three methods that cover different things, and line by line.
//!
//! Every figure is a slope over the number of boxes held at once, so that what is paid once is not charged to each.
//! The ledger's lines are slopes too; what they leave of the host's use is `unexplained`, computed here and stored
//! nowhere.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::Lang;
use crate::charts::Topic;
use crate::document::{Accel, Class, Contender, Document, Mode, Series, Status};
use crate::stats::{self, Interval, Point, Slope};

/// Name of the measure.
pub const MEASURE: &str = "memory";

/// The quantity of what boxes are charged that the kernel cannot take back: what a limit of their parent has room for.
/// It is looked at below such a limit only, and to say how many it holds.
pub const KEPT: &str = "kept";

/// A ledger that leaves more than this share of the host's use unexplained is said to be incomplete.
pub const UNEXPLAINED: f64 = 0.15;

/// Name of the line that holds a machine's own memory.
pub const GUEST_RAM: &str = "guest RAM";
/// Name of the line that holds the code which an emulator made of the guest's.
pub const TRANSLATION: &str = "translation cache";

/// The ledger's lines in the order in which they are told: from the box's own to the host's.
pub const LINES: [&str; 11] = [
    "payload",
    GUEST_RAM,
    "VMM",
    TRANSLATION,
    "helpers",
    "slab",
    "page tables",
    "kernel stacks",
    "per-CPU",
    "vmalloc",
    "page cache and tmpfs",
];

/// A way to look at memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The host's own change.
    Host,
    /// What the box's cgroup is charged for.
    Cgroup,
    /// The mapped pages of the box's processes.
    Pss,
    /// What of its charge cannot be taken back.
    Kept,
}

impl Method {
    /// All of them, the one that covers most first, and last the one that is asked below a limit only.
    pub const ALL: [Self; 4] = [Self::Host, Self::Cgroup, Self::Pss, Self::Kept];

    /// Those by which any of these costs was seen, in that order.
    pub fn of(costs: &[Cost]) -> Vec<Self> {
        Self::ALL.into_iter().filter(|it| costs.iter().any(|cost| cost.by(*it).is_some())).collect()
    }

    /// The quantity that it is in a document.
    pub fn quantity(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Cgroup => "cgroup",
            Self::Pss => "pss",
            Self::Kept => KEPT,
        }
    }

    /// What it covers, and what it cannot see.
    pub fn covers(self, lang: Lang) -> &'static str {
        match self {
            Self::Host => lang.pick(
                "everything the host uses more: MemTotal - MemFree - Buffers - Cached + Shmem of `/proc/meminfo`, the \
                 kernel's own memory for the box included",
                "宿主机多用的一切：`/proc/meminfo` 的 MemTotal - MemFree - Buffers - Cached + Shmem，包含内核为盒子所用的内存",
            ),
            Self::Cgroup => lang.pick(
                "what the box's memory cgroup is charged for (bare processes and machines are born in one made for this): \
                 its pages, some of the kernel's memory, and page cache that it was the first to touch",
                "计入盒子内存 cgroup 的部分（裸进程与虚拟机诞生于为此而建的 cgroup）：其页面、部分内核内存，以及由它首先触碰的页缓存",
            ),
            Self::Pss => lang.pick(
                "the mapped pages of the box's processes and helpers, shared ones divided among those who map them \
                 (`smaps_rollup`); no kernel memory",
                "盒子的进程与辅助进程所映射的页，共享页由映射者均摊（`smaps_rollup`）；不含内核内存",
            ),
            Self::Kept => lang.pick(
                "what of the charge stays once the kernel has taken back from the parent cgroup whatever it can \
                 (`memory.force_empty`, `memory.reclaim`): what its limit has to have room for",
                "内核从父 cgroup 收回一切可收回者之后仍计入的部分（`memory.force_empty`、`memory.reclaim`）：其上限必须容纳的量",
            ),
        }
    }
}

/// A line of the ledger: what one more box adds to it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// Its name, one of [`LINES`].
    pub name: String,
    /// Bytes of one box; below zero where the host let go of some.
    pub each: f64,
    /// The 95 % interval.
    pub interval: Option<Interval>,
}

/// Where the host's use for one box goes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ledger {
    /// The lines that were seen.
    pub lines: Vec<Line>,
    /// What the lines leave of the host's use, bytes; below zero where they see more than the host uses.
    pub unexplained: f64,
    /// The 95 % interval of what is left.
    pub interval: Option<Interval>,
    /// `unexplained` as a share of the host's use, of either sign.
    pub share: f64,
    /// Of a machine: the host's use outside of guest RAM and translation cache, bytes.
    pub beside_guest: Option<f64>,
}

impl Ledger {
    /// Whether so little is left that the lines can be said to add up.
    pub fn adds_up(&self) -> bool {
        self.share.abs() <= UNEXPLAINED
    }

    /// The figure of a line; None where it was not seen.
    pub fn line(&self, name: &str) -> Option<f64> {
        self.lines.iter().find(|it| it.name == name).map(|it| it.each)
    }
}

/// What one more box of a contender costs in one state.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cost {
    /// Whose box.
    pub contender: String,
    /// What kind of box.
    pub class: Class,
    /// What executes its instructions.
    pub accel: Accel,
    /// How the boxes came to be.
    pub mode: Mode,
    /// `idle` or `touched`.
    pub state: String,
    /// The slope by each method that has one.
    pub slopes: BTreeMap<Method, Slope>,
    /// Where the host's use goes; None where it was not looked at.
    pub ledger: Option<Ledger>,
}

impl Cost {
    /// By one of the methods.
    pub fn by(&self, method: Method) -> Option<&Slope> {
        self.slopes.get(&method)
    }
}

/// The series that a cost is the slope over: those of one contender, quantity, mode and state.
pub fn levels<'a>(
    document: &'a Document,
    measure: &'a str,
    quantity: &'a str,
    of: (&'a str, Mode, &'a str),
) -> impl Iterator<Item = &'a Series> {
    let (contender, mode, state) = of;
    document.series.iter().filter(move |it| {
        (&*it.measure, &*it.quantity, &*it.contender, it.mode) == (measure, quantity, contender, mode)
            && it.parameters.state.as_deref() == Some(state)
            && it.parameters.instances.is_some()
            && it.parameters.aa != Some(true)
            && !it.predicted
    })
}

/// The costs in a document, in its order of contenders, idle first. Those without a slope are left out.
pub fn costs(document: &Document) -> Vec<Cost> {
    let rows = document.contenders.iter().filter(|it| it.status != Status::Skipped);
    let each = rows.flat_map(|row| {
        let mut settings: Vec<(Mode, String)> = document
            .series
            .iter()
            .filter(|it| it.measure == MEASURE && it.contender == row.name)
            .filter_map(|it| Some((it.mode, it.parameters.state.clone()?)))
            .collect();
        settings.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        settings.dedup();
        settings.into_iter().filter_map(|(mode, state)| cost(document, row, mode, &state))
    });
    each.collect()
}

/// The costs that a topic is about: those of its mode and state.
pub(crate) fn costs_of(topic: &Topic) -> Vec<Cost> {
    if topic.measure != MEASURE || topic.along.is_none() {
        return Vec::new();
    }
    let own = |it: &Cost| it.mode == topic.mode && Some(&it.state) == topic.parameters.state.as_ref();
    costs(topic.document).into_iter().filter(own).collect()
}

fn cost(document: &Document, row: &Contender, mode: Mode, state: &str) -> Option<Cost> {
    let of = |method: Method| levels(document, MEASURE, method.quantity(), (&row.name, mode, state));
    let seed = |role: &str| stats::derive_seed(document.run.seed, &[MEASURE, &row.name, state, role]);
    let slopes: BTreeMap<Method, Slope> = Method::ALL
        .into_iter()
        .filter_map(|it| Some((it, stats::slope(&stats::points(of(it)), seed(it.quantity()))?)))
        .collect();
    if slopes.is_empty() {
        return None;
    }
    let host: Vec<&Series> = of(Method::Host).collect();
    let ledger = slopes.get(&Method::Host).and_then(|it| ledger(&host, it.each, row.class, seed));
    Some(Cost {
        contender: row.name.clone(),
        class: row.class,
        accel: row.accel,
        mode,
        state: state.to_owned(),
        slopes,
        ledger,
    })
}

/// The lines of the samples that have any. Names that nobody knows are kept, after the known ones.
fn ledger(host: &[&Series], each: f64, class: Class, seed: impl Fn(&str) -> u64) -> Option<Ledger> {
    let mut lines: BTreeMap<(usize, &str), Vec<Point>> = BTreeMap::new();
    let mut rests = Vec::new();
    for series in host {
        let boxes = f64::from(series.parameters.instances.unwrap_or(0));
        for sample in series.samples.iter().filter(|it| !it.parts.is_empty()) {
            let Some(value) = sample.value else { continue };
            let point = |value: f64| Point { climb: (sample.round, sample.position), boxes, value };
            for (name, part) in &sample.parts {
                let place = LINES.iter().position(|it| it == name).unwrap_or(LINES.len());
                lines.entry((place, name)).or_default().push(point(*part as f64));
            }
            rests.push(point(value as f64 - sample.parts.values().map(|it| *it as f64).sum::<f64>()));
        }
    }
    let lines: Vec<Line> = lines
        .into_iter()
        .filter_map(|((_, name), points)| {
            let found = stats::slope(&points, seed(name))?;
            Some(Line { name: name.to_owned(), each: found.each, interval: found.interval })
        })
        .collect();
    if lines.is_empty() {
        return None;
    }
    let unexplained = each - lines.iter().map(|it| it.each).sum::<f64>();
    // The slope of what is left need not be what the slopes leave: each is a median of its own.
    let rest = stats::slope(&rests, seed("unexplained"))
        .and_then(|it| it.interval)
        .map(|it| Interval { low: it.low.min(unexplained), high: it.high.max(unexplained) });
    let guest: f64 =
        lines.iter().filter(|it| [GUEST_RAM, TRANSLATION].contains(&&*it.name)).map(|it| it.each).sum();
    let has_guest = class == Class::Vm && lines.iter().any(|it| it.name == GUEST_RAM);
    Some(Ledger {
        unexplained,
        interval: rest,
        share: if each == 0.0 { 0.0 } else { unexplained / each.abs() },
        beside_guest: has_guest.then_some(each - guest),
        lines,
    })
}

/// The name of a line in the reader's language; in the document it is English.
pub fn line_name(name: &str, lang: Lang) -> &str {
    if lang == Lang::En {
        return name;
    }
    match name {
        "payload" => "负载",
        GUEST_RAM => "客户机内存",
        TRANSLATION => "翻译缓存",
        "helpers" => "辅助进程",
        "page tables" => "页表",
        "kernel stacks" => "内核栈",
        "page cache and tmpfs" => "页缓存与 tmpfs",
        "unexplained" => "未解释",
        other => other,
    }
}
