//! How many times a bare process: ratios paired within rounds.

use super::canvas::{Align, Canvas, Drawn, Ink, Label, SMALL, paint};
use super::lanes::{Lanes, hue, trimmed};
use super::scale::Log;
use super::topic::{Table, Topic, accel_name};
use super::{Chart, Format, lanes};
use crate::document::Accel;
use crate::stats::Difference;
use crate::summary::{Comparison, PROCESS, Summary};
use crate::units::digits;
use crate::{Error, Lang};

/// The ratio of each contender to `process`, with its interval and the verdict of the test.
pub(super) struct RatioChart;

fn compared<'a>(topic: &Topic<'a>) -> Vec<(&'a Summary, &'a Comparison)> {
    topic.lanes.iter().filter_map(|lane| Some((*lane, lane.to_process.as_ref()?))).collect()
}

impl Chart for RatioChart {
    fn name(&self) -> &'static str {
        "ratio"
    }

    fn title(&self, _: &Topic, lang: Lang) -> String {
        lang.pick("Times a bare process", "相当于裸进程的倍数").to_owned()
    }

    fn caption(&self, topic: &Topic, lang: Lang) -> String {
        let tcg = compared(topic).iter().any(|(_, it)| it.caveat.is_some());
        let marks = match (tcg, lang) {
            (false, _) => "",
            (true, Lang::En) => {
                " Hollow diamonds are another accel class: under TCG a ratio is an upper bound."
            }
            (true, Lang::Zh) => "空心菱形属于另一加速类别：TCG 下的比值只是上界。",
        };
        match lang {
            Lang::En => format!(
                "Each round's value divided by that round's `process` value; the mark is the median over the rounds, \
                 the bar its 95 % interval. \"No verdict\": the permutation test does not show a difference.{marks}"
            ),
            Lang::Zh => format!(
                "每轮的数值除以同一轮 `process` 的数值；标记为各轮的中位数，横条为其 95 % 置信区间。\
                 “无结论”：置换检验未能显示差异。{marks}"
            ),
        }
    }

    fn applies(&self, topic: &Topic) -> bool {
        topic.along.is_none()
            && !topic.is_of_held_boxes()
            && !topic.is_watched()
            && !topic.is_of_content()
            && !compared(topic).is_empty()
    }

    fn draw(&self, topic: &Topic, lang: Lang, format: Format) -> Result<String, Error> {
        let rows = compared(topic);
        let lanes = Lanes::new(format, rows.len(), false, 190);
        let ends = rows.iter().flat_map(|(_, it)| {
            let interval = it.ratio.interval.map_or([it.ratio.ratio; 2], |it| [it.low, it.high]);
            [it.ratio.ratio, interval[0], interval[1]]
        });
        let axis = Log::over(ends.chain([1.0]), lanes.plot);
        let label = Label::of(self, topic, lang, format);
        paint(&label, (format.width(), lanes.height()), |canvas| {
            lanes.frame(canvas, &axis, |it| trimmed(&digits(it)) + "×")?;
            let one = axis.place(1.0);
            for index in 0..rows.len() {
                let (top, bottom) = lanes.band(index);
                canvas.line((one, top), (one, bottom), Ink::Strong.at(0.7), 2)?;
            }
            canvas.text(
                "process = 1",
                (one.max(lanes.plot.0 + 40), lanes.bottom() + 32),
                SMALL,
                Align::Middle,
            )?;
            for (index, (lane, comparison)) in rows.iter().enumerate() {
                lanes.label(canvas, index, lane, lang)?;
                mark(canvas, lanes.middle(index), lane, comparison, topic, &axis)?;
                let below = comparison.caveat_in(lang).map_or_else(
                    || format!("{}, {}", verdict(comparison, lang), lanes::p_value(comparison.ratio.p)),
                    str::to_owned,
                );
                lanes.figures(canvas, index, &in_figures(comparison).replace('\n', " "), &below)?;
            }
            Ok(())
        })
    }

    fn table(&self, topic: &Topic, lang: Lang) -> Table {
        let header = [
            lang.pick("contender", "参与者"),
            lang.pick("accel", "加速"),
            lang.pick("× process", "对 process"),
            lang.pick("verdict", "结论"),
            "p",
            lang.pick("rounds", "轮数"),
            lang.pick("× qemu", "对 qemu"),
            lang.pick("say with it", "须一并说明"),
        ];
        let rows =
            topic.lanes.iter().filter(|it| it.to_process.is_some() || it.to_qemu.is_some()).map(|lane| {
                let process = lane.to_process.as_ref();
                let none = || "–".to_owned();
                vec![
                    lane.label(lang),
                    accel_name(lane.accel).to_owned(),
                    process.map_or_else(none, in_figures),
                    process.map_or_else(none, |it| verdict(it, lang).to_owned()),
                    process.map_or_else(none, |it| lanes::p_value(it.ratio.p)),
                    process.map_or_else(none, |it| it.ratio.pairs.to_string()),
                    lane.to_qemu.as_ref().map_or_else(none, in_figures),
                    caveats(lane, lang),
                ]
            });
        Table { header: header.map(str::to_owned).to_vec(), rows: rows.collect() }
    }
}

/// `3.05×`, and the interval on a second line.
fn in_figures(comparison: &Comparison) -> String {
    let interval = comparison.ratio.interval;
    let interval =
        interval.map_or(String::new(), |it| format!("\n[{}, {}]", digits(it.low), digits(it.high)));
    digits(comparison.ratio.ratio) + "×" + &interval
}

fn verdict(comparison: &Comparison, lang: Lang) -> &'static str {
    match comparison.ratio.difference {
        Difference::Differs => lang.pick("differs", "有差异"),
        Difference::NoVerdict => lang.pick("no verdict", "无结论"),
    }
}

fn caveats(lane: &Summary, lang: Lang) -> String {
    let each = [(PROCESS, &lane.to_process), ("qemu", &lane.to_qemu)];
    let said =
        each.iter().filter_map(|(name, it)| Some(format!("× {name}: {}", it.as_ref()?.caveat_in(lang)?)));
    said.collect::<Vec<_>>().join(lang.pick("; ", "；"))
}

fn mark(canvas: &mut Canvas, y: i32, lane: &Summary, found: &Comparison, topic: &Topic, axis: &Log) -> Drawn {
    let ink = match found.ratio.difference {
        Difference::Differs => hue(topic, lane),
        Difference::NoVerdict => Ink::Muted,
    };
    if let Some(interval) = found.ratio.interval {
        let (low, high) = (axis.place(interval.low), axis.place(interval.high));
        canvas.line((low, y), (high, y), ink.at(1.0), 3)?;
        for end in [low, high] {
            canvas.line((end, y - 7), (end, y + 7), ink.at(1.0), 2)?;
        }
    }
    let x = axis.place(found.ratio.ratio);
    if lane.accel == Accel::Native {
        canvas.dot((x, y), 6, ink.at(1.0))
    } else {
        canvas.diamond((x, y), 9, ink.at(1.0), found.caveat.is_some())
    }
}
