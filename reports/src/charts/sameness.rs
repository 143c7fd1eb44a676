//! How much of one image is the same in each box.

use super::canvas::{Align, Canvas, Drawn, FIGURE, Ink, Label, NAME, SMALL, fit, paint};
use super::lanes::class_name;
use super::topic::{Table, Topic, accel_name};
use super::{Chart, Format};
use crate::document::{Looked, Sameness};
use crate::sameness::{MEASURE, is_same};
use crate::summary::Summary;
use crate::{Error, Lang};

/// A bar for each box: what is as in the image, and what is not.
pub(super) struct SamenessChart;

/// Height of a lane, px, and in it the middle of the first line and of the bar.
struct Layout {
    lane: i32,
    name: i32,
    bar: i32,
    plot: (i32, i32),
}

impl Layout {
    fn new(format: Format) -> Self {
        match format {
            Format::Wide => Self { lane: 48, name: 15, bar: 24, plot: (232, 740) },
            Format::Narrow => Self { lane: 80, name: 14, bar: 60, plot: (8, 392) },
        }
    }
}

/// The boxes that were looked at, in the order of the topic.
fn looked<'a>(topic: &Topic<'a>) -> Vec<(&'a Summary, Option<&'a Looked>)> {
    let seen = topic.document.sameness.as_ref();
    let of = |lane: &&'a Summary| {
        let own = seen.and_then(|it| it.boxes.iter().find(|it| it.contender == lane.contender));
        (*lane, own)
    };
    topic.lanes.iter().map(of).collect()
}

fn image<'a>(topic: &Topic<'a>) -> Option<&'a Sameness> {
    topic.document.sameness.as_ref()
}

impl Chart for SamenessChart {
    fn name(&self) -> &'static str {
        "sameness"
    }

    fn title(&self, _: &Topic, lang: Lang) -> String {
        lang.pick("One image, looked at in every box", "同一镜像，在每个盒子里查看").to_owned()
    }

    fn caption(&self, topic: &Topic, lang: Lang) -> String {
        let (sum, entries) = image(topic).map_or((String::new(), 0), |it| (it.image.clone(), it.entries));
        match lang {
            Lang::En => format!(
                "A bar is all that the image holds: {entries} files, directories, links, attributes, variables and words of \
                 the command. What differs in a box is red at its end, and named in the table. SHA-256 over all of it, \
                 computed from what the image was made of: `{sum}`."
            ),
            Lang::Zh => format!(
                "横条为镜像所含的全部内容：文件、目录、链接、扩展属性、环境变量与命令参数共 {entries} 项。盒子中不同的部分以红色画在末端，\
                 并在表中逐一列名。由制作镜像的原始内容算出的整体 SHA-256：`{sum}`。"
            ),
        }
    }

    fn applies(&self, topic: &Topic) -> bool {
        topic.measure == MEASURE && !topic.lanes.is_empty()
    }

    fn draw(&self, topic: &Topic, lang: Lang, format: Format) -> Result<String, Error> {
        let (rows, layout) = (looked(topic), Layout::new(format));
        let label = Label::of(self, topic, lang, format);
        paint(&label, (format.width(), 6 + layout.lane * rows.len() as i32), |canvas| {
            for (index, (lane, own)) in (0..).zip(&rows) {
                let own = own.map(|it| (it, image(topic).is_some_and(|seen| is_same(seen, it))));
                row(canvas, &layout, format, 6 + index * layout.lane, lane, own, lang)?;
            }
            Ok(())
        })
    }

    fn table(&self, topic: &Topic, lang: Lang) -> Table {
        let header = [
            lang.pick("contender", "参与者"),
            lang.pick("accel", "加速"),
            lang.pick("content", "内容"),
            "SHA-256",
            lang.pick("entries", "项数"),
            lang.pick("differ", "不同"),
            lang.pick("in what", "何处不同"),
            lang.pick("beside the content", "内容之外"),
        ];
        let none = || "–".to_owned();
        let rows = looked(topic).into_iter().map(|(lane, own)| {
            let cells = match own {
                Some(it) => [
                    state(topic, it, lang).to_owned(),
                    it.digest.get(..16).map_or_else(none, |it| format!("{it}…")),
                    it.entries.to_string(),
                    it.differ.to_string(),
                    if it.differences.is_empty() { none() } else { differences(it) },
                    if it.beside.is_empty() { none() } else { it.beside.join(" ") },
                ],
                None => [why_not(topic, lane, lang), none(), none(), none(), none(), none()],
            };
            [vec![lane.label(lang), accel_name(lane.accel).to_owned()], cells.into()].concat()
        });
        Table { header: header.map(str::to_owned).into(), rows: rows.collect() }
    }
}

fn state(topic: &Topic, it: &Looked, lang: Lang) -> &'static str {
    match image(topic).is_some_and(|seen| is_same(seen, it)) {
        true => lang.pick("the same", "相同"),
        false => lang.pick("differs", "不同"),
    }
}

/// Those that are named, and how many are not.
fn differences(it: &Looked) -> String {
    let more = it.differ.saturating_sub(it.differences.len() as u64);
    let named = it.differences.join("; ");
    if more == 0 { named } else { format!("{named}; +{more}") }
}

fn why_not(topic: &Topic, lane: &Summary, lang: Lang) -> String {
    let detail = topic.series(lane).samples.iter().find_map(|it| it.detail.clone());
    detail.unwrap_or_else(|| lang.pick("not looked at", "未查看").to_owned())
}

fn row(
    canvas: &mut Canvas,
    layout: &Layout,
    format: Format,
    top: i32,
    lane: &Summary,
    own: Option<(&Looked, bool)>,
    lang: Lang,
) -> Drawn {
    canvas.line((0, top), (format.width(), top), Ink::Grid.at(0.6), 1)?;
    let room = if format == Format::Wide { layout.plot.0 - 16 } else { 210 };
    canvas.text(&fit(&lane.label(lang), NAME, room), (4, top + layout.name), NAME, Align::Start)?;
    let kind = format!("{} · {}", class_name(lane.class, lang), accel_name(lane.accel));
    canvas.text(&fit(&kind, SMALL, room), (4, top + layout.name + 19), SMALL, Align::Start)?;
    let right = format.width() - 4;
    let Some((it, same)) = own else {
        let text = lang.pick("not looked at", "未查看");
        return canvas.text(text, (right, top + layout.name), FIGURE, Align::End);
    };
    let (left, end) = layout.plot;
    let all = it.entries.max(it.differ).max(1);
    // What differs is seen however little it is.
    let share = f64::from(end - left) * it.differ as f64 / all as f64;
    let dark = if same { 0 } else { (share as i32).max(4) };
    let (up, down) = (top + layout.bar - 9, top + layout.bar + 9);
    canvas.rectangle((left, up), (end - dark, down), Ink::Fill(2).at(1.0))?;
    if dark > 0 {
        canvas.rectangle((end - dark, up), (end, down), Ink::Danger.at(1.0))?;
    }
    let figure = match (it.differ, lang) {
        _ if same => lang.pick("the same", "相同").to_owned(),
        (0, _) => lang.pick("another digest", "摘要不同").to_owned(),
        (count, Lang::En) => format!("{count} of {all} differ"),
        (count, Lang::Zh) => format!("{all} 项中 {count} 项不同"),
    };
    canvas.text(&figure, (right, top + layout.name), FIGURE, Align::End)?;
    let sum = it.digest.get(..16).unwrap_or_default();
    canvas.text(&format!("{sum}…"), (right, top + layout.name + 19), SMALL, Align::End)
}
