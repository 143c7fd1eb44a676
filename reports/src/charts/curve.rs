//! A curve per contender: the time of a start against how many are started at once, or run already.

use super::canvas::{Align, Canvas, Drawn, Ink, Label, SMALL, Type, fit, paint};
use super::lanes::{hue, tick};
use super::scale::Log;
use super::topic::{Table, Topic, accel_name, emulated};
use super::{Chart, Format};
use crate::curves::{Along, Line, lines, tail};
use crate::density;
use crate::document::Unit;
use crate::summary::Summary;
use crate::units::shown;
use crate::{Error, Lang};

/// Medians joined by a line, each with its interval; p99 where there are enough samples.
pub(super) struct Curve;

const TOP: i32 = 34;
const BOTTOM: i32 = 380;
/// Distance between two names at the right end, px.
const APART: i32 = 17;

/// Where the plot stands, px.
struct Layout {
    left: i32,
    right: i32,
    levels: Vec<u32>,
    /// Of boxes held, whose numbers differ from contender to contender: a scale of its own.
    held: Option<Log>,
}

impl Layout {
    fn new(format: Format, lines: &[Line], along: Option<Along>) -> Self {
        let mut levels: Vec<u32> = lines.iter().flat_map(|it| &it.points).map(|it| it.0).collect();
        levels.sort_unstable();
        levels.dedup();
        let (left, right) = if format == Format::Wide { (80, 800) } else { (58, 290) };
        let held = (along == Some(Along::Instances))
            .then(|| Log::over(levels.iter().copied().map(f64::from), (left + 14, right - 14)));
        Self { left, right, levels, held }
    }

    /// The levels below which a figure stands.
    fn ticks(&self) -> Vec<(i32, String)> {
        match &self.held {
            Some(axis) => axis.ticks(54).iter().map(|it| (it.at, tick(it.value, Unit::Instances))).collect(),
            None => self.levels.iter().map(|it| (self.x(*it), it.to_string())).collect(),
        }
    }

    /// Levels stand at equal distances: each is a multiple of the one before.
    fn x(&self, level: u32) -> i32 {
        if let Some(axis) = &self.held {
            return axis.place(f64::from(level));
        }
        let index = self.levels.iter().position(|it| *it == level).unwrap_or(0) as i32;
        let steps = (self.levels.len() as i32 - 1).max(1);
        self.left + 14 + (self.right - self.left - 28) * index / steps
    }
}

impl Chart for Curve {
    fn name(&self) -> &'static str {
        "curve"
    }

    fn title(&self, topic: &Topic, lang: Lang) -> String {
        match topic.along {
            Some(Along::Running) => lang.pick("Against how many run already", "随已在运行的数目变化"),
            Some(Along::Instances) => lang.pick("Against how many are held", "随所持数目变化"),
            _ => lang.pick("Against how many start at once", "随同时启动的数目变化"),
        }
        .to_owned()
    }

    fn caption(&self, topic: &Topic, lang: Lang) -> String {
        let failed: usize = topic.lanes.iter().map(|it| it.failed()).sum();
        let failed = match (failed, lang) {
            (0, _) => String::new(),
            (_, Lang::En) => {
                format!(" {failed} samples failed; a red cross marks each level that has some.")
            }
            (_, Lang::Zh) => format!("有 {failed} 个样本失败；红叉标出含失败样本的档位。"),
        };
        let levels = match topic.along {
            Some(Along::Instances) => {
                lang.pick("the number of boxes has a log scale too", "盒子数目亦为对数坐标")
            }
            _ => lang.pick("the levels stand at equal distances", "各档位等距排列"),
        };
        match lang {
            Lang::En => format!(
                "A dot is the median of a level, the bar through it its 95 % interval; log scale, lower is better; \
                 {levels}. A hollow diamond is p99, only from 1,000 samples on.{failed}{}",
                emulated(topic, lang)
            ),
            Lang::Zh => format!(
                "圆点为该档位的中位数，竖条为其 95 % 区间；对数坐标，越低越好；{levels}。空心菱形为 p99，\
                 仅在样本数达到 1,000 时给出。{failed}{}",
                emulated(topic, lang)
            ),
        }
    }

    fn applies(&self, topic: &Topic) -> bool {
        // Memory is a slope; of a density all but its starts stand together in a drawing of their own.
        let elsewhere = topic.along == Some(Along::Instances)
            && (topic.measure != density::MEASURE || topic.quantity != "start");
        topic.along.is_some() && !elsewhere && topic.lanes.iter().any(|it| it.n + it.failed() > 0)
    }

    fn draw(&self, topic: &Topic, lang: Lang, format: Format) -> Result<String, Error> {
        let lines = own(topic);
        let layout = Layout::new(format, &lines, topic.along);
        let tails = topic.lanes.iter().filter_map(|it| tail(topic.series(it)).p99).map(|it| it as f64);
        let ends = topic.lanes.iter().flat_map(|it| {
            [it.median, it.interval.map(|it| it.low), it.interval.map(|it| it.high)].into_iter().flatten()
        });
        let axis = Log::over(ends.chain(tails), (BOTTOM, TOP));
        let label = Label::of(self, topic, lang, format);
        paint(&label, (format.width(), BOTTOM + 48), |canvas| {
            frame(canvas, topic, &layout, &axis, lang)?;
            for line in &lines {
                draw_line(canvas, topic, &layout, &axis, line)?;
            }
            names(canvas, topic, &layout, &axis, &lines, format)
        })
    }

    fn table(&self, topic: &Topic, lang: Lang) -> Table {
        let level = match topic.along {
            Some(Along::Running) => lang.pick("already running", "已在运行"),
            Some(Along::Instances) => lang.pick("boxes held", "所持盒子数"),
            _ => lang.pick("starts at once", "同时启动"),
        };
        let header = [
            lang.pick("contender", "参与者"),
            level,
            lang.pick("accel", "加速"),
            lang.pick("samples", "样本数"),
            lang.pick("failed", "失败"),
            lang.pick("median", "中位数"),
            lang.pick("95 % interval", "95 % 区间"),
            "p90",
            "p99",
        ];
        let none = || "n/a".to_owned();
        let rows = own(topic).into_iter().flat_map(|line| {
            line.points.into_iter().map(move |(level, at)| {
                let (lane, unit): (&Summary, _) = (topic.lanes[at], topic.unit);
                let tail = tail(topic.series(lane));
                let figure = |it: Option<u64>| it.map_or_else(none, |it| shown(it as f64, unit));
                vec![
                    lane.contender.clone(),
                    level.to_string(),
                    accel_name(lane.accel).to_owned(),
                    lane.n.to_string(),
                    lane.failed().to_string(),
                    lane.median.map_or_else(none, |it| shown(it, unit)),
                    lane.interval.map_or_else(none, |it| {
                        format!("{} – {}", shown(it.low, unit), shown(it.high, unit))
                    }),
                    figure(tail.p90),
                    figure(tail.p99),
                ]
            })
        });
        Table { header: header.map(str::to_owned).to_vec(), rows: rows.collect() }
    }
}

fn own(topic: &Topic) -> Vec<Line> {
    topic.along.map_or_else(Vec::new, |along| lines(topic.document, along, &topic.lanes))
}

/// The grid, the levels below it and what they count.
fn frame(canvas: &mut Canvas, topic: &Topic, layout: &Layout, axis: &Log, lang: Lang) -> Drawn {
    for it in axis.ticks(28) {
        canvas.line((layout.left, it.at), (layout.right, it.at), Ink::Grid.at(1.0), 1)?;
        canvas.text(&tick(it.value, topic.unit), (layout.left - 6, it.at), SMALL, Align::End)?;
    }
    for (x, level) in layout.ticks() {
        canvas.line((x, BOTTOM), (x, BOTTOM + 4), Ink::Grid.at(1.0), 1)?;
        canvas.text(&level, (x, BOTTOM + 16), SMALL, Align::Middle)?;
    }
    let head = match topic.along {
        Some(Along::Running) => lang.pick("already running", "已在运行的数目"),
        Some(Along::Instances) => lang.pick("boxes held", "所持盒子数目"),
        _ => lang.pick("starts at once", "同时启动的数目"),
    };
    canvas.text(head, ((layout.left + layout.right) / 2, BOTTOM + 36), SMALL, Align::Middle)
}

fn draw_line(canvas: &mut Canvas, topic: &Topic, layout: &Layout, axis: &Log, line: &Line) -> Drawn {
    let Some(&(_, first)) = line.points.first() else { return Ok(()) };
    let ink = hue(topic, topic.lanes[first]);
    let medians: Vec<(i32, i32)> = line
        .points
        .iter()
        .filter_map(|(level, at)| Some((layout.x(*level), axis.place(topic.lanes[*at].median?))))
        .collect();
    if medians.len() > 1 {
        canvas.path(&medians, ink.at(0.7), 2)?;
    }
    for &(level, at) in &line.points {
        let (lane, x) = (topic.lanes[at], layout.x(level));
        if let Some(interval) = lane.interval {
            canvas.line((x, axis.place(interval.low)), (x, axis.place(interval.high)), ink.at(1.0), 3)?;
        }
        if let Some(median) = lane.median {
            canvas.dot((x, axis.place(median)), 4, ink.at(1.0))?;
        }
        if let Some(p99) = tail(topic.series(lane)).p99 {
            canvas.diamond((x, axis.place(p99 as f64)), 5, ink.at(1.0), true)?;
        }
        if lane.failed() > 0 {
            let y = lane.median.map_or(BOTTOM - 6, |it| axis.place(it) - 10);
            canvas.cross((x, y), Ink::Danger.at(1.0))?;
        }
    }
    Ok(())
}

/// Heights, in order, pushed apart to a distance; none below the bottom.
pub(super) fn apart(heights: &[i32], distance: i32, bottom: i32) -> Vec<i32> {
    let mut rows = heights.to_vec();
    for index in 1..rows.len() {
        rows[index] = rows[index].max(rows[index - 1] + distance);
    }
    // What was pushed out at the bottom comes back up.
    let mut limit = bottom;
    for row in rows.iter_mut().rev() {
        *row = (*row).min(limit);
        limit = *row - distance;
    }
    rows
}

/// Names beside the ends of the lines, pushed apart where they would touch.
fn names(
    canvas: &mut Canvas,
    topic: &Topic,
    layout: &Layout,
    axis: &Log,
    lines: &[Line],
    format: Format,
) -> Drawn {
    let mut ends: Vec<(i32, i32, &Line)> = lines
        .iter()
        .filter_map(|line| {
            let last = line
                .points
                .iter()
                .rev()
                .find_map(|(level, at)| Some((layout.x(*level), axis.place(topic.lanes[*at].median?))))?;
            Some((last.0, last.1, line))
        })
        .collect();
    ends.sort_by_key(|it| it.1);
    let rows = apart(&ends.iter().map(|it| it.1).collect::<Vec<_>>(), APART, BOTTOM);
    let room = format.width() - layout.right - 14;
    for ((x, y, line), row) in ends.into_iter().zip(rows) {
        let ink = hue(topic, topic.lanes[line.points[0].1]);
        canvas.line((x + 5, y), (layout.right + 6, row), ink.at(0.5), 1)?;
        let kind = Type { size: 14.0, ink: Ink::Strong, bold: true };
        canvas.text(&fit(&line.contender, kind, room), (layout.right + 10, row), kind, Align::Start)?;
    }
    Ok(())
}
