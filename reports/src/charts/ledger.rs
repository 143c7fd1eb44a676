//! The ledger of one more box: a share bar per contender, its figure beside it, since a machine costs hundreds of
//! times what a container does and no one scale shows both.

use super::canvas::{Align, Canvas, Drawn, FIGURE, Ink, Label, NAME, SMALL, Type, fit, measure, paint};
use super::lanes::class_name;
use super::topic::{Table, Topic, accel_name};
use super::{Chart, Format};
use crate::document::Unit;
use crate::memory::{Cost, LINES, Ledger, Method, costs_of, line_name};
use crate::units::{percent, shown};
use crate::{Error, Lang};

/// Where the host's memory for one more box goes.
pub(super) struct LedgerChart;

const TOP: i32 = 8;
/// The name of what no line explains, as if it were one.
const REST: &str = "unexplained";
/// Text on a segment.
const INSIDE: Type = Type { size: 12.0, ink: Ink::Strong, bold: false };

/// Where things stand, px.
struct Layout {
    format: Format,
    /// Left and right end of the bars.
    bar: (i32, i32),
    row: i32,
}

impl Layout {
    fn new(format: Format) -> Self {
        match format {
            Format::Wide => Self { format, bar: (190, 800), row: 52 },
            Format::Narrow => Self { format, bar: (4, 396), row: 84 },
        }
    }

    fn top(&self, index: usize) -> i32 {
        TOP + self.row * index as i32
    }

    /// Upper and lower edge of a bar.
    fn edges(&self, index: usize) -> (i32, i32) {
        let top = self.top(index) + if self.format == Format::Wide { 13 } else { 46 };
        (top, top + 26)
    }
}

impl Chart for LedgerChart {
    fn name(&self) -> &'static str {
        "ledger"
    }

    fn title(&self, _: &Topic, lang: Lang) -> String {
        lang.pick("Where one more box's memory goes", "每多一个盒子，内存用在哪里").to_owned()
    }

    fn caption(&self, topic: &Topic, lang: Lang) -> String {
        let holes: Vec<String> = accounted(topic)
            .into_iter()
            .filter(|(_, ledger)| !ledger.adds_up())
            .map(|(cost, ledger)| format!("`{}` {}", cost.contender, percent(ledger.share)))
            .collect();
        let holes = match (holes.is_empty(), lang) {
            (true, _) => String::new(),
            (_, Lang::En) => {
                format!(
                    " More than 15 % is unexplained, so that the ledger has a hole, for {}.",
                    holes.join(", ")
                )
            }
            (_, Lang::Zh) => format!("未解释部分超过 15 %、账目有缺口的有：{}。", holes.join("，")),
        };
        match lang {
            Lang::En => format!(
                "Each bar is what the host uses more for one more box, the figure at its right, as shares: slopes over the \
                 boxes held, so that what is paid once is not in it. What no line explains is grey. A line that could \
                 not be seen is absent, not zero.{holes}"
            ),
            Lang::Zh => format!(
                "每条表示每多一个盒子宿主机多用的内存（数值见右侧），按份额划分：均为对所持盒子数目的斜率，因而不含只付一次的部分。\
                 灰色为没有任何一项能解释的部分。看不到的项目不列出，而不是记为零。{holes}"
            ),
        }
    }

    fn applies(&self, topic: &Topic) -> bool {
        topic.quantity == Method::Host.quantity() && !accounted(topic).is_empty()
    }

    fn draw(&self, topic: &Topic, lang: Lang, format: Format) -> Result<String, Error> {
        let (rows, layout) = (accounted(topic), Layout::new(format));
        let bottom = layout.top(rows.len());
        let legend = legend(&rows, lang, format.width());
        let height = bottom + 14 + 22 * (legend.last().map_or(0, |it| it.row) + 1);
        let label = Label::of(self, topic, lang, format);
        paint(&label, (format.width(), height), |canvas| {
            for index in 0..=rows.len() {
                let y = layout.top(index);
                canvas.line((0, y), (format.width(), y), Ink::Grid.at(0.6), 1)?;
            }
            for (index, (cost, ledger)) in rows.iter().enumerate() {
                head(canvas, &layout, index, cost, ledger, lang)?;
                bar(canvas, &layout, index, ledger, lang)?;
            }
            for it in &legend {
                let y = bottom + 20 + 22 * it.row;
                canvas.rectangle((it.x, y - 6), (it.x + 12, y + 6), ink(it.name).at(shade(it.name)))?;
                canvas.text(line_name(it.name, lang), (it.x + 18, y), SMALL, Align::Start)?;
            }
            Ok(())
        })
    }

    fn table(&self, topic: &Topic, lang: Lang) -> Table {
        let rows = accounted(topic);
        let names: Vec<&str> = names(&rows).into_iter().filter(|it| *it != REST).collect();
        let mut header = vec![
            lang.pick("contender", "参与者").to_owned(),
            lang.pick("host, one more box", "宿主机，每多一个").to_owned(),
            lang.pick("unexplained", "未解释").to_owned(),
            lang.pick("its share", "份额").to_owned(),
            lang.pick("beside guest RAM and translation cache", "客户机内存与翻译缓存之外").to_owned(),
        ];
        header.extend(names.iter().map(|it| line_name(it, lang).to_owned()));
        let figure = |it: Option<f64>| it.map_or_else(|| "–".to_owned(), |it| shown(it, Unit::Bytes));
        let rows = rows.iter().map(|(cost, ledger)| {
            let rest = ledger.interval.map_or(String::new(), |it| {
                format!("\n[{}, {}]", shown(it.low, Unit::Bytes), shown(it.high, Unit::Bytes))
            });
            let mut row = vec![
                cost.contender.clone(),
                total(cost),
                shown(ledger.unexplained, Unit::Bytes) + &rest,
                percent(ledger.share),
                figure(ledger.beside_guest),
            ];
            row.extend(names.iter().map(|name| figure(ledger.line(name))));
            row
        });
        Table { header, rows: rows.collect() }
    }
}

/// The costs of the topic that have a ledger.
fn accounted(topic: &Topic) -> Vec<(Cost, Ledger)> {
    let costs = costs_of(topic).into_iter();
    costs.filter_map(|it| it.ledger.clone().map(|ledger| (it, ledger))).collect()
}

fn total(cost: &Cost) -> String {
    cost.by(Method::Host).map_or_else(|| "n/a".to_owned(), |it| shown(it.each, Unit::Bytes))
}

/// The lines that some bar has, in order, and what is left.
fn names(rows: &[(Cost, Ledger)]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for line in rows.iter().flat_map(|it| &it.1.lines) {
        if !names.contains(&&*line.name) {
            names.push(&line.name);
        }
    }
    names.sort_by_key(|name| LINES.iter().position(|it| it == name).unwrap_or(LINES.len()));
    names.push(REST);
    names
}

fn ink(name: &str) -> Ink {
    match name {
        REST => Ink::Muted,
        _ => Ink::Hue(LINES.iter().position(|it| *it == name).unwrap_or(LINES.len())),
    }
}

/// What nobody explains is paler than what is known.
fn shade(name: &str) -> f64 {
    if name == REST { 0.25 } else { 0.5 }
}

fn head(
    canvas: &mut Canvas,
    layout: &Layout,
    index: usize,
    cost: &Cost,
    ledger: &Ledger,
    lang: Lang,
) -> Drawn {
    let (top, right) = (layout.top(index), layout.format.width() - 4);
    let kind = format!("{} · {}", class_name(cost.class, lang), accel_name(cost.accel));
    let room = if layout.format == Format::Wide { 176 } else { 230 };
    canvas.text(&fit(&cost.contender, NAME.size, room), (4, top + 16), NAME, Align::Start)?;
    canvas.text(&fit(&kind, SMALL.size, room), (4, top + 34), SMALL, Align::Start)?;
    canvas.text(&total(cost), (right, top + 16), FIGURE, Align::End)?;
    let rest = format!("{} {}", percent(ledger.share), lang.pick("unexplained", "未解释"));
    canvas.text(&rest, (right, top + 34), SMALL, Align::End)
}

/// One bar: its segments as shares of the host's use, or of what the lines see where that is more.
fn bar(canvas: &mut Canvas, layout: &Layout, index: usize, ledger: &Ledger, lang: Lang) -> Drawn {
    let (top, bottom) = layout.edges(index);
    let segments = ledger.lines.iter().map(|it| (&*it.name, it.each)).chain([(REST, ledger.unexplained)]);
    let segments: Vec<(&str, f64)> = segments.filter(|it| it.1 > 0.0).collect();
    let whole: f64 = segments.iter().map(|it| it.1).sum();
    let place =
        |value: f64| layout.bar.0 + (value / whole * f64::from(layout.bar.1 - layout.bar.0)).round() as i32;
    let mut before = 0.0;
    for (name, value) in segments {
        let (left, right) = (place(before), place(before + value));
        before += value;
        if right <= left {
            continue;
        }
        canvas.rectangle((left, top), (right, bottom), ink(name).at(shade(name)))?;
        canvas.line((left, top), (left, bottom), Ink::Surface.at(1.0), 1)?;
        let text = line_name(name, lang);
        if layout.format == Format::Wide && measure(text, INSIDE.size) + 8.0 < f64::from(right - left) {
            canvas.text(
                text,
                (i32::midpoint(left, right), i32::midpoint(top, bottom)),
                INSIDE,
                Align::Middle,
            )?;
        }
    }
    Ok(())
}

/// An entry of the legend.
struct Entry<'a> {
    name: &'a str,
    x: i32,
    row: i32,
}

/// As many beside each other as fit.
fn legend(rows: &[(Cost, Ledger)], lang: Lang, width: i32) -> Vec<Entry<'_>> {
    let (mut x, mut row) = (4, 0);
    let each = names(rows).into_iter().map(|name| {
        let needs = 18 + measure(line_name(name, lang), SMALL.size) as i32 + 20;
        if x + needs > width && x > 4 {
            (x, row) = (4, row + 1);
        }
        let entry = Entry { name, x, row };
        x += needs;
        entry
    });
    each.collect()
}
