//! What this host's history adds to each box, in the chapters whose figures hold it.

use maud::{Markup, html};

use super::super::parts::prose;
use crate::document::Document;
use crate::units::bytes;
use crate::{Lang, density, memory};

/// From here on it is worth a sentence, bytes: on a host that has just been started an empty memory cgroup takes a few
/// tens of KiB.
const LARGE: u64 = 128 << 10;

/// One sentence, where an empty memory cgroup is heavy here.
pub(super) fn weight(document: &Document, measure: &str, lang: Lang) -> Markup {
    let heavy = document.host.empty_cgroup_bytes.filter(|it| *it >= LARGE);
    let Some(each) = heavy.filter(|_| measure == memory::MEASURE || measure == density::MEASURE) else {
        return html! {};
    };
    let each = bytes(each as f64);
    html! { p.note.weight { (prose(&match lang {
        Lang::En => format!(
            "On this host an empty memory cgroup alone took {each} of the kernel's slab when the run began, and every box that \
             has one carries that: the kernel's tables have a place for each file system that ever stood beside others here, \
             and shrink only when the host is started anew; after that each such box would be lighter by most of it."
        ),
        Lang::Zh => format!(
            "运行开始时，在这台主机上仅一个空的内存 cgroup 就占用内核 slab {each}，每个带有它的盒子都要承担：内核的表为曾经同时\
             挂载过的每个文件系统留有位置，只有重新启动主机才会缩小；此后每个这样的盒子会轻去其中的大部分。"
        ),
    })) } }
}
