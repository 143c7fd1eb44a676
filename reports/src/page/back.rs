//! What stands behind the figures: the machine, the audit, what was not measured, figures from elsewhere.

use maud::{Markup, html};

use super::parts::{prose, table};
use crate::Lang;
use crate::audit;
use crate::charts::Table;
use crate::document::{Document, HostChange, Status, Verdict};
use crate::units::bytes;

pub(super) fn machine(document: &Document, lang: Lang) -> Markup {
    let host = &document.host;
    let mut rows = vec![
        (lang.pick("kernel", "内核").to_owned(), host.kernel.clone()),
        (lang.pick("CPU", "处理器").to_owned(), format!("{} × {}", host.cpus, host.cpu)),
        (lang.pick("memory", "内存").to_owned(), bytes(host.memory_bytes as f64)),
        (lang.pick("hypervisor", "虚拟机监控器").to_owned(), host.hypervisor.clone()),
        ("cgroup".to_owned(), host.cgroup.clone()),
        ("KVM".to_owned(), host.kvm.clone()),
    ];
    rows.extend(
        host.empty_cgroup_bytes
            .map(|it| (lang.pick("an empty memory cgroup", "空的内存 cgroup").to_owned(), bytes(it as f64))),
    );
    rows.extend(host.facts.iter().map(|(key, value)| (key.clone(), value.clone())));
    let rows = rows.into_iter().map(|(key, value)| vec![key, value]).collect();
    let header = vec![lang.pick("what", "项目").to_owned(), lang.pick("here", "本机").to_owned()];
    let name = lang.pick("The machine", "机器");
    html! {
        section id="machine" {
            h2 { (name) }
            (table(name, &Table { header, rows }, lang))
            (changes(document, lang))
            p.note { (lang.pick("What could not be read is absent, never guessed.", "读不到的项目不列出，绝不猜测。")) }
        }
    }
}

/// What the run did to the host's own state; that it did nothing is worth a line too.
fn changes(document: &Document, lang: Lang) -> Markup {
    let changes = &document.run.host_changes;
    if changes.is_empty() {
        return html! { p { (lang.pick(
            "The run changed no setting of the host and dropped no cache.",
            "本次运行未改动宿主机的任何设置，也未清空任何缓存。",
        )) } };
    }
    let name = lang.pick("What the run changed on it", "本次运行对其所做的改动");
    let header = [
        lang.pick("the kernel's file", "内核文件"),
        lang.pick("written", "写入"),
        lang.pick("times", "次数"),
        lang.pick("restored", "恢复"),
    ];
    let row = |it: &HostChange| {
        vec![it.setting.clone(), it.written.clone(), it.times.to_string(), it.restored.clone()]
    };
    let table_of =
        Table { header: header.map(str::to_owned).to_vec(), rows: changes.iter().map(row).collect() };
    html! { h3 { (name) } (table(name, &table_of, lang)) }
}

/// The roles are written out: on a narrow screen the rows become blocks, which would cost them otherwise.
pub(super) fn audit(document: &Document, lang: Lang) -> Markup {
    let items = if document.audit.is_empty() { audit::audit(document) } else { document.audit.clone() };
    let count = |verdict| items.iter().filter(|it| it.verdict == verdict).count();
    html! {
        section id="audit" {
            h2 { (lang.pick("The audit: 27 ways to go wrong", "审计：27 种出错方式")) }
            p { (lang.pick(
                "Each was found in a published comparison or a tool in use. Checked by code on this run's document.",
                "每一条都来自已发表的比较或在用的工具。由代码对本次运行的文档逐条检查；证据以英文记录。",
            )) }
            p.counts {
                @for verdict in [Verdict::Passed, Verdict::Failed, Verdict::ByDesign, Verdict::NotCheckable] {
                    span class={ "state " (class(verdict)) } { (count(verdict)) " " (name(verdict, lang)) } " "
                }
            }
            div.scroll tabindex="0" role="region" aria-label=(lang.pick("The audit (scrolls sideways)", "审计（可横向滚动）")) {
                table.audit role="table" {
                    caption { (lang.pick("The audit", "审计")) }
                    thead role="rowgroup" { tr role="row" {
                        th scope="col" role="columnheader" { "#" }
                        th scope="col" role="columnheader" { (lang.pick("what goes wrong", "错误")) }
                        th scope="col" role="columnheader" { (lang.pick("this run", "本次运行")) }
                        th scope="col" role="columnheader" { (lang.pick("evidence", "证据")) }
                    } }
                    tbody role="rowgroup" {
                        @for item in &items { tr role="row" {
                            td role="cell" { (item.item) }
                            th scope="row" role="rowheader" { (prose(match lang { Lang::En => &item.title, Lang::Zh => audit::title(item.item, lang) })) }
                            td role="cell" { span class={ "state " (class(item.verdict)) } { (name(item.verdict, lang)) } }
                            td lang="en" role="cell" { (prose(&item.evidence)) }
                        } }
                    }
                }
            }
        }
    }
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "supported",
        Verdict::Failed => "refuted",
        Verdict::NotCheckable => "unmeasured",
        Verdict::ByDesign => "design",
    }
}

fn name(verdict: Verdict, lang: Lang) -> &'static str {
    match verdict {
        Verdict::Passed => lang.pick("passed", "通过"),
        Verdict::Failed => lang.pick("failed", "未通过"),
        Verdict::NotCheckable => lang.pick("not checkable", "无法检查"),
        Verdict::ByDesign => lang.pick("by design", "设计保证"),
    }
}

pub(super) fn idle(document: &Document, lang: Lang) -> Markup {
    let rows: Vec<_> = document.contenders.iter().filter(|it| it.status != Status::Measured).collect();
    html! {
        section id="idle" {
            h2 { (lang.pick("Skipped, failed, left out", "跳过、失败、未纳入")) }
            @if rows.is_empty() && document.run.left_out.is_empty() {
                p { (lang.pick("Everybody asked for was measured.", "所有要求的参与者都已测量。")) }
            }
            @for row in rows {
                article.command {
                    h3 { (row.name) " " span class={ "state " (if row.status == Status::Failed { "refuted" } else { "unmeasured" }) } {
                        (if row.status == Status::Failed { lang.pick("failed", "失败") } else { lang.pick("skipped", "跳过") })
                    } }
                    p { (row.reason.as_deref().unwrap_or(lang.pick("no reason was recorded", "未记录原因"))) }
                    @if let Some(fix) = &row.fix { p.note { (lang.pick("What would fix it:", "解决办法：")) } pre tabindex="0" { code { (fix) } } }
                }
            }
            @if !document.run.left_out.is_empty() {
                h3 { (lang.pick("Left out of this profile", "本配置未纳入")) }
                ul { @for it in &document.run.left_out { li { (prose(it)) } } }
            }
        }
    }
}

pub(super) fn elsewhere(lang: Lang) -> Markup {
    html! {
        section id="elsewhere" {
            h2 { (lang.pick("Published elsewhere, other hardware", "他处发表，不同硬件")) }
            p { (lang.pick(
                "Context, not competitors: other machines, other clocks, other definitions of \"started\". Never compare them with the figures above.",
                "仅供参照，并非对手：机器不同、时钟不同、对“已启动”的定义也不同。切勿与上文数字相比。",
            )) }
            ul { @for it in ANCHORS { li { (lang.pick(it.0, it.1)) } } }
        }
    }
}

const ANCHORS: [(&str, &str); 8] = [
    (
        "LightVM (SOSP'17): unikernel boot 2.3 ms, fork and exec 1 ms.",
        "LightVM（SOSP'17）：unikernel 启动 2.3 ms，fork 加 exec 1 ms。",
    ),
    (
        "Firecracker's specification: at most 125 ms to the guest's init, at most 5 MiB of VMM overhead.",
        "Firecracker 规格：到客户机 init 不超过 125 ms，VMM 开销不超过 5 MiB。",
    ),
    (
        "NSDI'20 raw data, m5d.metal, p50 by wall clock: Cloud Hypervisor 102, QEMU with qboot 214, QEMU default 244, QEMU microvm 582 ms.",
        "NSDI'20 原始数据（m5d.metal，挂钟 p50）：Cloud Hypervisor 102、QEMU + qboot 214、QEMU 默认 244、QEMU microvm 582 ms。",
    ),
    (
        "RunD (ATC'22): more than 200 secure containers a second, more than 2,500 on 384 GB.",
        "RunD（ATC'22）：每秒 200 个以上安全容器，384 GB 上 2,500 个以上。",
    ),
    (
        "SOCK (ATC'18): container churn 200 a second with network namespaces, 900 without.",
        "SOCK（ATC'18）：带网络命名空间每秒 200 个容器，不带则 900 个。",
    ),
    (
        "youki's README: youki 111, runc 225, crun 47 ms for create, start and delete, sudo and cold caches included.",
        "youki 的 README：create + start + delete 用时 youki 111、runc 225、crun 47 ms，含 sudo 与冷缓存。",
    ),
    ("Kata's CI: 122.8 MB PSS per idle container under QEMU.", "Kata CI：QEMU 下每个空闲容器 PSS 122.8 MB。"),
    ("Unikraft: guest-only boot well below 1 ms.", "Unikraft：仅计客户机的启动远低于 1 ms。"),
];

pub(super) fn footer(document: &Document, lang: Lang) -> Markup {
    html! {
        footer {
            p { (lang.pick(
                "Everything on this page is computed from result.json beside it; the same document gives the same page.",
                "本页一切内容均由同目录的 result.json 算出；同一文档得到同一页面。",
            )) " tare " (document.run.tare) }
        }
    }
}
