//! What it takes to fetch an image, another that shares its layers, and an update: time and bytes beside each other.

use super::canvas::{Align, Canvas, Drawn, FIGURE, HUES, Ink, Label, NAME, SMALL, Type, fit, paint};
use super::lanes::{class_name, tick};
use super::scale::Linear;
use super::topic::{Table, Topic};
use super::{Chart, Format};
use crate::disk::form_name;
use crate::document::Unit;
use crate::stats::Ratio;
use crate::transfer::{Fetched, Figure, STEPS, Step, fetched};
use crate::units::{percent, shown};
use crate::{Error, Lang};

/// Two bars for each transfer of each contender.
pub(super) struct Transfer;

/// Room above the first contender for the heads of the panels, px.
const TOP: i32 = 30;

/// A transfer in words.
pub(crate) fn step_name(step: &str, lang: Lang) -> &str {
    match step {
        "first" => lang.pick("first image", "首个镜像"),
        "second" => lang.pick("second, shared layers", "第二个，共享层"),
        "update" => lang.pick("one layer updated", "更新其中一层"),
        other => other,
    }
}

/// Where things stand, px.
struct Layout {
    format: Format,
    /// Height of a transfer, and of the name above three of them.
    row: i32,
    head: i32,
    /// Left and right end of the bars for time and for bytes.
    plots: [(i32, i32); 2],
}

impl Layout {
    fn new(format: Format) -> Self {
        match format {
            Format::Wide => Self { format, row: 24, head: 8, plots: [(342, 570), (662, 872)] },
            Format::Narrow => Self { format, row: 42, head: 28, plots: [(6, 180), (214, 392)] },
        }
    }

    fn group(&self) -> i32 {
        self.head + 3 * self.row + 6
    }

    fn top(&self, group: usize) -> i32 {
        TOP + self.group() * group as i32
    }

    fn text(&self, group: usize, step: usize) -> i32 {
        self.top(group) + self.head + self.row * step as i32 + 11
    }

    /// Middle of a transfer's bars.
    fn bar(&self, group: usize, step: usize) -> i32 {
        self.text(group, step) + if self.format == Format::Wide { 0 } else { 18 }
    }
}

/// The two figures of a transfer, in the order of the panels.
fn figures(step: &Step) -> [(&Figure, Unit); 2] {
    [(&step.time, Fetched::TIME), (&step.wire, Fetched::WIRE)]
}

impl Chart for Transfer {
    fn name(&self) -> &'static str {
        "transfer"
    }

    fn title(&self, _: &Topic, lang: Lang) -> String {
        lang.pick("Time, and bytes that travel", "时间与传输字节数").to_owned()
    }

    fn caption(&self, _: &Topic, lang: Lang) -> String {
        lang.pick(
            "Medians, from zero; the thin line through a bar is its 95 % interval. The registry is on this host, at the other \
             end of a loopback interface: there is no wide-area network in the time, which is checking, unpacking and storing. \
             The bytes are what would cross a real line: divide them by its speed and add that.",
            "中位数，自零起；横条中的细线为其 95 % 区间。仓库就在本机，位于回环接口的另一端：时间中不含广域网，只有校验、解包与存储。\
             字节数则是真实线路上会传输的量：除以线路速度后加上即可。",
        )
        .to_owned()
    }

    fn applies(&self, topic: &Topic) -> bool {
        topic.quantity == "pull" && topic.is_of_transfers()
    }

    fn draw(&self, topic: &Topic, lang: Lang, format: Format) -> Result<String, Error> {
        let (all, layout) = (fetched(topic.document), Layout::new(format));
        let bottom = layout.top(all.len());
        let axes = [0, 1].map(|panel| {
            let each = all.iter().flat_map(|it| &it.steps).map(|it| figures(it)[panel].0);
            let ends = each.flat_map(|it| [it.median, it.interval.map(|it| it.high)]).flatten();
            let grain = if panel == 0 { 1e6 } else { 1_048_576.0 };
            Linear::up_to(ends.fold(0.0, f64::max), grain, layout.plots[panel])
        });
        let label = Label::of(self, topic, lang, format);
        paint(&label, (format.width(), bottom + 30), |canvas| {
            frame(canvas, &layout, &axes, (all.len(), bottom), lang)?;
            for (group, it) in all.iter().enumerate() {
                name(canvas, &layout, group, it, lang)?;
                let place = topic.document.contenders.iter().position(|row| row.name == it.contender);
                let ink = Ink::Hue(place.unwrap_or(0) % HUES);
                for (number, step) in it.steps.iter().enumerate() {
                    transfer(canvas, &layout, &axes, (group, number), step, ink, lang)?;
                }
            }
            Ok(())
        })
    }

    fn table(&self, topic: &Topic, lang: Lang) -> Table {
        let header = [
            lang.pick("contender", "参与者"),
            lang.pick("fetched", "拉取"),
            lang.pick("samples", "样本数"),
            lang.pick("failed", "失败"),
            lang.pick("time", "时间"),
            lang.pick("of the first", "相对首个"),
            lang.pick("bytes", "字节"),
            lang.pick("of the first", "相对首个"),
        ];
        let none = || "–".to_owned();
        let all = fetched(topic.document);
        let rows = all.iter().flat_map(|it| {
            it.steps.iter().zip(STEPS).map(|(step, name)| {
                let figure = |it: &Figure, unit: Unit| {
                    let interval = it.interval.map_or(String::new(), |it| {
                        format!("\n[{}, {}]", shown(it.low, unit), shown(it.high, unit))
                    });
                    it.median.map_or_else(none, |it| format!("{}{interval}", shown(it, unit)))
                };
                let share = |it: &Option<Ratio>| {
                    it.as_ref().map_or_else(none, |it| {
                        let interval = it.interval.map_or(String::new(), |it| {
                            format!("\n[{}, {}]", percent(it.low), percent(it.high))
                        });
                        format!("{}{interval}", percent(it.ratio))
                    })
                };
                vec![
                    it.label(lang),
                    step_name(name, lang).to_owned(),
                    step.time.n.to_string(),
                    step.time.failed.to_string(),
                    figure(&step.time, Fetched::TIME),
                    share(&step.time.of_first),
                    figure(&step.wire, Fetched::WIRE),
                    share(&step.wire.of_first),
                ]
            })
        });
        Table { header: header.map(str::to_owned).into(), rows: rows.collect() }
    }
}

/// Heads, lines between contenders, and the grids of both panels.
fn frame(
    canvas: &mut Canvas,
    layout: &Layout,
    axes: &[Linear; 2],
    (count, bottom): (usize, i32),
    lang: Lang,
) -> Drawn {
    for group in 0..=count {
        let y = layout.top(group);
        canvas.line((0, y), (layout.format.width(), y), Ink::Grid.at(0.6), 1)?;
    }
    let heads = [lang.pick("time", "时间"), lang.pick("bytes that travel", "传输字节数")];
    let units = [Fetched::TIME, Fetched::WIRE];
    for (((axis, plot), head), unit) in axes.iter().zip(layout.plots).zip(heads).zip(units) {
        canvas.text(head, (plot.0, 14), SMALL, Align::Start)?;
        for (at, value) in axis.ticks() {
            canvas.line((at, TOP), (at, bottom), Ink::Grid.at(1.0), 1)?;
            let text = if value > 0.0 { tick(value, unit) } else { "0".to_owned() };
            let x = at.clamp(22, layout.format.width() - 26);
            canvas.text(&text, (x, bottom + 14), SMALL, Align::Middle)?;
        }
    }
    Ok(())
}

/// Who fetched, and in which way.
fn name(canvas: &mut Canvas, layout: &Layout, group: usize, it: &Fetched, lang: Lang) -> Drawn {
    let class = class_name(it.class, lang);
    let way = it.form.as_deref().map_or(class, |it| form_name(it, lang));
    if layout.format == Format::Wide {
        let first = layout.text(group, 0);
        canvas.text(&fit(&it.contender, NAME, 160), (4, first), NAME, Align::Start)?;
        return canvas.text(&fit(way, SMALL, 172), (4, first + 19), SMALL, Align::Start);
    }
    let y = layout.top(group) + 16;
    canvas.text(&fit(&it.contender, NAME, 150), (4, y), NAME, Align::Start)?;
    canvas.text(&fit(way, SMALL, 230), (392, y), SMALL, Align::End)
}

/// The bars of one transfer, with its figures.
fn transfer(
    canvas: &mut Canvas,
    layout: &Layout,
    axes: &[Linear; 2],
    (group, number): (usize, usize),
    step: &Step,
    ink: Ink,
    lang: Lang,
) -> Drawn {
    let (text, middle) = (layout.text(group, number), layout.bar(group, number));
    let left = if layout.format == Format::Wide { 182 } else { 6 };
    let words = step_name(STEPS[number], lang);
    canvas.text(&fit(words, SMALL, 156), (left, text), SMALL, Align::Start)?;
    let ends = if layout.format == Format::Wide { [640, 956] } else { [286, 392] };
    for (panel, (figure, unit)) in figures(step).into_iter().enumerate() {
        let at = (ends[panel], text);
        let Some(median) = figure.median else {
            canvas.cross((layout.plots[panel].0 + 6, middle), Ink::Danger.at(1.0))?;
            let failed = Type { ink: Ink::Danger, ..FIGURE };
            canvas.text(lang.pick("failed", "失败"), at, failed, Align::End)?;
            continue;
        };
        let (start, end) = (layout.plots[panel].0, axes[panel].place(median));
        // However little it is, it is seen.
        canvas.rectangle((start, middle - 7), (end.max(start + 2), middle + 7), ink.at(0.85))?;
        if let Some(interval) = figure.interval {
            let (low, high) = (axes[panel].place(interval.low), axes[panel].place(interval.high));
            canvas.rectangle((low, middle - 1), (high.max(low + 1), middle + 1), Ink::Strong.at(1.0))?;
        }
        if figure.failed > 0 {
            canvas.cross((end + 8, middle), Ink::Danger.at(1.0))?;
        }
        canvas.text(&shown(median, unit), at, FIGURE, Align::End)?;
    }
    Ok(())
}
