//! One chapter per measure: the question, the charts, how it was measured, what it does not show, and the
//! exact command lines.

use maud::{Markup, PreEscaped, html};

use super::parts::{prose, scroll, shell, table};
use crate::audit::lab_share;
use crate::charts::{self, Format, Table, Topic, accel_name};
use crate::document::{Contender, Document, Status, Unit};
use crate::network::Cost;
use crate::summary::against;
use crate::units::{digits, shown};
use crate::{Error, Lang};

mod boxes;
mod fleet;
mod kept;
mod weight;
mod words;

pub(super) use words::title;

/// Above this many samples a topic is drawn once, not twice.
const NARROW_UP_TO: usize = 10_000;

pub(super) fn chapter(
    document: &Document,
    measure: &str,
    topics: &[Topic],
    lang: Lang,
) -> Result<Markup, Error> {
    let mut own: Vec<&Topic> = topics.iter().filter(|it| it.measure == measure && is_drawn(it)).collect();
    // What was seen on the way to a limit stands in the document before it, and is told after it.
    own.sort_by_key(|it| it.along.is_some() && measure == crate::density::MEASURE);
    let drawn = own.iter().map(|topic| topic_section(topic, lang)).collect::<Result<Vec<_>, _>>()?;
    let words = words::of(measure);
    Ok(html! {
        section id=(measure) {
            h2 { (title(measure, lang)) }
            @if let Some(words) = &words { p.question { (prose(lang.pick(words.question.0, words.question.1))) } }
            (weight::weight(document, measure, lang))
            @for section in drawn { (section) }
            @if let Some(words) = &words {
                div.two {
                    section {
                        h3 { (lang.pick("How it was measured", "如何测量")) }
                        ul { @for it in words.how { li { (prose(lang.pick(it.0, it.1))) } } }
                    }
                    section {
                        h3 { (lang.pick("What it does not show", "它不能说明什么")) }
                        ul { @for it in words.not_shown { li { (prose(lang.pick(it.0, it.1))) } } }
                    }
                }
            }
            (network(document, measure, lang))
            (boxes::boxes(document, measure, lang))
            (kept::together(document, measure, lang))
            (fleet::fleet(document, measure, lang))
            (lab(document, measure, lang))
            (commands(document, measure, lang))
        }
    })
}

/// Whether a topic has a section: those of boxes held together share drawings, and some have none of their own.
fn is_drawn(topic: &Topic) -> bool {
    !topic.is_of_held_boxes() || charts::ALL.iter().any(|it| it.applies(topic))
}

/// One quantity under one setting: its charts, each with its table.
fn topic_section(topic: &Topic, lang: Lang) -> Result<Markup, Error> {
    let samples: usize = topic.lanes.iter().map(|it| it.n + it.failed()).sum();
    let mut figures = Vec::new();
    for chart in charts::ALL.iter().filter(|it| it.applies(topic)) {
        let name = chart.title(topic, lang);
        let wide = PreEscaped(chart.draw(topic, lang, Format::Wide)?);
        // Each dot counts: with very many of them the small screen gets the large drawing, to scroll.
        let narrow = match samples <= NARROW_UP_TO || topic.is_of_held_boxes() {
            true => Some(PreEscaped(chart.draw(topic, lang, Format::Narrow)?)),
            false => None,
        };
        figures.push(html! {
            figure {
                h4 { (name) }
                @match &narrow {
                    Some(narrow) => { div.wide { (wide) } div.narrow { (narrow) } }
                    None => { (scroll(&name, lang, &wide)) }
                }
                figcaption { (prose(&chart.caption(topic, lang))) }
                (table(&name, &chart.table(topic, lang), lang))
            }
        });
    }
    Ok(html! {
        section.topic id=(topic.id()) {
            h3 { (words::quantity(topic.measure, topic.quantity, lang)) " " span.setting { (topic.setting(lang)) } }
            @for figure in figures { (figure) }
            @if matches!(topic.quantity, "ready" | "reachable") && topic.climber.is_none() && topic.along.is_none() && !topic.is_watched() { (matrix(topic, lang)) }
        }
    })
}

/// Everybody against everybody: the row's value divided by the column's, paired within rounds.
fn matrix(topic: &Topic, lang: Lang) -> Markup {
    const MOST: usize = 14;
    let lanes: Vec<_> = topic.lanes.iter().filter(|it| !it.is_aa() && it.n > 0).take(MOST).collect();
    if lanes.len() < 2 {
        return html! {};
    }
    let name = lang.pick("Everybody against everybody", "两两相比");
    let mut header = vec![lang.pick("row / column", "行 / 列").to_owned()];
    header.extend(lanes.iter().map(|it| it.contender.clone()));
    let rows = lanes.iter().map(|lane| {
        let mut row = vec![lane.contender.clone()];
        row.extend(lanes.iter().map(|base| {
            let found = against(topic.document, topic.series(lane), &base.contender);
            found.map_or_else(
                || "–".to_owned(),
                |it| {
                    let interval = it
                        .ratio
                        .interval
                        .map_or(String::new(), |it| format!("\n[{}, {}]", digits(it.low), digits(it.high)));
                    let mark = if it.caveat.is_some() { " *" } else { "" };
                    format!("{}{mark}{interval}", digits(it.ratio.ratio))
                },
            )
        }));
        row
    });
    let rows: Vec<_> = rows.collect();
    html! {
        h4 { (name) }
        p.note { (lang.pick(
            "How many times the row takes what the column takes: median ratio within rounds, 95 % interval in brackets. \
             * marks a ratio between accel classes, a bound and not a comparison.",
            "行相对于列的倍数：轮内比值的中位数，方括号内为 95 % 区间。* 表示跨加速类别的比值，只是界限而非比较。",
        )) }
        (table(name, &Table { header, rows }, lang))
    }
}

/// What a network adds to the start of each box, in the chapter that asks it.
fn network(document: &Document, measure: &str, lang: Lang) -> Markup {
    let costs = crate::network::costs(document);
    if measure != crate::network::MEASURE || costs.is_empty() {
        return html! {};
    }
    let figure = |it: Option<f64>| it.map_or_else(|| "–".to_owned(), |it| shown(it, Cost::UNIT));
    let header = [
        lang.pick("contender", "参与者"),
        lang.pick("network", "网络"),
        lang.pick("ready without", "无网络时就绪"),
        lang.pick("ready with", "有网络时就绪"),
        lang.pick("the network adds", "网络增加"),
        lang.pick("of it loading modules", "其中加载模块"),
        lang.pick("reachable", "可达"),
        lang.pick("reachable / ready without", "可达 / 无网络时就绪"),
    ];
    let rows = costs.iter().map(|it| {
        let adds = it.adds.as_ref().map_or_else(
            || "–".to_owned(),
            |it| {
                let interval = it.interval.map_or(String::new(), |it| {
                    format!("\n[{}, {}]", shown(it.low, Cost::UNIT), shown(it.high, Cost::UNIT))
                });
                format!("{}{interval}", shown(it.delta, Cost::UNIT))
            },
        );
        let ratio = it.ratio.as_ref().map_or_else(
            || "–".to_owned(),
            |it| {
                let interval = it
                    .interval
                    .map_or(String::new(), |it| format!("\n[{}, {}]", digits(it.low), digits(it.high)));
                format!("{}{interval}", digits(it.ratio))
            },
        );
        let (without, with) = (figure(it.without), figure(it.with));
        vec![
            it.contender.clone(),
            it.network.clone(),
            without,
            with,
            adds,
            figure(it.modules),
            figure(it.reachable),
            ratio,
        ]
    });
    let table_of = Table { header: header.map(str::to_owned).into(), rows: rows.collect() };
    let name = lang.pick("What the network adds", "网络增加了什么");
    html! {
        section.topic id="connected" {
            h3 { (name) }
            p.note { (lang.pick(
                "Medians; the difference and the ratio are medians of those within rounds, 95 % intervals in brackets.",
                "均为中位数；差值与比值为轮内差值与比值的中位数，方括号内为 95 % 区间。",
            )) }
            (table(name, &table_of, lang))
        }
    }
}

/// What the lab itself adds, beside the row that shows it.
fn lab(document: &Document, measure: &str, lang: Lang) -> Markup {
    let Some((share, rounds)) = lab_share(document).filter(|_| measure == "startup") else { return html! {} };
    let share = shown(share, Unit::Ns);
    html! { p.note { (prose(&match lang {
        Lang::En => format!(
            "The lab's own share: on `process` it adds {share} to the `hand-loop`, a hand-written loop that does the \
             same (median of the paired differences of {rounds} rounds; at most 50 µs is aimed at). Nothing is \
             subtracted for it."
        ),
        Lang::Zh => format!(
            "测试框架自身的份额：在 `process` 上比手写循环 `hand-loop` 多用 {share}（{rounds} 轮成对差值的中位数；目标不超过 \
             50 µs）。结果中不予扣除。"
        ),
    })) } }
}

/// The exact command lines, with what is inside the clock and what the tool could not express.
fn commands(document: &Document, measure: &str, lang: Lang) -> Markup {
    let took_part = |it: &&Contender| {
        it.status != Status::Skipped
            && document.series.iter().any(|series| series.measure == measure && series.contender == it.name)
    };
    html! {
        h3 { (lang.pick("Exact command lines", "确切的命令行")) }
        @for row in document.contenders.iter().filter(took_part) {
            article.command {
                h4 { (row.name) " " span.setting { (accel_name(row.accel)) " · " (row.version) " · " (lang.pick("channel ", "通道 ")) (row.channel) } }
                @if !row.about.is_empty() { p.note { (row.about) } }
                pre tabindex="0" { code { (shell(&row.command)) } }
                @if !row.inside_clock.is_empty() {
                    p.note { b { (lang.pick("Inside the clock: ", "计时之内：")) } (row.inside_clock.join(" → ")) }
                }
                @if let Some(fetch) = row.fetch.as_ref().filter(|_| measure == crate::disk::MEASURE) {
                    p.note { (lang.pick("What fetches an image:", "拉取镜像的命令：")) }
                    @for command in &fetch.commands { pre tabindex="0" { code { (shell(command)) } } }
                    p.note { b { (lang.pick("Inside its clock: ", "其计时之内：")) } (fetch.inside_clock.join(" → ")) }
                }
                @if !row.not_expressed.is_empty() {
                    p.note { b { (lang.pick("Not expressed or not applied: ", "未能表达或未生效：")) } (row.not_expressed.join("; ")) }
                }
            }
        }
    }
}
