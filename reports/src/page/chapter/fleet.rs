//! How many boxes hosts of other sizes, and many of them, would hold: by the capacity model, assumptions printed.

use maud::{Markup, html};

use super::super::parts::{prose, table};
use crate::capacity::{Answer, Fitted, Limit, Machine, Model, models, serving_share};
use crate::charts::Table;
use crate::document::{Document, Unit};
use crate::units::shown;
use crate::{Lang, density, memory};

/// Hosts that are asked about: GiB, and cores.
const HOSTS: [(u32, u32); 4] = [(4, 2), (16, 4), (64, 16), (256, 64)];
/// Fleets: how many hosts of the third size.
const FLEETS: [u32; 2] = [10, 100];

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// The table, in the chapter on density where the run has one, else in that on memory.
pub(super) fn fleet(document: &Document, measure: &str, lang: Lang) -> Markup {
    let has_density = document.series.iter().any(|it| it.measure == density::MEASURE);
    let own = if has_density { density::MEASURE } else { memory::MEASURE };
    let fitted = models(document);
    if measure != own || fitted.is_empty() {
        return html! {};
    }
    let name = lang.pick("How many on other hosts, and on many", "其他规格与多台主机能装多少");
    let mut header = vec![
        lang.pick("contender", "参与者").to_owned(),
        lang.pick("fitted to", "拟合依据").to_owned(),
        lang.pick("one more box", "每多一个").to_owned(),
        lang.pick("this host", "本机").to_owned(),
    ];
    let cores = lang.pick("cores", "核");
    header.extend(HOSTS.iter().map(|(gib, count)| format!("{gib} GiB, {count} {cores}")));
    let (gib, count) = HOSTS[2];
    header.extend(FLEETS.iter().map(|hosts| format!("{hosts} × {gib} GiB, {count} {cores}")));
    let rows = fitted.iter().flat_map(|it| rows(document, it, lang)).collect();
    html! {
        section.topic id="fleet" {
            h3 { (name) }
            p.note { (lang.pick("Computed, not measured. It assumes:", "为计算而非测量。其假设为：")) }
            ul { @for it in assumptions() { li { (prose(lang.pick(it.0, it.1))) } } }
            (table(name, &Table { header, rows }, lang))
        }
    }
}

fn assumptions() -> [(&'static str, &'static str); 5] {
    [
        (
            "Memory as it was measured here for idle boxes, by the host's own change: a line through all looks, bent only \
             where they show that a box costs more the more there are.",
            "内存按此处对空闲盒子的测量（宿主机自身的变化）：过全部读数的一条线，仅当读数表明盒子越多每个越贵时才弯曲。",
        ),
        (
            "5 % of the memory stay free, and the host itself fits into them.",
            "保留 5 % 的内存空闲，且宿主机自身的用量不超出这一部分。",
        ),
        (
            "Nothing else ends first: `pid_max` and the kernel's other limits are raised; see `tare doctor --instances N`.",
            "没有其他资源先用尽：`pid_max` 及内核的其他上限已调高；参见 `tare doctor --instances N`。",
        ),
        (
            "Rows named serving are bounded by CPU too, as the search on this host was: its cores over the boxes that they \
             carried, in proportion.",
            "标为“服务中”的行还受 CPU 限制，与本机的搜索结果一致：按本机核数与其承载的盒子数成比例计算。",
        ),
        (
            "A fleet is so many times one host. Beyond four times the most boxes that were held there is no figure but a \
             band: from as far as the line may be followed to where it would end.",
            "多台主机即单机的若干倍。超过曾持有的最多盒子数四倍时不给数字，只给范围：从该线可信的终点到其延伸的尽头。",
        ),
    ]
}

/// One row for idle boxes, and one for serving ones where the CPU's part is known.
fn rows(document: &Document, it: &Fitted, lang: Lang) -> Vec<Vec<String>> {
    let model = match &it.model {
        Ok(model) => model,
        Err(why) => {
            let mut row = vec![it.contender.clone(), why.clone()];
            row.resize(4 + HOSTS.len() + FLEETS.len(), "n/a".to_owned());
            return vec![row];
        }
    };
    let idle = row(document, it, model, None, lang);
    let serving =
        serving_share(document, &it.contender).map(|share| row(document, it, model, Some(share), lang));
    [Some(idle), serving].into_iter().flatten().collect()
}

fn row(document: &Document, it: &Fitted, model: &Model, share: Option<f64>, lang: Lang) -> Vec<String> {
    let answer = |memory: f64, cores: f64| {
        let limits = share.map(|share| Limit::cpu(cores, share)).into_iter().collect();
        model.boxes(&Machine { limits, ..Machine::host(memory) })
    };
    let name = match share {
        None => it.contender.clone(),
        Some(_) => format!("{}, {}", it.contender, lang.pick("serving", "服务中")),
    };
    let fitted = match (model.fit().is_bent(), lang) {
        (bent, Lang::En) => {
            format!("{}, up to {}{}", it.measure, model.most(), if bent { ", bent" } else { "" })
        }
        (bent, Lang::Zh) => {
            format!("{}，至 {} 个{}", it.measure, model.most(), if bent { "，弯曲" } else { "" })
        }
    };
    // A figure and its unit stay on one line.
    let each = shown(model.fit().each(model.fit().most()), Unit::Bytes).replace(' ', "\u{a0}");
    let here = answer(document.host.memory_bytes as f64, f64::from(document.host.cpus));
    let mut row = vec![name, fitted, each, cell(&here, 1)];
    row.extend(HOSTS.iter().map(|(gib, cores)| cell(&answer(f64::from(*gib) * GIB, f64::from(*cores)), 1)));
    let (gib, cores) = HOSTS[2];
    let one = answer(f64::from(gib) * GIB, f64::from(cores));
    row.extend(FLEETS.iter().map(|hosts| cell(&one, *hosts)));
    row
}

/// A figure with its interval below, or a band.
fn cell(answer: &Answer, hosts: u32) -> String {
    let times = |boxes: u32| u64::from(boxes) * u64::from(hosts);
    match answer {
        Answer::Point { boxes, low, high, binding } => {
            format!("{}\n[{}, {}] {binding}", times(*boxes), times(*low), times(*high))
        }
        Answer::Band { low, high, binding } => format!("{} – {}\n{binding}", times(*low), times(*high)),
        Answer::Refused { .. } => "n/a".to_owned(),
    }
}
