//! Numbers for people: three significant digits and a unit. Inside, everything stays in base units.

use crate::document::Unit;

/// A value with its unit: `1.83 ms`, `64.0 KiB`, `12 instances`.
pub fn value(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Ns => duration(value),
        Unit::Bytes => bytes(value),
        Unit::Instances => format!("{value:.0} instances"),
        Unit::Entries => format!("{value:.0}"),
    }
}

/// As [`value`], with the letter that the unit has: `1.83 µs`. For the page; a terminal may not know it.
pub fn shown(it: f64, unit: Unit) -> String {
    value(it, unit).replace(" us", " µs")
}

/// Nanoseconds as `ns`, `us`, `ms`, `s` or `min`.
pub fn duration(ns: f64) -> String {
    scaled(ns, &[(1.0, "ns"), (1e3, "us"), (1e6, "ms"), (1e9, "s"), (60e9, "min")])
}

/// Bytes as `B`, `KiB`, `MiB`, `GiB` or `TiB`.
pub fn bytes(bytes: f64) -> String {
    const K: f64 = 1024.0;
    scaled(bytes, &[(1.0, "B"), (K, "KiB"), (K * K, "MiB"), (K * K * K, "GiB"), (K * K * K * K, "TiB")])
}

/// A ratio: `3.05x`, `0.92x`, `1240x`.
pub fn ratio(ratio: f64) -> String {
    format!("{}x", digits(ratio))
}

/// A share as per cent: 0.0123 is `1.2 %`, and what rounds to nothing has no sign.
pub fn percent(share: f64) -> String {
    let tenths = (share * 1000.0).round() + 0.0;
    format!("{:.1} %", tenths / 10.0)
}

/// The largest unit that keeps the figure at or above one; the step up is taken where rounding would
/// print 1000 of the smaller one.
fn scaled(value: f64, steps: &[(f64, &str)]) -> String {
    let size = value.abs();
    let (scale, name) =
        steps.iter().rev().find(|(scale, _)| size >= scale * 0.9995).copied().unwrap_or(steps[0]);
    // A whole number of the base unit has no decimals to show.
    if scale == 1.0 && value.fract() == 0.0 {
        return format!("{value:.0} {name}");
    }
    format!("{} {name}", digits(value / scale))
}

/// Three significant digits, never in exponents.
pub fn digits(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    // The 0.05 % let 9.996 round to 10.0 and not to 10.00.
    let magnitude = (value.abs() * 1.0005).log10().floor();
    let decimals = (2.0 - magnitude).clamp(0.0, 9.0) as usize;
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_and_the_unit_that_fits() {
        for (ns, expected) in [
            (0.0, "0 ns"),
            (1.0, "1 ns"),
            (999.0, "999 ns"),
            (999.7, "1.00 us"),
            (1_000.0, "1.00 us"),
            (1_830_211.0, "1.83 ms"),
            (12_345_678.0, "12.3 ms"),
            (999_960_000.0, "1.00 s"),
            (1_500_000_000.0, "1.50 s"),
            (90e9, "1.50 min"),
            (-1_830_211.0, "-1.83 ms"),
        ] {
            assert_eq!(duration(ns), expected, "{ns}");
        }
    }

    #[test]
    fn bytes_are_binary() {
        assert_eq!(bytes(1023.9), "1.00 KiB");
        assert_eq!(bytes(1000.0), "1000 B");
        assert_eq!(bytes(16.4 * 1024.0 * 1024.0), "16.4 MiB");
        assert_eq!(value(12.0, Unit::Instances), "12 instances");
    }

    #[test]
    fn ratios_and_shares() {
        assert_eq!(ratio(3.049), "3.05x");
        assert_eq!(ratio(0.917), "0.917x");
        assert_eq!(ratio(1240.4), "1240x");
        assert_eq!(percent(0.0123), "1.2 %");
        assert_eq!([percent(-0.000_01), percent(-0.002)], ["0.0 %", "-0.2 %"]);
    }
}
