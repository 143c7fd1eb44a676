//! The values of options: sizes, CPUs, signals, users, each with what is wrong with a bad one.
//!
//! Man page: signal(7). Look at it: `tare-runtime kill box NOPE`

use std::str::FromStr;

use nix::sys::signal::Signal;
use tare_runtime::MilliCpus;

pub(super) fn one_of<T: Copy>(text: &str, values: &[(&str, T)]) -> Result<T, String> {
    let names = || values.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" or ");
    let found = values.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| *value).ok_or_else(|| format!("expected {}", names()))
}

/// "256MiB", "256M" and "256m" are one: powers of 1024, as everywhere with memory.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| format!("{text:?} does not begin with a number"))?;
    let power = match text[digits..].to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 1,
        "m" | "mib" => 2,
        "g" | "gib" => 3,
        unit => return Err(format!("unknown unit {unit:?} (use KiB, MiB or GiB)")),
    };
    number.checked_mul(1 << (10 * power)).ok_or_else(|| format!("{text} does not fit into 64 bits"))
}

pub(super) fn cpus(text: &str) -> Result<MilliCpus, String> {
    match text.parse::<f64>() {
        Ok(cpus) if cpus > 0.0 && cpus <= 1_000_000.0 => Ok(MilliCpus((cpus * 1000.0).round() as u32)),
        _ => Err(format!("{text:?} is not a number of CPUs")),
    }
}

/// "TERM", "SIGTERM" or "15"; real-time signals by number.
pub(crate) fn signal(text: &str) -> Result<i32, String> {
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=64).contains(&number) { Ok(number) } else { Err(format!("{number} is no signal")) };
    }
    let name = text.to_ascii_uppercase();
    let full = if name.starts_with("SIG") { name } else { format!("SIG{name}") };
    Signal::from_str(&full).map(|signal| signal as i32).map_err(|_| format!("{text:?} is no signal"))
}

/// "1000" or "1000:100".
pub(super) fn user(text: &str) -> Result<(u32, u32), String> {
    let number = |text: &str| {
        text.parse::<u32>()
            .ok()
            .filter(|id| *id != u32::MAX)
            .ok_or_else(|| format!("{text:?} is no id (names are not looked up)"))
    };
    let (uid, gid) = text.split_once(':').unwrap_or((text, "0"));
    Ok((number(uid)?, number(gid)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024_and_never_overflow() {
        assert_eq!(bytes("256MiB"), Ok(256 << 20));
        assert_eq!(bytes("1g"), Ok(1 << 30));
        assert_eq!(bytes("77"), Ok(77));
        for bad in ["", "MiB", "-1", "1.5G", "3TiB", "99999999999999999999", "18446744073709551615K"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn cpus_are_thousandths() {
        assert_eq!(cpus("1.5"), Ok(MilliCpus(1500)));
        for bad in ["0", "-1", "NaN", "inf", "x"] {
            assert!(cpus(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn signals_have_names_and_numbers() {
        for text in ["TERM", "sigterm", "15"] {
            assert_eq!(signal(text), Ok(15), "{text}");
        }
        for bad in ["0", "65", "-9", "SIGNAL", ""] {
            assert!(signal(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn users_are_numbers_within_the_kernels_range() {
        assert_eq!(user("1000:100"), Ok((1000, 100)));
        assert_eq!(user("7"), Ok((7, 0)));
        for bad in ["root", "-1", "4294967295", "1:", ""] {
            assert!(user(bad).is_err(), "{bad}");
        }
    }
}
