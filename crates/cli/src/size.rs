//! Numbers as people write and read them: sizes, rates, durations.
//!
//! Reading is lenient about case, a blank before the unit and a `B` after it, and strict about everything else: what is
//! not a number is an error that shows an example. `k M G T` are powers of 1000, `Ki Mi Gi Ti` of 1024. Writing always
//! uses powers of 1024, one digit after the point, so that two lines of progress line up.

use std::time::Duration;

/// Reads a size in bytes: `700`, `16KiB`, `1.5M`, `4 Gi`.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let bad = || format!("'{text}' is not a size; write it like 700, 16KiB, 1.5M or 4GiB");
    let trimmed = text.trim();
    let split = trimmed.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(split);
    let unit = unit.trim().to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let scale: u64 = match unit {
        "" => 1,
        "k" => 1000,
        "m" => 1000_u64.pow(2),
        "g" => 1000_u64.pow(3),
        "t" => 1000_u64.pow(4),
        "ki" => 1 << 10,
        "mi" => 1 << 20,
        "gi" => 1 << 30,
        "ti" => 1 << 40,
        _ => return Err(bad()),
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(scale).ok_or_else(|| format!("'{text}' is more than 16 EiB"));
    }
    // A fraction: exact enough below 2^53 bytes, which is 8 PiB.
    let value: f64 = number.parse().map_err(|_| bad())?;
    let bytes = value * scale as f64;
    if !(0.0..9.0e15).contains(&bytes) {
        return Err(bad());
    }
    Ok(bytes.round() as u64)
}

/// Reads a rate in bytes per second: a size with or without `/s`; `none` is no limit, 0 lets nothing
/// through.
pub(crate) fn parse_rate(text: &str) -> Result<Rate, String> {
    let trimmed = text.trim();
    if trimmed.eq_ignore_ascii_case("none") {
        return Ok(Rate(None));
    }
    let size = trimmed.strip_suffix("/s").unwrap_or(trimmed);
    match parse_size(size) {
        Ok(rate) => Ok(Rate(Some(rate))),
        Err(_) => Err(format!("'{text}' is not a rate; write bytes per second like 500k, 2MiB or 1.5M/s, or 'none'")),
    }
}

/// A rate limit in bytes per second, or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rate(pub(crate) Option<u64>);

/// Reads a duration: `30s`, `5m`, `2h`, `1h30m`; a bare number is seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let bad = |_| format!("'{text}' is not a duration; write it like 30s, 5m or 2h");
    let trimmed = text.trim();
    if !trimmed.is_empty() && trimmed.bytes().all(|b| b.is_ascii_digit()) {
        return trimmed.parse().map(Duration::from_secs).map_err(|_| bad(()));
    }
    humantime::parse_duration(trimmed).map_err(|_| bad(()))
}

/// A size for people: `512 B`, `1.2 GiB`.
pub(crate) fn bytes(value: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if value < 1024 {
        return format!("{value} B");
    }
    let mut scaled = value as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 would be printed as 1024.0.
    while scaled >= 1023.95 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    format!("{scaled:.1} {}", UNITS[unit])
}

/// `9.2 of 58.2 MiB`; both units where they differ.
pub(crate) fn part_of(done: u64, total: u64) -> String {
    let (done, total) = (bytes(done), bytes(total));
    match (done.split_once(' '), total.split_once(' ')) {
        (Some((number, unit)), Some((_, same))) if unit == same => format!("{number} of {total}"),
        _ => format!("{done} of {total}"),
    }
}

/// A rate for people: `3.4 MiB/s`.
pub(crate) fn rate(bytes_per_s: u64) -> String {
    format!("{}/s", bytes(bytes_per_s))
}

/// A time left or gone for people, two units at most: `12s`, `2m05s`, `1h02m`, `3d04h`.
pub(crate) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    if seconds < 60 {
        format!("{seconds}s")
    } else if hours == 0 {
        format!("{minutes}m{:02}s", seconds % 60)
    } else if days == 0 {
        format!("{hours}h{:02}m", minutes % 60)
    } else {
        format!("{days}d{:02}h", hours % 24)
    }
}

/// How long `left` bytes take at a rate; nothing where the rate says nothing.
pub(crate) fn time_left(left: u64, bytes_per_s: u64) -> Option<Duration> {
    // Chosen: beyond 100 days the number is noise.
    let seconds = left.checked_div(bytes_per_s)?;
    (seconds < 100 * 86_400).then(|| Duration::from_secs(seconds))
}

/// `1 file`, `2 files`.
pub(crate) fn count(number: u64, word: &str) -> String {
    if number == 1 { format!("1 {word}") } else { format!("{number} {word}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_all_units_with_and_without_b_in_any_case() {
        for (text, expected) in [
            ("0", 0),
            ("700", 700),
            ("700B", 700),
            ("1k", 1000),
            ("1kB", 1000),
            ("16KiB", 16 << 10),
            ("16Ki", 16 << 10),
            ("16 kib", 16 << 10),
            ("2M", 2_000_000),
            ("2Mi", 2 << 20),
            ("1.5M", 1_500_000),
            ("4G", 4_000_000_000),
            ("4 GiB", 4 << 30),
            ("0.5Gi", 512 << 20),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_size(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "k", "-1", "1x", "1.2.3M", "1kk", "1e3", "99999999999G", "0x10", "1,5M", "inf", "NaN", "."] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_are_sizes_per_second_and_none_is_no_limit() {
        assert_eq!(parse_rate("20M"), Ok(Rate(Some(20_000_000))));
        assert_eq!(parse_rate("1.5MiB/s"), Ok(Rate(Some(1_572_864))));
        assert_eq!(parse_rate("none"), Ok(Rate(None)));
        assert_eq!(parse_rate("0"), Ok(Rate(Some(0))));
        assert!(parse_rate("fast").unwrap_err().contains("500k"));
    }

    #[test]
    fn durations_take_units_and_bare_seconds() {
        assert_eq!(parse_duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_duration("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(parse_duration("45"), Ok(Duration::from_secs(45)));
        for text in ["", "soon", "-3s", "5 parsecs"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn written_sizes_never_show_1024_of_a_unit() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1024), "1.0 KiB");
        assert_eq!(bytes((1 << 20) - 1), "1.0 MiB");
        assert_eq!(bytes(u64::MAX), "16.0 EiB");
        assert_eq!(rate(3 << 20), "3.0 MiB/s");
        assert_eq!(part_of(1 << 20, 3 << 20), "1.0 of 3.0 MiB");
        assert_eq!(part_of(5, 3 << 20), "5 B of 3.0 MiB");
    }

    #[test]
    fn times_have_two_units_at_most() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (65, "1m05s"), (3720, "1h02m"), (90_000, "1d01h")] {
            assert_eq!(time(Duration::from_secs(seconds)), text);
        }
        assert_eq!(time_left(100, 0), None);
        assert_eq!(time_left(100, 10), Some(Duration::from_secs(10)));
        assert_eq!(time_left(u64::MAX, 1), None);
    }
}
