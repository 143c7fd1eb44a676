//! The top of the page: what it is, whether it can be relied upon, and the verdicts.

use maud::{Markup, html};

use super::parts::{prose, shell};
use crate::Lang;
use crate::audit::fingerprint;
use crate::claims::{State, claims};
use crate::document::Document;
use crate::reliability::{self, rules};
use crate::summary::Summary;

pub(super) fn header(document: &Document, measures: &[&str], lang: Lang) -> Markup {
    let run = &document.run;
    html! {
        header.top {
            div.brand {
                h1 { "Tare" }
                p.lead { (lang.pick(
                    "The weight of the box without its contents: what a container or a VM costs, on this host.",
                    "盒子本身的重量：容器或虚拟机在这台主机上的代价。",
                )) }
            }
            p.facts {
                span { (fingerprint(document)) }
                span { "KVM: " (document.host.kvm) }
                span { (lang.pick("run ", "运行 ")) (run.id) ", " (run.started) }
                span { (lang.pick("profile ", "配置 ")) (run.profile) ", " (lang.pick("seed ", "种子 ")) (run.seed) ", tare " (run.tare) }
                // What a run records, it records in one language.
                @if lang == Lang::Zh { span { "本次运行所记录的文字（版本、原因、证据、资源名等）保留英文原文" } }
                @if !run.command.is_empty() { span { code { (shell(&run.command)) } } }
            }
            (banner(document, lang))
            nav aria-label=(lang.pick("Parts of the page", "页面各部分")) {
                a href="#verdicts" { (lang.pick("Verdicts", "结论")) }
                @for measure in measures { a href={ "#" (measure) } { (super::chapter::title(measure, lang)) } }
                a href="#machine" { (lang.pick("Machine", "机器")) }
                a href="#audit" { (lang.pick("Audit", "审计")) }
                a href="#idle" { (lang.pick("Not measured", "未测")) }
                a href="#raw" { (lang.pick("Raw samples", "原始样本")) }
                a href="#elsewhere" { (lang.pick("Elsewhere", "他处数据")) }
            }
        }
    }
}

fn banner(document: &Document, lang: Lang) -> Markup {
    let run = &document.run;
    let judged = rules(document).iter().any(|it| it.state != reliability::State::NotJudged);
    html! {
        @if run.reliable && !judged {
            // That no rule was broken would be no lie, and taken for a recommendation.
            section.banner.warn aria-label=(lang.pick("Reliability", "可靠性")) {
                p { strong { (lang.pick("No UNRELIABLE rule could be judged", "没有一条不可靠规则可以判定")) } }
                (figures(document, lang))
            }
        } @else if run.reliable {
            section.banner.good aria-label=(lang.pick("Reliability", "可靠性")) {
                p { strong { (lang.pick("No UNRELIABLE rule was broken", "未触犯任何不可靠规则")) } }
                (figures(document, lang))
            }
        } @else {
            section.banner.bad role="alert" {
                p { strong { (lang.pick("UNRELIABLE", "UNRELIABLE（不可靠）")) } " "
                    (lang.pick("Do not quote these figures: the host disturbed the run.", "请勿引用这些数据：主机干扰了本次运行。")) }
                ul { @for reason in &run.unreliable_because { li { (reason) } } }
                (figures(document, lang))
            }
        }
        @if !run.complete {
            section.banner.warn {
                p { strong { (lang.pick("Incomplete", "不完整")) } " "
                    (lang.pick("The run ended before its last planned round; what it has stands here.", "运行在计划的最后一轮之前结束；此处为已有数据。")) }
            }
        }
    }
}

/// The rules with their figures, those that were kept included.
fn figures(document: &Document, lang: Lang) -> Markup {
    html! {
        ul.rules lang="en" {
            @for rule in rules(document) {
                @if rule.state != reliability::State::Broken {
                    li { span.tag lang=(lang.tag()) { (match rule.state {
                        reliability::State::NotJudged => lang.pick("not judged", "未判定"),
                        _ => lang.pick("kept", "未触犯"),
                    }) } " " (rule.name) ": " (rule.figure) }
                }
            }
        }
    }
}

pub(super) fn verdicts(document: &Document, summaries: &[Summary], lang: Lang) -> Markup {
    html! {
        section id="verdicts" {
            h2 { (lang.pick("What people say, and what this host showed", "人们怎么说，这台主机又表现如何")) }
            div.claims {
                @for claim in claims(document, summaries, lang) {
                    article.claim {
                        h3 { (lang.pick("“", "“")) (claim.said) "”" }
                        p { span class={ "state " (class(claim.state)) } { (name(claim.state, lang)) } }
                        p { (prose(&claim.shown)) }
                        p.sure { (prose(&claim.sure)) }
                    }
                }
            }
            p.note { (lang.pick(
                "One host, one run: a verdict speaks of this machine with these versions and of nothing else.",
                "一台主机、一次运行：结论只适用于这台机器和这些版本。",
            )) }
        }
    }
}

fn class(state: State) -> &'static str {
    match state {
        State::Refuted => "refuted",
        State::Supported => "supported",
        State::Unconfirmed => "unconfirmed",
        State::NotMeasured => "unmeasured",
    }
}

fn name(state: State, lang: Lang) -> &'static str {
    match state {
        State::Refuted => lang.pick("✕ refuted", "✕ 被否定"),
        State::Supported => lang.pick("✓ supported", "✓ 得到支持"),
        State::Unconfirmed => lang.pick("~ cannot be confirmed", "~ 无法证实"),
        State::NotMeasured => lang.pick("– not measured", "– 未测"),
    }
}
