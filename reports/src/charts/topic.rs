//! What a chart is about: one quantity of one measure under one setting. Modes are never mixed.

use crate::Lang;
use crate::curves::Along;
use crate::density;
use crate::document::{Accel, Document, Failure, Mode, Parameters, Sample, Series, Unit};
use crate::summary::Summary;
use crate::transfer::STEPS;

/// The series that belong in one chart and one table.
pub struct Topic<'a> {
    /// The whole document.
    pub document: &'a Document,
    /// Name of the measure.
    pub measure: &'a str,
    /// Which of its quantities.
    pub quantity: &'a str,
    /// How the instances came to be.
    pub mode: Mode,
    /// What was held constant, the A/A mark, the rung of the ladder and what a drawing compares left out.
    pub parameters: Parameters,
    /// Whose ladder it is, where the lanes are its rungs.
    pub climber: Option<&'a str>,
    /// What the lanes of a contender differ in, where they are the levels of a curve.
    pub along: Option<Along>,
    /// Unit of all values.
    pub unit: Unit,
    /// One per series, the fastest first; the rungs of a ladder from its bottom; the second visit of an A/A
    /// test right after the first.
    pub lanes: Vec<&'a Summary>,
}

impl<'a> Topic<'a> {
    /// The topics of a document: measures in the document's order, and of a measure its own order too, but that boxes
    /// at rest come first. In a document stands first what the order of visits, which is drawn, had first.
    pub fn all(document: &'a Document, summaries: &'a [Summary]) -> Vec<Topic<'a>> {
        let mut topics: Vec<Topic<'a>> = Vec::new();
        for summary in summaries {
            let mut parameters = Parameters {
                aa: None,
                rung: None,
                step: None,
                form: None,
                transfer: None,
                ..summary.parameters.clone()
            }
            .any_way();
            let along = Along::of(&summary.measure, &summary.quantity);
            match along {
                Some(Along::AtOnce) => parameters.concurrency = None,
                Some(Along::Running) => parameters.running = None,
                Some(Along::Instances) => {
                    parameters.instances = None;
                    parameters.ksm = None;
                }
                None => {}
            }
            let climber = summary.parameters.rung.as_ref().map(|_| &*summary.contender);
            let found = topics.iter_mut().find(|it| {
                (it.measure, it.quantity, it.mode, it.unit)
                    == (&*summary.measure, &*summary.quantity, summary.mode, summary.unit)
                    && it.parameters == parameters
                    && it.climber == climber
            });
            match found {
                Some(topic) => topic.lanes.push(summary),
                None => topics.push(Topic {
                    document,
                    measure: &summary.measure,
                    quantity: &summary.quantity,
                    mode: summary.mode,
                    parameters,
                    climber,
                    along,
                    unit: summary.unit,
                    lanes: vec![summary],
                }),
            }
        }
        for topic in &mut topics {
            topic.sort();
        }
        let first = |measure: &str| summaries.iter().position(|it| it.measure == measure);
        topics.sort_by_cached_key(|it| (first(it.measure), it.state()));
        topics
    }

    /// The place of its boxes' state: idle, touched, serving, and then what has none.
    fn state(&self) -> usize {
        let own = self.parameters.state.as_deref();
        density::STATES.iter().position(|it| Some(*it) == own).unwrap_or(density::STATES.len())
    }

    /// Fastest first, rows without a value last, A/A rows after their own.
    fn sort(&mut self) {
        if self.climber.is_some() {
            self.lanes.sort_by_key(|it| (it.parameters.step, it.is_aa()));
            return;
        }
        if self.is_of_held_boxes() && self.along.is_none() {
            // How many fit: more is better, and what was predicted stands below what was measured.
            let predicted = |it: &Summary| self.document.series[it.series].predicted;
            let boxes = |it: &Summary| it.median.unwrap_or(-1.0);
            self.lanes.sort_by(|a, b| boxes(b).total_cmp(&boxes(a)).then(predicted(a).cmp(&predicted(b))));
            return;
        }
        if self.is_of_content() {
            let place =
                |it: &Summary| self.document.contenders.iter().position(|row| row.name == it.contender);
            self.lanes.sort_by_key(|it| place(it));
            return;
        }
        if self.is_of_transfers() {
            let place =
                |it: &Summary| self.document.contenders.iter().position(|row| row.name == it.contender);
            let step =
                |it: &Summary| STEPS.iter().position(|step| it.parameters.transfer.as_deref() == Some(step));
            self.lanes.sort_by_key(|it| (place(it), it.parameters.form.clone(), step(it), it.is_aa()));
            return;
        }
        if let Some(along) = self.along {
            let place =
                |it: &Summary| self.document.contenders.iter().position(|row| row.name == it.contender);
            self.lanes.sort_by_key(|it| (place(it), along.level(&it.parameters), it.is_aa()));
            return;
        }
        let first: Vec<(String, f64)> = self
            .lanes
            .iter()
            .filter(|it| !it.is_aa())
            .map(|it| (it.contender.clone(), it.median.unwrap_or(f64::INFINITY)))
            .collect();
        let place =
            |lane: &Summary| first.iter().find(|it| it.0 == lane.contender).map_or(f64::INFINITY, |it| it.1);
        self.lanes.sort_by(|a, b| {
            place(a)
                .total_cmp(&place(b))
                .then_with(|| a.contender.cmp(&b.contender))
                .then_with(|| a.is_aa().cmp(&b.is_aa()))
        });
    }

    /// Whether its starts were watched: being watched costs time, so they are not compared.
    pub(crate) fn is_watched(&self) -> bool {
        self.measure == crate::spans::MEASURE
    }

    /// Whether it is about boxes that are held together: what all of them cost, how many there may be. Their
    /// medians say nothing; `memory` and `density` of this crate do.
    pub(crate) fn is_of_held_boxes(&self) -> bool {
        self.along == Some(Along::Instances) || self.measure == density::MEASURE
    }

    /// Whether it is about what boxes hold: no figure that is better or worse, but the same or not.
    pub(crate) fn is_of_content(&self) -> bool {
        self.measure == crate::sameness::MEASURE
    }

    /// Whether it is about images that are fetched, whose lanes are the transfers of each contender.
    pub(crate) fn is_of_transfers(&self) -> bool {
        self.lanes.iter().any(|it| it.parameters.transfer.is_some())
    }

    /// The samples behind a lane.
    pub fn series(&self, lane: &Summary) -> &'a Series {
        &self.document.series[lane.series]
    }

    /// Mode and parameters in words: `warm, one at a time, network none`.
    pub fn setting(&self, lang: Lang) -> String {
        if self.is_of_content() {
            // What a box holds has nothing to do with what the host remembers.
            return String::new();
        }
        let mut parts = vec![mode_name(self.mode, lang).to_owned()];
        parts.extend(self.climber.map(str::to_owned));
        let parameters = &self.parameters;
        match parameters.concurrency {
            Some(1) => parts.push(lang.pick("one start at a time", "逐个启动").to_owned()),
            Some(count) => parts.push(match lang {
                Lang::En => format!("{count} starts at once"),
                Lang::Zh => format!("同时启动 {count} 个"),
            }),
            None => {}
        }
        if let Some(running) = parameters.running {
            parts.push(match lang {
                Lang::En => format!("{running} already running"),
                Lang::Zh => format!("已有 {running} 个在运行"),
            });
        }
        if let Some(network) = &parameters.network {
            let network = match network.as_str() {
                "bridge" => lang.pick("bridge (veth pair or tap)", "网桥（veth 对或 tap）"),
                other => other,
            };
            parts.push(format!("{} {network}", lang.pick("network", "网络")));
        }
        if let Some(state) = &parameters.state {
            let state = match state.as_str() {
                "idle" => lang.pick("idle", "空闲"),
                "touched" => lang.pick("touched", "已触碰内存"),
                "serving" => lang.pick("serving", "服务中"),
                other => other,
            };
            parts.push(state.to_owned());
        }
        if let Some(instances) = parameters.instances {
            parts.push(match (instances, lang) {
                (1, Lang::En) => "1 instance".to_owned(),
                (count, Lang::En) => format!("{count} instances"),
                (count, Lang::Zh) => format!("{count} 个实例"),
            });
        }
        parts.join(lang.pick(", ", "，"))
    }

    /// An id for the page's elements: `startup-ready-warm`, and what differs from one start at a time on an
    /// idle host without a network, so that no two topics of a page share it.
    pub fn id(&self) -> String {
        let parameters = &self.parameters;
        let number = |letter: char, it: Option<u32>, usual: u32| {
            it.filter(|it| *it != usual).map(|it| format!("{letter}{it}"))
        };
        let parts = [
            number('c', parameters.concurrency, 1),
            number('r', parameters.running, 0),
            parameters.network.clone().filter(|it| it != "none"),
            parameters.state.clone(),
            self.climber.map(str::to_owned),
            number('i', parameters.instances, 1),
        ];
        let mut id = format!("{}-{}-{}", self.measure, self.quantity, mode_name(self.mode, Lang::En));
        for part in parts.into_iter().flatten() {
            id.push('-');
            // An id must not hold white space; anything else but letters and digits is better avoided too.
            id.extend(part.chars().map(|it| if it.is_alphanumeric() { it } else { '-' }));
        }
        id
    }
}

/// What must be said with a drawing of lines, beside whose names there is no room for what executes them: a time of an
/// emulated machine, or its memory, is a bound and no figure to compare. Empty where nobody is emulated.
pub(super) fn emulated(topic: &Topic, lang: Lang) -> String {
    let mut names: Vec<String> = Vec::new();
    for lane in topic.lanes.iter().filter(|it| it.accel == Accel::Tcg) {
        let name = format!("`{}`", lane.contender);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let names = names.join(lang.pick(", ", "、"));
    match lang {
        _ if names.is_empty() => names,
        Lang::En => format!(" Emulated (tcg), so that its line is an upper bound: {names}."),
        Lang::Zh => format!("由软件模拟（tcg），其线只是上界：{names}。"),
    }
}

/// Name of a mode in the design's words.
pub(crate) fn mode_name(mode: Mode, lang: Lang) -> &'static str {
    match mode {
        Mode::Cold => lang.pick("cold", "冷启动"),
        Mode::Warm => lang.pick("warm", "热缓存"),
        Mode::Restore => lang.pick("restore", "恢复"),
        Mode::Pool => lang.pick("pool", "预热池"),
    }
}

/// Name of an accel class as in the document.
pub(crate) fn accel_name(accel: Accel) -> &'static str {
    match accel {
        Accel::Native => "native",
        Accel::Kvm => "kvm",
        Accel::KvmNested => "kvm-nested",
        Accel::Tcg => "tcg",
    }
}

/// The failures of a lane by reason: `timeout 2, crash 1`.
pub(crate) fn failure_counts(lane: &Summary) -> String {
    let each = lane.failures.iter().map(|(failure, count)| format!("{} {count}", word(*failure)));
    each.collect::<Vec<_>>().join(", ")
}

/// The failure of a sample in one word; empty where it succeeded.
pub(crate) fn failure_name(sample: &Sample) -> String {
    sample.failure.map(word).unwrap_or_default()
}

/// The name of a failure in the document; a unit variant always serialises to a string.
fn word(failure: Failure) -> String {
    serde_json::to_value(failure).ok().and_then(|it| it.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Figures in rows, ready to print.
pub struct Table {
    /// Headers of the columns.
    pub header: Vec<String>,
    /// The rows; the first cell names its row. A cell's second line, if any, is printed small.
    pub rows: Vec<Vec<String>>,
}
