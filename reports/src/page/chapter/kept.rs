//! What images and boxes take on disk, one row for each way of keeping them.

use maud::{Markup, html};

use super::super::parts::table;
use crate::Lang;
use crate::charts::Table;
use crate::disk::{Kept, MEASURE, kept};
use crate::document::Document;
use crate::units::{percent, shown};

/// The table, in the chapter that asks it.
pub(super) fn together(document: &Document, measure: &str, lang: Lang) -> Markup {
    let all = kept(document);
    if measure != MEASURE || all.is_empty() {
        return html! {};
    }
    let header = [
        lang.pick("contender", "参与者"),
        lang.pick("an image of three layers", "一个三层镜像"),
        lang.pick("a second one with two of them", "共享其中两层的第二个镜像"),
        lang.pick("second / first", "第二个 / 第一个"),
        lang.pick("one more box", "每多一个盒子"),
        lang.pick("one more box that wrote 1 MiB", "写入 1 MiB 之后"),
    ];
    let none = || "–".to_owned();
    let figure = |it: Option<f64>| it.map_or_else(none, |it| shown(it, Kept::UNIT));
    let rows = all.iter().map(|it| {
        vec![
            it.label(lang),
            figure(it.image),
            figure(it.second),
            it.share().map_or_else(none, percent),
            figure(it.instance),
            figure(it.written),
        ]
    });
    let table_of = Table { header: header.map(str::to_owned).into(), rows: rows.collect() };
    let name = lang.pick("What is kept on disk", "磁盘上保存了什么");
    html! {
        section.topic id="kept" {
            h3 { (name) }
            p.note { (lang.pick("Medians of allocated bytes.", "均为已分配字节数的中位数。")) }
            (table(name, &table_of, lang))
        }
    }
}
