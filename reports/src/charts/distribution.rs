//! Every sample, on a log scale, one lane per contender.

use super::canvas::{Align, Canvas, Drawn, FIGURE, Ink, Label, SMALL, WIDTH, paint};
use super::lanes::{AXIS, LANE, LEFT, TOP, frame, hue, label, middle, tick};
use super::scale::Log;
use super::topic::{Table, Topic, accel_name, failure_counts};
use super::{Chart, lanes};
use crate::summary::Summary;
use crate::units::{percent, shown};
use crate::{Error, Lang, stats};

/// Every sample as a dot, the median and its interval over them, failures in a lane of their own.
pub(super) struct Distribution;

/// Right end of the plot, px; further right stand failures and figures.
const RIGHT: i32 = 720;
/// The strip in which failures are drawn, px.
const FAILED: (i32, i32) = (742, 806);
/// Where the figures end, px.
const FIGURES: i32 = WIDTH - 4;

impl Chart for Distribution {
    fn name(&self) -> &'static str {
        "distribution"
    }

    fn title(&self, _: &Topic, lang: Lang) -> String {
        lang.pick("Every sample", "每一个样本").to_owned()
    }

    fn caption(&self, topic: &Topic, lang: Lang) -> String {
        let failed: usize = topic.lanes.iter().map(|it| it.failed()).sum();
        let tail = if failed == 0 {
            lang.pick("No sample failed.", "没有失败的样本。").to_owned()
        } else {
            match lang {
                Lang::En => format!("{failed} failed samples are crosses in the strip at the right."),
                Lang::Zh => format!("{failed} 个失败样本以叉号画在右侧的窄条中。"),
            }
        };
        match lang {
            Lang::En => format!(
                "One dot is one sample, nothing trimmed, log scale, lower is better. The tall mark is the median, \
                 the bar through it its 95 % interval; the height of a dot in its lane says nothing. {tail}"
            ),
            Lang::Zh => format!(
                "一个点即一个样本，未作任何剔除；对数坐标，越小越好。竖线为中位数，横条为其 95 % 置信区间；\
                 点在泳道内的高低没有含义。{tail}"
            ),
        }
    }

    fn applies(&self, topic: &Topic) -> bool {
        topic.lanes.iter().any(|it| it.n + it.failed() > 0)
    }

    fn draw(&self, topic: &Topic, lang: Lang) -> Result<String, Error> {
        let values = topic.lanes.iter().flat_map(|it| &topic.series(it).samples).filter_map(|it| it.value);
        let axis = Log::over(values.map(|it| it as f64), (LEFT, RIGHT));
        let failures = topic.lanes.iter().any(|it| it.failed() > 0);
        let label_text = Label {
            id: format!("{}-{}", topic.id(), self.name()),
            title: self.title(topic, lang),
            text: self.caption(topic, lang),
        };
        let count = topic.lanes.len();
        paint(&label_text, TOP + LANE * count as i32 + AXIS, |canvas| {
            frame(canvas, count, &axis, RIGHT, |it| tick(it, topic.unit))?;
            let bottom = TOP + LANE * count as i32;
            if failures {
                canvas.rectangle((FAILED.0, TOP), (FAILED.1, bottom), Ink::Danger.at(0.08))?;
                let middle = i32::midpoint(FAILED.0, FAILED.1);
                canvas.text(lang.pick("failed", "失败"), (middle, bottom + 14), SMALL, Align::Middle)?;
            }
            canvas.text(lang.pick("median", "中位数"), (FIGURES, bottom + 14), SMALL, Align::End)?;
            for (index, lane) in topic.lanes.iter().enumerate() {
                label(canvas, index, lane, lang)?;
                dots(canvas, index, lane, topic, &axis)?;
                estimate(canvas, index, lane, topic, &axis)?;
            }
            Ok(())
        })
    }

    fn table(&self, topic: &Topic, lang: Lang) -> Table {
        let header = [
            lang.pick("contender", "参与者"),
            lang.pick("class", "类别"),
            lang.pick("accel", "加速"),
            lang.pick("samples", "样本数"),
            lang.pick("failed", "失败"),
            lang.pick("success", "成功率"),
            lang.pick("median", "中位数"),
            lang.pick("95 % interval", "95 % 区间"),
            lang.pick("min", "最小"),
            "p90",
            "p99",
            lang.pick("max", "最大"),
        ];
        let rows = topic.lanes.iter().map(|lane| {
            let show = |it: Option<f64>| it.map_or_else(|| "n/a".to_owned(), |it| shown(it, lane.unit));
            let failed = if lane.failed() == 0 { "0".to_owned() } else { failure_counts(lane) };
            vec![
                lane.label(),
                lanes::class_name(lane.class, lang).to_owned(),
                accel_name(lane.accel).to_owned(),
                lane.n.to_string(),
                failed,
                lane.success_rate.map_or_else(|| "n/a".to_owned(), percent),
                show(lane.median),
                lane.interval.map_or_else(
                    || "n/a".to_owned(),
                    |it| format!("{} – {}", shown(it.low, lane.unit), shown(it.high, lane.unit)),
                ),
                show(lane.min.map(|it| it as f64)),
                show(lane.p90),
                show(lane.p99),
                show(lane.max.map(|it| it as f64)),
            ]
        });
        Table { header: header.map(str::to_owned).to_vec(), rows: rows.collect() }
    }
}

/// The samples of one lane. Dots are spread over its height, always in the same way.
fn dots(canvas: &mut Canvas, index: usize, lane: &Summary, topic: &Topic, axis: &Log) -> Drawn {
    let series = topic.series(lane);
    let spread = |number: usize, height: i32| {
        let hash = stats::derive_seed(number as u64, &["jitter"]);
        (hash >> 20) as i32 % (2 * height + 1).max(1)
    };
    let few = lane.n <= 60;
    let (radius, opacity) = if few { (3, 0.6) } else { (2, 0.45) };
    let ink = hue(topic, lane);
    for (number, sample) in series.samples.iter().enumerate() {
        let Some(value) = sample.value else { continue };
        let offset = (spread(number, 14)).abs() % 29 - 14;
        let centre = (axis.place(value as f64), middle(index) + offset);
        if lane.is_aa() {
            canvas.ring(centre, radius, ink.at(0.8))?;
        } else {
            canvas.dot(centre, radius, ink.at(opacity))?;
        }
    }
    let mut crosses = std::collections::BTreeSet::new();
    for (number, _) in series.samples.iter().enumerate().filter(|(_, it)| it.failure.is_some()) {
        // A lattice, so that crosses stay countable as long as there is room.
        let place =
            if lane.failed() <= 24 { crosses.len() } else { spread(number, 12).unsigned_abs() as usize % 24 };
        crosses.insert(if lane.failed() <= 24 { number } else { place });
        let (column, row) = (place % 6, place / 6);
        let centre = (FAILED.0 + 7 + column as i32 * 10, middle(index) - 15 + row as i32 * 10);
        canvas.cross(centre, Ink::Danger.at(0.9))?;
    }
    Ok(())
}

/// Median and interval, over the dots and in figures at the right.
fn estimate(canvas: &mut Canvas, index: usize, lane: &Summary, topic: &Topic, axis: &Log) -> Drawn {
    let y = middle(index);
    let Some(median) = lane.median else {
        return canvas.text("n/a", (FIGURES, y), SMALL, Align::End);
    };
    let x = axis.place(median);
    if let Some(interval) = lane.interval {
        let (low, high) = (axis.place(interval.low), axis.place(interval.high));
        canvas.rectangle((low, y - 3), (high, y + 3), Ink::Strong.at(0.45))?;
        let text = format!("{} – {}", shown(interval.low, topic.unit), shown(interval.high, topic.unit));
        canvas.text(&text, (FIGURES, y + 10), SMALL, Align::End)?;
    }
    canvas.rectangle((x - 1, y - 17), (x + 1, y + 17), Ink::Strong.at(1.0))?;
    let y = if lane.interval.is_some() { y - 9 } else { y };
    canvas.text(&shown(median, topic.unit), (FIGURES, y), FIGURE, Align::End)
}
