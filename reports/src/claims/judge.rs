//! One judge per hypothesis. Each decides from intervals, never from a median alone.

use super::digits;
use super::{Accel, Class, Comparison, Difference, Document, Judgement, Lang, QEMU, State, Summary};
use crate::document::{Mode, Unit};
use crate::units::shown;

fn duration(ns: f64) -> String {
    shown(ns, Unit::Ns)
}

/// Nanoseconds in a minute.
const MINUTE: f64 = 60e9;
/// A share that is still "nothing": what an A/A test may show by chance.
const NOTHING: f64 = 1.05;

/// Nobody measured it in this run.
pub(super) fn unmeasured(measure: &str, lang: Lang) -> Judgement {
    let shown = match lang {
        Lang::En => format!("This run has no figures for it: it takes the measure `{measure}`."),
        Lang::Zh => format!("本次运行没有相关数据：需要度量项 `{measure}`。"),
    };
    (State::NotMeasured, shown, lang.pick("Nothing is claimed.", "不作任何论断。").to_owned())
}

/// Starts as they usually are: one at a time, and not from dropped caches.
fn ready(summaries: &[Summary]) -> impl Iterator<Item = &Summary> {
    summaries.iter().filter(|it| {
        it.measure == "startup"
            && it.mode != Mode::Cold
            && it.quantity == "ready"
            && !it.is_aa()
            && it.median.is_some()
            && it.parameters.concurrency.is_none_or(|it| it <= 1)
    })
}

/// Containers as people use them: the floors are calibration, not products.
fn containers(summaries: &[Summary]) -> impl Iterator<Item = &Summary> {
    ready(summaries).filter(|it| it.class == Class::Container && !it.contender.starts_with("floor"))
}

/// The ends that a judgement rests on: the interval, or the extremes where there are too few samples.
fn ends(summary: &Summary) -> Option<(f64, f64)> {
    match summary.interval {
        Some(it) => Some((it.low, it.high)),
        None => Some((summary.min? as f64, summary.max? as f64)),
    }
}

fn how_many(summary: &Summary, lang: Lang) -> String {
    let (low, high) = ends(summary).unwrap_or_default();
    let (n, low, high) = (summary.n, duration(low), duration(high));
    match (summary.interval, lang) {
        (Some(_), Lang::En) => format!("{n} starts, 95 % interval of the median {low} to {high}."),
        (Some(_), Lang::Zh) => format!("{n} 次启动，中位数的 95 % 区间为 {low} 至 {high}。"),
        (None, Lang::En) => format!("Only {n} starts, too few for an interval; from {low} to {high}."),
        (None, Lang::Zh) => format!("仅 {n} 次启动，不足以给出区间；范围 {low} 至 {high}。"),
    }
}

/// What the word VM means to most people: a whole distribution.
pub(super) const DISTRO: &str = "qemu-distro";

/// "VMs boot in minutes": of those that boot. The distribution, of which people say it, where it was measured.
pub(super) fn minutes(_: &Document, summaries: &[Summary], lang: Lang) -> Judgement {
    let boots = |it: &&Summary| it.class == Class::Vm && !matches!(it.mode, Mode::Restore | Mode::Pool);
    let vms = || ready(summaries).filter(boots);
    let named = |name: &str| vms().find(|it| it.contender == name);
    let Some(vm) = named(DISTRO).or_else(|| named(QEMU)).or_else(|| vms().next()) else {
        return unmeasured("startup", lang);
    };
    let Some((low, high)) = ends(vm) else { return unmeasured("startup", lang) };
    let tcg = vm.accel == Accel::Tcg;
    let state = match (high < MINUTE, low > MINUTE) {
        (true, _) => State::Refuted,
        (_, true) if !tcg => State::Supported,
        _ => State::Unconfirmed,
    };
    let (name, median) = (&vm.contender, duration(vm.median.unwrap_or(high)));
    let shown = match lang {
        Lang::En => format!("`{name}` answered after {median}, from the first call to the payload's READY."),
        Lang::Zh => format!("`{name}` 从第一个系统调用到负载发出 READY 用了 {median}。"),
    };
    let mut sure = how_many(vm, lang);
    if tcg {
        sure.push_str(lang.pick(
            " Emulated (TCG): an upper bound, hardware would only be faster.",
            " 纯软件模拟（TCG）：这是上界，硬件虚拟化只会更快。",
        ));
    }
    sure.push_str(match vm.contender == DISTRO {
        true => lang.pick(
            " A whole Debian with systemd; without its services a VM is there sooner: see `qemu`.",
            " 完整的 Debian 与 systemd；不带这些服务的虚拟机更快，见 `qemu`。",
        ),
        false => lang.pick(
            " A kernel and the payload, not a distribution with its services.",
            " 只含内核与负载，并非带全部服务的发行版。",
        ),
    });
    (state, shown, sure)
}

/// "Containers start faster than VMs".
pub(super) fn faster_start(_: &Document, summaries: &[Summary], lang: Lang) -> Judgement {
    let compared: Vec<(&Summary, &Comparison)> =
        containers(summaries).filter_map(|it| Some((it, it.to_qemu.as_ref()?))).collect();
    if compared.is_empty() {
        return unmeasured("startup", lang);
    }
    let differs = |it: &Comparison| it.ratio.difference == Difference::Differs;
    let slower = compared.iter().any(|(_, it)| it.ratio.ratio > 1.0 && differs(it));
    let faster = compared.iter().all(|(_, it)| it.ratio.ratio < 1.0 && differs(it));
    let tcg = summaries.iter().any(|it| it.contender == QEMU && it.accel == Accel::Tcg);
    let state = match (slower, faster) {
        (true, _) => State::Refuted,
        (_, true) if !tcg => State::Supported,
        _ => State::Unconfirmed,
    };
    let each =
        compared.iter().map(|(lane, it)| format!("{}× `{}`", digits(1.0 / it.ratio.ratio), lane.contender));
    let each = each.collect::<Vec<_>>().join(lang.pick(", ", "，"));
    let shown = match lang {
        Lang::En => format!("`qemu` took, as a multiple of each container: {each}."),
        Lang::Zh => format!("`qemu` 用时为各容器的倍数：{each}。"),
    };
    let rounds = compared.iter().map(|(_, it)| it.ratio.pairs).min().unwrap_or(0);
    let mut sure = match lang {
        Lang::En => format!("Paired within {rounds} rounds."),
        Lang::Zh => format!("在 {rounds} 轮内成对比较。"),
    };
    if tcg {
        sure.push_str(lang.pick(
            " Cannot be confirmed under TCG: the VM ran without hardware help, its time is an upper bound. KVM decides.",
            " TCG 下无法证实：虚拟机没有硬件加速，其用时只是上界，须由 KVM 判定。",
        ));
    }
    if summaries.iter().any(|it| it.contender == QEMU && it.accel == Accel::KvmNested) {
        sure.push_str(lang.pick(
            " KVM ran nested inside another VM: on bare metal the VM would be faster.",
            " KVM 嵌套在另一虚拟机中运行：在裸机上虚拟机会更快。",
        ));
    }
    (state, shown, sure)
}

/// "A container costs nothing next to a process".
pub(super) fn nothing(_: &Document, summaries: &[Summary], lang: Lang) -> Judgement {
    let compared: Vec<(&Summary, &Comparison)> =
        containers(summaries).filter_map(|it| Some((it, it.to_process.as_ref()?))).collect();
    if compared.is_empty() {
        return unmeasured("startup", lang);
    }
    let costs = |it: &Comparison| {
        it.ratio.difference == Difference::Differs && it.ratio.interval.is_some_and(|it| it.low > NOTHING)
    };
    let free = |it: &Comparison| it.ratio.interval.is_some_and(|it| it.high < NOTHING);
    let state = if compared.iter().all(|(_, it)| costs(it)) {
        State::Refuted
    } else if compared.iter().any(|(_, it)| free(it)) {
        State::Supported
    } else {
        State::Unconfirmed
    };
    let each = compared.iter().map(|(lane, it)| {
        let interval = it
            .ratio
            .interval
            .map_or(String::new(), |it| format!(" [{}, {}]", digits(it.low), digits(it.high)));
        format!("`{}` {}×{interval}", lane.contender, digits(it.ratio.ratio))
    });
    let each = each.collect::<Vec<_>>().join(lang.pick(", ", "，"));
    let shown = match lang {
        Lang::En => format!("Start-up next to a bare process: {each}."),
        Lang::Zh => format!("启动时间相对裸进程：{each}。"),
    };
    let sure = lang.pick(
        "Ratios paired within rounds with 95 % intervals. Start-up only: how fast the payload runs once it runs is \
         another question.",
        "比值在轮内成对计算，附 95 % 区间。仅限启动：启动之后运行多快是另一个问题。",
    );
    (state, shown, sure.to_owned())
}
