//! The judge of what is said about images.

use super::judge::unmeasured;
use super::{Class, Document, Judgement, Lang, State, Summary};
use crate::disk::{self, Kept};
use crate::document::Looked;
use crate::sameness::{MEASURE, sides, unseen};
use crate::stats::Ratio;
use crate::transfer::{self, Fetched};
use crate::units::{bytes, percent};

/// "Build once, run anywhere": whether one image is the same in every box.
pub(super) fn same_anywhere(document: &Document, _: &[Summary], lang: Lang) -> Judgement {
    let Some((seen, same, other)) = sides(document) else { return unmeasured(MEASURE, lang) };
    let class =
        |it: &&Looked| document.contenders.iter().find(|row| row.name == it.contender).map(|row| row.class);
    // Beside no box at all, two kinds of box at least.
    let mut kinds: Vec<Class> = same.iter().filter_map(class).filter(|it| *it != Class::Process).collect();
    kinds.sort();
    kinds.dedup();
    let unseen = unseen(document);
    let state = match (other.is_empty(), kinds.len()) {
        (false, _) => State::Refuted,
        // A box that could not be looked into may be the one in which it is not the same.
        (true, 2..) if unseen.is_empty() => State::Supported,
        _ => State::Unconfirmed,
    };
    let quoted = |names: &mut dyn Iterator<Item = &str>| {
        names.map(|it| format!("`{it}`")).collect::<Vec<_>>().join(lang.pick(", ", "、"))
    };
    let names = |all: &[&Looked]| quoted(&mut all.iter().map(|it| it.contender.as_str()));
    let mut shown = match (same.is_empty(), lang) {
        (true, Lang::En) => "No box held what the image holds.".to_owned(),
        (true, Lang::Zh) => "没有一个盒子的内容与镜像一致。".to_owned(),
        (false, Lang::En) => {
            format!("All {} entries of one image were the same in {}.", seen.entries, names(&same))
        }
        (false, Lang::Zh) => format!("同一镜像的全部 {} 项在 {} 中一致。", seen.entries, names(&same)),
    };
    for it in &other {
        let (name, count) = (&it.contender, it.differ);
        shown.push_str(&match (it.differences.first(), lang) {
            (Some(first), Lang::En) => format!(" In `{name}` {count} differ, the first: {first}."),
            (Some(first), Lang::Zh) => format!("`{name}` 中有 {count} 项不同，第一项：{first}。"),
            (None, Lang::En) => format!(" `{name}` said another digest."),
            (None, Lang::Zh) => format!("`{name}` 给出了不同的摘要。"),
        });
    }
    if other.is_empty() && !same.is_empty() && kinds.len() < 2 {
        shown.push_str(lang.pick(
            " All of them are boxes of one kind: a verdict takes two, such as a container and a machine.",
            "它们同属一类盒子：结论至少需要两类，例如容器与虚拟机。",
        ));
    }
    if !unseen.is_empty() {
        let names = quoted(&mut unseen.into_iter());
        shown.push_str(&match lang {
            Lang::En => format!(" Could not be looked at: {names}; the reasons stand in the chapter."),
            Lang::Zh => format!("未能查看：{names}；原因见该章。"),
        });
    }
    let sure = lang.pick(
        "Every file's name, mode, owner, bytes, hard links and attributes but for what the chapter lists, and command, \
         environment and working directory, by SHA-256 from inside. One image for one kind of processor: an image holds no kernel, and what differs is the box, as the \
         table in the chapter shows.",
        "逐文件核对名称、模式、属主、字节、硬链接与扩展属性（该章所列者除外），以及命令、环境与工作目录，由盒子内部计算 SHA-256。仅限一个镜像、一种处理器：\
         镜像不含内核，不同的是盒子本身，见该章的表格。",
    );
    (state, shown, sure.to_owned())
}

/// The most of the first that the second may take: the layers that it shares are all but a twenty-seventh of its bytes.
const SHARED: f64 = 0.5;

/// "Images share layers": what a second image takes that has all layers of the first but the last.
pub(super) fn share_layers(document: &Document, _: &[Summary], lang: Lang) -> Judgement {
    let all = disk::kept(document);
    let known: Vec<(&Kept, f64)> = all.iter().filter_map(|it| Some((it, it.share()?))).collect();
    let (machines, layered): (Vec<_>, Vec<_>) = known.into_iter().partition(|(it, _)| it.class == Class::Vm);
    if layered.is_empty() {
        return unmeasured(disk::MEASURE, lang);
    }
    let state = match layered.iter().all(|(_, share)| *share < SHARED) {
        true => State::Supported,
        false => State::Refuted,
    };
    let mut one_each: Vec<&(&Kept, f64)> = layered.iter().chain(&machines).collect();
    // A machine's image is the same however its boxes have theirs.
    one_each.dedup_by(|a, b| a.0.contender == b.0.contender);
    let each = one_each.iter().map(|(it, share)| {
        let (name, second, share) = (&it.contender, bytes(it.second.unwrap_or(0.0)), percent(*share));
        match lang {
            Lang::En => format!("`{name}` {second} ({share} of the first)"),
            Lang::Zh => format!("`{name}` {second}（为第一个的 {share}）"),
        }
    });
    let each = each.collect::<Vec<_>>().join(lang.pick(", ", "，"));
    let shown = match lang {
        Lang::En => format!("A second image that has two layers of three in common took: {each}."),
        Lang::Zh => format!("与第一个镜像共享三层中两层的第二个镜像占用：{each}。"),
    };
    let sure = lang.pick(
        "By the blocks on disk, with images made for each look. A machine's disk is one piece: tools that share parts of \
         disks (a store that finds equal blocks, chains of backing files) were not weighed; what such a chain saves on the way \
         here is seen where images are fetched.",
        "按磁盘上的块计，每次都使用新制作的镜像。虚拟机的磁盘是一个整体：未称量能共享部分磁盘的工具（去重存储、后备文件链）；\
         后备文件链在传输中节省多少，见拉取镜像一节。",
    );
    (state, shown, sure.to_owned())
}

/// An update is cheap that takes at most this share of what the whole image took: one layer of three was changed, a
/// fortieth of the bytes.
const CHEAP: f64 = 0.5;

/// "Layers make updates cheap": time and bytes of an update, of those of the first image, paired within rounds.
pub(super) fn cheap_updates(document: &Document, _: &[Summary], lang: Lang) -> Judgement {
    let all = transfer::fetched(document);
    let known: Vec<(&Fetched, [Ratio; 2])> = all
        .iter()
        .filter_map(|it| {
            let [_, _, update] = &it.steps;
            Some((it, [update.time.of_first?, update.wire.of_first?]))
        })
        .collect();
    let layered = || known.iter().filter(|(it, _)| it.class != Class::Vm);
    if layered().next().is_none() {
        return unmeasured(disk::MEASURE, lang);
    }
    let ratios = || layered().flat_map(|(_, both)| both);
    // Without an interval there are too few samples to tell.
    let cheap = |it: &Ratio| it.interval.is_some_and(|it| it.high <= CHEAP);
    let dear = |it: &Ratio| it.interval.is_some_and(|it| it.low > CHEAP);
    let state = match (ratios().any(dear), ratios().all(cheap)) {
        (true, _) => State::Refuted,
        (_, true) => State::Supported,
        _ => State::Unconfirmed,
    };
    let each = known.iter().map(|(it, [time, wire])| {
        let (name, time, wire) = (it.label(lang), share(time), share(wire));
        match lang {
            Lang::En => format!("`{name}` {wire} of the bytes and {time} of the time"),
            Lang::Zh => format!("`{name}` 为字节数的 {wire}、时间的 {time}"),
        }
    });
    let each = each.collect::<Vec<_>>().join(lang.pick("; ", "；"));
    let mut shown = match lang {
        Lang::En => {
            format!("After a change of one layer of three, fetching it anew took, of the first time: {each}.")
        }
        Lang::Zh => format!("三层之一改变后重新拉取，相对首次拉取：{each}。"),
    };
    if ratios().any(|it| it.interval.is_none()) {
        shown.push_str(lang.pick(
            " Too few transfers for an interval, without which there is no verdict.",
            "传输次数不足以给出区间，没有区间便没有结论。",
        ));
    }
    let sure = lang.pick(
        "By images made for each visit and a registry on this host: a real line adds the bytes divided by its speed. Cheap is \
         at most half of both; how much a layer saves is a matter of how images are cut. A machine's disk that holds only what \
         differs is a layer too, made by hand.",
        "镜像为每次访问新制作，仓库就在本机：真实线路另需字节数除以线路速度的时间。“便宜”指两者均不超过一半；节省多少取决于镜像如何分层。\
         只含差异的虚拟机磁盘也是一种层，只是手工制作。",
    );
    (state, shown, sure.to_owned())
}

fn share(it: &Ratio) -> String {
    let interval = it.interval.map(|it| format!(" [{}, {}]", percent(it.low), percent(it.high)));
    format!("{}{}", percent(it.ratio), interval.unwrap_or_default())
}
