//! What many boxes cost against their number: a small plot per contender, each on its own scale, with every look at
//! every climb and the slope through them.

use super::canvas::{Align, Canvas, Drawn, Ink, Label, NAME, SMALL, Type, fit, paint};
use super::lanes::trimmed;
use super::scale::Linear;
use super::topic::{Table, Topic, accel_name, emulated};
use super::{Chart, Format};
use crate::document::Unit;
use crate::memory::{Cost, MEASURE, Method, costs_of, levels};
use crate::stats::{self, Point};
use crate::units::shown;
use crate::{Error, Lang};

/// The slopes by each method, and the points that they go through.
pub(super) struct SlopeChart;

/// Height of a panel, and of its plot's upper and lower edge in it, px.
const PANEL: i32 = 236;
const PLOT: (i32, i32) = (64, 200);
/// Room for the legend above the panels, px.
const LEGEND: i32 = 30;
/// The figures in a panel's head.
const HEAD: Type = Type { size: 12.0, ..SMALL };

/// One contender's panel.
struct Panel {
    cost: Cost,
    points: Vec<(Method, Vec<Point>)>,
    x: Linear,
    y: Linear,
    /// Left end of the panel and of its plot, right end of both, and the top.
    left: i32,
    plot: (i32, i32),
    top: i32,
}

impl Panel {
    fn new(topic: &Topic, cost: Cost, index: usize, format: Format) -> Self {
        let columns = if format == Format::Wide { 3 } else { 1 };
        let width = format.width() / columns;
        let (column, row) = (index as i32 % columns, index as i32 / columns);
        let (left, top) = (column * width, LEGEND + row * PANEL);
        let of = |method: Method| {
            let series =
                levels(topic.document, MEASURE, method.quantity(), (&cost.contender, cost.mode, &cost.state));
            (method, stats::points(series))
        };
        let points: Vec<(Method, Vec<Point>)> = cost.slopes.keys().map(|it| of(*it)).collect();
        let all = || points.iter().flat_map(|it| &it.1);
        let most = all().map(|it| it.boxes).fold(1.0, f64::max);
        let high = all().map(|it| it.value).fold(1.0, f64::max);
        let grain = if high >= 1_073_741_824.0 {
            1_073_741_824.0
        } else if high >= 1_048_576.0 {
            1_048_576.0
        } else {
            1024.0
        };
        let plot = (left + 68, left + width - 14);
        let (x, y) =
            (Linear::up_to(most, 1.0, plot), Linear::up_to(high, grain, (top + PLOT.1, top + PLOT.0)));
        Self { cost, points, x, y, left, plot, top }
    }
}

impl Chart for SlopeChart {
    fn name(&self) -> &'static str {
        "slope"
    }

    fn title(&self, _: &Topic, lang: Lang) -> String {
        lang.pick("What many boxes cost, by each method", "许多盒子的代价：各种方法").to_owned()
    }

    fn caption(&self, topic: &Topic, lang: Lang) -> String {
        let covers: Vec<String> = Method::of(&costs_of(topic))
            .iter()
            .map(|it| format!("`{}`: {}", it.quantity(), it.covers(lang)))
            .collect();
        match lang {
            Lang::En => format!(
                "Boxes held across, their memory upwards, linear from zero, each panel on its own scale; every look at \
                 every climb is a mark, the line is the slope. Its start is what is paid once. The methods cover different \
                 things, so that they must differ. {}.{}",
                covers.join("; "),
                emulated(topic, lang)
            ),
            Lang::Zh => format!(
                "横轴为所持盒子数目，纵轴为其内存，均为从零开始的线性坐标，各图比例不同；每次攀升的每次读数都是一个标记，直线为斜率，\
                 其起点为只付一次的部分。各种方法覆盖的范围不同，结果必然不同。{}。{}",
                covers.join("；"),
                emulated(topic, lang)
            ),
        }
    }

    fn applies(&self, topic: &Topic) -> bool {
        let costs = costs_of(topic);
        // All methods are in one drawing: it stands where the one that covers most does.
        let first = costs.iter().filter_map(|it| it.slopes.keys().next()).min();
        first.is_some_and(|it| it.quantity() == topic.quantity)
    }

    fn draw(&self, topic: &Topic, lang: Lang, format: Format) -> Result<String, Error> {
        let costs = costs_of(topic);
        let methods = Method::of(&costs);
        let panels: Vec<Panel> = costs
            .into_iter()
            .enumerate()
            .map(|(index, cost)| Panel::new(topic, cost, index, format))
            .collect();
        let height = panels.last().map_or(LEGEND, |it| it.top + PANEL);
        let label = Label::of(self, topic, lang, format);
        paint(&label, (format.width(), height), |canvas| {
            let mut x = 4;
            for method in methods {
                mark(canvas, method, (x + 6, 14))?;
                canvas.text(method.quantity(), (x + 18, 14), SMALL, Align::Start)?;
                x += 90;
            }
            panels.iter().try_for_each(|it| panel(canvas, it, lang))
        })
    }

    fn table(&self, topic: &Topic, lang: Lang) -> Table {
        let header = [
            lang.pick("contender", "参与者"),
            lang.pick("method", "方法"),
            lang.pick("accel", "加速"),
            lang.pick("one more box", "每多一个"),
            lang.pick("95 % interval", "95 % 区间"),
            lang.pick("paid once", "只付一次"),
            lang.pick("climbs", "攀升次数"),
            lang.pick("most boxes", "最多盒子数"),
        ];
        let rows = costs_of(topic).into_iter().flat_map(|cost| {
            let row = |(method, slope): (&Method, &stats::Slope)| {
                let interval = slope.interval.map_or_else(
                    || "n/a".to_owned(),
                    |it| format!("{} – {}", shown(it.low, Unit::Bytes), shown(it.high, Unit::Bytes)),
                );
                vec![
                    cost.contender.clone(),
                    method.quantity().to_owned(),
                    accel_name(cost.accel).to_owned(),
                    shown(slope.each, Unit::Bytes),
                    interval,
                    shown(slope.once, Unit::Bytes),
                    slope.climbs.to_string(),
                    format!("{:.0}", slope.most),
                ]
            };
            cost.slopes.iter().map(row).collect::<Vec<_>>()
        });
        Table { header: header.map(str::to_owned).to_vec(), rows: rows.collect() }
    }
}

/// The hue of a method, the same in every panel.
fn ink(method: Method) -> Ink {
    match method {
        Method::Host => Ink::Hue(3),
        Method::Cgroup => Ink::Hue(5),
        Method::Pss => Ink::Hue(7),
        Method::Kept => Ink::Hue(1),
    }
}

/// The shape of a method, for those who do not see hues.
fn mark(canvas: &mut Canvas, method: Method, at: (i32, i32)) -> Drawn {
    let color = ink(method).at(1.0);
    match method {
        Method::Host => canvas.dot(at, 3, color),
        Method::Cgroup => canvas.diamond(at, 4, color, true),
        Method::Pss => canvas.ring(at, 4, color),
        Method::Kept => canvas.diamond(at, 4, color, false),
    }
}

fn panel(canvas: &mut Canvas, it: &Panel, lang: Lang) -> Drawn {
    let (left, bottom) = (it.left + 4, it.top + PLOT.1);
    canvas.text(&fit(&it.cost.contender, NAME, it.plot.1 - left), (left, it.top + 12), NAME, Align::Start)?;
    let figure = |method: &Method| {
        let slope = it.cost.by(*method)?;
        Some(format!("{} {}", method.quantity(), shown(slope.each, Unit::Bytes)))
    };
    let figures: Vec<String> = Method::ALL.iter().filter_map(figure).collect();
    let per = lang.pick("one more: ", "每多一个：");
    let head = format!("{per}{}", figures.first().map_or("", String::as_str));
    canvas.text(&head, (left, it.top + 30), HEAD, Align::Start)?;
    canvas.text(&figures.get(1..).unwrap_or(&[]).join(" · "), (left, it.top + 46), HEAD, Align::Start)?;
    for (at, value) in it.y.ticks() {
        canvas.line((it.plot.0, at), (it.plot.1, at), Ink::Grid.at(1.0), 1)?;
        canvas.text(&trimmed(&shown(value, Unit::Bytes)), (it.plot.0 - 6, at), HEAD, Align::End)?;
    }
    for (at, value) in it.x.ticks() {
        canvas.line((at, bottom), (at, bottom + 4), Ink::Grid.at(1.0), 1)?;
        canvas.text(&format!("{value:.0}"), (at, bottom + 15), HEAD, Align::Middle)?;
    }
    for (method, points) in &it.points {
        let Some(slope) = it.cost.by(*method) else { continue };
        let at = |boxes: f64| (it.x.place(boxes), it.y.place(slope.once + slope.each * boxes));
        // Below zero there is no room: the line begins where it comes up.
        let first = if slope.each > 0.0 { (-slope.once / slope.each).clamp(0.0, slope.most) } else { 0.0 };
        canvas.line(at(first), at(slope.most), ink(*method).at(0.6), 1)?;
        for point in points {
            mark(canvas, *method, (it.x.place(point.boxes), it.y.place(point.value)))?;
        }
    }
    Ok(())
}
