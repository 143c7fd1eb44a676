//! Every sample, on a log scale, one lane per contender.

use super::canvas::{Align, Canvas, Drawn, Ink, Label, SMALL, Type, paint};
use super::lanes::{Lanes, hue};
use super::scale::Log;
use super::topic::{Table, Topic, accel_name, failure_counts};
use super::{Chart, Format, lanes};
use crate::summary::Summary;
use crate::units::{percent, shown};
use crate::{Error, Lang, stats};

/// Every sample as a dot, the median and its interval over them, failures in a lane of their own.
pub(super) struct Distribution;

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
        // A ladder's lanes are too many, and its samples stand in the order of the run.
        topic.climber.is_none()
            && topic.along.is_none()
            && !topic.is_of_held_boxes()
            && !topic.is_watched()
            && !topic.is_of_content()
            && topic.lanes.iter().any(|it| it.n + it.failed() > 0)
    }

    fn draw(&self, topic: &Topic, lang: Lang, format: Format) -> Result<String, Error> {
        let failures = topic.lanes.iter().any(|it| it.failed() > 0);
        let lanes = Lanes::new(format, topic.lanes.len(), failures, 148);
        let values = topic.lanes.iter().flat_map(|it| &topic.series(it).samples).filter_map(|it| it.value);
        let axis = Log::over(values.map(|it| it as f64), lanes.plot);
        let label = Label::of(self, topic, lang, format);
        paint(&label, (format.width(), lanes.height()), |canvas| {
            lanes.frame_of(canvas, &axis, topic.unit)?;
            if failures {
                let (left, right) = lanes.failed;
                for index in 0..topic.lanes.len() {
                    let (top, bottom) = lanes.band(index);
                    canvas.rectangle((left, top), (right, bottom), Ink::Danger.at(0.08))?;
                }
                let below = (i32::midpoint(left, right), lanes.bottom() + 14);
                canvas.text(lang.pick("failed", "失败"), below, SMALL, Align::Middle)?;
            }
            for (index, lane) in topic.lanes.iter().enumerate() {
                lanes.label(canvas, index, lane, lang)?;
                dots(canvas, &lanes, index, lane, topic, &axis)?;
                crosses(canvas, &lanes, index, lane, topic)?;
                estimate(canvas, &lanes, index, lane, topic, &axis)?;
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
                lane.label(lang),
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

/// A number that looks random and is always the same, for the place of a dot that has no meaning.
fn scatter(number: usize, below: u64) -> i32 {
    ((stats::derive_seed(number as u64, &["jitter"]) >> 20) % below) as i32
}

/// The samples of one lane, spread over its height.
fn dots(
    canvas: &mut Canvas,
    lanes: &Lanes,
    index: usize,
    lane: &Summary,
    topic: &Topic,
    axis: &Log,
) -> Drawn {
    let (radius, opacity) = if lane.n <= 60 { (3, 0.6) } else { (2, 0.45) };
    let ink = hue(topic, lane);
    for (number, sample) in topic.series(lane).samples.iter().enumerate() {
        let Some(value) = sample.value else { continue };
        let centre = (axis.place(value as f64), lanes.middle(index) + scatter(number, 29) - 14);
        if lane.is_aa() {
            canvas.ring(centre, radius, ink.at(0.8))?;
        } else {
            canvas.dot(centre, radius, ink.at(opacity))?;
        }
    }
    Ok(())
}

/// The failures of one lane: on a lattice as long as there is room, so that they can be counted.
fn crosses(canvas: &mut Canvas, lanes: &Lanes, index: usize, lane: &Summary, topic: &Topic) -> Drawn {
    const PLACES: usize = 24;
    let failures = topic.series(lane).samples.iter().filter(|it| it.failure.is_some());
    for (number, _) in failures.enumerate().take(PLACES) {
        let (column, row) = ((number % 6) as i32, (number / 6) as i32);
        canvas.cross(
            (lanes.failed.0 + 7 + column * 10, lanes.middle(index) - 15 + row * 10),
            Ink::Danger.at(0.9),
        )?;
    }
    if lane.failed() > PLACES {
        let more = format!("+{}", lane.failed() - PLACES);
        let at = (lanes.failed.1 + 3, lanes.middle(index) + 18);
        canvas.text(&more, at, Type { size: 11.0, ink: Ink::Danger, bold: true }, Align::End)?;
    }
    Ok(())
}

/// Median and interval, over the dots and in figures at the right.
fn estimate(
    canvas: &mut Canvas,
    lanes: &Lanes,
    index: usize,
    lane: &Summary,
    topic: &Topic,
    axis: &Log,
) -> Drawn {
    let y = lanes.middle(index);
    let Some(median) = lane.median else {
        return lanes.figures(canvas, index, "n/a", "");
    };
    let mut below = String::new();
    if let Some(interval) = lane.interval {
        let (low, high) = (axis.place(interval.low), axis.place(interval.high));
        canvas.rectangle((low, y - 3), (high, y + 3), Ink::Strong.at(0.45))?;
        below = format!("{} – {}", shown(interval.low, topic.unit), shown(interval.high, topic.unit));
    }
    let x = axis.place(median);
    canvas.rectangle((x - 1, y - 17), (x + 1, y + 17), Ink::Strong.at(1.0))?;
    lanes.figures(canvas, index, &shown(median, topic.unit), &below)
}
