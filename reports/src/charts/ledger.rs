//! The ledger of one more box: a share bar per contender, its figure beside it, since a machine costs hundreds of
//! times what a container does and no one scale shows both.

use super::canvas::{
    Align, Canvas, Drawn, FIGURE, FILLS, Ink, Label, NAME, SMALL, Type, fit, measure, paint,
};
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
const INSIDE: Type = Type { size: 12.0, ink: Ink::OnFill, bold: false };
/// From one stripe of a pattern to the next, px.
const STRIPES: i32 = 7;

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
                 boxes held, so that what is paid once is not in it. Plain is what the box's own processes have, striped \
                 what the kernel has for them, crossed files in memory, grey what no line explains. A line that could \
                 not be seen is absent, not zero.{holes}"
            ),
            Lang::Zh => format!(
                "每条表示每多一个盒子宿主机多用的内存（数值见右侧），按份额划分：均为对所持盒子数目的斜率，因而不含只付一次的部分。\
                 纯色为盒子自身进程的部分，斜纹为内核为其所用的部分，网纹为内存中的文件，灰色为没有任何一项能解释的部分。看不到的项目不列出，而不是记为零。{holes}"
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
                Look::of(it.name).fill(canvas, (it.x, y - 7), (it.x + SWATCH, y + 7))?;
                canvas.text(line_name(it.name, lang), (it.x + SWATCH + 6, y), SMALL, Align::Start)?;
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

/// How a line is drawn: there are more of them than fills that all eyes tell apart, so that a pattern says which part
/// of the host the line belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Of the box's own processes.
    Plain(usize),
    /// Of the kernel, for the box.
    Striped(usize),
    /// Of files in memory, and of what nobody here knows.
    Crossed(usize),
    /// What no line explains.
    Pale,
}

impl Look {
    /// By the line's place in [`LINES`], which run from the box's own to the host's.
    fn of(name: &str) -> Self {
        if name == REST {
            return Self::Pale;
        }
        let place = LINES.iter().position(|it| *it == name).unwrap_or(LINES.len());
        // Shifted, so that where lines are absent those that meet differ in more than their pattern.
        let fill = (place + 2 * (place / FILLS)) % FILLS;
        match place / FILLS {
            0 => Self::Plain(fill),
            1 => Self::Striped(fill),
            _ => Self::Crossed(fill),
        }
    }

    /// The fill alone.
    fn ground(self, canvas: &mut Canvas, from: (i32, i32), to: (i32, i32)) -> Drawn {
        let color = match self {
            Self::Plain(fill) | Self::Striped(fill) | Self::Crossed(fill) => Ink::Fill(fill).at(1.0),
            Self::Pale => Ink::Muted.at(0.25),
        };
        canvas.rectangle(from, to, color)
    }

    /// The fill with its pattern.
    fn fill(self, canvas: &mut Canvas, from: (i32, i32), to: (i32, i32)) -> Drawn {
        self.ground(canvas, from, to)?;
        let (rising, falling) = match self {
            Self::Plain(_) | Self::Pale => (false, false),
            Self::Striped(_) => (true, false),
            Self::Crossed(_) => (true, true),
        };
        let ((left, top), (right, bottom), height) = (from, to, to.1 - from.1);
        // Each stripe goes from the lower edge to the upper one, cut where the segment ends.
        let mut foot = left - height + STRIPES / 2;
        while foot < right {
            let (low, high) = (foot.max(left), (foot + height).min(right));
            let (rise, rest) = (low - foot, foot + height - high);
            let color = Ink::OnFill.at(0.55);
            if rising {
                canvas.line((low, bottom - rise), (high, top + rest), color, 1)?;
            }
            if falling {
                canvas.line((low, top + rise), (high, bottom - rest), color, 1)?;
            }
            foot += STRIPES;
        }
        Ok(())
    }

    /// What text on it is drawn in.
    fn text(self) -> Type {
        match self {
            Self::Pale => Type { ink: Ink::Strong, ..INSIDE },
            _ => INSIDE,
        }
    }
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
    canvas.text(&fit(&cost.contender, NAME, room), (4, top + 16), NAME, Align::Start)?;
    canvas.text(&fit(&kind, SMALL, room), (4, top + 34), SMALL, Align::Start)?;
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
        let look = Look::of(name);
        look.fill(canvas, (left, top), (right, bottom))?;
        canvas.line((left, top), (left, bottom), Ink::Surface.at(1.0), 1)?;
        let text = line_name(name, lang);
        let width = measure(text, INSIDE) as i32 + 8;
        if layout.format == Format::Wide && width < right - left {
            let (x, y) = (i32::midpoint(left, right), i32::midpoint(top, bottom));
            // Letters are not read on stripes.
            look.ground(canvas, (x - width / 2, top + 4), (x + width / 2, bottom - 4))?;
            canvas.text(text, (x, y), look.text(), Align::Middle)?;
        }
    }
    Ok(())
}

/// Width of the legend's samples of a look: wide enough for a pattern, px.
const SWATCH: i32 = 22;

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
        let needs = SWATCH + 6 + measure(line_name(name, lang), SMALL) as i32 + 20;
        if x + needs > width && x > 4 {
            (x, row) = (4, row + 1);
        }
        let entry = Entry { name, x, row };
        x += needs;
        entry
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::charts::COLOURS;

    #[test]
    fn no_two_lines_look_alike_and_neighbours_differ_in_more_than_their_pattern() {
        let looks: Vec<Look> = LINES.into_iter().chain([REST]).map(Look::of).collect();
        let different: BTreeSet<String> = looks.iter().map(|it| format!("{it:?}")).collect();
        assert_eq!(different.len(), looks.len(), "{looks:?}");
        let fill = |it: &Look| match it {
            Look::Plain(fill) | Look::Striped(fill) | Look::Crossed(fill) => Some(*fill),
            Look::Pale => None,
        };
        assert!(looks.windows(2).all(|it| fill(&it[0]) != fill(&it[1])), "{looks:?}");
    }

    /// A colour of the style sheet, linear.
    fn colour(name: &str) -> [f64; 3] {
        let (_, rest) = COLOURS.split_once(&format!("--{name}:#")).expect(name);
        let part = |at: usize| f64::from(u8::from_str_radix(&rest[at..at + 2], 16).unwrap()) / 255.0;
        [0, 2, 4].map(|at| part(at).powf(2.2))
    }

    /// What those see whose eyes lack the cones for long, middle or short waves (Viénot and others 1999, Brettel
    /// and others 1997), red, green and blue.
    fn seen(colour: [f64; 3]) -> [[f64; 3]; 4] {
        let by = |matrix: [[f64; 3]; 3]| matrix.map(|row| (0..3).map(|it| row[it] * colour[it]).sum::<f64>());
        [
            colour,
            by([[0.1124, 0.8876, 0.0], [0.1124, 0.8876, 0.0], [0.004, -0.004, 1.0]]),
            by([[0.2928, 0.7072, 0.0], [0.2928, 0.7072, 0.0], [-0.0223, 0.0223, 1.0]]),
            by([[1.0, 0.1461, -0.1461], [0.0, 0.8554, 0.1446], [0.0, 0.8554, 0.1446]]),
        ]
    }

    #[test]
    fn fills_are_told_apart_by_all_eyes_and_bear_text() {
        let light = |it: [f64; 3]| 0.2126 * it[0] + 0.7152 * it[1] + 0.0722 * it[2];
        let fills: Vec<[f64; 3]> = (0..FILLS).map(|it| colour(&format!("fill-{it}"))).collect();
        for (index, one) in fills.iter().enumerate() {
            let contrast = (light(*one) + 0.05) / (light(colour("on-fill")) + 0.05);
            assert!(contrast >= 4.5, "text on fill {index}: {contrast}");
            for (beside, other) in fills.iter().enumerate().skip(index + 1) {
                for (eyes, (a, b)) in seen(*one).into_iter().zip(seen(*other)).enumerate() {
                    let gamma = |it: f64| it.clamp(0.0, 1.0).powf(1.0 / 2.2);
                    let far = (0..3).map(|it| (gamma(a[it]) - gamma(b[it])).powi(2)).sum::<f64>().sqrt();
                    assert!(far >= 0.15, "fills {index} and {beside}, eyes {eyes}: {far}");
                }
            }
        }
    }
}
