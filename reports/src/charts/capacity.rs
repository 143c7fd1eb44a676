//! How many boxes fit, and what ends it: one lane per search. A prediction has a mark of its own.

use super::canvas::{Canvas, Drawn, Ink, Label, paint};
use super::lanes::{Lanes, hue, tick};
use super::scale::Log;
use super::topic::{Table, Topic, accel_name};
use super::{Chart, Format};
use crate::density::{MEASURE, STATES, Search, search_of};
use crate::document::Unit;
use crate::{Error, Lang};

/// The most boxes at which everything held, and the number that was seen failing.
pub(super) struct Capacity;

impl Chart for Capacity {
    fn name(&self) -> &'static str {
        "capacity"
    }

    fn title(&self, _: &Topic, lang: Lang) -> String {
        lang.pick("How many fit", "能装多少个").to_owned()
    }

    fn caption(&self, topic: &Topic, lang: Lang) -> String {
        let open = match (searches(topic).iter().any(Search::is_open), lang) {
            (false, _) => "",
            (true, Lang::En) => " A figure after ≥ was reached before the time ended; nobody saw more fail.",
            (true, Lang::Zh) => "≥ 后的数字是时间用尽前所达到的；未观察到更多盒子失败。",
        };
        let predicted = searches(topic).iter().any(|it| it.predicted);
        let predicted = match (predicted, lang) {
            (false, _) => "",
            (true, Lang::En) => {
                " A hollow diamond is predicted, not measured, the line its interval; a line without a diamond is a band: \
                 beyond four times the most boxes that were held no figure is given."
            }
            (true, Lang::Zh) => {
                "空心菱形为预测而非测量，横线为其区间；只有横线而无菱形者为范围：超过曾持有的最多盒子数四倍时不给出数字。"
            }
        };
        match lang {
            Lang::En => format!(
                "A dot is the most boxes at which everything held for half a minute, the red cross a larger number that \
                 was seen failing; below the figure, the resource that ended it. Log scale, more is better.{open}{predicted}"
            ),
            Lang::Zh => format!(
                "圆点为各项条件保持半分钟的最多盒子数，红叉为被观察到失败的更大数目；数字下方为终止搜索的资源。对数坐标，越多越好。{open}{predicted}"
            ),
        }
    }

    fn applies(&self, topic: &Topic) -> bool {
        topic.measure == MEASURE && STATES.contains(&topic.quantity) && !topic.lanes.is_empty()
    }

    fn draw(&self, topic: &Topic, lang: Lang, format: Format) -> Result<String, Error> {
        let found = searches(topic);
        let lanes = Lanes::new(format, found.len(), false, 150);
        let marks = found.iter().flat_map(|it| {
            let (low, high) = it.range.map_or((None, None), |(low, high)| (Some(low), Some(high)));
            [it.boxes, low, high, it.binding.as_ref().and_then(|it| it.failed_at).map(f64::from)]
        });
        let axis = Log::over(marks.flatten(), lanes.plot);
        let label = Label::of(self, topic, lang, format);
        paint(&label, (format.width(), lanes.height()), |canvas| {
            lanes.frame(canvas, &axis, |value| tick(value, Unit::Instances))?;
            for (index, (search, lane)) in found.iter().zip(&topic.lanes).enumerate() {
                lanes.label(canvas, index, lane, lang)?;
                let (figure, below) = figures(search, lang);
                lanes.figures(canvas, index, &figure, &below)?;
                draw_search(canvas, &axis, lanes.middle(index), search, hue(topic, lane))?;
            }
            Ok(())
        })
    }

    fn table(&self, topic: &Topic, lang: Lang) -> Table {
        let header = [
            lang.pick("contender", "参与者"),
            lang.pick("accel", "加速"),
            lang.pick("boxes", "盒子数"),
            lang.pick("interval or band", "区间或范围"),
            lang.pick("how known", "来源"),
            lang.pick("ended by", "终止原因"),
            lang.pick("seen failing at", "失败于"),
            lang.pick("what was seen", "所见"),
        ];
        let none = || "–".to_owned();
        let rows = searches(topic).into_iter().map(|it| {
            let binding = it.binding.as_ref();
            vec![
                it.contender.clone(),
                accel_name(it.accel).to_owned(),
                if it.boxes.is_some() { it.figure() } else { "n/a".to_owned() },
                it.range.map_or_else(none, |(low, high)| format!("{low:.0} – {high:.0}")),
                known(&it, lang).to_owned(),
                binding.map_or_else(none, |it| it.resource.clone()),
                binding.and_then(|it| it.failed_at).map_or_else(none, |it| it.to_string()),
                binding.map(|it| it.evidence.clone()).or(it.reason).unwrap_or_else(none),
            ]
        });
        Table { header: header.map(str::to_owned).to_vec(), rows: rows.collect() }
    }
}

fn searches(topic: &Topic) -> Vec<Search> {
    topic.lanes.iter().map(|it| search_of(topic.document, it)).collect()
}

fn known(search: &Search, lang: Lang) -> &'static str {
    if search.predicted { lang.pick("predicted", "预测") } else { lang.pick("measured", "测量") }
}

/// The figure, and what ended it.
fn figures(search: &Search, lang: Lang) -> (String, String) {
    let by = search.binding.as_ref().map_or("", |it| &*it.resource);
    let below = match (search.predicted, by.is_empty()) {
        (false, _) => by.to_owned(),
        (true, true) => known(search, lang).to_owned(),
        (true, false) => format!("{} · {by}", known(search, lang)),
    };
    (search.figure(), below)
}

fn draw_search(canvas: &mut Canvas, axis: &Log, y: i32, search: &Search, ink: Ink) -> Drawn {
    if let Some((low, high)) = search.range {
        canvas.line((axis.place(low), y), (axis.place(high), y), ink.at(0.7), 2)?;
    }
    if let Some(failed_at) = search.binding.as_ref().and_then(|it| it.failed_at) {
        // It lies so near that it would hide behind the dot.
        canvas.cross(
            (axis.place(f64::from(failed_at)).max(search.boxes.map_or(0, |it| axis.place(it) + 11)), y),
            Ink::Danger.at(1.0),
        )?;
    }
    match (search.boxes, search.predicted) {
        (Some(boxes), true) => canvas.diamond((axis.place(boxes), y), 6, ink.at(1.0), true),
        (Some(boxes), false) => canvas.dot((axis.place(boxes), y), 5, ink.at(1.0)),
        (None, _) => Ok(()),
    }
}
