//! Charts. Adding one is one file here and one entry in [`ALL`].

mod canvas;
mod capacity;
mod climb;
mod compact;
mod curve;
mod distribution;
mod ladder;
mod lanes;
mod ledger;
mod merged;
mod order;
mod ratio;
mod sameness;
mod scale;
mod slope;
mod topic;
mod transfer;
mod waterfall;

use crate::document::Document;
use crate::summary::summarise;
use crate::{Error, Lang};

pub use topic::{Table, Topic};
pub(crate) use topic::{accel_name, failure_counts, failure_name, mode_name};

/// The two shapes of every chart; the page shows the one that fits the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Labels beside the plot; 960 px.
    Wide,
    /// Labels above the dots; 400 px.
    Narrow,
}

impl Format {
    /// Width of the drawing, px.
    pub(crate) fn width(self) -> i32 {
        match self {
            Self::Wide => 960,
            Self::Narrow => 400,
        }
    }

    /// What makes the ids of the two drawings of one chart different.
    fn suffix(self) -> &'static str {
        match self {
            Self::Wide => "",
            Self::Narrow => "-narrow",
        }
    }
}

/// One way to look at a topic.
pub trait Chart: Sync {
    /// Short name, also of its element on the page.
    fn name(&self) -> &'static str;

    /// What stands above it.
    fn title(&self, topic: &Topic, lang: Lang) -> String;

    /// How to read it, one or two sentences; also read aloud in place of the drawing.
    fn caption(&self, topic: &Topic, lang: Lang) -> String;

    /// Whether the topic has what the chart shows.
    fn applies(&self, topic: &Topic) -> bool;

    /// The drawing as one `<svg>` element whose colours are CSS variables.
    ///
    /// # Errors
    /// [`Error::Draw`] with the backend's words.
    fn draw(&self, topic: &Topic, lang: Lang, format: Format) -> Result<String, Error>;

    /// The same figures as a table.
    fn table(&self, topic: &Topic, lang: Lang) -> Table;
}

/// The colours behind the charts' CSS variables, light and dark.
pub(crate) const COLOURS: &str = include_str!("colours.css");

/// A chart as an SVG file of its own, for a README: it brings its colours and follows the reader's scheme.
/// None where the document has no such quantity, or the chart does not apply to it.
///
/// # Errors
/// [`Error::Draw`] with the backend's words.
pub fn standalone(
    document: &Document,
    quantity: &str,
    chart: &str,
    lang: Lang,
) -> Result<Option<String>, Error> {
    let summaries = summarise(document);
    let topics = Topic::all(document, &summaries);
    let Some(topic) = topics.iter().find(|it| it.quantity == quantity) else { return Ok(None) };
    let Some(chart) = ALL.iter().find(|it| it.name() == chart && it.applies(topic)) else { return Ok(None) };
    let svg = chart.draw(topic, lang, Format::Wide)?;
    let style = format!(
        "<style>{COLOURS}text{{font-family:system-ui,sans-serif}}</style>\
         <rect width=\"100%\" height=\"100%\" fill=\"var(--surface)\"/>"
    );
    Ok(Some(svg.replacen("</desc>", &format!("</desc>{style}"), 1)))
}

/// The list, in the order of the page.
pub static ALL: [&dyn Chart; 13] = [
    &ladder::Ladder,
    &transfer::Transfer,
    &distribution::Distribution,
    &ratio::RatioChart,
    &order::Order,
    &waterfall::Waterfall,
    &curve::Curve,
    &ledger::LedgerChart,
    &slope::SlopeChart,
    &merged::Merged,
    &capacity::Capacity,
    &climb::Climb,
    &sameness::SamenessChart,
];
