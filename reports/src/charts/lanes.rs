//! What charts with one lane per contender share: where things stand, the labels, the grid and the axis.

use super::Format;
use super::canvas::{Align, Canvas, Drawn, FIGURE, HUES, Ink, NAME, SMALL, fit};
use super::scale::{Log, Tick};
use super::topic::{Topic, accel_name};
use crate::Lang;
use crate::document::{Class, Unit};
use crate::summary::Summary;
use crate::units;

/// Where things stand in a chart of lanes, px.
pub(super) struct Lanes {
    format: Format,
    count: usize,
    /// The plot's left and right end.
    pub(super) plot: (i32, i32),
    /// The strip in which failures are drawn.
    pub(super) failed: (i32, i32),
}

/// Room above the first lane, px.
const TOP: i32 = 6;

impl Lanes {
    /// The places of so many lanes. On a narrow chart the labels stand above the dots, not beside them, and
    /// the strip for failures takes its room only where there are some.
    pub(super) fn new(format: Format, count: usize, failures: bool, figures: i32) -> Self {
        let (plot, failed) = match (format, failures) {
            (Format::Wide, true) => ((232, 940 - figures - 84), (940 - figures - 62, 940 - figures + 2)),
            (Format::Wide, false) => ((232, 940 - figures - 10), (0, 0)),
            (Format::Narrow, true) => ((8, 312), (328, 392)),
            (Format::Narrow, false) => ((8, 392), (0, 0)),
        };
        Self { format, count, plot, failed }
    }

    fn lane(&self) -> i32 {
        match self.format {
            Format::Wide => 48,
            Format::Narrow => 88,
        }
    }

    fn top_of(&self, index: usize) -> i32 {
        TOP + self.lane() * index as i32
    }

    /// Middle of a lane's dots.
    pub(super) fn middle(&self, index: usize) -> i32 {
        match self.format {
            Format::Wide => self.top_of(index) + 24,
            Format::Narrow => self.top_of(index) + 64,
        }
    }

    /// Upper and lower end of the part of a lane that holds marks.
    pub(super) fn band(&self, index: usize) -> (i32, i32) {
        let reach = match self.format {
            Format::Wide => 24,
            Format::Narrow => 21,
        };
        (self.middle(index) - reach, self.middle(index) + 24)
    }

    /// Heights of the two lines of text of a lane.
    fn lines(&self, index: usize) -> (i32, i32) {
        let top = self.top_of(index);
        match self.format {
            Format::Wide => (top + 15, top + 34),
            Format::Narrow => (top + 14, top + 33),
        }
    }

    /// Lower end of the last lane.
    pub(super) fn bottom(&self) -> i32 {
        self.top_of(self.count)
    }

    /// Height of the chart with its axis.
    pub(super) fn height(&self) -> i32 {
        self.bottom() + 44
    }

    /// Lines between the lanes, the grid, and the axis with its labels.
    pub(super) fn frame(&self, canvas: &mut Canvas, axis: &Log, name: impl Fn(f64) -> String) -> Drawn {
        self.grid(canvas, &axis.ticks(64), name)
    }

    /// The same for figures of this unit: those of bytes stand at powers of two.
    pub(super) fn frame_of(&self, canvas: &mut Canvas, axis: &Log, unit: Unit) -> Drawn {
        let ticks = if unit == Unit::Bytes { axis.byte_ticks(64) } else { Vec::new() };
        // Between two neighbours of these others have to do.
        let ticks = if ticks.len() < 2 { axis.ticks(64) } else { ticks };
        self.grid(canvas, &ticks, |value| tick(value, unit))
    }

    fn grid(&self, canvas: &mut Canvas, ticks: &[Tick], name: impl Fn(f64) -> String) -> Drawn {
        for index in 0..=self.count {
            let y = self.top_of(index);
            canvas.line((0, y), (self.format.width(), y), Ink::Grid.at(0.6), 1)?;
        }
        for tick in ticks {
            for index in 0..self.count {
                let (top, bottom) = self.band(index);
                canvas.line((tick.at, top), (tick.at, bottom), Ink::Grid.at(1.0), 1)?;
            }
            let room = 26;
            let x = tick.at.clamp(room, self.format.width() - room);
            canvas.text(&name(tick.value), (x, self.bottom() + 14), SMALL, Align::Middle)?;
        }
        Ok(())
    }

    /// The lane's name, and below it its class, accel and number of samples.
    pub(super) fn label(&self, canvas: &mut Canvas, index: usize, lane: &Summary, lang: Lang) -> Drawn {
        let (first, second) = self.lines(index);
        let room = match self.format {
            Format::Wide => self.plot.0 - 16,
            Format::Narrow => 210,
        };
        canvas.text(&fit(&lane.label(lang), NAME, room), (4, first), NAME, Align::Start)?;
        let kind = format!("{} · {} · n={}", class_name(lane.class, lang), accel_name(lane.accel), lane.n);
        canvas.text(&fit(&kind, SMALL, room), (4, second), SMALL, Align::Start)
    }

    /// A figure at the right, and below it what goes with it.
    pub(super) fn figures(&self, canvas: &mut Canvas, index: usize, figure: &str, below: &str) -> Drawn {
        let (first, second) = self.lines(index);
        let right = self.format.width() - 4;
        canvas.text(figure, (right, first), FIGURE, Align::End)?;
        if below.is_empty() { Ok(()) } else { canvas.text(below, (right, second), SMALL, Align::End) }
    }
}

/// The hue of a contender: the same in every chart of the page. The rungs of a ladder, which are all of one
/// contender, take turns.
pub(super) fn hue(topic: &Topic, lane: &Summary) -> Ink {
    if let Some(step) = lane.parameters.step {
        return Ink::Hue(step as usize % HUES);
    }
    let index = topic.document.contenders.iter().position(|it| it.name == lane.contender);
    Ink::Hue(index.unwrap_or(0) % HUES)
}

/// Name of a class, for people.
pub(super) fn class_name(class: Class, lang: Lang) -> &'static str {
    match class {
        Class::Process => lang.pick("process", "进程"),
        Class::Container => lang.pick("container", "容器"),
        Class::Sandbox => lang.pick("sandbox", "沙箱"),
        Class::Engine => lang.pick("engine", "引擎"),
        Class::Vm => lang.pick("VM", "虚拟机"),
    }
}

/// A tick's value, without decimals that say nothing: `1 ms`, not `1.00 ms`.
pub(super) fn tick(value: f64, unit: Unit) -> String {
    if unit == Unit::Instances {
        return trimmed(&units::digits(value));
    }
    trimmed(&units::shown(value, unit))
}

/// Drops trailing zeros of the figure in front of a unit.
pub(super) fn trimmed(text: &str) -> String {
    let (figure, unit) = text.split_once(' ').map_or((text, String::new()), |(a, b)| (a, format!(" {b}")));
    let figure =
        if figure.contains('.') { figure.trim_end_matches('0').trim_end_matches('.') } else { figure };
    format!("{figure}{unit}")
}

/// A p-value: `p < 0.001` or `p = 0.031`.
pub(super) fn p_value(p: f64) -> String {
    if p < 0.001 { "p < 0.001".to_owned() } else { format!("p = {p:.3}") }
}
