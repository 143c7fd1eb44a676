//! How many boxes a host of so much memory holds, and what stops it: a line through what was measured, followed no
//! farther than it may speak.
//!
//! Beyond four times the most boxes that were seen there is no figure, only a band: at least so far as the line may
//! be followed, at most where its lower edge meets the end of the memory.

use serde::Serialize;

use crate::document::{Class, Document, Mode, Series};
use crate::memory;
use crate::stats::{self, Fit, Point};

/// The part of the memory that is left to the host.
pub const RESERVE: f64 = 0.05;

/// So many times the most boxes that were seen is as far as a figure is given.
pub const REACH: f64 = 4.0;

/// More than so many boxes on one host are not looked for.
const MOST: u32 = 10_000_000;

/// Name of the resource that the model itself accounts for.
pub const MEMORY: &str = "memory";

/// Something besides memory that boxes use up.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    /// In the words of [`crate::document::Binding::resource`].
    pub name: String,
    /// What is free of it before the first box.
    pub limit: f64,
    /// What one box needs.
    pub per_box: f64,
}

impl Limit {
    /// The CPUs, where a box needs such a share of one.
    pub fn cpu(cores: f64, share: f64) -> Self {
        Self { name: "cpu".to_owned(), limit: cores, per_box: share }
    }

    fn boxes(&self) -> Option<f64> {
        (self.per_box > 0.0).then(|| (self.limit / self.per_box).floor().clamp(0.0, f64::from(MOST)))
    }
}

/// A host, or a cgroup that all boxes live in.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// All of its memory, bytes.
    pub memory: f64,
    /// What is in use before the first box, bytes.
    pub used: f64,
    /// The part that must stay free: [`RESERVE`] of a host, none of a cgroup, which has nobody else to feed.
    pub reserve: f64,
    /// What else there is to run out of.
    pub limits: Vec<Limit>,
}

impl Machine {
    /// A host of so many bytes whose own use fits into the reserve, with nothing else to run out of.
    pub fn host(memory: f64) -> Self {
        Self { memory, used: 0.0, reserve: RESERVE, limits: Vec::new() }
    }

    fn room(&self) -> f64 {
        self.memory * (1.0 - self.reserve) - self.used
    }
}

/// How many fit.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// So many, within the reach of what was measured.
    Point {
        /// The figure.
        boxes: u32,
        /// Lower end of its 95 % interval.
        low: u32,
        /// Upper end.
        high: u32,
        /// The resource that ends first.
        binding: String,
    },
    /// Between so many and so many: the answer lies beyond that reach.
    Band {
        /// As far as the line may be followed.
        low: u32,
        /// Where its lower edge, or another limit, ends.
        high: u32,
        /// The resource that would end first if the line went on.
        binding: String,
    },
    /// None at all can be said.
    Refused {
        /// Why.
        why: String,
    },
}

impl Answer {
    /// How many fit where they have to fit by another answer too: into a host, and into a cgroup on it.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let least = |it: &Self| match it {
            Self::Refused { .. } => 0,
            Self::Point { boxes, .. } => *boxes,
            // A figure is within the reach, what has a band lies beyond it.
            Self::Band { high, .. } => *high,
        };
        let ends = |it: &Self| match it {
            Self::Refused { .. } => (0, 0),
            Self::Point { low, high, .. } | Self::Band { low, high, .. } => (*low, *high),
        };
        let (first, second) = if least(&self) <= least(&other) { (self, other) } else { (other, self) };
        let (below, above) = ends(&second);
        match first {
            Self::Point { boxes, low, high, binding } => {
                Self::Point { boxes, low: low.min(below), high: high.min(above).max(boxes), binding }
            }
            Self::Band { low, high, binding } => Self::Band { low: low.min(below), high, binding },
            refused @ Self::Refused { .. } => refused,
        }
    }
}

/// What many boxes of one contender cost, as a line.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    fit: Fit,
    /// The same, bent where the points did not demand it: how far the straight one may be wrong.
    doubt: Option<Fit>,
    /// The most boxes seen.
    most: u32,
}

impl Model {
    /// The model of these looks: boxes held, and the bytes that all of them cost.
    ///
    /// # Errors
    /// In words, where they are too few or show no cost.
    pub fn of(points: &[Point]) -> Result<Self, String> {
        let fit = Fit::of(points).ok_or_else(|| {
            format!(
                "{} looks at held boxes are too few for a line with an interval: it takes four, at three numbers of \
                 boxes",
                points.len()
            )
        })?;
        if fit.each(fit.most()) <= 0.0 {
            return Err("more boxes did not cost more memory: nothing can be said of how many fit".to_owned());
        }
        let most = fit.most().clamp(1.0, f64::from(MOST)) as u32;
        let doubt =
            if fit.is_bent() { None } else { Fit::bent(points).filter(|it| it.each(it.most()) > 0.0) };
        Ok(Self { fit, doubt, most })
    }

    /// The most boxes that were seen.
    pub fn most(&self) -> u32 {
        self.most
    }

    /// The line itself.
    pub fn fit(&self) -> &Fit {
        &self.fit
    }

    /// How many fit on the machine.
    pub fn boxes(&self, machine: &Machine) -> Answer {
        let room = machine.room();
        if room <= 0.0 {
            let why = "the host's own use and the reserve leave no memory for a box".to_owned();
            return Answer::Refused { why };
        }
        let memory = largest(|boxes| self.fit.at(boxes).0 <= room);
        let mut low = largest(|boxes| sum(self.fit.at(boxes)) <= room);
        let mut high = largest(|boxes| less(self.fit.at(boxes)) <= room);
        if let Some(doubt) = &self.doubt {
            // A bend that was not seen may be there; one that makes boxes cheaper the more there are may not.
            low = low.min(largest(|boxes| sum(doubt.at(boxes)) <= room));
            high = high.max(largest(|boxes| doubt.at(boxes).0 <= room).min(2 * memory));
        }
        let other = machine
            .limits
            .iter()
            .filter_map(|it| Some((it.boxes()? as u32, &it.name)))
            .min_by_key(|(boxes, _)| *boxes);
        let (boxes, binding) = match other {
            Some((boxes, name)) if boxes <= memory => (boxes, name.clone()),
            _ => (memory, MEMORY.to_owned()),
        };
        let ends = |it: u32| other.map_or(it, |(boxes, _)| it.min(boxes));
        let reach = (f64::from(self.most) * REACH) as u32;
        let (low, high) = (ends(low).min(boxes), ends(high).max(boxes));
        if boxes > reach {
            return Answer::Band { low: low.min(reach), high, binding };
        }
        Answer::Point { boxes, low, high, binding }
    }
}

fn sum((value, error): (f64, f64)) -> f64 {
    value + error
}

fn less((value, error): (f64, f64)) -> f64 {
    value - error
}

/// The largest number of boxes up to which the condition holds; it never holds again once it does not.
fn largest(holds: impl Fn(f64) -> bool) -> u32 {
    let (mut low, mut high) = (0, MOST);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if holds(f64::from(middle)) { low = middle } else { high = middle - 1 }
    }
    low
}

/// A contender's model, and the measure that it was fitted to.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// Whose boxes.
    pub contender: String,
    /// What kind.
    pub class: Class,
    /// How they came to be.
    pub mode: Mode,
    /// `density` where the search for the limit was looked at on its way, else `memory`.
    pub measure: &'static str,
    /// The line, or why there is none.
    pub model: Result<Model, String>,
}

/// The models of all contenders whose idle boxes were held: from the search where it has more looks.
pub fn models(document: &Document) -> Vec<Fitted> {
    let mut found: Vec<Fitted> = Vec::new();
    for row in &document.contenders {
        for mode in [Mode::Warm, Mode::Restore, Mode::Pool, Mode::Cold] {
            let of =
                |measure| stats::points(memory::levels(document, measure, "host", (&row.name, mode, "idle")));
            let (searched, climbed) = (of(crate::density::MEASURE), of(memory::MEASURE));
            if searched.is_empty() && climbed.is_empty() {
                continue;
            }
            let most = |it: &[Point]| it.iter().map(|it| it.boxes).fold(0.0, f64::max);
            let searched_farther = match (Fit::of(&searched).is_some(), Fit::of(&climbed).is_some()) {
                (true, true) => most(&searched) > most(&climbed),
                (false, false) => searched.len() > climbed.len(),
                (only_searched, _) => only_searched,
            };
            let (measure, points) = if searched_farther {
                (crate::density::MEASURE, searched)
            } else {
                (memory::MEASURE, climbed)
            };
            let (contender, class, model) = (row.name.clone(), row.class, Model::of(&points));
            found.push(Fitted { contender, class, mode, measure, model });
        }
    }
    found
}

/// The model of what a cgroup's limit has to have room for, box by box: of what idle boxes are charged that which
/// cannot be taken back ([`memory::KEPT`]).
///
/// # Errors
/// As [`Model::of`].
pub fn kept(document: &Document, contender: &str, mode: Mode) -> Result<Model, String> {
    Model::of(&stats::points(memory::levels(
        document,
        memory::MEASURE,
        memory::KEPT,
        (contender, mode, "idle"),
    )))
}

/// The share of a CPU that one serving box needs: all CPUs over the boxes at which they were found to end. None where
/// the search did not end there.
pub fn serving_share(document: &Document, contender: &str) -> Option<f64> {
    let search = |it: &&Series| {
        it.measure == crate::density::MEASURE
            && it.quantity == "serving"
            && it.contender == contender
            && it.binding.as_ref().is_some_and(|it| it.resource == "cpu")
            && !it.predicted
    };
    let found = document.series.iter().find(search)?;
    let boxes = stats::median(
        &found.samples.iter().filter_map(|it| it.value).map(|it| it as f64).collect::<Vec<_>>(),
    )?;
    (boxes > 0.0).then(|| f64::from(document.host.cpus) / boxes)
}
