//! The judge of what is said about images.

use super::judge::unmeasured;
use super::{Class, Document, Judgement, Lang, State, Summary};
use crate::document::Looked;
use crate::sameness::{MEASURE, sides};

/// "Build once, run anywhere": whether one image is the same in every box.
pub(super) fn same_anywhere(document: &Document, _: &[Summary], lang: Lang) -> Judgement {
    let Some((seen, same, other)) = sides(document) else { return unmeasured(MEASURE, lang) };
    let class =
        |it: &&Looked| document.contenders.iter().find(|row| row.name == it.contender).map(|row| row.class);
    // Beside no box at all, two kinds of box at least.
    let mut kinds: Vec<Class> = same.iter().filter_map(class).filter(|it| *it != Class::Process).collect();
    kinds.sort();
    kinds.dedup();
    let state = match (other.is_empty(), kinds.len()) {
        (false, _) => State::Refuted,
        (true, 2..) => State::Supported,
        _ => State::Unconfirmed,
    };
    let names = |all: &[&Looked]| {
        let each: Vec<String> = all.iter().map(|it| format!("`{}`", it.contender)).collect();
        each.join(lang.pick(", ", "、"))
    };
    let mut shown = match (same.is_empty(), lang) {
        (true, Lang::En) => "No box held what the image holds.".to_owned(),
        (true, Lang::Zh) => "没有一个盒子的内容与镜像一致。".to_owned(),
        (false, Lang::En) => {
            format!("All {} entries of one image were the same in {}.", seen.entries, names(&same))
        }
        (false, Lang::Zh) => format!("同一镜像的全部 {} 项在 {} 中一致。", seen.entries, names(&same)),
    };
    for it in &other {
        let first = it.differences.first().map_or("?", String::as_str);
        let (name, count) = (&it.contender, it.differ);
        shown.push_str(&match lang {
            Lang::En => format!(" In `{name}` {count} differ, the first: {first}."),
            Lang::Zh => format!("`{name}` 中有 {count} 项不同，第一项：{first}。"),
        });
    }
    let sure = lang.pick(
        "Every file's name, mode, owner, bytes and attributes, and command, environment and working directory, by SHA-256 \
         from inside. One image for one kind of processor: an image holds no kernel, and what differs is the box, as the \
         table in the chapter shows.",
        "逐文件核对名称、模式、属主、字节与扩展属性，以及命令、环境与工作目录，由盒子内部计算 SHA-256。仅限一个镜像、一种处理器：\
         镜像不含内核，不同的是盒子本身，见该章的表格。",
    );
    (state, shown, sure.to_owned())
}
