//! The way to the limit: the canary's latency, and below it the host's memory, against how many boxes are held, with
//! the stop and what ended it.

use std::collections::BTreeSet;

use super::canvas::{Align, Canvas, Drawn, Ink, Label, SMALL, Type, fit, paint};
use super::curve::apart;
use super::lanes::tick;
use super::scale::Log;
use super::topic::{Table, Topic, accel_name, emulated};
use super::{Chart, Format};
use crate::density::{MEASURE, Rung, Search, canary_limit, searches};
use crate::document::Unit;
use crate::units::shown;
use crate::{Error, Lang};

/// p99 of the canary and the host's use, rung by rung.
pub(super) struct Climb;

/// Upper and lower edge of the two plots, px.
const PLOTS: [(i32, i32); 2] = [(34, 234), (276, 456)];

/// One of the two plots.
struct Plot {
    axis: Log,
    unit: Unit,
    head: &'static str,
    value: fn(&Rung) -> Option<f64>,
}

/// What is drawn.
struct Drawing {
    searches: Vec<Search>,
    x: Log,
    plots: [Plot; 2],
    left: i32,
    right: i32,
    /// Distance of two names, and of the two lines of one, px.
    apart: (i32, i32),
}

impl Drawing {
    fn new(topic: &Topic, lang: Lang, format: Format) -> Self {
        let searches = own(topic);
        let (left, right, apart) =
            if format == Format::Wide { (84, 660, (18, 0)) } else { (62, 284, (34, 15)) };
        let rungs = || searches.iter().flat_map(|it| &it.rungs);
        let x = Log::over(rungs().map(|it| f64::from(it.boxes)), (left + 8, right - 8));
        let limits = limits(&searches);
        let plot = |index: usize, unit, head, value: fn(&Rung) -> Option<f64>, more: Vec<f64>| {
            let (top, bottom) = PLOTS[index];
            Plot { axis: Log::over(rungs().filter_map(value).chain(more), (bottom, top)), unit, head, value }
        };
        let plots = [
            plot(
                0,
                Unit::Ns,
                lang.pick("canary, p99 of its pings", "金丝雀 ping 的 p99"),
                |it| it.p99,
                limits,
            ),
            plot(
                1,
                Unit::Bytes,
                lang.pick("host memory more than before", "宿主机多用的内存"),
                |it| it.host,
                Vec::new(),
            ),
        ];
        Self { searches, x, plots, left, right, apart }
    }

    fn names_end(&self) -> i32 {
        PLOTS[1].1.max(PLOTS[0].0 + self.apart.0 * self.searches.len() as i32)
    }
}

impl Chart for Climb {
    fn name(&self) -> &'static str {
        "climb"
    }

    fn title(&self, _: &Topic, lang: Lang) -> String {
        lang.pick("On the way to the limit", "通往极限的路上").to_owned()
    }

    fn caption(&self, topic: &Topic, lang: Lang) -> String {
        let few = match (own(topic).iter().flat_map(|it| &it.rungs).any(|it| it.p99.is_none()), lang) {
            (false, _) => "",
            (true, Lang::En) => {
                " Where fewer than 1,000 pings were sent, or more than one in a hundred were never answered, there is no p99 and no dot."
            }
            (true, Lang::Zh) => "ping 少于 1,000 次，或百分之一以上未得到应答时，没有 p99，也没有圆点。",
        };
        match lang {
            Lang::En => format!(
                "Boxes held across; above, the latency that 99 % of the canary's pings stay within, each counted from the \
                 moment it was meant to leave; below, what the host uses more than before the first box. A diamond is the \
                 most boxes at which everything held, a red cross a number that failed; beside the name, the resource \
                 that ended the search. Red lines are the limits of p99. All scales are logarithmic.{few}{}",
                emulated(topic, lang)
            ),
            Lang::Zh => format!(
                "横轴为所持盒子数目；上图为 99 % 的金丝雀 ping 不超过的延迟，均从预定发出时刻算起；下图为宿主机比第一个盒子之前多用的内存。\
                 菱形为各项条件都保持的最多盒子数，红叉为失败的数目；名称旁为终止搜索的资源。红线为 p99 的上限。均为对数坐标。{few}{}",
                emulated(topic, lang)
            ),
        }
    }

    fn applies(&self, topic: &Topic) -> bool {
        topic.measure == MEASURE && topic.quantity == "canary" && !own(topic).is_empty()
    }

    fn draw(&self, topic: &Topic, lang: Lang, format: Format) -> Result<String, Error> {
        let it = Drawing::new(topic, lang, format);
        let label = Label::of(self, topic, lang, format);
        paint(&label, (format.width(), it.names_end() + 52), |canvas| {
            frame(canvas, &it, lang)?;
            for search in &it.searches {
                line(canvas, &it, search, ink(topic, search))?;
            }
            names(canvas, topic, &it, format)
        })
    }

    fn table(&self, topic: &Topic, lang: Lang) -> Table {
        let header = [
            lang.pick("contender", "参与者"),
            lang.pick("boxes", "盒子数"),
            lang.pick("held", "保持"),
            lang.pick("accel", "加速"),
            lang.pick("pings", "ping 次数"),
            lang.pick("failed", "失败"),
            lang.pick("p50", "p50"),
            "p99",
            lang.pick("host memory", "宿主机内存"),
            lang.pick("start here", "此时的启动"),
            lang.pick("per start on the way", "途中每次启动"),
            lang.pick("per box down", "每个销毁"),
        ];
        let time = |it: Option<f64>| it.map_or_else(|| "–".to_owned(), |it| shown(it, Unit::Ns));
        let rows = own(topic).into_iter().flat_map(|search| {
            let row = |it: &Rung| {
                let held = search.boxes.is_some_and(|most| f64::from(it.boxes) <= most);
                vec![
                    search.contender.clone(),
                    it.boxes.to_string(),
                    if held { lang.pick("yes", "是") } else { lang.pick("no", "否") }.to_owned(),
                    accel_name(search.accel).to_owned(),
                    it.pings.0.to_string(),
                    it.pings.1.to_string(),
                    time(it.p50),
                    time(it.p99),
                    it.host.map_or_else(|| "–".to_owned(), |it| shown(it, Unit::Bytes)),
                    time(it.start),
                    time(it.climb),
                    time(it.clear),
                ]
            };
            search.rungs.iter().map(row).collect::<Vec<_>>()
        });
        Table { header: header.map(str::to_owned).to_vec(), rows: rows.collect() }
    }
}

/// The searches of the topic's state that saw something on their way.
fn own(topic: &Topic) -> Vec<Search> {
    let state = topic.parameters.state.as_deref().unwrap_or_default();
    let wanted = |it: &Search| it.state == state && it.mode == topic.mode && !it.rungs.is_empty();
    searches(topic.document).into_iter().filter(wanted).collect()
}

fn limits(searches: &[Search]) -> Vec<f64> {
    let each: BTreeSet<u64> = searches.iter().map(|it| canary_limit(it.accel)).collect();
    each.into_iter().map(|it| it as f64).collect()
}

fn ink(topic: &Topic, search: &Search) -> Ink {
    let index = topic.document.contenders.iter().position(|it| it.name == search.contender);
    Ink::Hue(index.unwrap_or(0) % super::canvas::HUES)
}

fn frame(canvas: &mut Canvas, it: &Drawing, lang: Lang) -> Drawn {
    for (index, plot) in it.plots.iter().enumerate() {
        let (top, bottom) = PLOTS[index];
        canvas.text(plot.head, (4, top - 20), SMALL, Align::Start)?;
        let ticks = if plot.unit == Unit::Bytes { plot.axis.byte_ticks(26) } else { plot.axis.ticks(26) };
        for tick_at in ticks {
            canvas.line((it.left, tick_at.at), (it.right, tick_at.at), Ink::Grid.at(1.0), 1)?;
            canvas.text(&tick(tick_at.value, plot.unit), (it.left - 6, tick_at.at), SMALL, Align::End)?;
        }
        for tick_at in it.x.ticks(54) {
            canvas.line((tick_at.at, top), (tick_at.at, bottom + 4), Ink::Grid.at(0.6), 1)?;
        }
    }
    for limit in limits(&it.searches) {
        let y = it.plots[0].axis.place(limit);
        canvas.line((it.left, y), (it.right, y), Ink::Danger.at(0.6), 1)?;
    }
    for tick_at in it.x.ticks(54) {
        canvas.text(
            &tick(tick_at.value, Unit::Instances),
            (tick_at.at, PLOTS[1].1 + 16),
            SMALL,
            Align::Middle,
        )?;
    }
    let head = lang.pick("boxes held", "所持盒子数目");
    canvas.text(head, (i32::midpoint(it.left, it.right), PLOTS[1].1 + 36), SMALL, Align::Middle)
}

/// One search in both plots: a line up to its stop, and crosses at what failed.
fn line(canvas: &mut Canvas, it: &Drawing, search: &Search, ink: Ink) -> Drawn {
    let most = search.boxes.unwrap_or(0.0);
    for plot in &it.plots {
        let place =
            |rung: &Rung| Some((it.x.place(f64::from(rung.boxes)), plot.axis.place((plot.value)(rung)?)));
        let (held, failed): (Vec<&Rung>, Vec<&Rung>) =
            search.rungs.iter().partition(|rung| f64::from(rung.boxes) <= most);
        let held: Vec<(i32, i32)> = held.into_iter().filter_map(place).collect();
        if held.len() > 1 {
            canvas.path(&held, ink.at(0.7), 2)?;
        }
        for at in held.iter().rev().skip(1) {
            canvas.dot(*at, 3, ink.at(1.0))?;
        }
        for at in failed.into_iter().filter_map(place) {
            canvas.cross(at, Ink::Danger.at(1.0))?;
        }
        if let Some(at) = held.last() {
            canvas.diamond(*at, 5, ink.at(1.0), false)?;
        }
    }
    Ok(())
}

/// Name, most boxes and binding resource beside the stops.
fn names(canvas: &mut Canvas, topic: &Topic, it: &Drawing, format: Format) -> Drawn {
    let mut ends: Vec<(i32, i32, &Search)> = it
        .searches
        .iter()
        .map(|search| {
            let last = search.last().and_then(|rung| {
                Some((it.x.place(f64::from(rung.boxes)), it.plots[0].axis.place(rung.p99?)))
            });
            let (x, y) = last.unwrap_or((it.right, PLOTS[0].1));
            (x, y, search)
        })
        .collect();
    ends.sort_by_key(|it| it.1);
    let rows = apart(&ends.iter().map(|it| it.1).collect::<Vec<_>>(), it.apart.0, it.names_end());
    let room = format.width() - it.right - 16;
    for ((x, y, search), row) in ends.into_iter().zip(rows) {
        canvas.line((x + 6, y), (it.right + 6, row), ink(topic, search).at(0.4), 1)?;
        let bold = Type { size: 14.0, ink: Ink::Strong, bold: true };
        let boxes = search.figure();
        let by = search.binding.as_ref().map_or(String::new(), |it| format!(" · {}", it.resource));
        let stop = format!("{boxes}{by}");
        if it.apart.1 > 0 {
            let under = Type { size: 12.0, ..SMALL };
            canvas.text(&fit(&search.contender, bold, room), (it.right + 10, row), bold, Align::Start)?;
            canvas.text(&fit(&stop, under, room), (it.right + 10, row + it.apart.1), under, Align::Start)?;
        } else {
            canvas.text(&fit(&search.contender, bold, 128), (it.right + 10, row), bold, Align::Start)?;
            canvas.text(&fit(&stop, SMALL, room - 130), (it.right + 140, row), SMALL, Align::Start)?;
        }
    }
    Ok(())
}
