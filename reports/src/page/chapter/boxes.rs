//! What the boxes are in which one image was looked at: expected to differ.

use maud::{Markup, html};

use super::super::parts::{prose, table};
use crate::Lang;
use crate::charts::Table;
use crate::document::{Document, Looked};
use crate::sameness::{self, MEASURE, ROWS};
use crate::units::bytes;

/// The table, in the chapter that asks it.
pub(super) fn boxes(document: &Document, measure: &str, lang: Lang) -> Markup {
    let Some(seen) = document.sameness.as_ref().filter(|_| measure == MEASURE) else { return html! {} };
    let known: Vec<&Looked> =
        sameness::boxes(document).into_iter().filter(|it| !it.surroundings.is_empty()).collect();
    if known.is_empty() {
        return html! {};
    }
    let mut header = vec![lang.pick("the box", "盒子").to_owned()];
    header.extend(known.iter().map(|it| it.contender.clone()));
    let rows = ROWS.iter().map(|(key, en, zh)| {
        let cells = known.iter().map(|it| cell(key, it.surroundings.get(*key)));
        std::iter::once(lang.pick(*en, *zh).to_owned()).chain(cells).collect()
    });
    let name = lang.pick("What differs: the boxes", "不同之处：盒子本身");
    html! {
        section.topic id="boxes" {
            h3 { (name) }
            p.note { (lang.pick(
                "What the payload says of its own box. A dash: the box does not tell, for it has no /proc, or its kernel \
                 says nothing of it there. Capabilities are the kernel's mask of bits; seccomp mode 2 is a filter of system \
                 calls, 0 none. Of a limit, where they differ: what holds / what the box may raise it to.",
                "负载对自身盒子的描述。横线：盒子未说明，因其没有 /proc，或其内核在那里未给出。能力为内核的位掩码；seccomp 模式 2 为\
                 系统调用过滤器，0 为无。上限若两值不同：当前值 / 盒子可自行提高到的值。",
            )) }
            (table(name, &Table { header, rows: rows.collect() }, lang))
            p.note { (prose(&left_out(&seen.left_out, lang))) }
        }
    }
}

fn cell(key: &str, said: Option<&String>) -> String {
    let Some(said) = said else { return "–".to_owned() };
    let of_bytes = matches!(key, "memory" | "limit/core" | "limit/memlock");
    // A figure and its unit stay on one line.
    let shown = |it: &str| match it.parse::<f64>() {
        Ok(size) if of_bytes => bytes(size).replace(' ', "\u{a0}"),
        _ => it.to_owned(),
    };
    match said.split_once(" / ") {
        Some((now, most)) if now == most => shown(now),
        Some((now, most)) => format!("{} / {}", shown(now), shown(most)),
        None => shown(said),
    }
}

fn left_out(words: &[String], lang: Lang) -> String {
    let words = words.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(" ");
    match lang {
        Lang::En => format!("Left out of the content of every box alike, with what is below: {words}."),
        Lang::Zh => format!("对所有盒子一律不计入内容（连同其下的一切）：{words}。"),
    }
}
