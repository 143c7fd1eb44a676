//! Every sample in figures: rounds down, contenders across.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::parts::scroll;
use crate::Lang;
use crate::charts::Topic;
use crate::document::{Sample, Unit};

/// Above this many samples the place in the round is left out of the table, to keep the page small.
const PLACES_UP_TO: usize = 20_000;

/// So many columns stand side by side on a screen, and on paper, where nobody scrolls.
const COLUMNS: usize = 7;

/// Above this many the page leaves the samples to the result document.
const MOST: usize = 120_000;

pub(super) fn raw(topics: &[Topic], lang: Lang) -> Markup {
    // A thousand pings at each number of boxes would push all others out of the page.
    let (pings, topics): (Vec<&Topic>, Vec<&Topic>) = topics.iter().partition(|it| it.quantity == "canary");
    let count: usize = topics.iter().flat_map(|it| &it.lanes).map(|it| it.n + it.failed()).sum();
    let places = count <= PLACES_UP_TO;
    html! {
        section id="raw" {
            h2 { (lang.pick("Raw samples", "原始样本")) }
            p.note { (match (places, lang) {
                (true, Lang::En) => format!("{count} samples, nothing trimmed; the small figure is the visit's place in its round."),
                (true, Lang::Zh) => format!("{count} 个样本，未作剔除；小字为该次访问在本轮中的位置。"),
                (false, Lang::En) => format!("{count} samples, nothing trimmed; places in the round are in result.json."),
                (false, Lang::Zh) => format!("{count} 个样本，未作剔除；轮内位置见 result.json。"),
            }) }
            @if !pings.is_empty() {
                p.note { (lang.pick("The pings of the canary are in result.json beside this page.", "金丝雀的各次 ping 见同目录的 result.json。")) }
            }
            @if count > MOST {
                p { (lang.pick("Too many to print here: they are all in result.json beside this page.", "数量过多，此处不列：全部见同目录的 result.json。")) }
            } @else {
                @for topic in &topics { (topic_table(topic, places, lang)) }
            }
        }
    }
}

fn topic_table(topic: &Topic, places: bool, lang: Lang) -> Markup {
    let name = format!("{} / {}, {}", topic.measure, topic.quantity, topic.setting(lang));
    let unit = match topic.unit {
        Unit::Ns => "ns",
        Unit::Bytes => "bytes",
        Unit::Instances => "instances",
        Unit::Entries => "entries",
    };
    let mut rounds: BTreeMap<u32, Vec<Vec<&Sample>>> = BTreeMap::new();
    for (column, lane) in topic.lanes.iter().enumerate() {
        for sample in &topic.series(lane).samples {
            let row = rounds.entry(sample.round).or_insert_with(|| vec![Vec::new(); topic.lanes.len()]);
            row[column].push(sample);
        }
    }
    html! {
        details {
            summary { (name) }
            @for first in (0..topic.lanes.len()).step_by(COLUMNS) {
                @let own = first..(first + COLUMNS).min(topic.lanes.len());
                (scroll(&name, lang, &html! {
                    table.raw {
                        caption { (name) ", " (unit) }
                        thead { tr {
                            th scope="col" { (lang.pick("round", "轮次")) }
                            @for lane in &topic.lanes[own.clone()] { th scope="col" { (lane.label(lang)) } }
                        } }
                        tbody { @for (round, row) in &rounds { tr {
                            th scope="row" { (round) }
                            @for cell in &row[own.clone()] { td { @for sample in cell { (one(sample, places)) } } }
                        } } }
                    }
                }))
            }
        }
    }
}

fn one(sample: &Sample, places: bool) -> Markup {
    html! {
        @match sample.value {
            Some(value) => { (value) }
            None => { span.fail title=[&sample.detail] { (crate::charts::failure_name(sample)) } }
        }
        @if places { sub { (sample.position) } } " "
    }
}
