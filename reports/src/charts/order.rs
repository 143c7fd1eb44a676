//! The run in the order in which it happened: what drifted, what stalled, and that the order was shuffled.

use std::collections::BTreeMap;

use super::Chart;
use super::canvas::{Align, Canvas, Drawn, Ink, Label, SMALL, Type, WIDTH, fit, paint};
use super::lanes::{hue, tick};
use super::scale::Log;
use super::topic::{Table, Topic};
use crate::stats::{self, by_round};
use crate::summary::Summary;
use crate::units::{percent, shown};
use crate::{Error, Lang};

/// Values over the run: rounds from left to right, within a round in the order of the visits.
pub(super) struct Order;

/// The plot's left and right end, px.
const PLOT: (i32, i32) = (78, 760);
/// Height of the strip for failures, px.
const STRIP: i32 = 30;
/// Distance of the labels at the right, px.
const LABEL_STEP: i32 = 19;

impl Chart for Order {
    fn name(&self) -> &'static str {
        "order"
    }

    fn title(&self, _: &Topic, lang: Lang) -> String {
        lang.pick("In the order of the run", "按运行顺序").to_owned()
    }

    fn caption(&self, _: &Topic, lang: Lang) -> String {
        lang.pick(
            "Rounds from left to right; within a round each dot stands where its visit stood in the shuffled order. \
             Lines join the rounds' medians, rings are the second visit of the A/A test, crosses on top are failures. \
             A line that climbs or falls is drift.",
            "自左至右为各轮；轮内每个点位于其在随机顺序中的位置。线连接各轮中位数，圆环为 A/A 检验的第二次测量，\
             顶部叉号为失败。持续上升或下降的线即漂移。",
        )
        .to_owned()
    }

    fn applies(&self, topic: &Topic) -> bool {
        topic.quantity == "ready" && topic.lanes.iter().any(|it| it.n > 0)
    }

    fn draw(&self, topic: &Topic, lang: Lang) -> Result<String, Error> {
        let samples = || topic.lanes.iter().flat_map(|it| &topic.series(it).samples);
        let failures = samples().any(|it| it.failure.is_some());
        let top = 12 + if failures { STRIP } else { 0 };
        let bottom = top + (LABEL_STEP * topic.lanes.len() as i32 + 40).max(340);
        let axis = Log::over(samples().filter_map(|it| it.value).map(|it| it as f64), (bottom, top));
        let time = Time::of(topic);
        let text = Label {
            id: format!("{}-{}", topic.id(), self.name()),
            title: self.title(topic, lang),
            text: self.caption(topic, lang),
        };
        paint(&text, bottom + 46, |canvas| {
            for tick_at in axis.ticks(30) {
                canvas.line((PLOT.0, tick_at.at), (PLOT.1, tick_at.at), Ink::Grid.at(1.0), 1)?;
                canvas.text(&tick(tick_at.value, topic.unit), (PLOT.0 - 8, tick_at.at), SMALL, Align::End)?;
            }
            if failures {
                canvas.rectangle((PLOT.0, 8), (PLOT.1, 8 + STRIP - 8), Ink::Danger.at(0.08))?;
                canvas.text(
                    lang.pick("failed", "失败"),
                    (PLOT.0 - 8, 8 + STRIP / 2 - 4),
                    SMALL,
                    Align::End,
                )?;
            }
            rounds(canvas, &time, top, bottom, lang)?;
            for lane in &topic.lanes {
                draw_lane(canvas, lane, topic, &axis, &time)?;
            }
            labels(canvas, topic, &axis, (top, bottom))
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
                lane.label(),
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
    rounds: u32,
    visits: u32,
}

impl Time {
    fn of(topic: &Topic) -> Self {
        let samples = || topic.lanes.iter().flat_map(|it| &topic.series(it).samples);
        Self {
            rounds: samples().map(|it| it.round).max().unwrap_or(0).saturating_add(1),
            visits: samples().map(|it| it.position).max().unwrap_or(0).saturating_add(1),
        }
    }

    fn place(&self, round: f64) -> i32 {
        let share = round / f64::from(self.rounds);
        PLOT.0 + 4 + (share * f64::from(PLOT.1 - PLOT.0 - 8)).round() as i32
    }

    fn visit(&self, round: u32, position: u32) -> i32 {
        self.place(f64::from(round) + (f64::from(position) + 0.5) / f64::from(self.visits))
    }
}

/// The rounds' numbers, at most a dozen of them, and bands that tell neighbouring rounds apart.
fn rounds(canvas: &mut Canvas, time: &Time, top: i32, bottom: i32, lang: Lang) -> Drawn {
    let steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 50_000];
    let step = steps.into_iter().find(|it| time.rounds / it <= 14).unwrap_or(time.rounds / 10 + 1);
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
    let middle = i32::midpoint(PLOT.0, PLOT.1);
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
        if line.len() > 1 {
            canvas.path(&line, ink.at(0.55), 2)?;
        }
    }
    let radius = if lane.n > 300 { 2 } else { 3 };
    for sample in &series.samples {
        let x = time.visit(sample.round, sample.position);
        match sample.value {
            Some(value) if lane.is_aa() => {
                canvas.ring((x, axis.place(value as f64)), radius + 1, ink.at(1.0))?
            }
            Some(value) => canvas.dot((x, axis.place(value as f64)), radius, ink.at(0.9))?,
            None => canvas.cross((x, 8 + STRIP / 2 - 4), ink.at(1.0))?,
        }
    }
    Ok(())
}

/// Names beside the ends of their lines, pushed apart until none overlaps, with a leader to each line.
fn labels(canvas: &mut Canvas, topic: &Topic, axis: &Log, (top, bottom): (i32, i32)) -> Drawn {
    let mut ends: Vec<(i32, &Summary)> = topic
        .lanes
        .iter()
        .filter(|it| !it.is_aa())
        .filter_map(|lane| {
            let last = *by_round(topic.series(lane)).last_key_value()?.1;
            Some((axis.place(last), *lane))
        })
        .collect();
    ends.sort_by_key(|(y, lane)| (*y, lane.contender.clone()));
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
        canvas.path(
            &[(PLOT.1, *y), (PLOT.1 + 10, *y), (PLOT.1 + 22, place), (PLOT.1 + 28, place)],
            ink.at(0.8),
            1,
        )?;
        let kind = Type { size: 14.0, ink: Ink::Strong, bold: false };
        canvas.dot((PLOT.1 + 34, place), 5, ink.at(1.0))?;
        let name = fit(&lane.contender, kind.size, WIDTH - PLOT.1 - 46);
        canvas.text(&name, (PLOT.1 + 44, place), kind, Align::Start)?;
    }
    Ok(())
}
