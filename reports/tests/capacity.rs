//! The capacity model, on hosts and boxes whose truth is known: it finds it, or says that it does not know.

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use tare_reports::capacity::{Answer, Limit, MEMORY, Machine, Model};
use tare_reports::stats::Point;

const KIB: f64 = 1024.0;
const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// A search's looks at so many boxes, each of which costs `each` bytes and `more` for every one beside it.
fn looks(rungs: &[u32], once: f64, each: f64, more: f64, mut error: impl FnMut() -> f64) -> Vec<Point> {
    let value = |boxes: f64| once + each * boxes + more * boxes * boxes / 2.0;
    let point = |boxes: &u32| {
        let boxes = f64::from(*boxes);
        Point { climb: (0, 0), boxes, value: value(boxes) + error() }
    };
    rungs.iter().map(point).collect()
}

/// A cgroup that everything lives in.
fn cgroup(memory: f64) -> Machine {
    Machine { memory, used: 0.0, reserve: 0.0, limits: Vec::new() }
}

fn noise(seed: u64, size: f64) -> impl FnMut() -> f64 {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    move || size * ((0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0)
}

#[test]
fn who_must_fit_into_a_host_and_into_a_cgroup_fits_into_the_smaller() {
    let point = |boxes, low, high, binding: &str| Answer::Point { boxes, low, high, binding: binding.into() };
    let band = |low, high| Answer::Band { low, high, binding: MEMORY.into() };
    let refused = || Answer::Refused { why: "full".into() };
    let (host, cgroup) = (point(900, 850, 950, "pids"), point(1000, 800, 1100, MEMORY));
    let both = point(900, 800, 950, "pids");
    assert_eq!(host.clone().and(cgroup.clone()), both);
    assert_eq!(cgroup.clone().and(host), both, "in either order");
    assert_eq!(cgroup.clone().and(band(4000, 9000)), cgroup, "one of them is within its reach");
    assert_eq!(band(4000, 9000).and(band(3000, 9500)), band(3000, 9000));
    assert_eq!(refused().and(cgroup), refused());
}

#[test]
fn fitted_to_a_quarter_it_finds_the_limit_within_a_tenth() {
    // 1 GiB and boxes of 560 KiB that grow a little: the truth lies near 1,800.
    let (once, each, more) = (3e6, 560.0 * KIB, 20.0);
    let truth =
        (1..).find(|n| once + each * f64::from(*n) + more * f64::from(n * n) / 2.0 > GIB).unwrap() - 1;
    // A little more than a quarter: an answer that errs upwards has to lie within the reach, too.
    let most = truth * 28 / 100;
    let quarter: Vec<u32> = [1, 2, 4, 8].iter().map(|part| most * part / 8).collect();
    let quarter: Vec<u32> = quarter.into_iter().chain([most * 3 / 4, most / 12, most / 20]).collect();
    let (mut within, mut width) = (0, 0.0);
    for seed in 0..60 {
        let model = Model::of(&looks(&quarter, once, each, more, noise(seed, 300e3))).unwrap();
        let Answer::Point { boxes, low, high, binding } = model.boxes(&cgroup(GIB)) else {
            panic!("{:?}", model.boxes(&cgroup(GIB)));
        };
        assert_eq!(binding, MEMORY);
        assert!(low <= boxes && boxes <= high);
        assert!((f64::from(boxes) / f64::from(truth) - 1.0).abs() < 0.1, "{boxes} for {truth}");
        within += u32::from((low..=high).contains(&truth));
        width += f64::from(high - low) / f64::from(truth) / 60.0;
    }
    assert!(within >= 54, "the interval held the truth in {within} of 60");
    assert!(width < 0.2, "and is {width} of it wide");
}

#[test]
fn a_bend_that_is_seen_is_followed() {
    let points =
        looks(&[500, 1_000, 2_000, 3_000, 4_000, 6_000, 8_000], 1e7, 400.0 * KIB, 60.0, noise(1, 1e5));
    let model = Model::of(&points).unwrap();
    assert!(model.fit().is_bent());
    let Answer::Point { boxes, .. } = model.boxes(&cgroup(8.0 * GIB)) else { panic!("within reach") };
    let truth =
        (1..).find(|n| 1e7 + 400.0 * KIB * f64::from(*n) + 30.0 * f64::from(*n).powi(2) > 8.0 * GIB).unwrap();
    assert!((f64::from(boxes) / f64::from(truth) - 1.0).abs() < 0.02, "{boxes} for {truth}");
}

#[test]
fn beyond_four_times_what_was_seen_there_is_a_band_and_no_figure() {
    let model = Model::of(&looks(&[64, 128, 192, 256], 0.0, 500.0 * KIB, 0.0, || 0.0)).unwrap();
    let answer = model.boxes(&Machine::host(8.0 * GIB));
    let Answer::Band { low, high, binding } = answer else { panic!("{answer:?}") };
    assert_eq!((low, &*binding), (1_024, MEMORY));
    assert!((15_900..=15_950).contains(&high), "{high}");
    // One box beyond is beyond, whichever resource ends it.
    let pids = |limit: f64| Machine {
        limits: vec![Limit { name: "pids".into(), limit, per_box: 1.0 }],
        ..Machine::host(8.0 * GIB)
    };
    let figure = Answer::Point { boxes: 1_024, low: 1_024, high: 1_024, binding: "pids".into() };
    assert_eq!(model.boxes(&pids(1_024.0)), figure);
    let band = Answer::Band { low: 1_024, high: 1_025, binding: "pids".into() };
    assert_eq!(model.boxes(&pids(1_025.0)), band);
    // As far as that there is one, and it leaves the reserve alone.
    let answer = model.boxes(&Machine::host(0.5 * GIB));
    let Answer::Point { boxes, .. } = answer else { panic!("{answer:?}") };
    assert_eq!(boxes, (0.5 * GIB * 0.95 / (500.0 * KIB)) as u32);
}

#[test]
fn the_first_resource_to_end_is_named() {
    let model = Model::of(&looks(&[64, 128, 192, 256], 0.0, 500.0 * KIB, 0.0, || 0.0)).unwrap();
    let limit = |name: &str, limit: f64, per_box: f64| Limit { name: name.into(), limit, per_box };
    let machine = |limits: Vec<Limit>| Machine { limits, ..Machine::host(0.4 * GIB) };
    let answer = model.boxes(&machine(vec![limit("pids", 1_000.0, 1.0), limit("keys", 401.0, 2.0)]));
    assert_eq!(answer, Answer::Point { boxes: 200, low: 200, high: 200, binding: "keys".into() });
    let answer = model.boxes(&machine(vec![limit("pids", 1e9, 1.0), limit("ptys", 9.0, 0.0)]));
    assert!(
        matches!(answer, Answer::Point { binding, .. } if binding == MEMORY),
        "a need of nothing never binds"
    );
    let answer = model.boxes(&machine(vec![Limit::cpu(2.0, 0.01)]));
    assert!(matches!(answer, Answer::Point { boxes: 200, binding, .. } if binding == "cpu"));
}

#[test]
fn it_refuses_in_words() {
    let few = looks(&[64, 128], 0.0, 500.0 * KIB, 0.0, || 0.0);
    assert!(Model::of(&few).unwrap_err().starts_with("2 looks at held boxes are too few"));
    let free = looks(&[64, 128, 192, 256], 5e8, -10.0, 0.0, || 0.0);
    assert!(Model::of(&free).unwrap_err().contains("did not cost more memory"));
    let model = Model::of(&looks(&[64, 128, 192, 256], 0.0, 500.0 * KIB, 0.0, || 0.0)).unwrap();
    let full = Machine { used: GIB, ..Machine::host(GIB) };
    assert!(matches!(model.boxes(&full), Answer::Refused { why } if why.contains("no memory for a box")));
}

proptest! {
    #[test]
    fn more_memory_never_holds_fewer_and_no_figure_lies_out_of_reach(
        each in 1e3..1e9, once in 0.0..1e9, memory in 1e6..1e14, seed: u64,
    ) {
        let points = looks(&[8, 16, 24, 32, 48], once, each, 0.0, noise(seed, each / 4.0));
        let model = Model::of(&points).unwrap();
        let most = |answer: &Answer| match answer {
            Answer::Point { boxes, .. } => *boxes,
            Answer::Band { high, .. } => *high,
            Answer::Refused { .. } => 0,
        };
        let (one, two) = (model.boxes(&Machine::host(memory)), model.boxes(&Machine::host(memory * 2.0)));
        prop_assert!(most(&two) >= most(&one).min(4 * model.most()));
        match one {
            Answer::Point { boxes, low, high, .. } => {
                prop_assert!(low <= boxes && boxes <= high);
                prop_assert!(boxes <= 4 * model.most(), "no figure beyond the reach");
            }
            Answer::Band { low, high, .. } => prop_assert!(low <= 4 * model.most() && high > 4 * model.most()),
            Answer::Refused { .. } => prop_assert!(false, "there is memory"),
        }
    }
}
