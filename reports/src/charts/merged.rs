//! What many machines cost against their number, without merging equal pages (KSM) and with it: a small plot per
//! contender, each on its own scale.

use super::canvas::{Align, Canvas, Drawn, Ink, Label, NAME, SMALL, Type, fit, paint};
use super::lanes::trimmed;
use super::scale::Linear;
use super::topic::{Table, Topic, accel_name};
use super::{Chart, Format};
use crate::document::Unit;
use crate::memory::MEASURE;
use crate::merging::{Line, Merging, QUANTITY, mergings};
use crate::units::{percent, shown};
use crate::{Error, Lang};

/// Two lines through every look.
pub(super) struct Merged;

/// Height of a panel, and of its plot's upper and lower edge in it, px.
const PANEL: i32 = 236;
const PLOT: (i32, i32) = (64, 200);
/// Room for the legend above the panels, px.
const LEGEND: i32 = 30;
/// The figures in a panel's head.
const HEAD: Type = Type { size: 12.0, ..SMALL };
const GIB: f64 = 1_073_741_824.0;
const MIB: f64 = 1_048_576.0;

impl Chart for Merged {
    fn name(&self) -> &'static str {
        "merged"
    }

    fn title(&self, _: &Topic, lang: Lang) -> String {
        lang.pick("What machines cost when equal pages are merged", "合并相同页后虚拟机的代价").to_owned()
    }

    fn caption(&self, _: &Topic, lang: Lang) -> String {
        lang.pick(
            "Machines held across, what the host uses more upwards, linear from zero, each panel on its own scale; every \
             look at every climb is a mark, the line is the slope. Rings: nothing is merged. Dots: the kernel merges (KSM), \
             and each look is made when nothing more could be. RAM is private anonymous memory here, which alone can be \
             merged, so that the figures without merging differ from those of the ledger.",
            "横轴为所持虚拟机数目，纵轴为宿主机多用的内存，均为从零开始的线性坐标，各图比例不同；每次攀升的每次读数都是一个标记，直线为斜率。\
             圆环：不合并。圆点：内核合并相同页（KSM），在再无可合并时读数。此处客户机内存为私有匿名内存（只有这种内存能被合并），\
             因此不合并时的数字与账目中的不同。",
        )
        .to_owned()
    }

    fn applies(&self, topic: &Topic) -> bool {
        topic.measure == MEASURE && topic.quantity == QUANTITY && !own(topic).is_empty()
    }

    fn draw(&self, topic: &Topic, lang: Lang, format: Format) -> Result<String, Error> {
        let columns = if format == Format::Wide { 3 } else { 1 };
        let found = own(topic);
        let rows = (found.len() as i32).div_euclid(columns) + i32::from(found.len() as i32 % columns > 0);
        let label = Label::of(self, topic, lang, format);
        paint(&label, (format.width(), LEGEND + rows * PANEL), |canvas| {
            mark(canvas, false, (10, 14))?;
            canvas.text(lang.pick("without merging", "不合并"), (22, 14), SMALL, Align::Start)?;
            mark(canvas, true, (150, 14))?;
            canvas.text(lang.pick("with", "合并"), (162, 14), SMALL, Align::Start)?;
            let width = format.width() / columns;
            for (index, merging) in (0..).zip(&found) {
                let (left, top) = (index % columns * width, LEGEND + index / columns * PANEL);
                panel(canvas, merging, (left, top), width, lang)?;
            }
            Ok(())
        })
    }

    fn table(&self, topic: &Topic, lang: Lang) -> Table {
        let header = [
            lang.pick("contender", "参与者"),
            lang.pick("accel", "加速"),
            lang.pick("one more, without", "每多一个，不合并"),
            lang.pick("one more, with", "每多一个，合并"),
            lang.pick("saved", "节省"),
            lang.pick("climbs", "攀升次数"),
            lang.pick("most boxes", "最多盒子数"),
        ];
        let none = || "–".to_owned();
        let each = |line: &Line| {
            let Some(it) = line.slope else { return none() };
            let interval = it.interval.map_or(String::new(), |it| {
                format!("\n[{}, {}]", shown(it.low, Unit::Bytes), shown(it.high, Unit::Bytes))
            });
            shown(it.each, Unit::Bytes) + &interval
        };
        let rows = own(topic).into_iter().map(|it| {
            let saved = it.saved().map_or_else(none, |(share, interval)| {
                let interval = interval
                    .map_or(String::new(), |it| format!("\n[{}, {}]", percent(it.low), percent(it.high)));
                percent(share) + &interval
            });
            let slopes = || [&it.off, &it.on].into_iter().filter_map(|it| it.slope);
            vec![
                it.contender.clone(),
                accel_name(it.accel).to_owned(),
                each(&it.off),
                each(&it.on),
                saved,
                slopes().map(|it| it.climbs).min().map_or_else(none, |it| it.to_string()),
                slopes().map(|it| it.most).reduce(f64::min).map_or_else(none, |it| format!("{it:.0}")),
            ]
        });
        Table { header: header.map(str::to_owned).to_vec(), rows: rows.collect() }
    }
}

/// Those of the topic's mode and state with anything to draw.
fn own(topic: &Topic) -> Vec<Merging> {
    let state = topic.parameters.state.as_deref();
    let wanted = |it: &Merging| it.mode == topic.mode && Some(&*it.state) == state;
    let drawn = |it: &Merging| !it.off.points.is_empty() || !it.on.points.is_empty();
    mergings(topic.document).into_iter().filter(|it| wanted(it) && drawn(it)).collect()
}

fn ink(on: bool) -> Ink {
    if on { Ink::Hue(5) } else { Ink::Hue(3) }
}

fn mark(canvas: &mut Canvas, on: bool, at: (i32, i32)) -> Drawn {
    if on { canvas.dot(at, 3, ink(on).at(1.0)) } else { canvas.ring(at, 4, ink(on).at(1.0)) }
}

fn panel(canvas: &mut Canvas, it: &Merging, (left, top): (i32, i32), width: i32, lang: Lang) -> Drawn {
    let (plot, bottom) = ((left + 68, left + width - 14), top + PLOT.1);
    let points = || it.off.points.iter().chain(&it.on.points);
    let (most, high) =
        points().fold((1.0_f64, 1.0_f64), |(most, high), it| (most.max(it.boxes), high.max(it.value)));
    let grain = if high >= GIB { GIB } else { MIB };
    let (x, y) = (Linear::up_to(most, 1.0, plot), Linear::up_to(high, grain, (bottom, top + PLOT.0)));
    let name = fit(&it.contender, NAME, plot.1 - left - 4);
    canvas.text(&name, (left + 4, top + 12), NAME, Align::Start)?;
    let each = |line: &Line| line.slope.map_or_else(|| "n/a".to_owned(), |it| shown(it.each, Unit::Bytes));
    let head = format!(
        "{}{} · {} {}",
        lang.pick("one more: ", "每多一个："),
        each(&it.off),
        lang.pick("merged", "合并后"),
        each(&it.on)
    );
    canvas.text(&head, (left + 4, top + 30), HEAD, Align::Start)?;
    if let Some((share, _)) = it.saved() {
        let saved = format!("{} {}", lang.pick("saved:", "节省："), percent(share));
        canvas.text(&saved, (left + 4, top + 46), HEAD, Align::Start)?;
    }
    for (at, value) in y.ticks() {
        canvas.line((plot.0, at), (plot.1, at), Ink::Grid.at(1.0), 1)?;
        canvas.text(&trimmed(&shown(value, Unit::Bytes)), (plot.0 - 6, at), HEAD, Align::End)?;
    }
    for (at, value) in x.ticks() {
        canvas.line((at, bottom), (at, bottom + 4), Ink::Grid.at(1.0), 1)?;
        canvas.text(&format!("{value:.0}"), (at, bottom + 15), HEAD, Align::Middle)?;
    }
    for (on, line) in [(false, &it.off), (true, &it.on)] {
        if let Some(slope) = line.slope {
            let at = |boxes: f64| (x.place(boxes), y.place(slope.once + slope.each * boxes));
            let first =
                if slope.each > 0.0 { (-slope.once / slope.each).clamp(0.0, slope.most) } else { 0.0 };
            canvas.line(at(first), at(slope.most), ink(on).at(0.6), 1)?;
        }
        for point in &line.points {
            mark(canvas, on, (x.place(point.boxes), y.place(point.value)))?;
        }
    }
    Ok(())
}
