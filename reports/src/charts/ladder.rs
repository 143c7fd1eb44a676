//! The ladder: time or memory with each mechanism more, and what each adds.

use super::canvas::{Align, Canvas, Drawn, FIGURE, Ink, Label, NAME, SMALL, Type, fit, paint};
use super::lanes::{p_value, trimmed};
use super::scale::Linear;
use super::topic::{Table, Topic};
use super::{Chart, Format};
use crate::document::Unit;
use crate::ladder::{Rung, climb};
use crate::stats::Delta;
use crate::units::shown;
use crate::{Error, Lang};

/// A step per rung: from the median of the rung before to its own; beside it what memory each adds.
pub(super) struct Ladder;

/// Room above the first rung for the heads of the panels, px.
const TOP: i32 = 34;
/// The colour of a step that is no chance; those without a verdict are grey, as some contenders' hues are.
const SURE: Ink = Ink::Hue(3);
/// Half the height of a step, px.
const HALF: i32 = 6;

/// One quantity's part of the drawing.
struct Panel {
    rungs: Vec<Rung>,
    head: &'static str,
    /// Left and right end of the steps, px.
    plot: (i32, i32),
    /// Right end of what each rung adds, in figures, px.
    figures: i32,
    axis: Linear,
}

impl Panel {
    fn new(rungs: Vec<Rung>, head: &'static str, plot: (i32, i32), figures: i32) -> Self {
        let ends = rungs.iter().flat_map(|it| [it.median, it.interval.map(|it| it.high)]).flatten();
        let high = ends.fold(0.0, f64::max);
        let grain = match rungs.first().map(|it| it.unit) {
            Some(Unit::Bytes) if high >= 1_048_576.0 => 1_048_576.0,
            Some(Unit::Bytes) => 1024.0,
            _ => 1.0,
        };
        let axis = Linear::up_to(high, grain, plot);
        Self { rungs, head, plot, figures, axis }
    }
}

/// Where things stand, px.
struct Layout {
    format: Format,
    row: i32,
}

impl Layout {
    fn new(format: Format) -> Self {
        Self { format, row: if format == Format::Wide { 26 } else { 46 } }
    }

    /// Places of the panels: of one, or of two side by side.
    fn panels(&self, two: bool) -> [((i32, i32), i32); 2] {
        match (self.format, two) {
            (Format::Wide, true) => [((162, 470), 572), ((606, 846), 956)],
            (Format::Wide, false) => [((162, 830), 956), ((0, 0), 0)],
            (Format::Narrow, true) => [((6, 196), 246), ((258, 390), 396)],
            (Format::Narrow, false) => [((6, 394), 396), ((0, 0), 0)],
        }
    }

    fn top(&self, index: usize) -> i32 {
        TOP + self.row * index as i32
    }

    /// Height of the names and figures of a rung.
    fn text(&self, index: usize) -> i32 {
        self.top(index) + 13
    }

    /// Middle of a rung's step.
    fn middle(&self, index: usize) -> i32 {
        self.top(index) + if self.format == Format::Wide { 13 } else { 34 }
    }
}

impl Chart for Ladder {
    fn name(&self) -> &'static str {
        "ladder"
    }

    fn title(&self, topic: &Topic, lang: Lang) -> String {
        match topic.quantity {
            "memory" => lang.pick("Host memory, rung by rung", "宿主机内存：逐级累加"),
            _ => lang.pick("Rung by rung", "逐级累加"),
        }
        .to_owned()
    }

    fn caption(&self, topic: &Topic, lang: Lang) -> String {
        let beside = match (second(topic).is_empty(), lang) {
            (true, _) => "",
            (false, Lang::En) => " At the right, in the same way, the host memory of one idle box.",
            (false, Lang::Zh) => "右侧以同样方式给出一个空闲盒子占用的宿主机内存。",
        };
        let failed = match (own(topic).iter().any(|it| it.failed > 0), lang) {
            (false, _) => "",
            (true, Lang::En) => " Red crosses mark rungs of which some samples failed.",
            (true, Lang::Zh) => "红叉标出有失败样本的级。",
        };
        match lang {
            Lang::En => format!(
                "From top to bottom each box has one mechanism more. A bar reaches from the median of the rung before \
                 to the rung's own, marked with its 95 % interval. The figure is what the mechanism adds: the median \
                 of the differences within rounds. \"No verdict\", in grey: the permutation test or the interval does not \
                 show a difference.{beside}{failed}"
            ),
            Lang::Zh => format!(
                "自上而下，每个盒子多一种机制。横条从上一级的中位数延伸到本级的中位数，并标出其 95 % 区间。数字为该机制增加的量：\
                 轮内差值的中位数。灰色的“无结论”表示置换检验或区间未能显示差异。{beside}{failed}"
            ),
        }
    }

    fn applies(&self, topic: &Topic) -> bool {
        topic.climber.is_some()
    }

    fn draw(&self, topic: &Topic, lang: Lang, format: Format) -> Result<String, Error> {
        let layout = Layout::new(format);
        let (rungs, others) = (own(topic), second(topic));
        let places = layout.panels(!others.is_empty());
        let names: Vec<(String, usize)> = rungs.iter().map(|it| (it.name.clone(), it.failed)).collect();
        let bottom = layout.top(names.len());
        let mut panels = vec![Panel::new(rungs, head(topic.quantity, lang), places[0].0, places[0].1)];
        if !others.is_empty() {
            panels.push(Panel::new(others, head("memory", lang), places[1].0, places[1].1));
        }
        let label = Label::of(self, topic, lang, format);
        paint(&label, (format.width(), bottom + 30), |canvas| {
            for index in 0..=names.len() {
                let y = layout.top(index);
                canvas.line((0, y), (format.width(), y), Ink::Grid.at(0.6), 1)?;
            }
            for panel in &panels {
                frame(canvas, &layout, panel, bottom, lang)?;
            }
            for (index, (name, failed)) in names.iter().enumerate() {
                let room = if format == Format::Wide { 152 } else { 165 };
                canvas.text(&fit(name, NAME, room), (4, layout.text(index)), NAME, Align::Start)?;
                for panel in &panels {
                    // The second quantity may lack a rung of the first.
                    let found = panel.rungs.iter().position(|it| it.name == *name);
                    let Some(at) = found else { continue };
                    let before = at.checked_sub(1).and_then(|it| panel.rungs[it].median);
                    step(canvas, &layout, panel, (index, at), before, lang)?;
                }
                if *failed > 0 {
                    canvas.cross((panels[0].plot.1 + 2, layout.middle(index)), Ink::Danger.at(1.0))?;
                }
            }
            Ok(())
        })
    }

    fn table(&self, topic: &Topic, lang: Lang) -> Table {
        let header = [
            lang.pick("rung", "阶梯"),
            lang.pick("samples", "样本数"),
            lang.pick("failed", "失败"),
            lang.pick("median", "中位数"),
            lang.pick("95 % interval", "95 % 区间"),
            lang.pick("adds", "增加"),
            lang.pick("95 % interval", "95 % 区间"),
            lang.pick("verdict", "结论"),
            "p",
        ];
        let none = || "–".to_owned();
        let range = |low: f64, high: f64, unit| format!("{} – {}", shown(low, unit), shown(high, unit));
        let rows = own(topic).into_iter().map(|it| {
            let (unit, adds) = (it.unit, it.adds);
            vec![
                it.name,
                it.n.to_string(),
                it.failed.to_string(),
                it.median.map_or_else(|| "n/a".to_owned(), |it| shown(it, unit)),
                it.interval.map_or_else(|| "n/a".to_owned(), |it| range(it.low, it.high, unit)),
                adds.map_or_else(none, |it| shown(it.delta, unit)),
                adds.and_then(|it| it.interval).map_or_else(none, |it| range(it.low, it.high, unit)),
                adds.map_or_else(none, |it| verdict(&it, lang).to_owned()),
                adds.map_or_else(none, |it| p_value(it.p)),
            ]
        });
        Table { header: header.map(str::to_owned).to_vec(), rows: rows.collect() }
    }
}

fn own(topic: &Topic) -> Vec<Rung> {
    topic.climber.map_or_else(Vec::new, |climber| climb(topic.document, climber, topic.quantity))
}

/// The memory beside the time.
fn second(topic: &Topic) -> Vec<Rung> {
    match (topic.climber, topic.quantity) {
        (Some(climber), "ready") => climb(topic.document, climber, "memory"),
        _ => Vec::new(),
    }
}

fn head(quantity: &str, lang: Lang) -> &'static str {
    match quantity {
        "memory" => lang.pick("host memory", "宿主机内存"),
        _ => lang.pick("time until ready", "就绪用时"),
    }
}

fn verdict(delta: &Delta, lang: Lang) -> &'static str {
    match (delta.is_certain(), delta.delta > 0.0) {
        (false, _) => lang.pick("no verdict", "无结论"),
        (true, true) => lang.pick("adds", "增加"),
        (true, false) => lang.pick("takes away", "减少"),
    }
}

/// The head of a panel, its grid and its axis.
fn frame(canvas: &mut Canvas, layout: &Layout, panel: &Panel, bottom: i32, lang: Lang) -> Drawn {
    let unit = panel.rungs[0].unit;
    canvas.text(panel.head, (panel.plot.0, 16), SMALL, Align::Start)?;
    // On a narrow chart the heads leave no room for it, and the caption says it.
    if layout.format == Format::Wide {
        canvas.text(lang.pick("adds", "增加"), (panel.figures, 16), SMALL, Align::End)?;
    }
    for (at, value) in panel.axis.ticks() {
        for index in 0..((bottom - TOP) / layout.row) as usize {
            let middle = layout.middle(index);
            canvas.line((at, middle - HALF - 4), (at, middle + HALF + 4), Ink::Grid.at(1.0), 1)?;
        }
        let x = at.clamp((panel.plot.0 + 4).max(16), panel.plot.1 - 8);
        canvas.text(&trimmed(&shown(value, unit)), (x, bottom + 15), SMALL, Align::Middle)?;
    }
    Ok(())
}

/// One rung of a panel: the step, the median with its interval, and what it adds.
fn step(
    canvas: &mut Canvas,
    layout: &Layout,
    panel: &Panel,
    (index, at): (usize, usize),
    before: Option<f64>,
    lang: Lang,
) -> Drawn {
    let rung = &panel.rungs[at];
    let (y, place) = (layout.middle(index), |value| panel.axis.place(value));
    let sure = at == 0 || rung.adds.is_some_and(|it| it.is_certain());
    let ink = if sure { SURE } else { Ink::Muted };
    let Some(median) = rung.median else {
        return canvas.text("n/a", (panel.figures, layout.text(index)), SMALL, Align::End);
    };
    // The first rung stands on the ground.
    let from = place(if at == 0 { 0.0 } else { before.unwrap_or(median) });
    let to = place(median);
    let (left, right) = (from.min(to), from.max(to).max(from.min(to) + 1));
    canvas.rectangle((left, y - HALF), (right, y + HALF), ink.at(if sure { 0.55 } else { 0.3 }))?;
    if index > 0 && before.is_some() {
        canvas.line((from, y - layout.row + HALF), (from, y - HALF), Ink::Muted.at(0.5), 1)?;
    }
    if let Some(interval) = rung.interval {
        let (low, high) = (place(interval.low), place(interval.high));
        canvas.line((low, y), (high, y), Ink::Strong.at(0.8), 2)?;
    }
    canvas.line((to, y - HALF - 2), (to, y + HALF + 2), ink.at(1.0), 3)?;
    let right = (panel.figures, layout.text(index));
    match rung.adds {
        // The first rung adds to nothing.
        None if at == 0 => canvas.text(&shown(median, rung.unit), right, FIGURE, Align::End),
        None => canvas.text("n/a", right, SMALL, Align::End),
        Some(adds) if sure => canvas.text(&signed(adds.delta, rung), right, FIGURE, Align::End),
        Some(_) => {
            let small = Type { size: 12.0, ..SMALL };
            canvas.text(lang.pick("no verdict", "无结论"), right, small, Align::End)
        }
    }
}

/// `+12.0 µs`, `−4.00 KiB`.
fn signed(delta: f64, rung: &Rung) -> String {
    let sign = if delta < 0.0 { "−" } else { "+" };
    format!("{sign}{}", shown(delta.abs(), rung.unit))
}
