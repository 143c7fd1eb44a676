//! Lines as libtest prints them for benchmarks, which other tools parse.
//!
//! `bench: N ns/iter (+/- M)` is for times alone. Memory is `bench: N bytes/box (+/- M)`: current parsers of these
//! lines (github-action-benchmark's `cargo`) take any unit of that form, older ones pass it over. How many boxes fit
//! is no such line: everybody who parses them takes the smaller figure for the better one.

use tare_reports::document::{Document, Sample, Series, Status, Unit};
use tare_reports::memory::{Cost, costs};

/// The lines of one measure.
pub(super) fn of(measure: &str, document: &Document) -> Vec<String> {
    let costs = if measure == tare_reports::memory::MEASURE { costs(document) } else { Vec::new() };
    document
        .contenders
        .iter()
        .flat_map(|row| {
            let name = format!("test {measure}/{}", row.name);
            let reason = row.reason.as_deref().unwrap_or("");
            match row.status {
                Status::Skipped => vec![format!("{name} ... ignored, {reason}")],
                Status::Failed => vec![format!("{name} ... FAILED, {reason}")],
                Status::Measured => {
                    let of_cost = costs.iter().filter(|it| it.contender == row.name).flat_map(slopes);
                    let mine = document.series.iter().filter(|s| {
                        s.contender == row.name && s.measure == measure && s.parameters.aa.is_none()
                    });
                    of_cost
                        .chain(
                            mine.filter(|it| !is_on_the_way(it)).map(|it| (it.quantity.clone(), figures(it))),
                        )
                        .map(|(what, figures)| format!("{name}/{what} ... {figures}"))
                        .collect()
                }
            }
        })
        .collect()
}

/// Whether a series is one look of many: those at a number of held boxes, of which a slope is made, and those on the
/// way of a search.
fn is_on_the_way(series: &Series) -> bool {
    let looked_at = series.measure == tare_reports::memory::MEASURE && series.quantity != "peak";
    series.parameters.instances.is_some() && (looked_at || series.measure == tare_reports::density::MEASURE)
}

/// What one more box costs, by each method.
fn slopes(cost: &Cost) -> Vec<(String, String)> {
    let line = |(method, slope): (&tare_reports::memory::Method, &tare_reports::stats::Slope)| {
        let half = slope.interval.map_or(0.0, |it| (it.high - it.low) / 2.0);
        let what = format!("{}/{}", cost.state, method.quantity());
        (what, bench(slope.each.max(0.0) as u64, "bytes/box", half as u64))
    };
    cost.slopes.iter().map(line).collect()
}

/// The median with half the width between the quartiles.
fn figures(series: &Series) -> String {
    let mut values: Vec<u64> = series.samples.iter().filter_map(|s: &Sample| s.value).collect();
    values.sort_unstable();
    let at = |part: usize| values[(values.len() - 1) * part / 4];
    match series.unit {
        _ if values.is_empty() => {
            let why = series.samples.iter().find_map(|it| it.detail.as_deref());
            format!("ignored, {}", why.unwrap_or("no sample succeeded"))
        }
        Unit::Ns => bench(at(2), "ns/iter", (at(3) - at(1)) / 2),
        Unit::Bytes => bench(at(2), "bytes/box", (at(3) - at(1)) / 2),
        Unit::Entries => format!("{} entries differ", grouped(at(2))),
        Unit::Instances => {
            let predicted = if series.predicted { "predicted: " } else { "" };
            let ended = series.binding.as_ref().map(|it| format!(", ended by {}", it.resource));
            format!("{predicted}{} instances{}", grouped(at(2)), ended.unwrap_or_default())
        }
    }
}

fn bench(value: u64, unit: &str, spread: u64) -> String {
    format!("bench: {:>14} {unit} (+/- {})", grouped(value), grouped(spread))
}

fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use tare_reports::document::{Binding, Mode, Parameters};

    fn series(measure: &str, quantity: &str, unit: Unit, values: &[u64]) -> Series {
        Series {
            measure: measure.into(),
            quantity: quantity.into(),
            mode: Mode::Warm,
            contender: "tare".into(),
            unit,
            predicted: false,
            parameters: Parameters::default(),
            samples: values.iter().map(|value| Sample::value(0, 0, *value)).collect(),
            binding: None,
        }
    }

    #[test]
    fn each_unit_has_its_line() {
        let line = figures(&series("startup", "ready", Unit::Ns, &[1, 1_830_211, 9_000_000]));
        assert_eq!(line, "bench:      1,830,211 ns/iter (+/- 915,105)");
        let line = figures(&series("memory", "peak", Unit::Bytes, &[524_288]));
        assert_eq!(line, "bench:        524,288 bytes/box (+/- 0)");
        let mut search = series("density", "idle", Unit::Instances, &[10_240]);
        search.binding =
            Some(Binding { resource: "memory".into(), failed_at: None, evidence: String::new() });
        assert_eq!(figures(&search), "10,240 instances, ended by memory");
        assert_eq!(figures(&series("density", "idle", Unit::Instances, &[])), "ignored, no sample succeeded");
    }

    #[test]
    fn one_look_of_many_has_no_line() {
        let mut look = series("memory", "host", Unit::Bytes, &[1]);
        look.parameters.instances = Some(64);
        assert!(is_on_the_way(&look));
        look.quantity = "peak".into();
        assert!(!is_on_the_way(&look));
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!([0, 999, 1000, 1830211].map(grouped), ["0", "999", "1,000", "1,830,211"]);
    }
}
