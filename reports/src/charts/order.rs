//! The run in the order in which it happened: what drifted, what stalled, and that the order was shuffled.

use std::collections::BTreeMap;

use super::canvas::{Align, Canvas, Drawn, Ink, Label, SMALL, Type, fit, paint};
use super::lanes::{hue, tick};
use super::scale::Log;
use super::topic::{Table, Topic, emulated};
use super::{Chart, Format};
use crate::stats::{self, by_round};
use crate::summary::Summary;
use crate::units::{percent, shown};
use crate::{Error, Lang};

/// Values over the run: rounds from left to right, within a round in the order of the visits.
pub(super) struct Order;

/// Height of the strip for failures, px.
const STRIP: i32 = 30;
/// More rounds than this are not joined by a line.
const JOINED_UP_TO: usize = 300;
/// Distance of the labels, px.
const LABEL_STEP: i32 = 19;

/// The plot's left and right end, px. On a narrow chart the names stand below it.
fn plot(format: Format) -> (i32, i32) {
    match format {
        Format::Wide => (78, 760),
        Format::Narrow => (58, 394),
    }
}

impl Chart for Order {
    fn name(&self) -> &'static str {
        "order"
    }

    fn title(&self, _: &Topic, lang: Lang) -> String {
        lang.pick("In the order of the run", "按运行顺序").to_owned()
    }

    fn caption(&self, topic: &Topic, lang: Lang) -> String {
        let words = lang.pick(
            "Rounds from left to right; within a round each dot stands where its visit stood in the shuffled order. \
             Lines join the rounds' medians (up to 300 rounds), rings are the second visit of the A/A test, crosses on top are failures. \
             A line that climbs or falls is drift. Log scale.",
            "自左至右为各轮；轮内每个点位于其在随机顺序中的位置。线连接各轮中位数（不超过 300 轮时），圆环为 A/A 检验的第二次测量，\
             顶部叉号为失败。持续上升或下降的线即漂移。对数坐标。",
        );
        format!("{words}{}", emulated(topic, lang))
    }

    fn applies(&self, topic: &Topic) -> bool {
        topic.quantity == "ready"
            && topic.along.is_none()
            && !topic.is_watched()
            && topic.lanes.iter().any(|it| it.n > 0)
    }

    fn draw(&self, topic: &Topic, lang: Lang, format: Format) -> Result<String, Error> {
        let samples = || topic.lanes.iter().flat_map(|it| &topic.series(it).samples);
        let failures = samples().any(|it| it.failure.is_some());
        let names = topic.lanes.iter().filter(|it| !it.is_aa()).count() as i32;
        let top = 12 + if failures { STRIP } else { 0 };
        let (bottom, below) = match format {
            Format::Wide => (top + (LABEL_STEP * names + 40).max(340), 46),
            Format::Narrow => (top + 300, 50 + LABEL_STEP * ((names + 1) / 2)),
        };
        let axis = Log::over(samples().filter_map(|it| it.value).map(|it| it as f64), (bottom, top));
        let time = Time::of(topic, plot(format));
        let (left, right) = time.plot;
        let label = Label::of(self, topic, lang, format);
        paint(&label, (format.width(), bottom + below), |canvas| {
            for tick_at in axis.ticks(30) {
                canvas.line((left, tick_at.at), (right, tick_at.at), Ink::Grid.at(1.0), 1)?;
                canvas.text(&tick(tick_at.value, topic.unit), (left - 6, tick_at.at), SMALL, Align::End)?;
            }
            if failures {
                canvas.rectangle((left, 8), (right, STRIP), Ink::Danger.at(0.08))?;
                canvas.text(lang.pick("failed", "失败"), (left - 6, 4 + STRIP / 2), SMALL, Align::End)?;
            }
            rounds(canvas, &time, top, bottom, lang)?;
            for lane in &topic.lanes {
                draw_lane(canvas, lane, topic, &axis, &time)?;
            }
            match format {
                Format::Wide => labels(canvas, topic, &axis, (top, bottom), lang),
                Format::Narrow => legend(canvas, topic, &axis, bottom + 58, lang),
            }
        })
    }

    fn table(&self, topic: &Topic, lang: Lang) -> Table {
        let header = [
            lang.pick("contender", "参与者"),
            lang.pick("rounds", "轮数"),
            lang.pick("first third", "前三分之一"),
            lang.pick("last third", "后三分之一"),
            lang.pick("drift over the run", "全程漂移"),
            lang.pick("99 % interval", "99 % 区间"),
        ];
        let rows = topic.lanes.iter().map(|lane| {
            let rounds = by_round(topic.series(lane));
            let values: Vec<f64> = rounds.values().copied().collect();
            let third = values.len().div_ceil(3);
            let show = |part: &[f64]| stats::median(part).map_or("n/a".to_owned(), |it| shown(it, lane.unit));
            let drift = stats::drift(&rounds);
            vec![
                lane.label(lang),
                rounds.len().to_string(),
                show(&values[..third]),
                show(&values[values.len() - third..]),
                drift.map_or("n/a".to_owned(), |it| percent(it.change)),
                drift.map_or("n/a".to_owned(), |it| {
                    format!("{} – {}", percent(it.interval.low), percent(it.interval.high))
                }),
            ]
        });
        Table { header: header.map(str::to_owned).to_vec(), rows: rows.collect() }
    }
}

/// The horizontal axis: rounds, and visits within them.
struct Time {
    plot: (i32, i32),
    rounds: u32,
    visits: u32,
}

impl Time {
    fn of(topic: &Topic, plot: (i32, i32)) -> Self {
        let samples = || topic.lanes.iter().flat_map(|it| &topic.series(it).samples);
        Self {
            plot,
            rounds: samples().map(|it| it.round).max().unwrap_or(0).saturating_add(1),
            visits: samples().map(|it| it.position).max().unwrap_or(0).saturating_add(1),
        }
    }

    fn place(&self, round: f64) -> i32 {
        let share = round / f64::from(self.rounds);
        self.plot.0 + 4 + (share * f64::from(self.plot.1 - self.plot.0 - 8)).round() as i32
    }

    fn visit(&self, round: u32, position: u32) -> i32 {
        self.place(f64::from(round) + (f64::from(position) + 0.5) / f64::from(self.visits))
    }
}

/// The rounds' numbers, at most a dozen of them, and bands that tell neighbouring rounds apart.
fn rounds(canvas: &mut Canvas, time: &Time, top: i32, bottom: i32, lang: Lang) -> Drawn {
    let most = ((time.plot.1 - time.plot.0) / 46) as u32;
    let steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 50_000];
    let step = steps.into_iter().find(|it| time.rounds / it <= most).unwrap_or(time.rounds / 10 + 1);
    if time.rounds <= 60 {
        for round in (1..time.rounds).step_by(2) {
            let (from, to) = (time.place(f64::from(round)), time.place(f64::from(round) + 1.0));
            canvas.rectangle((from, top), (to, bottom), Ink::Grid.at(0.35))?;
        }
    }
    for round in (0..time.rounds).step_by(step as usize) {
        let x = time.place(f64::from(round) + 0.5);
        canvas.text(&round.to_string(), (x, bottom + 14), SMALL, Align::Middle)?;
    }
    let middle = i32::midpoint(time.plot.0, time.plot.1);
    canvas.text(lang.pick("round", "轮次"), (middle, bottom + 34), SMALL, Align::Middle)
}

fn draw_lane(canvas: &mut Canvas, lane: &Summary, topic: &Topic, axis: &Log, time: &Time) -> Drawn {
    let ink = hue(topic, lane);
    let series = topic.series(lane);
    if !lane.is_aa() {
        let mut places: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        for sample in series.samples.iter().filter(|it| it.value.is_some()) {
            let x = time.visit(sample.round, sample.position);
            places.entry(sample.round).or_default().push(f64::from(x));
        }
        let medians = by_round(series);
        let line: Vec<(i32, i32)> = medians
            .iter()
            .filter_map(|(round, value)| {
                Some((stats::median(places.get(round)?)? as i32, axis.place(*value)))
            })
            .collect();
        // Thousands of joined rounds are a band that hides its own dots.
        if (2..=JOINED_UP_TO).contains(&line.len()) {
            canvas.path(&line, ink.at(0.55), 2)?;
        }
    }
    let radius = if lane.n > JOINED_UP_TO { 2 } else { 3 };
    for sample in &series.samples {
        let x = time.visit(sample.round, sample.position);
        match sample.value {
            Some(value) if lane.is_aa() => {
                canvas.ring((x, axis.place(value as f64)), radius + 1, ink.at(1.0))?
            }
            Some(value) => canvas.dot(
                (x, axis.place(value as f64)),
                radius,
                ink.at(if lane.n > JOINED_UP_TO { 0.5 } else { 0.9 }),
            )?,
            None => canvas.cross((x, 4 + STRIP / 2), ink.at(1.0))?,
        }
    }
    Ok(())
}

/// The lanes by where their lines end, top first, with that place.
fn ends<'a>(topic: &Topic<'a>, axis: &Log) -> Vec<(i32, &'a Summary)> {
    let last = |lane: &Summary| Some(*by_round(topic.series(lane)).last_key_value()?.1);
    let lanes = topic.lanes.iter().filter(|it| !it.is_aa());
    let mut ends: Vec<_> = lanes.filter_map(|lane| Some((axis.place(last(lane)?), *lane))).collect();
    ends.sort_by_key(|(y, lane)| (*y, lane.label(Lang::En)));
    ends
}

const LABEL: Type = Type { size: 14.0, ink: Ink::Strong, bold: false };

/// Names beside the ends of their lines, pushed apart until none overlaps, with a leader to each line.
fn labels(canvas: &mut Canvas, topic: &Topic, axis: &Log, (top, bottom): (i32, i32), lang: Lang) -> Drawn {
    let (_, right) = plot(Format::Wide);
    let ends = ends(topic, axis);
    let mut places: Vec<i32> = ends.iter().map(|(y, _)| *y).collect();
    for index in 1..places.len() {
        places[index] = places[index].max(places[index - 1] + LABEL_STEP);
    }
    // What ran out below is pushed up again.
    let mut limit = bottom + 4;
    for place in places.iter_mut().rev() {
        *place = (*place).min(limit).max(top);
        limit = *place - LABEL_STEP;
    }
    for ((y, lane), place) in ends.iter().zip(places) {
        let ink = hue(topic, lane);
        let leader = [(right, *y), (right + 10, *y), (right + 22, place), (right + 28, place)];
        canvas.path(&leader, ink.at(0.8), 1)?;
        canvas.dot((right + 34, place), 5, ink.at(1.0))?;
        let name = fit(&lane.label(lang), LABEL, Format::Wide.width() - right - 46);
        canvas.text(&name, (right + 44, place), LABEL, Align::Start)?;
    }
    Ok(())
}

/// Names below the plot in two columns, in the order of the lines from the top.
fn legend(canvas: &mut Canvas, topic: &Topic, axis: &Log, top: i32, lang: Lang) -> Drawn {
    let ends = ends(topic, axis);
    let rows = ends.len().div_ceil(2).max(1);
    for (index, (_, lane)) in ends.iter().enumerate() {
        let (x, y) = (10 + 200 * (index / rows) as i32, top + LABEL_STEP * (index % rows) as i32);
        canvas.dot((x, y), 5, hue(topic, lane).at(1.0))?;
        canvas.text(&fit(&lane.label(lang), LABEL, 172), (x + 11, y), LABEL, Align::Start)?;
    }
    Ok(())
}
