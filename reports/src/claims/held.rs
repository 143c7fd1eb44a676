//! Judges of what is said about many boxes: what one more costs in memory, and how many fit.

use super::judge::{DISTRO, unmeasured};
use super::{Accel, Class, Document, Judgement, Lang, QEMU, State, Summary};
use crate::density::{self, Search};
use crate::memory::{self, Cost, GUEST_RAM, Method};
use crate::stats::Interval;
use crate::units::bytes;

const MIB: f64 = 1024.0 * 1024.0;
const GIB: f64 = 1024.0 * MIB;

/// Containers as people use them: the floors are calibration, not products.
fn is_product(class: Class, contender: &str) -> bool {
    matches!(class, Class::Container | Class::Engine) && !contender.starts_with("floor")
}

/// The host's slope of a box and its interval; None where it has none.
fn host(cost: &Cost) -> Option<(f64, Interval)> {
    let slope = cost.by(Method::Host)?;
    Some((slope.each, slope.interval?))
}

/// The machine that most people mean, of those that are there.
fn machine<T>(all: &[T], contender: impl Fn(&T) -> &str) -> Option<&T> {
    let named = |name: &str| all.iter().find(|it| contender(it) == name);
    named(DISTRO).or_else(|| named(QEMU)).or_else(|| all.first())
}

/// "A VM costs gigabytes, a container megabytes": of boxes that are idle, by what the host lost.
pub(super) fn gigabytes(document: &Document, _: &[Summary], lang: Lang) -> Judgement {
    let costs = memory::costs(document);
    let idle = costs.iter().filter(|it| it.state == "idle" && host(it).is_some());
    let (vms, boxes): (Vec<&Cost>, Vec<&Cost>) = idle
        .filter(|it| it.class == Class::Vm || is_product(it.class, &it.contender))
        .partition(|it| it.class == Class::Vm);
    let vm = machine(&vms, |it| &it.contender).copied();
    let Some((vm, (each, interval))) = vm.and_then(|it| Some((it, host(it)?))) else {
        return unmeasured(memory::MEASURE, lang);
    };
    let cheapest =
        boxes.iter().filter_map(|it| Some((*it, host(it)?))).min_by(|a, b| a.1.0.total_cmp(&b.1.0));
    let small = boxes.iter().filter_map(|it| host(it)).any(|(_, it)| it.high < MIB);
    let megabytes = !boxes.is_empty() && boxes.iter().filter_map(|it| host(it)).all(|(_, it)| it.low > MIB);
    let tcg = vm.accel == Accel::Tcg;
    let state = match (interval.high < GIB || small, interval.low > GIB && megabytes) {
        (true, _) => State::Refuted,
        // What an emulator keeps for itself is in it.
        (_, true) if !tcg => State::Supported,
        _ => State::Unconfirmed,
    };
    let (name, figure) = (&vm.contender, bytes(each));
    let mut shown = match lang {
        Lang::En => format!("One more idle `{name}` cost the host {figure}"),
        Lang::Zh => format!("每多一个空闲的 `{name}`，宿主机多用 {figure}"),
    };
    if let Some((container, (each, _))) = cheapest {
        let (name, figure) = (&container.contender, bytes(each));
        shown.push_str(&match lang {
            Lang::En => format!(", one more idle `{name}` {figure}"),
            Lang::Zh => format!("；每多一个空闲的 `{name}`，多用 {figure}"),
        });
    }
    shown.push_str(lang.pick(".", "。"));
    let (low, high, climbs) =
        (bytes(interval.low), bytes(interval.high), vm.by(Method::Host).map_or(0, |it| it.climbs));
    let mut sure = match lang {
        Lang::En => format!(
            "The slope over {climbs} climbs, 95 % interval of the machine's {low} to {high}: what the host lost, not what was declared."
        ),
        Lang::Zh => format!(
            "为 {climbs} 次攀升的斜率，虚拟机的 95 % 区间为 {low} 至 {high}：这是宿主机实际减少的内存，而非声明的大小。"
        ),
    };
    let touched = costs.iter().find(|it| it.state == "touched" && it.contender == vm.contender);
    if let Some((each, _)) = touched.and_then(host) {
        let figure = bytes(each);
        sure.push_str(&match lang {
            Lang::En => format!(" With some of its memory touched it is {figure}: a guest that touches gigabytes costs gigabytes."),
            Lang::Zh => format!(" 触碰部分内存后为 {figure}：客户机若触碰数 GB，就会占用数 GB。"),
        });
    }
    if tcg {
        sure.push_str(&emulated(vm, lang));
    }
    (state, shown, sure)
}

/// What of an emulated machine's figure a real one would have too.
fn emulated(vm: &Cost, lang: Lang) -> String {
    let guest = vm.ledger.as_ref().and_then(|it| it.line(GUEST_RAM)).map(bytes);
    match (guest, lang) {
        (Some(guest), Lang::En) => format!(
            " Emulated (TCG): an upper bound. Guest RAM alone, which no accelerator changes, is {guest}."
        ),
        (Some(guest), Lang::Zh) => {
            format!(" 纯软件模拟（TCG）：这是上界。仅客户机内存（与加速方式无关）即为 {guest}。")
        }
        (None, Lang::En) => " Emulated (TCG): an upper bound.".to_owned(),
        (None, Lang::Zh) => " 纯软件模拟（TCG）：这是上界。".to_owned(),
    }
}

/// "More containers fit": by the searches; where there are none, memory leans to a side and decides nothing.
pub(super) fn more_fit(document: &Document, _: &[Summary], lang: Lang) -> Judgement {
    let searches = density::searches(document);
    let idle = searches.iter().filter(|it| it.state == "idle" && it.boxes.is_some());
    let (predicted, measured): (Vec<&Search>, Vec<&Search>) = idle.partition(|it| it.predicted);
    let sides = |all: &[&Search]| -> (Vec<Search>, Vec<Search>) {
        let of = |vm: bool| {
            let own = all
                .iter()
                .filter(|it| if vm { it.class == Class::Vm } else { is_product(it.class, &it.contender) });
            own.map(|it| (*it).clone()).collect()
        };
        (of(false), of(true))
    };
    for (all, is_measured) in [(measured, true), (predicted, false)] {
        let (boxes, vms) = sides(&all);
        if !boxes.is_empty() && !vms.is_empty() {
            return counted(&boxes, &vms, is_measured, lang);
        }
    }
    by_memory(document, lang).unwrap_or_else(|| unmeasured(density::MEASURE, lang))
}

fn counted(boxes: &[Search], vms: &[Search], measured: bool, lang: Lang) -> Judgement {
    let ends = |all: &[Search]| {
        let counts = all.iter().filter_map(|it| it.boxes);
        counts.fold((f64::INFINITY, 0.0_f64), |(low, high), it| (low.min(it), high.max(it)))
    };
    let ((fewest, _), (_, machines)) = (ends(boxes), ends(vms));
    let emulated = vms.iter().any(|it| it.accel == Accel::Tcg);
    // What ended by its time has only said that so many fit, not that no more do: of machines that leaves open what is
    // claimed, of containers what speaks against it.
    let unfinished = vms.iter().any(Search::is_open);
    let exceeded = boxes.iter().any(|it| !it.is_open() && it.boxes.is_some_and(|it| it <= machines));
    let state = match (measured, exceeded, fewest > machines) {
        (false, ..) => State::Unconfirmed,
        (_, true, _) => State::Refuted,
        (_, _, true) if !emulated && !unfinished => State::Supported,
        _ => State::Unconfirmed,
    };
    let each = boxes.iter().chain(vms).map(|it| {
        let by = it.binding.as_ref().map_or(String::new(), |it| format!(" ({})", it.resource));
        format!("`{}` {}{by}", it.contender, it.figure())
    });
    let each = each.collect::<Vec<_>>().join(lang.pick(", ", "，"));
    let shown = match (measured, lang) {
        (true, Lang::En) => format!("Idle boxes at which all still answered, and what ended it: {each}."),
        (true, Lang::Zh) => format!("全部仍能应答时的空闲盒子数目，以及终止的原因：{each}。"),
        (false, Lang::En) => format!("Predicted, not measured: {each}."),
        (false, Lang::Zh) => format!("为预测而非测量：{each}。"),
    };
    let mut sure = lang
        .pick(
            "Boxes of the same limits, each confirmed for half a minute; idle is not yet capacity: see `touched` and `serving`.",
            "各盒子限额相同，每个结果都保持半分钟加以确认；空闲数目还不是容量：另见“已触碰”与“服务中”。",
        )
        .to_owned();
    if !measured {
        sure = lang
            .pick(
                "A prediction decides nothing: `tare run density` measures it.",
                "预测不能作出判定：`tare run density` 可加以测量。",
            )
            .to_owned();
    }
    if emulated {
        sure.push_str(lang.pick(
            " Cannot be confirmed under TCG: an emulated machine wants CPU and memory that one with hardware help does not. KVM decides.",
            " TCG 下无法证实：模拟的虚拟机所需的 CPU 与内存多于有硬件加速者，须由 KVM 判定。",
        ));
    }
    (state, shown, sure)
}

/// What one more costs, where nobody looked how many fit.
fn by_memory(document: &Document, lang: Lang) -> Option<Judgement> {
    let costs = memory::costs(document);
    let idle = |it: &&Cost| it.state == "idle" && host(it).is_some();
    let of = |vm: bool| {
        let own = costs
            .iter()
            .filter(idle)
            .filter(|it| if vm { it.class == Class::Vm } else { is_product(it.class, &it.contender) });
        own.min_by(|a, b| {
            a.by(Method::Host)
                .map_or(f64::INFINITY, |it| it.each)
                .total_cmp(&b.by(Method::Host).map_or(f64::INFINITY, |it| it.each))
        })
    };
    let (container, vm) = (of(false)?, of(true)?);
    let figure = |it: &Cost| it.by(Method::Host).map_or(String::new(), |it| bytes(it.each));
    let (one, other) = (figure(container), figure(vm));
    let (container, vm) = (&container.contender, &vm.contender);
    let shown = match lang {
        Lang::En => format!(
            "By memory alone: one more idle `{container}` costs the host {one}, one more `{vm}` {other}."
        ),
        Lang::Zh => {
            format!("仅就内存而言：每多一个空闲的 `{container}` 占用 {one}，每多一个 `{vm}` 占用 {other}。")
        }
    };
    let sure = lang.pick(
        "How many fit was not looked for: something else may end first. `tare run density` does.",
        "未测能装多少个：可能有别的资源先用尽。`tare run density` 会测量。",
    );
    Some((State::Unconfirmed, shown, sure.to_owned()))
}
