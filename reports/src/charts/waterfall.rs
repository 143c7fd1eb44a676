//! The waterfall: the parts of one start of each contender, one below the other.

use super::canvas::{Align, Canvas, Drawn, FIGURE, Ink, Label, NAME, SMALL, fit, paint};
use super::scale::Linear;
use super::topic::{Table, Topic, accel_name};
use super::{Chart, Format};
use crate::document::{Class, Unit};
use crate::spans::{
    MEASURE, ORDER, median, middle, names, parts, unattributed, unattributed_share, unwatched,
};
use crate::summary::Summary;
use crate::units::{percent, shown};
use crate::{Error, Lang};

/// A block for each contender: a row for each part, whose bar begins where the one above ended.
pub(super) struct Waterfall;

/// Height of a row, px.
const ROW: i32 = 19;
/// Height of a block's head, px.
const HEAD: i32 = 30;
/// Room between blocks, px.
const GAP: i32 = 16;

/// One contender's start.
struct Block<'a> {
    lane: &'a Summary,
    accel: &'static str,
    total: u64,
    /// Name, length in ns.
    parts: Vec<(&'a str, u64)>,
    unattributed: u64,
}

impl<'a> Block<'a> {
    fn of(topic: &Topic<'a>, lane: &'a Summary) -> Option<Self> {
        let sample = middle(topic.series(lane))?;
        Some(Self {
            lane,
            accel: accel_name(lane.accel),
            total: sample.value?,
            parts: parts(sample),
            unattributed: unattributed(sample)?,
        })
    }

    /// Its head, a row for each part, one for what no probe saw, and the gap below.
    fn height(&self) -> i32 {
        HEAD + ROW * (self.parts.len() as i32 + 1) + GAP
    }
}

/// A column of blocks, px.
#[derive(Clone, Copy)]
struct Column {
    left: i32,
    right: i32,
    /// Where its next block begins.
    next: i32,
}

/// Blocks with the places of their upper left corners. Two columns side by side: machines begin at the right, so
/// that both sides stand next to each other, and then each block goes where there is more room.
fn places<'a>(blocks: Vec<Block<'a>>, format: Format) -> (Vec<(Block<'a>, Column)>, i32) {
    let mut columns = match format {
        Format::Wide => {
            vec![Column { left: 0, right: 466, next: 0 }, Column { left: 494, right: 960, next: 0 }]
        }
        Format::Narrow => vec![Column { left: 2, right: 398, next: 0 }],
    };
    let machine = |block: &Block| block.lane.class == Class::Vm;
    let (machines, others): (Vec<_>, Vec<_>) = match format {
        Format::Wide => blocks.into_iter().partition(machine),
        Format::Narrow => (Vec::new(), blocks),
    };
    let mut placed = Vec::new();
    let mut put = |column: &mut Column, block: Block<'a>| {
        let at = *column;
        column.next += block.height();
        placed.push((block, at));
    };
    for block in machines {
        put(&mut columns[1], block);
    }
    for block in others {
        let shortest = columns.iter_mut().min_by_key(|it| it.next);
        if let Some(column) = shortest {
            put(column, block);
        }
    }
    let height = columns.iter().map(|it| it.next).max().unwrap_or(0);
    (placed, height)
}

impl Chart for Waterfall {
    fn name(&self) -> &'static str {
        "waterfall"
    }

    fn title(&self, _: &Topic, lang: Lang) -> String {
        lang.pick("One start of each, part by part", "各自的一次启动：逐段分解").to_owned()
    }

    fn caption(&self, _: &Topic, lang: Lang) -> String {
        lang.pick(
            "For each contender the start in the middle of its watched ones. A bar begins where the one above it ended; \
             its length is all the time that went to this part, even where a start works at it several times. Each block \
             has a scale of its own, from its first call to READY: compare the figures, not the lengths, between blocks. \
             The grey bar at the end, `unattributed`, is what no probe saw.",
            "每个参与者取其被观察的启动中居中的一次。每个横条从上一条的终点开始；其长度为该部分的全部用时，即使一次启动多次处理同一部分。\
             每个图块有各自的刻度，从第一个调用到 READY：图块之间请比较数字而非长度。末尾的灰条 `unattributed` 是任何探针都没看到的时间。",
        )
        .to_owned()
    }

    fn applies(&self, topic: &Topic) -> bool {
        topic.measure == MEASURE && topic.lanes.iter().any(|it| it.n > 0)
    }

    fn draw(&self, topic: &Topic, lang: Lang, format: Format) -> Result<String, Error> {
        let lanes = topic.lanes.iter().filter(|it| !it.is_aa());
        let blocks: Vec<Block> = lanes.filter_map(|lane| Block::of(topic, lane)).collect();
        let (placed, height) = places(blocks, format);
        let label = Label::of(self, topic, lang, format);
        paint(&label, (format.width(), height), |canvas| {
            placed.iter().try_for_each(|(block, column)| draw(canvas, block, *column))
        })
    }

    fn table(&self, topic: &Topic, lang: Lang) -> Table {
        let lanes: Vec<&&Summary> = topic.lanes.iter().filter(|it| !it.is_aa()).collect();
        let all = names(lanes.iter().map(|lane| topic.series(lane)));
        let mut header = vec![
            lang.pick("contender", "参与者").to_owned(),
            lang.pick("samples", "样本数").to_owned(),
            lang.pick("failed", "失败").to_owned(),
            lang.pick("ready, watched", "就绪（被观察）").to_owned(),
            lang.pick("ready, not watched", "就绪（未被观察）").to_owned(),
        ];
        header.extend(all.iter().map(|it| (*it).to_owned()));
        header.push("unattributed".to_owned());
        let absent = || lang.pick("not measured", "未测量").to_owned();
        let time = |it: Option<f64>| it.map_or_else(absent, |it| shown(it, Unit::Ns));
        let rows = lanes.iter().map(|lane| {
            let series = topic.series(lane);
            let mut row = vec![
                lane.contender.clone(),
                lane.n.to_string(),
                lane.failed().to_string(),
                lane.median.map_or_else(|| "n/a".to_owned(), |it| shown(it, Unit::Ns)),
            ];
            row.push(time(unwatched(topic.document, series)));
            row.extend(all.iter().map(|name| match median(series, name) {
                None if !can_have(lane.class, name) => "–".to_owned(),
                it => time(it),
            }));
            row.push(unattributed_share(series).map_or_else(|| "n/a".to_owned(), percent));
            row
        });
        Table { rows: rows.collect(), header }
    }
}

/// Whether a start of this class can have this part at all.
fn can_have(class: Class, name: &str) -> bool {
    match name {
        "payload" | "notice" => true,
        "vmm" | "machine" | "firmware" | "kernel" | "boot" | "modules" | "init" | "resume" | "answer"
        | "touch" => class == Class::Vm,
        _ => class != Class::Vm,
    }
}

/// The hue of a span; those that stand next to each other differ.
fn ink(name: &str) -> Ink {
    ORDER.iter().position(|it| *it == name).map_or(Ink::Strong, |index| Ink::Hue(index + 2))
}

fn draw(canvas: &mut Canvas, block: &Block, Column { left, right, next }: Column) -> Drawn {
    let (bars, figures) = ((left + 104, right - 86), right - 4);
    let head = next + 13;
    let total = shown(block.total as f64, Unit::Ns);
    canvas.text(&fit(&block.lane.contender, NAME, 170), (left, head), NAME, Align::Start)?;
    if block.accel != "native" {
        let beside = left + 20 + (block.lane.contender.chars().count().min(20) as i32) * 10;
        canvas.text(block.accel, (beside, head), SMALL, Align::Start)?;
    }
    canvas.text(&total, (figures, head), FIGURE, Align::End)?;
    canvas.line((left, next + HEAD - 5), (right, next + HEAD - 5), Ink::Grid.at(1.0), 1)?;
    // No air at its end: the bars fill the width.
    let axis = Linear::up_to(block.total as f64 / 1.04, 1.0, bars);
    let bottom = next + HEAD + ROW * (block.parts.len() as i32 + 1);
    for at in [bars.0, bars.1] {
        canvas.line((at, next + HEAD - 5), (at, bottom), Ink::Grid.at(1.0), 1)?;
    }
    let unattributed = [("unattributed", block.unattributed)];
    let mut before = 0;
    for (row, (name, ns)) in block.parts.iter().chain(&unattributed).enumerate() {
        let middle = next + HEAD + ROW * row as i32 + ROW / 2;
        let unseen = row == block.parts.len();
        let (from, to) = (axis.place(before as f64), axis.place((before + ns) as f64));
        // What is there can be seen, however short.
        let to = if *ns > 0 { to.max(from + 1) } else { to };
        let ink = if unseen { Ink::Muted.at(0.45) } else { ink(name).at(0.85) };
        canvas.text(&fit(name, SMALL, 98), (left, middle), SMALL, Align::Start)?;
        if to > from {
            canvas.rectangle((from, middle - 6), (to, middle + 6), ink)?;
        }
        let figure = match unseen {
            true => percent(*ns as f64 / block.total.max(1) as f64),
            false => shown(*ns as f64, Unit::Ns),
        };
        canvas.text(&figure, (figures, middle), SMALL, Align::End)?;
        before += ns;
    }
    Ok(())
}
