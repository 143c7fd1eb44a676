//! What charts with one lane per contender share: the labels at the left, the axis below.

use super::canvas::{Align, Canvas, Drawn, HUES, Ink, NAME, SMALL, fit};
use super::scale::Log;
use super::topic::{Topic, accel_name};
use crate::Lang;
use crate::document::{Class, Unit};
use crate::summary::Summary;
use crate::units;

/// Height of one lane, px.
pub(super) const LANE: i32 = 48;
/// Room above the first lane, px.
pub(super) const TOP: i32 = 14;
/// Left end of the plot, px.
pub(super) const LEFT: i32 = 214;
/// Room for the axis below the last lane, px.
pub(super) const AXIS: i32 = 46;

/// Middle of a lane, px from the top.
pub(super) fn middle(index: usize) -> i32 {
    TOP + LANE * index as i32 + LANE / 2
}

/// The hue of a contender: the same in every chart of the page.
pub(super) fn hue(topic: &Topic, lane: &Summary) -> Ink {
    let index = topic.document.contenders.iter().position(|it| it.name == lane.contender);
    Ink::Hue(index.unwrap_or(0) % HUES)
}

/// Name of a class, for people.
pub(crate) fn class_name(class: Class, lang: Lang) -> &'static str {
    match class {
        Class::Process => lang.pick("process", "进程"),
        Class::Container => lang.pick("container", "容器"),
        Class::Sandbox => lang.pick("sandbox", "沙箱"),
        Class::Engine => lang.pick("engine", "引擎"),
        Class::Vm => lang.pick("VM", "虚拟机"),
    }
}

/// The lane's name, and below it its class, accel and number of samples.
pub(super) fn label(canvas: &mut Canvas, index: usize, lane: &Summary, lang: Lang) -> Drawn {
    let y = middle(index);
    let name = fit(&lane.label(), NAME.size, LEFT - 16);
    canvas.text(&name, (4, y - 9), NAME, Align::Start)?;
    let second = format!("{} · {} · n={}", class_name(lane.class, lang), accel_name(lane.accel), lane.n);
    canvas.text(&fit(&second, SMALL.size, LEFT - 12), (4, y + 10), SMALL, Align::Start)
}

/// Lines between the lanes, the grid, and the axis with its labels.
pub(super) fn frame(
    canvas: &mut Canvas,
    count: usize,
    axis: &Log,
    right: i32,
    name: impl Fn(f64) -> String,
) -> Drawn {
    let bottom = TOP + LANE * count as i32;
    for index in 0..=count {
        let y = TOP + LANE * index as i32;
        canvas.line((0, y), (super::canvas::WIDTH, y), Ink::Grid.at(0.6), 1)?;
    }
    for tick in axis.ticks(64) {
        canvas.line((tick.at, TOP), (tick.at, bottom), Ink::Grid.at(1.0), 1)?;
        if tick.at <= right {
            canvas.text(&name(tick.value), (tick.at, bottom + 14), SMALL, Align::Middle)?;
        }
    }
    Ok(())
}

/// A tick's value, without decimals that say nothing: `1 ms`, not `1.00 ms`.
pub(super) fn tick(value: f64, unit: Unit) -> String {
    if unit == Unit::Instances {
        return units::digits(value).trim_end_matches('0').trim_end_matches('.').to_owned();
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
pub(crate) fn p_value(p: f64) -> String {
    if p < 0.001 { "p < 0.001".to_owned() } else { format!("p = {p:.3}") }
}
